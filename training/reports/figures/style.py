"""House style of figures: palette for the colour-blind, line styles, titles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

#: Dark text, then six colours of Okabe and Ito's palette for the colour-blind.
INK, BLUE, ORANGE, GREEN, RED, SKY, PURPLE = (
    *("#222222", "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7"),
)
#: Colours of groups, in the order in which they are used.
COLOURS = (BLUE, ORANGE, GREEN, RED, SKY, PURPLE)
#: Colours of secondary text, of the grid, and of the background.
SOFT, GRID, PAPER = "#555555", "#e6e6e6", "#ffffff"
#: Matplotlib's settings: colours that a page can replace; names are text, not formulas.
STYLE: Any = {
    "text.parse_math": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": GRID,
    "axes.axisbelow": True,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "legend.frameon": False,
    "figure.dpi": 120,
    "figure.constrained_layout.use": True,
}
#: Line styles by which curves differ also without their colours.
DASHES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (6, 1.5, 1, 1.5, 1, 1.5)), (0, (1, 0.8)))


class Line(NamedTuple):
    """Matplotlib's style of one of several curves."""

    color: str
    ls: Any
    """Line style, as in ``DASHES``."""
    lw: float
    """Line width in points."""


def trial_history(
    scores: list[float], defaults: float | None, label: str, higher_is_better: bool
) -> Figure:
    """Draw the score of a search over its completed trials.

    Args:
        scores: score of each completed trial, in their order.
        defaults: score of the default settings; None: no line is drawn.
        label: name of the score.
        higher_is_better: direction of the score.
    """
    with house_style():
        figure = Figure(figsize=(7, 4))
        axes = figure.subplots()
        number = np.arange(len(scores))
        axes.plot(number, scores, "o", color=SKY, label="trial")
        best = (np.maximum if higher_is_better else np.minimum).accumulate(scores)
        axes.step(number, best, where="post", color=BLUE, lw=2, label="best so far")
        if defaults is not None:
            axes.axhline(defaults, color=INK, lw=1, ls="--", label="defaults")
        way = "higher" if higher_is_better else "lower"
        axes.set(xlabel="completed trial", ylabel=f"{label} ({way} is better)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        titles(axes, "Trials of the study", "each judged out of fold, on the same folds")
        axes.legend()
        return figure


@contextmanager
def house_style() -> Iterator[None]:
    """Apply the project's style within the block, independent of the user's matplotlibrc."""
    with style.context(["default", STYLE]):
        yield


def titles(axes: Axes, title: str, subtitle: str) -> None:
    """Write title and subtitle above axes."""
    axes.set_title(f"{title}\n", fontsize=11)
    # In points, as the title is: a part of tall axes would reach into it.
    axes.annotate(
        subtitle, (0, 1), (0, 5), "axes fraction", "offset points", fontsize=9, color=SOFT
    )


def heading(figure: Figure, title: str, subtitle: str) -> None:
    """Write title and subtitle above all panels of a figure."""
    figure.suptitle(f"{title}\n", x=0.008, ha="left", fontsize=12, fontweight="bold")
    below = 1 - 0.28 / figure.get_figheight()
    figure.text(0.008, below, subtitle, fontsize=9, color=SOFT, va="top")


def lines(first: str, others: Iterable[str]) -> dict[str, Line]:
    """Return the style of each curve by name.

    Args:
        first: name of the curve that is emphasised.
        others: names of the other curves, which differ by dash and colour; ``first`` and repeated
            names are ignored.
    """
    colours = (INK, ORANGE, GREEN, RED, PURPLE, SKY)
    names = [name for name in dict.fromkeys(others) if name != first]
    styles = {
        name: Line(colours[i % len(colours)], DASHES[1 + i % (len(DASHES) - 1)], 1.6)
        for i, name in enumerate(names)
    }
    return {first: Line(BLUE, "-", 2.6)} | styles


def short(name: str, most: int = 40) -> str:
    """Cut a name to at most ``most`` characters, the last an ellipsis."""
    return name if len(name) <= most else f"{name[: most - 1]}…"
