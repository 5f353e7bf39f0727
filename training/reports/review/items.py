"""What the sections of a review's page are put together from: figures, tables, numbers in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure as Drawing

from accomplice.training.estimators.intervals import Estimate
from accomplice.training.evaluation.record import Curve, Review
from accomplice.training.reports.figures.review import DRAWS
from accomplice.training.reports.figures.style import house_style
from accomplice.training.reports.page import Figure, Section, Table, Verdict, inline_svg
from accomplice.training.reports.review.terms import TERMS

Item = Table | Figure


class Items:
    """Makes the parts of one record's sections."""

    def __init__(self, review: Review, drawn: Mapping[str, Drawing]) -> None:
        self.review, self.drawn = review, drawn

    def section(
        self,
        key: str,
        heading: str,
        verdict: Verdict,
        *items: Item,
        sentences: tuple[str, ...] = (),
    ) -> Section:
        """Put a section together, with the words that are explained in it."""
        return Section(heading, verdict, sentences, tuple(items), TERMS.get(key, ()))

    def figure(self, name: str, caption: str) -> tuple[Item, ...]:
        """Draw a figure; none where the record has nothing to draw."""
        with house_style():
            drawing = self.drawn.get(name) or DRAWS[name](self.review)
            if drawing is None:
                return ()
            alt = f"{caption} The numbers are in a table of this section."
            return (Figure(inline_svg(drawing, name), alt, caption),)

    def marks(self) -> tuple[str, ...]:
        """Name the marks, as columns of a table."""
        return tuple(f"month {m:.0f}" for m in self.review.marks)

    def at_marks(self, curve: Curve) -> tuple[str, ...]:
        """Percents at the marks, each at the nearest month of the curve."""
        months = np.array(self.review.months)
        if len(curve.value) != len(months) or not np.isfinite(months).all() or not len(months):
            return tuple("–" for _ in self.review.marks)
        near = [int(np.abs(months - m).argmin()) for m in self.review.marks]
        return tuple(f"{percent(point(curve, i).value)} %" for i in near)

    def over_time(self, what: str, curves: Mapping[str, Curve]) -> tuple[Item, ...]:
        """Return a table of curves at the marks."""
        months = np.array(self.review.months)
        if not len(months) or not np.isfinite(months).all():
            return ()
        near = [int(np.abs(months - m).argmin()) for m in self.review.marks]
        near = [i for i in near if months[i] > 0]
        rows = [(name, *(f"{point(curve, i):.3f}" for i in near)) for name, curve in curves.items()]
        head = ("", *(f"month {months[i]:.0f}" for i in near))
        return table(f"{what} over time", head, rows, folded=True)


def table(
    caption: str, head: tuple[str, ...], rows: Sequence[Sequence[str]], *, folded: bool = False
) -> tuple[Item, ...]:
    """Return a table, none where it has no rows."""
    return (Table(caption, head, rows, folded),) if rows else ()


def point(curve: Curve, i: int) -> Estimate:
    """Return one point of a curve with its interval."""
    return Estimate(
        *(c[i] if len(c) > i else math.nan for c in (curve.value, curve.low, curve.high))
    )


def place(values: Sequence[float], i: int) -> str:
    """Write one of several numbers, a dash where it is not determined."""
    return f"{values[i]:.3f}" if len(values) > i and math.isfinite(values[i]) else "–"


def percent(value: float) -> str:
    """Write a part of 1 in percent, a dash where it is not determined."""
    return f"{100 * value:.0f}" if math.isfinite(value) else "–"


def ends(values: Sequence[float]) -> tuple[str, ...]:
    """Write the first and the last of some values."""
    return tuple(f"{values[i]:.3g}" for i in (0, -1)) if values else ()
