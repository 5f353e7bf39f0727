"""Models to compare, the patients to judge them on, and each model's predictions of these.

Neither a bundle nor MLflow stores patients, so a comparison needs a cohort: that of the study file
given, or of the study file in the tags of a model's run. A model that was trained on enough of
these patients predicts its training cohort out of fold; another one predicts them as new patients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accomplice.data.cohort import Cohort
from accomplice.data.errors import InputError
from accomplice.data.loading import load_cohort
from accomplice.training.bundle import Bundle
from accomplice.training.config import Config, unflat, with_settings
from accomplice.training.estimators.policy import EVENTS_TO_JUDGE
from accomplice.training.evaluation.comparison import same_patients
from accomplice.training.fitting.out_of_fold import from_fit, replay
from accomplice.training.leakage.cohort_overlap import shared
from accomplice.training.models.manifest import readable
from accomplice.training.models.predictions import Predictions
from accomplice.training.models.provenance import updates_of
from accomplice.training.models.survival import SurvivalModel
from accomplice.training.tracking.sketches import find_sketch
from accomplice.training.tracking.store import find_bundle, tagged_runs
from accomplice.training.tracking.stores.moved import STUDY_FILE
from accomplice.training.tracking.stores.recorded import DIGEST
from accomplice.training.validation.external import predict_cohort


@dataclass(frozen=True)
class Contender:
    """A model to compare with others."""

    name: str
    """Name of the model as the user gave it."""
    bundle: Bundle
    digest: str
    """SHA-256 that identifies the bundle's content."""
    folder: Path
    """Folder of the bundle."""
    study_file: Path | None
    """Study file of the run that made the model; None if unknown or missing."""

    @property
    def config(self) -> Config:
        """Configuration of the run that made the model."""
        return unflat(self.bundle.config)

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the training cohort."""
        return str(self.bundle.provenance["cohort_fingerprint"])

    def model(self, endpoint: str) -> SurvivalModel:
        """Return the model of a survival endpoint.

        Raises:
            InputError: the bundle has no model of this endpoint.
        """
        model = self.bundle.survival.get(endpoint)
        if model is None:
            known = ", ".join(self.bundle.survival) or "none"
            raise InputError(
                f"{self.name}: no model of the survival endpoint '{endpoint}' (it has: {known})"
            )
        return model

    def made_from(self) -> dict[str, Any]:
        """Return the model's provenance, as plain data."""
        made, study = self.bundle.provenance, self.bundle.study
        return {
            "model": self.name,
            "digest": self.digest,
            "fit_id": made["fit_id"],
            "study": study.name,
            "synthetic": study.synthetic,
            "cohort_fingerprint": self.fingerprint,
            "patients": made.get("patients"),
            "events": made.get("events"),
            "features": len(study.features),
        }

    def own_cohort(self, study: Path, endpoint: str) -> Cohort | None:
        """Return the training cohort with an endpoint.

        None if ``study`` cannot be read or has other patients, or if the model was trained without
        the endpoint.
        """
        config = self.config
        try:
            cohort = load_cohort(study, config.endpoint, further=config.further_endpoints)
        except InputError:
            return None
        if cohort.fingerprint() != self.fingerprint:
            return None
        return cohort if cohort.endpoint == endpoint else cohort.further.get(endpoint)


@dataclass(frozen=True, eq=False)
class ContenderPredictions:
    """A contender's predictions of the patients to judge it on."""

    predicted: Predictions
    how: str
    """Origin of the predictions, in words."""
    seen: bool = False
    """Whether the model was fitted to outcomes of these patients, so that its metrics are too
    good."""


def contender(model: str) -> Contender:
    """Load a model by its folder or its address in the store; see :func:`find_bundle`.

    Raises:
        InputError: there is no such model, its files were changed, or it predicts its golden rows
            differently from when it was made.
    """
    content = find_bundle(model)
    bundle, digest = Bundle.of(content), content.digest
    with readable(content.path):
        unflat(bundle.config)
    return Contender(model, bundle, digest, content.path, _study_file(bundle, digest))


def different_settings(first: Contender, second: Contender) -> dict[str, tuple[Any, Any]]:
    """Return the settings that differ between two models: key -> (first's value, second's)."""
    one, other = first.bundle.config, second.bundle.config
    return {
        key: (one.get(key), other.get(key))
        for key in dict.fromkeys((*one, *other))
        if one.get(key) != other.get(key)
    }


def _study_file(bundle: Bundle, digest: str) -> Path | None:
    """Return the study file of the run that made a bundle, or of the run that made its fit.

    None if there is no store, no such run, or the file no longer exists.
    """
    for tag, value in ((DIGEST, digest), ("fit_id", bundle.provenance["fit_id"])):
        tags = [run.data.tags for run in tagged_runs(tag, value)]
        named = [Path(each[STUDY_FILE]) for each in tags if STUDY_FILE in each]
        for path in filter(Path.is_file, named):
            return path
    return None


def endpoint_of(first: Contender, named: str | None) -> str:
    """Return the survival endpoint to judge: the one given, or the first model's own.

    Args:
        first: the first model.
        named: the endpoint given by the user; None without one.

    Raises:
        InputError: the first model has no survival endpoint, or not the one given.
    """
    if named is None and not first.bundle.survival:
        raise InputError(f"{first.name}: no survival endpoint, and models are compared by one")
    endpoint = named or first.bundle.target
    first.model(endpoint)
    return endpoint


def cohort_of(contenders: Sequence[Contender], study: str | Path | None, endpoint: str) -> Cohort:
    """Load the patients to judge on, by the study file given or the first one in a model's run.

    Raises:
        InputError: no study file is known, or it cannot be read or has no such endpoint.
    """
    known = [each.study_file for each in contenders if each.study_file is not None]
    if study is None and not known:
        raise InputError(
            "no study file is known of these models: name the cohort to judge them on by --study"
        )
    path = Path(study) if study is not None else known[0]
    for each in contenders:
        own = each.own_cohort(path, endpoint)
        if own is not None:
            return own
    return load_cohort(path, endpoint)


def predict(
    contender: Contender, cohort: Cohort, endpoint: str, study: str | Path | None
) -> ContenderPredictions:
    """Predict a cohort by a contender.

    Args:
        contender: the model.
        cohort: patients to judge on, with the outcome of ``endpoint``.
        endpoint: survival endpoint.
        study: study file of the cohort, given by the user; None without one.

    Returns:
        Out-of-fold predictions of the whole training cohort, if its study file is known and
        ``EVENTS_TO_JUDGE`` of its patients with an event are also in ``cohort``; otherwise
        predictions of ``cohort`` as new patients.

    Raises:
        InputError: the contender has no model of the endpoint, knows none of the cohort's features,
            or was updated after training and patients of the cohort are in its training cohort.
    """
    model = contender.model(endpoint)
    for path in dict.fromkeys(p for p in (study, contender.study_file) if p is not None):
        own = contender.own_cohort(Path(path), endpoint)
        if own is None:
            continue
        in_both, events = _in_both(own, cohort, model.horizon)
        if in_both and updates_of(contender.bundle.provenance):
            # A replay refits the fold models as they were before the update.
            raise InputError(
                f"{contender.name}: was updated after it was trained, and cannot be judged on the "
                "patients it was trained on: name others by --study"
            )
        if events >= EVENTS_TO_JUDGE:
            fitted = replay(model, own, contender.config)
            which = "these" if in_both == len(cohort) else f"{in_both} of these {len(cohort)}"
            how = f"out of fold: trained on {which} patients"
            alone = with_settings(contender.config, {"evaluation.peers": False})
            return ContenderPredictions(from_fit(fitted, alone, model.baselines), how)
    how = f"as new patients: trained on another cohort ({contender.fingerprint[:12]})"
    predicted = predict_cohort(contender.bundle, endpoint, cohort).predicted
    suspicion = _suspicion(contender, cohort)
    return ContenderPredictions(predicted, how + suspicion, seen=bool(suspicion))


def _in_both(own: Cohort, cohort: Cohort, horizon: float) -> tuple[int, int]:
    """Return the number of patients in both cohorts, and the number of all their events.

    Patients are the same if their outcomes up to ``horizon`` months agree.
    """
    try:
        rows, _ = same_patients(own, cohort, min(horizon, own.horizon, cohort.horizon))
    except InputError:
        return 0, 0
    return len(rows), int(own.event[rows].sum())


def _suspicion(contender: Contender, cohort: Cohort) -> str:
    """Return why a model may have been fitted to the patients that it predicts as new ones.

    The text is empty if there is no reason.
    """
    updates = updates_of(contender.bundle.provenance)
    if cohort.fingerprint() in [each.get("cohort_fingerprint") for each in updates]:
        return "; its level and slope were updated on these patients"
    overlap = shared(find_sketch(contender.bundle), cohort)
    return f"; {overlap.text}" if overlap.status == "fired" else ""
