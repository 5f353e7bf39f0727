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

from accomplice.data.arrays import Array, Bools, Ints
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
#: Candidate pairs that are compared at once.
BLOCK = 20_000


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
    for a, b in _candidates(cohort, values).tolist():
        both = ~np.isnan(values[a]) & ~np.isnan(values[b])
        same = both & (values[a] == values[b])
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


def _candidates(cohort: Cohort, values: Array) -> Ints:
    """Return pairs (c, 2) of rows that share a rare value, or all values (n, p); see `duplicates`.

    They are sorted, and agree in at least ``ALIKE`` of the features known in both rows.
    """
    columns, n = [*values.T], len(values)
    # Columns with the most distinct values come first: they make the fewest false pairs.
    columns.sort(key=lambda column: -len(np.unique(_known(column))))
    found = []
    for column in [cohort.time, *columns[:MOST_FEATURES]]:
        known = np.flatnonzero(~np.isnan(column))
        found.append(known[_rare_pairs(column[known])])
    # Of many rows with equal values, a patient's are those with an equal outcome too.
    group = _groups(values) if values.shape[1] else np.arange(n)
    for whole in (group, _groups(np.column_stack([group, cohort.time, cohort.event]))):
        found.append(_rare_pairs(whole))
        found += [
            np.column_stack([np.full(len(rows) - 1, rows[0]), rows[1:]])
            for rows in _equal(whole)
            if len(rows) > FEW
        ]
    pairs = np.unique(np.concatenate(found) @ np.array([n, 1]))
    pairs = np.column_stack(np.divmod(pairs, n))
    kept = [_alike(values, some) for some in np.split(pairs, range(BLOCK, len(pairs), BLOCK))]
    return pairs[np.concatenate(kept)]


def _alike(values: Array, pairs: Ints) -> Bools:
    """Return whether the rows of each of c pairs (c, 2) agree in enough values; see `ALIKE`."""
    first, second = values[pairs[:, 0]], values[pairs[:, 1]]
    both = ~np.isnan(first) & ~np.isnan(second)
    same = both & (first == second)
    return np.asarray(same.sum(axis=1) >= ALIKE * np.maximum(both.sum(axis=1), 1))


def _rare_pairs(column: Array | Ints) -> Ints:
    """Return all pairs (c, 2) of rows, the lower first, with a value that at most ``FEW`` have."""
    order, starts, size = _runs(column)
    found = [np.zeros((0, 2), dtype=np.intp)]
    for length in range(2, FEW + 1):
        first = starts[size == length]
        found += [
            np.column_stack([order[first + a], order[first + b]])
            for a, b in combinations(range(length), 2)
        ]
    return np.concatenate(found)


def _runs(column: Array | Ints) -> tuple[Ints, Ints, Ints]:
    """Return the rows (n,) by value, then the start and size of each value's run of them."""
    order = np.argsort(column, kind="stable")
    starts = np.flatnonzero(np.diff(column[order], prepend=np.nan) != 0)
    return order, starts, np.diff(starts, append=len(order))


def _equal(column: Array | Ints) -> Iterator[Ints]:
    """Yield the rows, rising, of each value that at least two rows of a column (n,) have."""
    order, starts, size = _runs(column)
    for start, length in zip(starts[size > 1], size[size > 1], strict=True):
        yield order[start : start + length]


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
    found = np.zeros(len(rows), dtype=np.intp)
    for column in np.nan_to_num(rows, nan=-np.inf).T:
        values, place = np.unique(column, return_inverse=True)
        # Column by column: to sort whole rows of many numbers takes ten times as long.
        kept, found = np.unique(found * len(values) + place, return_inverse=True)
        if len(kept) == len(rows):
            break
    return found


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
