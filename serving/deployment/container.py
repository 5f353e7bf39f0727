"""Build context of a container image of a packed Bento, for any container engine.

BentoML's own Dockerfile installs a compiler, git and a second Python, and pins only the named
packages. The Dockerfile written here starts from Python's image, installs only wheels, all at the
installed versions, and runs as a user without rights. The image itself is not built.
"""

from __future__ import annotations

import shutil
import sys
from importlib.metadata import PackageNotFoundError, requires
from importlib.metadata import version as installed
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from accomplice.serving.api.tokens import TOKENS_VARIABLE
from accomplice.serving.deployment.memory import TUNABLES, TUNABLES_VARIABLE
from accomplice.serving.deployment.server import BENTO

#: Name of the Dockerfile in the context.
DOCKERFILE = "Dockerfile"
#: Name of the file of pins in the context and the image.
CONSTRAINTS = "constraints.txt"
#: Path of the token file in the image.
TOKENS = "/run/secrets/tokens"
#: Port of the server in the container.
PORT = 3000

#: Template of the Dockerfile.
TEXT = """\
# Build it in this folder, by docker or podman:
#   docker build -t {tag} .
FROM python:{python}-slim

WORKDIR /srv
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin accomplice
COPY {constraints} bento/env/python/requirements.txt ./
RUN pip install --no-cache-dir --only-binary :all: -r requirements.txt -c {constraints}
COPY bento ./bento

ENV {variable}={tokens} \\
    BENTOML_HOME=/tmp/bentoml \\
    BENTOML_DO_NOT_TRACK=True \\
    {tunables} \\
    OMP_NUM_THREADS=1 \\
    PYTHONUNBUFFERED=1
USER 10001
EXPOSE {port}
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD \\
    ["python", "-c", "import urllib.request as r; r.urlopen('{ready}', timeout=4)"]
# Other machines can reach it: it does not start without a token file.
CMD ["sh", "-c", "test -r {tokens} || {{ echo 'mount a token file that all may read at {tokens}'; \
exit 2; }}; exec bentoml serve /srv/bento --host 0.0.0.0 --port {port}"]
"""


def write_context(bento: Path, tag: str, folder: Path) -> None:
    """Write the build context of a packed Bento; an earlier one is replaced.

    Args:
        bento: the Bento's folder.
        tag: tag of the Bento, which becomes the image's.
        folder: folder of the context.
    """
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    for name in (BENTO, "README.md"):
        copy_file(bento / name, part / "bento" / name)
    shutil.copytree(bento / "src", part / "bento" / "src", copy_function=shutil.copyfile)
    pins = Path("env", "python", "requirements.txt")
    copy_file(bento / pins, part / "bento" / pins)
    names = [line.split("==")[0] for line in (bento / pins).read_text().split()]
    (part / CONSTRAINTS).write_text("".join(f"{pin}\n" for pin in closure(names)))
    text = TEXT.format(
        tag=tag,
        python=f"{sys.version_info.major}.{sys.version_info.minor}",
        constraints=CONSTRAINTS,
        variable=TOKENS_VARIABLE,
        tokens=TOKENS,
        tunables=f"{TUNABLES_VARIABLE}={TUNABLES}",
        port=PORT,
        ready=f"http://127.0.0.1:{PORT}/readyz",
    )
    (part / DOCKERFILE).write_text(text, encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


def commands(tag: str, folder: str) -> list[str]:
    """Return the commands that build an image and run it.

    Args:
        tag: tag of the image.
        folder: folder of the build context.
    """
    return [
        f"docker build -t {tag} {folder}",
        f"docker run --rm -p 127.0.0.1:{PORT}:{PORT} -v ./tokens:{TOKENS}:ro --read-only "
        f"--tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges {tag}",
    ]


def closure(names: list[str]) -> list[str]:
    """Return the pins of packages and of all that they require, at the installed versions.

    Args:
        names: requirements, such as ``httpx`` or ``httpx[brotli]``; one not installed is left out.

    Returns:
        Lines ``name==version``, sorted by name.
    """
    pins: dict[str, str] = {}
    met: set[tuple[str, frozenset[str]]] = set()
    waiting = [Requirement(name) for name in names]
    while waiting:
        needed = waiting.pop()
        name = canonicalize_name(needed.name)
        # A package can be required with an extra after it was required without.
        if (name, frozenset(needed.extras)) not in met:
            met.add((name, frozenset(needed.extras)))
            try:
                pins[name] = pin(name)
            except PackageNotFoundError:
                continue  # needed on other systems alone
            for text in requires(name) or ():
                required = Requirement(text)
                if required.marker is None or any(
                    required.marker.evaluate({"extra": extra}) for extra in (needed.extras or {""})
                ):
                    waiting.append(required)
    return [pins[name] for name in sorted(pins)]


def pin(name: str) -> str:
    """Return ``name==version`` at the installed version, without a local part such as ``+cpu``.

    Raises:
        PackageNotFoundError: the package is not installed.
    """
    return f"{name}=={installed(name).split('+')[0]}"


def copy_file(source: Path, target: Path) -> None:
    """Copy a file, and make the target's folder if needed.

    Args:
        source: the file.
        target: path of the copy.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
