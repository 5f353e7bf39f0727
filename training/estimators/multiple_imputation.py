"""Multiple imputation of missing numbers, and the pooling of estimates from the imputed data.

The columns are taken as jointly normal. Draws alternate between missing values given the
parameters and parameters given all values (data augmentation: Schafer, "Analysis of Incomplete
Multivariate Data", 1997, ch. 5). For a survival model the columns must include the event and its
Nelson-Aalen cumulative hazard (White and Royston, "Imputing missing covariate values for the Cox
model", Stat Med 2009), and all that stands in the model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from accomplice.data.arrays import Array
from accomplice.training.estimators.gaussian_imputation import AT_ONCE, TINY, Gaussian
from accomplice.training.estimators.hazard_ratios import HazardRatio

#: Number of imputed data sets.
IMPUTATIONS = 20
#: Draws of the parameters before the first imputed data set.
BURN_IN = 15
#: Draws of the parameters from one imputed data set to the next.
BETWEEN = 5


def impute(Z: Array, seed: int, imputations: int = IMPUTATIONS) -> Array:
    """Draw imputed data sets (m, n, c) of Z (n, c), whose missing values are NaN.

    Known values stay. Given complete standardised columns with scatter matrix S, the covariance is
    drawn from the inverse Wishart distribution of n - 1 + c + 2 degrees of freedom and the scale
    S + (c + 2) I, which is a prior of c + 2 patients without correlations; the mean from the normal
    distribution around that of the columns. A column without two distinct known values is
    imputed by its value, or by 0 without one.

    Args:
        Z: (n, c) values, NaN where missing.
        seed: seed of the draws.
        imputations: number m of imputed data sets.

    Example:
        >>> Z = np.array([[0.0, 0.1], [1.0, 0.9], [2.0, np.nan], [3.0, 3.1], [4.0, 3.9]])
        >>> drawn = impute(Z, seed=0, imputations=3)
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
    gaussian = Gaussian.fit(scaled)
    for step in range(BURN_IN + BETWEEN * imputations):
        filled = _filled(scaled, gaussian, rng)
        gaussian = _parameters(filled, rng)
        draw, rest = divmod(step - BURN_IN, BETWEEN)
        if draw >= 0 and rest == BETWEEN - 1:
            drawn = filled * spread[varied] + centre[varied]
            found[draw][:, varied] = np.where(known[:, varied], Z[:, varied], drawn)
    return found


def _filled(Z: Array, gaussian: Gaussian, rng: np.random.Generator) -> Array:
    """Return Z (n, c) with missing values drawn from their distribution given the known ones."""
    wanted = np.flatnonzero(np.isnan(Z).any(axis=0))
    found = Z.copy()
    for start in range(0, len(Z), AT_ONCE):
        rows = slice(start, start + AT_ONCE)
        mean, spread, pattern = gaussian.condition(Z[rows], wanted)
        length, direction = np.linalg.eigh(spread)
        root = direction * np.sqrt(np.maximum(length, 0.0))[:, None, :]
        noise = np.einsum("nij,nj->ni", root[pattern], rng.standard_normal(mean.shape))
        found[rows, wanted] = mean + noise
    return np.where(np.isnan(Z), found, Z)


def _parameters(X: Array, rng: np.random.Generator) -> Gaussian:
    """Draw mean and covariance of complete columns X (n, c) from their posterior distribution."""
    n, c = X.shape
    mean = X.mean(axis=0)
    scale = (X - mean).T @ (X - mean) + (c + 2) * np.eye(c)
    # The inverse of a Wishart matrix by Bartlett's decomposition: L A⁻ᵀ A⁻¹ Lᵀ with L Lᵀ the scale.
    bartlett = np.tril(rng.standard_normal((c, c)), -1)
    bartlett += np.diag(np.sqrt(rng.chisquare(n + 1 + c - np.arange(c))))
    root = np.linalg.solve(bartlett, np.linalg.cholesky(scale).T).T
    covariance = root @ root.T
    return Gaussian(mean + root @ rng.standard_normal(c) / math.sqrt(n), covariance)


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
