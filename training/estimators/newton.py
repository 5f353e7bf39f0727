"""Newton's method with step halving, for one or many concave log-likelihoods at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from accomplice.data.arrays import Array, Bools, Ints

#: Default maximum number of evaluations, halved steps included.
EVALUATIONS = 50
#: Gain of a step, as a fraction of 1 + |value|, below which :func:`climb` ends.
GAINED = 1e-10

Newton = Callable[[Bools], tuple[Array, Bools]]
"""Mask (r,) of the s accepted points among the r just evaluated -> Newton's steps (s, p) from them,
and whether each ascent ends there (s,) by its stopping rule. Called once for an accepted point."""
Evaluate = Callable[[Ints, Array], tuple[Array, Newton]]
"""Indices (r,) of functions and a point (r, p) of each -> the functions' values (r,), and the
callable for the steps, which cost more than the values and are not always needed."""


class Ascent(NamedTuple):
    """End points of m ascents."""

    point: Array
    """(m, p) last accepted point."""
    step: Array
    """(m, p) next step from there, which was not taken."""
    converged: Bools
    """(m,) whether the ascent ended by its stopping rule, not by the maximum number of
    evaluations."""


def maximise(
    evaluate: Evaluate, start: Array, evaluations: int = EVALUATIONS, rounding: float = 0.0
) -> Ascent:
    """Maximise m concave functions of p variables, each with its own stopping rule.

    From a point x Newton's step is s = H⁻¹ g, with gradient g and negative second derivative H; its
    predicted gain is gᵀs / 2. It is halved until the function does not fall (Boyd and Vandenberghe,
    "Convex Optimization", 2004, section 9.5). A function is not evaluated after its ascent ended.

    Args:
        evaluate: the functions; see :data:`Evaluate`.
        start: (m, p) first point of each.
        evaluations: maximum number of evaluations of each function.
        rounding: fall of a function, as a fraction of 1 + |f(x)|, that counts as none.

    Example:
        >>> tops = np.array([[1.0], [5.0]])
        >>> def evaluate(rows, points):
        ...     steps = tops[rows] - points
        ...     ended = (np.abs(steps) < 1e-9).all(axis=1)
        ...     return -(steps**2).sum(axis=1), lambda accepted: (steps[accepted], ended[accepted])
        >>> maximise(evaluate, np.zeros((2, 1))).point.tolist()
        [[1.0], [5.0]]
    """
    found = Ascent(start.copy(), np.zeros(start.shape), np.zeros(len(start), dtype=bool))
    x, step = start, found.step
    rows: Ints = np.arange(len(start))
    least: Array = np.full(len(start), -np.inf)
    for _ in range(evaluations):
        trial = x + step
        values, newton = evaluate(rows, trial)
        up = values >= least
        if rounding:
            values = values - rounding * (1 + np.abs(values))
        if np.count_nonzero(up) == len(rows):
            x, least = trial, values
            step, ended = newton(up)
        else:
            x, least = np.where(up[:, None], trial, x), np.where(up, values, least)
            step, ended = step / 2, np.zeros(len(rows), dtype=bool)
            if np.count_nonzero(up):
                step[up], ended[up] = newton(up)
        over = np.count_nonzero(ended)
        if over == len(start):
            return Ascent(x, step, ended)
        if over:
            found.point[rows], found.step[rows], found.converged[rows] = x, step, ended
            left = ~ended
            rows, x, step, least = rows[left], x[left], step[left], least[left]
        if not len(rows):
            break
    found.point[rows], found.step[rows] = x, step
    return found


def climb(value: Callable[[Array], float], step: Callable[[Array], Array], start: Array) -> Array:
    """Maximise one concave function; stop after a step that gains less than `GAINED`.

    It stops after `EVALUATIONS` evaluations in any case.

    Args:
        value: the function of a point (p,).
        step: Newton's step (p,) from a point.
        start: (p,) first point.

    Returns:
        (p,) end of the ascent; ``start`` itself if no step is taken.

    Example:
        The rate at which 3 events in 12 months are the likeliest, on a log scale:

        >>> log_rate = climb(
        ...     lambda x: float(3 * x[0] - 12 * np.exp(x[0])),
        ...     lambda x: (3 - 12 * np.exp(x)) / (12 * np.exp(x)),
        ...     np.zeros(1),
        ... )
        >>> print(round(float(np.exp(log_rate[0])), 6))
        0.25
    """
    before = -math.inf

    def evaluate(_: Ints, points: Array) -> tuple[Array, Newton]:
        point = points[0]
        reached = value(point)

        def newton(_: Bools) -> tuple[Array, Bools]:
            nonlocal before
            gain, before = reached - before, reached
            if gain < GAINED * (1 + abs(reached)):
                return np.zeros_like(points), np.array([True])
            return step(point)[None], np.array([False])

        return np.array([reached]), newton

    point = maximise(evaluate, start[None]).point[0]
    return start if (point == start).all() else point
