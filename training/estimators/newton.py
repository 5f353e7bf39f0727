"""Newton's method with halved steps, for likelihoods that are concave."""

from __future__ import annotations

from collections.abc import Callable

from accomplice.data.arrays import Array

#: Steps at the most, halvings of each, and the relative gain that ends them.
STEPS, HALVINGS, SETTLED = 50, 30, 1e-10


def climb(value: Callable[[Array], float], step: Callable[[Array], Array], start: Array) -> Array:
    """Return where a concave function is largest.

    Args:
        value: the function of a place (p,).
        step: Newton's step (p,) from a place.
        start: (p,) where to begin.
    """
    place, reached = start, value(start)
    for _ in range(STEPS):
        whole = step(place)
        for halving in range(HALVINGS):
            trial = place + whole / 2**halving
            now = value(trial)
            if now >= reached:
                break
        else:
            break
        gained, place, reached = now - reached, trial, now
        if gained < SETTLED * (1 + abs(reached)):
            break
    return place
