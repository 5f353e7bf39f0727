"""Packaging of a bundle and the code that serves it as a Bento, offline and reproducible."""

from __future__ import annotations

import ast
import hashlib
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path

from accomplice.data.panels.panel import NAMES
from accomplice.serving.deployment.container import LOCK, base_image, copy_file, write_context
from accomplice.serving.deployment.origin import ORIGIN_FILE
from accomplice.serving.deployment.server import BENTO, ROOT, ServerError, quiet_environment
from accomplice.training.models.manifest import MANIFEST, digest_of

#: Module of the packed service.
SERVICE = "accomplice.serving.service"
#: Module that the service imports in its workers.
ENDPOINT = "accomplice.serving.endpoint"
#: Module that starts the service.
START = "accomplice.serving.__main__"
#: The package; those of its files that the three modules import are packed.
OURS = "accomplice"
#: Folder of the page's files.
PAGE = Path(OURS, "serving", "web", "files")
#: Folder of the panels, whose spellings of levels are understood in requests.
PANELS = Path(OURS, "data", "panels")
#: Packages that the packed files import or that make uvicorn faster, BentoML first.
REQUIRED = (
    "bentoml",
    "httptools",
    "jinja2",
    "numpy",
    "orjson",
    "pandas",
    "prometheus_client",
    "psutil",
    "pydantic",
    "pyyaml",
    "safetensors",
    "starlette",
    "uvicorn",
    "uvloop",
)

#: Environment variables that forbid downloads: BentoML would install uv if it is missing.
OFFLINE = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "UV_OFFLINE": "1"}

#: Script of the process that builds: bentoml.build must import the service from the staged folder,
#: not this process's modules, and reads BENTOML_HOME once in a process.
BUILD = """
import json, sys, bentoml
options = json.load(sys.stdin)
archive = options.pop("archive")
bentoml.build(**options).export(archive)
"""


@dataclass(frozen=True)
class Packaged:
    """A Bento in its store."""

    tag: str
    """``name:version``; the same for the same name, bundle, origin, code and packages."""
    path: Path
    """The Bento's folder, which ``serve_command`` serves."""
    archive: Path | None
    """The Bento as one ``.bento`` file; None if that was removed."""
    context: Path
    """Folder of the build context of a container image."""


def package(
    bundle_path: Path,
    store: Path,
    name: str | None = None,
    origin: str = "",
    base: str | None = None,
) -> Packaged:
    """Pack a bundle as a Bento, unless the same one is packed already.

    Args:
        bundle_path: the bundle's folder.
        store: folder of BentoML's store, made if needed; other Bentos in it stay.
        name: name of the Bento; ``accomplice-`` and the study's name if absent.
        origin: text from ``deployment.origin.origin_json``, packed beside the bundle.
        base: base of the container image, with its digest; Python's slim one if absent.

    Raises:
        InputError: there is no bundle, it was changed or has another format, or ``base`` has no
            digest.
        PackageNotFoundError: a package of ``REQUIRED`` is not installed.
        ServerError: BentoML could not build the Bento, or the Bento holds another bundle.
    """
    base = base_image(base)
    digest = digest_of(bundle_path)
    manifest = json.loads((bundle_path / MANIFEST).read_bytes())
    name = bento_name(name or f"accomplice-{manifest['study']}")
    sources, pins = (*source_files(), *data_files()), pinned()
    version = f"{digest[:12]}-{_digest_of_code(sources, (*pins, origin, LOCK.read_text()))[:8]}"
    home = store.resolve()
    path, archive = home / "bentos" / name / version, home / "archives" / f"{name}-{version}.bento"
    if not (path / BENTO).is_file():
        files = [MANIFEST, *manifest["files"]]
        with tempfile.TemporaryDirectory(prefix="accomplice-package-") as stage:
            for source in sources:
                copy_file(ROOT / source, Path(stage) / source)
            for file in files:
                copy_file(bundle_path / file, Path(stage) / "bundle" / file)
            if origin:
                (Path(stage) / ORIGIN_FILE).write_text(origin, encoding="utf-8")
            archive.parent.mkdir(parents=True, exist_ok=True)
            archive.unlink(missing_ok=True)
            synthetic = "true" if manifest["synthetic"] else "false"
            options: dict[str, object] = {
                "service": f"{SERVICE}:Accomplice",
                "name": name,
                "version": version,
                "labels": {"bundle": digest, "study": manifest["study"], "synthetic": synthetic},
                "description": _description(manifest["study"], digest, manifest["synthetic"]),
                "include": [
                    *sources,
                    *(f"bundle/{file}" for file in files),
                    *([ORIGIN_FILE] if origin else []),
                ],
                # BentoML pins itself.
                "python": {"packages": list(pins[1:]), "lock_packages": False},
                "build_ctx": stage,
                "archive": str(archive),
            }
            _build(options, Path(stage), home)
        if digest_of(path / "src" / "bundle") != digest:
            raise ServerError(f"{path}: the packed bundle is not the one given: remove and repack")
    tag, context = f"{name}:{version}", home / "containers" / f"{name}-{version}"
    write_context(path, tag, context, base)
    return Packaged(tag, path, archive if archive.is_file() else None, context)


def bento_name(text: str) -> str:
    """Return a Bento's name made from a text: at most 63 lower-case letters, digits and dashes.

    It is ``accomplice`` for a text without letters (a to z) and digits.
    """
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:63].strip("-") or "accomplice"


def pinned() -> tuple[str, ...]:
    """Return the pins (``name==version``) of ``REQUIRED`` at the installed versions.

    A version has no local part, such as ``+cpu``.

    Raises:
        PackageNotFoundError: a package is not installed.
    """
    return tuple(f"{name}=={installed(name).split('+')[0]}" for name in REQUIRED)


def source_files() -> tuple[str, ...]:
    """Return the package's files that serving can import, relative to the package's parent folder.

    Imports inside functions are followed too; those for type checkers alone are not.
    """
    files: set[Path] = set()
    modules = [SERVICE, ENDPOINT, START]
    while modules:
        for path in _files_of(modules.pop()):
            if path not in files:
                files.add(path)
                modules += _imports(ast.parse(path.read_text(encoding="utf-8")))
    return tuple(sorted(path.relative_to(ROOT).as_posix() for path in files))


def data_files() -> tuple[str, ...]:
    """Return the files of the page and of the panels, relative to the package's parent folder."""
    page = [PAGE / path.name for path in (ROOT / PAGE).iterdir()]
    panels = [PANELS / f"{name}.yaml" for name in NAMES]
    return tuple(sorted(path.as_posix() for path in (*page, *panels)))


def _files_of(module: str) -> Iterator[Path]:
    """Yield the files of a module of :data:`OURS` and of the packages it is in; none for others."""
    parts = module.split(".")
    if parts[0] != OURS:
        return
    for depth in range(1, len(parts) + 1):
        stem = ROOT.joinpath(*parts[:depth])
        for path in (stem / "__init__.py", stem.with_suffix(".py")):
            if path.is_file():
                yield path


def _imports(tree: ast.AST) -> Iterator[str]:
    """Yield the names of modules that a syntax tree may import at run time."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield from _imports(node)


def _digest_of_code(sources: Sequence[str], pins: Sequence[str]) -> str:
    digest = hashlib.sha256("\n".join(pins).encode())
    for source in sources:
        digest.update(b"\0" + source.encode() + b"\0" + (ROOT / source).read_bytes())
    return digest.hexdigest()


def _description(study: str, digest: str, synthetic: bool) -> str:
    warning = "**SYNTHETIC: trained on simulated patients.**\n\n" if synthetic else ""
    return (
        f"# {study}\n\n{warning}Predictions, for research use only.\n\n"
        f"Bundle `{digest}`. `POST /predict`, `POST /predict_batch`; see `/docs.json`.\n"
    )


def _build(options: dict[str, object], stage: Path, home: Path) -> None:
    env = {k: v for k, v in quiet_environment().items() if not k.startswith("PIP_")}
    done = subprocess.run(
        [sys.executable, "-c", BUILD],
        input=json.dumps(options),
        cwd=stage,
        env=env | OFFLINE | {"BENTOML_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ServerError(f"BentoML could not build the package:\n{done.stderr[-4000:]}")
