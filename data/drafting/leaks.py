"""Screen inferred features for leaks of the outcome and for duplicates, by their values.

Columns whose names show that they are known only after the outcome are found by the panel.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from accomplice.data.arrays import Array, Bools
from accomplice.data.drafting.infer import Inferred
from accomplice.data.panels.panel import KNOWN_AFTER

#: Minimum absolute rank correlation with the time, or minimum correlation of the outcome guessed
#: from the levels with the observed one, that shows a leak.
TOO_GOOD = 0.95
#: Probability by chance below which a column filled for one outcome only is a leak.
TOO_UNLIKELY = 1e-6


def find_leaks(found: Mapping[str, Inferred], time: Array, event: Bools) -> dict[str, str]:
    """Return feature that leaks the outcome -> the evidence.

    Args:
        found: name of a feature -> the feature, with codes (n,).
        time: follow-up in months (n,).
        event: whether the event was observed (n,).
    """
    if not found:
        return {}
    codes = np.column_stack([inferred.codes for inferred in found.values()])
    nominal = np.array([f.kind == "category" for f in found.values()])
    filled = ~np.isnan(codes)
    rho = np.abs(correlation_with(ranks(codes), ranks(time[:, None])[:, 0]))
    with_time = (rho >= TOO_GOOD) & (filled.sum(axis=0) >= 10) & ~nominal
    leaks = {}
    for j, name in enumerate(found):
        rows = filled[:, j]
        if with_time[j]:
            leaks[name] = f"{KNOWN_AFTER}: it runs with the time"
        elif _follows(codes[rows, j], event[rows]):
            leaks[name] = f"{KNOWN_AFTER}: it tells the event"
        elif _one_sided(rows, event):
            leaks[name] = f"{KNOWN_AFTER}: only patients of one outcome have a value"
    return leaks


def find_label_leaks(found: Mapping[str, Inferred], label: Array) -> dict[str, str]:
    """Return feature whose levels leak the label -> the evidence.

    Args:
        found: name of a feature -> the feature, with codes (n,).
        label: 1 positive, 0 negative, NaN unlabelled (n,).
    """
    labelled = ~np.isnan(label)
    leaks = {}
    for name, inferred in found.items():
        rows = labelled & ~np.isnan(inferred.codes)
        if _follows(inferred.codes[rows], label[rows] == 1):
            leaks[name] = f"{KNOWN_AFTER}: it tells the response"
    return leaks


def find_copies(
    found: Mapping[str, Inferred], taken: Mapping[str, Array]
) -> dict[str, tuple[str, str]]:
    """Return feature that duplicates an earlier column -> that column, and in which way.

    Args:
        found: name of a feature -> the feature, with codes (n,).
        taken: column of another role, such as the time -> numbers (n,); these come first.
    """
    first: dict[bytes, str] = {_key(codes, nominal=False): name for name, codes in taken.items()}
    copies: dict[str, tuple[str, str]] = {}
    ordinals: dict[str, list[str]] = {}
    for name, inferred in found.items():
        key = _key(inferred.codes, nominal=inferred.kind == "category")
        if key in first:
            copies[name] = (first[key], "the same information")
            continue
        if inferred.ordinal is not None:
            alike = ordinals.setdefault(inferred.ordinal.name, [])
            twin = next((o for o in alike if _agree(found[o].codes, inferred.codes)), None)
            if twin is not None:
                copies[name] = (twin, f"the {inferred.ordinal.name} again")
                continue
            alike.append(name)
        first[key] = name
    return copies


def near_copies(codes: Array, least: float) -> list[tuple[int, int]]:
    """Return pairs of columns whose absolute rank correlation (Spearman) is at least ``least``.

    Ranks are those of each column's known values; pairs with fewer than ten patients in common are
    left out.

    Args:
        codes: (n, p) coded features; NaN is missing.
        least: lowest absolute correlation.

    Returns:
        Positions of the two columns of each pair, the first column first.
    """
    ranked = ranks(codes)
    pairs = []
    for j in range(codes.shape[1] - 1):
        known = ~np.isnan(ranked[:, j])
        later = ranked[known, j + 1 :]
        rho = np.abs(correlation_with(later, ranked[known, j]))
        enough = (~np.isnan(later)).sum(axis=0) >= 10
        pairs += [(j, j + 1 + int(k)) for k in np.flatnonzero((rho >= least) & enough)]
    return pairs


def ranks(codes: Array) -> Array:
    """Return ranks within each column of ``codes`` (n, p), averaged for ties; NaN is missing."""
    return pd.DataFrame(codes).rank().to_numpy(dtype=np.float64)


def correlation_with(columns: Array, other: Array) -> Array:
    """Return Pearson's correlation (p,) of each column (n, p) with ``other`` (n,).

    Missing values (NaN) of a column are left out; ``other`` has none. The correlation is 0 if the
    column, or ``other`` among its known values, has no spread.

    Args:
        columns: (n, p) values; NaN is missing.
        other: (n,) values.
    """
    known = ~np.isnan(columns)
    n = np.maximum(known.sum(axis=0), 1)
    x = np.where(known, columns, 0.0)
    mean_x, mean_y = x.sum(axis=0) / n, known.T @ other / n
    x = np.where(known, columns - mean_x, 0.0)
    cross = x.T @ other
    spread = (x**2).sum(axis=0) * (known.T @ other**2 - n * mean_y**2)
    safe = np.where(spread > 1e-9, spread, 1.0)
    return np.where(spread > 1e-9, cross / np.sqrt(safe), 0.0)


def _follows(codes: Array, event: Bools) -> bool:
    """Whether the levels (n,) of a column with few levels nearly determine the event (n,).

    The event is guessed as the more frequent outcome of each level; the correlation of guess and
    event is at least :data:`TOO_GOOD`. Few levels are 2 to 10, of at least five patients in the
    mean; with fewer than 20 patients it is False.
    """
    if len(codes) < 20 or event.all() or not event.any():
        return False
    levels, inverse, counts = np.unique(codes, return_inverse=True, return_counts=True)
    if not 2 <= len(levels) <= min(10, len(codes) // 5):
        return False
    share = np.bincount(inverse, weights=event) / counts
    guess = (share > 0.5)[inverse]
    if guess.all() or not guess.any():
        return False
    return bool(np.corrcoef(guess, event)[0, 1] >= TOO_GOOD)


def _one_sided(rows: Bools, event: Bools) -> bool:
    """Whether the patients with a value (rows) all have, or all lack, the event, beyond chance.

    The probability by chance is q^k, with k patients with a value and q the share of that outcome.
    """
    share = float(event.mean())
    if rows.all() or not rows.any() or not 0 < share < 1:
        return False
    inside = event[rows]
    if inside.all():
        return bool(share ** len(inside) < TOO_UNLIKELY)
    return not inside.any() and bool((1 - share) ** len(inside) < TOO_UNLIKELY)


def _key(codes: Array, *, nominal: bool) -> bytes:
    """Return a key that columns (n,) share if each is a strictly monotone function of the other.

    Nominal columns, and those of at most two levels, share it if the levels are renamed. Columns
    with one key have their missing values in the same patients.
    """
    known = ~np.isnan(codes)
    _, inverse = np.unique(codes[known], return_inverse=True)
    top = int(inverse.max(initial=0))
    if nominal or top < 2:
        # Levels by order of appearance: renamed levels are the same column.
        inverse = pd.factorize(inverse)[0]
        flipped = inverse
    else:
        flipped = top - inverse
    written = []
    for values in (inverse, flipped):
        full = np.full(len(codes), -1, dtype=np.int32)
        full[known] = values
        written.append(full.tobytes())
    return min(written)


def _agree(first: Array, second: Array) -> bool:
    """Whether two columns (n,) are equal for at least 95 % of the patients who have both.

    False if these patients are fewer than ten, or than half of those who have the rarer value.
    """
    both = ~np.isnan(first) & ~np.isnan(second)
    fewest = min(int((~np.isnan(first)).sum()), int((~np.isnan(second)).sum()))
    if both.sum() < max(10, fewest / 2):
        return False
    return bool((first[both] == second[both]).mean() >= 0.95)
