"""Gradient boosted trees under Cox's partial likelihood.

Friedman, "Greedy function approximation: a gradient boosting machine", Ann Stat 2001, and
"Stochastic gradient boosting", Comput Stat Data Anal 2002; Ridgeway, "The state of boosting",
Computing Science and Statistics 1999, for Cox's loss. Several members are boosted; each leaves out
its own fold of the patients. The number of rounds is chosen by the likelihood of the patients left
out, and the slope and the baseline hazard are fitted to the predictions for them, so that the
log-hazards are calibrated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

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
    for_joint_design,
    grow,
    join,
    joint_design,
)

#: Fraction of a member's patients on whom a tree is grown, drawn anew for each round.
SAMPLE = 0.6
#: Minimum number of rows in a leaf.
FEWEST = 10
#: Ridge penalty on a leaf's step, in expected events.
RIDGE = 2.0
#: Maximum number of patients on whom a tree is grown. A tree's leaves are a round's noisy step of
#: many: more patients than leave some hundred events in each of eight leaves do not improve it.
MOST_GROWN = 8000
#: Number of patients up to whom there are all members. With more they differ less, so that fewer
#: give as good a mean: members times patients stay the same, until two members are left. Trees this
#: small do not improve with more patients than that.
FEW = 20_000
#: Maximum factor of the learning rate, which grows with the patients above ``FEW``: low rates are
#: against overfitting, which many patients prevent, and the rounds end before all is learnt.
FASTEST = 2.0
#: Number of rounds after which they are judged where there are more than ``FEW`` patients: to judge
#: a round takes as long as to grow it.
JUDGED_EACH = 5
#: Gain of log-likelihood up to which a round counts as no improvement, against rounding errors.
ROUNDING = 1e-6
#: Lower bound of the calibration slope.
FLATTEST = 0.3
#: Upper bound of the calibration slope.
STEEPEST = 1.5


class Likelihood(Protocol):
    """Log-likelihood of the scores of m models for the same n patients."""

    def value(self, score: Array, weight: Array, /) -> Array:
        """Return the log-likelihood (m,) for scores and the patients' weights (m, n)."""

    def slopes(self, score: Array, weight: Array, /) -> tuple[Array, Array]:
        """Return gradient and curvature (m, n) by each patient's score, per unit of weight."""


@dataclass(frozen=True)
class Boosting(Learner):
    """Fitted boosted trees: several members with one baseline hazard."""

    members: int
    """Number of members."""
    columns: Ints
    """(c,) columns of the design that the trees use."""
    trees: Trees
    """All trees, by round; each round has one tree for each member, in the members' order. Their
    features are positions in ``columns``."""
    step: Array
    """(nodes,) log-hazard added by a leaf, already multiplied by the slope."""
    centre: Array
    """(members,) mean log-hazard of each member, subtracted so that all share one baseline."""
    baseline: Array
    """(j + 1,) baseline cumulative hazard at the grid's edges."""

    @classmethod
    def used(cls, config: Config) -> bool:
        """Whether ``boosting.use`` is set."""
        return config.boosting.use

    @classmethod
    def fit(cls, data: TrainingData, config: Config, budget: Budget) -> Boosting:
        """Boost on a fold's training patients; see :func:`fit_boosting`."""
        outcome = data.X, data.time, data.event, data.grid
        return fit_boosting(*outcome, data.tree_columns, config.boosting, config.seed, budget)

    def log_hz(self, X: Array) -> Array:
        """Return log-hazard ratios (members, n) against the average training patient.

        Args:
            X: (n, p) design.
        """
        return np.asarray(_log_hazards([self], X.shape[1])(X[None])[0])

    def cumulative(self, X: Array) -> Array:
        """Return the cumulative hazard (n, j + 1) of the members' mean survival, for X (n, p)."""
        return np.asarray(self.batched([self], X.shape[1])(X[None])[0])

    @classmethod
    def batched(cls, fitted: Sequence[Self], columns: int) -> Batched:
        """Return a function that predicts for all folds at once; see :meth:`Learner.batched`."""
        exists = np.stack([np.arange(max(f.members for f in fitted)) < f.members for f in fitted])
        baseline = on_most_bins([f.baseline for f in fitted])[:, None, None]
        log_hazards = _log_hazards(fitted, columns)
        return lambda X: mean_of_members(log_hazards(X), exists.astype(float), baseline)

    def to_json(self) -> dict[str, Any]:
        """Return the numbers of members and trees."""
        return {"members": self.members, "trees": self.trees.count}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the state as named arrays."""
        own = {"columns": self.columns, "step": self.step, "baseline": self.baseline}
        return {**self.trees.arrays(), **own, "centre": self.centre}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Rebuild from :meth:`to_json` and :meth:`arrays`.

        Raises:
            ValueError: the arrays are not those of so many members.
        """
        members, centre = raw["members"], arrays["centre"]
        if type(members) is not int or centre.shape != (members,):
            raise ValueError("members")
        return cls(
            members,
            np.asarray(arrays["columns"], np.int_),
            Trees.from_arrays(raw["trees"], arrays),
            arrays["step"],
            centre,
            arrays["baseline"],
        )


def _log_hazards(fitted: Sequence[Boosting], columns: int) -> Batched:
    """Return the function from designs (k, n, p) to log-hazard ratios (k, m, n) of k folds.

    They are against the average training patient. m is the largest number of members of any fold;
    the values of members that a fold does not have are 0.

    Args:
        fitted: the boosted trees of each fold.
        columns: p, the number of columns of each fold's design.
    """
    moved = for_joint_design([f.trees for f in fitted], [f.columns for f in fitted], columns)
    trees, values = join([(t, f.step) for t, f in zip(moved, fitted, strict=True)])
    step, first = values[trees.leaf_nodes], 0
    centre = np.zeros((len(fitted), max(f.members for f in fitted), 1))
    # Of each fold: position of its first tree, number of rounds, number of members.
    parts = []
    for k, own in enumerate(fitted):
        parts.append((first, own.trees.count // own.members, own.members))
        centre[k, : own.members, 0] = own.centre
        first += own.trees.count

    def log_hazards(X: Array) -> Array:
        flat = joint_design(X)
        total = np.zeros((*centre.shape[:2], len(flat)))
        for rows in trees.batches(len(flat)) if trees.count else ():
            added = step.take(trees.leaves(flat[rows]))
            for own, (begin, rounds, members) in zip(total, parts, strict=True):
                by_round = added[begin : begin + rounds * members]
                by_round = by_round.reshape(rounds, members, added.shape[1])
                np.add.reduce(by_round, axis=0, out=own[:members, rows])
        return total - centre

    return log_hazards


def mean_of_members(log_hz: Array, exists: Array, baseline: Array) -> Array:
    """Return the cumulative hazard (…, n, j + 1) of the members' mean survival.

    Args:
        log_hz: (…, members, n) log-hazard ratios.
        exists: (…, members) 1 for a fitted member, 0 for padding.
        baseline: (j + 1,) cumulative hazard at log-hazard 0, or an array that broadcasts to
            (…, members, n, j + 1).
    """
    curves = hazard_ratio(log_hz)[..., None] * -baseline
    np.exp(curves, out=curves)
    # No matrix product: its last digit would depend on a patient's position among the others.
    curves *= exists[..., None, None]
    mean = curves.sum(axis=-3) / exists.sum(axis=-1)[..., None, None]
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
    """Boost all members until the likelihood of their held-out patients no longer improves.

    If no round improves it, or there are fewer than four events, no tree is kept, and all patients
    get the average curve. With more than :data:`FEW` patients there are fewer members, at least
    two, and with more than two members can have, a random sample is fitted.

    Args:
        X: (n, p) design.
        time: (n,) follow-up in months.
        event: (n,) whether the event was observed.
        grid: j bins of the baseline hazard.
        columns: (c,) columns that may be split on.
        config: numbers of members and rounds, learning rate and depth.
        seed: seed of folds, subsamples and candidate columns.
        budget: time limit; after the first round, no round begins for which no time is left.
    """
    rng = np.random.default_rng(seed)
    members = config.members
    if len(X) > FEW:
        rate = min(1.0, config.learning_rate * min(FASTEST, len(X) / FEW))
        config = config.model_copy(update={"learning_rate": rate})
        members = max(2, config.members * FEW // len(X))
        some = rng.permutation(len(X))[: config.members * FEW // members]
        # By falling time, as the risk sets are summed.
        some = some[np.argsort(-time[some], kind="stable")]
        X, time, event = X[some], time[some], event[some]
    X, events = X[:, columns], int(event.sum())
    rounds: list[tuple[Trees, Array]] = []
    centre, out_of_fold, slope = np.zeros(members), np.zeros(len(X)), 1.0
    if events >= 4:  # two folds of two events
        members = min(members, events // 2)
        fold = stratified_folds(event, time, members, seed)
        rounds, log_hz = boost(X, RiskSums.of(time, event), fold, members, config, rng, budget)
        centre = log_hz.mean(axis=1)
        out_of_fold = (log_hz - centre[:, None])[fold, np.arange(len(X))]
    if rounds:
        fitted = fit_cox(out_of_fold[:, None], RiskSets(time, event), np.array([0.02 * events]))
        slope = float(np.clip(fitted[0], FLATTEST, STEEPEST))
    trees, step = join(rounds)
    baseline = baseline_hazard(slope * out_of_fold, time, event, grid)
    return Boosting(members, columns, trees, slope * step, slope * centre, baseline)


def boost(
    X: Array,
    likelihood: Likelihood,
    fold: Ints,
    members: int,
    config: BoostingConfig,
    rng: np.random.Generator,
    budget: Budget = UNLIMITED,
) -> tuple[list[tuple[Trees, Array]], Array]:
    """Boost the members until the likelihood of their held-out patients no longer improves.

    Args:
        X: (n, c) columns that may be split on.
        likelihood: the likelihood of the n patients' outcomes.
        fold: (n,) member that leaves the patient out.
        members: number of members.
        config: number of rounds, learning rate and depth.
        rng: generator of subsamples and candidate columns.
        budget: time limit.

    Returns:
        The kept rounds (trees, and the step of each node), and the score (members, n) after them:
        with Cox's likelihood, the log-hazard.
    """
    cuts = Cuts.fit(X)
    binned = cuts.bin(X)
    inside = [np.flatnonzero(fold != m) for m in range(members)]
    weight = np.stack([fold != m for m in range(members)]).astype(float)
    whole = np.ones_like(weight)
    tried = max(1, int(np.ceil(X.shape[1] / 3)))
    growth = Growth(config.depth, FEWEST, tried, _gain)
    score = np.zeros((members, len(X)))
    rounds: list[tuple[Trees, Array]] = []

    # Cross-validated partial likelihood (Verweij and van Houwelingen, Stat Med 1993): that of all
    # patients less that of the member's own.
    def held_out_likelihood() -> float:
        return float((likelihood.value(score, whole) - likelihood.value(score, weight)).sum())

    each = 1 if len(X) <= FEW else JUDGED_EACH
    best, kept, best_score = held_out_likelihood(), 0, score.copy()

    def judge() -> None:
        nonlocal best, kept, best_score
        now = held_out_likelihood()
        if now > best + ROUNDING:
            best, kept, best_score = now, len(rounds), score.copy()

    pace = budget.pace()
    while len(rounds) < config.max_rounds and len(rounds) - kept < config.patience:
        if rounds and not pace.another():
            budget.cut("boosting", len(rounds), f"at most {config.max_rounds} rounds")
            break
        gradient, curvature = likelihood.slopes(score, weight)
        sample = [
            rng.choice(i, max(1, min(int(SAMPLE * len(i)), MOST_GROWN)), replace=False)
            for i in inside
        ]
        rows = np.concatenate(sample)
        tree = np.repeat(np.arange(members), [len(s) for s in sample])
        stats = gradient[tree, rows], curvature[tree, rows]
        trees, leaf = grow(binned, cuts, rows, tree, stats, growth, rng)
        g, h = (np.bincount(leaf, s, len(trees.feature)) for s in stats)
        step = config.learning_rate * g / (h + RIDGE)
        score += step[trees.leaf_nodes].take(trees.leaves(X))
        rounds.append((trees, step))
        if len(rounds) % each == 0:
            judge()
    if len(rounds) % each:
        judge()
    return rounds[:kept], best_score


def _gain(gradient: Array, curvature: Array) -> Array:
    """Return twice the gain of penalised log-likelihood by a node's best step: g² / (h + ridge)."""
    return np.asarray(gradient**2 / (curvature + RIDGE))
