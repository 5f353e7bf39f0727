"""Hazard ratios with intervals: adjusted fits, contrasts, pooling, and design analysis.

Covariates that are only adjusted for get a weak normal prior (SD 1 on the log-hazard ratio per SD),
so that coefficients of rare levels and many clinical columns stay finite with few events; the
covariates of interest get none. Without adjustment the fit is plain Cox regression, Efron's ties.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import ClassVar, NamedTuple, Self

import numpy as np
from scipy.special import stdtr, stdtrit

from accomplice.data.arrays import Array, Bools
from accomplice.training.estimators.chi_square import ChiSquare
from accomplice.training.estimators.cox import RiskSets, fit_cox
from accomplice.training.estimators.intervals import Z95, Estimate, finite_or_none

#: Ridge on a standardised column that is only adjusted for: a normal prior of SD 1.
WEAK = 1.0
#: Minimum standard error of an undetermined log hazard ratio; see :meth:`CoxFit.ratio`.
UNDETERMINED = 5.0
#: Standard normal quantile of a power of 80 %.
Z80 = NormalDist().inv_cdf(0.8)


@dataclass(frozen=True, kw_only=True)
class HazardRatio(Estimate):
    """A hazard ratio with the 95 % interval exp(log ± q se).

    q is the 97.5 % quantile of the normal distribution (Wald's interval), or of Student's t with
    few degrees of freedom.
    """

    #: Default format of numbers.
    form: ClassVar[str] = ".2f"

    log: float
    """Log hazard ratio."""
    se: float
    """Standard error of ``log``."""
    patients: int
    events: int
    degrees: float = math.inf
    """Degrees of freedom of ``se``; infinite for Wald's interval."""

    @classmethod
    def of(
        cls, log: float, se: float, patients: int, events: int, degrees: float = math.inf
    ) -> Self:
        """Return exp(log) with its 95 % interval; all are NaN if ``log`` or ``se`` is NaN.

        Args:
            log: log hazard ratio.
            se: its standard error.
            patients: number of patients.
            events: number of events.
            degrees: degrees of freedom of ``se``; infinite for Wald's interval.
        """
        quantile = Z95 if math.isinf(degrees) else float(stdtrit(degrees, 0.975))
        ends = (math.exp(log + t * se) for t in (0.0, -quantile, quantile))
        return cls(*ends, log=log, se=se, patients=patients, events=events, degrees=degrees)

    def to_json(self) -> dict[str, float | None]:
        """Return value, low, high, p and counts as plain data, undefined ones as null."""
        counts = {"patients": self.patients, "events": self.events}
        return {**super().to_json(), "p": finite_or_none(self.p), **counts}

    @property
    def p(self) -> float:
        """Two-sided p value of no effect, by the distribution of the interval."""
        if math.isinf(self.degrees):
            return two_sided(self.log / self.se)
        return 2 * float(stdtr(self.degrees, -abs(self.log / self.se)))

    @property
    def certain(self) -> bool:
        """Whether the 95 % interval excludes 1."""
        return self.low > 1 or self.high < 1


@dataclass(frozen=True)
class CoxFit:
    """A fitted Cox model: coefficients and their covariance."""

    beta: Array
    """(k + q,) covariates of interest, then those adjusted for."""
    covariance: Array
    """(k + q, k + q) inverse of the penalised information."""
    patients: int
    events: int

    def ratio(self, *weights: float) -> HazardRatio:
        """Return exp(Σ weight · β) over the first coefficients, such as ``ratio(-1, 1)``.

        The ratio is NaN where its standard error is 0 or at least :data:`UNDETERMINED`.
        """
        w = np.zeros(len(self.beta))
        w[: len(weights)] = weights
        se = math.sqrt(max(float(w @ self.covariance @ w), 0.0))
        if not 0 < se < UNDETERMINED:
            return HazardRatio.of(math.nan, math.nan, self.patients, self.events)
        return HazardRatio.of(float(w @ self.beta), se, self.patients, self.events)


def fit_effects(X: Array, time: Array, event: Bools, adjust: Array | None = None) -> CoxFit:
    """Fit Cox's model, with the inverse of the information as covariance.

    Args:
        X: (n, k) or (n,) covariates of interest, not penalised.
        time: (n,) follow-up in months.
        event: (n,) whether the event was observed.
        adjust: (n, q) standardised covariates, under the weak prior; none if absent.

    Example:
        >>> x, time = np.array([1.0, 0.0, 1.0, 0.0]), np.array([1.0, 2.0, 3.0, 4.0])
        >>> print(fit_effects(x, time, np.ones(4, dtype=bool)).ratio(1))
        2.56 (0.23 to 29.12)
    """
    X = X.reshape(len(time), -1)
    if adjust is None:
        adjust = np.zeros((len(time), 0))
    design = np.concatenate([X, adjust[:, adjust.std(axis=0) > 1e-9]], axis=1)
    penalty = np.append(np.zeros(X.shape[1]), np.full(design.shape[1] - X.shape[1], WEAK))
    risk_sets = RiskSets(time, event)
    beta = fit_cox(design, risk_sets, penalty)
    information = risk_sets.evaluate(design, design @ beta)[2] + np.diag(penalty)
    # A column without information gets an enormous variance, and its ratio is not determined.
    covariance = np.linalg.inv(information + 1e-9 * np.eye(len(beta)))
    return CoxFit(beta, np.asarray(covariance, dtype=float), len(time), int(event.sum()))


class RandomEffects(NamedTuple):
    """Random-effects summary of a figure of k centres, on a scale where it is about normal."""

    mean: float
    """Mean over the centres."""
    se: float
    """Standard error of the mean, with k − 1 degrees of freedom."""
    between: float
    """Standard deviation between centres (tau)."""
    q: float
    """Cochran's Q."""

    @property
    def se_further(self) -> float:
        """Standard error of a further centre's figure, with k − 2 degrees of freedom."""
        return math.hypot(self.between, self.se)


def random_effects(values: Array, errors: Array) -> RandomEffects:
    """Pool the figures θ of k centres, at least two, by a random-effects model.

    The mean is Σ w θ / Σ w with w = 1 / (se² + τ²), and τ² from the moments of Cochran's Q
    (DerSimonian and Laird, Control Clin Trials 1986). Its variance is
    max(1, Σ w (θ − mean)² / (k − 1)) / Σ w, its interval mean ± t √variance, with t the 97.5 %
    quantile of Student's distribution on k − 1 degrees of freedom (Hartung and Knapp, Stat Med
    2001; the maximum: Röver, Knapp and Friede, BMC Med Res Methodol 2015). The prediction interval
    of a further centre is mean ± t √(τ² + variance), with t on k − 2 degrees (Higgins, Thompson
    and Spiegelhalter, J R Stat Soc A 2009).

    Args:
        values: (k,) figure of each centre.
        errors: (k,) their standard errors, above 0.

    Example:
        >>> pooled = random_effects(np.array([0.0, 1.0]), np.array([0.5, 0.5]))
        >>> pooled.mean, pooled.between
        (0.5, 0.5)
    """
    weight = errors**-2
    mean = weight @ values / weight.sum()
    q, degrees = float(weight @ (values - mean) ** 2), len(values) - 1
    scale = weight.sum() - (weight**2).sum() / weight.sum()
    variance = max(0.0, (q - degrees) / float(scale))
    weight = 1 / (1 / weight + variance)
    mean = float(weight @ values / weight.sum())
    excess = max(1.0, float(weight @ (values - mean) ** 2) / degrees)
    return RandomEffects(mean, math.sqrt(excess / weight.sum()), math.sqrt(variance), q)


@dataclass(frozen=True)
class Pooled:
    """A random-effects summary of several centres."""

    ratio: HazardRatio
    """Mean over the centres, with its 95 % interval."""
    further: Estimate
    """95 % prediction interval of a further centre's hazard ratio; NaN with two centres."""
    between: float
    """Standard deviation between centres of the log hazard ratio (tau)."""
    inconsistency: float
    """I²: fraction of the variation between centres beyond chance, 0 to 1."""
    p: float
    """p value of Cochran's test that all centres share one effect."""


def pool(ratios: Sequence[HazardRatio]) -> Pooled:
    """Pool the hazard ratios of k centres, at least two, by a random-effects model.

    Their logarithms are pooled by :func:`random_effects`.

    Args:
        ratios: hazard ratio of each centre, with its standard error.

    Example:
        >>> centres = [HazardRatio.of(math.log(hr), 0.2, 100, 50) for hr in (0.5, 0.6, 0.8)]
        >>> print(pool(centres).ratio)
        0.62 (0.34 to 1.12)
    """
    log, se = (np.array(v) for v in zip(*((r.log, r.se) for r in ratios), strict=True))
    found, degrees = random_effects(log, se), len(log) - 1
    patients, events = sum(r.patients for r in ratios), sum(r.events for r in ratios)
    pooled = HazardRatio.of(found.mean, found.se, patients, events, degrees)
    further = (
        HazardRatio.of(found.mean, found.se_further, patients, events, degrees - 1)
        if degrees > 1
        else Estimate(math.exp(found.mean))
    )
    inconsistency = max(0.0, 1 - degrees / found.q) if found.q > 0 else 0.0
    p = ChiSquare.of(found.q, degrees).p_value
    return Pooled(pooled, further, found.between, inconsistency, p)


@dataclass(frozen=True)
class Design:
    """Power and type S and M errors of an estimate, given a plausible true effect.

    Gelman and Carlin, "Beyond power calculations: assessing type S (sign) and type M (magnitude)
    errors", Perspect Psychol Sci 2014.
    """

    plausible: float
    """The assumed true hazard ratio."""
    se: float
    """Standard error of the log hazard ratio."""
    power: float
    """Chance that the 95 % interval excludes 1."""
    type_s: float
    """Chance that a significant estimate has the wrong sign."""
    type_m: float
    """Factor by which a significant estimate overstates the log hazard ratio, on average."""
    events_needed: int
    """Events needed for a power of 80 % in patients of the same kind."""


def judge_design(plausible: float, ratio: HazardRatio) -> Design:
    """Return power, type S and type M error of an estimate at a plausible hazard ratio.

    With the standardised effect δ = |log hr| / se, Φ the standard normal distribution function, z_p
    its quantile of probability p, and z = z₀.₉₇₅, the power is
    Φ(δ − z) + Φ(−δ − z), the type S error Φ(−δ − z) / power, and the type M error the mean of
    |estimate| / |effect| among significant estimates (see :class:`Design`). A power of 80 % needs
    events · ((z₀.₉₇₅ + z₀.₈) / δ)² events.

    Args:
        plausible: assumed true hazard ratio, other than 1.
        ratio: the estimate; its standard error and events are used.

    Example:
        >>> judged = judge_design(0.7, HazardRatio.of(math.log(0.6), 0.2, 200, 100))
        >>> round(judged.power, 3), judged.events_needed
        (0.43, 247)
    """
    effect = abs(math.log(plausible))
    shift, normal = effect / ratio.se, NormalDist()
    above, below = normal.cdf(shift - Z95), normal.cdf(-shift - Z95)
    # The mean of |estimate| / se over both tails of a normal around the shift.
    tails = shift * above + normal.pdf(Z95 - shift) - shift * below + normal.pdf(Z95 + shift)
    power = above + below
    return Design(
        plausible=plausible,
        se=ratio.se,
        power=power,
        type_s=below / power,
        type_m=tails / power / shift,
        events_needed=math.ceil(ratio.events * ((Z95 + Z80) / shift) ** 2),
    )


def two_sided(z: float) -> float:
    """Return the two-sided p value 2 (1 − Φ(|z|)) of a standard normal statistic z.

    Φ is the standard normal distribution function.

    Example:
        >>> round(two_sided(1.96), 3)
        0.05
    """
    return math.erfc(abs(z) / math.sqrt(2))
