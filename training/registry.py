"""Log a bundle as a model of its run and register it: code and tensors, no pickle."""

from __future__ import annotations

import contextlib
import logging
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path

import mlflow
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Dataset, Metric
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec
from mlflow.types.schema import AnyType

from data.example import example_patient
from training import pyfunc
from training.bundle import Bundle
from training.reporting import RESEARCH_USE, headline, note
from training.run import Trained

CHAMPION = "champion"


@dataclass(frozen=True)
class Logged:
    """What a run left in MLflow."""

    run_id: str
    experiment_id: str
    model_name: str
    version: str
    champion: bool


def log_model(run_id: str, trained: Trained, folder: Path, dataset: Dataset) -> Logged:
    """Log the bundle as a pyfunc model of the run with its metrics, and register it.

    The first version of a name becomes champion; later ones wait to be promoted.

    Args:
        run_id: of an open run.
        trained: what the run made.
        folder: of its bundle.
        dataset: that the metrics are of.
    """
    client, bundle = MlflowClient(), trained.bundle
    name = model_name(bundle.study.name)
    with mlflow.start_run(run_id=run_id, log_system_metrics=False), _quiet():
        info = mlflow.pyfunc.log_model(
            name=name,
            python_model=pyfunc.__file__,
            artifacts={"bundle": str(folder)},
            signature=signature(bundle),
            pip_requirements=requirements(),
            metadata={"synthetic": bundle.study.synthetic, "endpoint": bundle.target},
            input_example=example(bundle),
        )
    now, of = int(time.time() * 1000), (info.model_id, dataset.name, dataset.digest)
    # Logged once, they are the run's and the model's.
    metrics = [Metric(k, v, now, 0, *of) for k, v in headline(trained).items()]
    client.log_batch(run_id, metrics=metrics)
    tags = {"synthetic": str(bundle.study.synthetic).lower(), "endpoint": bundle.target}
    about = f"Models of {bundle.study.name}. {RESEARCH_USE}"
    with contextlib.suppress(MlflowException):  # it exists already
        client.create_registered_model(name, tags=tags, description=about)
    made = client.create_model_version(
        name,
        source=f"models:/{info.model_id}",
        run_id=run_id,
        tags={**tags, "fit_id": str(bundle.provenance["fit_id"])},
        description=note(trained),
        model_id=info.model_id,
    )
    version = str(made.version)
    champion = _has_no_champion(client, name)
    if champion:
        client.set_registered_model_alias(name, CHAMPION, version)
    experiment_id = client.get_run(run_id).info.experiment_id
    return Logged(run_id, str(experiment_id), name, version, champion)


def model_name(study: str) -> str:
    """Return under which name the models of a study are registered."""
    return f"accomplice-{study}"


def example(bundle: Bundle) -> pd.DataFrame:
    """Make up a patient whom the model answers; nobody's values."""
    return pd.DataFrame([example_patient(bundle.study)])


def signature(bundle: Bundle) -> ModelSignature:
    """Return the model's inputs, all optional, its parameter, the months asked for, and outputs.

    Of a model without a survival endpoint no months are asked.
    """
    study, times = bundle.study, list(bundle.times(None))
    # Of any type: the bundle codes values itself and flags what it cannot, where MLflow would
    # refuse a column of whole numbers and print patients' rows in its error.
    names = [feature.column or name for name, feature in study.features.items()]
    names += [extra for extra in (study.id, study.centre) if extra is not None]
    columns: list[ColSpec | TensorSpec] = [
        ColSpec(AnyType(), n, required=False)  # type: ignore[no-untyped-call]
        for n in names
    ]
    # Asked of nobody in particular, the model says what it answers.
    blank = pd.DataFrame({name: [None] for name in names}, dtype=object)
    answered = bundle.predict(blank, times)
    outputs: list[ColSpec | TensorSpec] = [
        ColSpec(DataType.string if answered[c].dtype.kind != "f" else DataType.double, str(c))
        for c in answered
    ]
    parameter = ParamSpec("times", DataType.double, times, (-1,))
    asked = ParamSchema([parameter] if times else [])
    return ModelSignature(Schema(columns), Schema(outputs), asked)


def requirements() -> list[str]:
    """Return what the model needs at load; stated, since inferring them takes ten seconds."""
    names = ("numpy", "pandas", "pydantic", "pyyaml", "safetensors", "torch")
    return [f"accomplice=={installed('accomplice')}", *(f"{n}=={installed(n)}" for n in names)]


def _has_no_champion(client: MlflowClient, name: str) -> bool:
    try:
        client.get_model_version_by_alias(name, CHAMPION)
    except MlflowException:
        return True
    return False


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep MLflow's progress talk off the terminal."""
    loggers = [logging.getLogger(n) for n in ("mlflow", "mlflow.tracking", "mlflow.pyfunc")]
    before = [(log, log.level) for log in loggers]
    for log in loggers:
        log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, level in before:
            log.setLevel(level)
