"""Parse event indicators from the codings in common use."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from accomplice.data.study_parts import Level, as_level

#: Words for an event and for no event; compared in lower case as whole cells.
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
#: Prefixes of cells that code several causes or states.
_EVENT = re.compile(r"(died|dead|deceased|death)\b(?!.*(tumou?r|disease)[ -]?free).*")
_NONE = re.compile(r"(alive|living|lost to follow)\b(?! or ).*")


def event_meaning(text: str) -> bool | None:
    """Return whether a cell means the event; None where it is not known.

    ``1:DECEASED`` is read by its number.
    """
    coded = re.match(r"^([01]):", text)
    word = _plain(coded.group(1) if coded else text)
    if word in EVENT_WORDS:
        return EVENT_WORDS[word]
    if _EVENT.fullmatch(word):
        return True
    return False if _NONE.fullmatch(word) else None


def _plain(text: str) -> str:
    return " ".join(text.lower().split())


def meanings(
    cells: Iterable[object], words: Collection[str], named: Collection[Level] | None = None
) -> list[bool | str | None]:
    """Return for each distinct cell: event, no event, None for missing, or a text without meaning.

    Args:
        cells: distinct cells.
        words: cells that mean missing, in lower case.
        named: the values that mean the event, in any case, where the study names them; all others
            mean none.
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
