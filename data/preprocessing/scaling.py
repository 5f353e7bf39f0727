"""Put features on comparable scales: logarithms, ranks against an assay, quantiles, bins.

Pure functions of columns, some patients at a time, for ``preprocessing.preprocessor``, which keeps
what they find of the training patients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.data.preprocessing.expression_ranks import REFERENCE, Ranks

F = TypeVar("F", bound=np.floating)

#: Patients a centre needs before its own expression reference is trusted.
CENTRE_SIZE = 50
#: Patients worked on at once, so that what lies between values and inputs stays in the cache.
BLOCK = 1024


def _blocks(n: int) -> list[slice]:
    """Cut n patients into blocks; none are one empty block, which still has columns."""
    return [slice(start, start + BLOCK) for start in range(0, max(n, 1), BLOCK)]


def by_block(n: int, make: Callable[[slice], Array]) -> Array:
    """Make rows (n, k) of which each depends on its patient alone."""
    first, *others = _blocks(n)
    part = make(first)
    if not others:
        return part
    made = np.empty((n, *part.shape[1:]), part.dtype)
    made[first] = part
    for rows in others:
        made[rows] = make(rows)
    return made


def total(n: int, make: Callable[[slice], Array]) -> Array:
    """Sum made rows (n, ...) over patients, in their order, as one sum of all of them would."""
    first, *others = _blocks(n)
    part = make(first)
    if part[:1].size == 1:
        # NumPy adds up a lone column pairwise, rows one after the other.
        return np.asarray(make(slice(0, n)).sum(axis=0))
    total = part.sum(axis=0)
    for rows in others:
        part = make(rows)
        part[0] += total
        total = part.sum(axis=0)
    return np.asarray(total)


def zeroed(values: Array) -> Array:
    """Put 0 in place of missing values."""
    return np.where(np.isnan(values), 0.0, values)


def sort_columns(values: Array) -> Array:
    """Sort each column of (n, p); missing values come last."""
    ordered = np.empty(values.shape[::-1])
    for rows in _blocks(len(values)):
        ordered[:, rows] = values[rows].T
    for column in ordered:
        column.sort()
    return ordered.T


def column_quantiles(ordered: Array, probabilities: Array) -> Array:
    """Quantiles of each column (k, p) over its known values, from :func:`sort_columns`.

    Each is the mean of the two that lie half a patient to either side, so that none is the value
    of a single patient: these numbers travel with the model.
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
    """Offset of the logarithm where it takes away skew from a non-negative feature, else NaN."""
    offset = np.full(values.shape[1], np.nan)
    for j in np.flatnonzero(eligible):
        column = np.ascontiguousarray(values[:, j])
        skew = 0.0 if (column < 0).any() else _skew(column)
        if not skew > 1:
            continue
        positive = column[column > 0]
        if len(np.unique(positive)) < 5:
            continue
        # A power of ten below the smallest value: half of it would give that patient's value away.
        zeros = len(positive) < np.count_nonzero(~np.isnan(column))
        shift = float(10.0 ** np.floor(np.log10(positive.min()))) if zeros else 0.0
        if abs(_skew(np.log(column + shift))) < abs(skew):
            offset[j] = shift
    return offset


def assay_references(
    values: Array, expression: Bools, centre: NDArray[np.str_] | None
) -> dict[str, Array]:
    """Quantiles of the expression features, over all patients and in each large centre."""
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
    """Yield each of the names with its patients' rows; last, unnamed, all other patients."""
    rows: dict[str, list[int]] = {name: [] for name in names.tolist()}
    others: list[int] = []
    for i, name in enumerate(centre.tolist()):
        rows.get(name, others).append(i)
    for name, own in (*rows.items(), ("", others)):
        yield name, np.array(own, dtype=int)


def unstandardised(
    values: Array,
    log_offset: Array,
    ranks: Mapping[str, Ranks],
    centre: NDArray[np.str_] | None,
) -> Array:
    """Apply logarithms and expression ranks (n, p); other features stay as they are."""
    scaled = np.array(values, order="C")
    logged = np.flatnonzero(~np.isnan(log_offset))
    # A value below the training range may be below the logarithm's domain: draw it to the edge.
    scaled[:, logged] = np.log(np.maximum(values[:, logged] + log_offset[logged], 1e-12))
    if not ranks:
        return scaled
    own = np.array(sorted(ranks.keys() - {""}), dtype=str)
    everybody = [("", np.arange(len(values)))]
    for name, rows in everybody if centre is None else of_centres(centre, own):
        features = ranks[name].features
        for start in range(0, len(rows), BLOCK):
            some = rows[start : start + BLOCK, None]
            scaled[some, features] = ranks[name].score(values[some, features])[0]
    return scaled


def piecewise(z: NDArray[F], low: NDArray[F], width: NDArray[F]) -> NDArray[F]:
    """Return how far each value has come through each bin, 0 to 1; the three are broadcast."""
    way: NDArray[F] = z - low
    way /= np.where(width > 0, width, z.dtype.type(np.inf))
    np.maximum(way, 0.0, out=way)
    np.minimum(way, 1.0, out=way)
    return way
