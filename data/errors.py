"""The error for wrong input that the user can correct."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

#: Minimum similarity of two words for one to be suggested for the other: 2 m / n, with n the number
#: of letters of both and m the number that match (difflib's ratio). `evaluate` is suggested for
#: `eval`, but neither `tune` for `run` nor `grade` for `gender`.
NEAR = 0.65


class InputError(ValueError):
    """Wrong input.

    The text is one line: where the fault is, what is wrong and how to correct it. It repeats no
    patient's value, but may name the levels and codes of a column. The command line prints it and
    exits with code 2.
    """


def expect(name: str, given: object, kind: type | tuple[type, ...], wanted: str) -> None:
    """Refuse an argument of another type.

    Args:
        name: name of the argument.
        given: value given for the argument.
        kind: type, or types, that the value may have.
        wanted: text for the error: the kind of value that is expected.

    Raises:
        InputError: the value has none of the types.

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
    """Return ``"; did you mean 'x'?"`` for the known name most like ``name``.

    Letter case makes no difference. The text is empty if no name's similarity reaches :data:`NEAR`.

    Args:
        name: name that is not known.
        known: the known names.
    """
    by_lower = {k.lower(): k for k in known}
    hits = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=NEAR)
    return f"; did you mean '{by_lower[hits[0]]}'?" if hits else ""


def counted(n: int, one: str, many: str = "") -> str:
    """Return a number with its noun as text.

    Args:
        n: number of things.
        one: noun for one of them.
        many: noun for several; without it, ``one`` and an s.

    Example:
        >>> counted(1, "feature"), counted(3, "modality", "modalities")
        ('1 feature', '3 modalities')
    """
    return f"{n} {one if n == 1 else many or one + 's'}"


def enumerated(parts: Iterable[str]) -> str:
    """Join parts of a sentence by commas and a last "and"; without parts the text is empty.

    Example:
        >>> enumerated(["stage"]), enumerated(["stage", "age", "sex"])
        ('stage', 'stage, age and sex')
    """
    *first, last = [*parts] or [""]
    return f"{', '.join(first)} and {last}" if first else last


def some(names: Iterable[object], most: int = 5, quote: str = "'") -> str:
    """Return quoted names in one text: the first ``most`` of them, and the number of the others.

    Args:
        names: the names.
        most: number of names that are listed.
        quote: mark before and after each name.
    """
    listed = [f"{quote}{n}{quote}" for n in names]
    tail = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + tail
