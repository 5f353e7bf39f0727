"""The figure of a response endpoint: discrimination, calibration, predictive values."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from accomplice.data.arrays import Array, Bools
from accomplice.training.estimators.intervals import wilson
from accomplice.training.estimators.policy import CALLS_TO_DRAW
from accomplice.training.evaluation.response import (
    ResponseEvaluation,
    by_score,
    calibration_groups,
)
from accomplice.training.reports.figures.style import BLUE, GREEN, INK, ORANGE, house_style

#: Patients of the rarer label for each group of the calibration plot, beyond two groups.
GROUP_RARER = 8
#: Maximum number of groups of the calibration plot.
GROUPS = 6


def response_figure(
    evaluation: ResponseEvaluation, label: Array, probability: Array, name: str, synthetic: bool
) -> Figure:
    """Draw ROC curve, calibration and predictive values of out-of-fold probabilities.

    Args:
        evaluation: evaluation of these probabilities.
        label: (n,) 1, 0, or NaN for unlabelled patients.
        probability: (n,) out-of-fold probability of a positive label.
        name: name of the endpoint.
        synthetic: whether the patients are synthetic; the title then says so.
    """
    known = ~np.isnan(label)
    positive, chance = label[known] == 1, probability[known]
    with house_style():
        figure = Figure(figsize=(13, 4.9))
        roc, calibration, values = figure.subplots(1, 3)
        _roc(roc, evaluation, positive, chance)
        _calibration(calibration, evaluation, positive, chance)
        _predictive_values(values, positive, chance)
        patients = f"{'synthetic ' if synthetic else ''}labelled patients"
        figure.suptitle(
            f"{name}: {evaluation.labelled} {patients}, {evaluation.positive} positive; "
            "out of fold; exploratory",
            ha="left",
            x=0.01,
            fontsize=12,
            fontweight="bold",
        )
        return figure


def _roc(axes: Axes, evaluation: ResponseEvaluation, positive: Bools, chance: Array) -> None:
    _, cases, controls = by_score(positive, chance)
    true, false = (
        np.append(0, np.cumsum(part[::-1])) / max(part.sum(), 1) for part in (cases, controls)
    )
    axes.plot([0, 1], [0, 1], color=INK, lw=1, ls="--", label="chance")
    axes.plot(false, true, color=BLUE, lw=2, label="model")
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axes.set(xlabel="negative patients called (1 - specificity)")
    axes.set(ylabel="positive patients called (sensitivity)")
    found = evaluation.estimates["auroc"]
    axes.set_title(f"AUROC {found.value:.2f} ({found.low:.2f} to {found.high:.2f})", fontsize=11)
    axes.legend(loc="lower right")


def _calibration(
    axes: Axes, evaluation: ResponseEvaluation, positive: Bools, chance: Array
) -> None:
    rarer = min(int(positive.sum()), int((~positive).sum()))
    count = int(np.clip(rarer // GROUP_RARER, 2, GROUPS))
    groups = calibration_groups(positive, chance, count)
    top = min(1.0, 1.1 * float(max(groups.high.max(), groups.predicted.max())))
    axes.plot([0, top], [0, top], color=INK, lw=1, ls="--", label="perfect")
    axes.vlines(groups.predicted, groups.low, groups.high, color=BLUE, lw=1.5)
    axes.plot(groups.predicted, groups.observed, "o", color=BLUE, label="group, 95 %")
    for x, y, size in zip(groups.predicted, groups.high, groups.size, strict=True):
        above: Any = {"xytext": (0, 3), "textcoords": "offset points"}
        axes.annotate(f"n={size}", (x, y), ha="center", fontsize=8, **above)
    axes.set(xlim=(0, top), ylim=(0, top), aspect="equal")
    axes.set(xlabel="predicted probability", ylabel="observed rate")
    slope = evaluation.estimates["calibration_slope"].value
    axes.set_title(f"Calibration, slope {slope:.2f}", fontsize=11)
    axes.legend(loc="lower right")


def _predictive_values(axes: Axes, positive: Bools, chance: Array) -> None:
    """Draw PPV and NPV at thresholds with ``CALLS_TO_DRAW`` patients or more on that side."""
    cuts, cases, controls = by_score(positive, chance)
    total = cases + controls
    called, found = np.cumsum(total[::-1])[::-1], np.cumsum(cases[::-1])[::-1]
    others, spared = np.cumsum(total) - total, np.cumsum(controls) - controls
    sides = (
        ("PPV: called who are positive", ORANGE, found, called),
        ("NPV: others who are negative", GREEN, spared, others),
    )
    for label, colour, right, size in sides:
        enough = size >= CALLS_TO_DRAW
        if not enough.any():
            continue
        low, high = wilson(right[enough], size[enough])
        axes.plot(cuts[enough], right[enough] / size[enough], color=colour, lw=2, label=label)
        axes.fill_between(cuts[enough], low, high, color=colour, alpha=0.15, lw=0)
    rate = float(positive.mean())
    axes.axhline(rate, color=INK, lw=1, ls="--", label=f"observed rate {rate:.2f}")
    # The upper limit leaves space for the legend above the curves.
    axes.set(ylim=(0, 1.3), yticks=np.linspace(0, 1, 6), box_aspect=1)
    axes.set(xlabel="called from this predicted probability on", ylabel="part right")
    axes.set_title("What a call is worth, 95 %", fontsize=11)
    axes.legend(loc="upper left", fontsize=9)
