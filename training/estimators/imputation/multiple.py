"""Multiple imputation of missing covariates of a Cox model, and the pooling of its estimates.

The covariates are taken as jointly normal, the outcome as that of a Cox model of all of them, so
that the imputations agree with the analysis (Bartlett, Seaman, White and Carpenter, "Multiple
imputation of covariates by fully conditional specification: accommodating the substantive model",
Stat Methods Med 2015). Draws alternate between missing values given the parameters of both models
and the outcome, and parameters given all values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import invwishart

from accomplice.data.arrays import Array, Bools
from accomplice.training.estimators.cox import RiskSets, fit_cox
from accomplice.training.estimators.hazard_ratios import WEAK, HazardRatio
from accomplice.training.estimators.imputation.gaussian import AT_ONCE, TINY, Gaussian
from accomplice.training.estimators.kaplan_meier import nelson_aalen

#: Number of imputed data sets.
IMPUTATIONS = 20
#: Draws of a patient's missing values of which one is taken.
PROPOSALS = 30
#: Draws of the parameters before the first imputed data set.
BURN_IN = 15
#: Draws of the parameters from one imputed data set to the next.
BETWEEN = 5


def impute(Z: Array, time: Array, event: Bools, seed: int, imputations: int = IMPUTATIONS) -> Array:
    """Draw imputed data sets (m, n, c) of the covariates Z (n, c), whose missing values are NaN.

    Known values stay. Given complete standardised columns with scatter matrix S, their covariance
    is drawn from the inverse Wishart distribution of n + c + 1 degrees of freedom and the scale
    S + (c + 2) I, which is a prior of c + 2 patients without correlations; their mean from the
    normal distribution around that of the columns; and Cox's coefficients β, under the prior of
    :mod:`estimators.hazard_ratios`, from the normal distribution of their estimate. A patient's
    missing values are one of ``PROPOSALS`` draws given the known ones, taken with a chance in
    proportion to the likelihood of the outcome, exp(event · xᵀβ − Λ(time) exp(xᵀβ)), with Λ the
    baseline cumulative hazard. A column without two distinct known values is imputed by its value,
    or by 0 without one.

    Args:
        Z: (n, c) covariates, NaN where missing.
        time: (n,) follow-up in months.
        event: (n,) whether the event was observed.
        seed: seed of the draws.
        imputations: number m of imputed data sets.

    Example:
        >>> Z = np.array([[0.0, 0.1], [1.0, 0.9], [2.0, np.nan], [3.0, 3.1], [4.0, 3.9]])
        >>> time, event = np.array([5.0, 4.0, 3.0, 2.0, 1.0]), np.ones(5, dtype=bool)
        >>> drawn = impute(Z, time, event, seed=0, imputations=3)
        >>> drawn.shape, bool((drawn[:, ~np.isnan(Z)] == Z[~np.isnan(Z)]).all())
        ((3, 5, 2), True)
    """
    rng = np.random.default_rng(seed)
    known = ~np.isnan(Z)
    count = np.maximum(known.sum(axis=0), 1)
    centre = np.nan_to_num(Z).sum(axis=0) / count
    spread = np.sqrt((np.where(known, Z - centre, 0.0) ** 2).sum(axis=0) / count)
    varied = spread**2 > TINY
    found = np.broadcast_to(np.where(known, Z, centre), (imputations, *Z.shape)).copy()
    if known[:, varied].all():
        return found
    scaled = (Z[:, varied] - centre[varied]) / spread[varied]
    gaussian, sets = Gaussian.fit(scaled), RiskSets(time, event)
    beta, penalty = np.zeros(scaled.shape[1]), np.full(scaled.shape[1], WEAK)
    cumulative = nelson_aalen(time, event)
    for step in range(BURN_IN + BETWEEN * imputations):
        filled = _filled(scaled, gaussian, beta, cumulative, event, rng)
        gaussian = _parameters(filled, rng)
        mode = fit_cox(filled, sets, penalty)
        information = sets.evaluate(filled, filled @ mode)[2] + np.diag(penalty)
        root = np.linalg.cholesky(information)
        beta = mode + np.linalg.solve(root.T, rng.standard_normal(len(mode)))
        cumulative = nelson_aalen(time, event, np.exp(filled @ beta))
        draw, rest = divmod(step - BURN_IN, BETWEEN)
        if draw >= 0 and rest == BETWEEN - 1:
            drawn = filled * spread[varied] + centre[varied]
            found[draw][:, varied] = np.where(known[:, varied], Z[:, varied], drawn)
    return found


def _filled(
    Z: Array,
    gaussian: Gaussian,
    beta: Array,
    cumulative: Array,
    event: Bools,
    rng: np.random.Generator,
) -> Array:
    """Return Z (n, c) with missing values drawn given the known ones and the outcome.

    Args:
        Z: (n, c) covariates, NaN where missing.
        gaussian: joint distribution of the covariates.
        beta: (c,) coefficients of Cox's model.
        cumulative: (n,) baseline cumulative hazard at each patient's time.
        event: (n,) whether the event was observed.
        rng: source of the draws.
    """
    missing = np.isnan(Z)
    wanted, known = np.flatnonzero(missing.any(axis=0)), np.flatnonzero(~missing.any(axis=0))
    lacking, found = np.flatnonzero(missing.any(axis=1)), Z.copy()
    for rows in np.split(lacking, range(AT_ONCE, len(lacking), AT_ONCE)):
        mean, spread, pattern = gaussian.condition(Z[rows], wanted)
        eigenvalues, eigenvectors = np.linalg.eigh(spread)
        root = eigenvectors * np.sqrt(np.maximum(eigenvalues, 0.0))[:, None, :]
        normal = rng.standard_normal((len(rows), len(wanted), PROPOSALS))
        proposed = mean[:, :, None] + root[pattern] @ normal
        log_hz = (Z[rows][:, known] @ beta[known])[:, None] + beta[wanted] @ proposed
        expected = cumulative[rows][:, None] * np.exp(np.minimum(log_hz, 100.0))
        likelihood = event[rows][:, None] * log_hz - expected
        # The largest sum with Gumbel noise is a draw in proportion to the likelihoods.
        taken = np.argmax(likelihood + rng.gumbel(size=likelihood.shape), axis=1)
        found[np.ix_(rows, wanted)] = proposed[np.arange(len(rows)), :, taken]
    return np.where(missing, found, Z)


def _parameters(X: Array, rng: np.random.Generator) -> Gaussian:
    """Draw mean and covariance of complete columns X (n, c) from their posterior distribution."""
    n, c = X.shape
    mean = X.mean(axis=0)
    scale = (X - mean).T @ (X - mean) + (c + 2) * np.eye(c)
    covariance = np.atleast_2d(invwishart.rvs(n + c + 1, scale, random_state=rng))
    return Gaussian(rng.multivariate_normal(mean, covariance / n, method="cholesky"), covariance)


def pooled(ratios: Sequence[HazardRatio]) -> HazardRatio:
    """Pool one hazard ratio of m imputed data sets by Rubin's rules.

    The log is the mean of the logs; its variance is W + (1 + 1/m) B, with W the mean of the
    variances and B the variance of the logs, with t on (m - 1) (1 + W / ((1 + 1/m) B))² degrees of
    freedom (Rubin, "Multiple Imputation for Nonresponse in Surveys", 1987, ch. 3). One ratio stays
    as it is; if any is NaN, so is the pooled one.

    Example:
        >>> ratios = [HazardRatio.of(log, 0.2, 200, 100) for log in (-0.5, -0.4, -0.3)]
        >>> print(pooled(ratios))
        0.67 (0.42 to 1.07)
    """
    first = ratios[0]
    m = len(ratios)
    if m == 1:
        return first
    logs, errors = (np.array(v) for v in zip(*((r.log, r.se) for r in ratios), strict=True))
    within, between = float((errors**2).mean()), (1 + 1 / m) * float(logs.var(ddof=1))
    degrees = (m - 1) * (1 + within / between) ** 2 if between > 0 else math.inf
    # Beyond, Student's t is the normal distribution to three digits.
    degrees = degrees if degrees < 1000 else math.inf
    se = math.sqrt(within + between)
    return HazardRatio.of(float(logs.mean()), se, first.patients, first.events, degrees)
