"""Newton's method with step halving, for one or many concave log-likelihoods at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from accomplice.data.arrays import Array, Bools, Ints

#: Maximum of evaluations, halved steps included.
EVALUATIONS = 50
#: Relative gain of a step below which :func:`climb` ends.
GAINED = 1e-10

Newton = Callable[[Bools], tuple[Array, Bools]]
"""Mask (r,) of the accepted places among those just evaluated -> Newton's steps from these (s, p),
and whether each ascent ends there (s,) by its stopping rule. Called once for an accepted place."""
Evaluate = Callable[[Ints, Array], tuple[Array, Newton]]
"""Indices (r,) of functions and a place (r, p) of each -> the functions' values (r,), and the
callable that computes the steps, which cost more and are not always needed."""


class Ascent(NamedTuple):
    """End points of m ascents."""

    place: Array
    """(m, p)."""
    step: Array
    """(m, p) the step from there that was not taken."""
    settled: Bools
    """(m,) whether the ascent ended by its rule, and not with the evaluations."""


def maximise(
    evaluate: Evaluate, start: Array, evaluations: int = EVALUATIONS, rounding: float = 0.0
) -> Ascent:
    """Maximise m concave functions of p variables, each with its own stopping rule.

    From x Newton's step is s = H⁻¹ g, of gradient g and negative second derivative H; it promises
    to gain gᵀs / 2. It is halved until the function does not fall (Boyd and Vandenberghe, "Convex
    Optimization", 2004, section 9.5). A function whose ascent has ended is evaluated no more.

    Args:
        evaluate: the functions.
        start: (m, p) where to begin.
        evaluations: of each function at most.
        rounding: fall of a function, as a part of 1 + |f(x)|, that counts as none.

    Example:
        >>> tops = np.array([[1.0], [5.0]])
        >>> def evaluate(rows, places):
        ...     steps = tops[rows] - places
        ...     ended = (np.abs(steps) < 1e-9).all(axis=1)
        ...     return -(steps**2).sum(axis=1), lambda kept: (steps[kept], ended[kept])
        >>> maximise(evaluate, np.zeros((2, 1))).place.tolist()
        [[1.0], [5.0]]
    """
    found = Ascent(start.copy(), np.zeros(start.shape), np.zeros(len(start), dtype=bool))
    x, step = start, found.step
    rows: Ints = np.arange(len(start))
    least: Array = np.full(len(start), -np.inf)
    for _ in range(evaluations):
        trial = x + step
        reached, newton = evaluate(rows, trial)
        up = reached >= least
        if rounding:
            reached = reached - rounding * (1 + np.abs(reached))
        if np.count_nonzero(up) == len(rows):
            x, least = trial, reached
            step, ended = newton(up)
        else:
            x, least = np.where(up[:, None], trial, x), np.where(up, reached, least)
            step, ended = step / 2, np.zeros(len(rows), dtype=bool)
            if np.count_nonzero(up):
                step[up], ended[up] = newton(up)
        over = np.count_nonzero(ended)
        if over == len(start):
            return Ascent(x, step, ended)
        if over:
            found.place[rows], found.step[rows], found.settled[rows] = x, step, ended
            left = ~ended
            rows, x, step, least = rows[left], x[left], step[left], least[left]
        if not len(rows):
            break
    found.place[rows], found.step[rows] = x, step
    return found


def climb(value: Callable[[Array], float], step: Callable[[Array], Array], start: Array) -> Array:
    """Maximise one concave function; stop after a step with a relative gain below GAINED.

    Args:
        value: the function of a place (p,).
        step: Newton's step (p,) from a place.
        start: (p,) where to begin; it is returned itself where no step leads up.

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

    def evaluate(_: Ints, places: Array) -> tuple[Array, Newton]:
        place = places[0]
        reached = value(place)

        def newton(_: Bools) -> tuple[Array, Bools]:
            nonlocal before
            gain, before = reached - before, reached
            if gain < GAINED * (1 + abs(reached)):
                return np.zeros_like(places), np.array([True])
            return step(place)[None], np.array([False])

        return np.array([reached]), newton

    place = maximise(evaluate, start[None]).place[0]
    return start if (place == start).all() else place
