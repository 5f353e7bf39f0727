"""Figures of a model's performance in all patients: risk groups, calibration, errors, decisions.

Each function draws one figure from a review; it returns None if its part of the review is empty or
undefined.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from accomplice.data.arrays import Array
from accomplice.data.cells.rounding import month_text
from accomplice.training.evaluation.record import CalibrationAt, Curve, Decision, Review, RiskGroup
from accomplice.training.models.predictions import MODEL
from accomplice.training.reports.figures.style import (
    BLUE,
    INK,
    ORANGE,
    RED,
    SOFT,
    Line,
    heading,
    lines,
    short,
)
from accomplice.training.reports.wording import ici_text

T = TypeVar("T")

#: Maximum number of months that are drawn side by side; of more, evenly spaced ones are drawn.
PANELS = 3


def subtitle(review: Review) -> str:
    """Return the subtitle: cohort, endpoint, patients, events and protocol."""
    kind = "synthetic patients" if review.synthetic else "patients"
    return (
        f"{short(review.cohort)}, {short(review.endpoint, 20)}: {review.patients} {kind}, "
        f"{review.events} events; {review.protocol}"
    )


def risk_groups(review: Review) -> Figure | None:
    """Draw Kaplan–Meier curves of groups by predicted risk, with numbers at risk."""
    groups = [g for g in review.risk_groups if known(g.survival.value)]
    if not groups:
        return None
    figure = Figure(figsize=(8, 5.8))
    upper, lower = figure.subplots(2, 1, height_ratios=[5, 0.28 * len(groups) + 0.3], sharex=True)
    colours, dashes = (BLUE, ORANGE, RED, INK), ("-", "--", "-.", ":")
    for i, group in enumerate(groups):
        colour, dash = colours[i % len(colours)], dashes[i % len(dashes)]
        label = f"{_risk(group)}: {group.patients} patients, {group.events} events"
        months, curve = np.array(review.months), group.survival
        upper.step(months, curve.value, where="post", color=colour, ls=dash, lw=2.2, label=label)
        shade(upper, months, curve, colour, step=True)
        for mark, count in zip(review.marks, group.at_risk, strict=False):
            lower.text(mark, -i, str(count), ha="center", va="center", in_layout=False)
    upper.set(ylim=(0, 1.02), ylabel="event-free, as observed (Kaplan–Meier)")
    upper.yaxis.set_major_formatter(PercentFormatter(1))
    upper.legend(loc="lower left")
    lower.set(yticks=[-i for i in range(len(groups))], ylim=(0.6 - len(groups), 0.6))
    lower.set_yticklabels([_risk(g) for g in groups])
    lower.set(xlabel="months", xticks=[m for m in review.marks if np.isfinite(m)])
    lower.set_title("patients at risk", fontsize=9, fontweight="normal", color=SOFT)
    bare(lower)
    lower.tick_params(axis="y", pad=16)
    heading(figure, "Observed survival by predicted risk", subtitle(review))
    return figure


def calibration(review: Review) -> Figure | None:
    """Draw observed against predicted survival, smooth and in groups of patients, by month.

    The band is a simultaneous 95 % confidence band of its month's curve. At most ``PANELS`` months
    are drawn.
    """
    shown = _thinned([c for c in review.calibration if known(c.predicted) and known(c.observed)])
    if not shown:
        return None
    figure = Figure(figsize=(max(3.2 * len(shown), 5.2), 4.6))
    panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    for axes, at in zip(panels, shown, strict=True):
        _calibrated(axes, at)
    panels[0].set_ylabel("observed survival, %")
    heading(figure, "Do predicted probabilities come true?", subtitle(review))
    return figure


def _calibrated(axes: Axes, at: CalibrationAt) -> None:
    x, y, smooth = np.array(at.predicted), np.array(at.observed), at.smooth
    axes.plot([0, 1], [0, 1], color=INK, lw=1, ls="--")
    for place, low, high in zip(x, at.low, at.high, strict=False):
        if np.isfinite([place, low, high]).all():
            axes.vlines(place, low, high, color=BLUE if smooth is None else SOFT, lw=1.3)
    axes.plot(x, y, "o", color=BLUE if smooth is None else SOFT, ms=4)
    figures = [("slope", f"{at.slope:.2f}"), ("observed/expected", f"{at.observed_expected:.2f}")]
    if smooth is not None:
        band = Curve(value=smooth.observed, low=smooth.low, high=smooth.high)
        shade(axes, np.array(smooth.predicted), band, BLUE)
        axes.plot(smooth.predicted, smooth.observed, color=BLUE, lw=2.2)
        figures.append(("ICI, points", ici_text(smooth)))
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel="predicted survival, %")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(np.linspace(0, 1, 6), [f"{percent}" for percent in range(0, 101, 20)])
    for row, (name, text) in enumerate(reversed(figures)):
        place = (0, 1.02 + 0.065 * row)
        axes.text(*place, f"{name} {text}", transform=axes.transAxes, fontsize=8.5)
    lines_below = "\n" * len(figures)
    axes.set_title(f"{_months(at.month)}{lines_below}", fontsize=10, linespacing=1.3)


def auc(review: Review) -> Figure | None:
    """Draw the time-dependent AUC of the model, with its 95 % band, and of the baselines."""
    return _over_time(
        review,
        review.auc,
        title="How well are patients ranked, as time goes on?",
        label="AUC at this time (higher is better)",
        chance=0.5,
    )


def brier(review: Review) -> Figure | None:
    """Draw the Brier score over time of the model, with its 95 % band, and of the baselines."""
    return _over_time(
        review,
        review.brier,
        title="How large is the error of predictions, as time goes on?",
        label="Brier score (lower is better)",
    )


def _over_time(
    review: Review, curves: Mapping[str, Curve], *, title: str, label: str, chance: float = np.nan
) -> Figure | None:
    drawn = {name: curve for name, curve in curves.items() if known(curve.value)}
    if not drawn or not known(review.months):
        return None
    figure = Figure(figsize=(8, 5))
    axes = figure.subplots()
    months = np.array(review.months)
    styles = lines(MODEL, drawn)
    for name, curve in drawn.items():
        style = styles[name]
        if name == MODEL:
            shade(axes, months, curve, style.color)
        named = f"{short(name)}, with 95 % band" if name == MODEL and curve.low else short(name)
        axes.plot(months, curve.value, **style._asdict(), label=named)
    if np.isfinite(chance):
        axes.axhline(chance, color=SOFT, lw=1)
        axes.annotate(
            "chance",
            (1, chance),
            xycoords=axes.get_yaxis_transform(),
            xytext=(0, 3),
            textcoords="offset points",
            ha="right",
            color=SOFT,
            fontsize=9,
        )
    else:
        axes.set_ylim(0, None)
    axes.set(xlabel="months", ylabel=label)
    figure.legend(loc="outside lower center", ncols=3)
    heading(figure, title, subtitle(review))
    return figure


def decisions(review: Review) -> Figure | None:
    """Draw net benefit over thresholds and its gain over the strongest baseline, by month.

    At most ``PANELS`` months are drawn.
    """
    shown = _thinned([d for d in review.decisions if known(d.benefit.get(MODEL, ()))])
    if not shown:
        return None
    figure = Figure(figsize=(max(3.3 * len(shown), 5.6), 6))
    panels = figure.subplots(
        2, len(shown), height_ratios=[3, 1.8], sharex="col", sharey="row", squeeze=False
    )
    styles = lines(MODEL, [name for d in shown for name in d.benefit])
    for (upper, lower), decision in zip(panels.T, shown, strict=True):
        _net_benefit(upper, decision, styles)
        x = 100 * np.array(decision.thresholds)
        lower.axhline(0, color=INK, lw=1)
        if known(decision.gain.value):
            shade(lower, x, decision.gain, BLUE)
            lower.plot(x, decision.gain.value, color=BLUE, lw=2)
        lower.set_xlabel("acts from this risk on, %")
    top = max(_top(decision) for decision in shown)
    panels[0, 0].set(ylim=(-0.12 * top, 1.1 * top), ylabel="net benefit")
    panels[1, 0].set_ylabel(f"gain over\n{short(review.strongest or 'baseline', 24)}")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    heading(figure, "What would it be worth to act on predictions?", subtitle(review))
    return figure


def _net_benefit(axes: Axes, decision: Decision, styles: Mapping[str, Line]) -> None:
    x = 100 * np.array(decision.thresholds)
    axes.axhline(0, color=SOFT, lw=1.4, label="treat none")
    if known(decision.everybody):
        axes.plot(x, decision.everybody, color=SOFT, lw=1.4, ls=":", label="treat all")
    for name, benefit in decision.benefit.items():
        if known(benefit):
            axes.plot(x, benefit, **styles[name]._asdict(), label=short(name))
    axes.set_title(_months(decision.month), fontsize=10)


def known(values: Sequence[float] | Array) -> bool:
    """Whether at least one of the numbers is finite."""
    return bool(np.isfinite(np.asarray(values, dtype=float)).any())


def shade(axes: Axes, x: Array, curve: Curve, colour: str, *, step: bool = False) -> None:
    """Draw the band of a curve, if it has one.

    Args:
        axes: axes to draw in.
        x: (t,) positions of the curve's values.
        curve: curve with its band.
        colour: colour of the band.
        step: whether the curve is a right-continuous step function.
    """
    if len(curve.low) == len(x) and known(curve.low):
        post: Literal["post"] | None = "post" if step else None
        axes.fill_between(x, curve.low, curve.high, step=post, color=colour, alpha=0.15, lw=0)


def bare(axes: Axes) -> None:
    """Hide grid, spines and tick marks of axes that contain only text."""
    axes.grid(visible=False)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(length=0)


def _risk(group: RiskGroup) -> str:
    return group.name if "risk" in group.name else f"{group.name} risk"


def _months(month: float) -> str:
    return f"{month_text(month)} months" if np.isfinite(month) else "month unknown"


def _thinned(items: list[T]) -> list[T]:
    """Return at most ``PANELS`` items, evenly spaced, the first and the last among them."""
    if len(items) <= PANELS:
        return items
    return [items[i] for i in np.linspace(0, len(items) - 1, PANELS).round().astype(int)]


def _top(decision: Decision) -> float:
    curves = [decision.everybody, *decision.benefit.values()]
    return max([0.01, *(float(np.nanmax(curve)) for curve in curves if known(curve))])
