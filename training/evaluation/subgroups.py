"""Metrics in subgroups by features, and by patterns of missing modalities.

A group's C depends on how much its patients differ: among patients of one stage it is lower than
among all, also for a correct model (van Klaveren et al., "A new concordance measure for risk
prediction models in external validation settings", Stat Med 2016). Ranking is therefore tested by
the calibration slope. Three tests are made in each group: whether its slope is lower than that of
all other patients, whether its observed events differ from the expected ones, and whether the
strongest baseline has a lower Brier score. The p values are adjusted for all groups and tests
(Holm, "A simple sequentially rejective multiple test procedure", Scand J Stat 1979), so that a
correct model passes all of them in 95 of 100 cohorts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from accomplice.data.arrays import Array, Bools
from accomplice.data.cohort import Cohort
from accomplice.data.study_parts import Feature
from accomplice.training.estimators.hazard import TimeGrid
from accomplice.training.estimators.intervals import Z95, Estimate, or_nan
from accomplice.training.estimators.multiple_testing import holm
from accomplice.training.estimators.policy import EVENTS_TO_JUDGE
from accomplice.training.evaluation.bootstrap import BootstrappedOutcome
from accomplice.training.evaluation.record import Pattern, Subgroup
from accomplice.training.metrics.joint_calibration import JointCalibration, joint_calibration
from accomplice.training.metrics.model_based_concordance import model_based_concordance

#: Maximum number of levels of an ordinal clinical feature by which subgroups are made.
MOST_ORDINAL = 8
#: Maximum number of levels of another feature by which subgroups are made.
MOST_CATEGORY = 5
#: Maximum number of centres that are judged; they are the largest.
MOST_CENTRES = 20
#: Name of the pool of rare patterns.
OTHER = "other"
#: The standard normal distribution.
NORMAL = NormalDist()


@dataclass(frozen=True, eq=False)
class Scored:
    """Patients with predictions and scores, from which metrics of any group are computed."""

    followed: BootstrappedOutcome
    """Outcomes of n patients, and bootstrap draws."""
    risk: Array
    """(n,) log-hazard risk; higher is worse."""
    brier: Array
    """(n,) Brier score of the model, averaged over time to the horizon."""
    gain: Array
    """(n,) Brier score of the strongest baseline less the model's; NaN without a baseline."""
    alive: Array
    """(n,) predicted survival at ``month``."""
    month: float
    """Month at which observed over expected events are computed."""
    expected: Array
    """(n,) predicted cumulative hazard at the end of each patient's follow-up, or the horizon."""
    log_hz: Array
    """(n,) log of the predicted cumulative hazard at the horizon."""

    def judge(self, member: Bools) -> dict[str, Any]:
        """Return counts, metrics and p values of the members (n,) of a group.

        The keys are names of :class:`Pattern`; p values are not adjusted for other groups.
        """
        group, alive = self.followed.take(member), self.alive[member]
        own = self._calibrated(member)
        return {
            "patients": len(group),
            "events": group.events,
            "uno_c": Estimate.of_draws(group.uno_c(self.risk[member])[0]),
            "expected_c": or_nan(lambda: self._expected_c(member)),
            "ibs": Estimate.of_draws(group.draws.mean(self.brier[member])),
            "observed_expected": Estimate.of_draws(group.observed_expected(alive, self.month)),
            "slope": Estimate(math.nan) if own is None else own.slope,
            "ranking_p": self._ranking_p(member, own),
            "level_p": self._level_p(member),
        }

    def gained(self, member: Bools) -> dict[str, Any]:
        """Return the mean gain ``ibs_gain`` of the members (n,) of a group, and ``gain_p``.

        ``gain_p`` is the one-sided p value of a gain below 0.
        """
        gain = Estimate.of_draws(self.followed.take(member).draws.mean(self.gain[member]))
        se = (gain.high - gain.low) / (2 * Z95)
        return {"ibs_gain": gain, "gain_p": NORMAL.cdf(gain.value / se) if se > 0 else math.nan}

    def enough(self, member: Bools) -> bool:
        """Return whether the members (n,) of a group have enough events to be judged."""
        return self.followed.take(member).events >= EVENTS_TO_JUDGE

    def _expected_c(self, member: Bools) -> float:
        """Return the members' model-based concordance, under proportional hazards."""
        grid = TimeGrid(np.array([0.0, self.followed.horizon]))
        cumulative = np.exp(self.log_hz[member])[:, None] * np.array([0.0, 1.0])
        tau = self.followed.horizon
        return model_based_concordance(self.risk[member], grid, cumulative, tau)

    def _had_event(self, member: Bools) -> Bools:
        """Return whether each member (m,) had an event up to the horizon."""
        return self.followed.event[member] & (self.followed.time[member] <= self.followed.horizon)

    def _calibrated(self, member: Bools) -> JointCalibration | None:
        return joint_calibration(
            self._had_event(member), self.expected[member], self.log_hz[member]
        )

    def _ranking_p(self, member: Bools, own: JointCalibration | None) -> float:
        """Return the one-sided p value of a slope lower than that of all other patients."""
        others = None if own is None else self._calibrated(~member)
        if own is None or others is None:
            return math.nan
        spans = [each.slope.high - each.slope.low for each in (own, others)]
        se = math.hypot(*spans) / (2 * Z95)
        return NORMAL.cdf((own.slope.value - others.slope.value) / se)

    def _level_p(self, member: Bools) -> float:
        """Return the two-sided p value of a difference of observed from expected events.

        With d observed and e expected events, the root of the deviance √(2 (d log(d/e) − d + e)) is
        taken as standard normal.
        """
        observed, expected = int(self._had_event(member).sum()), float(self.expected[member].sum())
        if expected <= 0:
            return math.nan
        rise = observed * math.log(observed / expected) if observed else 0.0
        return 2 * NORMAL.cdf(-math.sqrt(max(2 * (rise - observed + expected), 0.0)))


def subgroups(scored: Scored, cohort: Cohort) -> tuple[Subgroup, ...]:
    """Return metrics and adjusted p values of all patients and of each group with enough events."""
    found = [
        {"feature": feature, "level": level, **scored.gained(member), **scored.judge(member)}
        for feature, level, member in groups_of(cohort)
        if feature == "all" or scored.enough(member)
    ]
    return tuple(Subgroup(**each) for each in adjusted(found, ("ranking_p", "level_p", "gain_p")))


def adjusted(groups: list[dict[str, Any]], names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return groups with their p values adjusted together by Holm's method.

    The group of all patients is not part of the family; its p values stay as they are.

    Args:
        groups: results of each group.
        names: keys of the p values.
    """
    places = [(i, n) for i, g in enumerate(groups) if g.get("feature") != "all" for n in names]
    adjusted = holm(np.array([groups[i][n] for i, n in places]))
    made = [dict(group) for group in groups]
    for (i, name), p in zip(places, adjusted.tolist(), strict=True):
        made[i][name] = p
    return made


def groups_of(cohort: Cohort) -> Iterator[tuple[str, str, Bools]]:
    """Yield feature, level and members (n,) of each group, the group of all patients first.

    Groups are made by each clinical number, divided at its rounded median; by each feature with at
    most ``MOST_CATEGORY`` levels, or ``MOST_ORDINAL`` for a clinical ordinal; and by centre, if
    there are several. Clinical features are those of the first modality and of the baselines.
    """
    study = cohort.study
    first = next(iter(study.blocks.values()))
    listed = {name for features in study.baselines.values() for name in features}
    yield "all", "", np.ones(len(cohort), dtype=bool)
    for j, (name, feature) in enumerate(study.features.items()):
        clinical = j in first or name in listed
        for level, member in _levels(feature, cohort.values[:, j], clinical):
            yield name, level, member
    for centre, member in sorted(centres(cohort).items()):
        if not member.all():
            yield "centre", centre, member


def centres(cohort: Cohort) -> dict[str, Bools]:
    """Return name -> members (n,) of the ``MOST_CENTRES`` largest centres, the largest first."""
    if cohort.centre is None:
        return {}
    names, count = np.unique(cohort.centre[cohort.centre != ""], return_counts=True)
    largest = names[np.argsort(-count, kind="stable")][:MOST_CENTRES]
    return {str(name): np.asarray(cohort.centre == name) for name in largest}


def _levels(feature: Feature, values: Array, clinical: bool) -> Iterator[tuple[str, Bools]]:
    """Yield level and members (n,) of each group by a feature, if it has few enough levels."""
    if feature.levels is not None:
        most = MOST_ORDINAL if clinical and feature.kind == "ordinal" else MOST_CATEGORY
        if len(feature.levels) <= most:
            yield from ((level, values == k) for k, level in enumerate(feature.levels))
    elif clinical and not np.isnan(values).all():
        # Rounded, so that the cut-point is no patient's value.
        split = float(f"{np.nanmedian(values):.2g}")
        yield f"below {split:g}", values < split
        yield f"{split:g} or above", values >= split


def patterns(scored: Scored, cohort: Cohort) -> tuple[Pattern, ...]:
    """Return metrics and p values by pattern of missing modalities, the most frequent one first.

    Patterns with too few events are pooled, and the pool comes last; it is left out if it has too
    few as well. The treatment is not part of a pattern.
    """
    blind = cohort.prognostic()
    blocks = blind.study.blocks
    absent = np.stack(
        [np.isnan(blind.values[:, block]).all(axis=1) for block in blocks.values()], axis=1
    )
    kinds, label = np.unique(absent, axis=0, return_inverse=True)
    label = label.reshape(-1)
    groups: list[tuple[tuple[str, ...], Bools]] = []
    rare = np.zeros(len(label), dtype=bool)
    for k in np.argsort(-np.bincount(label), kind="stable"):
        member = label == k
        if not scored.enough(member):
            rare |= member
            continue
        names = tuple(name for name, gone in zip(blocks, kinds[k], strict=True) if gone)
        groups.append((names, member))
    if scored.enough(rare):
        groups.append(((OTHER,), rare))
    found = [{"missing": names} | scored.judge(member) for names, member in groups]
    return tuple(Pattern(**each) for each in adjusted(found, ("ranking_p", "level_p")))
