"""Interaction of a marker with a treatment that was not randomised, and checks of its effect.

An observational effect far from that of trials is a sign of confounding by indication or of
immortal time bias, since patients who die early are never treated (Suissa, "Immortal time bias in
pharmacoepidemiology", Am J Epidemiol 2008). A landmark analysis includes only patients still
followed at the landmark, by when the treatment has begun (Anderson, Cain and Gelber, "Analysis of
survival by tumor response", J Clin Oncol 1983).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from accomplice.data.arrays import Array, Bools
from accomplice.data.cohort import Cohort
from accomplice.training.estimators.hazard_ratios import (
    Design,
    HazardRatio,
    fit_effects,
    judge_design,
)
from accomplice.training.estimators.policy import MARKER_ARM_EVENTS, SURPRISE
from accomplice.training.marker.association import above_median
from accomplice.training.treatment.immortal_time import (
    EarlyEvents,
    early_events,
    lowest_credible_hr,
    strata,
)
from accomplice.training.treatment.trial_range import TrialRange


@dataclass(frozen=True)
class Modification:
    """The marker's interaction with the treatment, in patients whose treatment is known.

    All ratios are adjusted for the clinical features.
    """

    treated: int
    """Number of treated patients."""
    untreated: int
    """Number of untreated patients."""
    interaction: HazardRatio
    """Factor of the treatment's hazard ratio for one standard deviation of the marker."""
    low: HazardRatio
    """Hazard ratio of the treatment in the low half by the marker; see :func:`above_median`."""
    high: HazardRatio
    """Hazard ratio of the treatment in the high half."""
    contrast: HazardRatio
    """``high`` divided by ``low``."""
    design: Design | None
    """Power and errors at the contrast's standard error; None if the contrast is undetermined."""


@dataclass(frozen=True)
class TreatmentEffect:
    """The treatment's own observational effect, with checks of its credibility."""

    column: str
    """Name of the treatment's column."""
    treated: int
    """Number of treated patients."""
    untreated: int
    """Number of untreated patients."""
    unknown: int
    """Number of patients whose treatment is unknown or of neither arm, who are left out."""
    ratios: dict[str, HazardRatio]
    """Adjustment -> hazard ratio of the treatment.

    The first is crude, the next are adjusted for one set of features each. The last is adjusted for
    the last of these sets, in patients followed beyond the landmark; it is NaN with too few events
    in an arm after the landmark.
    """
    landmark: float
    """Landmark, in months."""
    early: EarlyEvents
    """Events up to the landmark in patients for whom the treatment is an option."""
    trials: TrialRange | None
    """Range of the hazard ratio in trials; None if the study file gives none."""

    @property
    def outside(self) -> tuple[str, ...]:
        """Adjustments whose hazard ratio has its whole 95 % interval outside the trials' range."""
        if self.trials is None:
            return ()
        adjusted = list(self.ratios.items())[1:]
        return tuple(k for k, r in adjusted if r.known and self.trials.side(r))

    @property
    def lowest_credible_hr(self) -> float:
        """Lowest credible hazard ratio of the treatment, at most 1.

        It is the lower end of the trials' range; without a range, the lower end of the interval at
        the landmark, or 1 if that is NaN.
        """
        return lowest_credible_hr(self.trials, list(self.ratios.values())[-1])

    @property
    def immortal_p(self) -> float:
        """Mid p value of so few early events in the treated, with ``strongest`` as odds ratio.

        An effective treatment prevents some early events; immortal time removes more.
        """
        return self.early.fewer_by_chance(self.lowest_credible_hr)

    @property
    def alarm(self) -> bool:
        """Whether there is a sign of bias: ``outside`` or a small ``immortal_p``."""
        return bool(self.outside) or self.immortal_p < SURPRISE


def modification(cohort: Cohort, x: Array, clinical: Array, plausible: float) -> Modification | str:
    """Estimate a marker's interaction with the treatment.

    Args:
        cohort: n patients with a value of the marker.
        x: (n,) marker in standard deviations.
        clinical: (n, q) design that is adjusted for.
        plausible: assumed ratio of the treatment's hazard ratios, high over low, for the power.

    Returns:
        The interaction, or the reason why it cannot be estimated.
    """
    arms = _arms(cohort)
    if isinstance(arms, str):
        return arms
    rows, t = arms
    time, event = cohort.outcome
    time, event, x, clinical = time[rows], event[rows], x[rows], clinical[rows]
    high = above_median(x).astype(float)
    product = fit_effects(np.stack([x * t, t, x], axis=1), time, event, clinical)
    halves = fit_effects(np.stack([t * (1 - high), t * high, high], axis=1), time, event, clinical)
    contrast = halves.ratio(-1, 1)
    return Modification(
        treated=int((t == 1).sum()),
        untreated=int((t == 0).sum()),
        interaction=product.ratio(1),
        low=halves.ratio(1),
        high=halves.ratio(0, 1),
        contrast=contrast,
        design=judge_design(plausible, contrast) if contrast.known else None,
    )


def treatment_effect(cohort: Cohort, sets: dict[str, Array]) -> TreatmentEffect | str:
    """Estimate the treatment's own effect in a cohort.

    Args:
        cohort: all n patients.
        sets: name -> design (n, q) that is adjusted for, at least one; the last also at the
            landmark.

    Returns:
        The effect, or the reason why it cannot be estimated.
    """
    arms, treatment = _arms(cohort), cohort.study.treatment
    if isinstance(arms, str) or treatment is None:
        return str(arms)
    landmark = treatment.landmark
    rows, t = arms
    time, event = cohort.outcome
    time, event = time[rows], event[rows]
    ratios = {"nothing": fit_effects(t, time, event).ratio(1)}
    for name, design in sets.items():
        ratios[name] = fit_effects(t, time, event, design[rows]).ratio(1)
    late = time > landmark
    last, left = list(sets)[-1], (int(late.sum()), int(event[late].sum()))
    at_landmark = HazardRatio.of(math.nan, math.nan, *left)
    if min(event[late & (t == arm)].sum() for arm in (0, 1)) >= MARKER_ARM_EVENTS:
        at_landmark = fit_effects(t[late], time[late], event[late], sets[last][rows][late]).ratio(1)
    ratios[f"{last} (landmark {landmark:g} months)"] = at_landmark
    return TreatmentEffect(
        column=treatment.column,
        treated=int((t == 1).sum()),
        untreated=int((t == 0).sum()),
        unknown=int((~rows).sum()),
        ratios=ratios,
        landmark=landmark,
        early=early_events(t, time, event, landmark, strata(cohort.study, cohort.values[rows])),
        trials=TrialRange.of(treatment),
    )


def _arms(cohort: Cohort) -> tuple[Bools, Array] | str:
    """Return whether each patient's treatment is known (n,), and the arm of those (m,), 0 or 1.

    With too few events in an arm it is the reason why no effect is estimated.
    """
    treated, event = cohort.treated, cohort.outcome.event
    if treated is None:
        return "the study records no treatment"
    untreated_events, treated_events = (int(event[treated == arm].sum()) for arm in (0, 1))
    if min(untreated_events, treated_events) < MARKER_ARM_EVENTS:
        return (
            f"{treated_events} events among the treated and {untreated_events} among the "
            f"untreated are too few: {MARKER_ARM_EVENTS} are needed in each"
        )
    rows = ~np.isnan(treated)
    return rows, treated[rows]
