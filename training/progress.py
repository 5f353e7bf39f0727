"""Callbacks by which long work says how far it is."""

from __future__ import annotations

from collections.abc import Callable

#: Called with the stage, how much is done and how much there is.
Tick = Callable[[str, int, int], None]
#: Called with each epoch and the folds' mean validation loss. What it raises ends the fit.
Report = Callable[[int, float], None]


def silent(stage: str, done: int, total: int) -> None:
    """Show nothing."""


def within(name: str, tick: Tick) -> Tick:
    """Return a tick whose stages are those of a part of the work, under its name."""
    return lambda stage, done, total: tick(f"{name} {stage}", done, total)


def unreported(epoch: int, loss: float) -> None:
    """Report nothing."""
