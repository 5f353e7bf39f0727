"""Lines under a table that are not patients: remarks, empty rows and summaries."""

from __future__ import annotations

import re
from collections.abc import Sequence

from accomplice.data.readers.layout import is_blank

#: First cells of summary rows, in lower case.
_SUMMARY = re.compile(
    r"(grand |sub)?totals?|mean|median|average|avg|sum|sd|std|standard deviation|min|max|minimum"
    r"|maximum|(mean|median|average|min|max|sum|total)\b[ ./:()%\w-]{0,20}|mittelwert|summe|gesamt"
)

#: A text of three words, or of a word and its value, as in ``source: registry``.
_REMARK = re.compile(r"\b\w+\s*[:=]\s+\S|\b\w+\s+[^\w\s]*\w\S*\s+[^\w\s]*\w")


def is_summary(cells: Sequence[str]) -> bool:
    """Whether a row has several values, the first of which names a summary, such as ``mean``."""
    filled = [cell for cell in cells if not is_blank(cell)]
    first = filled[0].strip().lower().rstrip(" .:=") if len(filled) > 1 else ""
    return bool(_SUMMARY.fullmatch(first))


def is_remark(cells: Sequence[str]) -> bool:
    """Whether a row of four cells or more has one value, which is a remark."""
    filled = [cell for cell in cells if not is_blank(cell)]
    return len(cells) > 3 and len(filled) == 1 and bool(_REMARK.search(filled[0]))


def footer_note(rows: Sequence[Sequence[str]], line: int, *, gap: bool) -> str | None:
    """Return a note on the lines under a table; None if they may be patients.

    They may be, unless a blank line comes before them and each of them is blank, has one value or
    is a summary (:func:`is_summary`). The blank line can be the first of them.

    Args:
        rows: cells of each line, from the first that is not as wide as the header.
        line: number of the first of these lines.
        gap: whether the line above it is blank.

    Returns:
        The note; empty text if all lines are blank.
    """
    filled = [[cell for cell in cells if not is_blank(cell)] for cells in rows]
    used = [place for place, cells in enumerate(filled) if cells]
    if not used:
        return ""
    remarks = all(len(filled[place]) == 1 or is_summary(rows[place]) for place in used)
    if not remarks or not (gap or used[0] > 0):
        return None
    first, last = line + used[0], line + used[-1]
    named = f"line {first}" if first == last else f"lines {first} to {last}"
    return f"{named} under the table left out: no patients, but remarks or summaries"


def wrong_width(wrong: Sequence[tuple[int, int]], width: int) -> str:
    """Return the error text for rows that are not as wide as the header.

    Args:
        wrong: line number and number of cells of the first such rows; 0 cells if all are blank.
        width: number of cells that each row must have.
    """
    named = [
        f"line {line} has {cells} of {width} cells" if cells else f"line {line} has no value"
        for line, cells in wrong[:5]
    ]
    more = " and more" if len(wrong) > 5 else ""
    short = all(cells == 1 for _, cells in wrong)
    why = (
        "remarks, or a row cut short"
        if short
        else "a cell or a delimiter is missing, or one too many"
    )
    return f"{', '.join(named)}{more}: {why}; correct or remove the lines"
