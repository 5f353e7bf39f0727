"""Forms that the distribution of the censoring time may have, and their likelihood.

Up to a landmark patients are in one set of strata, after it in another: a treatment that begins by
then is known of those alone who are followed to the landmark. Within a stratum, Cox's model of the
features may apply.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.training.estimators.cox import RiskSets
from accomplice.training.estimators.hazard import TimeGrid
from accomplice.training.estimators.kaplan_meier import GroupedCensoring, power_curves
from accomplice.training.estimators.newton import climb

#: Maximum of patients by whom a distribution is chosen; of more, an even sample over time.
MOST_PATIENTS = 5000
#: Inner folds by which a distribution is chosen.
FOLDS = 5
#: Standard errors, and log-likelihood, by which a distribution must be better than a simpler one.
CLEAR_Z, CLEAR_GAIN = 1.5, 3.0
#: Size of z for censoring above which a column enters Cox's model.
DECIDES_Z = 2.0
#: Precision of the normal prior of a log-hazard ratio of the censoring.
PENALTY = 1.0
#: Probabilities of the inner ends of fifths.
FIFTHS = (0.2, 0.4, 0.6, 0.8)
#: Maximum of bins of follow-up by which likelihoods are compared, and censored patients for each.
BINS, LOST_A_BIN = 20, 10
#: Largest size of a predicted log-hazard ratio of the censoring.
LARGEST = 3.0


class Placed(NamedTuple):
    """Strata of patients before and after a landmark, and hazard ratios within them."""

    early: Ints
    """(n,) stratum up to the landmark, from 0."""
    late: Ints
    """(n,) stratum after it; of no meaning for patients who were not followed until then."""
    ratio: Array
    """(n,) hazard ratio of the censoring within the stratum."""

    def curves(self, time: Array, event: Bools, landmark: float) -> GroupedCensoring:
        """Return the distribution of the n patients' censoring time.

        After the landmark it is the chance not to be censored by then, times that from it on among
        those still followed.
        """
        later = time > landmark
        if landmark <= 0 or not later.any():
            return power_curves(time, event, self.late, self.ratio)
        # Those still followed leave the risk set after all who are censored at the landmark.
        passed = np.nextafter(landmark, math.inf)
        first = power_curves(np.minimum(time, passed), event | later, self.early, self.ratio)
        then = power_curves(time[later], event[later], self.late[later], self.ratio[later])
        # A curve of the second part for those who do not reach it: 1.
        whole = np.vstack([then.survival, np.ones(then.survival.shape[1])])
        part = np.full(len(time), len(then.survival))
        part[later] = then.group
        pairs, group = np.unique(np.stack([first.group, part]), axis=1, return_inverse=True)
        times = np.unique(time)
        read = (
            curves.survival[:, np.searchsorted(curves.times, times, side="right")]
            for curves in (first, replace(then, survival=whole))
        )
        joint = np.multiply(*(each[own] for each, own in zip(read, pairs, strict=True)))
        padded = np.pad(joint, ((0, 0), (1, 0)), constant_values=1.0)
        return GroupedCensoring(times, padded, group.reshape(-1))


@dataclass(frozen=True, eq=False)
class Form:
    """A form of the distribution: strata, and Cox's model of the features within them."""

    by: tuple[str, ...]
    early: Ints
    """(n,) stratum of each patient up to the landmark, from 0."""
    late: Ints
    """(n,) stratum after it."""
    X: Array | None = None
    """(n, c) columns of the features."""
    fifths: bool = False
    """Whether fifths of the linear predictor are strata too, so that hazards need not be
    proportional."""

    def take(self, rows: Ints) -> Form:
        """Return the form of the patients at ``rows``."""
        X = None if self.X is None else self.X[rows]
        return replace(self, early=self.early[rows], late=self.late[rows], X=X)

    def placed(self, time: Array, lost: Bools, landmark: float, rows: Bools) -> Placed:
        """Return strata and hazard ratios of all patients, fitted to the outcomes of some (n,)."""
        early, late, X = self.early, self.late, self.X
        if X is None:
            return Placed(early, late, np.ones(len(time)))

        def log_ratios(early: Ints, late: Ints) -> Array:
            sets = _risk_sets(time[rows], lost[rows], early[rows], late[rows], landmark)
            return np.asarray(X @ _cox(X[rows], sets))

        log_ratio = log_ratios(early, late)
        if self.fifths:
            fifth = np.searchsorted(np.quantile(log_ratio[rows], FIFTHS), log_ratio)
            early, late = 5 * early + fifth, 5 * late + fifth
            log_ratio = log_ratios(early, late)
        log_ratio = log_ratio - log_ratio[rows].mean()
        return Placed(early, late, np.exp(np.clip(log_ratio, -LARGEST, LARGEST)))


def _risk_sets(
    time: Array, lost: Bools, early: Ints, late: Ints, landmark: float
) -> list[tuple[Ints, RiskSets]]:
    """Return the rows and the risk sets of each stratum, before the landmark and after it."""
    later = np.flatnonzero(time > landmark)
    before = np.minimum(time, np.nextafter(landmark, math.inf)), lost & (time <= landmark)
    parts = [(late, later, time, lost)]
    if landmark > 0:
        parts.append((early, np.arange(len(time)), *before))
    return [
        (own, RiskSets(at[own], seen[own]))
        for stratum, rows, at, seen in parts
        for s in np.unique(stratum[rows])
        if seen[own := rows[stratum[rows] == s]].any()
    ]


def _cox(X: Array, sets: Sequence[tuple[Ints, RiskSets]]) -> Array:
    """Return the coefficients (c,) of a ridge Cox model of the censoring, stratified.

    Columns whose z by themselves is below ``DECIDES_Z`` in size get 0.
    """

    def evaluate(Z: Array, beta: Array) -> tuple[float, Array, Array]:
        parts = [each.evaluate(Z[rows], Z[rows] @ beta) for rows, each in sets]
        value, gradient, information = (sum(part[i] for part in parts) for i in range(3))
        return value, gradient, information  # type: ignore[return-value]

    beta = np.zeros(X.shape[1])
    _, gradient, information = evaluate(X, beta)
    spread = np.sqrt(np.maximum(np.diag(information), 1e-12))
    used = np.abs(gradient / spread) > DECIDES_Z
    if not used.any():
        return beta
    Z = X[:, used]

    def step(at: Array) -> Array:
        _, slope, curvature = evaluate(Z, at)
        penalised = curvature + PENALTY * np.eye(Z.shape[1])
        return np.asarray(np.linalg.solve(penalised, slope - PENALTY * at))

    def value(at: Array) -> float:
        return evaluate(Z, at)[0] - PENALTY * float(at @ at) / 2

    beta[used] = climb(value, step, np.zeros(Z.shape[1]))
    return beta


@dataclass(frozen=True, eq=False)
class Process:
    """The censoring of patients, by which forms of its distribution are compared."""

    rows: Ints
    """(m,) the patients compared."""
    time: Array
    """(m,) their follow-up."""
    lost: Bools
    """(m,) whether they were censored before the end of all follow-up."""
    landmark: float
    """Month from which on strata may differ by treatment."""
    fold: Ints
    """(m,) fold of each, which follows the time, so that the order of rows does not matter."""
    edges: Array
    """(b + 1,) edges of the bins of time, of which the landmark is one."""

    @classmethod
    def of(cls, time: Array, lost: Bools, landmark: float) -> Process:
        """Divide follow-up into bins, and patients into folds."""
        order = np.lexsort((lost, time))
        rows = order[:: 1 + (len(order) - 1) // MOST_PATIENTS]
        time, lost = time[rows], lost[rows]
        edges = TimeGrid.fit(time, lost, float(time.max()), BINS, LOST_A_BIN).edges
        if 0 < landmark < edges[-1]:
            edges = np.union1d(edges, landmark)
        return cls(rows, time, lost, landmark, np.arange(len(rows)) % FOLDS, edges)

    def best(self, found: Sequence[tuple[Form, Array]]) -> tuple[Form, Array]:
        """Return the form that is clearly better than the best one before it.

        Args:
            found: each form with its log-likelihood (m,), by :meth:`held_out`.
        """
        best, reached = found[0]
        for form, held_out in found[1:]:
            gain = held_out - reached
            if gain.sum() > max(CLEAR_Z * gain.std() * math.sqrt(len(gain)), CLEAR_GAIN):
                best, reached = form, held_out
        return best, reached

    def held_out(self, form: Form) -> Array:
        """Return the log-likelihood (m,) of each patient's censoring, fitted to other folds.

        Within a stratum the hazard is constant in each bin of time, and drawn by one censoring to
        that of all strata together.
        """
        form, found = form.take(self.rows), np.zeros(len(self.rows))
        grid = TimeGrid(self.edges)
        months = grid.exposure(self.time) * np.diff(self.edges)
        marks = grid.events(self.time, self.lost)
        before = self.edges[1:] <= self.landmark
        for k in range(FOLDS):
            inside = self.fold != k
            placed = form.placed(self.time, self.lost, self.landmark, inside)
            for stratum, bins in ((placed.early, before), (placed.late, ~before)):
                found[~inside] += _log_likelihood(
                    stratum, placed.ratio, months[:, bins], marks[:, bins], inside
                )
        return found


def _log_likelihood(
    stratum: Ints, ratio: Array, months: Array, marks: Array, inside: Bools
) -> Array:
    """Return the log-likelihood of those outside, by hazards of those ``inside`` (n,).

    Args:
        stratum: (n,) stratum of each patient.
        ratio: (n,) hazard ratio within it.
        months: (n, b) months at risk in each bin of time.
        marks: (n, b) 1 in the bin of the censoring, else 0.
        inside: (n,) patients of whom the hazards are estimated.
    """
    months = ratio[:, None] * months
    own = stratum[inside, None] == np.arange(stratum.max() + 1)
    seen, at_risk = own.T @ marks[inside], own.T @ months[inside]
    common = (seen.sum(axis=0) + 0.5) / (at_risk.sum(axis=0) + 1e-9)
    rate = ((seen + 1) / (at_risk + 1 / common))[stratum[~inside]]
    happened = marks[~inside] * np.log(ratio[~inside, None] * rate)
    return np.asarray((happened - months[~inside] * rate).sum(axis=1))


def first_events(time: Array, event: Bools) -> Array:
    """Return times (n,) at which those with an event leave just before those censored then.

    Example:
        >>> (first_events(np.array([2.0, 2.0]), np.array([True, False])) < 2).tolist()
        [True, False]
    """
    return np.where(event, np.nextafter(time, 0), time)
