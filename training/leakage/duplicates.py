"""Duplicate patients: rows that agree in more values than chance explains.

Agreement in a value counts by how rare the value is, in bits. Two rows of different patients agree
in sex and stage, not in an age with decimals, ten expression values and a follow-up to the day.
"""

from __future__ import annotations

import re
from itertools import combinations

import numpy as np

from accomplice.data.arrays import Array, Ints
from accomplice.data.cohort import Cohort

#: Part of the features known of both that the same patient's rows agree in; some may be corrected.
ALIKE = 0.9
#: Most rows that share a value that pairs them.
FEW = 3
#: Bits beyond those that pick one pair out of all, since features are not independent.
MARGIN = 14.0
#: Factor over the pairs by chance, plus one, from which pairs are no chance.
FAR_MORE = 5
#: Most features by whose rare values rows are paired.
MOST_FEATURES = 60


def duplicates(cohort: Cohort) -> list[tuple[int, int]]:
    """Return pairs of rows that are very probably the same patient."""
    values, n = cohort.values, len(cohort)
    varied = [j for j in range(values.shape[1]) if len(np.unique(_known(values[:, j]))) > 1]
    values = values[:, varied]
    bits = np.column_stack([_bits(column) for column in values.T]) if varied else np.zeros((n, 0))
    outcome = _bits(cohort.time)
    needed = 2 * np.log2(max(n, 2)) + MARGIN
    pairs = []
    for a, b in sorted(_candidates(values, cohort.time)):
        both = ~np.isnan(values[a]) & ~np.isnan(values[b])
        same = both & (values[a] == values[b])
        if same.sum() < ALIKE * max(both.sum(), 1):
            continue
        told = bits[a, same].sum()
        if cohort.time[a] == cohort.time[b] and cohort.event[a] == cohort.event[b]:
            told += outcome[a]
        if told >= needed:
            pairs.append((a, b))
    return pairs


def _known(column: Array) -> Array:
    return column[~np.isnan(column)]


def _bits(column: Array) -> Array:
    """Information (n,) of each value: the rarer, the more; 0 where missing."""
    known = ~np.isnan(column)
    _, place, count = np.unique(column[known], return_inverse=True, return_counts=True)
    found = np.zeros(len(column))
    found[known] = np.log2(known.sum() / count[place])
    return found


def _candidates(values: Array, time: Array) -> set[tuple[int, int]]:
    """Pairs of rows that share a rare value, or all values."""
    columns = [*values.T]
    # Those with the most distinct values bring fewest pairs of different patients together.
    columns.sort(key=lambda column: -len(np.unique(_known(column))))
    found: set[tuple[int, int]] = set()
    for column in [time, *columns[:MOST_FEATURES]]:
        known = np.flatnonzero(~np.isnan(column))
        order = known[np.argsort(column[known], kind="stable")]
        starts = np.flatnonzero(np.diff(column[order])) + 1
        for rows in np.split(order, starts) if len(order) else ():
            if 2 <= len(rows) <= FEW:
                found.update(combinations(sorted(rows.tolist()), 2))
    if values.shape[1]:
        whole = np.nan_to_num(values, nan=-1e300)
        _, place, count = np.unique(whole, axis=0, return_inverse=True, return_counts=True)
        place = place.ravel()
        for group in np.flatnonzero((count > 1) & (count <= FEW)):
            found.update(combinations(np.flatnonzero(place == group).tolist(), 2))
    return found


def same_outcomes(cohort: Cohort) -> list[tuple[int, int]]:
    """Return pairs of rows with one outcome and equal clinical values, if chance makes far fewer.

    Samples of one patient share both, whatever their expression and densities are. Chance makes as
    many pairs as share the outcome, times the part of all pairs that share the clinical values.
    """
    kinds = [feature.kind for feature in cohort.study.features.values()]
    clinical = [j for j, kind in enumerate(kinds) if kind not in ("expression", "density")]
    if not clinical:
        return []
    ends = _groups(np.column_stack([cohort.time, cohort.event]))
    profiles = _groups(cohort.values[:, clinical])
    both = _groups(np.column_stack([ends, profiles]))
    of_ends, of_profiles, found = (_pairs(groups) for groups in (ends, profiles, both))
    n = len(cohort)
    chance = of_ends * of_profiles / max(n * (n - 1) / 2, 1)
    if found < FAR_MORE * (chance + 1):
        return []
    order = np.argsort(both, kind="stable")
    starts = np.flatnonzero(np.diff(both[order])) + 1
    rows = (each.tolist() for each in np.split(order, starts))
    return [(each[0], other) for each in rows for other in each[1:]]


def _groups(rows: Array) -> Ints:
    """Return a number for each row (n,), equal where rows are; a missing value equals another."""
    known = np.nan_to_num(rows, nan=-np.inf)
    return np.unique(known, axis=0, return_inverse=True)[1].reshape(-1)


def _pairs(groups: Ints) -> float:
    counts = np.bincount(groups).astype(float)
    return float((counts * (counts - 1) / 2).sum())


def same_ids(cohort: Cohort) -> list[tuple[int, int]]:
    """Return pairs of rows whose identifiers differ in case and punctuation alone."""
    first: dict[str, int] = {}
    pairs = []
    for row, each in enumerate(cohort.ids.tolist()):
        plain = plain_id(each)
        if plain and first.setdefault(plain, row) != row:
            pairs.append((first[plain], row))
    return pairs


def plain_id(identifier: str) -> str:
    """Return an identifier without case and punctuation."""
    return re.sub(r"[\W_]+", "", identifier.lower())
