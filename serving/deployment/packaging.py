"""Packaging of a bundle and the code that serves it as a Bento, offline and reproducible."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import json
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version as installed
from pathlib import Path
from tempfile import TemporaryDirectory

from accomplice.data.panels.panel import NAMES
from accomplice.serving.deployment.bento_files import SUMS_SIGNATURE, check_bento, write_sums
from accomplice.serving.deployment.container import LOCK, base_image, copy_file, write_context
from accomplice.serving.deployment.origin import ORIGIN_FILE
from accomplice.serving.deployment.server import BENTO, ROOT, ServerError, quiet_environment
from accomplice.serving.deployment.signatures import sign
from accomplice.training.models.manifest import MANIFEST, Content, without_sketch

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
    "markupsafe",
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
BUILD = "import json, sys, bentoml; bentoml.build(**json.load(sys.stdin))"


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
    bundle: Content,
    store: Path,
    name: str | None = None,
    origin: str = "",
    key: Path | None = None,
    base: str | None = None,
) -> Packaged:
    """Pack a bundle as a Bento, unless the same one is packed already.

    Only the bundle's own files are packed, as data, and with them code of this package. The sketch
    of the training patients in a bundle of an earlier version is left out.

    Args:
        bundle: content of the bundle.
        store: folder of BentoML's store, made if needed; other Bentos in it stay.
        name: name of the Bento; ``accomplice-`` and the study's name if absent.
        origin: text from ``deployment.origin.origin_json``, packed beside the bundle.
        key: private key by which bundle and Bento are signed; the same Bento is then packed again.
        base: base of the container image, with its digest; Python's slim one if absent.

    Raises:
        InputError: the same Bento is packed already and was changed since, ``base`` has no digest,
            or as :func:`signatures.sign`.
        PackageNotFoundError: a package of ``REQUIRED`` is not installed.
        ServerError: BentoML could not build the Bento.
    """
    base, bundle = base_image(base), without_sketch(bundle)
    study = bundle.manifest["study"]
    name = bento_name(name or f"accomplice-{study}")
    sources, pins = (*source_files(), *data_files()), pinned()
    code = _digest_of_code(sources, (*pins, origin, LOCK.read_text()))
    version = f"{bundle.digest[:12]}-{code[:8]}"
    home = store.resolve()
    path, archive = home / "bentos" / name / version, home / "archives" / f"{name}-{version}.bento"
    if key is not None:
        bundle = replace(bundle, signature=sign(bundle.files[MANIFEST], key))
    if key is not None or not (path / BENTO).is_file():
        home.mkdir(parents=True, exist_ok=True)
        # In a temporary folder, so that the store never has an incomplete Bento, even if two
        # processes pack the same one.
        with TemporaryDirectory(prefix=".package-", dir=home) as aside:
            stage, part = Path(aside, "stage"), Path(aside, "archive")
            for source in sources:
                copy_file(ROOT / source, stage / source)
            bundle.write(stage / "bundle")
            if origin:
                (stage / ORIGIN_FILE).write_text(origin, encoding="utf-8")
            synthetic = "true" if bundle.manifest["synthetic"] else "false"
            options: dict[str, object] = {
                "service": f"{SERVICE}:Accomplice",
                "name": name,
                "version": version,
                "labels": {"bundle": bundle.digest, "study": study, "synthetic": synthetic},
                "description": _description(study, bundle.digest, bundle.manifest["synthetic"]),
                "include": [
                    *sources,
                    *(f"bundle/{file.name}" for file in (stage / "bundle").iterdir()),
                    *([ORIGIN_FILE] if origin else []),
                ],
                # BentoML pins itself.
                "python": {"packages": list(pins[1:]), "lock_packages": False},
                "build_ctx": str(stage),
            }
            _build(options, stage, Path(aside))
            made = Path(aside, "bentos", name, version)
            sums = write_sums(made)
            if key is not None:
                (made / SUMS_SIGNATURE).write_bytes(sign(sums, key))
            _write_archive(made, part)
            if key is not None or not path.exists():
                archive.parent.mkdir(parents=True, exist_ok=True)
                part.replace(archive)
                put_folder(made, path, replaced=key is not None)
                Path(aside, "latest").write_text(version, encoding="utf-8")
                Path(aside, "latest").replace(path.with_name("latest"))
    check_bento(path)
    tag, context = f"{name}:{version}", home / "containers" / f"{name}-{version}"
    with TemporaryDirectory(prefix=".package-", dir=home) as aside:
        write_context(path, tag, Path(aside, "context"), base)
        put_folder(Path(aside, "context"), context, replaced=True)
    return Packaged(tag, path, archive if archive.is_file() else None, context)


def put_folder(made: Path, path: Path, *, replaced: bool) -> None:
    """Move a complete folder to a path in one step.

    If another process creates the path at the same time, its folder is kept.

    Args:
        made: the folder, on the same file system.
        path: path that the folder gets.
        replaced: whether a folder that exists at the path is first moved next to ``made``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        if replaced:
            path.rename(made.with_name(f"{made.name}.before"))
    try:
        made.rename(path)
    except OSError:
        if not path.is_dir():
            raise


def _write_archive(bento: Path, archive: Path) -> None:
    """Write a Bento's archive as BentoML exports it, without user names of this machine."""

    def nobody(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        return info

    with tarfile.open(archive, "w:xz") as tar:
        tar.add(bento, ".", filter=nobody)


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
        why = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
        error = ServerError(f"BentoML could not build the package: {why}")
        error.add_note(done.stderr[-4000:])
        raise error
