"""The treatment's benefit to a patient: survival with minus without it, and the advice.

Both curves come from the learners' curve, which is blind to the treatment, and the posterior of the
log-hazard ratio. The blind hazard h is that of similar patients, of whom a share e (the propensity)
is treated. The hazards with and without treatment are those whose mean, weighted by e and 1 − e, is
h: HR · h / (1 − e + e · HR) and h / (1 − e + e · HR). All results are means or quantiles over the
posterior. That of a gain includes the prognosis's uncertainty too: the log cumulative hazard and
the log-hazard ratio are independent normal variables, evaluated at the points of a lattice
(Niederreiter, "Random number generation and quasi-Monte Carlo methods", SIAM 1992).
"""

from __future__ import annotations

from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from accomplice.data.arrays import Array, Bools
from accomplice.data.errors import enumerated
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

#: Coverage of the interval of a benefit.
LEVEL = 0.8
#: Month at which the benefit is computed where the study declares no horizon.
USUAL_HORIZON = 60.0
#: Nodes of the quadrature for means over the posterior.
NODES = 7
#: Nodes and weights of the Gauss–Hermite rule for a standard normal variable.
QUADRATURE = np.polynomial.hermite_e.hermegauss(NODES)
#: Points of a Fibonacci lattice, which covers the posterior of prognosis and effect evenly.
POINTS = 89
#: (POINTS,) values of a standard normal variable for the log-hazard ratio, rising.
EVEN = np.array([NormalDist().inv_cdf((i + 0.5) / POINTS) for i in range(POINTS)])
#: (POINTS,) the same values in the lattice's order, for the log cumulative hazard.
PROGNOSES = EVEN[55 * np.arange(POINTS) % POINTS]
#: Patients per batch: few enough for their curves at all nodes to stay in the processor's cache.
CHUNK = 256

#: Beginnings of an advice.
FAVOURS, NO_CLEAR, FAVOURS_NONE, ABSTAINS = (
    "favours",
    "no clear benefit",
    "favours none",
    "abstains",
)


class Arms(NamedTuple):
    """Cumulative hazards of n patients in both arms; see :func:`arms`."""

    with_it: Array
    """(n, j + 1) with the treatment."""
    without: Array
    """(n, j + 1) without it."""

    def of(self, treated: Array, blind: Array) -> Array:
        """Return the cumulative hazards (n, j + 1) under each patient's own treatment.

        Args:
            treated: (n,) 1 for with, 0 for without, NaN for unknown.
            blind: (n, j + 1) cumulative hazards for patients whose treatment is unknown.
        """
        status = treated[:, None]
        return np.where(status == 1, self.with_it, np.where(status == 0, self.without, blind))


class Prognosis(NamedTuple):
    """Blind cumulative hazards of n patients at one month, and their uncertainty."""

    cumulative: Array
    """(n,) median of each cumulative hazard."""
    sd: Array
    """(n,) standard deviation of its logarithm; 0 if uncertainty is ignored."""


class Benefit(NamedTuple):
    """The treatment's benefit to n patients."""

    gain: Array
    """(n,) posterior mean of the survival at the horizon, with minus without treatment."""
    low: Array
    """(n,) lower end of the 80 % interval of ``gain``."""
    high: Array
    """(n,) upper end of that interval."""
    rmst_gain: Array
    """(n,) restricted mean survival time to the horizon, with minus without, in months."""
    p_benefit: Array
    """(n,) posterior probability of a gain above 3 percentage points."""


def benefit_horizon(study: Study, endpoint: str, horizon: float) -> float:
    """Return the month at which benefits are computed.

    It is ``horizon``, the model's; at most 60 where the study declares none for the endpoint.

    Raises:
        InputError: the study has no such survival endpoint.
    """
    declared = study.survival_endpoint(endpoint)[1].horizon
    return horizon if declared is not None else min(USUAL_HORIZON, horizon)


def under(cumulative: Array, effect: PatientEffect, treated: Array) -> Array:
    """Return cumulative hazards (…, n, j + 1) under a treatment status.

    Args:
        cumulative: (…, n, j + 1) cumulative hazards of learners blind to the treatment.
        effect: effect on the n patients.
        treated: (n,) 1 for with, 0 for without, NaN for unknown, which leaves the blind curve.

    Returns:
        −log of the posterior mean of survival.
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
    """Return cumulative hazards with and without the treatment from blind ones (n, j + 1).

    They are −log of the posterior mean of survival.
    """
    found = np.empty((2, *cumulative.shape))
    for start in range(0, len(cumulative), CHUNK):
        rows = slice(start, start + CHUNK)
        factors = np.stack(_factors(effect.take(rows), QUADRATURE[0]))
        found[:, rows] = _mixed(cumulative[rows], factors)
    return Arms(*found)


def benefit(cumulative: Array, grid: TimeGrid, horizon: float, effect: PatientEffect) -> Benefit:
    """Return the benefit at a horizon, without the uncertainty of the blind cumulative hazards.

    Args:
        cumulative: (n, j + 1) blind cumulative hazards.
        grid: time grid of the j bins.
        horizon: month of the gain, and end of the restricted mean.
        effect: effect on the n patients.
    """
    blind = Prognosis(grid.at(cumulative, np.array([horizon]))[:, 0], np.zeros(len(cumulative)))
    return benefit_of(arms(cumulative, effect), blind, grid, horizon, effect)


def benefit_of(
    both: Arms, blind: Prognosis, grid: TimeGrid, horizon: float, effect: PatientEffect
) -> Benefit:
    """Return the benefit from the cumulative hazards of both arms.

    Args:
        both: the result of :func:`arms`.
        blind: blind cumulative hazards at the horizon.
        grid: time grid of the j bins.
        horizon: month of the gain, and end of the restricted mean.
        effect: effect on the n patients.
    """
    n, stacked = len(blind.cumulative), np.stack(both)
    with_it, without = np.exp(-grid.at(stacked, np.array([horizon])))[..., 0]
    longer, shorter = restricted_mean(grid, stacked, horizon)
    gain, found = with_it - without, np.empty((3, n))
    for start in range(0, n, CHUNK):
        rows = slice(start, start + CHUNK)
        gains = _gains(Prognosis(*(part[rows] for part in blind)), effect.take(rows))
        gains.sort(axis=1)
        found[0, rows] = _quantile(gains, (1 - LEVEL) / 2)
        found[1, rows] = _quantile(gains, (1 + LEVEL) / 2)
        found[2, rows] = _above(gains, WORTH)
    low, high, chance = found
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
        found: the benefits.
        effect: the effect; its propensity shows whether both arms have such patients.
        option: (n,) 1 where the treatment is an option, 0 where it is none, NaN where unknown.
        treatment: the treatment, for its label and the features that make it an option.
        distrust: reason why the effect seen in training is not credible; empty if there is none.
            With one the treatment is never favoured; the advice against it stays.
        outside: (n,) whether a whole modality's values are far from the training patients'.

    Returns:
        ``abstains: reason`` where one of :func:`reasons` holds; else ``favours LABEL`` where the
        probability of a gain above 3 points is at least 80 %, ``no clear benefit`` where it is
        below 20 %, and ``favours none`` where the probability of a loss is above 90 %.
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
    """Return key -> reason to abstain; of several that hold, the last is given."""
    where = enumerated(treatment.eligible)
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
    """Return NaN benefits of n patients, and the advice to abstain for a reason."""
    unknown = [np.full(n, np.nan) for _ in Benefit._fields]
    return Benefit(*unknown), np.full(n, f"{ABSTAINS}: {reason}")


def _factors(effect: PatientEffect, nodes: Array) -> tuple[Array, Array]:
    """Return the ratios (n, k) of the hazards with and without treatment to the blind hazard.

    The nodes, values of a standard normal variable, are (k,), or (n, k) where patients differ.
    """
    log_hr = effect.log_hr[:, None] + effect.sd[:, None] * nodes
    ratio = hazard_ratio(log_hr)
    chance = effect.propensity[:, None]
    without = 1.0 / (1 - chance + chance * ratio)
    return ratio * without, without


def _mixed(cumulative: Array, factor: Array) -> Array:
    """Return −log of the mean survival over the quadrature's nodes, (…, n, j + 1).

    Args:
        cumulative: (…, n, j + 1) blind cumulative hazards.
        factor: (…, n, k) ratio of the hazard to the blind one at each node.
    """
    weights = QUADRATURE[1] / QUADRATURE[1].sum()
    # With the nodes as the first axis the order of summation is the same for any n.
    nodes_first = factor.transpose(factor.ndim - 1, *range(factor.ndim - 1))
    curves = nodes_first[..., None] * -cumulative
    np.exp(curves, out=curves)
    curves *= weights.reshape(-1, *(1,) * (curves.ndim - 1))
    return from_survival(curves.sum(axis=0))


def _gains(blind: Prognosis, effect: PatientEffect) -> Array:
    """Return the gain of survival (n, k) at the k points of the posterior."""
    with_it, without = _factors(effect, EVEN)
    hazard = -blind.cumulative[:, None] * np.exp(blind.sd[:, None] * PROGNOSES)
    return np.asarray(np.exp(hazard * with_it) - np.exp(hazard * without))


def _quantile(gains: Array, chance: float) -> Array:
    """Return a quantile (n,) of rising gains (n, k) that are equally likely."""
    place = chance * POINTS - 0.5
    below = int(place)
    part = place - below
    return np.asarray((1 - part) * gains[:, below] + part * gains[:, below + 1])


def _above(gains: Array, worth: float) -> Array:
    """Return the probability (n,) of a gain above ``worth``, interpolated between points.

    Args:
        gains: (n, k) rising gains that are equally likely.
        worth: smallest worthwhile gain.
    """
    count = (gains <= worth).sum(axis=1)
    rows, after = np.arange(len(gains)), np.clip(count, 1, POINTS - 1)
    lower, upper = gains[rows, after - 1], gains[rows, after]
    part = (worth - lower) / np.maximum(upper - lower, 1e-12)
    below = np.where((count == 0) | (count == POINTS), count, count - 0.5 + part)
    return np.asarray(1 - below / POINTS)
