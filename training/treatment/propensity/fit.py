"""Fit the propensity score, as flexible as the learners of the outcome.

It is a mixture of a ridge logistic regression, with the steps, hinges and products that it needs
beside the linear design, and of boosted trees, weighted by the cross-validated likelihood (van der
Laan, Polley and Hubbard, "Super learner", Stat Appl Genet Mol Biol 2007). Regions in which an arm
is missing are counted beside the models.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize_scalar

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.data.splits import stratified_folds
from accomplice.training.estimators.logistic import (
    PENALTIES,
    Logistic,
    expit,
    fit_logistic,
    log_likelihood,
)
from accomplice.training.treatment.propensity.boosted import boost_propensity
from accomplice.training.treatment.propensity.rare_regions import rare_regions
from accomplice.training.treatment.propensity.score import Propensity, only_linear
from accomplice.training.treatment.propensity.terms import Terms, candidates, chosen, judged

#: Maximum of patients in a fit, which suffices for the few coefficients.
MOST_PATIENTS = 20_000
#: Folds by which penalties and weights are chosen.
FOLDS = 5
#: Penalties tried, from strong to weak.
TRIED = PENALTIES[::2]
#: Weight below which the trees are left out.
LEAST_WEIGHT = 0.02


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
        return only_linear(columns, fit_logistic(X, label, TRIED[0] * max(rarer, 1)))
    fold = stratified_folds(label, np.arange(len(label), dtype=float), FOLDS, seed)
    penalty, chance, models = _cross_validated([X] * FOLDS, label, fold)
    model = fit_logistic(X, label, penalty)
    terms = _terms(X, label, model)
    by_fold = [_terms(X[fold != k], label[fold != k], m) for k, m in enumerate(models)]
    if any(len(each.left) for each in (terms, *by_fold)):
        penalty, bent, _ = _cross_validated([each.beside(X) for each in by_fold], label, fold)
        if _log_likelihood(label, bent) > _log_likelihood(label, chance):
            model, chance = fit_logistic(terms.beside(X), label, penalty), bent
        else:
            terms = Terms.none()
    trees, grown = boost_propensity(X, label, seed)
    weight = likeliest_weight(_of_labels(label, chance), _of_labels(label, grown))
    weight = weight if weight >= LEAST_WEIGHT else 0.0
    regions = rare_regions(X, label)
    return Propensity(columns, model, terms, trees if weight else None, weight, regions)


def likeliest_weight(first: Array, second: Array) -> float:
    """Return the weight of the second of two models whose mixture makes the labels likeliest.

    Args:
        first: (n,) probability of each observed label by the first model, above 0.
        second: (n,) the same by the second.

    Example:
        >>> first, second = np.array([0.9, 0.8]), np.array([0.5, 0.5])
        >>> round(likeliest_weight(first, second), 3)
        0.0
    """

    def loss(weight: float) -> float:
        return -float(np.log((1 - weight) * first + weight * second).sum())

    return float(minimize_scalar(loss, bounds=(0.0, 1.0), method="bounded").x)


def _of_labels(label: Bools, chance: Array) -> Array:
    """Return the probability (n,) of each label, at least a little above 0."""
    return np.maximum(np.where(label, chance, 1 - chance), 1e-6)


def _log_likelihood(label: Bools, chance: Array) -> float:
    return float(np.log(_of_labels(label, chance)).sum())


def _terms(X: Array, label: Bools, linear: Logistic) -> Terms:
    """Return the terms that a linear regression (n, c) leaves out."""
    rows = judged(len(X))
    X, label = X[rows], label[rows]
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
