"""README, the tutorial and the examples are run as a reader would, with small settings."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from accomplice.data.synthetic_study import synthesise
from accomplice.training.processes import end, free_port
from tests.conftest import TINY

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"<!-- (run|serve) -->\n```(console|python)\n(.*?)```", re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
#: Written like notebooks -> what the last of it prints. Others are tested with what they extend.
EXAMPLES = {
    "train_in_python.py": "C of two folds: [",
    "treatment_and_marker.py": "the chance to see it is ",
}
#: Of which links are followed.
DOCUMENTS = (
    *("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"),
    *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md")),
)
#: Where documents say that a server answers.
ADDRESS = "127.0.0.1:3000"
#: What makes a run small, beside few patients.
SETTINGS = (*TINY, "folds.folds=2", "forest.trees=5", "boosting.max_rounds=10")
FEW = " ".join(f"--set {setting}" for setting in SETTINGS)
#: What a document's Python asks for -> the same, small.
ASKED = 'settings={"net.members": 4}'
PYTHON = {key: yaml.safe_load(value) for key, value in (s.split("=") for s in SETTINGS)}
#: Verb -> options that make it small; the last of an option given twice counts.
SMALL = {"train": FEW, "tune": f"{FEW} --trials 2", "data synth": "--n 160"}


@dataclass
class Reader:
    """A folder in which a document's blocks are run, one after the other."""

    folder: Path
    port: int = field(default_factory=free_port)
    servers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def read(self, document: str) -> None:
        """Run all blocks of a document that are marked to be run."""
        found = BLOCK.findall((ROOT / document).read_text(encoding="utf-8"))
        assert found, f"{document} marks no block to be run"
        for mark, language, text in found:
            text = text.replace(ADDRESS, f"127.0.0.1:{self.port}")
            if language == "python":
                self.run([sys.executable, "-c", text.replace(ASKED, f"settings={PYTHON}")])
            for command in commands(text) if language == "console" else ():
                if mark == "serve":
                    self.serve(command)
                else:
                    self.run(command)

    def run(self, command: list[str]) -> str:
        """Run one command, which must succeed, and return what it prints."""
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def serve(self, command: list[str]) -> None:
        """Start a server and wait until it is ready."""
        command = [*command, "--port", str(self.port)]
        server = subprocess.Popen(command, cwd=self.folder, env=self.environment)
        self.servers.append(server)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        until = time.monotonic() + 60
        while True:
            assert server.poll() is None, "the server has ended"
            try:
                with opener.open(f"http://127.0.0.1:{self.port}/readyz", timeout=5):
                    return
            except OSError:
                assert time.monotonic() < until, "the server does not answer"
                time.sleep(0.1)

    @property
    def environment(self) -> dict[str, str]:
        """The process's own, with this checkout and no other store of runs."""
        mlflow = {name for name in os.environ if name.startswith("MLFLOW_")}
        kept = {name: value for name, value in os.environ.items() if name not in mlflow}
        return {**kept, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "NO_PROXY": "127.0.0.1"}


def commands(text: str) -> Iterator[list[str]]:
    """Yield the commands of a console block, made small; other lines are output."""
    for line in text.replace("\\\n", " ").splitlines():
        if line.startswith("$ "):
            program, *words = shlex.split(line[2:])
            if program == "accomplice":
                small = next((add for verb, add in SMALL.items() if line[13:].startswith(verb)), "")
                yield [sys.executable, "-m", "accomplice", *words, *small.split()]
            else:
                # curl would succeed whatever the answer's status is.
                yield [program, *(["--fail"] if program == "curl" else []), *words]


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    if shutil.which("curl") is None:
        pytest.skip("needs curl")
    made = Reader(tmp_path)
    try:
        yield made
    finally:
        for server in made.servers:
            end(server)


@pytest.mark.slow
def test_tutorial_can_be_followed(reader: Reader) -> None:
    reader.read("docs/tutorial.md")
    assert (reader.folder / "report.html").stat().st_size > 10_000
    assert (reader.folder / "folder-predictions.csv").is_file()


@pytest.mark.slow
def test_commands_and_python_of_the_readme_work(reader: Reader) -> None:
    synthesise(reader.folder, 160, "default", 5)
    (reader.folder / "study.yaml").unlink()
    table = (reader.folder / "cohort.csv").read_text(encoding="utf-8")
    (reader.folder / "patients.csv").write_text("\n".join(table.splitlines()[:20]) + "\n")
    reader.read("README.md")
    assert (reader.folder / "predictions.csv").is_file()


@pytest.mark.slow
@pytest.mark.parametrize(("example", "printed"), EXAMPLES.items())
def test_example_runs_to_its_end(example: str, printed: str, reader: Reader) -> None:
    assert printed in reader.run([sys.executable, str(ROOT / "examples" / example), "--small"])


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


@pytest.mark.parametrize("document", DOCUMENTS)
def test_internal_links_lead_somewhere(document: str) -> None:
    for link in LINK.findall((ROOT / document).read_text(encoding="utf-8")):
        if not re.match(r"[a-z]+:", link):
            path, _, anchor = link.partition("#")
            target = (ROOT / document).parent / path if path else ROOT / document
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    named = [requirement for key, extra in extras.items() if key != "dev" for requirement in extra]
    table = (ROOT / "docs/dependencies.md").read_text(encoding="utf-8")
    for requirement in (*project["dependencies"], *named):
        name = re.match(r"[\w-]+", requirement)[0]
        assert name == "accomplice" or re.search(rf"\|[^|]*\b{name}\b[^|]*\|", table), name


def anchors(path: Path) -> set[str]:
    """Return the anchors of a page's headings."""
    heads = re.findall(r"(?m)^#+ (.+)$", path.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w -]", "", head.lower()).strip().replace(" ", "-") for head in heads}


def test_links_that_lead_nowhere_would_be_seen() -> None:
    assert LINK.findall("[a](b.md#c), ![d](e.png)") == ["b.md#c", "e.png"]
    assert "three-plugs" not in anchors(ROOT / "README.md")


def test_blocks_and_commands_are_found() -> None:
    lines = ("$ accomplice tune a.yaml \\", "  --trials 50", "best 0.1", "$ ls -l")
    text = "\n".join(("<!-- run -->", "```console", *lines, "```"))
    ((mark, language, block),) = BLOCK.findall(text)
    tune, listing = commands(block)
    assert (mark, language) == ("run", "console")
    assert tune[:6] == [sys.executable, "-m", "accomplice", "tune", "a.yaml", "--trials"]
    assert tune[-2:] == ["--trials", "2"]
    assert listing == ["ls", "-l"]
