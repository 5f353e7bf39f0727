"""A marker and a treatment that was not randomised: interaction, and checks of the effect.

An observational effect far from that of trials points to confounding by indication or to immortal
time, since patients who die early are never treated (Suissa, "Immortal time bias in
pharmacoepidemiology", Am J Epidemiol 2008). A landmark analysis counts only patients still
followed when treatment had begun (Anderson, Cain and Gelber, J Clin Oncol 1983).
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
    strata,
    strongest,
)
from accomplice.training.treatment.trial_range import TrialRange


@dataclass(frozen=True)
class Modification:
    """The marker's interaction with the treatment, among patients with both known."""

    treated: int
    untreated: int
    interaction: HazardRatio
    """Ratio of the treatment's hazard ratios a standard deviation of the marker; adjusted."""
    low: HazardRatio
    """The treatment's, at or below the marker's median; adjusted."""
    high: HazardRatio
    """The treatment's, above the median; adjusted."""
    contrast: HazardRatio
    """``high`` over ``low``."""
    design: Design | None
    """Power and errors at the contrast's standard error; None where it is not determined."""


@dataclass(frozen=True)
class TreatmentEffect:
    """The treatment's own observational effect, with checks of its credibility."""

    column: str
    treated: int
    untreated: int
    unknown: int
    """Patients without a recorded treatment, left out."""
    ratios: dict[str, HazardRatio]
    """The treatment's: crude, adjusted for each of several sets of features, and at the landmark.

    The last is adjusted for the last set, among patients followed to the landmark.
    """
    landmark: float
    """Months."""
    early: EarlyEvents
    """Events before the landmark of patients for whom the treatment is an option."""
    trials: TrialRange | None
    """Range of the hazard ratio in trials, if the study file gives one."""

    @property
    def outside(self) -> tuple[str, ...]:
        """Which of the adjusted hazard ratios have an interval wholly outside the trials' range."""
        if self.trials is None:
            return ()
        adjusted = list(self.ratios.items())[1:]
        return tuple(k for k, r in adjusted if r.known and self.trials.side(r))

    @property
    def strongest(self) -> float:
        """Lowest credible hazard ratio of the treatment, at most 1."""
        return strongest(self.trials, list(self.ratios.values())[-1])

    @property
    def immortal_p(self) -> float:
        """Chance of so few early events among the treated, by the strongest credible effect.

        A treatment that works prevents early events too; immortal time prevents more.
        """
        return self.early.fewer_by_chance(self.strongest)

    @property
    def alarm(self) -> bool:
        """Whether there is a sign that the effect is biased."""
        return bool(self.outside) or self.immortal_p < SURPRISE


def modification(cohort: Cohort, x: Array, clinical: Array, plausible: float) -> Modification | str:
    """Estimate a marker's interaction with the treatment, or return why that cannot be done.

    Args:
        cohort: patients with the marker.
        x: (n,) marker in standard deviations.
        clinical: (n, q) design that is adjusted for.
        plausible: ratio of hazard ratios, high over low, for the power.
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
    """Estimate the treatment's own effect in a cohort, or return why that cannot be done.

    Args:
        cohort: all patients.
        sets: designs (n, q) that are adjusted for, by name; the last also at the landmark.
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
    """Return the patients with a known treatment (n,) and their arm (m,), or why there are none."""
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
