"""Progress callbacks of long work."""

from __future__ import annotations

from collections.abc import Callable

#: Callback with the stage, the amount done and the total.
Tick = Callable[[str, int, int], None]
#: Callback with the epoch and the folds' mean validation loss; an exception in it ends the fit.
Report = Callable[[int, float], None]


def silent(stage: str, done: int, total: int) -> None:
    """Do nothing: the default progress callback."""


def within(name: str, tick: Tick) -> Tick:
    """Return a callback for one part of the work, which puts ``name`` before each stage.

    Args:
        name: name of the part of the work.
        tick: callback for the whole work.
    """
    return lambda stage, done, total: tick(f"{name} {stage}", done, total)


def unreported(epoch: int, loss: float) -> None:
    """Do nothing: the default epoch callback."""
