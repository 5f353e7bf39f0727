"""One test of calibration over the whole follow-up: level and slope of the predicted hazards.

Under calibrated predictions H a patient's event, by time T, has expectation H(T), however follow-up
ends as long as censoring depends on nothing that the predictions leave out. Events are therefore
regressed, as Poisson counts, on the log of the cumulative hazard with log H(T) as offset (Crowson,
Atkinson and Therneau, "Assessing calibration of prognostic risk scores", Stat Methods Med Res
2016). The likelihood-ratio test of both coefficients is one test of all follow-up; of several 95 %
intervals at single months, one would exclude calibration by chance in more than 5 % of cohorts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from accomplice.data.arrays import Array, Bools
from accomplice.training.estimators.intervals import Z95, Estimate, Number
from accomplice.training.estimators.newton import climb

#: Minimum number of events for the test: ten for each of the two coefficients.
LEAST_EVENTS = 20


@dataclass(frozen=True)
class JointCalibration:
    """Level and slope of predicted hazards against the observed events, and the test of both."""

    slope: Estimate
    """1 if calibrated; below 1 predictions are too extreme, above 1 not extreme enough."""
    observed_expected: Estimate
    """Observed over predicted hazard at the mean log-hazard; above 1, predicted risk is too low."""
    p: Number
    """p value of the likelihood-ratio test that both are 1, on two degrees of freedom."""


def joint_calibration(event: Bools, expected: Array, log_hz: Array) -> JointCalibration | None:
    """Regress events on predicted hazards and test level and slope together.

    Let d be the event, e = H(T) the expected events and z the centred log cumulative hazard at the
    horizon. The events have mean μ = e exp(a + c z) and log-likelihood Σ d (a + c z) − μ, up to a
    constant. The slope is 1 + c, observed over expected exp(a), and the test's statistic twice the
    log-likelihood's gain over a = c = 0.

    Args:
        event: (n,) whether the event was observed.
        expected: (n,) predicted cumulative hazard at the end of each patient's follow-up.
        log_hz: (n,) log of the predicted cumulative hazard at the horizon.

    Returns:
        The estimates and the test; None with fewer than 20 events, or where ``log_hz`` is the same
        for all patients or, for any of them, not finite.

    Example:
        >>> hazard = np.repeat([0.2, 0.8], 50)
        >>> event = np.tile([True, False, False, False, False], 20)
        >>> found = joint_calibration(event, hazard, np.log(hazard))
        >>> print(f"slope {found.slope:.2f}, observed/expected {found.observed_expected:.2f}")
        slope 0.00 (-0.63 to 0.63), observed/expected 0.50 (0.32 to 0.78)
    """
    if event.sum() < LEAST_EVENTS:
        return None
    z = log_hz - log_hz.mean()
    if not np.isfinite(z).all() or z.std() < 1e-9:
        return None
    X = np.column_stack([np.ones_like(z), z])
    observed = X.T @ event

    def log_ratio(beta: Array) -> Array:
        # Too long a step must give a finite, low likelihood, not an overflow.
        return np.asarray(np.minimum(X @ beta, 100.0))

    def gained(beta: Array) -> float:
        return float(beta @ observed - (expected * np.expm1(log_ratio(beta))).sum())

    def information(beta: Array) -> Array:
        return np.asarray((X * (expected * np.exp(log_ratio(beta)))[:, None]).T @ X)

    def step(beta: Array) -> Array:
        gradient = observed - X.T @ (expected * np.exp(log_ratio(beta)))
        return np.asarray(np.linalg.solve(information(beta), gradient))

    beta = climb(gained, step, np.zeros(2))
    level_se, slope_se = np.sqrt(np.diag(np.linalg.inv(information(beta)))).tolist()
    level, slope = beta.tolist()
    return JointCalibration(
        slope=Estimate.normal(1 + slope, slope_se),
        observed_expected=Estimate(*(math.exp(level + q * level_se) for q in (0.0, -Z95, Z95))),
        # Chi-square on two degrees of freedom.
        p=math.exp(-max(gained(beta), 0.0)),
    )
