"""Rank-weighted average treatment effects (RATE): whether a ranking finds the patients who gain.

Yadlowsky et al., "Evaluating treatment prioritization rules via rank-weighted average treatment
effects", JASA 2025, with Qini's weights. A cross-fitted ranking is not fixed in advance: an
interaction that all patients show by chance is in each fold and in the others, so that the folds
agree. The distribution of RATE by chance is found by drawing the signs of the patients' scores
again and refitting the ranking (a wild bootstrap; Wu, Ann Stat 1986).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from accomplice.data.arrays import Array, Ints
from accomplice.data.splits import within
from accomplice.training.estimators.intervals import Estimate

#: Draws of signs, and most patients for them.
DRAWS, MOST = 400, 20_000


@dataclass(frozen=True)
class Ranked:
    """RATE of a ranking of patients, with its curve."""

    rate: Estimate
    """Rank-weighted average effect, Qini's weights; above 0 the ranking finds them."""
    curve: Array
    """(101,) gain beyond the average, summed from the first ranked to each share of patients."""


def mean(values: Array) -> Estimate:
    """Return the mean of independent scores (n,) with its normal 95 % interval."""
    value = float(values.mean())
    n = len(values)
    return Estimate.normal(value, float(values.std(ddof=1)) / math.sqrt(n) if n > 1 else math.nan)


def ranked(order: Array, score: Array) -> Ranked:
    """Judge a ranking given beforehand, by the scores (n,) of patients in falling order (n,).

    ``rate`` is the integral of ``curve``: the mean gain, beyond the average, of the patients ranked
    first, weighted by their share, over all shares. Ties share the mean of their ranks.
    """
    beyond = score - score.mean()
    first = np.argsort(-order, kind="stable")
    summed = np.append(0.0, np.cumsum(beyond[first])) / len(order)
    curve = np.interp(np.linspace(0, 1, 101), np.arange(len(order) + 1) / len(order), summed)
    return Ranked(mean(_weights(order) * beyond), curve)


@dataclass(frozen=True)
class Scored:
    """Scores and design of m patients for the effect's heterogeneity, each in their own fold."""

    design: Array
    """(m, q) modifiers of the effect, a constant first."""
    score: Array
    """(m,) derivative of the log-likelihood by the log-hazard ratio; mean 0 under one ratio."""
    information: Array
    """(m,) variance of the score."""
    fold: Ints
    """(m,)."""
    prior_sd: Array
    """(q,) spreads of the priors of the coefficients."""

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
    """Judge a cross-fitted ranking (m,), with an interval that allows for it; see the module."""
    unit = float(scored.information.mean())
    found = ranked(order, -scored.score / unit)
    if len(order) > MOST:
        some = np.random.default_rng(seed).permutation(len(order))[:MOST]
        drawn = chance_rates(scored.take(some), seed) * math.sqrt(MOST / len(order))
    else:
        drawn = chance_rates(scored, seed)
    low, high = np.quantile(drawn, [0.025, 0.975])
    value = found.rate.value
    return replace(found, rate=Estimate(value, value - float(high), value - float(low)))


def chance_rates(scored: Scored, seed: int) -> Array:
    """Return rates (draws,) of rankings cross-fitted to scores whose signs are drawn at random."""
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
    """Half less each patient's middle rank (n,), as a part of all; ties share theirs."""
    n = len(order)
    distinct, place, count = np.unique(-order, return_inverse=True, return_counts=True)
    middle = (np.cumsum(count) - (count + 1) / 2 + 0.5) / n
    return np.asarray(0.5 - middle[place]) if len(distinct) > 1 else np.zeros(n)
