"""Ridge logistic regression: propensities and binary endpoints of few patients.

The intercept is free, the coefficients are not: with few events a ridge chosen by cross-validated
likelihood keeps them finite and predicts better than maximum likelihood (le Cessie and van
Houwelingen, "Ridge estimators in logistic regression", Appl Stat 1992).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from accomplice.data.arrays import Array, Bools
from accomplice.data.splits import stratified_folds
from accomplice.training.estimators.cox import row_space
from accomplice.training.estimators.newton import climb

#: Penalties tried, as multiples of the number of patients with the rarer label.
PENALTIES = tuple(float(x) for x in np.geomspace(10.0, 0.01, 10))


@dataclass(frozen=True)
class Logistic:
    """A fitted model ``P(label = 1) = expit(intercept + x · beta)``."""

    intercept: float
    """Log-odds where all columns are 0."""
    beta: Array
    """(p,) log-odds ratio of one unit of each column."""
    penalty: float
    """The ridge on the coefficients."""

    def log_odds(self, X: Array) -> Array:
        """Return the log-odds (n,) for a design X (n, p)."""
        return self.intercept + X @ self.beta

    def probability(self, X: Array) -> Array:
        """Return the probability (n,) for a design X (n, p)."""
        return expit(self.log_odds(X))

    def to_json(self) -> dict[str, Any]:
        """Return the fitted state as plain data."""
        return {"intercept": self.intercept, "beta": self.beta.tolist(), "penalty": self.penalty}

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Logistic:
        """Rebuild from :meth:`to_json`."""
        return cls(raw["intercept"], np.array(raw["beta"], dtype=float), raw["penalty"])


def expit(log_odds: Array) -> Array:
    """Return the probability 1 / (1 + exp(−η)) from log-odds η, elementwise and without overflow.

    Example:
        >>> expit(np.log([1.0, 3.0]))
        array([0.5 , 0.75])
    """
    return np.asarray(0.5 * (1 + np.tanh(0.5 * log_odds)))


def logit(probability: Array) -> Array:
    """Return the log-odds log(p / (1 − p)) from probability p, elementwise.

    Example:
        >>> logit(np.array([0.5, 0.75])).round(4)
        array([0.    , 1.0986])
    """
    return np.asarray(np.log(probability) - np.log1p(-probability))


def log_likelihood(label: Bools, log_odds: Array) -> Array:
    """Return the log-likelihood (n,) of each label at its log-odds η.

    It is −log(1 + exp(−η)) for a positive label, −log(1 + exp(η)) for a negative one.

    Args:
        label: (n,) labels.
        log_odds: (n,) log-odds η.

    Example:
        >>> log_likelihood(np.array([True, False]), np.zeros(2)).round(4)
        array([-0.6931, -0.6931])
    """
    return np.asarray(-np.logaddexp(0.0, np.where(label, -log_odds, log_odds)))


def fit_logistic(
    X: Array,
    label: Bools,
    penalty: float,
    start: Logistic | None = None,
    offset: Array | float = 0.0,
) -> Logistic:
    """Maximise ``log-likelihood - penalty/2 sum_j beta_j²`` over intercept and beta.

    Args:
        X: (n, p) design.
        label: (n,) labels; both values must occur.
        penalty: ridge on beta, > 0 unless n is well above p and no column separates the labels.
        start: model at which Newton's method begins; that of the rate alone if absent, or if p > n
            with a penalty.
        offset: (n,) log-odds that are added to the model's; they are not fitted.

    Example:
        >>> X = np.array([[0.0], [0.0], [0.0], [1.0], [1.0], [1.0]])
        >>> label = np.array([True, False, False, True, True, False])
        >>> model = fit_logistic(X, label, penalty=0.0)
        >>> np.exp([model.intercept, model.beta[0]]).round(4)
        array([0.5, 4. ])
    """
    n, p = X.shape
    if p > n and penalty > 0:
        Z, back = row_space(X, np.full(p, penalty))
        narrow = fit_logistic(Z, label, 1.0, offset=offset)
        return Logistic(narrow.intercept, back @ narrow.beta, penalty)
    design = np.column_stack([np.ones(n), X])
    ridge = np.append(0.0, np.full(p, penalty))
    diagonal, floor = np.diag(ridge), 1e-10 * np.eye(p + 1)
    rate = label.mean()
    begin = np.append(np.log(rate / (1 - rate)), np.zeros(p))
    theta = begin if start is None else np.append(start.intercept, start.beta)

    def objective(theta: Array) -> float:
        return float(log_likelihood(label, offset + design @ theta).sum() - ridge @ theta**2 / 2)

    def step(theta: Array) -> Array:
        chance = expit(offset + design @ theta)
        slope = design.T @ (label - chance) - ridge * theta
        # A matrix times its own transpose costs half of a product of two matrices.
        root = design * np.sqrt(chance * (1 - chance))[:, None]
        return np.linalg.solve(root.T @ root + diagonal + floor, slope)

    theta = climb(objective, step, theta)
    return Logistic(float(theta[0]), theta[1:], penalty)


def choose_logistic(
    X: Array,
    label: Bools,
    *,
    penalties: Sequence[float] = PENALTIES,
    folds: int = 5,
    seed: int = 0,
) -> Logistic:
    """Choose the penalty by cross-validated likelihood, then fit on all patients given.

    Args:
        X: (n, p) design.
        label: (n,) labels; both values must occur.
        penalties: penalties tried, from strong to weak, as multiples of the number of patients
            with the rarer label. The first is taken without columns or with fewer than two folds.
        folds: number of folds; at most the number of patients with the rarer label is used.
        seed: seed of the folds.

    Example:
        >>> X = np.arange(40.0)[:, None] % 4 - 1.5
        >>> model = choose_logistic(X, X[:, 0] > 0)
        >>> model.probability(np.array([[-1.5], [1.5]])).round(2)
        array([0., 1.])
    """
    rarer = int(min(label.sum(), (~label).sum()))
    folds = min(folds, rarer)
    if folds < 2 or not X.shape[1]:
        return fit_logistic(X, label, penalties[0] * max(rarer, 1))
    fold = stratified_folds(label, np.arange(len(label), dtype=float), folds, seed)
    score = np.zeros(len(penalties))
    for k in range(folds):
        inside, out = fold != k, fold == k
        model = None
        for j, penalty in enumerate(penalties):
            model = fit_logistic(X[inside], label[inside], penalty * rarer * inside.mean(), model)
            score[j] += log_likelihood(label[out], model.log_odds(X[out])).sum()
    return fit_logistic(X, label, penalties[int(np.argmax(score))] * rarer)
