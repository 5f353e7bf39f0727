"""Survival curves of answers: their months, and their JSON with a fixed number of decimals."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import orjson
from numpy.typing import NDArray

from accomplice.data.arrays import Array, Ints

#: Maximum number of steps between a curve's points, without the months of the request.
POINTS = 40
#: Decimals of survival: half the length of a float's text, and more than can be drawn.
DECIMALS = 8
#: The two digits of each number from 0 to 99, as one integer each (100,).
PAIRS = np.frombuffer("".join(f"{i:02d}" for i in range(100)).encode(), np.uint16)
#: Possible months between two points; the smallest that makes at most ``POINTS`` steps is taken. If
#: all make more, the horizon is divided into ``POINTS`` steps.
STEPS = (1, 2, 3, 6, 12, 24, 60, 120, 240, 600, 1200)
#: JSON keys of a point's probabilities.
NAMES = ("survival", "low", "high")
#: Maximum number of cached templates: most requests have the same months.
REMEMBERED = 64


def grid(horizon: float) -> tuple[float, ...]:
    """Return the months of a curve: from 0 to the horizon, in even steps but for the last."""
    step = next((s for s in STEPS if horizon / s <= POINTS), horizon / POINTS)
    return (*np.arange(0.0, horizon, step).tolist(), horizon)


def curves_json(times: Sequence[float], curves: Array) -> list[orjson.Fragment]:
    """Return the survival curve of each of n patients as JSON.

    A list of patients has too many numbers to make a Python object of each: all digits are computed
    as arrays and written into copies of one template.

    Args:
        times: (t,) months.
        curves: (n, t, 3) survival and the lower and upper end of its interval; or (n, t, 1)
            survival alone, the ends then being null.
    """
    template, ones, decimals = _template(tuple(times), curves.shape[-1])
    rest = np.rint(curves * 10**DECIMALS).astype(np.uint32).reshape(len(curves), len(ones))
    pairs = np.empty((*rest.shape, DECIMALS // 2), np.uint16)
    for pair in range(DECIMALS // 2 - 1, -1, -1):
        quotient = rest // 100
        pairs[..., pair] = PAIRS.take(rest - 100 * quotient)
        rest = quotient
    rows = np.repeat(template[None], len(curves), axis=0)
    rows[:, ones] = rest + ord("0")
    rows[:, decimals] = pairs.view(np.uint8).reshape(len(curves), len(decimals))
    text, width = rows.tobytes(), len(template)
    return [orjson.Fragment(text[start : start + width]) for start in range(0, len(text), width)]


@lru_cache(REMEMBERED)
def _template(times: tuple[float, ...], known: int) -> tuple[NDArray[np.uint8], Ints, Ints]:
    """Return the JSON of a curve with zeros for its probabilities, and the places of their digits.

    Args:
        times: (t,) months.
        known: number of the first ``NAMES`` that have probabilities; the others are null.

    Returns:
        The JSON's w bytes (w,), and the positions in it of the digits before (c,) and after
        (c * DECIMALS,) the decimal points of its c probabilities.
    """
    text, ones, decimals = "[", list[int](), list[int]()
    for time in times:
        text += "," if ones else ""
        text += f'{{"time":{orjson.dumps(time).decode()}'
        for name in NAMES[:known]:
            text += f',"{name}":'
            ones.append(len(text))
            text += "0."
            decimals += range(len(text), len(text) + DECIMALS)
            text += "0" * DECIMALS
        text += "".join(f',"{name}":null' for name in NAMES[known:]) + "}"
    made = np.frombuffer(f"{text}]".encode(), np.uint8)
    return made, np.array(ones, dtype=np.intp), np.array(decimals, dtype=np.intp)
