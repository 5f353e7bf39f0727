"""Forest plots of models, subgroups and modalities, and the figure of instability.

The function of each figure is a pure function of a review; it returns None where the figure's part
of the review is empty or undefined.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator, PercentFormatter

from accomplice.data.cells.rounding import month_text
from accomplice.training.estimators.intervals import Estimate
from accomplice.training.evaluation.record import Pattern, Review
from accomplice.training.models.predictions import MODEL
from accomplice.training.reports.figures.performance import known, subtitle
from accomplice.training.reports.figures.style import (
    BLUE,
    INK,
    ORANGE,
    PAPER,
    SKY,
    SOFT,
    heading,
    short,
)

#: Intervals are cut off this many median half-widths beyond the lowest and the highest value.
FURTHEST = 3.0
#: Maximum number of subgroups, patterns or modalities in a figure.
MOST_ROWS = 40
#: Right ends of the columns of counts, as shares of the left panel's width.
COLUMNS = (0.8, 1.0)


@dataclass(frozen=True)
class Row:
    """A line of a forest plot; a line without estimates is a heading."""

    label: str
    counts: tuple[int, ...] = ()
    """Numbers for the columns beside the label, such as patients and events."""
    spans: tuple[Estimate, ...] = ()
    """An estimate with its interval for each panel."""
    colour: str = BLUE
    marker: str = "s"
    """Matplotlib's marker of the value."""
    indented: bool = False
    """Whether the label is indented, below a heading."""
    expected: tuple[float, ...] = ()
    """Value that is expected in each panel, drawn as a hollow circle; NaN: none."""


@dataclass(frozen=True)
class Panel:
    """One measure of a forest plot, with an axis of its own."""

    label: str
    reference: float = math.nan
    """Value of no effect, drawn as a solid line; NaN: no line."""
    overall: float = math.nan
    """Value among all patients, drawn as a dashed line; NaN: no line."""


def models(review: Review) -> Figure | None:
    """Draw Uno's C and the integrated Brier score of the model, its learners and the baselines."""
    if not any(known([s["uno_c"].value, s["ibs"].value]) for s in review.scores.values()):
        return None
    rows = []
    for name, score in review.scores.items():
        look = (
            (BLUE, "D") if name == MODEL else (INK, "s") if name in review.gains else (ORANGE, "o")
        )
        rows.append(Row(short(name), (), (score["uno_c"], score["ibs"]), *look))
    title = "All models: the model (diamond), its learners (circles), simple models (squares)"
    panels = (
        Panel("Uno's C (higher is better)", 0.5, _of_model(review, "uno_c")),
        Panel("integrated Brier score (lower is better)", overall=_of_model(review, "ibs")),
    )
    return _forest(review, title, rows, panels)


def subgroups(review: Review) -> Figure | None:
    """Draw calibration, Uno's C and the paired gain in integrated Brier score in each subgroup.

    The gain is over the strongest baseline. C has no line at that of all patients: it is lower
    where the patients' risks differ less, even if the model is right.
    """
    if not any(known([s.uno_c.value, s.ibs_gain.value]) for s in review.subgroups):
        return None
    rows: list[Row] = []
    for feature, groups in groupby(review.subgroups[:MOST_ROWS], key=lambda s: s.feature):
        everybody = feature == "all"
        if not everybody:
            rows.append(Row(feature))
        for group in groups:
            look = (INK, "D") if everybody else (BLUE, "s")
            label = "everybody" if everybody else group.level
            counts = (group.patients, group.events)
            spans = (group.observed_expected, group.slope, group.uno_c, group.ibs_gain)
            expected = (math.nan, math.nan, group.expected_c, math.nan)
            rows.append(Row(label, counts, spans, *look, not everybody, expected))
    whole = next((s for s in review.subgroups if s.feature == "all"), None)
    gain = f"gain in Brier score\nover {short(review.strongest or 'baseline', 22)}"
    panels = (
        Panel("observed/expected events", 1.0),
        Panel("calibration slope", 1.0),
        Panel("Uno's C\n(circle: expected)", 0.5),
        Panel(gain, 0.0, whole.ibs_gain.value if whole else math.nan),
    )
    return _forest(review, "Does it hold in subgroups?", rows, panels, ("patients", "events"))


def patterns(review: Review) -> Figure | None:
    """Draw Uno's C and the integrated Brier score by pattern of missing modalities."""
    if not any(known([p.uno_c.value, p.ibs.value]) for p in review.patterns):
        return None
    rows = [
        Row(named(p), (p.patients, p.events), (p.uno_c, p.ibs)) for p in review.patterns[:MOST_ROWS]
    ]
    panels = (
        Panel("Uno's C", 0.5, _of_model(review, "uno_c")),
        Panel("integrated Brier score", overall=_of_model(review, "ibs")),
    )
    title = "And where a modality is missing?"
    return _forest(review, title, rows, panels, ("patients", "events"))


def named(pattern: Pattern) -> str:
    """Return a pattern's name, made of its missing modalities."""
    if not pattern.missing:
        return "nothing missing"
    first, *others = pattern.missing
    more = f" and {len(others)} more" if len(others) > 1 else "".join(f", {o}" for o in others)
    return f"without {short(first, 18)}{short(more, 20)}"


def modalities(review: Review) -> Figure | None:
    """Draw the loss of Uno's C and the rise of the integrated Brier score without each modality."""
    found = [m for m in review.modalities if known([m.uno_c_loss.value, m.ibs_loss.value])]
    if not found:
        return None
    found.sort(key=lambda m: -np.nan_to_num(m.ibs_loss.value, nan=-math.inf))
    rows = [
        Row(short(m.modality, 30), (m.patients,), (m.uno_c_loss, m.ibs_loss))
        for m in found[:MOST_ROWS]
    ]
    panels = (Panel("loss of Uno's C", 0.0), Panel("rise of the integrated Brier score", 0.0))
    title = "What is lost without a modality? Right of the line it helps"
    return _forest(review, title, rows, panels, ("patients",))


def instability(review: Review) -> Figure | None:
    """Draw the spread of the ensemble's models against predicted survival, and its width."""
    found = review.instability
    if found is None or not known(found.predicted):
        return None
    figure = Figure(figsize=(8.5, 4.4))
    left, right = figure.subplots(1, 2, width_ratios=[2, 1])
    x = np.array(found.predicted)
    left.plot([0, 1], [0, 1], color=INK, lw=1, ls="--")
    left.fill_between(x, found.low, found.high, color=SKY, alpha=0.35, lw=0)
    for ends in (found.low, found.high):
        left.plot(x, ends, color=BLUE, lw=1)
    left.plot(x, x, "o", color=BLUE, ms=4)
    left.set(xlim=(0, 1), ylim=(0, 1))
    month = f" at {month_text(found.month)} months" if math.isfinite(found.month) else ""
    left.set(xlabel=f"predicted survival{month}", ylabel="middle 80 % of the models, in the mean")
    for axis in (left.xaxis, left.yaxis):
        axis.set_major_formatter(PercentFormatter(1))
    _widths(right, [100 * width for width in found.widest])
    heading(figure, "How far would another fit's answers be?", subtitle(review))
    return figure


def _widths(axes: Axes, widths: Sequence[float]) -> None:
    """Draw the 5, 25, 50, 75 and 95 % quantiles of the intervals' widths as a box with whiskers."""
    if len(widths) == 5 and np.isfinite(widths).all():
        least, lower, middle, upper, most = widths
        axes.vlines(0, least, most, color=BLUE, lw=2)
        axes.bar(0, upper - lower, bottom=lower, width=0.3, color=SKY, edgecolor=BLUE)
        axes.hlines(middle, -0.15, 0.15, color=INK, lw=2.5)
        for value, text in (
            (most, "95 % of patients below"),
            (middle, "half of patients below"),
            (least, "5 % of patients below"),
        ):
            axes.text(0.22, value, f"{value:.0f}: {text}", va="center", fontsize=9)
    axes.set(xlim=(-0.25, 1.6), xticks=[], ylim=(0, None))
    axes.set_ylabel("width of the middle 80 %\nof the models, points of survival")


def _forest(
    review: Review,
    title: str,
    rows: Sequence[Row],
    panels: Sequence[Panel],
    columns: tuple[str, ...] = (),
) -> Figure:
    """Draw a forest plot: labels and counts at the left, then one panel for each measure."""
    figure = Figure(figsize=(8.2 + 0.65 * len(panels), 1.35 + 0.27 * len(rows)))
    # Names and counts keep their width beside more panels.
    share = 0.75 + 0.275 * len(panels) if columns else 0.7
    names, *plotted = figure.subplots(
        1, 1 + len(panels), width_ratios=[share, *[1] * len(panels)], sharey=True
    )
    names.set(ylim=(len(rows) - 0.4, -0.6 - bool(columns)), xlim=(0, 1))
    names.axis("off")
    # Of all panels, which share it.
    names.yaxis.set_major_locator(NullLocator())
    # All text lies inside the axes, so the layout need not measure it.
    style: Any = {"va": "center", "fontsize": 9.5, "in_layout": False}
    places = COLUMNS[-len(columns) :] if columns else ()
    for place, column in zip(places, columns, strict=True):
        names.text(place, -1, column, ha="right", color=SOFT, **style)
    for y, row in enumerate(rows):
        left, weight = 0.06 if row.indented else 0.01, "normal" if row.spans else "bold"
        names.text(left, y, short(row.label, 36), fontweight=weight, **style)
        for place, count in zip(places, row.counts, strict=False):
            names.text(place, y, str(count), ha="right", **style)
    for k, (axes, panel) in enumerate(zip(plotted, panels, strict=True)):
        _intervals(axes, panel, k, [(y, r, r.spans[k]) for y, r in enumerate(rows) if r.spans])
        # The numbers below narrow panels would touch.
        steps = 5 if len(panels) < 3 else 2
        axes.xaxis.set_major_locator(MaxNLocator(steps, steps=[1, 2, 5, 10]))
    heading(figure, title, subtitle(review))
    return figure


def _intervals(
    axes: Axes, panel: Panel, column: int, rows: Sequence[tuple[int, Row, Estimate]]
) -> None:
    low, high = _axis_limits(panel, [span for _, _, span in rows])
    for y, row, span in rows:
        if not math.isfinite(span.value):
            axes.text(
                0.5,
                y,
                "too few to tell",
                transform=axes.get_yaxis_transform(),
                ha="center",
                va="center",
                fontsize=8.5,
                color=SOFT,
                bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1},
            )
            continue
        if known([span.low]) and known([span.high]):
            ends = max(span.low, low), min(span.high, high)
            axes.hlines(y, *ends, color=row.colour, lw=2)
            for end, cut, arrow in (
                (ends[0], span.low < low, "<"),
                (ends[1], span.high > high, ">"),
            ):
                if cut:
                    axes.plot(end, y, arrow, color=row.colour, ms=5, clip_on=False)
        wanted = row.expected[column] if row.expected else math.nan
        if low <= wanted <= high:
            axes.plot(wanted, y, "o", mfc=PAPER, mec=row.colour, ms=6)
        if low <= span.value <= high:
            axes.plot(span.value, y, row.marker, color=row.colour, ms=6)
    if math.isfinite(panel.reference):
        axes.axvline(panel.reference, color=INK, lw=1)
    if math.isfinite(panel.overall):
        axes.axvline(panel.overall, color=SOFT, lw=1, ls="--")
    axes.set_xlim(low, high)
    axes.set_xlabel(panel.label)
    axes.spines["left"].set_visible(False)


def _axis_limits(panel: Panel, spans: Sequence[Estimate]) -> tuple[float, float]:
    """Return limits of an axis that hold all values, and their intervals up to ``FURTHEST``."""
    values = [s.value for s in spans if math.isfinite(s.value)]
    marked = [v for v in (panel.reference, panel.overall) if math.isfinite(v)]
    inside = [s for s in spans if np.isfinite([s.value, s.low, s.high]).all()]
    if not values:
        return (min(marked) - 1, max(marked) + 1) if marked else (0.0, 1.0)
    usual = float(np.median([(s.high - s.low) / 2 for s in inside])) if inside else 0.0
    low = max(min(values) - FURTHEST * usual, min([s.low for s in inside], default=math.inf))
    high = min(max(values) + FURTHEST * usual, max([s.high for s in inside], default=-math.inf))
    low, high = min(low, *values, *marked), max(high, *values, *marked)
    margin = 0.04 * (high - low) or 0.01
    return low - margin, high + margin


def _of_model(review: Review, metric: str) -> float:
    scores = review.scores.get(MODEL, {})
    return scores[metric].value if metric in scores else math.nan
