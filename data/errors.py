"""The error for wrong input that the user can correct."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

#: Likeness of two words, 2 m / n of n letters of which m match, from which one may be meant by the
#: other: `eval` by `evaluate`, but neither `run` by `tune` nor `gender` by `grade`.
NEAR = 0.65


class InputError(ValueError):
    """Wrong input.

    The text is one line: where the fault is, what is wrong and how to correct it. It never holds a
    patient's value. The command line prints it and exits with code 2.
    """


def expect(name: str, given: object, kind: type | tuple[type, ...], wanted: str) -> None:
    """Refuse an argument of another type.

    Args:
        name: of the argument.
        given: what was given for it.
        kind: type, or types, that it may have.
        wanted: what an error says is expected.

    Raises:
        InputError: it has none of the types.

    Example:
        >>> expect("settings", ["net.members"], dict, "a mapping")
        Traceback (most recent call last):
        accomplice.data.errors.InputError: settings: a mapping is expected, got a list
    """
    if not isinstance(given, kind):
        raise InputError(f"{name}: {wanted} is expected, got {_typed(given)}")


def _typed(given: object) -> str:
    kind = type(given).__name__
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the known name most like ``name``, else ``""``."""
    by_lower = {k.lower(): k for k in known}
    hits = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=NEAR)
    return f"; did you mean '{by_lower[hits[0]]}'?" if hits else ""


def enumerated(parts: Iterable[str]) -> str:
    """Join parts of a sentence by commas and a last "and"; of none it is empty.

    Example:
        >>> enumerated(["stage"]), enumerated(["stage", "age", "sex"])
        ('stage', 'stage, age and sex')
    """
    *first, last = [*parts] or [""]
    return f"{', '.join(first)} and {last}" if first else last


def some(names: Iterable[object], most: int = 5, quote: str = "'") -> str:
    """Return quoted names in one text: the first ``most`` of them, and the number of the others."""
    listed = [f"{quote}{n}{quote}" for n in names]
    tail = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + tail
