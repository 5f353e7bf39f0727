"""Figures of the evidence on the treatment, from overlap to policy, in the order of the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from accomplice.data.cells.rounding import month_text
from accomplice.training.estimators.policy import BALANCED, COMMON, RARE
from accomplice.training.reports.figures.style import (
    BLUE,
    GREEN,
    INK,
    ORANGE,
    RED,
    house_style,
    titles,
)
from accomplice.training.treatment.evidence import Evidence
from accomplice.training.treatment.sensitivity import nearer_to_one, tipping_points

#: Function from the evidence and a subtitle to a figure.
Draw = Callable[[Evidence, str], Figure]
#: Upper limit of the axis of an unrecorded confounder's hazard ratio.
STRONGEST = 10.0
#: Matplotlib's keyword arguments for an estimate with its interval.
POINT: Any = {"fmt": "o", "capsize": 4, "lw": 2}
#: Maximum number of features in the figure of the balance; those that differ most are drawn.
MOST_FEATURES = 20


def overlap(found: Evidence, subtitle: str) -> Figure:
    """Draw mirrored histograms of both arms' propensities, and the limits of their overlap."""
    figure = Figure(figsize=(7, 4.2))
    axes = figure.subplots()
    bins = np.linspace(0, 1, 26)
    for arm, colour, sign, name in ((1, BLUE, 1, "treated"), (0, ORANGE, -1, "untreated")):
        count, _ = np.histogram(found.propensity[found.treated == arm], bins)
        look: Any = {"align": "edge", "color": colour, "alpha": 0.9}
        axes.bar(bins[:-1], sign * count, np.diff(bins), label=name, **look)
    for edge in (RARE, COMMON):
        axes.axvline(edge, color=INK, ls="--", lw=1)
    axes.axhline(0, color=INK, lw=0.8)
    axes.yaxis.set_major_formatter(lambda value, _: f"{abs(value):.0f}")
    axes.set(xlim=(0, 1), xlabel=f"chance of {found.label}, from what was known beforehand")
    axes.set_ylabel("patients")
    alike = f"{100 * found.overlap:.0f} % between the lines"
    titles(axes, f"Are there patients alike in both arms? {alike}", subtitle)
    axes.legend()
    return figure


def balance(found: Evidence, subtitle: str) -> Figure:
    """Draw each feature's difference between the arms before and after weighting (a Love plot)."""
    shown, names = found.balance, found.balance.names[:MOST_FEATURES]
    figure = Figure(figsize=(7, 1.6 + 0.26 * max(len(names), 1)))
    axes = figure.subplots()
    place = np.arange(len(names))[::-1]
    for values, marker, colour, label in (
        (shown.before, "o", ORANGE, "before weighting"),
        (shown.after, "D", BLUE, "weighted by overlap"),
    ):
        axes.plot(values[: len(names)], place, marker, color=colour, label=label)
    for edge in (-BALANCED, BALANCED):
        axes.axvline(edge, color=INK, ls="--", lw=1)
    axes.axvline(0, color=INK, lw=0.8)
    axes.set_yticks(place, list(names))
    axes.set(xlabel="treated less untreated, standard deviations")
    titles(axes, f"Are the arms alike? At most {shown.largest:.2f} apart after weighting", subtitle)
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def unrecorded(found: Evidence, subtitle: str) -> Figure:
    """Draw the tipping points of an unrecorded confounder.

    They are the hazard ratio that it must have to explain the treatment's away, against the
    difference of its prevalence between the arms. One curve is of the treatment's hazard ratio at
    the landmark; another, unless the interval includes 1, of the end of its interval nearer to 1.
    See :func:`tipping_points`.
    """
    figure = Figure(figsize=(7, 4.4))
    axes = figure.subplots()
    hr = found.hr["landmark"]
    difference, limit = np.linspace(0.01, 0.9, 300), nearer_to_one(hr)
    curves = [(hr.value, BLUE, f"moves {hr.value:.2f} to 1")]
    if limit != 1:
        curves.append((limit, ORANGE, f"moves the interval's end, {limit:.2f}, to 1"))
    for ratio, colour, name in curves:
        strength = tipping_points(ratio, difference)
        shown = strength <= STRONGEST
        axes.plot(100 * difference[shown], strength[shown], color=colour, lw=2, label=name)
    axes.set(xlim=(0, 90), ylim=(1, STRONGEST), yscale="log")
    axes.set_yticks([1, 1.5, 2, 3, 5, 10], ["1", "1.5", "2", "3", "5", "10"])
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set(xlabel="points more frequent in one arm", ylabel="hazard ratio of the trait")
    titles(axes, "How strong must an unrecorded trait be?", subtitle)
    axes.legend(loc="upper right")
    return figure


def gain(found: Evidence, subtitle: str) -> Figure:
    """Draw observed against predicted gain of survival, in quarters by predicted gain."""
    figure = Figure(figsize=(7, 4.6))
    axes = figure.subplots()
    predicted = np.array([100 * p for p, _ in found.groups])
    observed = np.array([100 * e.value for _, e in found.groups])
    ends = np.array([[100 * e.low, 100 * e.high] for _, e in found.groups]).T
    span = [min(predicted.min(), 0.0) - 3, predicted.max() + 3]
    axes.plot(span, span, color=INK, lw=1, ls="--", label="gain as predicted")
    axes.axhline(0, color=INK, lw=0.8)
    label = "a quarter of the patients, with 95 % interval"
    axes.errorbar(predicted, observed, np.abs(ends - observed), **POINT, color=BLUE, label=label)
    axes.set(
        xlabel=f"predicted gain from {found.label}, points of survival",
        ylabel="observed gain (doubly robust), points",
    )
    titles(axes, f"Do predicted gains at {month_text(found.horizon)} months come true?", subtitle)
    # Below the axes, since points and intervals may lie anywhere inside them.
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def ranking(found: Evidence, subtitle: str) -> Figure:
    """Draw u · TOC(u), a curve whose area is RATE, for the hazard ratio and for survival.

    TOC(u), the targeting operator characteristic, is the mean effect on the share u of patients
    ranked first, less that on all patients (Yadlowsky et al., "Evaluating treatment prioritization
    rules via rank-weighted average treatment effects", JASA 2025).
    """
    figure = Figure(figsize=(9, 4.4))
    left, right = figure.subplots(1, 2)
    share = np.linspace(0, 100, len(found.relative.curve))
    _curve(left, share, found.relative.curve, BLUE)
    left.set(xlabel="% ranked first by predicted hazard ratio", ylabel="gain in log-hazard, summed")
    estimate = found.relative.rate
    verdict = "shown" if found.differs else "not shown"
    left.set_title(f"Relative effect: difference {verdict}\nRATE {estimate}", fontsize=10)
    _curve(right, share, 100 * found.absolute.curve, GREEN)
    right.set(xlabel="% ranked first by predicted gain", ylabel="points of survival, summed")
    right.set_title(f"Gain of survival (Qini)\nRATE {found.absolute.rate}", fontsize=10)
    title = f"Does {found.label} do more for those ranked first?  {subtitle}"
    figure.suptitle(title, x=0.01, ha="left", fontsize=9)
    return figure


def policy(found: Evidence, subtitle: str) -> Figure:
    """Draw survival if none, all, or the patients chosen by the model were treated."""
    figure = Figure(figsize=(7, 3.4))
    axes = figure.subplots()
    names = {"none": "treat none", "all": "treat all", "model": "treat whom the\nmodel picks"}
    for y, (key, colour) in enumerate(zip(names, (ORANGE, BLUE, GREEN), strict=True)):
        estimate = found.policy[key]
        value, low, high = (100 * v for v in vars(estimate).values())
        axes.errorbar(value, y, xerr=[[value - low], [high - value]], **POINT, color=colour)
        above: Any = {"xytext": (0, 8), "textcoords": "offset points", "ha": "center"}
        axes.annotate(f"{value:.0f} %", (value, y), **above)
    axes.set_yticks(range(len(names)), list(names.values()))
    axes.set(ylim=(-0.6, len(names) - 0.3), xlabel=f"% alive at {month_text(found.horizon)} months")
    titles(axes, f"What would a rule for {found.label} be worth?", subtitle)
    return figure


def _curve(axes: Axes, share: np.ndarray, curve: np.ndarray, colour: str) -> None:
    axes.fill_between(share, 0, curve, color=colour, alpha=0.2, lw=0)
    axes.plot(share, curve, color=colour, lw=2)
    axes.axhline(0, color=RED, lw=1, ls="--")


#: Name of a figure -> function that draws it, in the order of the page.
DRAWS: dict[str, Draw] = {
    "overlap": overlap,
    "balance": balance,
    "unrecorded": unrecorded,
    "gain": gain,
    "ranking": ranking,
    "policy": policy,
}


def treatment_figures(found: Evidence, synthetic: bool) -> Iterator[tuple[str, Figure]]:
    """Yield the file name and the drawing of each figure.

    Args:
        found: evidence on the treatment.
        synthetic: whether the patients are synthetic; each subtitle then says so.
    """
    subtitle = subtitle_of(found, synthetic=synthetic)
    for name, draw in DRAWS.items():
        if name == "unrecorded" and found.unrecorded is None:
            continue
        with house_style():
            yield f"treatment_{name}.png", draw(found, subtitle)


def subtitle_of(found: Evidence, *, synthetic: bool) -> str:
    """Return the subtitle: patients and events of both arms."""
    arms, kind = found.arms, "synthetic patients" if synthetic else "patients"
    return (
        f"{arms.treated} treated and {arms.untreated} untreated {kind}, "
        f"{arms.events_treated} and {arms.events_untreated} events; out of fold"
    )
