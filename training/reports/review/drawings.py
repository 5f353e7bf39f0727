"""Figures of a review as the files and the parts of a page that are made of them."""

from __future__ import annotations

import io
from typing import NamedTuple

from markupsafe import Markup

from accomplice.training.evaluation.record import Review
from accomplice.training.reports.figures.review import DRAWS
from accomplice.training.reports.figures.style import house_style
from accomplice.training.reports.page import inline_svg


class Drawn(NamedTuple):
    """A figure that was drawn once for both its forms."""

    png: bytes
    """The figure as a file."""
    svg: Markup
    """The figure as an element of a page."""


def drawn(name: str, review: Review) -> Drawn | None:
    """Return a figure of a review; None if the review has nothing to draw.

    Args:
        name: name of the figure in ``DRAWS``.
        review: the record of the evaluation.

    Raises:
        KeyError: there is no such name.
    """
    with house_style():
        figure = DRAWS[name](review)
        if figure is None:
            return None
        file = io.BytesIO()
        figure.savefig(file, format="png")
        # The page reuses the layout, which halves the cost of drawing the figure.
        figure.set_layout_engine("none")
        return Drawn(file.getvalue(), inline_svg(figure, name))
