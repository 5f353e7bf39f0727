"""Parse event indicators from the codings in common use."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from accomplice.data.study_parts import Level, as_level

#: Whole cell in lower case, with single blanks -> whether it means the event. Abbreviations are
#: those of registries, such as DOD (dead of disease), NED (no evidence of disease) and AWD (alive
#: with disease).
EVENT_WORDS = {
    **dict.fromkeys(("1", "true", "t", "yes", "y", "event", "uncensored", "not censored"), True),
    **dict.fromkeys(("dead", "deceased", "died", "death", "expired", "dod", "doc", "dooc"), True),
    **dict.fromkeys(("doo", "duc", "dotc", "relapse", "relapsed", "recurred", "recurrence"), True),
    **dict.fromkeys(("progressed", "progression"), True),
    **dict.fromkeys(("0", "false", "f", "no", "n", "censored", "no event", "alive"), False),
    **dict.fromkeys(("living", "live", "lives", "survived", "ned", "awd", "and", "awod"), False),
    **dict.fromkeys(("disease free", "diseasefree", "event free", "lost", "ltfu"), False),
    **dict.fromkeys(("lost to follow-up", "lost to follow up"), False),
}
#: Cells that begin with a word for death, whatever the cause, and do not call the patient free of
#: tumour or disease.
_DEATH = re.compile(r"(died|dead|deceased|death)\b(?!.*(tumou?r|disease)[ -]?free).*")
#: Cells that begin with words for alive or lost to follow-up, not followed by "or".
_NO_EVENT = re.compile(r"(alive|living|lost to follow)\b(?! or ).*")


def event_meaning(text: str) -> bool | None:
    """Return whether the text of a cell means the event; None if it is not a known coding.

    In ``1:DECEASED`` the number decides, unless the whole label is a known word of the other
    meaning, as in ``1:LIVING``: then the coding is not known.
    """
    coded = re.match(r"^([01]):(.*)", text)
    word = _plain(coded.group(1) if coded else text)
    if coded and EVENT_WORDS.get(_plain(coded.group(2)), word == "1") is not (word == "1"):
        return None
    if word in EVENT_WORDS:
        return EVENT_WORDS[word]
    if _DEATH.fullmatch(word):
        return True
    return False if _NO_EVENT.fullmatch(word) else None


def _plain(text: str) -> str:
    return " ".join(text.lower().split())


def meanings(
    cells: Iterable[object], words: Collection[str], named: Collection[Level] | None = None
) -> list[bool | str | None]:
    """Return the meaning of each distinct cell of an event's column.

    Args:
        cells: distinct cells.
        words: cells that mean missing, in lower case.
        named: values that mean the event, in any letter case, even if they are among ``words``; of
            the other cells, those in ``words`` are missing and the rest mean no event. None: the
            meaning is that of :func:`event_meaning`.

    Returns:
        For each cell True for the event, False for no event, None for missing, or, without
        ``named``, its text where that is not a known coding.
    """
    found: list[bool | str | None] = []
    events = None if named is None else {_plain(value) for value in named}
    for cell in cells:
        text = as_level(cell)
        if text.lower() in words and (events is None or _plain(text) not in events):
            found.append(None)
        elif events is not None:
            found.append(_plain(text) in events)
        else:
            meaning = event_meaning(text)
            found.append(text if meaning is None else meaning)
    return found
