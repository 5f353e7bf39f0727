"""Delete-a-group jackknife: uncertainty of a model's figures over its training patients.

Each fold's models were trained without one part of the patients. Their predictions alone are a
delete-a-group jackknife of the ensemble's (Shao and Wu, "A general theory for jackknife variance
estimation", Ann Stat 1989): no model is refitted. The treatment's effect is fitted once
to all patients, so its versions are its coefficients moved by one standard error either way along
each axis of their posterior.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from accomplice.data.arrays import Array
from accomplice.training.models.survival import SurvivalModel
from accomplice.training.treatment.benefit import under

#: Patients predicted at once.
CHUNK = 2048
#: 97.5 % quantile of the normal distribution, and of Student's t by degrees of freedom from 1 on.
Z = 1.96
T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)


def versions(model: SurvivalModel, values: Array, centre: NDArray[np.str_] | None) -> Array:
    """Return cumulative hazards (1 + k + 2 d, n, j + 1) for coded features (n, p).

    The model's own comes first, then those of its k folds, then those with the effect moved up and
    down along each of its d axes; d is 0 where there is no effect.
    """
    parts = []
    for start in range(0, max(len(values), 1), CHUNK):
        rows = slice(start, start + CHUNK)
        parts.append(_some(model, values[rows], None if centre is None else centre[rows]))
    return np.concatenate(parts, axis=1)


def _some(model: SurvivalModel, values: Array, centre: NDArray[np.str_] | None) -> Array:
    blind, each = model.ensemble.by_fold(model.blind(values), centre)
    own, status = model.effect_of(values, centre)
    if own is None or status is None or model.effect is None:
        return np.concatenate([blind[None], each])
    found = [under(one, own, status) for one in (blind, *each)]
    design = model.effect.design(model.blind(values), centre)
    length, axis = np.linalg.eigh(model.effect.covariance)
    for step in (axis * np.sqrt(np.maximum(length, 0.0))).T:
        for sign in (1.0, -1.0):
            moved = own._replace(log_hr=own.log_hr + sign * design @ step)
            found.append(under(blind, moved, status))
    return np.stack(found)


def band(figure: Array, folds: int) -> tuple[Array, Array]:
    """Return the ends (…) of the 95 % interval of a figure θ (v, …), one of each version.

    Half of its width is √(t² (k − 1)/k Σ (θ_fold − mean)² + z² Σ ((θ_up − θ_down) / 2)²), with t
    the quantile of Student's distribution on k − 1 degrees of freedom for k folds.
    """
    each, moved = figure[1 : 1 + folds], figure[1 + folds :]
    jackknife = (folds - 1) / folds * ((each - each.mean(axis=0)) ** 2).sum(axis=0)
    effect = (((moved[0::2] - moved[1::2]) / 2) ** 2).sum(axis=0)
    t = T[min(folds - 1, len(T)) - 1]
    half = np.sqrt(t**2 * jackknife + Z**2 * effect)
    return figure[0] - half, figure[0] + half
