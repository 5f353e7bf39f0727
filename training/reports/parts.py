"""Sections, figures and tables of a page, with the texts of ``templates/words.yaml``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import yaml
from matplotlib.figure import Figure as Drawing

from accomplice.training.reports.page import (
    TEMPLATES,
    Figure,
    Section,
    Table,
    Verdict,
    inline_svg,
)

Rows = Sequence[Sequence[str]]


def section(
    page: str,
    key: str,
    verdict: Verdict,
    *items: Table | Figure | None,
    heading: str | None = None,
    sentences: Sequence[str] = (),
) -> Section:
    """Return a section with its terms.

    Args:
        page: whose section it is, as in the file of words.
        key: of the section there.
        verdict: the answer.
        items: tables and figures; None stands for one that has nothing to show.
        heading: the question, where it is not the file's.
        sentences: below the verdict.
    """
    words = _words()[page][key]
    return Section(
        heading or words["heading"],
        verdict,
        tuple(sentences),
        tuple(item for item in items if item is not None),
        tuple(words.get("terms", {}).items()),
    )


def figure(drawing: Drawing, key: str, alt: str = "{caption}") -> Figure:
    """Return a drawing with its caption.

    Args:
        drawing: in the house style.
        key: of the caption in the file of words; makes the drawing's ids unique.
        alt: the drawing in words, in which ``{caption}`` stands for the caption.
    """
    caption = _words()["captions"][key]
    return Figure(inline_svg(drawing, key), alt.replace("{caption}", caption), caption)


def table(caption: str, head: Sequence[str], rows: Rows, *, folded: bool = False) -> Table | None:
    """Return a table, None where it has no rows."""
    return Table(caption, tuple(head), rows, folded) if rows else None


@cache
def _words() -> Any:
    return yaml.safe_load((TEMPLATES / "words.yaml").read_text(encoding="utf-8"))
