"""`accomplice` as a user runs it: draft a study from a table, train, save, load, predict."""

from __future__ import annotations

import hashlib
import logging
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from accomplice.data.drafting.draft import draft_study, render_study
from accomplice.data.loading import load_cohort, read_patients
from accomplice.training.bundle import Bundle
from accomplice.training.config import Config, configure
from accomplice.training.run import train as train_model
from tests.benchmarks.cohorts import EVENT, TIME, features
from tests.benchmarks.peers import Array, Predict

ROOT = Path(__file__).parents[2]
#: The benchmark has its own peers.
QUIET = ("evaluation.peers=false",)


def ours(train: pd.DataFrame, config: Config | None = None) -> Predict:
    """Train on rows as the command line does, and answer from the saved bundle.

    Args:
        train: training rows.
        config: the default if absent.
    """
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table, study = Path(folder, "cohort.csv"), Path(folder, "study.yaml")
        train.to_csv(table, index=False)
        study.write_text(render_study(draft_study(table, time=TIME, event=EVENT, out=study)))
        trained = train_model(load_cohort(study), config or configure(QUIET))
        trained.bundle.save(Path(folder, "bundle"))
        bundle = Bundle.load(Path(folder, "bundle"))

    def predict(test: pd.DataFrame, times: Array) -> tuple[Array, Array]:
        with tempfile.TemporaryDirectory() as folder:
            table = Path(folder, "patients.csv")
            features(test).to_csv(table, index=False)
            answer = bundle.predict(read_patients(table, bundle.study), times.tolist())
        curves = answer[[name for name in answer if str(name).startswith("survival@")]]
        return answer["risk"].to_numpy(), np.asarray(curves, dtype=np.float64)

    return predict


def source_digest() -> str:
    """Return a digest of the code that decides a fit: a change to it makes old results stale."""
    digest = hashlib.sha256()
    for package in ("data", "training"):
        for path in sorted((ROOT / package).rglob("*")):
            if path.suffix in (".py", ".yaml"):
                digest.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:16]
