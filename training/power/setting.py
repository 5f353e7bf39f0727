"""The patients of a power simulation: size, shares and follow-up, by options or from a cohort.

Effects are never read from a cohort: power at an interaction that the cohort itself estimated would
only restate its p value (Hoenig and Heisey, "The abuse of power", Am Stat 2001).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from accomplice.data.arrays import Array, Bools
from accomplice.data.cohort import Cohort
from accomplice.data.errors import InputError, nearest
from accomplice.training.estimators.kaplan_meier import censoring
from accomplice.training.estimators.policy import EVENTS_TO_SIMULATE
from accomplice.training.power.simulation import (
    HALF_MEAN,
    LARGEST,
    Scale,
    Scenario,
    default_follow_up,
)

#: Number of equally likely times that approximate the distribution of the follow-up.
QUANTILES = 200
#: Default sizes of the curve beside the one asked about, in patients.
SIZES = (200, 400, 800, 1600, 3200)
#: Default hazard ratios of the treatment where the marker is low, and where it is high.
HR_LOW, HR_HIGH = 0.48, 0.76


@dataclass(frozen=True, eq=False)
class Setting:
    """The simulated patients: size, shares and follow-up, apart from the effects."""

    patients: int = 409
    """Number of patients, analysed or not."""
    events: float = 0.45
    """Fraction of the analysed patients with an observed event."""
    treated: float = 0.6
    """Share of the analysed patients who are treated."""
    known: float = 1.0
    """Share of the patients who are analysed: marker and treatment are recorded."""
    follow_up: Array = field(default_factory=default_follow_up)
    """(k,) equally likely times to which a patient without the event is followed, in any unit."""

    def changed(
        self,
        patients: int | None,
        events: float | None,
        treated: float | None,
        known: float | None,
    ) -> Setting:
        """Return the setting with the given values in place of its own; None keeps its own."""
        given = {"patients": patients, "events": events, "treated": treated, "known": known}
        changes = {k: v for k, v in given.items() if v is not None}
        return replace(self, **changes)  # type: ignore[arg-type]


def treated_of(cohort: Cohort) -> Array:
    """Return the treatment (n,): 1 if treated, 0 if not, NaN where it is not recorded.

    Raises:
        InputError: the study names no treatment.
    """
    study, treated = cohort.study, cohort.treated
    if treated is None:
        raise InputError(
            f"study '{study.name}' has no treatment: add the key 'treatment' to the study file, or "
            "leave STUDY out and give --n, --events and --treated"
        )
    return treated


def setting_of(cohort: Cohort, marker: str) -> Setting:
    """Read size, shares and follow-up from a cohort.

    Args:
        cohort: cohort of a study with a treatment.
        marker: name of the feature that may change the treatment's effect.

    Raises:
        InputError: the study has no treatment, the marker is no numeric feature, or the patients
            with both recorded are all in one arm, all have the event or have too few events.
    """
    study = cohort.study
    treated = treated_of(cohort)
    if marker not in study.features:
        raise InputError(f"--marker: no feature '{marker}'{nearest(marker, study.features)}")
    if study.features[marker].levels is not None:
        kind = study.features[marker].kind
        raise InputError(f"--marker: '{marker}' is of kind {kind}: name a feature of numbers")
    values = cohort.values[:, list(study.features).index(marker)]
    complete = ~np.isnan(values) & ~np.isnan(treated)
    given = int((treated[complete] == 1).sum())
    not_given = int(complete.sum()) - given
    time, event = cohort.time[complete], cohort.event[complete]
    if min(given, not_given) == 0 or event.sum() < EVENTS_TO_SIMULATE or event.all():
        raise InputError(
            f"--marker: of the {len(time)} patients with '{marker}' and treatment recorded "
            f"{given} are treated and {int(event.sum())} have the event: treated, untreated, at "
            f"least {EVENTS_TO_SIMULATE} events and some patients without are needed; or leave "
            "STUDY out and give --n, --events and --treated"
        )
    return Setting(
        patients=len(cohort),
        events=float(event.mean()),
        treated=given / len(time),
        known=len(time) / len(cohort),
        follow_up=follow_up(time, event),
    )


def follow_up(time: Array, event: Bools) -> Array:
    """Return equally likely times (k,) of the follow-up that patients would have without events.

    They are quantiles of the reverse Kaplan-Meier curve (Schemper and Smith, "A note on quantifying
    follow-up in studies of failure time", Control Clin Trials 1996). Quantiles that the curve does
    not reach are its last time.

    Args:
        time: (n,) follow-up, in any unit.
        event: (n,) whether the event was observed.
    """
    curve = censoring(time, event)
    probability = (np.arange(QUANTILES) + 0.5) / QUANTILES
    place = np.searchsorted(-curve.survival, probability - 1)
    return curve.times[np.minimum(place, len(curve.times) - 1)]


def scenario_of(
    setting: Setting,
    *,
    hr_low: float | None = None,
    hr_high: float | None = None,
    interaction: float | None = None,
    hr_marker: float | None = None,
    scale: Scale = "half",
    alpha: float = 0.05,
) -> Scenario:
    """Combine the patients with the assumed effects.

    Args:
        setting: simulated patients.
        hr_low: hazard ratio of the treatment where the marker is low; None: ``HR_LOW``.
        hr_high: hazard ratio of the treatment where the marker is high; None: that by
            ``interaction``, or ``HR_HIGH`` without one.
        interaction: ratio of these hazard ratios, high over low; with the scale ``sd`` its factor
            for a marker one SD higher. None: by the two hazard ratios.
        hr_marker: hazard ratio of the marker among the untreated, by ``scale``; None: 1.
        scale: ``half`` or ``sd``; see :class:`Scenario`.
        alpha: two-sided level of the test.

    Raises:
        InputError: both ``hr_high`` and ``interaction`` are given.
    """
    if interaction is not None and hr_high is not None:
        raise InputError("--interaction and --hr-high say the same in two ways: give one of them")
    low = HR_LOW if hr_low is None else hr_low
    if interaction is None:
        interaction = (HR_HIGH if hr_high is None else hr_high) / low
        if scale == "sd":
            # The means of the marker's halves are 2 HALF_MEAN standard deviations apart.
            interaction **= 1 / (2 * HALF_MEAN)
    return Scenario(
        hr_low=low,
        ratio=interaction,
        hr_marker=1.0 if hr_marker is None else hr_marker,
        events=setting.events,
        treated=setting.treated,
        known=setting.known,
        scale=scale,
        alpha=alpha,
        follow_up=setting.follow_up,
    )


def sizes_of(scenario: Scenario, patients: int, sizes: Sequence[int] | None) -> list[int]:
    """Return the sizes of the curve, the one asked about among them.

    Args:
        scenario: simulated scenario.
        patients: the size asked about.
        sizes: further sizes; None: those of ``SIZES`` that have enough events and differ from the
            size asked about by more than a tenth.

    Raises:
        InputError: a size is too small for the model or too large for the memory.
    """
    least = scenario.patients_for(EVENTS_TO_SIMULATE)
    if sizes is None:
        sizes = [size for size in SIZES if size >= least and abs(size / patients - 1) > 0.1]
    for option, size in (("--n", patients), *(("--sizes", size) for size in sizes)):
        if size < least:
            raise InputError(
                f"{option}: {size} patients have fewer than {EVENTS_TO_SIMULATE} events among the "
                f"analysed, too few for the model: ask for {least} or more"
            )
        if size > LARGEST:
            raise InputError(f"{option}: {size} patients: ask for {LARGEST} or fewer")
    return sorted({patients, *sizes})
