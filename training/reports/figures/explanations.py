"""Figures of explanations: importance of features, partial effects, and pairs of features."""

from __future__ import annotations

import math

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from accomplice.data.cells.rounding import month_text
from accomplice.training.evaluation.record import PartialEffect, Review
from accomplice.training.reports.figures.performance import known, shade, subtitle
from accomplice.training.reports.figures.style import BLUE, COLOURS, INK, SOFT, heading, short

#: Maximum number of features in the figure of importance.
MOST_FEATURES = 20
#: Maximum number of panels of partial effects.
MOST_EFFECTS = 6
#: Maximum number of panels in a row.
ACROSS = 3
#: Hatches of the modalities, beside their colours.
HATCHES = ("", "//", "..", "xx", "\\\\", "++", "oo", "--")
#: The lighter part of viridis, on which dark contours and their numbers can be read.
SHADES = ListedColormap(colormaps["viridis"](np.linspace(0.3, 1, 256)))
#: Colour of contours and their numbers: dark, and not replaced by a colour of the page.
CONTOUR = "#101010"


def importance(review: Review) -> Figure | None:
    """Draw the mean size of each feature's attributions, marked by modality.

    Only the first ``MOST_FEATURES`` features of the review are drawn; None if none is defined.
    """
    shown = [i for i in review.importance if math.isfinite(i.size.value)][:MOST_FEATURES]
    if not shown:
        return None
    figure = Figure(figsize=(8.5, 1.4 + 0.28 * len(shown)))
    axes = figure.subplots()
    kinds = list(dict.fromkeys(i.modality for i in shown))
    for y, feature in enumerate(shown):
        kind = kinds.index(feature.modality)
        colour, hatch = COLOURS[kind % len(COLOURS)], HATCHES[kind % len(HATCHES)]
        size = feature.size
        axes.barh(y, size.value, height=0.7, color=colour, hatch=hatch, edgecolor=INK, lw=0.4)
        end = size.value
        if np.isfinite([size.low, size.high]).all():
            axes.hlines(y, size.low, size.high, color=INK, lw=1.4)
            end = max(end, size.high)
        axes.annotate(
            short(feature.modality, 28),
            (end, y),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
            color=SOFT,
            in_layout=False,
        )
    axes.set_yticks(range(len(shown)), [short(i.feature, 38) for i in shown])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    furthest = max(np.nanmax([i.size.value, i.size.high]) for i in shown)
    axes.set_xlim(0, 1.3 * furthest or 1)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("mean size of its part in a patient's log-hazard, 95 % interval")
    heading(figure, "Which features move predictions, and of which modality?", subtitle(review))
    return figure


def effects(review: Review) -> Figure | None:
    """Draw the first partial effects in panels with one vertical scale; None if none is defined."""
    shown = [e for e in review.effects if known(e.log_hz.value) and known(e.at)][:MOST_EFFECTS]
    if not shown:
        return None
    across = min(ACROSS, len(shown))
    down = math.ceil(len(shown) / across)
    figure = Figure(figsize=(max(3.1 * across, 5), 0.9 + 2.1 * down))
    panels = figure.subplots(down, across, sharey=True, squeeze=False).ravel()
    for axes, effect in zip(panels, shown, strict=False):
        _effect(axes, effect)
    for axes in panels[len(shown) :]:
        axes.set_visible(False)
    figure.supylabel("change of the mean log-hazard", fontsize=10)
    heading(figure, "How do predictions change with a feature's value?", subtitle(review))
    return figure


def _effect(axes: Axes, effect: PartialEffect) -> None:
    x, curve = np.array(effect.at), effect.log_hz
    axes.axhline(0, color=SOFT, lw=1)
    if effect.levels:
        if len(curve.low) == len(x) and known(curve.low):
            axes.vlines(x, curve.low, curve.high, color=BLUE, lw=2)
        axes.plot(x, curve.value, "s", color=BLUE, ms=6)
        axes.set_xticks(x, [short(level, 14) for level in effect.levels], fontsize=8.5)
        if max(map(len, effect.levels)) > 7:
            axes.tick_params(axis="x", labelrotation=20)
        axes.set_xlim(x[0] - 0.5, x[-1] + 0.5)
    else:
        shade(axes, x, curve, BLUE)
        axes.plot(x, curve.value, color=BLUE, lw=2)
        axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.set_title(short(effect.feature, 26), fontsize=9)


def surface(review: Review) -> Figure | None:
    """Draw predicted survival over the values of two features, with contours.

    None if the review has no such surface, it is undefined, or a feature has a single value.
    """
    found = review.surface
    if found is None:
        return None
    z = 100 * np.array(found.survival, dtype=float)
    if min(z.shape) < 2 or not np.isfinite(z).all():
        return None
    figure = Figure(figsize=(7.4, 5.4))
    axes = figure.subplots()
    # A constant surface gets a range of levels too.
    middle, half = (z.max() + z.min()) / 2, max((z.max() - z.min()) / 2, 0.5)
    levels = MaxNLocator(9).tick_values(middle - half, middle + half)
    filled = axes.contourf(found.at_x, found.at_y, z, levels, cmap=SHADES)
    crossed = [level for level in levels if z.min() < level < z.max()]
    if crossed:
        contours = axes.contour(found.at_x, found.at_y, z, crossed, colors=CONTOUR, linewidths=0.9)
        # At the extremes a contour is too short for its number.
        inner = [level for level in crossed if abs(level - middle) < 0.75 * half]
        axes.clabel(contours, inner, fmt="%g %%", fontsize=8.5)
    axes.grid(visible=False)
    axes.set(xlabel=short(found.x), ylabel=short(found.y))
    month = f" at {month_text(found.month)} months" if math.isfinite(found.month) else ""
    bar = figure.colorbar(filled, ax=axes, format=PercentFormatter(100, decimals=0))
    bar.set_label(f"predicted survival{month}")
    axes.set_title(
        f"departure from additivity {found.interaction} log-hazard", fontsize=9, fontweight="normal"
    )
    title = f"{short(found.x, 24)} × {short(found.y, 24)}: what do they do together?"
    heading(figure, title, subtitle(review))
    return figure
