"""Figures of a review's sections, tables over time, and numbers as text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup

from accomplice.training.estimators.intervals import Estimate
from accomplice.training.evaluation.record import Curve, Review
from accomplice.training.reports import section_builders
from accomplice.training.reports.figures.review import DRAWS
from accomplice.training.reports.figures.style import house_style
from accomplice.training.reports.page import Figure, Table


class ReviewItems:
    """Builder of one review's figures and tables over time, the items of its sections.

    Args:
        review: the evaluated model's review.
        drawn: figures of this review that exist already as SVG elements, by name.
    """

    def __init__(self, review: Review, drawn: Mapping[str, Markup]) -> None:
        self.review, self.drawn = review, drawn

    def figure(self, name: str) -> Figure | None:
        """Return a figure by its name in ``DRAWS``; None if the review has nothing to draw.

        Raises:
            KeyError: there is no such name.
        """
        alt = "{caption} The numbers are in a table of this section."
        if name in self.drawn:
            return section_builders.captioned(self.drawn[name], name, alt)
        with house_style():
            drawing = DRAWS[name](self.review)
            return None if drawing is None else section_builders.figure(drawing, name, alt)

    def at_marks(self, curve: Curve) -> tuple[str, ...]:
        """Return a curve in percent as text, at the month nearest to each of ``Review.marks``.

        Each text is a dash if the curve has not one value for each of the review's months.
        """
        months = np.array(self.review.months)
        if len(curve.value) != len(months) or not np.isfinite(months).all() or not len(months):
            return tuple("–" for _ in self.review.marks)
        return tuple(f"{percent(point(curve, i).value)} %" for i in self._near())

    def over_time(self, metric: str, curves: Mapping[str, Curve]) -> Table | None:
        """Return a table of curves at the months nearest to ``Review.marks``, except month 0.

        It is None if the review has no months, or one that is not finite.

        Args:
            metric: name of the metric, for the caption.
            curves: model or baseline -> its curve.
        """
        months = np.array(self.review.months)
        if not len(months) or not np.isfinite(months).all():
            return None
        near = [i for i in self._near() if months[i] > 0]
        rows = [(name, *(f"{point(curve, i):.3f}" for i in near)) for name, curve in curves.items()]
        head = ("", *(f"month {months[i]:.0f}" for i in near))
        return section_builders.table(f"{metric} over time", head, rows, folded=True)

    def _near(self) -> list[int]:
        """Return the index of the month nearest to each of ``Review.marks``."""
        months = np.array(self.review.months)
        return [int(np.abs(months - mark).argmin()) for mark in self.review.marks]


def point(curve: Curve, i: int) -> Estimate:
    """Return the i-th value of a curve with its interval; NaN for each of them that it lacks."""
    return Estimate(
        *(c[i] if len(c) > i else math.nan for c in (curve.value, curve.low, curve.high))
    )


def number(values: Sequence[float], i: int) -> str:
    """Return the i-th of several numbers with three decimals; a dash if it is not determined."""
    return f"{values[i]:.3f}" if len(values) > i and math.isfinite(values[i]) else "–"


def percent(value: float) -> str:
    """Return a fraction in percent as text, without the sign; a dash if it is not finite."""
    return f"{100 * value:.0f}" if math.isfinite(value) else "–"


def ends(values: Sequence[float]) -> tuple[str, ...]:
    """Return the first and the last value with three significant digits; empty without values."""
    return tuple(f"{values[i]:.3g}" for i in (0, -1)) if values else ()
