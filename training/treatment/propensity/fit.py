"""Fit the propensity score, as flexible as the learners of the outcome.

It is a mixture of a ridge logistic regression, with steps, hinges and products added to the linear
design where needed, and of boosted trees, weighted by the cross-validated likelihood (van der Laan,
Polley and Hubbard, "Super learner", Stat Appl Genet Mol Biol 2007). With many columns without
effect, a common penalty shrinks the few strong predictors of treatment too much, and leaves these
unbalanced after weighting. Therefore columns whose score statistic exceeds √(2 log p), with p
columns, get a 900 times smaller penalty, unless the cross-validated likelihood is then clearly
lower. Trees, which flatten slopes, enter only if they improve the likelihood significantly. Regions
in which an arm is missing are found from counts, apart from the models.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
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
from accomplice.training.treatment.propensity.score import Propensity, indicators, only_linear
from accomplice.training.treatment.propensity.terms import Terms, candidates, chosen, sampled_rows

#: Maximum number of patients in a fit, which suffices for the few coefficients.
MOST_PATIENTS = 20_000
#: Minimum of patients of a centre that has an indicator.
CENTRE = 10
#: Folds by which penalties and weights are chosen.
FOLDS = 5
#: Penalties tried, from strong to weak.
TRIED = PENALTIES[::2]
#: Weight below which the trees are left out.
LEAST_WEIGHT = 0.02
#: Factor by which strong predictors of the treatment are multiplied, so that their penalty is
#: divided by its square.
EASE = 30.0
#: Number of standard errors by which the common penalty's held-out log-likelihood must be higher
#: for it to be taken.
CLEARLY = 1.645
#: Gain of log-likelihood out of fold below which the trees are left out: half of the value that a
#: likelihood ratio at the bound of its parameter exceeds in 1 % of cases, by χ² in half of them
#: (Self and Liang, JASA 1987).
LEAST_GAIN = 2.706


def fit_propensity(
    X: Array,
    treated: Array,
    seed: int,
    columns: Ints | None = None,
    centre: NDArray[np.str_] | None = None,
) -> Propensity:
    """Fit the propensity score, to a random ``MOST_PATIENTS`` if more patients are known.

    Args:
        X: (n, p) linear design.
        treated: (n,) 1, 0, or NaN for patients who are left out.
        seed: seed of the folds by which penalties and weights are chosen.
        columns: (c,) indices of the columns that may be used; by default all. They must not be
            chosen by the treatment, which would make the penalty too small. Columns without
            variation are left out.
        centre: (n,) centres, empty text where unknown; None where none is known.
    """
    known = np.flatnonzero(~np.isnan(treated))
    if len(known) > MOST_PATIENTS:
        known = np.random.default_rng(seed).permutation(known)[:MOST_PATIENTS]
    X, label = X[known], treated[known] == 1
    centre = None if centre is None else centre[known]
    spread = X.std(axis=0)
    columns = np.arange(X.shape[1]) if columns is None else columns
    columns = columns[spread[columns] > 1e-9]
    X = X[:, columns]
    rarer = int(min(label.sum(), (~label).sum()))
    if rarer < FOLDS:
        return only_linear(columns, fit_logistic(X, label, TRIED[0] * max(rarer, 1)))
    share = {name: size / len(X) for name, size in large_centres(centre).items()}
    centres = {name: 1 / math.sqrt(part * (1 - part)) for name, part in share.items()}
    X = np.concatenate([X, indicators(centre, centres, len(X))], axis=1)
    if not X.shape[1]:
        return only_linear(columns, fit_logistic(X, label, TRIED[0] * rarer))
    fold = stratified_folds(label, np.arange(len(label), dtype=float), FOLDS, seed)
    choice, chance, models = _cross_validated([X] * FOLDS, label, fold)
    model = choice.fit(X, label)
    terms = _terms(X, label, model)
    by_fold = [_terms(X[fold != k], label[fold != k], m) for k, m in enumerate(models)]
    if any(len(each.left) for each in (terms, *by_fold)):
        choice, with_terms, _ = _cross_validated([each.beside(X) for each in by_fold], label, fold)
        if _log_likelihood(label, with_terms) > _log_likelihood(label, chance):
            model, chance = choice.fit(terms.beside(X), label), with_terms
        else:
            terms = Terms.none()
    trees, grown = boost_propensity(X, label, seed)
    first, second = _of_labels(label, chance), _of_labels(label, grown)
    weight = likeliest_weight(first, second)
    gained = float(np.log((1 - weight) + weight * second / first).sum())
    weight = weight if weight >= LEAST_WEIGHT and gained > LEAST_GAIN else 0.0
    regions = rare_regions(X, label)
    grown_trees = trees if weight else None
    return Propensity(columns, centres, model, terms, grown_trees, weight, regions)


def large_centres(centre: NDArray[np.str_] | None) -> dict[str, int]:
    """Return the size of each centre of at least ``CENTRE`` patients; none if there is one centre.

    Args:
        centre: (n,) centres, empty text where unknown; None where none is known.

    Example:
        >>> large_centres(np.array(["a"] * 12 + ["b"] * 12 + ["c", ""]))
        {'a': 12, 'b': 12}
    """
    if centre is None:
        return {}
    names, count = np.unique(centre[centre != ""], return_counts=True)
    if len(names) < 2:
        return {}
    return {str(name): int(size) for name, size in zip(names, count, strict=True) if size >= CENTRE}


def likeliest_weight(first: Array, second: Array) -> float:
    """Return the weight of the second of two models at which their mixture is likeliest.

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


def _clear(gain: Array) -> bool:
    """Return whether the sum of gains of log-likelihood (n,) is significantly above 0."""
    return bool(gain.sum() > CLEARLY * np.sqrt(len(gain)) * gain.std())


def _of_labels(label: Bools, chance: Array) -> Array:
    """Return the predicted probability (n,) of each observed label, at least 1e-6."""
    return np.maximum(np.where(label, chance, 1 - chance), 1e-6)


def _log_likelihood(label: Bools, chance: Array) -> float:
    return float(np.log(_of_labels(label, chance)).sum())


def _terms(X: Array, label: Bools, linear: Logistic) -> Terms:
    """Return the terms that explain the residuals of a linear regression on X (n, c)."""
    rows = sampled_rows(len(X))
    X, label = X[rows], label[rows]
    chance = linear.probability(X)
    strength = np.abs(linear.beta) * X.std(axis=0)
    return chosen(X, candidates(X, strength), label - chance, chance * (1 - chance))


class _Ridge(NamedTuple):
    """Penalties of a ridge logistic regression."""

    penalty: float
    """The common penalty."""
    eased: bool
    """Whether strong predictors of the treatment have a smaller penalty."""

    def fit(self, X: Array, label: Bools) -> Logistic:
        """Fit the regression to a design (n, p)."""
        factor = _factors(X, label, self.eased)
        return _unscaled(fit_logistic(X * factor, label, self.penalty), factor)


def _factors(X: Array, label: Bools, eased: bool) -> Array:
    """Return the factors (p,) of a design's columns (n, p) under which all have one penalty."""
    factor = np.ones(X.shape[1])
    if eased:
        rate = label.mean()
        spread = np.sqrt(len(X) * rate * (1 - rate)) * X.std(axis=0)
        score = np.abs((label - rate) @ X) / np.maximum(spread, 1e-9)
        factor[score > np.sqrt(2 * np.log(max(X.shape[1], 2)))] = EASE
    return factor


def _unscaled(model: Logistic, factor: Array) -> Logistic:
    """Return a model fitted to columns times factors (p,) as a model of the columns themselves."""
    return Logistic(model.intercept, model.beta * factor, model.penalty)


def _cross_validated(
    designs: Sequence[Array], label: Bools, fold: Ints
) -> tuple[_Ridge, Array, list[Logistic]]:
    """Choose a penalty by cross-validated likelihood.

    Strong predictors get a smaller penalty unless the likelihood is then clearly lower.

    Args:
        designs: design (n, q) of each fold, made without its patients' labels.
        label: (n,) labels.
        fold: (n,) fold of each patient.

    Returns:
        The penalty for a fit of all patients, the out-of-fold probabilities (n,), and each fold's
        model.
    """
    rarer = min(label.sum(), (~label).sum())
    ridge, eased = (_likeliest(designs, label, fold, float(rarer), ease) for ease in (False, True))
    less = log_likelihood(label, ridge[1]) - log_likelihood(label, eased[1])
    choice, log_odds, models = ridge if _clear(less) else eased
    return choice, expit(log_odds), models


def _likeliest(
    designs: Sequence[Array], label: Bools, fold: Ints, rarer: float, eased: bool
) -> tuple[_Ridge, Array, list[Logistic]]:
    """Return the likeliest penalty, its out-of-fold log-odds (n,), and each fold's model."""
    log_odds = np.zeros((len(TRIED), len(label)))
    models: list[list[Logistic]] = []
    for k, X in enumerate(designs):
        inside, out = fold != k, fold == k
        factor = _factors(X[inside], label[inside], eased)
        Z, path = X * factor, list[Logistic]()
        for j, penalty in enumerate(TRIED):
            start = path[-1] if path else None
            weight = penalty * rarer * inside.mean()
            path.append(fit_logistic(Z[inside], label[inside], weight, start))
            log_odds[j, out] = path[-1].log_odds(Z[out])
        models.append([_unscaled(each, factor) for each in path])
    best = int(np.argmax([log_likelihood(label, each).sum() for each in log_odds]))
    choice = _Ridge(TRIED[best] * rarer, eased)
    return choice, log_odds[best], [path[best] for path in models]
