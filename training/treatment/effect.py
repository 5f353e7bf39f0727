"""The treatment's effect on each patient: a log-hazard ratio with its uncertainty.

The learners never see the treatment: their out-of-fold curve is that of similar patients, treated
or not. With H a patient's expected events by that curve from the landmark to the end of follow-up,
z the treatment (1 or 0), e the propensity and m the modifiers, the number of events is Poisson with
mean H exp((z − e) (θ₀ + θᵀm) + level + slope · prognosis) (Robinson, "Root-N-consistent
semiparametric regression", Econometrica 1988; Nie and Wager, "Quasi-oracle estimation of
heterogeneous treatment effects", Biometrika 2021). The learners' error in the prognosis is nearly
uncorrelated with z − e, so it hardly enters the effect. Patients are in effect weighted by the
overlap of both arms (Li, Morgan and Zaslavsky, "Balancing covariates via propensity score
weighting", JASA 2018).

The modifiers are few, and fixed in advance by the study file. Normal priors shrink their θ to 0,
that of the first, the main hypothesis, least. Events before the landmark do not count, since
treatment may not have begun (Anderson, Cain and Gelber, "Analysis of survival by tumor response",
J Clin Oncol 1983). The posterior is taken as normal. Missing modifiers are imputed by a normal
distribution, whose spread enters the uncertainty.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.data.preprocessing.preprocessor import Preprocessor
from accomplice.data.study import Study
from accomplice.training.estimators.imputation.gaussian import Gaussian
from accomplice.training.treatment.propensity.score import Propensity

#: Standard deviation of the log-hazard ratio between patients equal in all modifiers.
UNEXPLAINED = 0.1


class PatientEffect(NamedTuple):
    """The effect on n patients."""

    log_hr: Array
    """(n,) posterior mean of the log-hazard ratio, treated to untreated."""
    sd: Array
    """(n,) its standard deviation, by coefficients, missing modifiers and ``UNEXPLAINED``."""
    propensity: Array
    """(n,) probability of being treated among patients like this one, in the same centre."""

    def take(self, rows: Ints | Bools | slice) -> PatientEffect:
        """Return the patients at ``rows``."""
        return PatientEffect(*(a[rows] for a in self))


@dataclass(frozen=True)
class Effect:
    """A fitted effect, which predicts new patients."""

    preprocessor: Preprocessor
    """Preprocessor of the study without its treatment."""
    joint: Ints
    """(c,) indices of the preprocessor's single columns that impute one another."""
    gaussian: Gaussian
    """Joint normal distribution of these columns."""
    modifiers: Ints
    """(w,) indices within ``joint`` of the columns that change the effect."""
    theta: Array
    """(1 + w,) log-hazard ratio common to all, and its change with each modifier."""
    covariance: Array
    """(1 + w, 1 + w) posterior covariance of theta."""
    prior_sd: Array
    """(1 + w,) prior standard deviations of theta, whose prior means are 0."""
    propensity: Propensity

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the modifiers' columns."""
        columns = self.preprocessor.linear_columns()
        return tuple(columns[self.joint[i]].label for i in self.modifiers)

    def of(self, values: Array, centre: NDArray[np.str_] | None = None) -> PatientEffect:
        """Return the effect on n patients from coded features (n, p) other than the treatment."""
        single = self.preprocessor.singles(values, centre)
        X, spread, pattern = self._expected(single)
        slopes, covariance = self.theta[1:], self.covariance[1:, 1:]
        # Variance of a product of two independent normal vectors: coefficients and values.
        missing = np.einsum("kij,ij->k", spread, np.outer(slopes, slopes) + covariance)
        variance = np.einsum("ni,ij,nj->n", X, self.covariance, X) + missing[pattern]
        variance += UNEXPLAINED**2
        chance = self.propensity.chance(self.preprocessor.design(single, values), centre)
        return PatientEffect(X @ self.theta, np.sqrt(np.maximum(variance, 0.0)), chance)

    def design(self, values: Array, centre: NDArray[np.str_] | None = None) -> Array:
        """Return the design of the effect (n, 1 + w): a constant, and the modifiers."""
        return self._expected(self.preprocessor.singles(values, centre))[0]

    def _expected(self, single: Array) -> tuple[Array, Array, Ints]:
        """Return the design, the modifiers' covariance by pattern, and each patient's pattern."""
        Z = single[:, self.joint]
        mean, spread, pattern = self.gaussian.condition(Z, self.modifiers)
        return np.column_stack([np.ones(len(Z)), mean]), spread, pattern

    def to_json(self) -> dict[str, Any]:
        """Return the fitted state, without the study, as plain data."""
        return {
            "preprocessing": self.preprocessor.to_json(),
            "joint": self.joint.tolist(),
            "gaussian": self.gaussian.to_json(),
            "modifiers": self.modifiers.tolist(),
            "theta": self.theta.tolist(),
            "covariance": self.covariance.tolist(),
            "prior_sd": self.prior_sd.tolist(),
            "propensity": self.propensity.to_json(),
        }

    @classmethod
    def from_json(cls, study: Study, raw: dict[str, Any]) -> Effect:
        """Rebuild from :meth:`to_json`; ``study`` is the fitted one without its treatment."""
        return cls(
            Preprocessor.from_json(study, raw["preprocessing"]),
            np.array(raw["joint"], dtype=int),
            Gaussian.from_json(raw["gaussian"]),
            np.array(raw["modifiers"], dtype=int),
            np.array(raw["theta"], dtype=float),
            np.array(raw["covariance"], dtype=float),
            np.array(raw["prior_sd"], dtype=float),
            Propensity.from_json(raw["propensity"]),
        )
