"""Transform features to comparable scales: logarithms, normal scores, quantiles and bins.

The functions are pure; ``preprocessing.preprocessor`` has the fitted state. Patients are
transformed in blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.data.preprocessing.expression_ranks import REFERENCE, Ranks

F = TypeVar("F", bound=np.floating)

#: Minimum number of a centre's patients with a known value of an expression feature for the centre
#: to have its own quantiles of it.
CENTRE_SIZE = 50
#: Patients transformed at once, so that intermediate arrays stay in the cache.
BLOCK = 1024


def _blocks(n: int) -> list[slice]:
    """Return the slices of n patients' blocks; one empty slice if n is 0, to keep columns."""
    return [slice(start, start + BLOCK) for start in range(0, max(n, 1), BLOCK)]


def by_block(n: int, make: Callable[[slice], Array]) -> Array:
    """Return an array (..., n, c) computed in blocks of patients.

    Args:
        n: number of patients.
        make: returns the rows of a block; each must depend on its own patient alone.
    """
    first, *others = _blocks(n)
    part = make(first)
    if not others:
        return part
    made = np.empty((*part.shape[:-2], n, part.shape[-1]), part.dtype)
    made[..., first, :] = part
    for rows in others:
        made[..., rows, :] = make(rows)
    return made


def total(n: int, make: Callable[[slice], Array]) -> Array:
    """Return the sum over n patients of rows made in blocks, bitwise equal to the sum at once.

    Args:
        n: number of patients.
        make: returns the rows (patients, ...) of a block.
    """
    first, *others = _blocks(n)
    part = make(first)
    if part[:1].size == 1:
        # NumPy sums a single column pairwise, but several columns row by row.
        return np.asarray(make(slice(0, n)).sum(axis=0))
    summed = part.sum(axis=0)
    for rows in others:
        part = make(rows)
        part[0] += summed
        summed = part.sum(axis=0)
    return np.asarray(summed)


def zeroed(values: Array) -> Array:
    """Return values with 0 in place of NaN."""
    return np.where(np.isnan(values), 0.0, values)


def sort_columns(values: Array) -> Array:
    """Return values (n, p) with each column sorted, NaN last."""
    ordered = np.empty(values.shape[::-1])
    for rows in _blocks(len(values)):
        ordered[:, rows] = values[rows].T
    for column in ordered:
        column.sort()
    return ordered.T


def column_quantiles(ordered: Array, probabilities: Array) -> Array:
    """Return the quantiles (k, p) of each column's known values; NaN for a column without any.

    Each is the mean of the quantiles half a patient below and half a patient above it, so that none
    is the value of a single patient if two or more are known: models store these numbers.

    Args:
        ordered: (n, p) values from :func:`sort_columns`.
        probabilities: (k,) probabilities of the quantiles.
    """
    last = np.maximum((~np.isnan(ordered)).sum(axis=0) - 1, 0)
    place = probabilities[:, None] * last

    def at(place: Array) -> Array:
        place = np.clip(place, 0, last)
        below = np.floor(place).astype(int)
        above = np.minimum(below + 1, last)
        low, high = np.take_along_axis(ordered, below, 0), np.take_along_axis(ordered, above, 0)
        return np.asarray(low + (place - below) * (high - low))

    return (at(place - 0.5) + at(place + 0.5)) / 2


def _mean(column: Array) -> float:
    known = ~np.isnan(column)
    return float(np.where(known, column, 0.0).sum() / max(np.count_nonzero(known), 1))


def _skew(column: Array) -> float:
    deviation = column - _mean(column)
    return _mean(deviation**3) / float(max(_mean(deviation**2), 1e-200) ** 1.5)


def log_offsets(values: Array, eligible: Bools) -> Array:
    """Return the offset of each feature's logarithm (p,), NaN where none is taken.

    The logarithm is taken of a feature that has no negative value, five distinct positive values
    or more and a skewness above 1, if its absolute skewness gets smaller. The offset is 0, or for
    a feature with zeros the power of ten at or below the smallest positive value.

    Args:
        values: (n, p) features, NaN is missing.
        eligible: (p,) whether a feature may be transformed.
    """
    offset = np.full(values.shape[1], np.nan)
    for j in np.flatnonzero(eligible):
        column = np.ascontiguousarray(values[:, j])
        skew = 0.0 if (column < 0).any() else _skew(column)
        if not skew > 1:
            continue
        positive = column[column > 0]
        if len(np.unique(positive)) < 5:
            continue
        # A power of ten, since half of the smallest value would disclose that patient's value.
        zeros = len(positive) < np.count_nonzero(~np.isnan(column))
        shift = float(10.0 ** np.floor(np.log10(positive.min()))) if zeros else 0.0
        if abs(_skew(np.log(column + shift))) < abs(skew):
            offset[j] = shift
    return offset


def assay_references(
    values: Array, expression: Bools, centre: NDArray[np.str_] | None
) -> dict[str, Array]:
    """Return centre -> quantiles (41, p) of the expression features, 0 for other features.

    Empty text is the key of all patients. A centre has quantiles of its own for the features that
    are known in at least 50 of its patients, and those of all patients for the rest; a centre
    without such a feature is left out. Without expression features the result is empty.

    Args:
        values: (n, p) features, NaN is missing.
        expression: (p,) whether a feature is expression.
        centre: (n,) hospital; empty text where unknown.
    """
    if not expression.any():
        return {}
    measured = values[:, expression]

    def table(rows: Array) -> Array:
        wide = np.zeros((len(REFERENCE), len(expression)))
        wide[:, expression] = np.nan_to_num(column_quantiles(sort_columns(rows), REFERENCE))
        return wide

    overall = table(measured)
    found = {"": overall}
    if centre is None:
        return found
    for name, patients in of_centres(centre, np.unique(centre[centre != ""])):
        rows = measured[patients]
        enough = np.zeros(len(expression), dtype=bool)
        enough[expression] = (~np.isnan(rows)).sum(axis=0) >= CENTRE_SIZE
        if name and enough.any():
            found[name] = np.where(enough, table(rows), overall)
    return found


def of_centres(centre: NDArray[np.str_], names: NDArray[np.str_]) -> Iterator[tuple[str, Ints]]:
    """Yield each centre in ``names`` with its patients' rows, then empty text with all other rows.

    Args:
        centre: (n,) hospital of each patient.
        names: the centres to yield.
    """
    rows: dict[str, list[int]] = {name: [] for name in names.tolist()}
    others: list[int] = []
    for i, name in enumerate(centre.tolist()):
        rows.get(name, others).append(i)
    for name, members in (*rows.items(), ("", others)):
        yield name, np.array(members, dtype=int)


@dataclass(frozen=True)
class Unstandardised:
    """The step before standardising, for k preprocessors: logarithms, and scores of expression."""

    log_offset: Array
    """(k, p) offset added before the logarithm; NaN where a feature is not log-transformed."""
    ranks: Mapping[str, Ranks]
    """Centre, or empty text for all patients -> normal scores; empty if there is no expression."""

    def scale(self, values: Array, centre: NDArray[np.str_] | None) -> Array:
        """Return the features (k, n, p) before standardising.

        Features that are neither log-transformed nor expression stay as they are coded.

        Args:
            values: (n, p) coded features, NaN is missing.
            centre: (n,) hospital; expression is scored on the hospital's own scale if it has one,
                else on that of all patients. None: on that of all patients.
        """
        scaled = np.repeat(values[None], len(self.log_offset), axis=0)
        if len(self._logged):
            offset, raw = self._offset, values[:, self._logged]
            # A value below the training range may be below the logarithm's domain.
            logged = np.log(np.maximum(raw + offset, 1e-12))
            scaled[:, :, self._logged] = np.where(np.isnan(offset), raw, logged)
        if not self.ranks:
            return scaled
        unnamed = [("", np.arange(len(values)))]
        for name, rows in unnamed if centre is None else of_centres(centre, self._centres):
            ranks = self.ranks[name]
            for start in range(0, len(rows), BLOCK):
                some = rows[start : start + BLOCK]
                # A slice of all patients is faster than an index by rows.
                place = slice(None) if len(some) == len(values) else some[:, None]
                scaled[:, place, ranks.features] = ranks.score(values[place, ranks.features])
        return scaled

    @cached_property
    def _logged(self) -> Ints:
        """Features of which any preprocessor takes the logarithm."""
        return np.flatnonzero(~np.isnan(self.log_offset).all(axis=0))

    @cached_property
    def _offset(self) -> Array:
        """(k, 1, l) offset of the l logarithms, NaN where a preprocessor takes none."""
        return self.log_offset[:, None, self._logged]

    @cached_property
    def _centres(self) -> NDArray[np.str_]:
        return np.array(sorted(self.ranks.keys() - {""}), dtype=str)


def piecewise(z: NDArray[F], low: NDArray[F], width: NDArray[F]) -> NDArray[F]:
    """Return the piecewise-linear encoding min(max((z − low) / width, 0), 1), 0 if the width is 0.

    Args:
        z: standardised values.
        low: lower edges of the bins; the arguments are broadcast against one another.
        width: widths of the bins.
    """
    fraction: NDArray[F] = z - low
    fraction /= np.where(width > 0, width, z.dtype.type(np.inf))
    np.maximum(fraction, 0.0, out=fraction)
    np.minimum(fraction, 1.0, out=fraction)
    return fraction
