"""Duplicate patients: rows that agree in more values than chance explains.

A value that two rows share counts by its rarity, −log₂ of its frequency, in bits. Rows of different
patients may agree in sex and stage, but not in an age with decimals, ten expression values and a
follow-up to the day.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import combinations

import numpy as np

from accomplice.data.arrays import Array, Ints
from accomplice.data.cohort import Cohort

#: Minimum fraction of the features known in both rows in which duplicates agree; a few may be
#: corrected.
ALIKE = 0.9
#: Maximum number of rows with one value that are candidates for a pair; more rows share common
#: values.
FEW = 3
#: Bits required beyond the log₂ of the number of pairs, since features are not independent.
MARGIN = 14.0
#: Pairs with equal outcome and clinical values count if there are this many times (c + 1), of c
#: expected by chance.
FAR_MORE = 5
#: Maximum number of features whose rare values make candidate pairs: those with the most distinct
#: values.
MOST_FEATURES = 60


def duplicates(cohort: Cohort) -> list[tuple[int, int]]:
    """Return pairs of rows (first, second) that are very probably the same patient.

    Candidates are rows that share a rare value of a feature or of the follow-up, which at most
    ``FEW`` rows have, and rows with equal values of all features, however many they are. Candidates
    are a pair if they agree in at least ``ALIKE`` of the features known in both, and if the
    information of the shared values, and of an equal outcome, is at least 2 log₂ n + ``MARGIN``
    bits. Features with one value in all rows count for nothing. More than ``FEW`` rows of one
    patient can be missed if their values differ.

    Up to ``FEW`` rows with equal values are compared each with each. Of more, the first is compared
    with each other one, as is the first of those whose outcome is equal too, so that the cost is
    about linear in n.
    """
    values, n = cohort.values, len(cohort)
    varied = [j for j in range(values.shape[1]) if len(np.unique(_known(values[:, j]))) > 1]
    values = values[:, varied]
    bits = np.column_stack([_bits(column) for column in values.T]) if varied else np.zeros((n, 0))
    outcome = _bits(cohort.time)
    needed = 2 * np.log2(max(n, 2)) + MARGIN
    pairs = []
    for a, b in sorted(_candidates(cohort, values)):
        both = ~np.isnan(values[a]) & ~np.isnan(values[b])
        same = both & (values[a] == values[b])
        if same.sum() < ALIKE * max(both.sum(), 1):
            continue
        information = bits[a, same].sum()
        if cohort.time[a] == cohort.time[b] and cohort.event[a] == cohort.event[b]:
            information += outcome[a]
        if information >= needed:
            pairs.append((a, b))
    return pairs


def _known(column: Array) -> Array:
    """Return the values of a column that are not missing."""
    return column[~np.isnan(column)]


def _bits(column: Array) -> Array:
    """Return the information (n,) of each value, −log₂ of its frequency; 0 where missing."""
    known = ~np.isnan(column)
    _, place, count = np.unique(column[known], return_inverse=True, return_counts=True)
    found = np.zeros(len(column))
    found[known] = np.log2(known.sum() / count[place])
    return found


def _candidates(cohort: Cohort, values: Array) -> set[tuple[int, int]]:
    """Return pairs of rows that share a rare value, or all values (n, p); see `duplicates`."""
    columns = [*values.T]
    # Columns with the most distinct values come first: they make the fewest false pairs.
    columns.sort(key=lambda column: -len(np.unique(_known(column))))
    found: set[tuple[int, int]] = set()
    for column in [cohort.time, *columns[:MOST_FEATURES]]:
        known = np.flatnonzero(~np.isnan(column))
        for rows in _equal(column[known]):
            if len(rows) <= FEW:
                found.update(combinations(known[rows].tolist(), 2))
    # Of many rows with equal values, a patient's are those with an equal outcome too.
    group = _groups(values) if values.shape[1] else np.arange(len(values))
    for whole in (group, _groups(np.column_stack([group, cohort.time, cohort.event]))):
        for rows in _equal(whole):
            listed = rows.tolist()
            first = listed if len(listed) <= FEW else listed[:1]
            found.update((a, b) for a in first for b in listed if a < b)
    return found


def _equal(column: Array | Ints) -> Iterator[Ints]:
    """Yield the rows, rising, of each value that at least two rows of a column (n,) have."""
    order = np.argsort(column, kind="stable")
    starts = np.flatnonzero(np.diff(column[order])) + 1
    yield from (rows for rows in np.split(order, starts) if len(rows) > 1)


def same_outcomes(cohort: Cohort) -> list[tuple[int, int]]:
    """Return pairs of rows with equal outcome and clinical values, if chance makes far fewer.

    Several samples of one patient share both, even if their expression and densities differ. If A
    of N pairs of rows share the outcome and B the clinical values, A B / N share both by chance.

    Returns:
        Pairs (first, other) of each group of equal rows; none if they are not far more than by
        chance.
    """
    kinds = [feature.kind for feature in cohort.study.features.values()]
    clinical = [j for j, kind in enumerate(kinds) if kind not in ("expression", "density")]
    if not clinical:
        return []
    outcomes = _groups(np.column_stack([cohort.time, cohort.event]))
    profiles = _groups(cohort.values[:, clinical])
    both = _groups(np.column_stack([outcomes, profiles]))
    of_outcomes, of_profiles, of_both = (_pairs(groups) for groups in (outcomes, profiles, both))
    n = len(cohort)
    chance = of_outcomes * of_profiles / max(n * (n - 1) / 2, 1)
    if of_both < FAR_MORE * (chance + 1):
        return []
    equal = (rows.tolist() for rows in _equal(both))
    return [(rows[0], other) for rows in equal for other in rows[1:]]


def _groups(rows: Array) -> Ints:
    """Return a number (n,) for each row, equal for equal rows; missing values count as equal."""
    known = np.nan_to_num(rows, nan=-np.inf)
    return np.unique(known, axis=0, return_inverse=True)[1].reshape(-1)


def _pairs(groups: Ints) -> float:
    """Return the number of pairs within groups (n,)."""
    counts = np.bincount(groups).astype(float)
    return float((counts * (counts - 1) / 2).sum())


def same_ids(cohort: Cohort) -> list[tuple[int, int]]:
    """Return pairs of rows (first, other) with identifiers equal but for case and punctuation."""
    first: dict[str, int] = {}
    pairs = []
    for row, identifier in enumerate(cohort.ids.tolist()):
        plain = plain_id(identifier)
        if plain and first.setdefault(plain, row) != row:
            pairs.append((first[plain], row))
    return pairs


def plain_id(identifier: str) -> str:
    """Return an identifier in lower case, without punctuation and blanks."""
    return re.sub(r"[\W_]+", "", identifier.lower())
