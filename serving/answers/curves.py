"""Survival curves of answers: their months, their decimals, and their JSON."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import orjson
from numpy.typing import NDArray

from accomplice.data.arrays import Array, Ints

#: Maximum of a curve's points, without the times of the request.
POINTS = 40
#: Decimals of a curve's points: half the length of all digits, and more than can be drawn.
DECIMALS = 8
#: The two digits of each number below a hundred.
PAIRS = np.frombuffer("".join(f"{i:02d}" for i in range(100)).encode(), np.uint16)
#: Months between two points of a curve; the smallest that makes at most ``POINTS`` is taken.
STEPS = (1, 2, 3, 6, 12, 24, 60, 120, 240, 600, 1200)
#: Names of a point's numbers.
NAMES = ("survival", "low", "high")
#: Templates in the cache: most requests have the same months.
REMEMBERED = 64


def grid(horizon: float) -> tuple[float, ...]:
    """Return the months of a curve: from 0 to the horizon in even steps."""
    step = next((s for s in STEPS if horizon / s <= POINTS), horizon / POINTS)
    return (*np.arange(0.0, horizon, step).tolist(), horizon)


def merge_times(grid: Sequence[float], asked: Sequence[float]) -> list[float]:
    """Return the times of the grid and of a request, rising, each once."""
    return sorted({*grid, *asked})


def write_curves(times: Sequence[float], curves: Array) -> list[orjson.Fragment]:
    """Write survival and its interval (n, t, 3) at months (t,) as each patient's JSON.

    A list has too many points to make an object or a text of each number: all digits are computed
    as arrays and written into copies of one template.
    """
    template, ones, decimals = _template(tuple(times))
    rest = np.rint(curves * 10**DECIMALS).astype(np.uint32).reshape(len(curves), len(ones))
    pairs = np.empty((*rest.shape, DECIMALS // 2), np.uint16)
    for pair in range(DECIMALS // 2 - 1, -1, -1):
        left = rest // 100
        pairs[..., pair] = PAIRS.take(rest - 100 * left)
        rest = left
    rows = np.repeat(template[None], len(curves), axis=0)
    rows[:, ones] = rest + ord("0")
    rows[:, decimals] = pairs.view(np.uint8).reshape(len(curves), len(decimals))
    text, width = rows.tobytes(), len(template)
    return [orjson.Fragment(text[start : start + width]) for start in range(0, len(text), width)]


@lru_cache(REMEMBERED)
def _template(times: tuple[float, ...]) -> tuple[NDArray[np.uint8], Ints, Ints]:
    """Return a curve's JSON (w,), and the positions in it of the digits of c numbers.

    They are those of the digits before (c,) and after (c * DECIMALS,) the decimal points.
    """
    text, ones, decimals = "[", list[int](), list[int]()
    for time in times:
        text += "," if ones else ""
        text += f'{{"time":{orjson.dumps(time).decode()}'
        for name in NAMES:
            text += f',"{name}":'
            ones.append(len(text))
            text += "0."
            decimals += range(len(text), len(text) + DECIMALS)
            text += "0" * DECIMALS
        text += "}"
    made = np.frombuffer(f"{text}]".encode(), np.uint8)
    return made, np.array(ones, dtype=np.intp), np.array(decimals, dtype=np.intp)
