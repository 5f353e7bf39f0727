"""Scores of a trial on all patients, and without each of some groups of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.data.splits import within
from accomplice.training.estimators.censoring import ChosenCensoring
from accomplice.training.estimators.hazard import TimeGrid, log_risk
from accomplice.training.estimators.kaplan_meier import judged_horizon
from accomplice.training.metrics.auc_and_concordance_draws import ConcordanceScore
from accomplice.training.metrics.brier import brier_by_patient
from accomplice.training.metrics.score import ModelOutput, Outcome
from accomplice.training.metrics.smooth_calibration import smooth_calibration

#: Groups of patients of whom each is left out in turn, and the least patients of a group.
GROUPS, LEAST = 20, 5
#: Position of Uno's C among the figures of a :class:`ConcordanceScore`.
UNO = 1


@dataclass(frozen=True)
class Objective:
    """A score by which trials are ranked."""

    label: str
    """Name in texts."""
    higher_is_better: bool
    prior: float
    """Standard deviation of the gains of other settings over the defaults, before they are tried:
    in the unit of the score or, where ``relative``, as a fraction of that of the defaults."""
    relative: bool

    def gain(self, first: Array, second: Array) -> Array:
        """Return how much better the second is than the first, elementwise."""
        return second - first if self.higher_is_better else first - second

    def scale(self, defaults: float) -> float:
        """Return the prior's standard deviation, for the defaults' score."""
        return self.prior * (abs(defaults) if self.relative else 1.0)


#: Name -> score. With such a prior of the Brier score the mean gain that was expected of choices
#: among settings on sixteen public cohorts was that seen in test patients (0.10 against
#: 0.06 ± 0.11 %), with twice the standard deviation three times as much was expected.
OBJECTIVES = {
    "ibs": Objective("integrated Brier score", False, 0.002, True),
    "uno_c": Objective("Uno's C", True, 0.002, False),
    "ici": Objective("integrated calibration index", False, 0.05, True),
}
#: Objective of the settings -> scores that are optimised, of which the first decides.
OPTIMISED: dict[str, tuple[str, ...]] = {
    "ibs": ("ibs",),
    "uno_c": ("uno_c",),
    "calibration": ("ici",),
    "several": ("ibs", "uno_c", "ici"),
}


class TrialScores(NamedTuple):
    """Out-of-fold scores of a trial."""

    scores: dict[str, list[float]]
    """Score -> its value on all patients, then without each group, for the scores optimised; for
    others the first value alone. NaN where it is not defined."""
    net_share: float
    """Mean weight of the network in the stacks."""


@dataclass(frozen=True)
class Scores:
    """Observed outcomes by which all trials of a search are scored."""

    observed: tuple[Array, Bools]
    """Time and event (n,)."""
    last: float
    """End of the time bins, in months."""
    censoring: ChosenCensoring

    @cached_property
    def outcome(self) -> Outcome:
        """The outcome, with its horizon and censoring weights."""
        time, event = self.observed
        horizon = judged_horizon(time, event, self.last, self.censoring.reach)
        return Outcome(time, event, self.censoring.weights, horizon)

    @cached_property
    def left_out(self) -> list[Ints]:
        """Positions of the patients without each group; empty with too few for two groups.

        Patients with the same outcome are dealt to the groups in turn, by time, so that each has as
        many events.
        """
        time, event = self.observed
        groups = min(GROUPS, len(time) // LEAST)
        if groups < 2:
            return []
        group = np.empty(len(time), dtype=int)
        group[np.lexsort((time, event))] = np.arange(len(time)) % groups
        return [np.flatnonzero(group != g) for g in range(groups)]

    def of(
        self, grid: TimeGrid, blind: Array, group: Ints, net_share: float, objective: str
    ) -> TrialScores:
        """Score out-of-fold predictions.

        Args:
            grid: the j time bins.
            blind: (n, j + 1) cumulative hazards, predicted without the treatment.
            group: (n,) label within which risks are compared.
            net_share: mean weight of the network.
            objective: objective of the settings; its scores are also computed without each group.
        """
        averages, _ = brier_by_patient(self.outcome, grid, blind)
        none = np.empty(0)
        model = ModelOutput(within(log_risk(blind), group), averages, none)
        middle = self.outcome.horizon / 2
        ends = grid.at_own(blind, np.minimum(self.outcome.time, middle))
        whole = grid.at(blind, np.array([middle]))[:, 0]

        def ibs(rows: Ints | slice) -> float:
            return float(averages[rows].mean())

        def uno_c(rows: Ints | slice) -> float:
            if isinstance(rows, slice):
                return float(ConcordanceScore().whole(self.outcome, model)[UNO])
            some = ModelOutput(model.risk[rows], averages[rows], none)
            return float(ConcordanceScore().whole(self.outcome.take(rows), some)[UNO])

        def ici(rows: Ints | slice) -> float:
            case = (self.outcome.event & (self.outcome.time <= middle))[rows]
            found = smooth_calibration(case, ends[rows], whole[rows])
            return math.nan if found is None else float(found.ici)

        compute: dict[str, Callable[[Ints | slice], float]]
        compute = {"ibs": ibs, "uno_c": uno_c, "ici": ici}
        parts: dict[str, list[Ints | slice]]
        parts = {name: [slice(None)] for name in compute}
        for name in OPTIMISED[objective]:
            parts[name] += self.left_out
        return TrialScores(
            {name: [compute[name](rows) for rows in parts[name]] for name in compute}, net_share
        )
