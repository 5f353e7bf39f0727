"""How long work may take: a deadline handed down, and a note of what it cut short."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

#: Seconds on a clock that only goes forward.
Clock = Callable[[], float]


class Budget:
    """Seconds for a piece of work, counted from when it is made.

    Work asks it before each further step, always after the first: so the least of everything is
    done however little time there is, and a budget without end changes nothing.
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
        """Whether it ends at all."""
        return self.seconds < math.inf

    @property
    def spent(self) -> float:
        """Seconds since it began."""
        return self.clock() - self.began

    def left(self) -> float:
        """Seconds until it ends, below 0 afterwards."""
        return self.seconds - self.spent

    def share(self, part: float = 1.0, keep: float = 0.0) -> Budget:
        """Return a budget that ends after a part of what is left beyond ``keep`` seconds.

        What its work does not use is left in this one. Both note cuts in one place.
        """
        made = Budget(max(0.0, (self.left() - keep) * part), self.clock)
        made._cuts = self._cuts
        return made

    def pace(self) -> Pace:
        """Begin a row of steps."""
        return Pace(self)

    def cut(self, what: str, done: int, planned: str) -> None:
        """Note that less was done than planned; the least is kept of what is noted repeatedly."""
        least = min(done, self._cuts.get(what, (done, planned))[0])
        self._cuts[what] = least, planned

    @property
    def cuts(self) -> list[str]:
        """What was cut short, such as ``network 3 of at most 60 epochs``."""
        return [f"{what} {done} of {planned}" for what, (done, planned) in self._cuts.items()]


class Pace:
    """Says after each step whether one more would end in time, were it as long as the last."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.at = budget.clock()

    def another(self) -> bool:
        """Call it after each step."""
        now = self.budget.clock()
        last, self.at = now - self.at, now
        return self.budget.left() >= last


#: What work gets that may take as long as it takes. It is never cut, so all may share it.
UNLIMITED = Budget()
