"""Verbs of the command line as functions, with checked arguments and typed results.

Heavy libraries are imported by the function that needs them, so that predictions of a bundle on
disk need neither torch nor MLflow.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from accomplice.data.cohort import Cohort, Patients
from accomplice.data.errors import InputError, expect
from accomplice.data.loading import read_cohort, read_endpoints, read_patients
from accomplice.data.matching.columns import aligned, refuse_unfit
from accomplice.data.study import Study, load_study
from accomplice.training.budget import limited
from accomplice.training.progress import Tick, silent

if TYPE_CHECKING:
    import pandas as pd

    from accomplice.training.bundle import Bundle
    from accomplice.training.config import Config
    from accomplice.training.run import Trained
    from accomplice.training.tracking.registry import Logged
    from accomplice.training.validation.validation import Validation

#: A path; a model may also be a name in MLflow, such as ``models:/NAME@champion``.
Location: TypeAlias = str | PathLike[str]
#: Forms in which a model is named, for errors.
MODEL = "a bundle, its folder, runs:/ID or models:/NAME@alias"


@dataclass(frozen=True, eq=False)
class Run:
    """The result of ``train`` or ``tune``."""

    bundle: Bundle = field(repr=False)
    """The fitted models; ``bundle.predict(frame, times)`` predicts."""
    trained: Trained = field(repr=False)
    """Fit and evaluation of each endpoint, such as ``trained.primary.evaluation``."""
    path: Path | None
    """Folder of the bundle; None if it was not written."""
    run_id: str | None
    """Id of the MLflow run; None if the run was not tracked."""
    model: str | None
    """Name of the registered model, ``models:/NAME/VERSION``; None if the run was not tracked."""


def read_study(path: Location) -> Study:
    """Read and check a study file.

    Args:
        path: the study file, such as one drafted by ``accomplice data init``.

    Returns:
        The study, with absolute paths of its tables, so that it can be read from any folder.

    Raises:
        InputError: ``path`` is no path, or the file is missing, is not YAML, names a key twice, or
            does not describe a study.
    """
    if not isinstance(path, str | PathLike):
        raise InputError(
            f"study: a {type(path).__name__} is no study: give a study or the path of its file; "
            "SurvivalEstimator takes a frame"
        )
    study = load_study(Path(path))
    folder = Path(path).absolute().parent
    files = tuple(str(folder / name) for name in study.source.files)
    return study.model_copy(update={"source": study.source.model_copy(update={"files": files})})


def load_cohort(
    study: Study | Location, endpoint: str | None = None, *, further: bool = True
) -> Cohort:
    """Read a study's tables and check them.

    Args:
        study: a study, or the path of its file. Relative paths of the tables start at the working
            folder for a study, at the file's folder for a file.
        endpoint: the primary survival endpoint; the study's first if absent.
        further: whether the study's other survival endpoints are read too, as ``train`` does.

    Returns:
        The cohort: n patients with coded features, follow-up in months and events.

    Raises:
        InputError: the study or a table is wrong, or the study has no such survival endpoint.
    """
    return read_cohort(_study(study), Path(), endpoint, further=further)


def train(
    study: Study | Patients | Location,
    *,
    settings: Mapping[str, Any] | None = None,
    seed: int | None = None,
    out: Location | None = None,
    force: bool = False,
    track: bool = True,
    name: str | None = None,
    max_seconds: float = math.inf,
    tick: Tick = silent,
) -> Run:
    """Fit and evaluate a model of each endpoint, as ``accomplice train`` does.

    A further survival or a binary endpoint with too few events or labels gets no model.

    Args:
        study: a study, the path of its file, or loaded patients.
        settings: values by the keys of ``--set``, such as ``{"net.members": 4}``; settings left
            out have their defaults.
        seed: seed of folds, initial weights and bootstraps, in place of the setting ``seed``.
        out: folder for the bundle; a folder in the MLflow store if absent.
        force: whether a bundle at ``out`` is replaced.
        track: whether the run is logged to MLflow (``MLFLOW_TRACKING_URI``, or ``mlruns/`` in the
            working folder) and its model registered. If not, only ``out`` is written, if given.
        name: name of the MLflow run; made from stage and study if absent.
        max_seconds: time budget; once it is spent, each remaining step does only its minimum.
        tick: progress callback ``(stage, done, total)``.

    Returns:
        The models with their evaluation, folder and run.

    Raises:
        InputError: the study, its table or a setting is wrong, ``out`` holds something else, or
            events or labels are too few; then nothing was written. Or, during the fit, the machine
            lacks the device of the settings.
    """
    from accomplice.training.fitting.folds import check_folds
    from accomplice.training.models.response import check_labels
    from accomplice.training.run import train as fit_and_judge

    config, folder = _config(settings, seed), _free_folder(out, study, force=force)
    patients = _patients(study, config)
    if isinstance(patients, Cohort):
        check_folds(patients, config)
    else:
        check_labels(patients)
    budget = limited(max_seconds)
    if track:
        from accomplice.training.tracking.experiment import fit_and_keep
        from accomplice.training.tracking.store import open_store

        made = fit_and_keep(
            open_store(),
            patients,
            config,
            folder,
            tick,
            stage="train",
            name=name,
            budget=budget,
            study_file=_study_file(study),
        )
        return _run(*made)
    trained = fit_and_judge(patients, config, tick, budget)
    if folder is not None:
        trained.bundle.save(folder, force=True)
    return Run(trained.bundle, trained, folder, None, None)


def tune(
    study: Study | Cohort | Location,
    *,
    trials: int,
    settings: Mapping[str, Any] | None = None,
    seed: int | None = None,
    out: Location | None = None,
    force: bool = False,
    storage: str | None = None,
    name: str | None = None,
    max_seconds: float = math.inf,
    tick: Tick = silent,
) -> Run:
    """Search for better settings, then train the final model, as ``accomplice tune`` does.

    Trials and the final model are logged to MLflow. The same call resumes an interrupted search.

    Args:
        study: a study, the path of its file, or a loaded cohort.
        trials: total number of trials, those of earlier calls included; at least 1.
        settings: as for :func:`train`; the search starts from them.
        seed: as for :func:`train`.
        out: folder for the final model's bundle; a folder in the MLflow store if absent.
        force: whether a bundle at ``out`` is replaced.
        storage: URL of Optuna's storage, such as a database shared by several machines; a file in
            the MLflow store if absent.
        name: name of the Optuna study; derived from cohort and settings if absent.
        max_seconds: time budget of the search and the final model together.
        tick: progress callback ``(stage, done, total)``.

    Returns:
        The final model with its evaluation, folder and run.

    Raises:
        InputError: as for :func:`train`; or ``trials`` is not a whole number of at least 1, the
            patients have no survival endpoint, or the storage cannot be opened.
    """
    from accomplice.training.fitting.folds import check_folds
    from accomplice.training.search.study import check_storage
    from accomplice.training.tracking.experiment import search
    from accomplice.training.tracking.store import open_store

    expect("trials", trials, Integral, "a whole number")
    if trials < 1:
        raise InputError(f"trials: {trials}: at least 1 is needed")
    config, folder = _config(settings, seed), _free_folder(out, study, force=force)
    patients = _patients(study, config)
    if not isinstance(patients, Cohort):
        patients.study.survival_endpoint(config.endpoint)
        raise InputError("study: patients without survival: tune takes a cohort of an endpoint")
    check_folds(patients, config)
    store = open_store()
    check_storage(storage or store.optuna)
    budget, file = limited(max_seconds), _study_file(study)
    made = search(store, patients, config, trials, storage, name, folder, budget, file, tick)
    return _run(*made)


def evaluate(
    model: Bundle | Location,
    study: Study | Cohort | Location,
    *,
    endpoint: str | None = None,
    features: Mapping[str, str] | None = None,
    recalibrate: bool = False,
    bootstraps: int | None = None,
    seed: int | None = None,
    tick: Tick = silent,
) -> Validation:
    """Evaluate a model on patients it was not trained on, as ``accomplice evaluate`` does.

    Nothing is written or logged; only the command writes a report.

    Args:
        model: a bundle, or its folder or name as in :func:`load`.
        study: the other patients: a study, the path of its file, or a loaded cohort.
        endpoint: survival endpoint of the study; if absent, the model's primary one or, where the
            study lacks it, the study's first.
        features: the model's feature -> the study's feature, where the names do not match.
        recalibrate: whether the model is recalibrated too (level and, where held-out patients are
            better predicted so, slope and course over time), and the update evaluated on these.
        bootstraps: bootstrap samples of each interval; as in the model's training if absent.
        seed: seed of folds and bootstraps; as in the model's training if absent.
        tick: progress callback ``(stage, done, total)``.

    Returns:
        Discrimination, calibration and review of the predictions, beside the training run's
        out-of-fold results.

    Raises:
        InputError: there is no such model, endpoint or feature, the study or a setting is wrong,
            the cohort's fingerprint is that of the training or of an update, or events are too few.
    """
    from accomplice.training.config import unflat, with_settings
    from accomplice.training.tracking.sketches import find_sketch
    from accomplice.training.validation.external import choose_endpoint, refuse_seen
    from accomplice.training.validation.validation import validate

    bundle = _bundle(model)
    _expect_mapping("features", features, '{"age": "age_years"}')
    described = study.study if isinstance(study, Cohort) else _study(study)
    predicted, observed = choose_endpoint(bundle, described, endpoint)
    cohort = study if isinstance(study, Cohort) else load_cohort(described, observed, further=False)
    cohort = cohort.with_endpoint(observed)
    refuse_seen(bundle, cohort, described.name)
    asked = {"seed": seed, "evaluation.bootstraps": bootstraps}
    given = {key: value for key, value in asked.items() if value is not None}
    config = with_settings(unflat(bundle.config), given, prefix="setting")
    inputs = (bundle, predicted, cohort, config, features)
    return validate(*inputs, sketch=find_sketch(bundle), update=recalibrate, tick=tick)


def load(model: Location) -> Bundle:
    """Load a model, and check that it predicts its stored test rows as when it was made.

    Args:
        model: a bundle's folder, ``runs:/ID``, ``models:/NAME@alias`` or ``models:/NAME/VERSION``.

    Raises:
        InputError: there is no such model, its files were changed, or these predictions differ.
    """
    from accomplice.training.bundle import Bundle
    from accomplice.training.tracking.store import find_bundle

    expect("model", model, (str, PathLike), MODEL)
    return Bundle.of(find_bundle(str(model)))


def predict(
    model: Bundle | Location,
    table: pd.DataFrame | Location,
    times: Sequence[float] | float | None = None,
    *,
    rates: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Predict for the rows of a table, with the columns of ``accomplice predict``.

    Args:
        model: a bundle, or its folder or name as in :func:`load`.
        table: a frame of n patients, or the path of a table. Its columns have the study's names,
            apart from letter case, blanks and punctuation; values may be missing.
        times: months at which survival is predicted; if absent, those of 12, 36 and 60 up to the
            model's horizon, or else the horizon.
        rates: binary endpoint -> rate of positives where the model is used; the study's
            ``local_rate`` if absent.

    Returns:
        n rows in the table's order, with the frame's index: ``patient_id``, ``risk`` (log-hazard,
        higher is worse), ``survival@T``, ``flags`` and more; see
        :meth:`accomplice.training.bundle.Bundle.predict`.

    Raises:
        InputError: there is no such model, the table cannot be read, a time is negative, not
            finite, repeated or beyond the model's horizon, a rate is not between 0 and 1, the table
            has none of the model's features, or a column has 5 values or more, all invalid.
    """
    import pandas as pd

    from accomplice.training.bundle import SEPARATOR

    bundle = _bundle(model)
    expect("table", table, (str, PathLike, pd.DataFrame), "a frame or the path of a table")
    if isinstance(table, str | PathLike):
        found = bundle.predict(read_patients(Path(table), bundle.study), times, rates)
    else:
        found = bundle.predict(aligned(table, bundle.study), times, rates)
        found = found.set_axis(table.index)
    flags = Counter(flag for text in found["flags"] for flag in text.split(SEPARATOR))
    refuse_unfit(bundle.study, flags, len(found))
    return found


def _expect_mapping(name: str, given: object, example: str) -> None:
    expect(name, given, (Mapping, type(None)), f"a mapping such as {example}")


def _study(study: Study | Location) -> Study:
    return study if isinstance(study, Study) else read_study(study)


def _bundle(model: Bundle | Location) -> Bundle:
    from accomplice.training.bundle import Bundle

    return model if isinstance(model, Bundle) else load(model)


def _patients(study: Study | Patients | Location, config: Config) -> Patients:
    """Return the patients with the endpoints that a configuration asks for."""
    if isinstance(study, Patients):
        wanted = config.endpoint
        if wanted is None:
            return study
        if not isinstance(study, Cohort):
            study.study.survival_endpoint(wanted)
            raise InputError(f"endpoint: the patients were loaded without '{wanted}'")
        return study.with_endpoint(wanted)
    return read_endpoints(_study(study), Path(), config.endpoint, further=config.further_endpoints)


def _config(settings: Mapping[str, Any] | None, seed: int | None) -> Config:
    from accomplice.training.config import Config, with_settings

    _expect_mapping("settings", settings, '{"net.members": 4}')
    short = {} if seed is None else {"seed": seed}
    return with_settings(Config(), {**(settings or {}), **short}, prefix="setting")


def _free_folder(
    out: Location | None, study: Study | Patients | Location, *, force: bool
) -> Path | None:
    """Return the absolute path of the bundle's folder; refuse one that holds something else."""
    from accomplice.training.models.manifest import check_place

    if out is None:
        return None
    described = _study(study) if not isinstance(study, Patients) else study.study
    expect("out", out, (str, PathLike), "the path of a folder")
    file = _study_file(study)
    read = [*([] if file is None else [file]), *map(Path, described.source.files)]
    check_place(Path(out), read, force=force)
    return Path(out).absolute()


def _study_file(study: Study | Patients | Location) -> Path | None:
    return Path(study) if isinstance(study, str | PathLike) else None


def _run(trained: Trained, path: Path, logged: Logged) -> Run:
    model = f"models:/{logged.model_name}/{logged.version}"
    return Run(trained.bundle, trained, path, logged.run_id, model)
