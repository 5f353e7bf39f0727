"""Build context of a container image of a packed Bento, for any container engine.

BentoML's own Dockerfile installs a compiler, git and a second Python, and pins only the named
packages. The Dockerfile written here starts from Python's image, or from a base given with its
digest, installs only the wheels whose hashes are listed in :data:`LOCK`, and runs as a user without
rights. The image itself is not built.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from accomplice.data.errors import InputError
from accomplice.serving.api.tokens import TOKENS_VARIABLE
from accomplice.serving.deployment.bento_files import COMPILED
from accomplice.serving.deployment.memory import TUNABLES, TUNABLES_VARIABLE
from accomplice.serving.deployment.server import BENTO

#: Name of the Dockerfile in the context.
DOCKERFILE = "Dockerfile"
#: Exact versions and hashes of the image's packages, made by ``make lock`` from ``REQUIRED`` of
#: ``deployment.packaging``.
LOCK = Path(__file__).with_name("requirements.txt")
#: Pattern of an image's name with its digest.
BASE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:-]*@sha256:[0-9a-f]{64}")
#: Path of the token file in the image.
TOKENS = "/run/secrets/tokens"
#: Port of the server in the container.
PORT = 3000

#: Template of the Dockerfile.
TEXT = """\
# Build it in this folder, by docker or podman:
#   docker build -t {tag} .
FROM {base}

WORKDIR /srv
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin accomplice
COPY {lock} ./
RUN pip install --no-cache-dir --only-binary :all: --require-hashes -r {lock}
COPY bento ./bento

ENV {variable}={tokens} \\
    PYTHONPATH=/srv/bento/src \\
    BENTOML_HOME=/tmp/bentoml \\
    {tunables} \\
    PYTHONUNBUFFERED=1
USER 10001
EXPOSE {port}
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD \\
    ["python", "-c", "import urllib.request as r; r.urlopen('{ready}', timeout=4)"]
# Other machines can reach it: it does not start without the token file.
CMD ["python", "-m", "accomplice.serving", "--host", "0.0.0.0", "--port", "{port}"]
"""


def base_image(name: str | None = None) -> str:
    """Return the name of the image to start from: Python's slim one by its version, if absent.

    Args:
        name: another image, with its digest.

    Raises:
        InputError: the name is invalid or has no digest.
    """
    if name is None:
        return f"python:{sys.version_info.major}.{sys.version_info.minor}-slim"
    if not BASE.fullmatch(name):
        raise InputError(
            "--base: give the image with its digest, NAME@sha256:DIGEST (docker buildx imagetools "
            "inspect NAME prints it)"
        )
    return name


def write_context(bento: Path, tag: str, folder: Path, base: str) -> None:
    """Write the build context of a packed Bento.

    Args:
        bento: the Bento's folder.
        tag: tag of the Bento, which becomes the image's.
        folder: folder of the context, which is made.
        base: name of the image to start from, by :func:`base_image`.
    """
    for name in (BENTO, "README.md"):
        copy_file(bento / name, folder / "bento" / name)
    shutil.copytree(
        *(bento / "src", folder / "bento" / "src"),
        copy_function=shutil.copyfile,
        ignore=shutil.ignore_patterns(COMPILED),
    )
    copy_file(LOCK, folder / LOCK.name)
    text = TEXT.format(
        tag=tag,
        base=base,
        lock=LOCK.name,
        variable=TOKENS_VARIABLE,
        tokens=TOKENS,
        tunables=f"{TUNABLES_VARIABLE}={TUNABLES}",
        port=PORT,
        ready=f"http://127.0.0.1:{PORT}/readyz",
    )
    (folder / DOCKERFILE).write_text(text, encoding="utf-8")


def commands(tag: str, folder: str) -> list[str]:
    """Return the commands that build an image and run it as the user who starts it.

    Args:
        tag: tag of the image.
        folder: folder of the build context.
    """
    return [
        f"docker build -t {tag} {folder}",
        f"docker run --rm -p 127.0.0.1:{PORT}:{PORT} -v ./tokens:{TOKENS}:ro "
        f'--user "$(id -u):$(id -g)" --memory 1g --pids-limit 256 --read-only --tmpfs /tmp '
        f"--stop-timeout 25 --cap-drop ALL --security-opt no-new-privileges {tag}",
    ]


def copy_file(source: Path, target: Path) -> None:
    """Copy a file, and make the target's folder if needed.

    Args:
        source: the file.
        target: path of the copy.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
