"""Decision curves of a model and its baselines, and the paired gain over the strongest one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from accomplice.data.arrays import Array
from accomplice.training.estimators.hazard import TimeGrid
from accomplice.training.evaluation.bootstrap import (
    BootstrappedOutcome,
    simultaneous_bands,
    standardised_mean,
)
from accomplice.training.evaluation.calibration import survival_at
from accomplice.training.evaluation.record import Curve, Decision
from accomplice.training.metrics.net_benefit import net_benefit_contributions, thresholds_among
from accomplice.training.models.predictions import MODEL


def decisions(
    followed: BootstrappedOutcome,
    grid: TimeGrid,
    curves: Mapping[str, Array],
    strongest: str,
    months: Sequence[float],
) -> tuple[Decision, ...]:
    """Return the net benefit of acting on each model's event probabilities, for each month.

    Thresholds are those of ``thresholds_among``; the gain over the strongest baseline has
    simultaneous bands over all months and thresholds, and is NaN without a baseline.

    Args:
        followed: outcomes of n patients, and bootstrap draws.
        grid: the j bins of the curves.
        curves: ``MODEL`` and baselines -> (n, j + 1) cumulative hazards.
        strongest: baseline with which the model is compared; empty if there is none.
        months: months by which events are predicted; the horizon in place of later ones.

    Raises:
        UndefinedMetricError: as ``net_benefit_contributions``.
    """
    found: list[Decision] = []
    gains = []
    for month in months:
        at = min(month, followed.horizon)
        chances = {name: 1 - survival_at(followed, grid, c, month) for name, c in curves.items()}
        thresholds = thresholds_among(np.concatenate(list(chances.values())))
        parts = {
            name: _parts(followed, chance, thresholds, at)
            for name, chance in (chances | {"": np.ones(len(followed))}).items()
        }
        means = {name: tuple(part.mean(axis=0)) for name, part in parts.items()}
        unknown = (math.nan,) * len(thresholds)
        if strongest:
            gains.append(followed.draws.mean(parts[MODEL] - parts[strongest]))
        found.append(
            Decision(
                month=month,
                thresholds=tuple(thresholds),
                benefit={name: means[name] for name in curves},
                everybody=means[""],
                gain=Curve(value=unknown, low=unknown, high=unknown),
            )
        )
    if not gains:
        return tuple(found)
    bands, overall = simultaneous_bands(gains), standardised_mean(gains)
    return tuple(
        decision.model_copy(update={"gain": gain, "overall": overall})
        for decision, gain in zip(found, bands, strict=True)
    )


def _parts(followed: BootstrappedOutcome, chance: Array, thresholds: Array, at: float) -> Array:
    """Return each patient's contribution (n, t) to the net benefit at the thresholds."""
    outcome = followed.event, followed.time
    return net_benefit_contributions(*outcome, chance, thresholds, at, followed.weights)
