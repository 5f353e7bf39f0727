"""Value of each modality: the paired loss where it is withheld from patients who have it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.data.splits import within
from accomplice.training.budget import UNLIMITED, Budget
from accomplice.training.config import Config
from accomplice.training.estimators.hazard import log_risk
from accomplice.training.estimators.intervals import Estimate
from accomplice.training.estimators.policy import EVENTS_TO_JUDGE
from accomplice.training.evaluation.bootstrap import (
    BootstrapDraws,
    BootstrappedOutcome,
)
from accomplice.training.evaluation.record import ModalityValue
from accomplice.training.models.predictions import MODEL, Predictions
from accomplice.training.progress import Tick, silent

#: Maximum number of patients in the sample: each is predicted anew for each modality.
MOST_WITHHELD = 4000
#: Loss that the patients do not determine.
UNKNOWN = Estimate(math.nan)


def modality_values(
    predicted: Predictions,
    followed: BootstrappedOutcome,
    config: Config,
    tick: Tick = silent,
    budget: Budget = UNLIMITED,
) -> tuple[ModalityValue, ...]:
    """Return the loss of withholding each modality by itself from the patients who have it.

    The models are not refitted: the loss is that of the fitted models where the modality is not
    measured, and correlated modalities may make up for it.

    Args:
        predicted: predictions of n patients, with all modalities.
        followed: outcomes of the same patients, and bootstrap draws.
        config: settings, of which the seed is used.
        tick: progress callback.
        budget: time budget; at least one modality is judged, however short it is.

    Returns:
        One value for each modality of the study without its treatment: none if there is only one,
        fewer if the time runs out. A loss is unknown if fewer than ``EVENTS_TO_JUDGE`` of the
        patients who have the modality had the event.
    """
    rows = sample(len(followed), MOST_WITHHELD, config.seed)
    if rows is not None:
        draws = BootstrapDraws.of(len(rows), len(followed.draws.counts) - 1, config.seed)
        followed = replace(followed.take(rows), draws=draws)
        predicted = predicted.take(rows)
    blind = predicted.cohort.prognostic()
    blocks, found = blind.study.blocks, []
    if len(blocks) < 2:
        return ()
    full = _parts(followed, predicted, predicted.curves[MODEL])
    pace = budget.pace()
    for done, (name, block) in enumerate(blocks.items(), start=1):
        has = np.asarray(~np.isnan(blind.values[:, block]).all(axis=1))
        values = blind.values.copy()
        values[:, list(block)] = np.nan
        found.append(_value(name, predicted, followed, has, values, full))
        tick("modalities", done, len(blocks))
        if done < len(blocks) and not pace.another():
            budget.cut("modality values", done, f"{len(blocks)}")
            break
    return tuple(found)


def sample(n: int, most: int, seed: int) -> Ints | None:
    """Return ``most`` random rows of n, rising; None if n is ``most`` or less."""
    if n <= most:
        return None
    return np.sort(np.random.default_rng(seed).choice(n, most, replace=False))


def _value(
    name: str,
    predicted: Predictions,
    followed: BootstrappedOutcome,
    has: Bools,
    values: Array,
    full: tuple[Array, Array],
) -> ModalityValue:
    """Judge one modality.

    Args:
        name: name of the modality.
        predicted: predictions of n patients.
        followed: outcomes of the same patients.
        has: (n,) whether any value of the modality is known.
        values: (n, p) features with the modality withheld.
        full: risk and Brier score (n,) with all modalities, from :func:`_parts`.
    """
    rows = np.flatnonzero(has)
    group, patients = followed.take(rows), len(rows)
    if group.events < EVENTS_TO_JUDGE:
        return ModalityValue(modality=name, patients=patients, uno_c_loss=UNKNOWN, ibs_loss=UNKNOWN)
    whole = len(rows) == len(followed)
    # Rows are given only where they are needed: `Predictions.again` may not know them.
    curves = predicted.again(values) if whole else predicted.again(values[rows], rows)
    part = predicted if whole else predicted.take(rows)
    risk, brier = _parts(group, part, curves)
    with_it, without = group.uno_c(full[0][rows], risk)
    return ModalityValue(
        modality=name,
        patients=patients,
        uno_c_loss=Estimate.of_draws(with_it - without),
        ibs_loss=Estimate.of_draws(group.draws.mean(brier - full[1][rows])),
    )


def _parts(
    followed: BootstrappedOutcome, predicted: Predictions, curves: Array
) -> tuple[Array, Array]:
    """Return the risk (n,), log-hazard less its mean in the patient's fold, and Brier score (n,).

    Args:
        followed: outcomes of n patients.
        predicted: the patients' folds, and the grid of the curves.
        curves: (n, j + 1) cumulative hazards.
    """
    risk = within(log_risk(curves), predicted.group)
    return risk, followed.brier_averages(predicted.grid, curves)
