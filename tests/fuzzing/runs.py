"""Which tables are judged: kinds and seeds."""

from __future__ import annotations

from tests.fuzzing.judge import judge
from tests.fuzzing.kinds import KINDS, SOUND, make

#: One of so many tables is sound.
SOUND_PART = 3


def planned(n: int, seed: int, kind: str | None = None) -> list[tuple[str, int]]:
    """Return kind and seed of n tables: a third sound, of the other kinds alike many."""
    if kind is not None:
        return [(kind, seed + i) for i in range(n)]
    damaged = [name for name in KINDS if name not in SOUND]
    plan = []
    for i in range(n):
        among, place = (
            (SOUND, i // SOUND_PART) if i % SOUND_PART == 0 else (damaged, i - i // SOUND_PART - 1)
        )
        plan.append((among[place % len(among)], seed + place // len(among)))
    return plan


def judged(planned: tuple[str, int]) -> tuple[str, int, str]:
    """Make and judge one table; return its kind, its seed and what came of it."""
    kind, seed = planned
    return kind, seed, judge(make(kind, seed)).outcome
