"""Gradient boosted trees under Cox's partial likelihood.

Friedman, "Greedy function approximation: a gradient boosting machine", Ann Stat 2001, and
"Stochastic gradient boosting", Comput Stat Data Anal 2002; Ridgeway, "The state of boosting",
Computing Science and Statistics 1999, for Cox's loss. Several members are boosted side by side,
each without another part of the patients. On these parts the number of rounds is chosen, and from
what they say there of patients they have not seen come the slope and the baseline: so the curves
are as steep as the trees' ranking deserves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.data.splits import stratified_folds
from accomplice.training.budget import UNLIMITED, Budget
from accomplice.training.config import BoostingConfig
from accomplice.training.estimators.cox import RiskSets, RiskSums, baseline_hazard, fit_cox
from accomplice.training.estimators.hazard import TimeGrid, hazard_ratio
from accomplice.training.learners.trees import Cuts, Growth, Trees, grow, join

#: Part of a member's patients that a tree is grown on.
SAMPLE = 0.6
#: Rows a leaf holds at least.
FEWEST = 10
#: Ridge on a leaf's step, in expected events.
RIDGE = 2.0
#: Patients boosted on at the most; trees this small learn nothing from more.
MOST = 20_000
#: Gain of log-likelihood that may be no more than rounding.
ROUNDING = 1e-6
#: Slopes that the honest predictions are believed to have.
FLATTEST, STEEPEST = 0.3, 1.5


@dataclass(frozen=True)
class Boosting:
    """Fitted members."""

    members: int
    columns: Ints
    """(c,) columns of the design it uses."""
    trees: Trees
    """Round by round, in each one of every member."""
    step: Array
    """(nodes,) what a leaf adds to the log-hazard, the slope in it."""
    centre: Array
    """(members,) log-hazard at which the baseline holds; a member's has no level of its own."""
    baseline: Array
    """(j + 1,) cumulative hazard at the grid's edges."""

    def log_hz(self, X: Array) -> Array:
        """Log-hazard (members, n) for a design X (n, p), against the average training patient."""
        X = X[:, self.columns]
        total = np.empty((self.members, len(X)))
        rounds, step = self.trees.count // self.members, self.step[self.trees.ends]
        for rows in self.trees.batches(len(X)):
            added = step.take(self.trees.leaves(X[rows]))
            by_round = added.reshape(rounds, self.members, added.shape[1])
            total[:, rows] = by_round.sum(axis=0)
        return total - self.centre[:, None]

    def cumulative(self, X: Array) -> Array:
        """Cumulative hazard (n, j + 1) of the members' mean survival."""
        return mean_of_members(self.log_hz(X), np.ones(self.members), self.baseline)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the state as named arrays."""
        own = {"columns": self.columns, "step": self.step, "baseline": self.baseline}
        return {**self.trees.arrays(), **own, "centre": self.centre}

    @classmethod
    def from_arrays(cls, members: int, trees: int, arrays: Mapping[str, NDArray[Any]]) -> Boosting:
        """Rebuild from :meth:`arrays`."""
        return cls(
            members,
            np.asarray(arrays["columns"], np.int_),
            Trees.from_arrays(trees, arrays),
            arrays["step"],
            arrays["centre"],
            arrays["baseline"],
        )


def mean_of_members(log_hz: Array, there: Array, baseline: Array) -> Array:
    """Cumulative hazard (…, n, j + 1) of the members' mean survival.

    Args:
        log_hz: (…, members, n).
        there: (…, members) 1, or 0 for one that there is not.
        baseline: cumulative hazard (j + 1,) at the log-hazard 0, or what is broadcast to each.
    """
    curves = hazard_ratio(log_hz)[..., None] * -baseline
    np.exp(curves, out=curves)
    # Not as a product, by which patients alike would differ in the last digit by their places.
    curves *= there[..., None, None]
    mean = curves.sum(axis=-3) / there.sum(axis=-1)[..., None, None]
    return np.asarray(-np.log(np.maximum(mean, 1e-300)))


def fit_boosting(
    X: Array,
    time: Array,
    event: Bools,
    grid: TimeGrid,
    columns: Ints,
    config: BoostingConfig,
    seed: int,
    budget: Budget = UNLIMITED,
) -> Boosting:
    """Boost all members until the patients they have not seen gain no more.

    Where these never gain, no round is kept: all patients get the average curve.

    Args:
        X: (n, p) design.
        time: (n,) follow-up in months.
        event: (n,) whether the event was seen.
        grid: j bins of the baseline hazard.
        columns: (c,) columns that may be cut.
        config: members, rate, depth and rounds.
        seed: of parts, samples and columns.
        budget: after which no more rounds are made.
    """
    rng = np.random.default_rng(seed)
    if len(X) > MOST:
        some = rng.permutation(len(X))[:MOST]
        X, time, event = X[some], time[some], event[some]
    X = X[:, columns]
    members, events = config.members, int(event.sum())
    rounds: list[tuple[Trees, Array]] = []
    centre, honest, slope = np.zeros(members), np.zeros(len(X)), 1.0
    if events >= 4:  # two parts of two events
        members = min(members, events // 2)
        part = stratified_folds(event, time, members, seed)
        rounds, log_hz = _boost(X, RiskSums.of(time, event), part, members, config, rng, budget)
        centre = log_hz.mean(axis=1)
        honest = (log_hz - centre[:, None])[part, np.arange(len(X))]
    if rounds:
        found = fit_cox(honest[:, None], RiskSets(time, event), np.array([0.02 * events]))[0]
        slope = float(np.clip(found, FLATTEST, STEEPEST))
    trees, step = join(rounds)
    baseline = baseline_hazard(slope * honest, time, event, grid)
    return Boosting(members, columns, trees, slope * step, slope * centre, baseline)


def _boost(
    X: Array,
    sums: RiskSums,
    part: Ints,
    members: int,
    config: BoostingConfig,
    rng: np.random.Generator,
    budget: Budget = UNLIMITED,
) -> tuple[list[tuple[Trees, Array]], Array]:
    """Return the rounds that are kept, and each member's log-hazard (members, n) after them."""
    cuts = Cuts.fit(X)
    binned = cuts.bin(X)
    inside = [np.flatnonzero(part != m) for m in range(members)]
    weight = np.stack([part != m for m in range(members)]).astype(float)
    whole = np.ones_like(weight)
    tried = max(1, int(np.ceil(X.shape[1] / 3)))
    growth = Growth(config.depth, FEWEST, tried, _gain)
    log_hz = np.zeros((members, len(X)))
    rounds: list[tuple[Trees, Array]] = []

    # What the held-out patients add to the partial likelihood (Verweij and van Houwelingen).
    def reached() -> float:
        return float((sums.value(log_hz, whole) - sums.value(log_hz, weight)).sum())

    best, kept, found = reached(), 0, log_hz.copy()
    pace = budget.pace()
    while len(rounds) < config.max_rounds and len(rounds) - kept < config.patience:
        if rounds and not pace.another():
            budget.cut("boosting", len(rounds), f"at most {config.max_rounds} rounds")
            break
        gradient, curvature = sums.slopes(log_hz, weight)
        sample = [rng.choice(i, max(1, int(SAMPLE * len(i))), replace=False) for i in inside]
        rows = np.concatenate(sample)
        tree = np.repeat(np.arange(members), [len(s) for s in sample])
        stats = gradient[tree, rows], curvature[tree, rows]
        trees, leaf = grow(binned, cuts, rows, tree, stats, growth, rng)
        g, h = (np.bincount(leaf, s, len(trees.feature)) for s in stats)
        step = config.learning_rate * g / (h + RIDGE)
        log_hz += step[trees.ends].take(trees.leaves(X))
        rounds.append((trees, step))
        now = reached()
        if now > best + ROUNDING:
            best, kept, found = now, len(rounds), log_hz.copy()
    return rounds[:kept], found


def _gain(gradient: Array, curvature: Array) -> Array:
    """Twice what the best step in a node adds to the log-likelihood."""
    return np.asarray(gradient**2 / (curvature + RIDGE))
