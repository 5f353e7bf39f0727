"""Steps, hinges and products of columns, added to a linear model by score tests.

A model that is linear in its columns misses thresholds, curves and interactions. Of all steps
x > k, hinges max(x − k, 0) and products x₁ x₂, the one with the largest score statistic is added
while the statistic exceeds the universal threshold √(2 log m), with m candidates; m candidates of
pure noise seldom do (Donoho and Johnstone, "Ideal spatial adaptation by wavelet shrinkage",
Biometrika 1994). A term that predicts either the treatment or the outcome is adjusted for in the
models of both (Belloni, Chernozhukov and Hansen, "Inference on treatment effects after selection
among high-dimensional controls", Rev Econ Stud 2014).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from accomplice.data.arrays import Array, Ints

#: Maximum number of terms that are added.
MOST_TERMS = 12
#: Maximum number of columns whose pairwise products are candidates.
MOST_PAIRED = 40
#: Fractions of the patients below a hinge's knot.
HINGES = (0.25, 0.5, 0.75)
#: Fractions of the patients below a step's knot.
STEPS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
#: Values in place of a second column that mark a hinge and a step.
HINGE, STEP = -1, -2
#: Maximum number of patients on whom terms are chosen.
MOST_SAMPLED = 4000


@dataclass(frozen=True)
class Terms:
    """Standardised columns computed from the columns of a design."""

    left: Ints
    """(c,) column of a design."""
    right: Ints
    """(c,) column that it is multiplied by; ``HINGE`` or ``STEP``."""
    knot: Array
    """(c,) value above which a hinge or step begins; 0 for a product."""
    mean: Array
    """(c,) training mean."""
    sd: Array
    """(c,) training standard deviation."""

    def of(self, X: Array) -> Array:
        """Return the terms (n, c) of a design X (n, p)."""
        made, product = X[:, self.left], self.right >= 0
        hinge, step = self.right == HINGE, self.right == STEP
        made[:, hinge] = np.maximum(made[:, hinge] - self.knot[hinge], 0.0)
        made[:, step] = made[:, step] > self.knot[step]
        made[:, product] *= X[:, self.right[product]]
        made -= self.mean
        made /= self.sd
        return made

    def beside(self, X: Array) -> Array:
        """Return a design X (n, p) with the terms after its columns (n, p + c)."""
        return np.concatenate([X, self.of(X)], axis=1)

    def with_parts(self, X: Array) -> Array:
        """Return (n, q) the columns of X (n, p) of which the terms are made, then the terms.

        Both are fitted together, since the slope of a column changes when its step or hinge enters.
        """
        parts = np.union1d(self.left, self.right[self.right >= 0])
        return np.concatenate([X[:, parts], self.of(X)], axis=1)

    def take(self, kept: Ints) -> Terms:
        """Return the terms at positions ``kept`` (k,)."""
        return Terms(*(array[kept] for array in vars(self).values()))

    def joined(self, others: Terms) -> Terms:
        """Return these terms and others after them."""
        pairs = zip(vars(self).values(), vars(others).values(), strict=True)
        return Terms(*(np.concatenate(pair) for pair in pairs))

    @classmethod
    def none(cls) -> Terms:
        """Return no terms."""
        return cls.from_json({name: [] for name in ("left", "right", "knot", "mean", "sd")})

    def to_json(self) -> dict[str, Any]:
        """Return the terms as plain data."""
        return {name: array.tolist() for name, array in vars(self).items()}

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Terms:
        """Rebuild from :meth:`to_json`."""
        places = (np.array(raw[name], dtype=int) for name in ("left", "right"))
        return cls(*places, *(np.array(raw[name], dtype=float) for name in ("knot", "mean", "sd")))


def sampled_rows(n: int) -> slice:
    """Return the evenly spaced rows, at most ``MOST_SAMPLED`` of n, on which terms are chosen."""
    return slice(None, None, max(1, -(-n // MOST_SAMPLED)))


def candidates(X: Array, strength: Array | None = None) -> Terms:
    """Return the steps, hinges and products of a design that vary.

    Args:
        X: (n, p) design; knots lie midway between its values, so that none is a patient's.
        strength: (p,) importance of each column; products are made of the ``MOST_PAIRED`` most
            important ones. By default they are made of the first ones.
    """
    order = np.arange(X.shape[1]) if strength is None else np.argsort(-strength, kind="stable")
    paired = np.sort(order[:MOST_PAIRED])
    bends = [
        (j, kind, knot)
        for j, column in enumerate(X.T)
        for kind, parts in ((HINGE, HINGES), (STEP, STEPS))
        for knot in _knots(column, parts)
    ]
    first, second = np.triu_indices(len(paired), 1)
    products = [(a, b, 0.0) for a, b in zip(paired[first], paired[second], strict=True)]
    left, right, knot = np.array(bends + products, dtype=float).reshape(-1, 3).T
    none = np.zeros(len(left))
    found = Terms(left.astype(int), right.astype(int), knot, none, none + 1)
    made = found.of(X)
    mean, sd = made.mean(axis=0), made.std(axis=0)
    varied = np.flatnonzero(sd > 0.05)
    return Terms(found.left, found.right, knot, mean, np.maximum(sd, 0.05)).take(varied)


def chosen(
    X: Array, terms: Terms, residual: Array, variance: Array, others: Array | None = None
) -> Terms:
    """Return the terms that explain a fit's residuals beyond chance, the strongest first.

    Args:
        X: (n, p) design of which the terms are made; the fit is linear in its columns.
        terms: the candidates.
        residual: (n,) observed less expected.
        variance: (n,) variance of the residuals.
        others: (n, q) further columns of the fit.
    """
    fitted = np.column_stack([np.ones(len(X)), X] + ([] if others is None else [others]))
    if fitted.shape[1] > len(X) // 4 or not len(terms.left):
        return terms.take(np.empty(0, dtype=int))
    root = np.sqrt(np.maximum(variance, 1e-9))[:, None]
    basis, triangle = np.linalg.qr(root * fitted)
    # A column that follows from the others, as the last centre's, has no direction of its own.
    own = np.abs(np.diag(triangle))
    basis = basis[:, own > 1e-9 * own.max()]
    made, left = root * terms.of(X), residual / root[:, 0]
    whole = (made**2).sum(axis=0)
    made -= basis @ (basis.T @ made)
    left = left - basis @ (basis.T @ left)
    threshold = np.sqrt(2 * np.log(max(len(whole), 2)))
    found: list[int] = []
    while len(found) < MOST_TERMS:
        size = (made**2).sum(axis=0)
        # A candidate that is nearly a linear combination of the columns in the fit gets no score.
        score = np.where(size > 0.02 * whole, made.T @ left / np.sqrt(np.maximum(size, 1e-9)), 0.0)
        best = int(np.abs(score).argmax())
        if abs(score[best]) < threshold:
            break
        found.append(best)
        unit = made[:, best] / np.sqrt(size[best])
        left = left - unit * (unit @ left)
        made -= np.outer(unit, unit @ made)
    return terms.take(np.array(found, dtype=int))


def _knots(column: Array, parts: tuple[float, ...]) -> list[float]:
    """Return distinct knots midway between values of a column (n,); none if it has two values.

    Args:
        column: the values.
        parts: fractions of the patients below the knots.
    """
    values, count = np.unique(column, return_counts=True)
    if len(values) < 3:
        return []
    below = np.cumsum(count)[:-1] / len(column)
    place = np.unique(np.abs(below[:, None] - np.array(parts)).argmin(axis=0))
    return list(((values[place] + values[place + 1]) / 2).tolist())
