"""From results by split to the tables of the benchmark: means, ranks, gaps, calibration."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from accomplice.data.arrays import Array

Result: TypeAlias = dict[str, Any]

#: Where calibration is called good.
D_LEVEL, SLOPE = 0.05, (0.8, 1.25)


@dataclass(frozen=True)
class Block:
    """A table as text."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def summarise(
    results: Sequence[Result], learners: Sequence[str], cohorts: Sequence[str]
) -> list[Block]:
    """Lay out the tables.

    Args:
        results: of all splits of the cohorts and learners.
        learners: ours first, where it is among them.
        cohorts: in the order of the rows.
    """
    c, ibs = (table(results, learners, cohorts, key, fmean) for key in ("c", "ibs"))
    rows = [
        (name, *(f"{c[i, j]:.3f}/{ibs[i, j]:.4f}" for j in range(len(learners))))
        for i, name in enumerate(cohorts)
    ]
    blocks = [Block("Uno's C / integrated Brier score", ("cohort", *learners), tuple(rows))]
    ranked = [("all", list(learners))]
    if "pycox" in learners:
        ranked.append(("without pycox", [name for name in learners if name != "pycox"]))
    for title, among in ranked:
        chosen = [learners.index(name) for name in among]
        lines = [
            ("C", *_two_digits(ranks(-c[:, chosen]).mean(axis=0))),
            ("IBS", *_two_digits(ranks(ibs[:, chosen]).mean(axis=0))),
        ]
        blocks.append(Block(f"Mean rank, {title}", ("score", *among), tuple(lines)))
    if "ours" in learners and len(learners) > 1:
        blocks.append(_gaps(c, ibs, learners.index("ours"), cohorts))
    blocks.append(_calibration(results, learners, cohorts))
    return blocks


def table(
    results: Sequence[Result],
    learners: Sequence[str],
    cohorts: Sequence[str],
    key: str,
    over_repeats: Any,
) -> Array:
    """Return a figure (cohorts, learners) over the repeats; NaN where it is not defined once."""
    values: dict[tuple[str, str], list[float]] = {}
    for row in results:
        value = row.get(key)
        value = math.nan if value is None else value
        values.setdefault((row["cohort"], row["learner"]), []).append(value)

    def one(cohort: str, learner: str) -> float:
        found = values.get((cohort, learner), [math.nan])
        return math.nan if any(map(math.isnan, found)) else float(over_repeats(found))

    return np.array([[one(cohort, learner) for learner in learners] for cohort in cohorts])


def ranks(losses: Array) -> Array:
    """Rank each row (k, m): 1 is least, ties share their mean rank, NaN is worst."""
    values = np.where(np.isnan(losses), np.inf, losses)
    less = (values[:, None, :] < values[:, :, None]).sum(axis=2)
    equal = (values[:, None, :] == values[:, :, None]).sum(axis=2)
    return np.asarray(less + (equal + 1) / 2)


def _gaps(c: Array, ibs: Array, mine: int, cohorts: Sequence[str]) -> Block:
    """Show where ours is furthest behind the best peer."""
    rows = []
    for name, loss in (("C", -c), ("IBS", ibs)):
        best = np.nanmin(np.delete(loss, mine, axis=1), axis=1)
        behind = np.where(np.isnan(loss[:, mine]), np.inf, loss[:, mine] - best)
        worst = int(np.argmax(behind))
        won = int((behind <= 0).sum())
        rows.append(
            (
                name,
                f"{behind[worst]:.4f}",
                cohorts[worst],
                f"{np.mean(behind):.4f}",
                f"{won}/{len(cohorts)}",
            )
        )
    header = ("score", "worst gap", "on", "mean gap", "best or equal")
    return Block("Ours behind the best peer of each cohort", header, tuple(rows))


def _calibration(
    results: Sequence[Result], learners: Sequence[str], cohorts: Sequence[str]
) -> Block:
    """Show in how many cohorts predictions come true, by the median over repeats."""
    p = table(results, learners, cohorts, "d_p", median)
    slope = table(results, learners, cohorts, "slope", median)
    seconds = table(results, learners, cohorts, "seconds", fmean)
    uniform, straight = p > D_LEVEL, (slope >= SLOPE[0]) & (slope <= SLOPE[1])

    def shares(good: NDArray[np.bool_]) -> tuple[str, ...]:
        return tuple(f"{100 * share:.0f}%" for share in good.mean(axis=0))

    rows = (
        (f"D-calibration p > {D_LEVEL:g}", *shares(uniform)),
        (f"slope in {SLOPE[0]:g}–{SLOPE[1]:g}", *shares(straight)),
        ("both", *shares(uniform & straight)),
        ("median slope", *_two_digits(np.nanmedian(slope, axis=0))),
        ("median seconds to fit", *(f"{s:.1f}" for s in np.nanmedian(seconds, axis=0))),
    )
    return Block("Calibration: share of cohorts; cost", ("", *learners), rows)


def _two_digits(values: Array) -> tuple[str, ...]:
    return tuple(f"{value:.2f}" for value in values)
