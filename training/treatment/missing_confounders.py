"""The hazard ratio of a treatment where confounders are missing, by multiple imputation.

Curves and propensity of a patient with missing values are those of all patients with the same known
values. Among these, treatment and outcome depend on the missing values too, which still confound
the effect. Therefore missing values are imputed from all known ones, treatment and outcome
included; in each imputed data set the propensity and the expected events of patients with missing
values are adjusted for the imputed ones; and the hazard ratios are pooled by Rubin's rules. The
imputation is used for this estimate alone: no prediction is made from it, and without missing
values nothing changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.data.rows.treatment import is_option
from accomplice.training.estimators.hazard_ratios import HazardRatio
from accomplice.training.estimators.imputation.multiple import impute, pooled
from accomplice.training.estimators.logistic import expit, fit_logistic, logit
from accomplice.training.treatment.compared import at_landmark
from accomplice.training.treatment.cross_fitted import CrossFitted
from accomplice.training.treatment.expected_events import fitted_rates
from accomplice.training.treatment.propensity.score import RAREST

#: Ridge on the change of a propensity's log-odds with an imputed value: a normal prior of SD 0.6.
RIDGE = 3.0
#: Prior standard deviation of a confounder's coefficient in all patients, as a fraction of that of
#: an imputed value: curves and propensity already depend on the confounder.
KNOWN = 0.3


@dataclass(frozen=True)
class MissingConfounders:
    """Imputed values of missing confounders."""

    names: tuple[str, ...]
    """Features of which a value is missing."""
    gaps: Bools
    """(n,) whether any of their values is missing; False for patients who are never compared."""
    known: Array
    """(n, c) all confounders, standardised; 0 where missing."""
    lacking: Ints
    """(w,) positions of the confounders with missing values."""
    drawn: Array
    """(m, n, w) imputed values in each imputed data set; 0 where the value is known."""

    @classmethod
    def of(cls, crossed: CrossFitted, seed: int) -> Self:
        """Impute the confounders of patients whose treatment is known and an option.

        Confounders are the features of which the propensity is made.

        Args:
            crossed: the cross-fitted effect, of n patients.
            seed: seed of the draws.
        """
        cohort, effect = crossed.cohort, crossed.effect
        blind, fitted = cohort.prognostic(), effect.preprocessor
        rows = ~np.isnan(crossed.treated) & is_option(cohort.study, cohort.values)
        singles = fitted.singles(
            blind.values[rows], None if blind.centre is None else blind.centre[rows]
        )
        used = [j for j in effect.propensity.columns.tolist() if j < singles.shape[1]]
        columns = singles[:, used]
        missing = np.isnan(columns)
        some = np.asarray(missing.any(axis=0))
        gaps = np.zeros(len(cohort), dtype=bool)
        gaps[rows] = missing.any(axis=1)
        feature_of = [column.features[0] for column in fitted.single_columns()]
        names = dict.fromkeys(feature_of[used[k]] for k in np.flatnonzero(some))
        if not some.any():
            none = np.zeros((1, len(cohort), 0))
            return cls((), gaps, none[0], np.array([], dtype=int), none)
        time, event = cohort.outcome.time[rows], cohort.outcome.event[rows]
        joint = np.column_stack([columns, crossed.treated[rows]])
        imputed = impute(joint, time, event, seed)[:, :, :-1][:, :, some]
        drawn = np.zeros((len(imputed), len(cohort), int(some.sum())))
        drawn[:, rows] = np.where(missing[:, some], imputed, 0.0)
        known = np.zeros((len(cohort), columns.shape[1]))
        known[rows] = np.where(missing, 0.0, columns)
        return cls(tuple(names), gaps, known, np.flatnonzero(some), drawn)

    def ratio(
        self, crossed: CrossFitted, rows: Bools, landmark: float | None = None
    ) -> HazardRatio:
        """Return the treatment's hazard ratio in the patients ``rows`` (n,).

        In each imputed data set, a linear function of the imputed values and, in patients with
        missing values, of the log-odds is added to the propensity's log-odds; so is one of all
        confounders, with smaller coefficients, since missing values of other patients affected the
        models. The same is done for the log of the expected events. The functions of the propensity
        are fitted without the patient's fold.

        Args:
            crossed: the effect that the values were imputed for.
            rows: (n,) patients who are compared.
            landmark: month after which events count; None: the study's.
        """
        chance, cohort = crossed.patients.propensity, crossed.cohort
        if landmark is not None:
            cohort = at_landmark(cohort, landmark)
        counts = int(rows.sum()), int(crossed.cohort.outcome.event[rows].sum())

        def ratio(propensity: Array, terms: Array) -> HazardRatio:
            terms = np.column_stack([crossed.terms, terms])
            found = fitted_rates(cohort, crossed.cumulative, crossed.grid, propensity, rows, terms)
            return HazardRatio.of(found.log_hr, found.error, *counts)

        if not self.gaps[rows].any():
            return ratio(chance, np.zeros((len(chance), 0)))
        offset, treated = logit(chance), crossed.treated == 1
        gaps = self.gaps.astype(float)
        ratios = []
        for values in self.drawn:
            whole = self.known.copy()
            whole[:, self.lacking] += values
            terms = np.column_stack([gaps, values, KNOWN * whole])
            X, moved = np.column_stack([terms, gaps * offset]), chance.copy()
            for k in np.unique(crossed.fold):
                fitted, out = rows & (crossed.fold != k), rows & (crossed.fold == k)
                change = fit_logistic(X[fitted], treated[fitted], RIDGE, offset=offset[fitted])
                moved[out] = expit(offset[out] + change.log_odds(X[out]))
            ratios.append(ratio(np.clip(moved, RAREST, 1 - RAREST), terms))
        return pooled(ratios)
