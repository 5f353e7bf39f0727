"""Rounding of a range's ends, so that they show no single patient's value, and of months."""

from __future__ import annotations

import math


def round_off(value: float, *, up: bool) -> float:
    """Return a value rounded up or down to three significant digits; 0 for one of at most 0.

    So rounded, the end of a range does not show all digits of a single patient's value. A value of
    three digits or fewer stays.

    Args:
        value: number, such as months of follow-up.
        up: whether it is rounded up; else down.

    Raises:
        ValueError: the value is NaN.
        OverflowError: the value is infinite.
    """
    if value <= 0:
        return 0.0
    decimals = 2 - math.floor(math.log10(value))
    # A quotient of powers of ten is the nearest float to the number, a product is not always.
    scaled = value * 10**decimals if decimals >= 0 else value / 10**-decimals
    near = round(scaled)
    exact = math.isclose(scaled, near, rel_tol=1e-12)
    digits = near if exact else math.ceil(scaled) if up else math.floor(scaled)
    return digits / 10**decimals if decimals >= 0 else float(digits * 10**-decimals)


def month_text(month: float) -> str:
    """Return a month as text: whole from 10 on, in two digits below, so that early ones differ.

    Example:
        >>> [month_text(month) for month in (59.98, 12.0, 2.31, 0.5)]
        ['60', '12', '2.3', '0.5']
    """
    return f"{month:.0f}" if month >= 9.95 else f"{month:.2g}"
