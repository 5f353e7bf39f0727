"""Progress callbacks of long work."""

from __future__ import annotations

from collections.abc import Callable

#: Callback with the stage, the amount done and the total.
Tick = Callable[[str, int, int], None]
#: Callback with each epoch and the folds' mean validation loss. An exception ends the fit.
Report = Callable[[int, float], None]


def silent(stage: str, done: int, total: int) -> None:
    """Default progress callback: do nothing."""


def within(name: str, tick: Tick) -> Tick:
    """Return a tick whose stages are those of a part of the work, under its name."""
    return lambda stage, done, total: tick(f"{name} {stage}", done, total)


def unreported(epoch: int, loss: float) -> None:
    """Default epoch callback: do nothing."""
