"""Divide patients into folds, stratified by outcome or with one centre left out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.data.errors import InputError


def stratified_folds(
    event: Bools,
    time: Array,
    folds: int,
    seed: int,
    groups: NDArray[np.str_] | None = None,
) -> Ints:
    """Assign patients to folds with similar numbers of events and similar follow-up.

    Patients (or groups) are sorted by event and time with ties broken at random; then each run of
    ``folds`` neighbours is assigned to different folds at random. A group has the event if any of
    its patients has it, and the time of its first patient.

    Args:
        event: (n,) whether the event was observed.
        time: (n,) follow-up in months.
        folds: number of folds, at least 2.
        seed: seed of the random order.
        groups: (n,) group of each patient, all in one fold; None: patients are assigned singly.

    Returns:
        (n,) the fold of each patient, 0 to ``folds`` - 1.

    Raises:
        InputError: there are fewer patients (or groups) than folds, or fewer with the event.
    """
    if groups is None:
        first = np.arange(len(time))
        member = first
    else:
        _, first, member = np.unique(groups, return_index=True, return_inverse=True)
    if len(first) < folds:
        raise InputError(f"{len(first)} patients cannot fill {folds} folds: set fewer folds")
    any_event = np.zeros(len(first), dtype=bool)
    np.logical_or.at(any_event, member, event)
    if any_event.sum() < folds:
        raise InputError(
            f"{int(any_event.sum())} events cannot be spread over {folds} folds: set fewer folds"
        )
    rng = np.random.default_rng(seed)
    order = np.lexsort((rng.random(len(first)), time[first], any_event))
    fold = np.empty(len(first), dtype=int)
    for start in range(0, len(order), folds):
        run = order[start : start + folds]
        fold[run] = rng.permutation(folds)[: len(run)]
    return fold[member]


def centre_folds(centre: NDArray[np.str_], smallest: int = 20) -> Ints:
    """Assign each centre a fold of its own; centres with few patients share one.

    Args:
        centre: (n,) hospital of each patient.
        smallest: minimum number of patients of a centre with a fold of its own.

    Returns:
        (n,) the fold of each patient, from 0.

    Raises:
        InputError: fewer than two folds result.
    """
    names, member, count = np.unique(centre, return_inverse=True, return_counts=True)
    large = count >= smallest
    number = np.where(large, np.cumsum(large) - 1, large.sum())
    fold = number[member]
    if len(np.unique(fold)) < 2:
        raise InputError(f"leaving one centre out needs two centres; {len(names)} found")
    return np.asarray(fold, dtype=int)


def within(risk: Array, fold: Ints) -> Array:
    """Return each patient's risk (n,) minus the mean risk of the fold, to 12 decimals.

    Args:
        risk: (n,) risk, such as a log-hazard.
        fold: (n,) fold of each patient, from 0.
    """
    mean = np.bincount(fold, risk) / np.maximum(np.bincount(fold), 1)
    # Rounded, so that equal risks in a fold stay equal.
    return np.asarray(np.round(risk - mean[fold], 12))
