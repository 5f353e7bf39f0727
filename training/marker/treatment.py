"""Interaction of a marker with a treatment that was not randomised, and checks of its effect.

The interaction has one test, fixed in advance: that of its change per standard deviation of the
marker, which needs no cut-point. The halves by the marker only describe it.

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
from accomplice.data.rows.treatment import is_option
from accomplice.training.estimators.hazard_ratios import (
    Design,
    HazardRatio,
    fit_effects,
    judge_design,
)
from accomplice.training.estimators.imputation.multiple import pooled
from accomplice.training.estimators.policy import MARKER_ARM_EVENTS, SURPRISE
from accomplice.training.marker.association import above_median
from accomplice.training.marker.covariates import Designs
from accomplice.training.treatment.compared import compared
from accomplice.training.treatment.immortal_time import (
    EarlyEvents,
    early_events,
    lowest_credible_hr,
    strata,
)
from accomplice.training.treatment.trial_range import TrialRange

#: Reason why there is no section on a treatment.
NO_TREATMENT = "the study records no treatment"
#: Prior standard deviation of a clinical feature's interaction with the treatment, per standard
#: deviation, as a fraction of that of its own log-hazard ratio: effects differ less than risks do.
PRODUCT_SD = 0.5


@dataclass(frozen=True)
class Modification:
    """The marker's interaction with the treatment, from the landmark on.

    It is that of patients whose treatment is known and an option. All ratios are adjusted for the
    clinical features and for their own interactions with the treatment.
    """

    treated: int
    """Number of treated patients."""
    untreated: int
    """Number of untreated patients."""
    landmark: float
    """Landmark, in months."""
    interaction: HazardRatio
    """Factor of the treatment's hazard ratio for one standard deviation of the marker: the one that
    is tested."""
    low: HazardRatio
    """Hazard ratio of the treatment in the low half by the marker; see :func:`above_median`."""
    high: HazardRatio
    """Hazard ratio of the treatment in the high half."""
    contrast: HazardRatio
    """``high`` divided by ``low``; not tested."""
    plausible: float
    """Assumed true ratio ``high`` over ``low``, for the power."""
    design: Design | None
    """Power and errors of the test at the factor per standard deviation that ``plausible`` means:
    its root by the distance of the halves' means. None if the interaction is undetermined."""


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
    no_option: int
    """Number of patients with a known treatment that is no option for them, who are left out."""
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
        """Mid p value of so few early events in the treated, at the lowest credible hazard ratio.

        An effective treatment prevents some early events; immortal time removes more.
        """
        return self.early.fewer_by_chance(self.lowest_credible_hr)

    @property
    def alarm(self) -> bool:
        """Whether there is a sign of bias: ``outside`` or a small ``immortal_p``."""
        return bool(self.outside) or self.immortal_p < SURPRISE


def modification(
    cohort: Cohort, x: Array, clinical: Designs, plausible: float
) -> Modification | str:
    """Estimate a marker's interaction with the treatment.

    Args:
        cohort: n patients with a value of the marker.
        x: (n,) marker in standard deviations.
        clinical: designs (n, q) that are adjusted for, one for each imputed data set.
        plausible: assumed ratio of the treatment's hazard ratios, high over low, for the power.

    Returns:
        The interaction, or the reason why it cannot be estimated.
    """
    treatment, treated = cohort.study.treatment, cohort.treated
    if treatment is None or treated is None:
        return NO_TREATMENT
    rows = compared(cohort)
    time, event = cohort.outcome
    t, time, event, x = treated[rows], time[rows], event[rows], x[rows]
    if few := _too_few(t, event, f" from month {treatment.landmark:g} on"):
        return few
    if x.min() == x.max():
        return "the marker is the same in all patients who can be compared"
    high = above_median(x).astype(float)
    products, halves = [], []
    for design in (whole[rows] for whole in clinical):
        # Centred, so that the treatment's hazard ratios are those of average patients.
        by_treatment = (t - t.mean())[:, None] * (design - design.mean(axis=0))
        adjust = np.concatenate([design, PRODUCT_SD * by_treatment], axis=1)
        X = np.stack([x * t, t, x], axis=1)
        products.append(fit_effects(X, time, event, adjust))
        X = np.stack([t * (1 - high), t * high, high], axis=1)
        halves.append(fit_effects(X, time, event, adjust))
    interaction = pooled([fit.ratio(1) for fit in products])
    apart = float(x[high == 1].mean() - x[high == 0].mean())
    return Modification(
        treated=int((t == 1).sum()),
        untreated=int((t == 0).sum()),
        landmark=treatment.landmark,
        interaction=interaction,
        low=pooled([fit.ratio(1) for fit in halves]),
        high=pooled([fit.ratio(0, 1) for fit in halves]),
        contrast=pooled([fit.ratio(-1, 1) for fit in halves]),
        plausible=plausible,
        design=judge_design(plausible ** (1 / apart), interaction) if interaction.known else None,
    )


def treatment_effect(cohort: Cohort, sets: dict[str, Designs]) -> TreatmentEffect | str:
    """Estimate the treatment's own effect in a cohort.

    Args:
        cohort: all n patients.
        sets: name -> designs (n, q) that are adjusted for, one for each imputed data set, of at
            least one set; the last also at the landmark.

    Returns:
        The effect, or the reason why it cannot be estimated.
    """
    arms, treatment, treated = _arms(cohort), cohort.study.treatment, cohort.treated
    if isinstance(arms, str) or treatment is None or treated is None:
        return str(arms)
    landmark = treatment.landmark
    rows, t = arms
    unknown = int(np.isnan(treated).sum())
    time, event = cohort.outcome
    time, event = time[rows], event[rows]
    ratios = {"nothing": fit_effects(t, time, event).ratio(1)}
    for name, designs in sets.items():
        ratios[name] = pooled([fit_effects(t, time, event, X[rows]).ratio(1) for X in designs])
    late = time > landmark
    last, left = list(sets)[-1], (int(late.sum()), int(event[late].sum()))
    at_landmark = HazardRatio.of(math.nan, math.nan, *left)
    if min(event[late & (t == arm)].sum() for arm in (0, 1)) >= MARKER_ARM_EVENTS:
        followed = t[late], time[late], event[late]
        at_landmark = pooled([fit_effects(*followed, X[rows][late]).ratio(1) for X in sets[last]])
    ratios[f"{last} (landmark {landmark:g} months)"] = at_landmark
    return TreatmentEffect(
        column=treatment.column,
        treated=int((t == 1).sum()),
        untreated=int((t == 0).sum()),
        unknown=unknown,
        no_option=len(cohort) - len(t) - unknown,
        ratios=ratios,
        landmark=landmark,
        early=early_events(t, time, event, landmark, strata(cohort.study, cohort.values[rows])),
        trials=TrialRange.of(treatment),
    )


def _too_few(treated: Array, event: Bools, when: str = "") -> str:
    """Return the reason why arms (n,) have too few events to be compared; empty if enough."""
    untreated_events, treated_events = (int(event[treated == arm].sum()) for arm in (0, 1))
    if min(untreated_events, treated_events) >= MARKER_ARM_EVENTS:
        return ""
    return (
        f"{treated_events} events among the treated and {untreated_events} among the untreated"
        f"{when} are too few: {MARKER_ARM_EVENTS} are needed in each"
    )


def _arms(cohort: Cohort) -> tuple[Bools, Array] | str:
    """Return whether each patient's treatment is known and an option (n,), and their arm (m,).

    With too few events in an arm it is the reason why no effect is estimated.
    """
    treated, event = cohort.treated, cohort.outcome.event
    if treated is None:
        return NO_TREATMENT
    rows = ~np.isnan(treated) & is_option(cohort.study, cohort.values)
    return _too_few(treated[rows], event[rows]) or (rows, treated[rows])
