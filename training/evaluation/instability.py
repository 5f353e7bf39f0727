"""Instability of predictions: their spread over training patients and random seeds.

After Riley and Collins, "Stability of clinical prediction models developed using statistical or
machine learning methods", Biometrical Journal 2023, with the ensemble's own folds and members in
place of bootstrap models.
"""

from __future__ import annotations

import numpy as np

from accomplice.data.cohort import Cohort
from accomplice.training.estimators.hazard import survival
from accomplice.training.estimators.policy import PATIENTS_TO_SHOW
from accomplice.training.evaluation.modality_value import sample
from accomplice.training.evaluation.record import Instability
from accomplice.training.models.ensemble import Ensemble

#: Maximum number of patients in the sample.
MOST_PATIENTS = 1000
#: Share of the ensemble's predictions between `low` and `high`.
SHARE = 0.8
#: Probabilities of the quantiles of the intervals' widths.
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
#: Maximum number of groups of patients by prediction; there are fewer below 50 patients.
GROUPS = 10


def instability(ensemble: Ensemble, cohort: Cohort, month: float, seed: int) -> Instability:
    """Return the spread of survival predicted by folds and members, without the treatment's effect.

    Args:
        ensemble: ensemble of the model.
        cohort: patients, of whom a sample is predicted.
        month: month at which survival is predicted; beyond the model's horizon, the horizon is used
            in its place.
        seed: seed of the sample.
    """
    rows = sample(len(cohort), MOST_PATIENTS, seed)
    blind = (cohort if rows is None else cohort.take(rows)).prognostic()
    at, grid = np.array([min(month, ensemble.grid.horizon)]), ensemble.grid
    replicates = survival(grid.at(ensemble.replicates(blind.values, blind.centre), at))[..., 0]
    of_ensemble = survival(grid.at(ensemble.cumulative(blind.values, blind.centre), at))[:, 0]
    low, high = np.quantile(replicates, [(1 - SHARE) / 2, (1 + SHARE) / 2], axis=0)
    groups = int(np.clip(len(of_ensemble) // PATIENTS_TO_SHOW, 1, GROUPS))
    rising = np.array_split(np.argsort(of_ensemble, kind="stable"), groups)
    return Instability(
        month=month,
        predicted=tuple(float(of_ensemble[g].mean()) for g in rising),
        low=tuple(float(low[g].mean()) for g in rising),
        high=tuple(float(high[g].mean()) for g in rising),
        mean_difference=float(np.abs(replicates - of_ensemble).mean()),
        widest=tuple(np.quantile(high - low, QUANTILES)),
    )
