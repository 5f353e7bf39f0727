"""The build context of an image: complete, pinned, without rights, and naming no host."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from accomplice.data.errors import InputError
from accomplice.serving.deployment.container import (
    DOCKERFILE,
    LOCK,
    base_image,
    commands,
    write_context,
)
from accomplice.serving.deployment.memory import TUNABLES
from accomplice.serving.deployment.packaging import REQUIRED

TAG = "accomplice-made-up:1-2"
#: What serving does without; the image is not to have it.
HEAVY = {"mlflow", "mlflow-skinny", "pytorch-lightning", "lightning", "optuna", "matplotlib"}
HEAVY |= {"torch", "pyarrow", "scipy", "scikit-learn", "sqlalchemy", "alembic", "accomplice"}


@pytest.fixture
def context(tmp_path: Path) -> Path:
    bento = tmp_path / "bento"
    for name, text in {
        "bento.yaml": "name: x",
        "README.md": "# x",
        "src/serving/service.py": "pass",
        "src/bundle/manifest.json": "{}",
        "src/serving/web/files/page.html.j2": "<p>",
        "env/docker/Dockerfile": "FROM nothing",
    }.items():
        (bento / name).parent.mkdir(parents=True, exist_ok=True)
        (bento / name).write_text(text)
    write_context(bento, TAG, tmp_path / "one", base_image())
    return tmp_path / "one"


def instructions(context: Path) -> list[tuple[str, str]]:
    text = (context / DOCKERFILE).read_text()
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    parted = [line.partition(" ") for line in text.splitlines() if line.strip()]
    return [(name, rest.strip()) for name, _, rest in parted]


def test_the_context_holds_the_bento_and_its_pins(context: Path) -> None:
    assert {p.relative_to(context).as_posix() for p in context.rglob("*") if p.is_file()} == {
        *(DOCKERFILE, LOCK.name, "bento/bento.yaml", "bento/README.md"),
        *("bento/src/serving/service.py", "bento/src/bundle/manifest.json"),
        "bento/src/serving/web/files/page.html.j2",
    }
    for name, rest in instructions(context):
        if name == "COPY":
            *sources, _ = shlex.split(rest)
            assert all((context / source).exists() for source in sources)


def test_it_runs_without_rights_and_only_with_tokens(context: Path) -> None:
    found = instructions(context)
    assert [name for name, _ in found] == [
        *("FROM", "WORKDIR", "RUN", "COPY", "RUN", "COPY", "ENV", "USER", "EXPOSE"),
        *("HEALTHCHECK", "CMD"),
    ]
    said = dict(found)
    assert int(said["USER"]) > 0
    assert json.loads(said["CMD"]) == [
        *("python", "-m", "accomplice.serving", "--host", "0.0.0.0", "--port", "3000")
    ]
    assert "PYTHONPATH=/srv/bento/src " in said["ENV"]
    assert "ACCOMPLICE_TOKENS=/run/secrets/tokens" in said["ENV"]
    assert f"GLIBC_TUNABLES={TUNABLES}" in said["ENV"]
    python, _, code = json.loads(said["HEALTHCHECK"].partition("CMD")[2])
    assert python == "python"
    compile(code, "healthcheck", "exec")


def test_it_names_no_host_but_itself(context: Path) -> None:
    hosts = re.findall(r"https?://([^/:\s\"']+)", (context / DOCKERFILE).read_text())
    assert {*hosts} == {"127.0.0.1"}


def test_all_that_is_installed_is_locked_and_nothing_of_training(context: Path) -> None:
    said = [rest for name, rest in instructions(context) if name == "RUN" and "pip" in rest]
    assert [rest.split()[2:] for rest in said] == [
        ["--no-cache-dir", "--only-binary", ":all:", "--require-hashes", "-r", LOCK.name]
    ]
    text = (context / LOCK.name).read_text()
    found = {}
    for entry in text.replace("\\\n", " ").splitlines():
        pin, *hashes = entry.split(" --hash=")
        # A marker may follow the version.
        name, _, version = pin.partition(";")[0].strip().partition("==")
        assert re.fullmatch(r"[a-z0-9-]+", name)
        assert hashes
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", each.strip()) for each in hashes)
        found[name] = version
    assert {name.replace("_", "-") for name in REQUIRED} <= found.keys()
    assert {"uvicorn", "anyio", "typing-extensions"} <= found.keys()
    assert not found.keys() & HEAVY


def test_a_base_has_its_digest(context: Path) -> None:
    name = f"registry.example:5000/python:3.13-slim@sha256:{'0a' * 32}"
    other = context.with_name("two")
    write_context(context / "bento", TAG, other, base_image(name))
    assert dict(instructions(other))["FROM"] == name
    for wrong in ("python:3.13", f"{name}\nRUN id", f"{name} AS x", f"-x@sha256:{'0a' * 32}", ""):
        with pytest.raises(InputError, match="--base"):
            base_image(wrong)


def test_the_commands_read_as_they_are_meant() -> None:
    build, run = (shlex.split(line) for line in commands(TAG, "folder"))
    assert build == ["docker", "build", "-t", TAG, "folder"]
    assert run[-1] == TAG
    assert "./tokens:/run/secrets/tokens:ro" in run
    assert "127.0.0.1:3000:3000" in run
    assert run[run.index("--user") + 1] == "$(id -u):$(id -g)"
    assert run[run.index("--memory") + 1] == "1g"
    assert {"--read-only", "--cap-drop", "no-new-privileges", "--pids-limit"} <= {*run}
