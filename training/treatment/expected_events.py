"""The Poisson likelihood of events after the landmark, from which the treatment's effect is fitted.

With H a patient's expected number of events by curves predicted without the treatment, the number
of events is Poisson with mean H exp(design · θ + nuisances). The nuisances are an intercept, a
slope of the prognosis, and nonlinear terms (``treatment.propensity.terms``) that the curves lack.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from accomplice.data.arrays import Array, Bools
from accomplice.data.cohort import Cohort
from accomplice.training.estimators.hazard import TimeGrid
from accomplice.training.estimators.newton import climb
from accomplice.training.treatment.compared import compared, treatment_and_status
from accomplice.training.treatment.propensity.terms import Terms, candidates, chosen, sampled_rows

#: Prior standard deviation of the intercept, of the slope of the prognosis and of a term.
NUISANCE_SD = 0.3
#: Prior standard deviation of the common log-hazard ratio: nearly flat.
COMMON_SD = 10.0


class Rates(NamedTuple):
    """The common hazard ratio of m patients, and each patient's observed and expected events."""

    log_hr: float
    """Log-hazard ratio of the treatment."""
    error: float
    """Standard error of ``log_hr``."""
    event: Array
    """(m,) 1 where the event was observed after the landmark, up to the grid's horizon; else 0."""
    rate: Array
    """(m,) expected number of events of each patient under the treatment given."""


def fitted_rates(
    cohort: Cohort,
    cumulative: Array,
    grid: TimeGrid,
    propensity: Array,
    rows: Bools,
    terms: Array,
) -> Rates:
    """Fit one hazard ratio to m patients; see ``treatment.effect``.

    Args:
        cohort: n patients.
        cumulative: (n, j + 1) out-of-fold cumulative hazard of learners blind to the treatment.
        grid: time grid of the j bins.
        propensity: (n,) propensity, out of fold.
        rows: (n,) whether the patient is used.
        terms: (n, q) values of further terms; see :func:`missed_terms`.
    """
    _, treated = treatment_and_status(cohort)
    event, offset, nuisance = _outcome(cohort, cumulative, grid, rows)
    design = np.column_stack([(treated - propensity)[rows], nuisance, terms[rows]])
    precision = _precision(np.array([COMMON_SD]), design.shape[1])
    theta, information = _poisson(design, event, offset, precision)
    error = float(np.sqrt(np.linalg.inv(information)[0, 0]))
    return Rates(float(theta[0]), error, event, np.exp(offset + design @ theta))


def missed_terms(
    cohort: Cohort,
    cumulative: Array,
    grid: TimeGrid,
    propensity: Array,
    X: Array,
    of_treatment: Terms,
) -> Terms:
    """Return the terms that predict the treatment, and those that the curves lack.

    The latter are chosen by the residuals of a fit with one hazard ratio; see
    ``treatment.propensity.terms``.

    Args:
        cohort: n patients.
        cumulative: (n, j + 1) out-of-fold cumulative hazard of learners blind to the treatment.
        grid: time grid of the j bins.
        propensity: (n,) propensity, out of fold.
        X: (n, c) columns of which terms are made.
        of_treatment: terms of these columns that predict the treatment.
    """
    _, treated = treatment_and_status(cohort)
    rows = compared(cohort)
    fitted = fitted_rates(cohort, cumulative, grid, propensity, rows, of_treatment.with_parts(X))
    some = sampled_rows(int(rows.sum()))
    used = X[rows][some]
    others = np.column_stack([(treated - propensity)[rows][some], of_treatment.of(used)])
    residual, rate = (fitted.event - fitted.rate)[some], fitted.rate[some]
    return of_treatment.joined(chosen(used, candidates(used), residual, rate, others))


def _precision(sd: Array, columns: int) -> Array:
    """Return the prior precisions (columns,): of the effect's coefficients, then of nuisances."""
    return np.append(sd, np.full(columns - len(sd), NUISANCE_SD)) ** -2.0


def _outcome(
    cohort: Cohort, cumulative: Array, grid: TimeGrid, rows: Bools
) -> tuple[Array, Array, Array]:
    """Return events after the landmark (m,), log of the expected events (m,), and nuisances (m, 2).

    The nuisances are a constant and the prognosis, the centred log of the last cumulative hazard.
    """
    treatment, _ = treatment_and_status(cohort)
    landmark = min(treatment.landmark, grid.horizon)
    time, curve = cohort.time[rows], cumulative[rows]
    before = grid.at(curve, np.array([landmark]))[:, 0]
    gathered = grid.at_own(curve, np.clip(time, landmark, grid.horizon)) - before
    observed = cohort.event[rows] & (time > landmark) & (time <= grid.horizon)
    prognosis = np.log(np.maximum(curve[:, -1], 1e-12))
    nuisance = np.column_stack([np.ones(len(prognosis)), prognosis - prognosis.mean()])
    return observed.astype(float), np.log(np.maximum(gathered, 1e-12)), nuisance


def posterior(
    cohort: Cohort,
    cumulative: Array,
    grid: TimeGrid,
    rows: Bools,
    design: Array,
    sd: Array,
    terms: Array,
) -> tuple[Array, Array]:
    """Return the posterior mean (k,) and covariance (k, k) of an effect's coefficients.

    Args:
        cohort: n patients.
        cumulative: (n, j + 1) out-of-fold cumulative hazard of learners blind to the treatment.
        grid: time grid of the j bins.
        rows: (n,) whether the patient is one of the m who are used.
        design: (m, k) design of the effect, times treatment less propensity.
        sd: (k,) prior standard deviations.
        terms: (n, q) values of further terms; see :func:`missed_terms`.
    """
    event, offset, nuisance = _outcome(cohort, cumulative, grid, rows)
    full = np.column_stack([design, nuisance, terms[rows]])
    theta, information = _poisson(full, event, offset, _precision(sd, full.shape[1]))
    k = design.shape[1]
    return theta[:k], np.asarray(np.linalg.inv(information)[:k, :k], dtype=np.float64)


def _poisson(X: Array, event: Array, offset: Array, precision: Array) -> tuple[Array, Array]:
    """Return theta and its information matrix in a penalised fit of rates exp(offset + X theta)."""

    def log_likelihood(theta: Array) -> float:
        log_rate = offset + X @ theta
        # Bounded, so that a step too long gives a low likelihood, not an overflow.
        rate = np.exp(np.minimum(log_rate, 100.0))
        return float(event @ log_rate - rate.sum() - precision @ theta**2 / 2)

    def information(theta: Array) -> Array:
        return np.asarray((X * np.exp(offset + X @ theta)[:, None]).T @ X + np.diag(precision))

    def step(theta: Array) -> Array:
        slope = X.T @ (event - np.exp(offset + X @ theta)) - precision * theta
        return np.asarray(np.linalg.solve(information(theta), slope), dtype=np.float64)

    theta = climb(log_likelihood, step, np.zeros(X.shape[1]))
    return theta, information(theta)
