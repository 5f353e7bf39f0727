"""A packed bento where accomplice is not installed: in an environment as its image has it."""

from __future__ import annotations

import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.browser.conftest import NewPage
from tests.browser.pages import press, see
from tests.installed.conftest import Run, environment, serving

pytestmark = pytest.mark.installed

PATIENT = {"age": 61, "sex": "Male", "stage": "III", "IL1R1": 7.2, "CD163": 8.1}
#: What each documented route that takes a body is asked.
BODIES: dict[str, dict[str, Any]] = {
    "/predict": {"patient": PATIENT, "times": [12, 36]},
    "/predict_batch": {"patients": [PATIENT, {"age": 70}], "times": [12, 36]},
    "/explain": {"patient": PATIENT},
    "/what_if": {"patient": PATIENT, "feature": "IL1R1", "values": [5, 9]},
}
#: What is open beside the documentation: the page, its form, and the documentation itself.
PAGES = ("/", "/app", "/app/", "/app/form", "/docs", "/docs.json")


@pytest.fixture(scope="module")
def bento(run: Run, model: str, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bento, carried elsewhere as its archive."""
    said = run("package", model).stdout.splitlines()
    archive = next(line.split()[1] for line in said if line.startswith("archive"))
    place = tmp_path_factory.mktemp("elsewhere") / "bento"
    with tarfile.open(folder / archive) as opened:
        opened.extractall(place, filter="data")
    return place


@pytest.fixture(scope="module", params=["accomplice", "bentoml"])
def address(
    request: pytest.FixtureRequest,
    bento: Path,
    service_python: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    argv, folder = [str(service_python), "-m", "accomplice.serving", "--port"], bento / "src"
    if request.param == "bentoml":
        argv = [str(service_python), "-m", "bentoml", "serve", str(bento)]
        argv += ["--host", "127.0.0.1", "--port"]
        folder = tmp_path_factory.mktemp("cwd")
    with serving(argv, folder, tmp_path_factory.mktemp("home")) as url:
        yield url


def test_the_environment_is_what_the_bento_requires(
    bento: Path, service_python: Path, tmp_path: Path
):
    command = [str(service_python), "-m", "pip", "freeze"]
    done = subprocess.run(
        command, env=environment(tmp_path), capture_output=True, text=True, check=True
    )
    held = {line.lower().replace("_", "-") for line in done.stdout.split()}
    pins = (bento / "env" / "python" / "requirements.txt").read_text().split()
    assert {pin.lower().replace("_", "-") for pin in pins} <= held
    assert not {line.split("==")[0] for line in held} & {"accomplice", "torch", "mlflow"}


def test_every_route_answers(address: str):
    with httpx.Client(base_url=address, trust_env=False, timeout=60) as client:
        documented = client.get("/docs.json").json()["paths"]
        assert set(BODIES) <= set(documented)
        for path, methods in documented.items():
            for method in methods:
                answer = client.request(method, path, json=BODIES.get(path))
                assert answer.status_code == 200, (path, answer.text)
        for path in PAGES:
            assert client.get(path, follow_redirects=True).status_code == 200, path


def test_the_page_answers_in_a_browser(address: str, new_page: NewPage, errors: list[str]):
    page = new_page()
    page.goto(address)
    see(page, "h2", "The patient")
    press(page, "Made-up patient")
    press(page, "Show the answer")
    see(page, "h3", "1. Survival")
    assert errors == []
