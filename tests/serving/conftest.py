from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest

from accomplice.data.cohort import build_cohort
from accomplice.data.study import Study, parse_study
from accomplice.training.bundle import Bundle
from accomplice.training.config import configure, flat
from accomplice.training.fitting.fit import fit
from accomplice.training.fitting.prepare import prepare
from accomplice.training.fitting.survival_interval import fit_survival_interval
from accomplice.training.fitting.survival_model import survival_model
from accomplice.training.models.manifest import MANIFEST, read_folder, write_folder
from tests.conftest import TINY, Shared

STUDY: dict[str, Any] = {
    "name": "made-up",
    "synthetic": True,
    "source": {"files": ["made-up.csv"]},
    "id": "patient",
    "centre": "hospital",
    "endpoints": {
        "survival": {"os": {"time": "months", "event": "dead", "horizon": 60}},
    },
    "treatment": {"column": "act", "treated": ["yes"], "untreated": ["no"]},
    "modalities": {
        "clinical": {
            "age": {"kind": "number", "column": "age_years", "range": [18, 110]},
            "stage": {
                "kind": "ordinal",
                "levels": ["I", "II", "III"],
                "map": {"2": "II", "unstaged": None},
            },
            "sex": {"kind": "category", "levels": ["female", "male"]},
        },
        "expression": {gene: {"kind": "expression"} for gene in ("IL1R1", "CD163")},
        "density": {"CD8": {"kind": "density"}},
    },
    "ignored": {"note": "free text"},
}


def made_up_table(n: int = 240, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    stage = rng.integers(0, 3, n)
    il1r1 = rng.normal(7, 1, n)
    time = rng.exponential(60 * np.exp(-0.6 * (stage - 1) - 0.3 * (il1r1 - 7)))
    return pd.DataFrame(
        {
            "patient": [f"P{i:03d}" for i in range(n)],
            "hospital": np.where(rng.random(n) < 0.5, "north", "south"),
            "months": np.minimum(time, 80) + 0.1,
            "dead": (time < 80).astype(int),
            "act": np.where(rng.random(n) < 0.5, "yes", "no"),
            "age_years": rng.normal(62, 10, n).clip(20, 100).round(),
            "stage": np.array(["I", "II", "III"], dtype=object)[stage],
            "sex": np.where(rng.random(n) < 0.6, "male", "female"),
            "IL1R1": il1r1,
            "CD163": rng.normal(9, 1.5, n),
            "CD8": rng.gamma(2, 50, n),
        }
    )


@pytest.fixture(scope="session")
def study() -> Study:
    return parse_study(STUDY, "made-up")


@pytest.fixture(scope="session")
def table() -> pd.DataFrame:
    return made_up_table()


def made_up_bundle(study: Study, table: pd.DataFrame) -> Bundle:
    config = configure(TINY)
    cohort = build_cohort(study, table)
    prepared = prepare(cohort, config)
    fitted = fit(prepared, config)
    model = survival_model(fitted, interval=fit_survival_interval(prepared, config))
    assert model.effect is not None
    return Bundle(
        study=study,
        survival={"os": model},
        responses={},
        config=flat(config),
        metrics={},
        provenance={"fit_id": "fit-1", "cohort_fingerprint": "f-1"},
    )


@pytest.fixture(scope="session")
def bundle_path(
    study: Study, table: pd.DataFrame, shared: Shared, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("made-up") / "bundle"
    shared("made-up", lambda: made_up_bundle(study, table)).save(path)
    return path


@pytest.fixture(scope="session")
def bundle(bundle_path: Path) -> Bundle:
    return Bundle.load(bundle_path)


@pytest.fixture(scope="session")
def other_path(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another version of the same study's model: every risk is 1 higher."""
    model = bundle.survival["os"]
    model = replace(model, risk_centre=model.risk_centre - 1)
    path = tmp_path_factory.mktemp("other") / "bundle"
    provenance = {"fit_id": "fit-2", "cohort_fingerprint": "f-1"}
    replace(bundle, survival={"os": model}, provenance=provenance).save(path)
    return path


@pytest.fixture(scope="session")
def drifted_path(other_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose sums are right, and whose golden rows are not what it answers."""

    def shifted(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: shifted(value) for key, value in node.items()}
        if isinstance(node, list):
            return [shifted(value) for value in node]
        return node + 0.01 if isinstance(node, float) else node

    files = dict(read_folder(other_path).files)
    del files[MANIFEST]
    files["golden.json"] = json.dumps(shifted(json.loads(files["golden.json"]))).encode()
    path = tmp_path_factory.mktemp("drifted") / "bundle"
    write_folder(path, parse_study(json.loads(files["study.json"]), "study.json"), files)
    return path


@pytest.fixture(scope="session")
def patient() -> dict[str, Any]:
    return {
        "patient": "X1",
        "hospital": "north",
        "act": "yes",
        "age_years": 61,
        "stage": "II",
        "sex": "male",
        "IL1R1": 7.2,
        "CD163": 9.5,
        "CD8": 120.0,
    }


@dataclass
class Client:
    """Asks the service in this process, from tests that are not async."""

    runner: asyncio.Runner
    http: httpx.AsyncClient

    def post(self, path: str, json: Any = None, **more: Any) -> httpx.Response:
        return self.request("POST", path, json=json, **more)

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        return self.runner.run(self.http.request(method, path, **more))


@pytest.fixture(scope="session")
def client(bundle_path: Path) -> Iterator[Client]:
    with pytest.MonkeyPatch.context() as patch, asyncio.Runner() as runner:
        patch.setenv("ACCOMPLICE_BUNDLE", str(bundle_path))
        from accomplice.serving.service import Accomplice

        app: Any = Accomplice.to_asgi()  # type: ignore[attr-defined]
        lifespan = app.router.lifespan_context(app)
        runner.run(lifespan.__aenter__())
        http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1")
        yield Client(runner, http)
        runner.run(http.aclose())
        runner.run(lifespan.__aexit__(None, None, None))


class Listener(logging.Handler):
    """Keeps all that is logged, tracebacks included."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(logging.Formatter())
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        # The asking side logs, too, and may.
        if record.name.startswith("httpx"):
            return
        self.texts.append(self.format(record))


@pytest.fixture
def logged(client: Client) -> Iterator[list[str]]:
    listener = Listener()
    # The server makes BentoML's loggers talk; in this process the test has to.
    root, bentoml = logging.getLogger(), logging.getLogger("bentoml")
    level, propagate = bentoml.level, bentoml.propagate
    bentoml.setLevel(logging.INFO)
    bentoml.propagate = True
    root.addHandler(listener)
    yield listener.texts
    root.removeHandler(listener)
    bentoml.setLevel(level)
    bentoml.propagate = propagate
