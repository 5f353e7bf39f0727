"""The sketch of a run's training patients: kept with the run, never in a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from accomplice.data.cohort import Cohort, Patients
from accomplice.data.errors import InputError
from accomplice.training.bundle import Bundle
from accomplice.training.leakage.cohort_overlap import sketch
from accomplice.training.models.provenance import trained_fit
from accomplice.training.tracking.store import tagged_runs

#: Name of the run's artifact.
SKETCH = "sketch.json"


def log_sketch(run_id: str, patients: Patients) -> None:
    """Log the sketch of the training patients to the run that trains on them.

    Patients without a survival endpoint have none: no other cohort is judged by their model.
    """
    if isinstance(patients, Cohort):
        MlflowClient().log_dict(run_id, sketch(patients), SKETCH)


def find_sketch(bundle: Bundle) -> Mapping[str, Any] | None:
    """Return the sketch of a bundle's training patients from the run that trained it.

    None if there is no store or it cannot be opened, or no run in it has the sketch.
    """
    try:
        runs = tagged_runs("fit_id", trained_fit(bundle.provenance))
    except InputError:
        return None
    for run in runs:
        try:
            kept = mlflow.artifacts.load_dict(f"runs:/{run.info.run_id}/{SKETCH}")
        except (MlflowException, OSError):
            continue
        return dict(kept)
    return None
