"""Figures of a run: one house style, colours that the colour-blind can tell apart, n on each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from training.evaluation import NAMES, Estimate, Evaluation
from training.metrics import KaplanMeier
from training.predicted import MODEL
from training.reliability import calibration_groups
from training.standing import GROUPS

Array = NDArray[np.float64]

#: Okabe and Ito's palette.
INK, BLUE, ORANGE, GREEN, RED, SKY, PURPLE = (
    *("#222222", "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7"),
)
COLOURS = (BLUE, ORANGE, GREEN, RED, SKY, PURPLE)
STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "axes.axisbelow": True,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "legend.frameon": False,
    "figure.dpi": 120,
    "figure.constrained_layout.use": True,
}


def figures(
    evaluation: Evaluation, time: Array, event: NDArray[np.bool_], synthetic: bool
) -> Iterator[tuple[str, Figure]]:
    """Yield each figure of a run with its file name.

    Args:
        evaluation: of the run.
        time: (n,) follow-up in months.
        event: (n,) whether the event was seen.
        synthetic: written on every figure if so.
    """
    n, seen = evaluation.patients, evaluation.events
    subtitle = f"{n} {'synthetic ' if synthetic else ''}patients, {seen} events; out of fold"
    drawers: dict[str, Callable[[], Figure]] = {
        "risk_groups.png": lambda: risk_groups(evaluation, time, event, subtitle),
        "calibration.png": lambda: calibration(evaluation, time, event, subtitle),
        "brier.png": lambda: brier(evaluation, subtitle),
        "models.png": lambda: models(evaluation, subtitle),
    }
    for name, draw in drawers.items():
        with house_style():
            yield name, draw()


def trial_history(scores: list[float], defaults: float | None) -> Figure:
    """Score of each completed trial of a study, the best so far, and the score of the defaults."""
    with house_style():
        figure = Figure(figsize=(7, 4))
        axes = figure.subplots()
        number = np.arange(len(scores))
        axes.plot(number, scores, "o", color=SKY, label="trial")
        best = np.minimum.accumulate(scores)
        axes.step(number, best, where="post", color=BLUE, lw=2, label="best so far")
        if defaults is not None:
            axes.axhline(defaults, color=INK, lw=1, ls="--", label="defaults")
        axes.set(xlabel="completed trial", ylabel="integrated Brier score (lower is better)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        titles(axes, "Trials of the study", "each judged out of fold, on the same folds")
        axes.legend()
        return figure


@contextmanager
def house_style() -> Iterator[None]:
    """Draw in the project's style inside."""
    with mpl.rc_context(STYLE):
        yield


def risk_groups(
    evaluation: Evaluation, time: Array, event: NDArray[np.bool_], subtitle: str
) -> Figure:
    """Kaplan–Meier curves of thirds of the predicted risk, with numbers at risk."""
    figure = Figure(figsize=(7, 5.4))
    upper, lower = figure.subplots(2, 1, height_ratios=[5, 1.2], sharex=True)
    third = np.digitize(evaluation.risk, np.quantile(evaluation.risk, [1 / 3, 2 / 3]))
    months = np.linspace(0, evaluation.horizon, 200)
    marks = np.linspace(0, evaluation.horizon, 6)
    for g, (name, colour) in enumerate(zip(GROUPS, (BLUE, ORANGE, RED), strict=True)):
        rows = third == g
        if not rows.any():
            continue
        curve = KaplanMeier.fit(time[rows], event[rows])
        low, high = curve.interval(months)
        upper.step(months, curve.at(months), where="post", color=colour, lw=2, label=f"{name} risk")
        upper.fill_between(months, low, high, step="post", color=colour, alpha=0.15, lw=0)
        for mark in marks:
            lower.text(mark, 2 - g, str(int((time[rows] >= mark).sum())), ha="center", va="center")
    upper.set(ylim=(0, 1.02), ylabel="survival (Kaplan–Meier)")
    titles(upper, "Observed survival by predicted risk, in thirds", subtitle)
    upper.legend(loc="lower left")
    lower.set(yticks=[2, 1, 0], ylim=(-0.6, 2.6), xlabel="months", xticks=np.round(marks))
    lower.set_yticklabels([f"{g} risk" for g in GROUPS])
    lower.set_title("Patients at risk", fontsize=9, fontweight="normal")
    lower.grid(visible=False)
    lower.spines[["left", "bottom"]].set_visible(False)
    lower.tick_params(length=0)
    return figure


def calibration(
    evaluation: Evaluation, time: Array, event: NDArray[np.bool_], subtitle: str
) -> Figure:
    """Predicted against observed survival in groups, at the middle of the judged horizon."""
    figure = Figure(figsize=(5.6, 5.6))
    axes = figure.subplots()
    at = evaluation.calibration_time
    count = int(np.clip(evaluation.events // 15, 3, 10))
    groups = calibration_groups(event, time, evaluation.survival, at, count)
    axes.plot([0, 1], [0, 1], color=INK, lw=1, ls="--", label="perfect")
    known = ~np.isnan(groups.low) & ~np.isnan(groups.high)
    axes.vlines(groups.predicted[known], groups.low[known], groups.high[known], color=BLUE, lw=1.5)
    axes.plot(groups.predicted, groups.observed, "o", color=BLUE, label=f"{count} groups, 95 %")
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.set(xlabel="predicted survival", ylabel="observed survival (Kaplan–Meier)")
    titles(axes, f"Calibration at {at:.0f} months", subtitle)
    axes.legend(loc="upper left", title=f"slope {evaluation.calibration_slope:.2f}")
    return figure


def brier(evaluation: Evaluation, subtitle: str) -> Figure:
    """Brier score over time, of the model and the baselines."""
    figure = Figure(figsize=(7, 4.4))
    axes = figure.subplots()
    names = [MODEL, *evaluation.gains]
    for name, colour in zip(names, (BLUE, INK, ORANGE, GREEN, RED, SKY, PURPLE), strict=False):
        score = evaluation.scores[name]
        label = f"{name} (integrated {score.ibs.value:.3f})"
        width = 2.4 if name == MODEL else 1.4
        axes.plot(evaluation.times, score.brier, color=colour, lw=width, label=label)
    axes.set(xlabel="months", ylabel="Brier score (lower is better)", ylim=(0, None))
    titles(axes, "Prediction error over time", subtitle)
    axes.legend(loc="lower right")
    return figure


def models(evaluation: Evaluation, subtitle: str) -> Figure:
    """Uno's C and integrated Brier score of every model, with 95 % intervals."""
    figure = Figure(figsize=(8.4, 1.6 + 0.42 * len(evaluation.scores)))
    for axes, metric in zip(figure.subplots(1, 2, sharey=True), ("uno_c", "ibs"), strict=True):
        for row, (name, score) in enumerate(evaluation.scores.items()):
            estimate: Estimate = getattr(score, metric)
            colour = BLUE if name == MODEL else INK
            axes.hlines(row, estimate.low, estimate.high, color=colour, lw=2)
            axes.plot(estimate.value, row, "o", color=colour)
        axes.set_yticks(range(len(evaluation.scores)), list(evaluation.scores))
        better = "higher" if metric == "uno_c" else "lower"
        axes.set_xlabel(f"{NAMES[metric][0].upper()}{NAMES[metric][1:]} ({better} is better)")
        axes.xaxis.set_major_locator(MaxNLocator(5))
    figure.axes[0].invert_yaxis()
    figure.suptitle(
        f"All models, 95 % intervals\n{subtitle}", ha="left", x=0.01, fontsize=10, fontweight="bold"
    )
    return figure


def titles(axes: Axes, title: str, subtitle: str) -> None:
    """Write what a figure shows, and of whom, above it."""
    axes.set_title(f"{title}\n", fontsize=11)
    axes.text(0, 1.02, subtitle, transform=axes.transAxes, fontsize=9, color="#555555")
