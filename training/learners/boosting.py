"""Gradient boosted trees under Cox's partial likelihood.

Friedman, "Greedy function approximation: a gradient boosting machine", Ann Stat 2001, and
"Stochastic gradient boosting", Comput Stat Data Anal 2002; Ridgeway, "The state of boosting",
Computing Science and Statistics 1999, for Cox's loss. Several members are boosted side by side,
each without a part of the patients of its own. On these parts the number of rounds is chosen, and
slope and baseline are fitted to the members' held-out predictions, so that the curves are as steep
as the trees' ranking justifies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.data.splits import stratified_folds
from accomplice.training.budget import UNLIMITED, Budget
from accomplice.training.config import BoostingConfig, Config
from accomplice.training.estimators.cox import RiskSets, RiskSums, baseline_hazard, fit_cox
from accomplice.training.estimators.hazard import TimeGrid, from_survival, hazard_ratio
from accomplice.training.learners.learner import Batched, Learner, TrainingData, on_most_bins
from accomplice.training.learners.trees import (
    Cuts,
    Growth,
    Trees,
    grow,
    in_a_row,
    join,
    side_by_side,
)

#: Part of a member's patients that a tree is grown on.
SAMPLE = 0.6
#: Rows a leaf holds at least.
FEWEST = 10
#: Ridge on a leaf's step, in expected events.
RIDGE = 2.0
#: Most patients of a fit; trees this small learn nothing from more.
MOST = 20_000
#: Gain of log-likelihood that counts as rounding.
ROUNDING = 1e-6
#: Bounds of the slope of the held-out predictions.
FLATTEST, STEEPEST = 0.3, 1.5


@dataclass(frozen=True)
class Boosting(Learner):
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

    @classmethod
    def fit(cls, data: TrainingData, config: Config, budget: Budget) -> Boosting:
        """Boost on a fold's training patients; see :func:`fit_boosting`."""
        outcome = data.X, data.time, data.event, data.grid
        return fit_boosting(*outcome, data.tree_columns, config.boosting, config.seed, budget)

    def log_hz(self, X: Array) -> Array:
        """Log-hazard (members, n) for a design X (n, p), against the average training patient."""
        return np.asarray(_log_hazards([self], X.shape[1])(X[None])[0])

    def cumulative(self, X: Array) -> Array:
        """Cumulative hazard (n, j + 1) of the members' mean survival."""
        return np.asarray(self.batched([self], X.shape[1])(X[None])[0])

    @classmethod
    def batched(cls, fitted: Sequence[Self], columns: int) -> Batched:
        """Look the leaves of all folds' trees up in one call."""
        there = np.stack([np.arange(max(f.members for f in fitted)) < f.members for f in fitted])
        baseline = on_most_bins([f.baseline for f in fitted])[:, None, None]
        log_hazards = _log_hazards(fitted, columns)
        return lambda X: mean_of_members(log_hazards(X), there.astype(float), baseline)

    def to_json(self) -> dict[str, Any]:
        """Return the numbers of members and trees."""
        return {"members": self.members, "trees": self.trees.count}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the state as named arrays."""
        own = {"columns": self.columns, "step": self.step, "baseline": self.baseline}
        return {**self.trees.arrays(), **own, "centre": self.centre}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Rebuild from :meth:`to_json` and :meth:`arrays`."""
        return cls(
            raw["members"],
            np.asarray(arrays["columns"], np.int_),
            Trees.from_arrays(raw["trees"], arrays),
            arrays["step"],
            arrays["centre"],
            arrays["baseline"],
        )


def _log_hazards(fitted: Sequence[Boosting], columns: int) -> Batched:
    """Return the log-hazards (k, m, n) of designs (k, n, p), of as many members as any fold has.

    They are against the average training patient; those of members that a fold has not are 0.
    """
    moved = side_by_side([f.trees for f in fitted], [f.columns for f in fitted], columns)
    trees, values = join([(t, f.step) for t, f in zip(moved, fitted, strict=True)])
    step, first = values[trees.ends], 0
    centre = np.zeros((len(fitted), max(f.members for f in fitted), 1))
    # Of each fold its first tree, its rounds and its members: in each round one of every member.
    parts = []
    for k, own in enumerate(fitted):
        parts.append((first, own.trees.count // own.members, own.members))
        centre[k, : own.members, 0] = own.centre
        first += own.trees.count

    def log_hazards(X: Array) -> Array:
        flat = in_a_row(X)
        total = np.zeros((*centre.shape[:2], len(flat)))
        for rows in trees.batches(len(flat)) if trees.count else ():
            added = step.take(trees.leaves(flat[rows]))
            for own, (begin, rounds, members) in zip(total, parts, strict=True):
                by_round = added[begin : begin + rounds * members]
                by_round = by_round.reshape(rounds, members, added.shape[1])
                np.add.reduce(by_round, axis=0, out=own[:members, rows])
        return total - centre

    return log_hazards


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
    return from_survival(mean)


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
    """Boost all members until the likelihood of their held-out patients gains no more.

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
