"""Survival curves as answers show them: at which months, to how many decimals, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Points of a curve at the most, beside the times asked for.
POINTS = 40
#: Decimals of a curve's points, more than anybody draws: a list's answer is half as long with them.
DECIMALS = 8
#: Months between two points of a curve, the smallest that keeps to them.
STEPS = (1, 2, 3, 6, 12, 24, 60, 120, 240, 600, 1200)
#: What a point's numbers are called.
NAMES = ("survival", "low", "high")
#: Templates that are remembered: the same months are asked for again and again.
REMEMBERED = 64


def grid(horizon: float) -> tuple[float, ...]:
    """Return the months at which every curve is given: from 0 to the horizon in even steps."""
    step = next((s for s in STEPS if horizon / s <= POINTS), horizon / POINTS)
    return (*np.arange(0.0, horizon, step).tolist(), horizon)


def merge_times(grid: Sequence[float], asked: Sequence[float]) -> list[float]:
    """Return the grid's times and those asked for, rising, each once."""
    return sorted({*grid, *asked})


def as_points(times: Sequence[float], curves: Array) -> list[Any]:
    """Lay out survival and its interval (n, t, 3) at months (t,) for each patient."""
    return [
        [
            {"time": time, **dict(zip(NAMES, point, strict=True))}
            for time, point in zip(times, curve, strict=True)
        ]
        for curve in (_whole(curves) / 10**DECIMALS).tolist()
    ]


def as_written_points(times: Sequence[float], curves: Array) -> list[Any]:
    """Lay the same out as JSON at once.

    A list's points are too many to make an object, or only a text, of each number: all digits are
    written side by side into copies of one template.
    """
    template, places = _template(tuple(times))
    rest = _whole(curves).reshape(len(curves), len(NAMES) * len(times))
    digits = np.empty((*rest.shape, DECIMALS + 1), np.uint8)
    for decimal in range(DECIMALS, -1, -1):
        left = rest // 10
        digits[..., decimal] = rest - 10 * left
        rest = left
    digits += ord("0")
    rows = np.repeat(template[None], len(curves), axis=0)
    rows[:, places] = digits.reshape(len(curves), len(places))
    text, width = rows.tobytes(), len(template)
    return [orjson.Fragment(text[start : start + width]) for start in range(0, len(text), width)]


def _whole(curves: Array) -> NDArray[np.uint32]:
    """Survival (n, t, 3) as whole numbers of the last decimal."""
    whole: NDArray[np.uint32] = np.rint(curves * 10**DECIMALS).astype(np.uint32)
    return whole


@lru_cache(REMEMBERED)
def _template(times: tuple[float, ...]) -> tuple[NDArray[np.uint8], NDArray[np.int_]]:
    """Return a curve's JSON (w,), and the places in it of each number's digits, all in a row."""
    text, places = "[", list[int]()
    for time in times:
        text += "," if places else ""
        text += f'{{"time":{orjson.dumps(time).decode()}'
        for name in NAMES:
            text += f',"{name}":'
            # One digit stands before the point.
            after = len(text) + 2
            places += [after - 2, *range(after, after + DECIMALS)]
            text += "0." + "0" * DECIMALS
        text += "}"
    return np.frombuffer(f"{text}]".encode(), np.uint8), np.array(places, dtype=int)
