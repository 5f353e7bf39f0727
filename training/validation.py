"""External validation: what a model's predictions of another cohort are worth.

Discrimination and calibration are told apart: ranks may hold up where probabilities do not, and
only the latter can be mended without new training (Debray et al., "A new framework to enhance the
interpretation of external validation studies of clinical prediction models", J Clin Epidemiol
2015). The figures stand beside those of the training run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from data.cohort import Cohort
from data.errors import InputError
from data.matching import Match
from training.budget import UNLIMITED
from training.bundle import Bundle
from training.calibration import Calibrated, calibrated
from training.config import Config
from training.evaluation import Estimate, Evaluation, judge_predicted
from training.external import External, judge_labels, predict_cohort, why_few
from training.page import Verdict
from training.predicted import MODEL
from training.progress import Tick, silent
from training.recalibration import Recalibration, recalibrate
from training.record import Finding, Review
from training.response_evaluation import ResponseEvaluation

#: Events from which on a model is judged.
FEWEST_EVENTS = 10
#: Parts of the judged horizon at which calibration is judged; the middle one gives the verdict.
MARKS = (0.25, 0.5, 0.75)
#: What the model is called in the comparison with its updated self.
BEFORE = "before the update"
#: Part of the patients outside the range, or with unknown levels, that is pointed out.
MANY = 0.1


@dataclass(frozen=True)
class Trained:
    """What the training run said of the model, out of fold."""

    study: str
    synthetic: bool
    patients: int
    uno_c: Estimate
    ibs: Estimate
    slope: float
    slope_month: float
    horizon: float


@dataclass(frozen=True, eq=False)
class Repaired:
    """The updated model, judged on patients whom its updates were not fitted to."""

    recalibration: Recalibration
    evaluation: Evaluation
    """Of the held-out updates; its gain is over the model before."""
    calibration: tuple[Calibrated, ...]


@dataclass(frozen=True, eq=False)
class Validation:
    """All that is found."""

    external: External
    trained: Trained
    evaluation: Evaluation
    calibration: tuple[Calibrated, ...]
    """At ``MARKS`` of the judged horizon."""
    responses: dict[str, ResponseEvaluation]
    unjudged: dict[str, str]
    """Binary endpoint of the model -> why it is not judged here."""
    repaired: Repaired | None
    overlap: Finding | None
    """Whether patients of the training cohort are among those judged."""
    review: Review | None
    """The whole review of the predictions, as of a training run's."""

    @property
    def cohort(self) -> Cohort:
        """The judged patients, by their own study file."""
        return self.external.cohort

    @property
    def synthetic(self) -> bool:
        """Whether the patients of either side are."""
        return self.trained.synthetic or self.cohort.study.synthetic

    @property
    def change_in_c(self) -> Estimate:
        """Uno's C here minus that of the training run."""
        return difference(self.evaluation.scores[MODEL].uno_c, self.trained.uno_c)


def validate(
    bundle: Bundle,
    endpoint: str,
    cohort: Cohort,
    config: Config,
    named: Mapping[str, str] | None = None,
    *,
    update: bool = False,
    overlap: Callable[[Bundle, Cohort], Finding] | None = None,
    review: Callable[[External, Evaluation, Config, Tick], Review] | None = None,
    tick: Tick = silent,
) -> Validation:
    """Predict for a cohort, judge it, and check an update of the model if asked to.

    Args:
        bundle: trained on other patients.
        endpoint: survival endpoint of the bundle.
        cohort: other patients, with the endpoint to judge by.
        config: its seed and bootstraps.
        named: the model's feature -> the study's, where matching cannot know.
        update: whether level and slope are updated, and checked on held-out patients.
        overlap: finds patients of the training cohort among the cohort's; not looked for if absent.
        review: reviews the predictions as a training run's are; not done if absent.
        tick: told how far the work is.

    Raises:
        InputError: no feature matches, or there are too few events.
    """
    tick("prediction", 0, 1)
    few = why_few(cohort, bundle.survival[endpoint].horizon, FEWEST_EVENTS)
    if few:
        raise InputError(few)
    external = predict_cohort(bundle, endpoint, cohort, named)
    tick("prediction", 1, 1)
    tick("evaluation", 0, 2)
    predicted = external.predicted
    evaluation = judge_predicted(predicted, config, UNLIMITED)
    tick("evaluation", 1, 2)
    (time, event), grid = predicted.outcome, predicted.grid
    months = tuple(evaluation.horizon * mark for mark in MARKS)
    how = (months, evaluation.bootstraps, config.seed)
    calibration = calibrated(time, event, grid, predicted.curves[MODEL], *how)
    tick("evaluation", 2, 2)
    repaired = None
    if update:
        made = recalibrate(predicted.blind, external.finish, time, event, grid, config.seed, tick)
        curves = {MODEL: made.held_out}
        old = {BEFORE: predicted.curves[MODEL]}
        again = judge_predicted(replace(predicted, curves=curves, baselines=old), config, UNLIMITED)
        repaired = Repaired(made, again, calibrated(time, event, grid, made.held_out, *how))
    responses, unjudged = judge_labels(external, cohort, config)
    return Validation(
        external=external,
        trained=trained_figures(bundle, endpoint),
        evaluation=evaluation,
        calibration=calibration,
        responses=responses,
        unjudged=unjudged,
        repaired=repaired,
        overlap=None if overlap is None else overlap(bundle, cohort),
        review=None if review is None else review(external, evaluation, config, tick),
    )


def trained_figures(bundle: Bundle, endpoint: str) -> Trained:
    """Read what the training run said of one endpoint's model."""
    found: Mapping[str, Any] = bundle.metrics
    found = found.get("further", {}).get(endpoint, found)
    scores = found.get("models", {}).get(MODEL, {})

    def number(value: float | None) -> float:
        return math.nan if value is None else float(value)

    def estimate(name: str) -> Estimate:
        raw = scores.get(name) or {"value": None}
        return Estimate(**{key: number(value) for key, value in raw.items()})

    return Trained(
        study=bundle.study.name,
        synthetic=bundle.study.synthetic,
        patients=int(found.get("patients", 0)),
        uno_c=estimate("uno_c"),
        ibs=estimate("ibs"),
        slope=number(found.get("calibration", {}).get("slope")),
        slope_month=number(found.get("calibration", {}).get("time")),
        horizon=number(found.get("horizon")),
    )


def difference(one: Estimate, other: Estimate) -> Estimate:
    """Difference of two independent figures, its interval from theirs.

    Each side's distance to its limit is squared and added (Zou and Donner, Stat Med 2008).
    """
    value = one.value - other.value
    down = math.hypot(one.value - one.low, other.high - other.value)
    up = math.hypot(one.high - one.value, other.value - other.low)
    return Estimate(value, value - down, value + up)


def of_discrimination(found: Validation) -> Verdict:
    """Say whether the model puts these patients in the right order."""
    here, change = found.evaluation.scores[MODEL].uno_c, found.change_in_c
    figure = f"Uno's C {here}"
    if math.isnan(here.low):
        return Verdict("absent", "These patients are too few to judge their order by.")
    if here.low <= 0.5:
        return Verdict("alarm", f"Discrimination is not shown to be better than chance: {figure}.")
    beside = f"{figure}, against {found.trained.uno_c} in training"
    if change.high < 0:
        return Verdict("caution", f"Discrimination holds up in part: {beside}, which is higher.")
    return Verdict("yes", f"Discrimination holds up: {beside}.")


def of_calibration(calibration: tuple[Calibrated, ...], whose: str = "Calibration") -> Verdict:
    """Say whether predictions come true, by the month in the middle."""
    middle = calibration[len(calibration) // 2]
    slope, ratio = middle.slope, middle.observed_expected
    if math.isnan(slope.low) or math.isnan(ratio.low):
        return Verdict("absent", f"{whose} cannot be judged at {middle.month:.0f} months.")
    figures = f"slope {slope}, observed over expected {ratio}, at {middle.month:.0f} months"
    if middle.holds:
        return Verdict("yes", f"{whose} holds: {figures}.")
    wrong = []
    if ratio.high < 1:
        wrong.append("risks are predicted too high")
    if ratio.low > 1:
        wrong.append("risks are predicted too low")
    if slope.high < 1:
        wrong.append("predictions are too extreme")
    if slope.low > 1:
        wrong.append("patients differ more than is predicted")
    return Verdict("alarm", f"{whose} is off: {', and '.join(wrong)} ({figures}).")


def of_update(repaired: Repaired) -> Verdict:
    """Say what the update does to patients whom it was not fitted to."""
    update = repaired.recalibration.update
    after = of_calibration(repaired.calibration, "Calibration of held-out patients")
    gain = repaired.evaluation.gains[BEFORE]["ibs"]
    told = f"the integrated Brier score falls by {gain}"
    if update.form == "nothing":
        text = "No update predicts held-out patients better than none: the model stays as it is."
        return Verdict("no", text)
    said = f"Updated: {update.form}. {after.text[:-1]}; {told}."
    return Verdict("yes" if after.tone == "yes" and gain.high > 0 else "caution", said)


def of_matching(found: Validation) -> Verdict:
    """Say how much of the model's input there is."""
    matching = found.external.matching
    total = len(matching.matches)
    text = f"{len(matching.found)} of the model's {total} features were found in the study."
    if matching.absent_modalities:
        text += f" Modalities missing here: {', '.join(matching.absent_modalities)}."
    thin = [
        f"{name} ({have} of {of}: without {_some(without)})"
        for name, (have, of, _) in known_by_modality(found).items()
        if 0 < have < of / 2 and (without := _without(found, name))
    ]
    if thin:
        text += f" Less than half is there of {', '.join(thin)}."
    if matching.doubtful:
        names = ", ".join(match.feature for match in matching.doubtful)
        text += f" Not certain, and left missing: {names}."
    whole = not matching.missing and not suspect(matching.found)
    return Verdict("yes" if whole else "caution", text)


def verdicts(found: Validation) -> dict[str, Verdict]:
    """Return what is said of each question, the answers first."""
    said = {
        "discrimination": of_discrimination(found),
        "calibration": of_calibration(found.calibration),
    }
    if found.repaired is not None:
        said["update"] = of_update(found.repaired)
    return said | {"features": of_matching(found)}


def suspect(found: tuple[Match, ...]) -> tuple[Match, ...]:
    """Features of which many values are outside the range or of an unknown level."""
    return tuple(match for match in found if max(match.outside, match.unknown) > MANY)


def known_by_modality(found: Validation) -> dict[str, tuple[int, int, float]]:
    """Modality -> its features found, all of them, and the part of patients with any known."""
    study, matching = found.external.bundle.study, found.external.matching
    seen = ~np.isnan(matching.values)
    have = np.array([match.source is not None for match in matching.matches])
    return {
        name: (int(have[list(b)].sum()), len(b), float(seen[:, list(b)].any(axis=1).mean()))
        for name, b in study.blocks.items()
    }


def _without(found: Validation, modality: str) -> list[str]:
    """The features of a modality that were not found, in the study file's order."""
    matches = found.external.matching.matches
    block = found.external.bundle.study.blocks[modality]
    return [matches[j].feature for j in block if matches[j].source is None]


def _some(names: list[str], most: int = 3) -> str:
    """Join names, cutting a long list short."""
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def headline(found: Validation) -> dict[str, float]:
    """Return the metrics of a run, the determined ones only."""
    middle = len(MARKS) // 2
    scores = found.evaluation.scores[MODEL]
    estimates = {
        "uno_c": scores.uno_c,
        "harrell_c": scores.harrell_c,
        "ibs": scores.ibs,
        "uno_c_change": found.change_in_c,
        "calibration_slope": found.calibration[middle].slope,
        "observed_expected": found.calibration[middle].observed_expected,
    }
    if found.repaired is not None:
        after = found.repaired.calibration[middle]
        estimates |= {
            "recalibrated_slope": after.slope,
            "recalibrated_observed_expected": after.observed_expected,
            "recalibrated_ibs": found.repaired.evaluation.scores[MODEL].ibs,
            "recalibrated_ibs_gain": found.repaired.evaluation.gains[BEFORE]["ibs"],
        }
    for name, response in found.responses.items():
        estimates |= {f"{name}_auroc": response.estimates["auroc"]}
    named = {"features_found": float(len(found.external.matching.found))}
    for name, estimate in estimates.items():
        named |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    return {k: v for k, v in named.items() if v == v and abs(v) < 1e300}


def to_json(found: Validation) -> dict[str, Any]:
    """Return the figures as plain data, without any patient's."""
    external, matching = found.external, found.external.matching
    repaired = found.repaired
    return {
        "model": found.trained.study,
        "study": found.cohort.study.name,
        "endpoint": found.cohort.endpoint,
        "model_endpoint": external.model.endpoint,
        "synthetic": found.synthetic,
        "verdicts": {name: {"tone": v.tone, "text": v.text} for name, v in verdicts(found).items()},
        "training": {
            "patients": found.trained.patients,
            "horizon": found.trained.horizon,
            "uno_c": vars(found.trained.uno_c),
            "ibs": vars(found.trained.ibs),
            "calibration_slope": found.trained.slope,
            "calibration_month": found.trained.slope_month,
        },
        "change_in_uno_c": vars(found.change_in_c),
        **external_json(found.evaluation),
        "calibration_at": [_calibrated(each) for each in found.calibration],
        "recalibration": None
        if repaired is None
        else {
            **repaired.recalibration.update.to_json(),
            "held_out_log_likelihood_gain": repaired.recalibration.gains,
            "chosen_in_folds": repaired.recalibration.chosen,
            "held_out": external_json(repaired.evaluation),
            "calibration_at": [_calibrated(each) for each in repaired.calibration],
        },
        "responses": {name: each.to_json() for name, each in found.responses.items()},
        "not_judged": found.unjudged,
        "matching": {
            "features": [
                {**vars(match), "levels": dict(match.levels)} for match in matching.matches
            ],
            "modalities": {
                name: {"found": have, "features": of, "patients_with_any": share}
                for name, (have, of, share) in known_by_modality(found).items()
            },
            "unused": matching.unused,
            "expression_ranked_in_cohort": external.ranked,
            "expression_on_training_scale": external.unranked,
        },
        "overlap": None if found.overlap is None else found.overlap.model_dump(mode="json"),
        "review": None if found.review is None else found.review.model_dump(mode="json"),
    }


def external_json(evaluation: Evaluation) -> dict[str, Any]:
    """Return an evaluation as plain data that says what kind it is."""
    protocol = "external; 95 % bootstrap intervals; differences paired"
    return evaluation.to_json() | {"protocol": protocol}


def _calibrated(each: Calibrated) -> dict[str, Any]:
    return {
        "month": each.month,
        "slope": vars(each.slope),
        "observed_expected": vars(each.observed_expected),
    }
