"""Verdicts of an external validation: discrimination, calibration, update and features."""

from __future__ import annotations

import math
from typing import Any

from accomplice.data.cells.rounding import month_text
from accomplice.data.errors import some
from accomplice.data.matching.match import Match
from accomplice.training.estimators.policy import MANY_OUTSIDE, SIGNIFICANT
from accomplice.training.evaluation.calibration import Calibrated
from accomplice.training.metrics.joint_calibration import JointCalibration
from accomplice.training.models.predictions import MODEL
from accomplice.training.reports.page import Verdict
from accomplice.training.reports.review.verdicts import departures, is_shown
from accomplice.training.validation.validation import (
    BEFORE,
    CheckedUpdate,
    Validation,
    external_json,
    known_by_modality,
)


def of_discrimination(validation: Validation) -> Verdict:
    """Return the verdict on discrimination, by the 95 % interval of Uno's C.

    The tone is ``absent`` without an interval, and ``alarm`` if its lower end is at most 0.5. It is
    ``caution`` if training patients are among the cohort's, or if Uno's C is significantly lower
    than in training, either after allowing for the case mix or without a lower model-based
    concordance. Else it is ``yes``.
    """
    here, change = validation.evaluation.scores[MODEL].uno_c, validation.change_in_c
    beyond = validation.change_beyond_case_mix
    figure = f"Uno's C {here}"
    if math.isnan(here.low):
        return Verdict("absent", "These patients are too few to judge their order by.")
    if here.low <= 0.5:
        return Verdict("alarm", f"Discrimination is not shown to be better than chance: {figure}.")
    beside = f"{figure}, against {validation.trained.figures['uno_c']} in training"
    if validation.overlap.status == "fired":
        return Verdict(
            "caution", f"Training patients are among these, so that it flatters: {beside}."
        )
    if beyond.high < 0:
        clause = f"{beside}; it differs by {beyond:+.3f} from what their case mix lets expect"
        return Verdict("caution", f"Discrimination holds up in part: {clause}.")
    if change.high < 0:
        before, now = (
            each.uno_c.value
            for each in (validation.trained.expected, validation.review.expected_concordance)
        )
        if not now < before:
            return Verdict(
                "caution", f"Discrimination holds up in part: {beside}, which is higher."
            )
        beside += (
            f", which is higher; these patients are more alike: the model itself expects {now:.3f} "
            f"of them, {before:.3f} of those, and beyond this C changed by {beyond:+.3f}"
        )
    return Verdict("yes", f"Discrimination holds up: {beside}.")


def of_calibration(
    calibration: tuple[Calibrated, ...],
    joint: JointCalibration | None,
    whose: str = "Calibration",
) -> Verdict:
    """Return the verdict on calibration, by one test over all follow-up.

    The tone is ``absent`` without a test, ``alarm`` if its p value is below ``SIGNIFICANT``, else
    ``yes`` if the intervals of slope and observed/expected over all follow-up lie in ``SOUND``, and
    ``no`` if there are too few patients for that.

    Args:
        calibration: calibration at several months; figures of the middle one are in the text.
        joint: observed/expected and slope over all follow-up, and their test; None with too few
            events.
        whose: subject of the sentences.
    """
    middle = calibration[len(calibration) // 2]
    slope, ratio = middle.slope, middle.observed_expected
    if joint is None or math.isnan(joint.p):
        return Verdict("absent", f"{whose} cannot be judged: the events are too few.")
    if joint.p < SIGNIFICANT:
        text = " and ".join(departures(joint))
        test = f"one test over all follow-up, p = {joint.p:.2g}"
        return Verdict("alarm", f"{whose} is off ({test}): {text}.")
    figures = ", ".join(
        f"{name} {estimate}"
        for name, estimate in (("slope", slope), ("observed over expected", ratio))
        if not math.isnan(estimate.value)
    )
    at = f" ({figures}, at {month_text(middle.month)} months)" if figures else ""
    if is_shown(joint):
        return Verdict("yes", f"{whose} holds: no departure beyond chance, p = {joint.p:.2g}{at}.")
    text = f"{whose} is not shown: no departure beyond chance, p = {joint.p:.2g}, but the patients"
    return Verdict("no", f"{text} are too few to exclude one{at}.")


def of_update(checked: CheckedUpdate) -> Verdict:
    """Return the verdict on an update, judged on held-out patients.

    The tone is ``no`` if nothing is updated, ``yes`` if calibration then holds and the upper end of
    the gain in the integrated Brier score is above 0, and else ``caution``.
    """
    update = checked.recalibration.update
    after = of_calibration(checked.calibration, checked.joint, "Calibration of held-out patients")
    gain = checked.served.gains[BEFORE]["ibs"]
    change = f"the integrated Brier score falls by {gain}"
    if update.form == "nothing":
        text = "No update predicts held-out patients better than none: the model stays as it is."
        return Verdict("no", text)
    text = f"Updated: {update.form}. {after.text[:-1]}; {change}."
    return Verdict("yes" if after.tone == "yes" and gain.high > 0 else "caution", text)


def of_matching(validation: Validation) -> Verdict:
    """Return the verdict on the model's features that the study has.

    The tone is ``yes`` if the study has all of them and none is :func:`suspect`, else ``caution``.
    """
    matching = validation.external.matching
    total = len(matching.matches)
    text = f"{len(matching.found)} of the model's {total} features were found in the study."
    if matching.absent_modalities:
        text += f" Modalities missing here: {', '.join(matching.absent_modalities)}."
    thin = [
        f"{name} ({have} of {of}: without {some(without, 3, quote='')})"
        for name, (have, of, _) in known_by_modality(validation).items()
        if 0 < have < of / 2 and (without := _without(validation, name))
    ]
    if thin:
        text += f" Less than half is there of {', '.join(thin)}."
    if matching.doubtful:
        names = ", ".join(match.feature for match in matching.doubtful)
        text += f" Not certain, and left missing: {names}."
    whole = not matching.missing and not suspect(matching.found)
    return Verdict("yes" if whole else "caution", text)


def verdicts(validation: Validation) -> dict[str, Verdict]:
    """Return key -> verdict, the main answers first."""
    found = {
        "discrimination": of_discrimination(validation),
        "calibration": of_calibration(validation.calibration, validation.review.joint_calibration),
    }
    if validation.update is not None:
        found["update"] = of_update(validation.update)
    return found | {"features": of_matching(validation)}


def suspect(found: tuple[Match, ...]) -> tuple[Match, ...]:
    """Return the features with many values outside the training range or of an unknown level.

    Many means a share above ``MANY_OUTSIDE``.
    """
    return tuple(match for match in found if max(match.outside, match.unknown) > MANY_OUTSIDE)


def _without(validation: Validation, modality: str) -> list[str]:
    """Return a modality's features that were not found, in the order of the study file."""
    matches = validation.external.matching.matches
    block = validation.external.bundle.study.blocks[modality]
    return [matches[j].feature for j in block if matches[j].source is None]


def to_json(validation: Validation) -> dict[str, Any]:
    """Return the results of a validation, without values of single patients.

    Estimates are left as they are, for `intervals.plain` to convert.
    """
    external, matching = validation.external, validation.external.matching
    checked = validation.update
    return {
        "model": validation.trained.study,
        "study": validation.cohort.study.name,
        "endpoint": validation.cohort.endpoint,
        "model_endpoint": external.model.endpoint,
        "synthetic": validation.synthetic,
        "verdicts": {
            name: {"tone": v.tone, "text": v.text} for name, v in verdicts(validation).items()
        },
        "training": {
            "patients": validation.trained.patients,
            "horizon": validation.trained.horizon,
            **validation.trained.figures,
            "calibration_slope": validation.trained.slope,
            "calibration_month": validation.trained.slope_month,
        },
        "change_in_uno_c": validation.change_in_c,
        "change_beyond_case_mix": validation.change_beyond_case_mix,
        "expected_uno_c": {
            "training": validation.trained.expected.uno_c,
            "here": validation.review.expected_concordance.uno_c,
        },
        **external_json(validation.evaluation),
        "calibration_at": [_calibrated(each) for each in validation.calibration],
        "recalibration": None
        if checked is None
        else {
            **checked.recalibration.update.to_json(),
            "held_out_log_likelihood_gain": checked.recalibration.gains,
            "chosen_in_folds": checked.recalibration.chosen,
            "held_out": external_json(checked.evaluation),
            "calibration_at": [_calibrated(each) for each in checked.calibration],
        },
        "responses": validation.responses,
        "not_judged": validation.unjudged,
        "matching": {
            "features": [
                {**vars(match), "levels": dict(match.levels)} for match in matching.matches
            ],
            "modalities": {
                name: {"found": have, "features": of, "patients_with_any": share}
                for name, (have, of, share) in known_by_modality(validation).items()
            },
            "unused": matching.unused,
            "expression_ranked_in_cohort": external.ranked,
            "expression_on_training_scale": external.unranked,
        },
        "overlap": validation.overlap.model_dump(mode="json"),
        "review": validation.review.model_dump(mode="json"),
    }


def _calibrated(each: Calibrated) -> dict[str, Any]:
    return {
        "month": each.month,
        "slope": each.slope,
        "observed_expected": each.observed_expected,
        "intercept": each.intercept,
        "smooth": None if each.smooth is None else vars(each.smooth),
    }
