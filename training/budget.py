"""Time budgets: a deadline that is shared by parts of the work, and notes of the cuts it made."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

#: Seconds on a clock that only goes forward.
Clock = Callable[[], float]


class Budget:
    """Time budget of a piece of work, in seconds from its creation.

    It is checked before each step but the first, so that a minimum of everything is done however
    little time there is. An unlimited budget changes nothing.
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
        """Seconds since it began."""
        return self.clock() - self.began

    def left(self) -> float:
        """Seconds until it ends, below 0 afterwards."""
        return self.seconds - self.spent

    def share(self, part: float = 1.0, keep: float = 0.0) -> Budget:
        """Return a budget of a part of the seconds left, less ``keep`` seconds.

        Seconds that it does not use remain in this one. Both share one list of cuts.
        """
        made = Budget(max(0.0, (self.left() - keep) * part), self.clock)
        made._cuts = self._cuts
        return made

    def pace(self) -> Pace:
        """Begin a series of steps."""
        return Pace(self)

    def cut(self, what: str, done: int, planned: str) -> None:
        """Note that less was done than planned; of repeated notes the least is kept."""
        least = min(done, self._cuts.get(what, (done, planned))[0])
        self._cuts[what] = least, planned

    @property
    def cuts(self) -> list[str]:
        """Notes of the cuts, such as ``network 3 of at most 60 epochs``."""
        return [f"{what} {done} of {planned}" for what, (done, planned) in self._cuts.items()]


class Pace:
    """Whether, after each step, another one as long as the last would end in time."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.at = budget.clock()

    def another(self) -> bool:
        """Whether to take another step; to be called after each."""
        now = self.budget.clock()
        last, self.at = now - self.at, now
        return self.budget.left() >= last


#: The unlimited budget. It is never cut, so that one instance serves all.
UNLIMITED = Budget()
