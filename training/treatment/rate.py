"""Rank-weighted average treatment effect (RATE): a test of a ranking by predicted gain.

Yadlowsky et al., "Evaluating treatment prioritization rules via rank-weighted average treatment
effects", JASA 2025, with Qini's weights.

A cross-fitted ranking is not fixed in advance: an interaction that arises by chance in the whole
cohort is in every fold and in the others, so that all the rankings share it. The distribution of
RATE by chance is therefore simulated: the signs of the patients' scores are drawn at random and the
ranking is fitted again (wild bootstrap; Wu, "Jackknife, bootstrap and other resampling methods in
regression analysis", Ann Stat 1986).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from accomplice.data.arrays import Array, Ints
from accomplice.data.splits import within
from accomplice.training.estimators.intervals import Estimate

#: Draws of random signs.
DRAWS = 400
#: Maximum number of patients in these draws.
MOST_PATIENTS = 20_000


@dataclass(frozen=True)
class Ranked:
    """RATE of a ranking of patients, with its curve."""

    rate: Estimate
    """RATE with Qini's weights; above 0 the patients ranked first gain more than others."""
    curve: Array
    """(101,) gain beyond the average, summed over the first 0 to 100 % and divided by n."""


def mean(values: Array) -> Estimate:
    """Return the mean of independent scores (n,) with its normal 95 % interval, NaN if n is 1."""
    value = float(values.mean())
    n = len(values)
    return Estimate.normal(value, float(values.std(ddof=1)) / math.sqrt(n) if n > 1 else math.nan)


def ranked(order: Array, score: Array) -> Ranked:
    """Return RATE of a ranking that was fixed in advance, with its curve.

    RATE is the mean over the patients of (1/2 − (r − 1/2) / n) (score − mean score), with r the
    patient's rank, from 1, the mean of the ranks of ties. Without ties it is the integral of the
    curve, of which ``curve`` holds 101 points. Where all patients tie, it is 0.

    Args:
        order: (n,) values that rank the patients, the largest first.
        score: (n,) unbiased scores of each patient's gain.
    """
    beyond = score - score.mean()
    first = np.argsort(-order, kind="stable")
    summed = np.append(0.0, np.cumsum(beyond[first])) / len(order)
    curve = np.interp(np.linspace(0, 1, 101), np.arange(len(order) + 1) / len(order), summed)
    return Ranked(mean(_weights(order) * beyond), curve)


@dataclass(frozen=True)
class Scored:
    """Scores, design and folds of m patients, for the heterogeneity of the effect."""

    design: Array
    """(m, q) modifiers of the effect, a constant first."""
    score: Array
    """(m,) derivative of the log-likelihood by the log-hazard ratio; mean 0 under one ratio."""
    information: Array
    """(m,) variance of the score."""
    fold: Ints
    """(m,) fold of each patient."""
    prior_sd: Array
    """(q,) prior standard deviations of the coefficients."""

    def take(self, rows: Ints) -> Scored:
        """Return the patients at ``rows``."""
        return Scored(
            self.design[rows],
            self.score[rows],
            self.information[rows],
            self.fold[rows],
            self.prior_sd,
        )


def cross_ranked(order: Array, scored: Scored, seed: int) -> Ranked:
    """Return RATE of a cross-fitted ranking, with a 95 % interval by random signs (see the module).

    The interval is RATE less the 97.5 % and 2.5 % quantiles of :func:`chance_rates`. Of more than
    ``MOST_PATIENTS`` patients a random sample is drawn for these, and they are scaled to all.

    Args:
        order: (m,) out-of-fold values that rank the patients, the largest first.
        scored: the patients.
        seed: seed of the random signs and of the sample.
    """
    unit = float(scored.information.mean())
    found = ranked(order, -scored.score / unit)
    if len(order) > MOST_PATIENTS:
        some = np.random.default_rng(seed).permutation(len(order))[:MOST_PATIENTS]
        drawn = chance_rates(scored.take(some), seed) * math.sqrt(MOST_PATIENTS / len(order))
    else:
        drawn = chance_rates(scored, seed)
    low, high = np.quantile(drawn, [0.025, 0.975])
    value = found.rate.value
    return replace(found, rate=Estimate(value, value - float(high), value - float(low)))


def chance_rates(scored: Scored, seed: int) -> Array:
    """Return RATE (DRAWS,) of rankings that are cross-fitted to scores with random signs."""
    rng = np.random.default_rng(seed)
    X, fold = scored.design, scored.fold
    score = scored.score - scored.score.mean()
    unit = float(scored.information.mean())
    inverse = []
    for k in range(int(fold.max()) + 1):
        inside = fold != k
        information = (X[inside] * scored.information[inside, None]).T @ X[inside]
        inverse.append(np.linalg.inv(information + np.diag(scored.prior_sd**-2.0)))
    rates = np.empty(DRAWS)
    for i in range(DRAWS):
        own = score * rng.choice([-1.0, 1.0], len(score))
        products = X * own[:, None]
        whole, order = products.sum(axis=0), np.empty(len(own))
        for k, solved in enumerate(inverse):
            out = fold == k
            order[out] = -(X[out] @ (solved @ (whole - products[out].sum(axis=0))))
        scores = -own / unit
        rates[i] = (_weights(within(order, fold)) * (scores - scores.mean())).mean()
    return rates


def _weights(order: Array) -> Array:
    """Return Qini's weights (n,): 1/2 − (rank − 1/2) / n, with the mean rank of ties."""
    n = len(order)
    distinct, place, count = np.unique(-order, return_inverse=True, return_counts=True)
    middle = (np.cumsum(count) - (count + 1) / 2 + 0.5) / n
    return np.asarray(0.5 - middle[place]) if len(distinct) > 1 else np.zeros(n)
