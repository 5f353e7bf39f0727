"""Bundles as logged and registered models of MLflow: code and tensors, no pickle."""

from __future__ import annotations

import contextlib
import json
import logging
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version as installed
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec
from mlflow.types.schema import AnyType

from accomplice.data.errors import InputError
from accomplice.data.example_patient import example_patient
from accomplice.training.bundle import Bundle
from accomplice.training.models.manifest import digest_of, read_folder
from accomplice.training.reports.wording import RESEARCH_USE
from accomplice.training.run import Trained
from accomplice.training.tracking import pyfunc
from accomplice.training.tracking.gate import Challenger, Decision, decide
from accomplice.training.tracking.promotion import champion_of, promote
from accomplice.training.tracking.store import Store
from accomplice.training.tracking.stores.lost import process_tag
from accomplice.training.tracking.stores.recorded import DIGEST
from accomplice.training.tracking.summary import headline, note


@dataclass(frozen=True)
class Logged:
    """A run as logged in MLflow."""

    run_id: str
    experiment_id: str
    model_name: str
    version: str
    champion: bool = False
    """Whether the version became champion."""
    decision: Decision | None = None
    """The gate's decision; None if another version is, or has meanwhile become, champion."""


def log_model(store: Store, run_id: str, trained: Trained, folder: Path) -> Logged:
    """Log the bundle as a pyfunc model of the run and register it.

    If no version of this name is champion, a model that passes the gate becomes champion.

    Args:
        store: the tracking store.
        run_id: id of the run.
        trained: the fitted models.
        folder: folder of their bundle.

    Returns:
        The run, with the registered version and the gate's decision.
    """
    client, bundle = MlflowClient(), trained.bundle
    name = model_name(bundle.study.name)
    version = register(name, run_id, bundle, folder, note(trained), headline(trained))
    logged = Logged(run_id, str(client.get_run(run_id).info.experiment_id), name, version)
    if champion_of(client, name) is not None:
        return logged
    decision = decide(Challenger.of(bundle))
    if decision.passed:
        try:
            promote(store, name, version, None, decision)
        except InputError:  # another run was quicker
            return logged
    return replace(logged, champion=decision.passed, decision=decision)


def model_name(study: str) -> str:
    """Return the name under which a study's models are registered."""
    return f"accomplice-{study}"


def register_bundle(store: Store, name: str, bundle: Bundle, folder: Path) -> str:
    """Register a bundle that is not registered yet, with a run made for it; return its version.

    Args:
        store: the tracking store.
        name: name of the registered model.
        bundle: the bundle in ``folder``.
        folder: folder of the bundle.
    """
    client = MlflowClient()
    tags = version_tags(bundle, digest_of(folder)) | {
        "stage": "registered",
        "cohort_fingerprint": str(bundle.provenance["cohort_fingerprint"]),
        **process_tag(),
    }
    experiment = store.experiment(bundle.study.name)
    run_id = str(client.create_run(experiment, run_name="registered", tags=tags).info.run_id)
    synthetic = ", SYNTHETIC patients" if bundle.study.synthetic else ""
    about = f"A bundle of {bundle.study.name}{synthetic}, registered as it was. {RESEARCH_USE}"
    version = register(name, run_id, bundle, folder, about, {})
    client.set_terminated(run_id)
    return version


def version_tags(bundle: Bundle, digest: str) -> dict[str, str]:
    """Return the tags of a bundle's versions.

    They are the endpoint, whether patients are synthetic, the fit, and the digest of the bundle, by
    which its versions are found.

    Args:
        bundle: the bundle.
        digest: the SHA-256 that identifies its content.
    """
    return {
        **_task_tags(bundle),
        "fit_id": str(bundle.provenance["fit_id"]),
        DIGEST: digest,
    }


def register(
    name: str,
    run_id: str,
    bundle: Bundle,
    folder: Path,
    description: str,
    metrics: Mapping[str, float],
) -> str:
    """Log a bundle as a pyfunc model of a run, with metrics, and register it; return its version.

    Args:
        name: name of the registered model.
        run_id: id of the run.
        bundle: the bundle in ``folder``.
        folder: folder of the bundle.
        description: description of the version, in Markdown.
        metrics: metric -> finite value.
    """
    client, content = MlflowClient(), read_folder(folder)
    with (
        TemporaryDirectory() as plain,
        mlflow.start_run(run_id=run_id, log_system_metrics=False),
        _quiet(),
    ):
        # MLflow takes the folder's path for an address, in which # and % mean something.
        copied = content.write(Path(plain, "bundle"))
        info = Model.log(
            artifact_path=None,
            name=name,
            flavor=Unchecked,
            flavor_name="mlflow.pyfunc",
            python_model=pyfunc.__file__,
            artifacts={"bundle": str(copied)},
            signature=signature(bundle),
            pip_requirements=requirements(),
            metadata={"synthetic": bundle.study.synthetic, "endpoint": bundle.target},
            input_example=pd.DataFrame([example_patient(bundle.study)]),
            validate_serving_input=False,
            tags={"mlflow.source.name": "accomplice"},
        )
    # Each metric is of the run and of its model, on the run's dataset.
    now, inputs = int(time.time() * 1000), client.get_run(run_id).inputs
    used = inputs.dataset_inputs if inputs is not None else []
    dataset = (used[0].dataset.name, used[0].dataset.digest) if used else ()
    measured = [Metric(key, v, now, 0, info.model_id, *dataset) for key, v in metrics.items()]
    client.log_batch(run_id, metrics=measured, synchronous=True)
    about = f"Models of {bundle.study.name}. {RESEARCH_USE}"
    with contextlib.suppress(MlflowException):  # it exists already
        client.create_registered_model(name, tags=_task_tags(bundle), description=about)
    made = client.create_model_version(
        name,
        source=f"models:/{info.model_id}",
        run_id=run_id,
        tags=version_tags(bundle, content.digest),
        description=description,
        model_id=info.model_id,
    )
    # As MLflow's own registering does: its pages show by it that the model is registered.
    versions = [{"name": name, "version": int(made.version)}]
    about_model = {"mlflow.modelVersions": json.dumps(versions), "mlflow.note.content": description}
    client.set_logged_model_tags(info.model_id, about_model)
    return str(made.version)


def _task_tags(bundle: Bundle) -> dict[str, str]:
    return {"synthetic": str(bundle.study.synthetic).lower(), "endpoint": bundle.target}


class Unchecked:
    """MLflow's pyfunc flavour without its check of the example.

    The check would load the model once more, which takes longer than all of the rest.
    """

    @staticmethod
    def save_model(*, validate_serving_input: bool, **given: Any) -> None:  # noqa: ARG004
        """Write a model into a folder."""
        mlflow.pyfunc.save_model(**given)


def signature(bundle: Bundle) -> ModelSignature:
    """Return the model's signature: optional inputs, the parameter ``times``, and outputs.

    A model without a survival endpoint has no parameter ``times``.
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
    # The outputs are those of a patient without any value.
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
    """Return the packages needed at load, with the installed versions.

    MLflow would take ten seconds to infer them.
    """
    names = ("numpy", "pandas", "pydantic", "pyyaml", "safetensors")
    return [f"accomplice=={installed('accomplice')}", *(f"{n}=={installed(n)}" for n in names)]


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence MLflow's loggers and warnings."""
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
