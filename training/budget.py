"""Time budgets: a deadline shared by parts of the work, and notes on work that it cut short."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from numbers import Real

from accomplice.data.errors import InputError, expect

#: Function that returns the seconds of a monotonic clock.
Clock = Callable[[], float]


class Budget:
    """Time budget of a piece of work.

    Work checks its budget before each step but the first, so that some of every part is done,
    however short the budget is. An unlimited budget cuts nothing.

    Args:
        seconds: limit, from ``began`` on.
        clock: monotonic clock.
        began: time of the clock at which the budget begins; now if absent.
    """

    def __init__(
        self, seconds: float = math.inf, clock: Clock = time.monotonic, began: float | None = None
    ) -> None:
        self.seconds = seconds
        self.clock = clock
        self.began = clock() if began is None else began
        self._cuts: dict[str, tuple[int, str]] = {}

    @property
    def limited(self) -> bool:
        """Whether there is a limit."""
        return self.seconds < math.inf

    @property
    def spent(self) -> float:
        """Seconds since the budget began."""
        return self.clock() - self.began

    def left(self) -> float:
        """Return the seconds until the budget ends; below 0 afterwards."""
        return self.seconds - self.spent

    def share(self, part: float = 1.0, keep: float = 0.0) -> Budget:
        """Return a budget of ``part`` · (seconds left − ``keep``), at least 0 seconds.

        Seconds that the share does not use remain in this budget. Both have the same list of cuts.

        Args:
            part: share of the seconds, 0 to 1.
            keep: seconds that are set aside first.
        """
        made = Budget(max(0.0, (self.left() - keep) * part), self.clock)
        made._cuts = self._cuts
        return made

    def pace(self) -> Pace:
        """Return the pace of a series of steps that begins now."""
        return Pace(self)

    def cut(self, what: str, done: int, planned: str) -> None:
        """Note that work was cut short.

        Of several notes on the same work, the smallest ``done`` and the last ``planned`` are kept.

        Args:
            what: name of the work, such as ``network``.
            done: number of steps done.
            planned: steps planned, in words, such as ``at most 60 epochs``.
        """
        least = min(done, self._cuts.get(what, (done, planned))[0])
        self._cuts[what] = least, planned

    @property
    def cuts(self) -> list[str]:
        """Notes of the cuts, such as ``network 3 of at most 60 epochs``."""
        return [f"{what} {done} of {planned}" for what, (done, planned) in self._cuts.items()]


class Pace:
    """Pace of a series of steps: the next step is expected to take as long as the last.

    Args:
        budget: budget of the work.
    """

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.at = budget.clock()

    def another(self) -> bool:
        """Return whether a step as long as the last would end in time; call it after each step."""
        now = self.budget.clock()
        last, self.at = now - self.at, now
        return self.budget.left() >= last


#: Budget without a limit. It never collects cuts, so that one instance serves all callers.
UNLIMITED = Budget()


def limited(seconds: float) -> Budget:
    """Return a budget of a caller's seconds.

    Raises:
        InputError: the seconds are no number above 0.
    """
    expect("max_seconds", seconds, Real, "a number of seconds")
    if not seconds > 0:
        raise InputError(f"max_seconds: {seconds} is no number of seconds above 0")
    return Budget(seconds)
