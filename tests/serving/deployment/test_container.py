"""The build context of an image: complete, pinned, without rights, and naming no host."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from accomplice.serving.deployment import container
from accomplice.serving.deployment.container import (
    CONSTRAINTS,
    DOCKERFILE,
    closure,
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
        "env/python/requirements.txt": "\n".join(f"{name}==1" for name in REQUIRED),
        "env/docker/Dockerfile": "FROM nothing",
    }.items():
        (bento / name).parent.mkdir(parents=True, exist_ok=True)
        (bento / name).write_text(text)
    folder = tmp_path / "containers" / "one"
    folder.parent.mkdir()
    write_context(bento, TAG, folder)
    return folder


def instructions(context: Path) -> list[tuple[str, str]]:
    text = (context / DOCKERFILE).read_text()
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    parted = [line.partition(" ") for line in text.splitlines() if line.strip()]
    return [(name, rest.strip()) for name, _, rest in parted]


def test_the_context_holds_the_bento_and_its_pins(context: Path) -> None:
    assert {p.relative_to(context).as_posix() for p in context.rglob("*") if p.is_file()} == {
        *(DOCKERFILE, CONSTRAINTS, "bento/bento.yaml", "bento/README.md"),
        *("bento/src/serving/service.py", "bento/src/bundle/manifest.json"),
        *("bento/src/serving/web/files/page.html.j2", "bento/env/python/requirements.txt"),
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
    shell, flag, run = json.loads(said["CMD"])
    assert (shell, flag) == ("sh", "-c")
    assert run.startswith("test -r /run/secrets/tokens || ")
    assert run.endswith("exec bentoml serve /srv/bento --host 0.0.0.0 --port 3000")
    assert "ACCOMPLICE_TOKENS=/run/secrets/tokens" in said["ENV"]
    assert f"GLIBC_TUNABLES={TUNABLES}" in said["ENV"]
    python, _, code = json.loads(said["HEALTHCHECK"].partition("CMD")[2])
    assert python == "python"
    compile(code, "healthcheck", "exec")


def test_it_names_no_host_but_itself(context: Path) -> None:
    hosts = re.findall(r"https?://([^/:\s\"']+)", (context / DOCKERFILE).read_text())
    assert {*hosts} == {"127.0.0.1"}


def test_all_that_is_installed_is_pinned_and_nothing_of_training(context: Path) -> None:
    pins = (context / CONSTRAINTS).read_text().split()
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", pin) for pin in pins)
    names = {pin.split("==")[0] for pin in pins}
    assert {name.replace("_", "-") for name in REQUIRED} <= names
    assert {"uvicorn", "anyio", "typing-extensions"} <= names
    assert not names & HEAVY


def test_extras_and_what_is_not_installed() -> None:
    assert closure(["no-such-package-here"]) == []
    assert [pin.split("==")[0] for pin in closure(["jinja2"])] == ["jinja2", "markupsafe"]
    plain, more = closure(["httpx"]), closure(["httpx[brotli]"])
    assert {pin.split("==")[0] for pin in {*more} - {*plain}} <= {"brotli", "brotlicffi"}


def test_an_extra_counts_whatever_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    needs = {"made-a": ['made-b; extra == "more"']}
    monkeypatch.setattr(container, "requires", needs.get)
    monkeypatch.setattr(container, "installed", lambda name: "1")
    for names in (["made-a", "made-a[more]"], ["made-a[more]", "made-a"]):
        assert closure(names) == ["made-a==1", "made-b==1"]


def test_an_older_context_gives_way(context: Path) -> None:
    (context / "stale").write_text("x")
    write_context(context / "bento", TAG, context)
    assert not (context / "stale").exists()
    assert not list(context.parent.glob(".*"))


def test_the_commands_read_as_they_are_meant() -> None:
    build, run = (shlex.split(line) for line in commands(TAG, "folder"))
    assert build == ["docker", "build", "-t", TAG, "folder"]
    assert run[-1] == TAG
    assert "./tokens:/run/secrets/tokens:ro" in run
    assert "127.0.0.1:3000:3000" in run
