"""Models of the censoring time, and their comparison by held-out likelihood.

Patients are stratified in one way up to a landmark and in another after it: a treatment that begins
by the landmark is known only for patients who are followed to it. Within strata, a Cox model of the
features may be fitted.
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

#: Maximum number of patients on whom forms are compared; of more, an even sample over time.
MOST_PATIENTS = 5000
#: Number of inner folds in which forms are compared.
FOLDS = 5
#: Minimum gain of a form over a simpler one, in standard errors and in log-likelihood.
CLEAR_Z, CLEAR_GAIN = 1.5, 3.0
#: Absolute z value for censoring above which a column enters the Cox model.
DECIDES_Z = 2.0
#: Precision of the normal prior of a log-hazard ratio of censoring.
PENALTY = 1.0
#: Probabilities of the quantiles that divide patients into fifths.
FIFTHS = (0.2, 0.4, 0.6, 0.8)
#: Maximum number of time bins of the likelihood, and minimum number of censored patients in each.
BINS, CENSORED_PER_BIN = 20, 10
#: Maximum absolute value of a predicted log-hazard ratio of censoring.
LARGEST = 3.0


class Strata(NamedTuple):
    """Strata of n patients before and after a landmark, and hazard ratios within them."""

    early: Ints
    """(n,) stratum up to the landmark, from 0."""
    late: Ints
    """(n,) stratum after it; without meaning for patients who were not followed to it."""
    ratio: Array
    """(n,) hazard ratio of censoring within the stratum."""

    def curves(self, time: Array, event: Bools, landmark: float) -> GroupedCensoring:
        """Return the distribution of the censoring time.

        After the landmark, the probability of no censoring is that of none by the landmark times
        that of none since, estimated in the patients still followed then.

        Args:
            time: (n,) months of follow-up.
            event: (n,) whether the event was observed.
            landmark: month at which the strata change; 0: ``late`` applies throughout.
        """
        later = time > landmark
        if landmark <= 0 or not later.any():
            return power_curves(time, event, self.late, self.ratio)
        # Patients still followed leave the risk set after those censored at the landmark.
        passed = np.nextafter(landmark, math.inf)
        first = power_curves(np.minimum(time, passed), event | later, self.early, self.ratio)
        then = power_curves(time[later], event[later], self.late[later], self.ratio[later])
        # The second factor is 1 for patients who are not followed to the landmark.
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
    """A model of the censoring time: strata, and a Cox model of the features within them."""

    by: tuple[str, ...]
    """Names of the variables on which censoring depends in this form."""
    early: Ints
    """(n,) stratum of each patient up to the landmark, from 0."""
    late: Ints
    """(n,) stratum after it."""
    X: Array | None = None
    """(n, c) features of the Cox model; None: there is no such model."""
    fifths: bool = False
    """Whether fifths of the linear predictor are strata too, for hazards that are not
    proportional."""

    def take(self, rows: Ints) -> Form:
        """Return the form of the patients at ``rows``."""
        X = None if self.X is None else self.X[rows]
        return replace(self, early=self.early[rows], late=self.late[rows], X=X)

    def fit(self, time: Array, censored: Bools, landmark: float, rows: Bools) -> Strata:
        """Return strata and hazard ratios of all n patients.

        Args:
            time: (n,) months of follow-up.
            censored: (n,) whether the patient was censored.
            landmark: month at which the strata change.
            rows: (n,) patients on whose follow-up the Cox model is fitted.
        """
        early, late, X = self.early, self.late, self.X
        if X is None:
            return Strata(early, late, np.ones(len(time)))

        def log_ratios(early: Ints, late: Ints) -> Array:
            sets = _risk_sets(time[rows], censored[rows], early[rows], late[rows], landmark)
            return np.asarray(X @ _cox(X[rows], sets))

        log_ratio = log_ratios(early, late)
        if self.fifths:
            fifth = np.searchsorted(np.quantile(log_ratio[rows], FIFTHS), log_ratio)
            early, late = 5 * early + fifth, 5 * late + fifth
            log_ratio = log_ratios(early, late)
        log_ratio = log_ratio - log_ratio[rows].mean()
        return Strata(early, late, np.exp(np.clip(log_ratio, -LARGEST, LARGEST)))


def _risk_sets(
    time: Array, censored: Bools, early: Ints, late: Ints, landmark: float
) -> list[tuple[Ints, RiskSets]]:
    """Return the rows and the risk sets of each stratum, before the landmark and after it."""
    later = np.flatnonzero(time > landmark)
    before = np.minimum(time, np.nextafter(landmark, math.inf)), censored & (time <= landmark)
    parts = [(late, later, time, censored)]
    if landmark > 0:
        parts.append((early, np.arange(len(time)), *before))
    return [
        (own, RiskSets(at[own], observed[own]))
        for stratum, rows, at, observed in parts
        for s in np.unique(stratum[rows])
        if observed[own := rows[stratum[rows] == s]].any()
    ]


def _cox(X: Array, sets: Sequence[tuple[Ints, RiskSets]]) -> Array:
    """Return the coefficients (c,) of a stratified ridge Cox model of censoring.

    Columns whose univariate z is at most ``DECIDES_Z`` in absolute value get 0.

    Args:
        X: (n, c) columns.
        sets: rows and risk sets of each stratum.
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
class Comparison:
    """A comparison of forms by the held-out likelihood of the patients' censoring."""

    rows: Ints
    """(m,) positions of the patients on whom forms are compared."""
    time: Array
    """(m,) months of follow-up."""
    censored: Bools
    """(m,) whether the patient was censored before the end of all follow-up."""
    landmark: float
    """Month from which strata may differ by treatment."""
    fold: Ints
    """(m,) fold of each patient, by rank of follow-up, so that the rows' order has no effect."""
    edges: Array
    """(b + 1,) edges in months of the time bins; the landmark is one of them."""

    @classmethod
    def of(cls, time: Array, censored: Bools, landmark: float) -> Comparison:
        """Choose the patients, and divide follow-up into bins and patients into folds.

        Args:
            time: (n,) months of follow-up.
            censored: (n,) whether the patient was censored before the end of all follow-up.
            landmark: month from which strata may differ by treatment.
        """
        order = np.lexsort((censored, time))
        rows = order[:: 1 + (len(order) - 1) // MOST_PATIENTS]
        time, censored = time[rows], censored[rows]
        edges = TimeGrid.fit(time, censored, float(time.max()), BINS, CENSORED_PER_BIN).edges
        if 0 < landmark < edges[-1]:
            edges = np.union1d(edges, landmark)
        return cls(rows, time, censored, landmark, np.arange(len(rows)) % FOLDS, edges)

    def best(self, found: Sequence[tuple[Form, Array]]) -> tuple[Form, Array]:
        """Return the chosen form and its held-out log-likelihood (m,).

        A form replaces the one chosen before it if it gains ``CLEAR_Z`` standard errors and
        ``CLEAR_GAIN``.

        Args:
            found: forms, the simplest first, with their log-likelihoods (m,) by :meth:`held_out`.
        """
        best, reached = found[0]
        for form, held_out in found[1:]:
            gain = held_out - reached
            if gain.sum() > max(CLEAR_Z * gain.std() * math.sqrt(len(gain)), CLEAR_GAIN):
                best, reached = form, held_out
        return best, reached

    def held_out(self, form: Form) -> Array:
        """Return the log-likelihood (m,) of each patient's censoring, fitted in the other folds.

        Within a stratum the hazard is constant in each bin of time, and shrunk towards the hazard
        of all strata by one pseudo-event.
        """
        form, found = form.take(self.rows), np.zeros(len(self.rows))
        grid = TimeGrid(self.edges)
        months = grid.exposure(self.time) * np.diff(self.edges)
        marks = grid.events(self.time, self.censored)
        before = self.edges[1:] <= self.landmark
        for k in range(FOLDS):
            inside = self.fold != k
            strata = form.fit(self.time, self.censored, self.landmark, inside)
            for stratum, bins in ((strata.early, before), (strata.late, ~before)):
                found[~inside] += _log_likelihood(
                    stratum, strata.ratio, months[:, bins], marks[:, bins], inside
                )
        return found


def _log_likelihood(
    stratum: Ints, ratio: Array, months: Array, marks: Array, inside: Bools
) -> Array:
    """Return the log-likelihood of the patients outside, with hazards of those ``inside``.

    Args:
        stratum: (n,) stratum of each patient.
        ratio: (n,) hazard ratio within it.
        months: (n, b) months at risk in each bin of time.
        marks: (n, b) 1 in the bin of the censoring, else 0.
        inside: (n,) patients in whom the hazards are estimated.
    """
    months = ratio[:, None] * months
    own = stratum[inside, None] == np.arange(stratum.max() + 1)
    observed, at_risk = own.T @ marks[inside], own.T @ months[inside]
    common = (observed.sum(axis=0) + 0.5) / (at_risk.sum(axis=0) + 1e-9)
    rate = ((observed + 1) / (at_risk + 1 / common))[stratum[~inside]]
    happened = marks[~inside] * np.log(ratio[~inside, None] * rate)
    return np.asarray((happened - months[~inside] * rate).sum(axis=1))


def first_events(time: Array, event: Bools) -> Array:
    """Return follow-up times (n,) at which events precede censorings at the same time.

    Example:
        >>> (first_events(np.array([2.0, 2.0]), np.array([True, False])) < 2).tolist()
        [True, False]
    """
    return np.where(event, np.nextafter(time, 0), time)
