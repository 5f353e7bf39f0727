"""The treatment's effect on each patient: a log-hazard ratio with its uncertainty.

The learners never see the treatment: their out-of-fold curve is that of similar patients, treated
or not. With H a patient's expected events by that curve from the landmark to the end of follow-up,
z the treatment (1 or 0), e the propensity and m the modifiers, the number of events is Poisson with
mean H exp((z − e) (θ₀ + θᵀm) + level + slope · prognosis) (Robinson, "Root-N-consistent
semiparametric regression", Econometrica 1988; Nie and Wager, "Quasi-oracle estimation of
heterogeneous treatment effects", Biometrika 2021). The learners' error in the prognosis is nearly
uncorrelated with z − e, so it hardly enters the effect. Patients weigh by the overlap of both arms
(Li, Morgan and Zaslavsky, "Balancing covariates via propensity score weighting", JASA 2018).

The modifiers are few, and fixed in advance by the study file. Normal priors shrink their θ to 0,
that of the first, the main hypothesis, least. Events before the landmark do not count, since
treatment may not have begun (Anderson, Cain and Gelber, "Analysis of survival by tumor response",
J Clin Oncol 1983). The posterior is taken as normal. Missing modifiers are imputed by a normal
distribution, whose spread enters the uncertainty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.data.cohort import Cohort
from accomplice.data.preprocessing.missingness import WIDE
from accomplice.data.preprocessing.preprocessor import Preprocessor
from accomplice.data.study import Study
from accomplice.training.config import EffectConfig
from accomplice.training.estimators.gaussian_imputation import Gaussian
from accomplice.training.estimators.hazard import TimeGrid
from accomplice.training.treatment.compared import compared, too_few, treatment_and_status
from accomplice.training.treatment.expected_events import COMMON_SD, missed_terms, posterior
from accomplice.training.treatment.propensity import Propensity, fit_propensity

#: Maximum of columns in the joint distribution by which missing modifiers are imputed.
MOST_JOINT = 40
#: Standard deviation of the log-hazard ratio between patients equal in all modifiers.
UNEXPLAINED = 0.1


class PatientEffect(NamedTuple):
    """The effect on n patients."""

    log_hr: Array
    """(n,) posterior mean of the log-hazard ratio, treated to untreated."""
    sd: Array
    """(n,) its standard deviation, by coefficients, missing modifiers and ``UNEXPLAINED``."""
    propensity: Array
    """(n,) probability of being treated among patients like this one."""

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
        slopes, certain = self.theta[1:], self.covariance[1:, 1:]
        # Variance of a product of two independent normal vectors: coefficients and values.
        missing = np.einsum("kij,ij->k", spread, np.outer(slopes, slopes) + certain)
        variance = np.einsum("ni,ij,nj->n", X, self.covariance, X) + missing[pattern]
        variance += UNEXPLAINED**2
        chance = self.propensity.chance(self.preprocessor.design(single, values))
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


@dataclass(frozen=True)
class CrossFitted:
    """The effect fitted to all patients, and each patient's cross-fitted effect."""

    effect: Effect
    patients: PatientEffect
    """Effect on the n patients, each from a fit without the patient's fold. The curves and
    propensities that it was fitted to are out of fold too, but by models that saw this fold."""
    cohort: Cohort
    preprocessors: Sequence[Preprocessor]
    """Preprocessor of each fold, fitted to the other folds."""
    fold: Ints
    """(n,) fold of each patient."""
    cumulative: Array
    """(n, j + 1) out-of-fold cumulative hazard of learners blind to the treatment."""
    grid: TimeGrid

    @cached_property
    def rows(self) -> Bools:
        """(n,) whether the patient was compared."""
        return compared(self.cohort)

    @cached_property
    def terms(self) -> Array:
        """(n, q) what the curves leave out; see :func:`expected_events.missed_terms`."""
        return _missed(
            self.cohort,
            self.cumulative,
            self.grid,
            self.patients.propensity,
            self.effect.preprocessor,
            self.effect.propensity,
        )

    @cached_property
    def treated(self) -> Array:
        """(n,) 1 or 0; NaN where it is not recorded."""
        return treatment_and_status(self.cohort)[1]


def cross_fit(
    cohort: Cohort,
    preprocessors: Sequence[Preprocessor],
    fold: Ints,
    cumulative: Array,
    grid: TimeGrid,
    config: EffectConfig,
    seed: int,
) -> CrossFitted | str:
    """Fit the effect to all patients, and to all folds but one for out-of-fold predictions.

    Args:
        cohort: n patients.
        preprocessors: one for each fold, fitted to the other folds.
        fold: (n,) fold of each patient.
        cumulative: (n, j + 1) out-of-fold cumulative hazard of learners blind to the treatment.
        grid: time grid of the j bins.
        config: the priors.
        seed: seed of the folds within the fit of the propensity.

    Returns:
        The fits, or the reason why the effect cannot be estimated.
    """
    training = [cohort.take(fold != k) for k in range(len(preprocessors))]
    reason = too_few(cohort)
    if reason is None and (fewer := next(filter(None, map(too_few, training)), None)):
        reason = f"in a training fold {fewer}"
    if reason is not None:
        return reason
    _, treated = treatment_and_status(cohort)
    known = np.where(compared(cohort), treated, np.nan)
    blind, chance = cohort.prognostic(), np.empty(len(cohort))
    models = []
    for k, preprocessor in enumerate(preprocessors):
        out = fold == k
        X = preprocessor.linear(blind.values, blind.centre)
        models.append(
            fit_propensity(X[~out], known[~out], seed, _possible_confounders(preprocessor))
        )
        chance[out] = models[k].chance(X[out])
    log_hr, sd = np.empty(len(cohort)), np.empty(len(cohort))
    for k, part in enumerate(training):
        out = fold == k
        fitted = fit_effect(
            part, cumulative[~out], grid, chance[~out], config, preprocessors[k], models[k]
        )
        found = fitted.of(blind.values[out], None if blind.centre is None else blind.centre[out])
        log_hr[out], sd[out] = found.log_hr, found.sd
    preprocessor = Preprocessor.fit(blind.study, blind.values, blind.centre, bins=1)
    X = preprocessor.linear(blind.values, blind.centre)
    model = fit_propensity(X, known, seed, _possible_confounders(preprocessor))
    whole = fit_effect(cohort, cumulative, grid, chance, config, preprocessor, model)
    patients = PatientEffect(log_hr, sd, chance)
    return CrossFitted(whole, patients, cohort, preprocessors, fold, cumulative, grid)


def fit_effect(
    cohort: Cohort,
    cumulative: Array,
    grid: TimeGrid,
    chance: Array,
    config: EffectConfig,
    preprocessor: Preprocessor,
    propensity: Propensity,
) -> Effect:
    """Fit the effect by the model in the module's docstring.

    Args:
        cohort: n patients, enough of them in each arm (:func:`too_few`).
        cumulative: (n, j + 1) out-of-fold cumulative hazard of learners blind to the treatment.
        grid: time grid of the j bins.
        chance: (n,) propensity, out of fold too.
        config: the priors.
        preprocessor: fitted to the n patients without their treatment.
        propensity: propensity score fitted to the n patients, for new ones.
    """
    _, treated = treatment_and_status(cohort)
    singles = preprocessor.singles(cohort.prognostic().values, cohort.centre)
    joint, modifiers, sd = _columns(cohort, preprocessor, singles, config)
    gaussian = Gaussian.fit(singles[:, joint])
    rows = compared(cohort)
    mean, _, _ = gaussian.condition(singles[rows][:, joint], modifiers)
    difference = (treated - chance)[rows]
    design = np.column_stack([np.ones(len(mean)), mean]) * difference[:, None]
    prior = np.append(COMMON_SD, sd)
    terms = _missed(cohort, cumulative, grid, chance, preprocessor, propensity)
    theta, covariance = posterior(cohort, cumulative, grid, rows, design, prior, terms)
    return Effect(preprocessor, joint, gaussian, modifiers, theta, covariance, prior, propensity)


def _possible_confounders(preprocessor: Preprocessor) -> Ints:
    """Return the columns of the linear design that may have decided on the treatment.

    Wide modalities, such as an expression panel, are left out unless all are wide: hundreds of
    genes do not decide on treatment, and the propensity would fit their noise.
    """
    blocks = preprocessor.study.blocks
    columns = preprocessor.linear_columns()
    narrow = [len(blocks[column.modality]) <= WIDE for column in columns]
    return np.flatnonzero(narrow) if any(narrow) else np.arange(len(narrow))


def _columns(
    cohort: Cohort, preprocessor: Preprocessor, singles: Array, config: EffectConfig
) -> tuple[Ints, Ints, Array]:
    """Return the joint columns, which of them are modifiers, and the modifiers' prior spreads."""
    of = [column.features[0] for column in preprocessor.linear_columns()[: singles.shape[1]]]
    # Missing values are the mean, which is 0.
    filled = np.nan_to_num(singles)
    spread = filled.std(axis=0)
    varied = spread > 1e-9
    modifying = [
        i for name in cohort.study.modifiers for i, f in enumerate(of) if f == name and varied[i]
    ]
    first = cohort.study.modifiers[:1]
    sd = [config.main_sd if of[i] in first else config.other_sd for i in modifying]
    related = filled.T @ filled[:, modifying] / len(filled) / np.maximum(spread, 1e-9)[:, None]
    strength = np.abs(related).max(axis=1, initial=0.0)
    rest = [i for i in np.argsort(-strength, kind="stable") if varied[i] and i not in modifying]
    joint = [*modifying, *rest[: max(MOST_JOINT - len(modifying), 0)]]
    return np.array(joint, dtype=int), np.arange(len(modifying)), np.array(sd)


def _missed(
    cohort: Cohort,
    cumulative: Array,
    grid: TimeGrid,
    chance: Array,
    preprocessor: Preprocessor,
    propensity: Propensity,
) -> Array:
    """Return what the curves leave out (n, q) of a fit's own patients; see ``missed_terms``."""
    X = preprocessor.linear(cohort.prognostic().values, cohort.centre)[:, propensity.columns]
    found = missed_terms(cohort, cumulative, grid, chance, X, propensity.terms)
    return found.with_parts(X)
