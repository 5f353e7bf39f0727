"""Divide the patients into folds."""

from __future__ import annotations

import numpy as np

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.data.cohort import Cohort
from accomplice.data.errors import InputError
from accomplice.data.splits import centre_folds, stratified_folds
from accomplice.training.config import Config
from accomplice.training.estimators.policy import EVENTS_TO_TRAIN


def assign_folds(cohort: Cohort, time: Array, event: Bools, config: Config) -> Ints:
    """Return the held-out fold (repeats, n) of each patient.

    Raises:
        InputError: there are too few events, or no centres to leave out.
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
    repeats = range(config.folds.repeats)
    return np.stack([stratified_folds(event, time, folds, config.seed + r) for r in repeats])


def check_folds(cohort: Cohort, config: Config) -> None:
    """Refuse, before any work, a cohort that cannot be divided; see :func:`assign_folds`."""
    assign_folds(cohort, *cohort.outcome, config)
