"""Fit the treatment's effect, to all patients and out of fold; see ``treatment.effect``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.data.cohort import Cohort
from accomplice.data.preprocessing.missingness import WIDE
from accomplice.data.preprocessing.preprocessor import Preprocessor
from accomplice.training.config import EffectConfig
from accomplice.training.estimators.hazard import TimeGrid
from accomplice.training.estimators.imputation.gaussian import Gaussian
from accomplice.training.treatment.compared import compared, too_few, treatment_and_status
from accomplice.training.treatment.effect import Effect, PatientEffect
from accomplice.training.treatment.expected_events import COMMON_SD, missed_terms, posterior
from accomplice.training.treatment.propensity.fit import fit_propensity
from accomplice.training.treatment.propensity.score import Propensity

#: Maximum number of columns in the joint distribution by which missing modifiers are imputed.
MOST_JOINT = 40


@dataclass(frozen=True)
class CrossFitted:
    """The effect fitted to all patients, and each patient's cross-fitted effect."""

    effect: Effect
    patients: PatientEffect
    """Effect on the n patients, each from a fit without the patient's fold. The curves and
    propensities used in that fit are out of fold too, but from models trained on this fold."""
    cohort: Cohort
    preprocessors: Sequence[Preprocessor]
    """Preprocessor of each fold, fitted to the other folds."""
    fold: Ints
    """(n,) fold of each patient."""
    cumulative: Array
    """(n, j + 1) out-of-fold cumulative hazard of learners blind to the treatment."""
    grid: TimeGrid
    terms: Array
    """(n, q) values of the terms by :func:`expected_events.missed_terms`."""

    @cached_property
    def rows(self) -> Bools:
        """(n,) whether the patient is in the comparison of the arms."""
        return compared(self.cohort)

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
    """Fit the effect to all patients and, for out-of-fold predictions, without each fold.

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
        inside, outside = blind.take(~out), blind.take(out)
        X = preprocessor.linear(inside.values, inside.centre)
        columns = _possible_confounders(preprocessor)
        models.append(fit_propensity(X, known[~out], seed, columns, inside.centre))
        X = preprocessor.linear(outside.values, outside.centre)
        chance[out] = models[k].chance(X, outside.centre)
    log_hr, sd = np.empty(len(cohort)), np.empty(len(cohort))
    for k, part in enumerate(training):
        out = fold == k
        fitted, _ = fit_effect(
            part, cumulative[~out], grid, chance[~out], config, preprocessors[k], models[k]
        )
        outside = blind.take(out)
        found = fitted.of(outside.values, outside.centre)
        log_hr[out], sd[out] = found.log_hr, found.sd
    preprocessor = Preprocessor.fit(blind.study, blind.values, blind.centre, bins=1)
    X = preprocessor.linear(blind.values, blind.centre)
    model = fit_propensity(X, known, seed, _possible_confounders(preprocessor), blind.centre)
    whole, terms = fit_effect(cohort, cumulative, grid, chance, config, preprocessor, model)
    patients = PatientEffect(log_hr, sd, chance)
    return CrossFitted(whole, patients, cohort, preprocessors, fold, cumulative, grid, terms)


def fit_effect(
    cohort: Cohort,
    cumulative: Array,
    grid: TimeGrid,
    chance: Array,
    config: EffectConfig,
    preprocessor: Preprocessor,
    propensity: Propensity,
) -> tuple[Effect, Array]:
    """Fit the effect by the model in the docstring of ``treatment.effect``.

    Args:
        cohort: n patients, enough of them in each arm (:func:`too_few`).
        cumulative: (n, j + 1) out-of-fold cumulative hazard of learners blind to the treatment.
        grid: time grid of the j bins.
        chance: (n,) out-of-fold propensity.
        config: the priors.
        preprocessor: fitted to the n patients without their treatment.
        propensity: propensity score fitted to the n patients, for new ones.

    Returns:
        The effect, and the values (n, q) of the terms by :func:`expected_events.missed_terms`.
    """
    _, treated = treatment_and_status(cohort)
    blind = cohort.prognostic()
    singles = preprocessor.singles(blind.values, cohort.centre)
    joint, modifiers, sd = _columns(cohort, preprocessor, singles, config)
    gaussian = Gaussian.fit(singles[:, joint])
    rows = compared(cohort)
    mean, _, _ = gaussian.condition(singles[rows][:, joint], modifiers)
    difference = (treated - chance)[rows]
    design = np.column_stack([np.ones(len(mean)), mean]) * difference[:, None]
    prior = np.append(COMMON_SD, sd)
    X = propensity.used(preprocessor.design(singles, blind.values), blind.centre)
    missed = missed_terms(cohort, cumulative, grid, chance, X, propensity.terms)
    terms = missed.with_parts(X)
    theta, covariance = posterior(cohort, cumulative, grid, rows, design, prior, terms)
    effect = Effect(preprocessor, joint, gaussian, modifiers, theta, covariance, prior, propensity)
    return effect, terms


def _possible_confounders(preprocessor: Preprocessor) -> Ints:
    """Return the columns of the linear design on which the treatment may depend.

    Wide modalities, such as an expression panel, are left out unless all are wide: the choice of
    treatment does not depend on hundreds of genes, and the propensity would fit their noise.
    """
    blocks = preprocessor.blocks
    columns = preprocessor.linear_columns()
    narrow = [len(blocks[column.modality]) <= WIDE for column in columns]
    return np.flatnonzero(narrow) if any(narrow) else np.arange(len(narrow))


def _columns(
    cohort: Cohort, preprocessor: Preprocessor, singles: Array, config: EffectConfig
) -> tuple[Ints, Ints, Array]:
    """Return the columns imputed jointly, which are modifiers, and the modifiers' prior SDs.

    Args:
        cohort: n patients.
        preprocessor: fitted to them without their treatment.
        singles: (n, s) columns of single features.
        config: the priors.
    """
    of = [column.features[0] for column in preprocessor.linear_columns()[: singles.shape[1]]]
    # Missing values are the mean, which is 0.
    filled = np.nan_to_num(singles)
    spread = filled.std(axis=0)
    varied = spread > 1e-9
    modifiers = [*dict.fromkeys(preprocessor.read_for(cohort.study.modifiers))]
    modifying = [i for name in modifiers for i, f in enumerate(of) if f == name and varied[i]]
    first = modifiers[:1]
    sd = [config.main_sd if of[i] in first else config.other_sd for i in modifying]
    related = filled.T @ filled[:, modifying] / len(filled) / np.maximum(spread, 1e-9)[:, None]
    strength = np.abs(related).max(axis=1, initial=0.0)
    rest = [i for i in np.argsort(-strength, kind="stable") if varied[i] and i not in modifying]
    joint = [*modifying, *rest[: max(MOST_JOINT - len(modifying), 0)]]
    return np.array(joint, dtype=int), np.arange(len(modifying)), np.array(sd)
