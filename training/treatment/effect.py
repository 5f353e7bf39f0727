"""The treatment's effect by patient: a log-hazard ratio with its uncertainty.

The learners never see the treatment. Their out-of-fold curve is that of similar patients under the
treatments that these got; the effect is fitted beside it, on the difference between the treatment
given and the propensity (Robinson, "Root-N-consistent
semiparametric regression", Econometrica 1988; Nie and Wager, "Quasi-oracle estimation of
heterogeneous treatment effects", Biometrika 2021). The learners' error in a patient's prognosis is
nearly uncorrelated with that difference, so it hardly enters the effect, and
patients weigh by the overlap of both arms (Li, Morgan and Zaslavsky, "Balancing covariates via
propensity score weighting", JASA 2018).

The effect is a constant and its changes with the few modifiers that the study file fixed in
advance, each shrunken towards none by a normal prior: the first, the main hypothesis, least. The
likelihood is that of a piecewise-exponential model from the landmark on, so that deaths before the
treatment could begin do not count for it (Anderson, Cain and Gelber, "Analysis of survival by tumor
response", J Clin Oncol 1983). The answer is a normal posterior. A patient without a modifier gets
the effect to be expected from the known values, and the spread of those that are possible.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.data.coding import eligible
from accomplice.data.cohort import Cohort
from accomplice.data.preprocessing.missingness import WIDE
from accomplice.data.preprocessing.preprocessor import Preprocessor
from accomplice.data.study import Study
from accomplice.data.study_parts import Treatment
from accomplice.training.config import EffectConfig
from accomplice.training.estimators.gaussian_imputation import Gaussian
from accomplice.training.estimators.hazard import TimeGrid
from accomplice.training.estimators.newton import climb
from accomplice.training.estimators.policy import ARM_EVENTS, ARM_PATIENTS
from accomplice.training.treatment.propensity import Propensity, fit_propensity

#: Most columns that help to impute missing modifiers.
MOST_JOINT = 40
#: Spread of the priors of level and slope of the prognosis, which are nuisances here.
NUISANCE_SD = 0.3
#: Standard deviation of the effect between patients equal in all modifiers.
UNEXPLAINED = 0.1
#: Spread of the prior of the effect common to all: next to none.
COMMON_SD = 10.0


class PatientEffect(NamedTuple):
    """The effect on n patients."""

    log_hr: Array
    """(n,) posterior mean of the log-hazard ratio, treated to untreated."""
    sd: Array
    """(n,) its standard deviation: of the coefficients, of missing modifiers and unnamed ones."""
    propensity: Array
    """(n,) chance of being treated among patients like this one."""

    def take(self, rows: Ints | Bools | slice) -> PatientEffect:
        """Return the patients at ``rows``."""
        return PatientEffect(*(a[rows] for a in self))


@dataclass(frozen=True)
class Effect:
    """A fitted effect."""

    preprocessor: Preprocessor
    """Of the study without its treatment."""
    joint: Ints
    """(c,) single columns of the preprocessing that impute one another."""
    gaussian: Gaussian
    """Of these columns."""
    modifiers: Ints
    """(w,) which of them change the effect."""
    theta: Array
    """(1 + w,) log-hazard ratio common to all, and its change with each modifier."""
    covariance: Array
    """(1 + w, 1 + w) of theta."""
    prior_sd: Array
    """(1 + w,) spreads of the priors of theta, around 0."""
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
        """The design, its covariance by pattern of missing values, and each patient's pattern."""
        Z = single[:, self.joint]
        mean, spread, pattern = self.gaussian.condition(Z, self.modifiers)
        return np.column_stack([np.ones(len(Z)), mean]), spread, pattern

    def to_json(self) -> dict[str, Any]:
        """Return the fitted state as plain data; the study is kept beside it."""
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
        """Rebuild from :meth:`to_json` and the study, without its treatment, it was fitted for."""
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


def given(cohort: Cohort) -> tuple[Treatment, Array]:
    """Return the treatment, and its status (n,), of a cohort whose study names one."""
    treatment, treated = cohort.study.treatment, cohort.treated
    if treatment is None or treated is None:
        raise ValueError("the study names no treatment")
    return treatment, treated


def too_few(cohort: Cohort) -> str | None:
    """Return why the effect cannot be estimated from these patients; None if it can."""
    if cohort.study.treatment is None:
        return "the study names no treatment"
    _, treated = given(cohort)
    used, seen = compared(cohort), cohort.event & (cohort.time <= cohort.horizon)
    for arm, name in ((1.0, "treated"), (0.0, "untreated")):
        rows = used & (treated == arm)
        if rows.sum() < ARM_PATIENTS or seen[rows].sum() < ARM_EVENTS:
            return (
                f"{int(rows.sum())} {name} patients with {int(seen[rows].sum())} events "
                f"are too few: {ARM_PATIENTS} and {ARM_EVENTS} are needed in each arm"
            )
    return None


def compared(cohort: Cohort) -> Bools:
    """Patients compared (n,): treatment known and an option, event-free at the landmark."""
    treatment, treated = given(cohort)
    option = eligible(cohort.study, cohort.values) == 1
    return np.asarray(~np.isnan(treated) & option & (cohort.time > treatment.landmark))


@dataclass(frozen=True)
class CrossFitted:
    """The effect fitted to all patients, and each patient's cross-fitted effect."""

    effect: Effect
    patients: PatientEffect
    """Of the n patients, each from a fit without them; the learners' curves and the propensities
    that it was fitted to are out of fold too, but those of its patients know the fold left out."""
    cohort: Cohort
    preprocessors: Sequence[Preprocessor]
    """One a fold, fitted to the other folds."""
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
    def treated(self) -> Array:
        """(n,) 1 or 0; NaN where it is not recorded."""
        return given(self.cohort)[1]


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
        preprocessors: one a fold, fitted to the other folds.
        fold: (n,) fold of each patient.
        cumulative: (n, j + 1) out-of-fold cumulative hazard of learners blind to the treatment.
        grid: of these j bins.
        config: the priors.
        seed: of the propensity's folds.

    Returns:
        The fits, or the reason why there are none.
    """
    training = [cohort.take(fold != k) for k in range(len(preprocessors))]
    reason = too_few(cohort)
    if reason is None and (fewer := next(filter(None, map(too_few, training)), None)):
        reason = f"in a training fold {fewer}"
    if reason is not None:
        return reason
    _, treated = given(cohort)
    blind, chance = cohort.prognostic(), np.empty(len(cohort))
    models = []
    for k, preprocessor in enumerate(preprocessors):
        out = fold == k
        X = preprocessor.linear(blind.values, blind.centre)
        models.append(fit_propensity(X[~out], treated[~out], seed, _considered(preprocessor)))
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
    model = fit_propensity(X, treated, seed, _considered(preprocessor))
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
    """Fit the effect; see the module.

    Args:
        cohort: n patients, enough of them in each arm (:func:`too_few`).
        cumulative: (n, j + 1) out-of-fold cumulative hazard of learners blind to the treatment.
        grid: of these j bins.
        chance: (n,) of being treated, out of fold too.
        config: the priors.
        preprocessor: fitted to the n patients without their treatment.
        propensity: fitted to them too, for patients to come.
    """
    _, treated = given(cohort)
    singles = preprocessor.singles(cohort.prognostic().values, cohort.centre)
    joint, modifiers, sd = _columns(cohort, preprocessor, singles, config)
    gaussian = Gaussian.fit(singles[:, joint])
    rows = compared(cohort)
    mean, _, _ = gaussian.condition(singles[rows][:, joint], modifiers)
    difference = (treated - chance)[rows]
    design = np.column_stack([np.ones(len(mean)), mean]) * difference[:, None]
    prior = np.append(COMMON_SD, sd)
    theta, covariance = _posterior(cohort, cumulative, grid, rows, design, prior)
    return Effect(preprocessor, joint, gaussian, modifiers, theta, covariance, prior, propensity)


def _considered(preprocessor: Preprocessor) -> Ints:
    """Columns of the linear design that may have confounded the treatment.

    Those of wide modalities, such as an expression panel, are not: no one treats by hundreds of
    genes, and their noise would be taken for reasons.
    """
    blocks = preprocessor.study.blocks
    columns = preprocessor.linear_columns()
    narrow = [len(blocks[column.modality]) <= WIDE for column in columns]
    return np.flatnonzero(narrow) if any(narrow) else np.arange(len(narrow))


class Rates(NamedTuple):
    """One hazard ratio common to all patients, fitted to some."""

    log_hr: float
    error: float
    """Its standard error."""
    event: Array
    """(m,) 1 where the event was seen after the landmark."""
    rate: Array
    """(m,) events expected of each patient as treated."""


def fitted_rates(
    cohort: Cohort, cumulative: Array, grid: TimeGrid, propensity: Array, rows: Bools
) -> Rates:
    """Fit one hazard ratio to the m patients of ``rows`` (n,); see :func:`fit_effect`."""
    _, treated = given(cohort)
    event, offset, nuisance = _outcome(cohort, cumulative, grid, rows)
    design = np.column_stack([(treated - propensity)[rows], nuisance])
    precision = np.array([COMMON_SD, NUISANCE_SD, NUISANCE_SD]) ** -2.0
    theta, information = _poisson(design, event, offset, precision)
    error = float(np.sqrt(np.linalg.inv(information)[0, 0]))
    return Rates(float(theta[0]), error, event, np.exp(offset + design @ theta))


def _outcome(
    cohort: Cohort, cumulative: Array, grid: TimeGrid, rows: Bools
) -> tuple[Array, Array, Array]:
    """Return events after the landmark (m,), log of those expected (m,), and two nuisances (m, 2).

    These are the level of the prognosis, and its log cumulative hazard: its slope.
    """
    treatment, _ = given(cohort)
    landmark = min(treatment.landmark, grid.horizon)
    time, curve = cohort.time[rows], cumulative[rows]
    before = grid.at(curve, np.array([landmark]))[:, 0]
    gathered = grid.at_own(curve, np.clip(time, landmark, grid.horizon)) - before
    seen = cohort.event[rows] & (time > landmark) & (time <= grid.horizon)
    risk = np.log(np.maximum(curve[:, -1], 1e-12))
    nuisance = np.column_stack([np.ones(len(risk)), risk - risk.mean()])
    return seen.astype(float), np.log(np.maximum(gathered, 1e-12)), nuisance


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
    told = filled.T @ filled[:, modifying] / len(filled) / np.maximum(spread, 1e-9)[:, None]
    strength = np.abs(told).max(axis=1, initial=0.0)
    rest = [i for i in np.argsort(-strength, kind="stable") if varied[i] and i not in modifying]
    joint = [*modifying, *rest[: max(MOST_JOINT - len(modifying), 0)]]
    return np.array(joint, dtype=int), np.arange(len(modifying)), np.array(sd)


def _posterior(
    cohort: Cohort, cumulative: Array, grid: TimeGrid, rows: Bools, design: Array, sd: Array
) -> tuple[Array, Array]:
    """Mean and covariance of the design's coefficients, level and slope of the prognosis aside."""
    event, offset, nuisance = _outcome(cohort, cumulative, grid, rows)
    precision = np.append(sd, [NUISANCE_SD, NUISANCE_SD]) ** -2.0
    theta, information = _poisson(np.column_stack([design, nuisance]), event, offset, precision)
    k = design.shape[1]
    return theta[:k], np.asarray(np.linalg.inv(information)[:k, :k], dtype=np.float64)


def _poisson(X: Array, event: Array, offset: Array, precision: Array) -> tuple[Array, Array]:
    """Maximise the penalised likelihood of events at rates exp(offset + X theta), by Newton."""

    def reached(theta: Array) -> float:
        log_rate = offset + X @ theta
        # A step too far must be seen as one, not as an overflow.
        rate = np.exp(np.minimum(log_rate, 100.0))
        return float(event @ log_rate - rate.sum() - precision @ theta**2 / 2)

    def information(theta: Array) -> Array:
        return np.asarray((X * np.exp(offset + X @ theta)[:, None]).T @ X + np.diag(precision))

    def step(theta: Array) -> Array:
        slope = X.T @ (event - np.exp(offset + X @ theta)) - precision * theta
        return np.asarray(np.linalg.solve(information(theta), slope), dtype=np.float64)

    theta = climb(reached, step, np.zeros(X.shape[1]))
    return theta, information(theta)
