"""Delete-a-group jackknife: uncertainty of a model's predictions over its training patients.

Each fold's models were trained without one part of the patients. So the predictions of single folds
are a delete-a-group jackknife of the ensemble's (Shao and Wu, "A general theory for jackknife
variance estimation", Ann Stat 1989), without refitting a model. The treatment's effect is fitted
once to all patients; its versions are its coefficients moved up and down by one standard error
along each principal axis of their covariance.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from accomplice.data.arrays import Array
from accomplice.training.estimators.intervals import Z95
from accomplice.training.models.survival import SurvivalModel
from accomplice.training.treatment.benefit import under

#: Patients predicted at once.
CHUNK = 2048


def versions(model: SurvivalModel, values: Array, centre: NDArray[np.str_] | None) -> Array:
    """Return the cumulative hazards of all v = 1 + k + 2 d versions of a model.

    Args:
        model: the fitted model.
        values: (n, p) coded features, the treatment among them.
        centre: (n,) hospital; None where no hospital is known.

    Returns:
        (v, n, j + 1): the model itself, then each of its k folds, then the model with the
        treatment's effect moved up and down along each of the d axes; d is 0 without an effect.
    """
    parts = []
    for start in range(0, max(len(values), 1), CHUNK):
        rows = slice(start, start + CHUNK)
        parts.append(_of_chunk(model, values[rows], None if centre is None else centre[rows]))
    return np.concatenate(parts, axis=1)


def _of_chunk(model: SurvivalModel, values: Array, centre: NDArray[np.str_] | None) -> Array:
    blind, by_fold = model.ensemble.by_fold(model.blind(values), centre)
    own, status = model.effect_of(values, centre)
    if own is None or status is None or model.effect is None:
        return np.concatenate([blind[None], by_fold])
    found = [under(one, own, status) for one in (blind, *by_fold)]
    design = model.effect.design(model.blind(values), centre)
    eigenvalues, axes = np.linalg.eigh(model.effect.covariance)
    for step in (axes * np.sqrt(np.maximum(eigenvalues, 0.0))).T:
        for sign in (1.0, -1.0):
            moved = own._replace(log_hr=own.log_hr + sign * design @ step)
            found.append(under(blind, moved, status))
    return np.stack(found)


def band(statistic: Array, folds: int, repeats: int = 1) -> tuple[Array, Array]:
    """Return the ends of the 95 % interval of a statistic θ of a model's predictions.

    They are θ ± √(t² V + z² Σ ((θ_up − θ_down) / 2)²). V is the mean over r divisions into k folds
    of (k − 1)/k Σ (θ_fold − mean)², with the mean of the division's θ_fold, and t the 97.5 %
    quantile of Student's distribution on r (k − 1) degrees of freedom.

    Args:
        statistic: (v, …) θ of each version, in the order of :func:`versions`.
        folds: number r k of the folds of all divisions, at least two of each.
        repeats: number r of divisions of the patients into folds.

    Returns:
        Lower and upper end, each (…).
    """
    by_fold, moved = statistic[1 : 1 + folds], statistic[1 + folds :]
    k = folds // repeats
    divided = by_fold.reshape(repeats, k, *by_fold.shape[1:])
    away = divided - divided.mean(axis=1, keepdims=True)
    jackknife = (k - 1) / k * (away**2).sum(axis=(0, 1)) / repeats
    effect = (((moved[0::2] - moved[1::2]) / 2) ** 2).sum(axis=0)
    t = float(stdtrit(repeats * (k - 1), 0.975))
    half = np.sqrt(t**2 * jackknife + Z95**2 * effect)
    return statistic[0] - half, statistic[0] + half
