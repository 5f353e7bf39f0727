"""Verdicts of a review, one for each question, as plain sentences with intervals.

"Adds value" needs a paired interval that excludes 0. A verdict whose figures are undefined for
these patients has the tone ``absent``, never ``yes``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from accomplice.data.cells.rounding import month_text
from accomplice.data.errors import counted, enumerated
from accomplice.training.estimators.intervals import Estimate
from accomplice.training.estimators.policy import EVENTS_TO_JUDGE, SIGNIFICANT, SOUND
from accomplice.training.evaluation.record import (
    Decision,
    Finding,
    Review,
    Subgroup,
)
from accomplice.training.metrics.joint_calibration import JointCalibration
from accomplice.training.metrics.table import label
from accomplice.training.models.predictions import MODEL
from accomplice.training.reports.page import Tone, Verdict

#: Largest median spread between fits, in percentage points of survival, without a caution.
NARROW = 20.0
#: Maximum number of names listed in a sentence.
MOST_NAMES = 4
#: Estimate of a score that is not on record.
UNKNOWN = Estimate(math.nan)


def ranking(review: Review) -> Verdict:
    """Judge by the interval of Uno's C whether patients are ranked better than by chance, 0.5."""
    c = _score(review, MODEL, "uno_c")
    if not math.isfinite(c.value):
        return Verdict("absent", "Uno's C is not determined by these patients.")
    text = f"Uno's C of the model is {c}; 0.5 is chance, 1 would be perfect."
    if c.above > 0.5:
        return Verdict("yes", f"{text} It ranks patients better than chance does.")
    if c.below < 0.5:
        return Verdict("alarm", f"{text} It ranks them worse than chance: the wrong way round.")
    return Verdict("no", f"{text} The interval includes chance.")


def added_value(review: Review) -> Verdict:
    """Judge the gain over the strongest simple model; it is certain if its interval excludes 0.

    Caution: certain gain in one score, certain loss in another. Alarm: certain loss alone.
    """
    gain = review.gains.get(review.strongest, {})
    known = {m: g for m, g in gain.items() if math.isfinite(g.value)}
    if not known:
        return Verdict("absent", "There is no simple model to hold it against.")
    better = [m for m, g in known.items() if g.above > 0]
    worse = [m for m, g in known.items() if g.below < 0]
    name = f"the strongest simple model ({review.strongest})"
    numbers = "; ".join(f"gain in {label(m)} {g:+.3f}" for m, g in known.items())
    if better and worse:
        text = f"The model is better than {name} in {_metrics(better)}, worse in {_metrics(worse)}"
        return Verdict("caution", f"{text}: {numbers}.")
    if better:
        return Verdict("yes", f"The model adds value over {name}: {numbers}.")
    if worse:
        return Verdict("alarm", f"{_first(name)} is better than the model: {numbers}.")
    behind = all(g.value <= 0 for g in known.values())
    aside = " By these patients it comes out behind." if behind else ""
    return Verdict("no", f"It is not shown that the model adds to {name}: {numbers}.{aside}")


def calibration(review: Review) -> Verdict:
    """Judge calibration by the joint test over all follow-up.

    Caution: the test is significant. If it is not, the answer is yes if :func:`is_shown`, else that
    nothing is shown.
    """
    judged = [c for c in review.calibration if math.isfinite(c.slope.value)]
    joint = review.joint_calibration
    if not judged or joint is None or math.isnan(joint.p):
        return Verdict("absent", "Calibration is not determined by these patients.")
    if joint.p < SIGNIFICANT:
        text = f"{_first(' and '.join(departures(joint)))} (one test over all follow-up, "
        return Verdict("caution", f"{text}p = {joint.p:.2g}).")
    slopes = ", ".join(f"{at.slope.value:.2f} at {month_text(at.month)}" for at in judged)
    if not is_shown(joint):
        return Verdict(
            "no",
            f"No departure beyond chance (p = {joint.p:.2g}), but the patients are too few to "
            f"exclude one (slopes {slopes} months; 1 is right).",
        )
    return Verdict(
        "yes",
        f"Predictions come true: slopes {slopes} months, over all follow-up for certain between "
        f"{SOUND[0]:g} and {SOUND[1]:g}.",
    )


def decisions(review: Review) -> Verdict:
    """Judge whether decisions gain over the strongest simple model, over all thresholds together.

    It is one test of the mean standardised gain; thresholds are named where the simultaneous band
    excludes 0. Caution: decisions lose.
    """
    judged = [d for d in review.decisions if np.isfinite(d.gain.value).any()]
    if not judged:
        return Verdict("absent", "Net benefit is not determined by these patients.")
    overall = judged[0].overall
    if not overall.known:
        return Verdict("absent", "The gain in net benefit was not tested.")
    against = review.strongest or "the strongest simple model"
    months = ", ".join(f"{month_text(d.month)}" for d in judged)
    tested = f"by one test of all thresholds at {months} months"
    sign = int(overall.above > 0) - int(overall.below < 0)
    if not sign:
        return Verdict("no", f"No gain in net benefit over {against} beyond chance, {tested}.")
    sure = [f"{month_text(d.month)} months ({r})" for d in judged if (r := _where(d, sign))]
    where = f"; for certain at {', '.join(sure)}" if sure else "; at no single one for certain"
    if sign > 0:
        return Verdict("yes", f"Decisions gain over {against}, {tested}{where}.")
    return Verdict("caution", f"Acting on {against} is worth more, {tested}{where}.")


def subgroups(review: Review) -> Verdict:
    """Judge whether predictions are worse in a subgroup than the model's own predictions imply.

    Caution: in a subgroup the calibration slope is lower than among the other patients, the
    strongest baseline predicts better, or more or fewer events are observed than expected, by p
    values adjusted for all subgroups and questions.
    """
    parts = [s for s in review.subgroups if s.feature != "all"]
    judged = [s for s in parts if math.isfinite(s.uno_c.value)]
    if not judged:
        return Verdict("absent", "No subgroup is large enough to be judged.")
    if all(math.isnan(p) for s in judged for p in (s.ranking_p, s.level_p)):
        return Verdict("absent", "No subgroup was tested.")
    weak = [
        f"{_named(s)} (slope {s.slope.value:.2f})" for s in judged if _is_significant(s.ranking_p)
    ]
    behind = [_named(s) for s in judged if _is_significant(s.gain_p)]
    amiss = [
        f"{_named(s)} ({s.observed_expected.value:.2f} times as many events as predicted)"
        for s in judged
        if _is_significant(s.level_p)
    ]
    found = [
        f"{text} {_list(names)}"
        for text, names in (
            ("ranked less well than their predicted risks promise:", weak),
            (f"better predicted by {review.strongest}:", behind),
            ("risks off the mark:", amiss),
        )
        if names
    ]
    groups = counted(len(judged), "group")
    level = (
        f"{groups} of at least {EVENTS_TO_JUDGE} events could be judged; of a model that is right "
        "this says something in at most one of twenty cohorts."
    )
    if found:
        return Verdict("caution", f"{_first('; '.join(found))}. {level}")
    text = "In no subgroup is it seen to be worse than its predictions promise"
    unsure = _list([_named(s) for s in judged if s.uno_c.above <= 0.5])
    if unsure:
        return Verdict("no", f"{text}, but it may rank by chance among {unsure}. {level}")
    return Verdict("yes", f"{text}. {level}")


def patterns(review: Review) -> Verdict:
    """Judge whether predictions are worse than they imply where a modality is missing.

    Caution: the calibration slope is lower than among the other patients, or more or fewer events
    are observed than expected.
    """
    missing = [p for p in review.patterns if p.missing]
    if not missing:
        return Verdict("absent", "No group of patients misses a modality.")
    judged = [p for p in missing if math.isfinite(p.uno_c.value)]
    if not judged:
        return Verdict("absent", "Too few patients miss a modality to judge how they fare.")
    if all(math.isnan(p) for each in judged for p in (each.ranking_p, each.level_p)):
        return Verdict("absent", "No pattern of missing modalities was tested.")
    weak = [enumerated(p.missing) for p in judged if _is_significant(p.ranking_p)]
    amiss = [enumerated(p.missing) for p in judged if _is_significant(p.level_p)]
    if weak or amiss:
        clauses = [
            f"{text} without {_list(names)}"
            for text, names in (
                ("patients are ranked less well than their predicted risks promise", weak),
                ("risks are off the mark", amiss),
            )
            if names
        ]
        return Verdict("caution", f"{_first('; '.join(clauses))}.")
    text = (
        f"{counted(len(judged), 'pattern')} of missing modalities could be judged; in none is the "
        "model seen to be worse than its predictions promise"
    )
    if any(p.uno_c.above <= 0.5 for p in judged):
        return Verdict(
            "no", f"{text}, but they are too few to exclude that it ranks by chance alone."
        )
    return Verdict("yes", f"{text}.")


def modalities(review: Review) -> Verdict:
    """Judge by the loss without each modality whether it certainly helps or harms.

    Caution: a modality harms, or helps by one score and harms by the other.
    """
    judged = [m for m in review.modalities if np.isfinite([m.ibs_loss.value]).all()]
    if not judged:
        return Verdict("absent", "The value of the modalities is not determined.")
    helps = [m.modality for m in judged if m.ibs_loss.above > 0 or m.uno_c_loss.above > 0]
    harms = [m.modality for m in judged if m.ibs_loss.below < 0 or m.uno_c_loss.below < 0]
    both = [name for name in helps if name in harms]
    helps, harms = ([n for n in names if n not in both] for names in (helps, harms))
    clauses = [
        f"{text} {_list(names)}"
        for text, names in (
            ("predictions would miss", helps),
            ("predictions are better without", harms),
            ("the measures disagree on", both),
        )
        if names
    ]
    others = len(judged) - len(helps) - len(harms) - len(both)
    if others:
        clauses.append(f"the worth of {others} other{'s' * (others > 1)} is uncertain")
    tone: Tone = "caution" if harms or both else "yes" if helps else "no"
    return Verdict(tone, f"{_first('; '.join(clauses))}.")


def instability(review: Review) -> Verdict:
    """Describe the spread of predictions between fits; caution if its median exceeds ``NARROW``."""
    found = review.instability
    if found is None or len(found.widest) != 5 or not np.isfinite(found.widest).all():
        return Verdict("absent", "How far fits differ is not determined.")
    half, most = (100 * found.widest[i] for i in (2, 4))
    text = (
        f"The middle 80 % of the models lie within {half:.0f} points of survival at "
        f"{month_text(found.month)} months for half of the patients, within {most:.0f} for 95 %. "
        "That is how far the models differ; how far they all are from the truth is more."
    )
    return Verdict("described" if half <= NARROW else "caution", text)


def drivers(review: Review) -> Verdict:
    """Name the features that move predictions most."""
    known = [i for i in review.importance if math.isfinite(i.size.value)]
    if not known:
        return Verdict("absent", "The drivers of the predictions were not judged.")
    known.sort(key=lambda i: -i.size.value)
    listed = ", ".join(f"{i.feature} ({i.modality})" for i in known[:MOST_NAMES])
    return Verdict(
        "described",
        f"Most of all {listed}. This describes the model: it is no proof that they cause anything.",
    )


def leaks(review: Review) -> Verdict:
    """Judge by the sentinels whether a leak is suspected: alarm if one fired."""
    run = [f for f in review.sentinels if f.status != "not run"]
    if not run:
        return Verdict("absent", "No sentinel was run: a leak is not excluded.")
    fired = [f for f in run if f.status == "fired"]
    unsure = [f for f in run if f.status == "caution"]
    if fired:
        advice = "Believe no number of this page."
        if _only_treatment(fired):
            advice = "Do not believe the results on the treatment."
        return Verdict("alarm", f"Suspected: {_findings(fired)}. {advice}")
    if unsure:
        return Verdict("caution", f"To be looked at, by the sentinels: {_findings(unsure)}.")
    unrun = len(review.sentinels) - len(run)
    aside = f" ({unrun} not run)" if unrun else ""
    return Verdict("yes", f"None of {len(run)} sentinels found a leak{aside}.")


def lead(review: Review) -> str:
    """Return the main conclusion: on the value over simple models, and on a leak if suspected."""
    fired, value = [f for f in review.sentinels if f.status == "fired"], added_value(review)
    if fired and _only_treatment(fired):
        return f"{value.text} The results on the treatment are not to be believed: see the alarm."
    if fired:
        return f"A leak is suspected, so that no number here can be believed. {value.text}"
    return value.text


def _only_treatment(fired: Sequence[Finding]) -> bool:
    """Whether the sentinels that fired concern the treatment's effect alone."""
    return all(f.sentinel == "immortal_time" for f in fired)


def _score(review: Review, model: str, metric: str) -> Estimate:
    return review.scores.get(model, {}).get(metric, UNKNOWN)


def _metrics(names: Iterable[str]) -> str:
    return enumerated(map(label, names))


def departures(joint: JointCalibration) -> list[str]:
    """Return the departures from calibration in words: those whose interval excludes 1.

    If none does, the larger one is returned.
    """
    slope, ratio = joint.slope, joint.observed_expected
    spread, risks = "extreme" if slope.value < 1 else "alike", "low" if ratio.value > 1 else "high"
    words = {
        f"predictions are too {spread} (slope {slope:.2f})": slope,
        f"risks are predicted too {risks} (observed/expected {ratio:.2f})": ratio,
    }
    found = [text for text, each in words.items() if not each.low <= 1 <= each.high]
    return found or [max(words, key=lambda text: abs(math.log(max(words[text].value, 1e-9))))]


def is_shown(joint: JointCalibration) -> bool:
    """Whether the intervals of slope and observed/expected over all follow-up lie in ``SOUND``."""
    figures = (joint.slope, joint.observed_expected)
    return all(SOUND[0] <= each.low <= each.high <= SOUND[1] for each in figures)


def _is_significant(p: float) -> bool:
    """Whether a p value is significant; NaN is not."""
    return p < SIGNIFICANT


def _where(decision: Decision, sign: int) -> str:
    """Return the range of thresholds whose band of the gain excludes 0; empty if there is none.

    Within the range the band may include 0 at some thresholds.

    Args:
        decision: net benefit at one month.
        sign: 1 for gains above 0, -1 for gains below it.
    """
    gain = decision.gain
    ends = gain.low if sign > 0 else gain.high
    if len(ends) != len(decision.thresholds):
        return ""
    sure = np.flatnonzero(sign * np.array(ends) > 0)
    if not len(sure):
        return ""
    first, last = (100 * decision.thresholds[i] for i in (sure[0], sure[-1]))
    return f"from {first:.0f} to {last:.0f} % risk" if last > first else f"{first:.0f} % risk"


def _named(group: Subgroup) -> str:
    return f"{group.feature} {group.level}"


def _findings(found: list[Finding]) -> str:
    return _list(
        [f"{f.sentinel.replace('_', ' ')}{_of(f)}" for f in found],
    )


def _of(finding: Finding) -> str:
    return f" ({_list(finding.features)})" if finding.features else ""


def _list(names: Iterable[str]) -> str:
    listed = list(names)
    if len(listed) > MOST_NAMES:
        listed = [*listed[:MOST_NAMES], f"{len(listed) - MOST_NAMES} more"]
    return enumerated(listed)


def _first(text: str) -> str:
    """Return a text with a capital first letter."""
    return text[:1].upper() + text[1:]
