"""Refuse event columns from which it is not clear which patients had the event."""

from __future__ import annotations

import re
from collections.abc import Collection

import pandas as pd

from accomplice.data.cells.dates import date_form
from accomplice.data.errors import InputError, some
from accomplice.data.study_parts import as_level

#: Codes that registries use for unknown.
UNKNOWN_CODES = (
    frozenset({"8", "9", "88", "98", "99", "99.9", "888", "998", "999", "999.9", "9999"})
) | {f"-{code}" for code in ("1", "8", "9", "88", "98", "99", "999", "9999")}

#: Pattern of names that leave open whether the event or censoring is flagged.
AMBIGUOUS = r"(^|_)(cens|censor|zens)(_|$)"
#: Pattern of the names of columns that flag censoring.
_CENSORED = (
    r"(^|_)(is_)?(censored|censoring|censorship|censorflag|zensiert|zensierung|zensur|censur[eé]?e?s?"
    r"|censurad[oa]s?|censura|censurat[oa]|gecensureerd)(_|$)|删失|截尾"
)
#: Pattern of the names of columns that flag patients without the event.
_NO_EVENT = (
    r"(^|_)(alive|living|survived|survivors?|surviving|no_event|noevent"
    r"|lebt|lebend|am_leben|überlebt|überlebend|vivante?|en_vie|viv[oa]|survécu|sobrevivió|in_vita"
    r"|(event|disease|relapse|recurrence|progression)_?free)(_(at|by|on|until)_\w+)?(_(status|flag|yn|ind|indicator))?$"
    r"|^(是否)?存活$"
)
#: Cells that mean yes, in lower case.
_YES = frozenset({"1", "yes", "y", "true", "t", "ja", "j", "oui", "o", "si", "sí", "sì", "s", "是"})
#: Cells that mean no, in lower case.
_NO = frozenset({"0", "no", "n", "false", "f", "nein", "non", "否"})


def refuse_unclear_codes(
    cells: pd.Series, name: str, key: str, values: Collection[str] | None, words: Collection[str]
) -> None:
    """Raise for an event column that does not code whether the event was observed.

    Args:
        cells: the column (n,).
        name: the column's name.
        key: the name, or the key that all cells begin with (``status: dead``), as
            :func:`panel.key_of` writes it.
        values: values that mean the event, named by the user; with any, nothing is refused.
        words: cells that mean missing, in lower case.

    Raises:
        InputError: the column holds dates; or its values are yes and no, and its name says that it
            flags censoring or patients without the event; or its values are whole numbers, not 0
            and 1 alone, so that it is open which one means the event.
    """
    if values:
        return
    if date_form(cells) is not None:
        raise InputError(
            f"column '{name}': it holds dates, not whether the event was seen: name a column with "
            "a value for each patient, such as 1 for the event and 0 for none"
        )
    texts = [as_level(cell) for cell in pd.unique(cells.dropna())]
    known = sorted(text for text in texts if text.lower() not in words)
    flags = {text.lower() for text in known} <= _YES | _NO
    for pattern, says in ((_CENSORED, "censoring"), (_NO_EVENT, "being without the event")):
        if flags and re.search(pattern, key) and not key.startswith(("un", "non", "not")):
            none = [text for text in known if text.lower() in _NO]
            way = f"--event-values {none[0]}" if none else "--event-values VALUE"
            raise InputError(
                f"column '{name}': its name says {says}, not the event: name the value that means "
                f"the event ({way} if this one does)"
            )
    codes = [text for text in known if text not in ("0", "1")]
    if not codes or not all(re.fullmatch(r"-?\d{1,4}", text) for text in known):
        return
    unknown = [text for text in codes if text in UNKNOWN_CODES]
    if unknown == codes and "1" in known:
        raise InputError(
            f"column '{name}': {some(unknown)} looks like a code for unknown: give --missing "
            f"{','.join(unknown)}"
        )
    raise InputError(
        f"column '{name}': its codes {some(known)} do not tell which means the event: name it "
        f"({_hint(known, unknown)})"
    )


def _hint(known: list[str], unknown: list[str]) -> str:
    """Return the option of the command line that may name the code of the event.

    Args:
        known: the column's codes, sorted as texts.
        unknown: codes in ``known`` that look like codes for unknown.
    """
    if known == ["-1", "0"]:
        return "--event-values -1, as Access writes yes"
    sure = [text for text in known if text not in unknown]
    hint = f"--event-values {sure[-1] if sure else 'VALUE'}"
    if sure == ["1", "2"]:
        hint += ", as R's survival has it, or 1"
    elif len(sure) > 2:
        hint = f"--event-values {sure[1]} for one cause, {','.join(sure[1:])} for any"
    also = f", and --missing {','.join(unknown)} if that means unknown" if unknown else ""
    return hint + also


def refuse_events_only(name: str, events: int, unknown: int) -> None:
    """Raise for an event column that is filled only where the event was observed.

    Args:
        name: the column's name.
        events: number of known cells, all of which mean the event.
        unknown: number of cells that are blank or mean missing.

    Raises:
        InputError: always.
    """
    raise InputError(
        f"column '{name}': all {events} known cells mean the event, and {unknown} are blank: if "
        "blank means no event, write 0 there, or leave those patients out of the table"
    )
