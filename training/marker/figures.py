"""Figures of the marker report; their titles and captions are made with the sections.

No point of a figure shows one patient: curves are read at evenly spaced months, and residuals are
shown only as a smooth curve.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, PercentFormatter

from accomplice.training.estimators.hazard_ratios import HazardRatio
from accomplice.training.estimators.proportional_hazards import EffectOverTime
from accomplice.training.evaluation.record import Decision
from accomplice.training.marker.added_value import WITHOUT
from accomplice.training.marker.association import Association
from accomplice.training.marker.correlation import Correlation
from accomplice.training.marker.cutpoints import CutScan
from accomplice.training.models.predictions import MODEL
from accomplice.training.reports import page
from accomplice.training.reports.figures.performance import bare, shade
from accomplice.training.reports.figures.style import (
    BLUE,
    COLOURS,
    INK,
    ORANGE,
    RED,
    SKY,
    SOFT,
    house_style,
    short,
)

#: Ticks of an axis of hazard ratios that spans less than a factor of 4.
NEAR = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.5)
#: Ticks of a longer axis of hazard ratios.
FAR = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0)
#: Largest hazard ratio of an axis, whose smallest is its inverse; values beyond are cut off.
FURTHEST = 8.0
#: Maximum number of correlations shown.
MOST_BARS = 20


def inline(key: str, draw: Callable[[], Figure], alt: str, caption: str) -> page.Figure:
    """Return a page's figure, drawn in the house style.

    Args:
        key: identifier of the figure, unique on the page.
        draw: function that makes the drawing.
        alt: description of the drawing for readers who cannot see it.
        caption: text below the drawing.
    """
    with house_style():
        return page.Figure(page.inline_svg(draw(), key), alt, caption)


def halves(association: Association) -> Figure:
    """Draw the Kaplan–Meier curves of the low and the high half, with numbers at risk."""
    figure = Figure(figsize=(7, 4.8))
    upper, lower = figure.subplots(2, 1, height_ratios=[5, 1], sharex=True)
    months = association.months
    for row, (group, colour, dash) in enumerate(
        zip(association.groups, (BLUE, ORANGE), ("-", "--"), strict=True)
    ):
        label = f"{group.name} half ({group.patients} patients, {group.events} events)"
        upper.step(months, group.survival, where="post", color=colour, lw=2.2, ls=dash, label=label)
        upper.fill_between(
            months, group.low, group.high, step="post", color=colour, alpha=0.16, lw=0
        )
        for at, count in zip(association.risk_months, group.at_risk, strict=True):
            lower.text(at, 1 - row, str(count), ha="center", va="center")
    upper.set(ylim=(0, 1.02), ylabel="event-free (Kaplan–Meier)")
    upper.yaxis.set_major_formatter(PercentFormatter(1))
    upper.legend(loc="lower left")
    lower.set(yticks=[1, 0], ylim=(-0.6, 1.6), xlabel="months", xticks=association.risk_months)
    lower.set_yticklabels([f"{g.name} half" for g in association.groups])
    lower.set_title("Patients at risk", fontsize=9, fontweight="normal")
    bare(lower)
    return figure


def cut_curve(cuts: CutScan) -> Figure:
    """Draw the hazard ratio of high against low marker over the cut-points."""
    figure = Figure(figsize=(7, 4.2))
    axes = figure.subplots()
    share = 100 * cuts.share
    value, low, high = _columns(cuts.ratios)
    axes.fill_between(share, low, high, color=BLUE, alpha=0.16, lw=0, label="95 % interval")
    axes.plot(share, value, color=BLUE, lw=2, label="hazard ratio, high against low")
    axes.plot(
        share[cuts.best], value[cuts.best], "D", color=RED, ms=8, label="best-looking cut-point"
    )
    for at, name in ((50.0, "median"), (200 / 3, "upper tertile")):
        axes.axvline(at, color=SOFT, lw=1, ls=":")
        axes.text(
            at,
            0.99,
            f" {name}",
            color=SOFT,
            fontsize=9,
            va="top",
            transform=axes.get_xaxis_transform(),
        )
    _ratio_axis(axes, "y", low, high)
    axes.set(xlabel="cut-point: patients below it, %", ylabel="hazard ratio (log scale)")
    axes.legend(loc="lower left", fontsize=9)
    return figure


def forest(
    rows: Sequence[tuple[str, HazardRatio]],
    label: str,
    *,
    pooled: str | None = None,
    band: tuple[float, float] | None = None,
) -> Figure:
    """Draw a forest plot: hazard ratios with their 95 % intervals, one in each row.

    Args:
        rows: name and hazard ratio of each row, from the top.
        label: label of the axis.
        pooled: name of the row that summarises the others, drawn as a diamond.
        band: lowest and highest hazard ratio of a shaded band.
    """
    figure = Figure(figsize=(7, 1.0 + 0.36 * len(rows)))
    axes = figure.subplots()
    known = [r for _, r in rows if r.known]
    _, lows, highs = _columns(known)
    if band is not None:
        axes.axvspan(*band, color=SKY, alpha=0.22, lw=0)
    for y, (name, ratio) in enumerate(rows):
        if not ratio.known:
            axes.text(1.0, y, "not determined", va="center", ha="center", fontsize=9, color=SOFT)
            continue
        colour, marker = (RED, "D") if name == pooled else (BLUE, "s")
        axes.hlines(y, ratio.low, ratio.high, color=colour, lw=2)
        axes.plot(ratio.value, y, marker, color=colour, ms=7)
        axes.text(
            1.02,
            y,
            str(ratio),
            va="center",
            fontsize=9,
            color=INK,
            transform=axes.get_yaxis_transform(),
        )
    axes.set_yticks(range(len(rows)), [short(name, 50) for name, _ in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    _ratio_axis(axes, "x", lows, highs)
    axes.set_xlabel(label)
    return figure


def over_time(effect: EffectOverTime, overall: HazardRatio) -> Figure:
    """Draw the hazard ratio over follow-up, beside the constant one.

    Args:
        effect: smoothed log hazard ratio over time.
        overall: hazard ratio of the model with proportional hazards.
    """
    figure = Figure(figsize=(7, 3.8))
    axes = figure.subplots()
    curves = [np.exp(np.clip(a, -4, 4)) for a in (effect.log_hr, effect.low, effect.high)]
    axes.fill_between(
        effect.months, curves[1], curves[2], color=BLUE, alpha=0.16, lw=0, label="95 % band"
    )
    axes.plot(effect.months, curves[0], color=BLUE, lw=2, label="hazard ratio at this time")
    axes.axhline(overall.value, color=ORANGE, lw=1.8, ls="--", label="one hazard ratio for all")
    _ratio_axis(axes, "y", curves[1], curves[2])
    axes.set(xlabel="months", ylabel="hazard ratio per SD (log scale)")
    axes.legend(loc="best", fontsize=9)
    return figure


def correlations(found: Sequence[Correlation]) -> Figure:
    """Draw the strongest correlations with the marker as bars, coloured by modality.

    Args:
        found: correlations, at least one, the strongest first.
    """
    shown = list(found[:MOST_BARS])
    modalities = list(dict.fromkeys(c.modality for c in shown))
    figure = Figure(figsize=(7, 1.3 + 0.27 * len(shown)))
    axes = figure.subplots()
    hatches = ("", "//", "..", "xx", "\\\\", "++")
    for i, modality in enumerate(modalities):
        rows = [y for y, c in enumerate(shown) if c.modality == modality]
        axes.barh(
            rows,
            [shown[y].value for y in rows],
            color=COLOURS[i % len(COLOURS)],
            hatch=hatches[i // len(COLOURS) % len(hatches)],
            height=0.72,
            label=modality,
        )
    for y, c in enumerate(shown):
        axes.hlines(y, c.low, c.high, color=INK, lw=1.2)
    axes.axvline(0, color=INK, lw=1)
    axes.set_yticks(range(len(shown)), [short(c.feature, 50) for c in shown])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    edge = max([0.5, *(max(abs(c.low), abs(c.high)) for c in shown)])
    lowest = min(c.low for c in shown)
    axes.set_xlim(min(0.0, lowest - 0.05), edge)
    axes.set_xlabel("Spearman's correlation with the marker")
    axes.legend(title="modality", loc="upper left", bbox_to_anchor=(1.01, 1), fontsize=9)
    return figure


def decision_curves(decision: Decision) -> Figure:
    """Draw the net benefit with and without the marker over thresholds, and the difference."""
    figure = Figure(figsize=(7, 5.4))
    upper, lower = figure.subplots(2, 1, height_ratios=[3, 2], sharex=True)
    x, gain = 100 * np.array(decision.thresholds), decision.gain
    with_it, without = (decision.benefit[name] for name in (MODEL, WITHOUT))
    upper.plot(x, decision.everybody, color=INK, lw=1.2, ls=":", label="treat all")
    upper.axhline(0, color=INK, lw=1, label="treat none")
    upper.plot(x, without, color=ORANGE, lw=2, ls="--", label="clinical model")
    upper.plot(x, with_it, color=BLUE, lw=2, label="clinical model with the marker")
    top = max(float(np.nanmax([with_it, without])), 0.05)
    upper.set(ylim=(-0.15 * top, 1.15 * top), ylabel="net benefit")
    upper.legend(loc="upper right", fontsize=9)
    shade(lower, x, gain, BLUE)
    lower.plot(x, gain.value, color=BLUE, lw=2)
    lower.axhline(0, color=INK, lw=1)
    lower.set(xlabel="risk from which on one would act, %", ylabel="gain by the marker")
    return figure


def _columns(ratios: Sequence[HazardRatio]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return values, lower and upper bounds (r,) of hazard ratios."""
    parts = [[getattr(r, k) for r in ratios] for k in ("value", "low", "high")]
    value, low, high = (np.array(p, dtype=float) for p in parts)
    return value, low, high


def _ratio_axis(axes: Axes, which: str, low: np.ndarray, high: np.ndarray) -> None:
    """Set a logarithmic axis of hazard ratios, with ticks at round values and a line at 1.

    Args:
        axes: axes of the drawing.
        which: ``x`` or ``y``.
        low: (r,) lower bounds that the axis should include.
        high: (r,) upper bounds that the axis should include.
    """
    known = np.concatenate([low[np.isfinite(low)], high[np.isfinite(high)], [0.8, 1.25]])
    ends = max(known.min(), 1 / FURTHEST) / 1.05, min(known.max(), FURTHEST) * 1.05
    ticks = [r for r in (NEAR if ends[1] / ends[0] < 4 else FAR) if ends[0] <= r <= ends[1]]
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    (axes.set_xlim if which == "x" else axes.set_ylim)(*ends)
    axis.set_ticks(ticks)
    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    axis.set_minor_formatter(NullFormatter())
    axis.set_tick_params(which="minor", length=0)
    (axes.axvline if which == "x" else axes.axhline)(1, color=INK, lw=1)
