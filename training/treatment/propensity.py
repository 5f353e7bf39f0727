"""The propensity score: the probability of being treated, given the features.

Rosenbaum and Rubin, "The central role of the propensity score in observational studies for causal
effects", Biometrika 1983. It is as flexible as the learners of the outcome: a mixture of a ridge
logistic regression on the linear design, one with steps, hinges and products beside it, and boosted
trees, weighted by the cross-validated likelihood (van der Laan, Polley and Hubbard, "Super
learner", Stat Appl Genet Mol Biol 2007). Regions in which an arm is missing are counted beside the
models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.data.splits import stratified_folds
from accomplice.training.estimators.logistic import (
    PENALTIES,
    Logistic,
    expit,
    fit_logistic,
    log_likelihood,
)
from accomplice.training.treatment.boosted_propensity import BoostedPropensity, boost_propensity
from accomplice.training.treatment.positivity import Regions, rare_regions
from accomplice.training.treatment.terms import MOST_JUDGED, Terms, candidates, chosen

#: Maximum of patients in a fit, which suffices for the few coefficients.
MOST_PATIENTS = 20_000
#: Least distance of a propensity from 0 and 1; nearer ones are clipped.
RAREST = 0.01
#: Folds by which penalties and weights are chosen.
FOLDS = 5
#: Penalties tried, from strong to weak.
TRIED = PENALTIES[::2]
#: Weight below which a model is left out of the mixture.
LEAST_WEIGHT = 0.02
#: Steps of the ascent to the weights.
STEPS = 200


@dataclass(frozen=True)
class Propensity:
    """A fitted propensity score P(treated | features)."""

    columns: Ints
    """(c,) indices of the columns of the linear design that are used."""
    weights: Array
    """(3,) weights of the models in the mixture: linear, with terms, trees; they sum to 1."""
    linear: Logistic
    """Regression on these columns."""
    terms: Terms
    """Steps, hinges and products of these columns."""
    bent: Logistic | None
    """Regression on the columns and the terms; None where its weight is 0."""
    trees: BoostedPropensity | None
    """Boosted trees on the columns; None where their weight is 0."""
    regions: Regions
    """Regions in which an arm is missing."""

    def chance(self, X: Array) -> Array:
        """Return the propensity (n,), clipped to [RAREST, 1 − RAREST], for a design X (n, p)."""
        used = X[:, self.columns]
        chance = self.weights[0] * self.linear.probability(used)
        if self.bent is not None:
            design = np.concatenate([used, self.terms.of(used)], axis=1)
            chance = chance + self.weights[1] * self.bent.probability(design)
        if self.trees is not None:
            chance = chance + self.weights[2] * self.trees.probability(used)
        chance = self.regions.bound(used, chance)
        return np.minimum(np.maximum(chance, RAREST), 1 - RAREST)

    def to_json(self) -> dict[str, Any]:
        """Return the fitted state as plain data."""
        return {
            "columns": self.columns.tolist(),
            "model": self.linear.to_json(),
            "weights": self.weights.tolist(),
            "terms": self.terms.to_json(),
            "bent": None if self.bent is None else self.bent.to_json(),
            "trees": None if self.trees is None else self.trees.to_json(),
            "regions": self.regions.to_json(),
        }

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Propensity:
        """Rebuild from :meth:`to_json`; in older bundles only columns and linear model are kept."""
        columns, linear = np.array(raw["columns"], dtype=int), Logistic.from_json(raw["model"])
        if "weights" not in raw:
            return only_linear(columns, linear)
        return cls(
            columns,
            np.array(raw["weights"], dtype=float),
            linear,
            Terms.from_json(raw["terms"]),
            None if raw["bent"] is None else Logistic.from_json(raw["bent"]),
            None if raw["trees"] is None else BoostedPropensity.from_json(raw["trees"]),
            Regions.from_json(raw["regions"]),
        )


def only_linear(columns: Ints, linear: Logistic) -> Propensity:
    """Return the propensity of a logistic regression alone, on columns (c,) of the design."""
    weights = np.array([1.0, 0.0, 0.0])
    return Propensity(columns, weights, linear, Terms.none(), None, None, Regions.none())


def fit_propensity(X: Array, treated: Array, seed: int, columns: Ints | None = None) -> Propensity:
    """Fit the propensity score, to a random ``MOST_PATIENTS`` if more patients are known.

    Args:
        X: (n, p) linear design.
        treated: (n,) 1, 0, or NaN for patients who are left out.
        seed: seed of the folds by which penalties and weights are chosen.
        columns: (c,) indices of the columns that may be used; by default all. They must not be
            chosen by the treatment, which would make the penalty too small. Columns without
            variation are left out.
    """
    known = np.flatnonzero(~np.isnan(treated))
    if len(known) > MOST_PATIENTS:
        known = np.random.default_rng(seed).permutation(known)[:MOST_PATIENTS]
    X, label = X[known], treated[known] == 1
    spread = X.std(axis=0)
    columns = np.arange(X.shape[1]) if columns is None else columns
    columns = columns[spread[columns] > 1e-9]
    X = X[:, columns]
    rarer = int(min(label.sum(), (~label).sum()))
    if rarer < FOLDS or not len(columns):
        linear = fit_logistic(X, label, TRIED[0] * max(rarer, 1))
        return only_linear(columns, linear)
    fold = stratified_folds(label, np.arange(len(label), dtype=float), FOLDS, seed)
    penalty, flat, models = _cross_validated([X] * FOLDS, label, fold)
    linear = fit_logistic(X, label, penalty)
    by_fold = [_terms(X[fold != k], label[fold != k], m) for k, m in enumerate(models)]
    terms = _terms(X, label, linear)
    designs = [np.concatenate([X, each.of(X)], axis=1) for each in by_fold]
    held_out = [flat]
    bent = None
    if any(len(each.left) for each in [*by_fold, terms]):
        bent_penalty, curved, _ = _cross_validated(designs, label, fold)
        bent = fit_logistic(np.concatenate([X, terms.of(X)], axis=1), label, bent_penalty)
        held_out.append(curved)
    else:
        held_out.append(np.zeros(len(X)))
    trees, grown = boost_propensity(X, label, seed)
    held_out.append(grown)
    weights = mixture(np.where(label, held_out, 1 - np.array(held_out)) * (1 - 2e-9) + 1e-9)
    if bent is None:
        weights[1] = 0.0
    weights = np.where(weights < LEAST_WEIGHT, 0.0, weights)
    weights /= weights.sum()
    return Propensity(
        columns,
        weights,
        linear,
        terms if weights[1] else Terms.none(),
        bent if weights[1] else None,
        trees if weights[2] else None,
        rare_regions(X, label),
    )


def mixture(likelihood: Array) -> Array:
    """Return the weights (m,) of a mixture that make observed labels likeliest.

    They are found by the EM algorithm, from equal weights.

    Args:
        likelihood: (m, n) probability of each of n labels by each of m models.

    Example:
        >>> mixture(np.array([[0.9, 0.8], [0.5, 0.5]])).round(2)
        array([1., 0.])
    """
    weights = np.full(len(likelihood), 1 / len(likelihood))
    for _ in range(STEPS):
        part = weights[:, None] * likelihood
        weights = (part / part.sum(axis=0)).mean(axis=1)
    return weights


def _terms(X: Array, label: Bools, linear: Logistic) -> Terms:
    """Return the terms that a linear regression (n, c) leaves out."""
    X, label = X[:MOST_JUDGED], label[:MOST_JUDGED]
    chance = linear.probability(X)
    strength = np.abs(linear.beta) * X.std(axis=0)
    return chosen(X, candidates(X, strength), label - chance, chance * (1 - chance))


def _cross_validated(
    designs: Sequence[Array], label: Bools, fold: Ints
) -> tuple[float, Array, list[Logistic]]:
    """Choose a penalty by cross-validated likelihood.

    Args:
        designs: design (n, q) of each fold, made without its patients' labels.
        label: (n,) labels.
        fold: (n,) fold of each patient.

    Returns:
        The penalty for all patients, the probabilities (n,) out of fold, and each fold's model.
    """
    rarer = min(label.sum(), (~label).sum())
    log_odds = np.zeros((len(TRIED), len(label)))
    models: list[list[Logistic]] = []
    for k, X in enumerate(designs):
        inside, out = fold != k, fold == k
        path: list[Logistic] = []
        for j, penalty in enumerate(TRIED):
            start = path[-1] if path else None
            weight = penalty * rarer * inside.mean()
            path.append(fit_logistic(X[inside], label[inside], weight, start))
            log_odds[j, out] = path[-1].log_odds(X[out])
        models.append(path)
    best = int(np.argmax([log_likelihood(label, each).sum() for each in log_odds]))
    penalty = TRIED[best] * float(rarer)
    return penalty, expit(log_odds[best]), [path[best] for path in models]
