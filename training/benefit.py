"""What the treatment is worth to a patient: survival with minus without it, and what to advise.

Both curves come from the blind curve of the learners and the effect's posterior. The blind hazard
is what patients like this one had, of whom a part e was treated; so the hazards with and without
treatment are taken such that their mean, in these parts, is the blind one. All figures are means or
quantiles over the posterior of the log-hazard ratio.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data.study import Study, Treatment
from training.effect import PatientEffect
from training.hazard import TimeGrid, restricted_mean

Array = NDArray[np.float64]

#: Coverage of the interval around a benefit.
LEVEL = 0.8
#: Gain of survival, as a part of 1, that is worth a treatment's burden.
WORTH = 0.03
#: Chance of a worthwhile gain from which on the treatment is advised, and below which no clear
#: benefit is seen.
LIKELY, UNLIKELY = 0.8, 0.5
#: Propensities between which both arms have patients like this one.
RARE, COMMON = 0.1, 0.9
#: Months at which a benefit is asked for where the study declares no horizon.
USUAL_HORIZON = 60.0
#: Points of the posterior at which chances are taken, and of the quadrature for means.
POINTS, NODES = 101, 7
#: Nodes and weights of Gauss and Hermite's rule for a standard normal variable.
QUADRATURE = np.polynomial.hermite_e.hermegauss(NODES)
#: Patients worked on at once.
CHUNK = 4096

FAVOURS, NO_CLEAR, FAVOURS_NONE, ABSTAINS = (
    "favours",
    "no clear benefit",
    "favours none",
    "abstains",
)


class Benefit(NamedTuple):
    """What the treatment is worth to n patients."""

    gain: Array
    """(n,) survival at the horizon, with minus without."""
    low: Array
    """(n,) lower end of its 80 % interval."""
    high: Array
    """(n,) upper end."""
    rmst_gain: Array
    """(n,) restricted mean survival time to the horizon, with minus without, in months."""
    p_benefit: Array
    """(n,) chance that the gain is above 3 points."""


def benefit_horizon(study: Study, endpoint: str, horizon: float) -> float:
    """Months at which benefits are given: the endpoint's own horizon, or 60 as far as followed."""
    declared = study.survival_endpoint(endpoint)[1].horizon
    return horizon if declared is not None else min(USUAL_HORIZON, horizon)


def under(cumulative: Array, effect: PatientEffect, treated: Array) -> Array:
    """Return cumulative hazards (n, j + 1) under a treatment status.

    Args:
        cumulative: (n, j + 1) of learners blind to the treatment.
        effect: on the n patients.
        treated: (n,) 1 for with, 0 for without, NaN for unknown, which leaves the blind curve.

    Returns:
        Of the posterior mean of survival.
    """
    found = np.array(cumulative)
    rows = np.flatnonzero(~np.isnan(treated))
    nodes, weights = QUADRATURE
    for part in np.split(rows, range(CHUNK, len(rows), CHUNK)):
        factor = _factor(effect.take(part), nodes, treated[part])
        mean = np.zeros((len(part), cumulative.shape[1]))
        for weight, each in zip(weights / weights.sum(), factor.T, strict=True):
            mean += weight * np.exp(-cumulative[part] * each[:, None])
        found[part] = -np.log(np.maximum(mean, 1e-300))
    return found


def benefit(cumulative: Array, grid: TimeGrid, horizon: float, effect: PatientEffect) -> Benefit:
    """Return the benefit at a horizon from blind cumulative hazards (n, j + 1) on a grid."""
    n = len(cumulative)
    with_it, without = (under(cumulative, effect, np.full(n, arm)) for arm in (1.0, 0.0))
    at = np.array([horizon])
    gain = (np.exp(-grid.at(with_it, at)) - np.exp(-grid.at(without, at)))[:, 0]
    months = restricted_mean(grid, with_it, horizon) - restricted_mean(grid, without, horizon)
    blind = grid.at(cumulative, at)
    low, high, chance = np.empty(n), np.empty(n), np.empty(n)
    place = (np.arange(POINTS) + 0.5) / POINTS
    points = np.array([NormalDist().inv_cdf(p) for p in place])
    end = NormalDist().inv_cdf((1 + LEVEL) / 2)
    for start in range(0, n, CHUNK):
        rows = slice(start, start + CHUNK)
        own = effect.take(rows)
        # The gain falls with the hazard ratio, so that its quantiles are those of the ratio.
        low[rows], high[rows] = _gains(blind[rows], own, np.array([end, -end])).T
        gains = _gains(blind[rows], own, points)
        chance[rows] = _above(gains, WORTH)
    return Benefit(gain, np.minimum(low, gain), np.maximum(high, gain), months, chance)


def advise(
    found: Benefit,
    effect: PatientEffect,
    option: Array,
    treatment: Treatment,
    distrust: str = "",
) -> NDArray[np.str_]:
    """Put into words, for each of n patients, what the benefit speaks for.

    Args:
        found: the benefit.
        effect: whose propensity says whether patients like this one were in both arms.
        option: (n,) 1 where the treatment is an option, 0 where it is none, NaN where unknown.
        treatment: what it is called, and where it is an option.
        distrust: why the effect seen in training is not credible, if it is not.

    Returns:
        ``favours LABEL`` where a gain above 3 points is likely, ``favours none`` where harm is,
        ``no clear benefit`` where such a gain is less likely than not, or ``abstains: reason``.
    """
    where = " and ".join(treatment.eligible)
    advice = np.full(len(option), f"{FAVOURS} {treatment.label}", dtype=object)
    advice[found.p_benefit < UNLIKELY] = NO_CLEAR
    advice[found.high < 0] = FAVOURS_NONE
    reasons = (
        (
            (found.p_benefit >= UNLIKELY) & (found.p_benefit < LIKELY),
            f"a gain above {100 * WORTH:.0f} points is neither likely nor unlikely",
        ),
        (
            (found.low < -WORTH) & (found.high > WORTH),
            f"the interval spans a loss and a gain of {100 * WORTH:.0f} points",
        ),
        (effect.propensity < RARE, "few patients like this one were treated"),
        (effect.propensity > COMMON, "few patients like this one were left untreated"),
        (np.isnan(option), f"{where} unknown, which decides whether it is an option"),
        (
            np.full(len(option), bool(distrust)),
            f"the effect seen in training is not credible ({distrust})",
        ),
        (option == 0, f"{treatment.label} is no option at this {where}"),
    )
    for rows, reason in reasons:
        advice[rows] = f"{ABSTAINS}: {reason}"
    return advice.astype(str)


def abstain(n: int, reason: str) -> tuple[Benefit, NDArray[np.str_]]:
    """Return unknown benefits and the advice of a model that could not estimate an effect."""
    unknown = [np.full(n, np.nan) for _ in Benefit._fields]
    return Benefit(*unknown), np.full(n, f"{ABSTAINS}: {reason}")


def _factor(effect: PatientEffect, nodes: Array, treated: Array) -> Array:
    """Hazard under a treatment status (n,), against the blind hazard, at nodes (k,): (n, k)."""
    log_hr = effect.log_hr[:, None] + effect.sd[:, None] * nodes
    ratio = np.exp(np.clip(log_hr, -30, 30))
    chance = effect.propensity[:, None]
    return np.asarray(np.where(treated[:, None] == 1, ratio, 1.0) / (1 - chance + chance * ratio))


def _gains(blind: Array, effect: PatientEffect, nodes: Array) -> Array:
    """Survival gained (n, k) at nodes (k,) of the posterior, from the blind hazard (n, 1)."""
    n = len(blind)
    with_it, without = (
        np.exp(-blind * _factor(effect, nodes, np.full(n, arm))) for arm in (1.0, 0.0)
    )
    return with_it - without


def _above(gains: Array, worth: float) -> Array:
    """Chance (n,) of a gain above ``worth``, from its falling values (n, k) at even chances."""
    k = gains.shape[1]
    count = (gains > worth).sum(axis=1)
    rows, before = np.arange(len(gains)), np.clip(count - 1, 0, k - 1)
    inside = (count > 0) & (count < k)
    upper, lower = gains[rows, before], gains[rows, np.minimum(before + 1, k - 1)]
    way = np.where(
        inside, (upper - worth) / np.where(inside, np.maximum(upper - lower, 1e-12), 1), 0.5
    )
    between = (before + 0.5 + way) / k
    return np.asarray(np.where(inside, between, count / k))
