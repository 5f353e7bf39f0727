"""Builders of a page's sections, figures and tables, with the texts of ``templates/words.yaml``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure as Drawing

from accomplice.data.readers.yaml_text import own_yaml
from accomplice.training.reports.page import (
    TEMPLATES,
    Figure,
    Section,
    Table,
    Verdict,
    inline_svg,
)

#: Rows of a table, the cells of each as text.
Rows = Sequence[Sequence[str]]


def section(
    page: str,
    key: str,
    verdict: Verdict,
    *items: Table | Figure | None,
    heading: str | None = None,
    sentences: Sequence[str] = (),
) -> Section:
    """Return a section with its heading and terms from ``words.yaml``.

    Args:
        page: key of the page in ``words.yaml``.
        key: key of the section under that page.
        verdict: verdict below the heading.
        items: tables and figures; None for one that has nothing to show, which is left out.
        heading: replaces the heading in ``words.yaml``.
        sentences: paragraphs below the verdict.

    Raises:
        KeyError: ``words.yaml`` lacks the page or the section.
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
    """Return a drawing with its caption from ``words.yaml``.

    Args:
        drawing: matplotlib figure.
        key: key of the caption; also makes the ids of the SVG unique.
        alt: description of the drawing, in which ``{caption}`` is replaced by the caption.

    Raises:
        KeyError: ``words.yaml`` lacks the caption.
    """
    return captioned(inline_svg(drawing, key), key, alt)


def captioned(svg: Markup, key: str, alt: str = "{caption}") -> Figure:
    """Return the SVG element of a drawing with its caption; see :func:`figure`."""
    caption = _words()["captions"][key]
    return Figure(svg, alt.replace("{caption}", caption), caption)


def table(caption: str, head: Sequence[str], rows: Rows, *, folded: bool = False) -> Table | None:
    """Return a table; None if it has no rows.

    Args:
        caption: caption of the table.
        head: headings of the columns.
        rows: cells of each row; the first is its heading.
        folded: whether the table is hidden until a click.
    """
    return Table(caption, tuple(head), rows, folded) if rows else None


@cache
def _words() -> Any:
    return own_yaml((TEMPLATES / "words.yaml").read_text(encoding="utf-8"))
