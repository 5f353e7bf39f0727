"""Division of a cohort into cross-validation folds."""

from __future__ import annotations

import numpy as np

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.data.cohort import Cohort
from accomplice.data.errors import InputError
from accomplice.data.splits import centre_folds, stratified_folds
from accomplice.training.config import Config
from accomplice.training.estimators.policy import EVENTS_TO_TRAIN


def assign_folds(cohort: Cohort, time: Array, event: Bools, config: Config) -> Ints:
    """Return the held-out fold (repeats, n) of each patient, from 0.

    There are ``folds.folds`` folds, but no more than half as many as events. If ``folds.by`` is
    ``centre``, there is one repeat, with the folds of :func:`splits.centre_folds`.

    Args:
        cohort: n patients, with their centres.
        time: (n,) follow-up in months.
        event: (n,) whether the event was observed.
        config: run configuration; its folds and seed are used.

    Raises:
        InputError: there are too few events; or ``folds.by`` is ``centre``, and the study has no
            centre column, fewer than two folds result, or too few events are outside one of them.
    """
    folds = int(min(config.folds.folds, event.sum() // 2))
    if event.sum() < EVENTS_TO_TRAIN:
        raise InputError(
            f"{int(event.sum())} events before the horizon are too few to train and validate on: "
            f"{EVENTS_TO_TRAIN} are needed, and some hundred for a model of worth"
        )
    if config.folds.by == "centre":
        if cohort.centre is None:
            raise InputError("folds.by=centre: the study file names no centre column")
        fold = centre_folds(cohort.centre)
        if min(event[fold != k].sum() for k in range(fold.max() + 1)) < EVENTS_TO_TRAIN // 2:
            raise InputError("folds.by=centre: without one centre too few events are left")
        return fold[None]
    return np.stack(
        [stratified_folds(event, time, folds, config.seed + r) for r in range(config.folds.repeats)]
    )


def check_folds(cohort: Cohort, config: Config) -> None:
    """Check that a cohort can be divided into folds.

    Raises:
        InputError: it cannot, for a reason of :func:`assign_folds`.
    """
    assign_folds(cohort, *cohort.outcome, config)
