"""The treatment's benefit to a patient: survival with minus without it, and the advice.

Both curves come from the blind curve of the learners and the effect's posterior. The blind hazard
is that of similar patients, with e the treated part (the propensity): the hazards with and without
treatment are chosen so that their mean, weighted by e and 1 − e, is the blind one. All figures are
means or quantiles over the posterior of the log-hazard ratio.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.data.study import Study
from accomplice.data.study_parts import Treatment
from accomplice.training.estimators.hazard import (
    TimeGrid,
    from_survival,
    hazard_ratio,
    restricted_mean,
)
from accomplice.training.estimators.policy import COMMON, LIKELY, RARE, UNLIKELY, WORTH
from accomplice.training.treatment.effect import PatientEffect

#: Coverage of the interval around a benefit.
LEVEL = 0.8
#: Months at which a benefit is asked for where the study declares no horizon.
USUAL_HORIZON = 60.0
#: Points of the posterior at which chances are taken, and of the quadrature for means.
POINTS, NODES = 101, 7
#: Nodes and weights of Gauss and Hermite's rule for a standard normal variable.
QUADRATURE = np.polynomial.hermite_e.hermegauss(NODES)
#: Even chances, and the ends of a benefit's interval, as values of a standard normal variable.
EVEN = np.array([NormalDist().inv_cdf((i + 0.5) / POINTS) for i in range(POINTS)])
ENDS = np.array([NormalDist().inv_cdf(chance) for chance in ((1 + LEVEL) / 2, (1 - LEVEL) / 2)])
#: Step, in even chances, of the coarse grid at which a gain is computed first.
STRIDE = 10
LANDMARKS = np.concatenate([ENDS, EVEN[::STRIDE]])
#: Patients worked on at once, such that what each of the nodes gives them stays in the cache.
CHUNK = 256

FAVOURS, NO_CLEAR, FAVOURS_NONE, ABSTAINS = (
    "favours",
    "no clear benefit",
    "favours none",
    "abstains",
)


class Arms(NamedTuple):
    """Cumulative hazards (n, j + 1) of n patients in both arms; see :func:`under`."""

    with_it: Array
    without: Array

    def of(self, treated: Array, blind: Array) -> Array:
        """Return those of the arm that each is in: 1 with, 0 without, NaN for the blind ones."""
        status = treated[:, None]
        return np.where(status == 1, self.with_it, np.where(status == 0, self.without, blind))


class Benefit(NamedTuple):
    """The treatment's benefit to n patients."""

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
    """Return cumulative hazards (…, n, j + 1) under a treatment status.

    Args:
        cumulative: (…, n, j + 1) of learners blind to the treatment.
        effect: on the n patients.
        treated: (n,) 1 for with, 0 for without, NaN for unknown, which leaves the blind curve.

    Returns:
        Of the posterior mean of survival.
    """
    found = np.array(cumulative)
    rows = np.flatnonzero(~np.isnan(treated))
    for start in range(0, len(rows), CHUNK):
        part = rows[start : start + CHUNK]
        with_it, without = _factors(effect.take(part), QUADRATURE[0])
        factor = np.where(treated[part, None] == 1, with_it, without)
        found[..., part, :] = _mixed(found[..., part, :], factor[(None,) * (found.ndim - 2)])
    return found


def arms(cumulative: Array, effect: PatientEffect) -> Arms:
    """Return cumulative hazards with and without the treatment from blind ones (n, j + 1)."""
    found = np.empty((2, *cumulative.shape))
    for start in range(0, len(cumulative), CHUNK):
        rows = slice(start, start + CHUNK)
        factors = np.stack(_factors(effect.take(rows), QUADRATURE[0]))
        found[:, rows] = _mixed(cumulative[rows], factors)
    return Arms(*found)


def benefit(cumulative: Array, grid: TimeGrid, horizon: float, effect: PatientEffect) -> Benefit:
    """Return the benefit at a horizon from blind cumulative hazards (n, j + 1) on a grid."""
    return benefit_of(arms(cumulative, effect), cumulative, grid, horizon, effect)


def benefit_of(
    both: Arms, cumulative: Array, grid: TimeGrid, horizon: float, effect: PatientEffect
) -> Benefit:
    """Return the benefit from the hazards of both arms."""
    n, at, stacked = len(cumulative), np.array([horizon]), np.stack(both)
    with_it, without = np.exp(-grid.at(stacked, at))[..., 0]
    longer, shorter = restricted_mean(grid, stacked, horizon)
    gain, blind = with_it - without, grid.at(cumulative, at)
    low, high, chance = np.empty(n), np.empty(n), np.empty(n)
    for start in range(0, n, CHUNK):
        rows = slice(start, start + CHUNK)
        own = effect.take(rows)
        # The gain falls with the hazard ratio, so that its quantiles are those of the ratio.
        gains = _gains(blind[rows], own, LANDMARKS)
        low[rows], high[rows] = gains[:, 0], gains[:, 1]
        # Between the landmarks where it falls below what is worthwhile it is looked at closely.
        passed = (gains[:, 2:] > WORTH).sum(axis=1)
        first = STRIDE * np.minimum(np.maximum(passed - 1, 0), (POINTS - 1) // STRIDE - 1)
        close = _gains(blind[rows], own, EVEN[first[:, None] + np.arange(STRIDE + 1)])
        chance[rows] = _above(close, WORTH, first)
    return Benefit(gain, np.minimum(low, gain), np.maximum(high, gain), longer - shorter, chance)


def advise(
    found: Benefit,
    effect: PatientEffect,
    option: Array,
    treatment: Treatment,
    distrust: str = "",
    outside: Bools | None = None,
) -> NDArray[np.str_]:
    """Return the advice for each of n patients, by the benefit.

    Args:
        found: the benefit.
        effect: whose propensity says whether patients like this one were in both arms.
        option: (n,) 1 where the treatment is an option, 0 where it is none, NaN where unknown.
        treatment: its label, and where it is an option.
        distrust: reason why the effect seen in training is not credible, if there is one: then
            nothing is favoured by it. Harm is said all the same.
        outside: (n,) whether a whole modality's values are far from the training patients'.

    Returns:
        ``favours LABEL`` where the chance of a gain above 3 points is at least 80 %, ``no clear
        benefit`` where it is below 20 %, ``favours none`` where that of a loss is above 90 %, or
        ``abstains: reason``.
    """
    advice = np.full(len(option), f"{FAVOURS} {treatment.label}", dtype=object)
    advice[found.p_benefit < UNLIKELY] = NO_CLEAR
    advice[found.high < 0] = FAVOURS_NONE
    concerned = {
        "uncertain_gain": (found.p_benefit >= UNLIKELY) & (found.p_benefit < LIKELY),
        "wide_interval": (found.low < -WORTH) & (found.high > WORTH),
        "rarely_treated": effect.propensity < RARE,
        "rarely_untreated": effect.propensity > COMMON,
        "outside_training": np.zeros(len(option), dtype=bool) if outside is None else outside,
        "option_unknown": np.isnan(option),
        "not_credible": (found.p_benefit >= LIKELY) & bool(distrust),
        "no_option": option == 0,
    }
    for name, reason in reasons(treatment, distrust).items():
        advice[concerned[name]] = f"{ABSTAINS}: {reason}"
    return advice.astype(str)


def reasons(treatment: Treatment, distrust: str = "") -> dict[str, str]:
    """Return the reasons to abstain by a short name each; of those that hold the last is given."""
    where = " and ".join(treatment.eligible)
    return {
        "uncertain_gain": f"a gain above {100 * WORTH:.0f} points is neither likely nor unlikely",
        "wide_interval": f"the interval spans a loss and a gain of {100 * WORTH:.0f} points",
        "rarely_treated": "few patients like this one were treated",
        "rarely_untreated": "few patients like this one were left untreated",
        "outside_training": "values are far outside those of the training patients",
        "option_unknown": f"{where} unknown, which decides whether it is an option",
        "not_credible": f"the effect seen in training is not credible ({distrust})",
        "no_option": f"{treatment.label} is no option at this {where}",
    }


def abstain(n: int, reason: str) -> tuple[Benefit, NDArray[np.str_]]:
    """Return unknown benefits and the advice of a model that could not estimate an effect."""
    unknown = [np.full(n, np.nan) for _ in Benefit._fields]
    return Benefit(*unknown), np.full(n, f"{ABSTAINS}: {reason}")


def _factors(effect: PatientEffect, nodes: Array) -> tuple[Array, Array]:
    """Hazards (n, k) with and without the treatment, against the blind one.

    The nodes are (k,), or (n, k) of each patient's own.
    """
    log_hr = effect.log_hr[:, None] + effect.sd[:, None] * nodes
    ratio = hazard_ratio(log_hr)
    chance = effect.propensity[:, None]
    without = 1.0 / (1 - chance + chance * ratio)
    return ratio * without, without


def _mixed(cumulative: Array, factor: Array) -> Array:
    """Cumulative hazards (…, n, j + 1) whose survival is the mean over the quadrature's nodes.

    Args:
        cumulative: (…, n, j + 1) blind ones.
        factor: (…, n, k) that they are multiplied by at each node.
    """
    weights = QUADRATURE[1] / QUADRATURE[1].sum()
    # Nodes first: numpy then adds them one after the other, however many patients there are.
    nodes_first = factor.transpose(factor.ndim - 1, *range(factor.ndim - 1))
    curves = nodes_first[..., None] * -cumulative
    np.exp(curves, out=curves)
    curves *= weights.reshape(-1, *(1,) * (curves.ndim - 1))
    return from_survival(curves.sum(axis=0))


def _gains(blind: Array, effect: PatientEffect, nodes: Array) -> Array:
    """Survival gained (n, k) at nodes of the posterior, from the blind hazard (n, 1)."""
    with_it, without = _factors(effect, nodes)
    return np.asarray(np.exp(-blind * with_it) - np.exp(-blind * without))


def _above(gains: Array, worth: float, first: Ints) -> Array:
    """Chance (n,) of a gain above ``worth``.

    Args:
        gains: (n, k) falling ones at even chances in a row, among which it may fall below.
        worth: how much is worthwhile.
        first: (n,) place of the first of them among all ``POINTS``.
    """
    here = (gains > worth).sum(axis=1)
    count = first + here
    rows, before = np.arange(len(gains)), np.maximum(here - 1, 0)
    inside = (count > 0) & (count < POINTS)
    upper, lower = gains[rows, before], gains[rows, np.minimum(before + 1, gains.shape[1] - 1)]
    way = np.where(
        inside, (upper - worth) / np.where(inside, np.maximum(upper - lower, 1e-12), 1), 0.5
    )
    between = (count - 0.5 + way) / POINTS
    return np.asarray(np.where(inside, between, count / POINTS))
