"""Metrics in subgroups by features, and by patterns of missing modalities."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from accomplice.data.arrays import Array, Bools
from accomplice.data.cohort import Cohort
from accomplice.data.study_parts import Feature
from accomplice.training.estimators.intervals import Estimate
from accomplice.training.estimators.policy import EVENTS_TO_JUDGE
from accomplice.training.evaluation.bootstrap import BootstrappedOutcome
from accomplice.training.evaluation.record import Pattern, Subgroup

#: Maximum of levels of an ordinal clinical feature that makes subgroups.
MOST_ORDINAL = 8
#: Maximum of levels of another feature that makes subgroups.
MOST_CATEGORY = 5
#: Maximum of centres that are judged; they are the largest.
MOST_CENTRES = 20
#: Name of the pool of rare patterns.
OTHER = "other"


@dataclass(frozen=True, eq=False)
class Scored:
    """Patients with predictions and scores, from which the metrics of any group are taken."""

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
    """Month at which observed over expected events are taken."""

    def judge(self, member: Bools) -> dict[str, Any]:
        """Return counts and metrics of the members (n,) of a group, by :class:`Pattern`'s names."""
        group, alive = self.followed.take(member), self.alive[member]
        return {
            "patients": len(group),
            "events": group.events,
            "uno_c": Estimate.of_draws(group.uno_c(self.risk[member])[0]),
            "ibs": Estimate.of_draws(group.draws.mean(self.brier[member])),
            "observed_expected": Estimate.of_draws(group.observed_expected(alive, self.month)),
        }

    def gained(self, member: Bools) -> Estimate:
        """Return the mean gain of the members (n,) of a group, with its interval."""
        return Estimate.of_draws(self.followed.take(member).draws.mean(self.gain[member]))

    def enough(self, member: Bools) -> bool:
        """Return whether the members (n,) of a group have enough events to be judged."""
        return self.followed.take(member).events >= EVENTS_TO_JUDGE


def subgroups(scored: Scored, cohort: Cohort) -> tuple[Subgroup, ...]:
    """Judge the model among all patients and in each group with enough events."""
    return tuple(
        Subgroup(
            feature=feature, level=level, ibs_gain=scored.gained(member), **scored.judge(member)
        )
        for feature, level, member in groups_of(cohort)
        if feature == "all" or scored.enough(member)
    )


def groups_of(cohort: Cohort) -> Iterator[tuple[str, str, Bools]]:
    """Yield feature, level and members (n,) of each group, the group of all patients first.

    Groups are made by each clinical number, cut at its rounded median; by each feature with at most
    ``MOST_CATEGORY`` levels, or ``MOST_ORDINAL`` of a clinical ordinal; and by centre, if there are
    several. Clinical features are those of the first modality and of the baselines.
    """
    study = cohort.study
    first = next(iter(study.blocks.values()))
    listed = {name for features in study.baselines.values() for name in features}
    yield "all", "", np.ones(len(cohort), dtype=bool)
    for j, (name, feature) in enumerate(study.features.items()):
        clinical = j in first or name in listed
        for level, member in _levels(feature, cohort.values[:, j], clinical):
            yield name, level, member
    if cohort.centre is not None:
        names, count = np.unique(cohort.centre, return_counts=True)
        largest = sorted(names[np.argsort(-count, kind="stable")][:MOST_CENTRES])
        for centre in largest if len(names) > 1 else ():
            if centre:
                yield "centre", str(centre), cohort.centre == centre


def _levels(feature: Feature, values: Array, clinical: bool) -> Iterator[tuple[str, Bools]]:
    """Yield level and members (n,) of each group of a feature, none if it makes no groups."""
    if feature.levels is not None:
        most = MOST_ORDINAL if clinical and feature.kind == "ordinal" else MOST_CATEGORY
        if len(feature.levels) <= most:
            yield from ((level, values == k) for k, level in enumerate(feature.levels))
    elif clinical and not np.isnan(values).all():
        # Rounded, so that the bound is no patient's value.
        split = float(f"{np.nanmedian(values):.2g}")
        yield f"below {split:g}", values < split
        yield f"{split:g} or above", values >= split


def patterns(scored: Scored, cohort: Cohort) -> tuple[Pattern, ...]:
    """Judge the model by pattern of missing modalities, the most frequent pattern first.

    Patterns with too few events are pooled, and the pool comes last; it is left out if it has too
    few as well. The treatment is no part of a pattern.
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
    return tuple(Pattern(missing=names, **scored.judge(member)) for names, member in groups)
