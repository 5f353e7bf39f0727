"""Figures of an external validation: calibration before and after the update, and risk groups."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from accomplice.data.arrays import Array, Bools
from accomplice.data.cells.rounding import month_text
from accomplice.training.estimators.hazard import TimeGrid, survival
from accomplice.training.estimators.kaplan_meier import Censoring, observed_survival
from accomplice.training.estimators.policy import EVENTS_A_POINT
from accomplice.training.evaluation.calibration import Calibrated
from accomplice.training.evaluation.scores import Evaluation
from accomplice.training.metrics.calibration import calibration_groups
from accomplice.training.reports.figures.style import BLUE, INK, ORANGE, RED, house_style

#: Maximum number of groups in a panel of the calibration plot.
MOST_GROUPS = 8
#: Name and colour of each third of the predicted risk.
THIRDS = (("low", BLUE), ("middle", ORANGE), ("high", RED))


def calibration_figure(
    before: tuple[Calibrated, ...],
    after: tuple[Calibrated, ...] | None,
    time: Array,
    event: Bools,
    weights: Censoring,
    subtitle: str,
) -> Figure:
    """Draw observed against predicted survival, a panel for each month.

    The smooth curve has a simultaneous 95 % confidence band; points are groups of patients.

    Args:
        before: calibration of the model as trained, at each of two or more months.
        after: calibration of the updated model, each patient held out; None without an update.
        time: (n,) follow-up in months.
        event: (n,) whether the event was observed.
        weights: distribution of the n patients' censoring time.
        subtitle: text below the title.
    """
    kinds = [("as trained", before, ORANGE, -0.004, "s")]
    if after is not None:
        kinds.append(("updated, held out", after, BLUE, 0.004, "o"))
    with house_style():
        figure = Figure(figsize=(3.7 * len(before), 4.6))
        for k, axes in enumerate(figure.subplots(1, len(before), sharey=True)):
            axes.plot([0, 1], [0, 1], color=INK, lw=1, ls="--")
            events = int((event & (time <= before[k].month)).sum())
            count = int(np.clip(events // EVENTS_A_POINT, 3, MOST_GROUPS))
            for name, each, colour, shift, marker in kinds:
                alive, month = each[k].survival, each[k].month
                groups = calibration_groups(event, time, alive, month, count, censoring=weights)
                smooth = each[k].smooth
                if smooth is not None:
                    ends = smooth.predicted, smooth.low, smooth.high
                    axes.fill_between(*ends, color=colour, alpha=0.15, lw=0)
                    axes.plot(smooth.predicted, smooth.observed, color=colour, lw=2)
                drawn = ~np.isnan(groups.low) & ~np.isnan(groups.high)
                x = groups.predicted + shift
                axes.vlines(x[drawn], groups.low[drawn], groups.high[drawn], color=colour, lw=0.8)
                label = f"{name}: slope {each[k].slope.value:.2f}"
                axes.plot(x, groups.observed, marker, color=colour, label=label, ms=4)
            axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel="predicted survival")
            axes.set_title(f"{month_text(before[k].month)} months, {events} events", fontsize=10)
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), fontsize=8)
        figure.axes[0].set_ylabel("observed survival")
        _heading(figure, "Do predictions come true?", subtitle)
        return figure


def risk_figure(
    evaluation: Evaluation,
    grid: TimeGrid,
    cumulative: Array,
    time: Array,
    event: Bools,
    subtitle: str,
) -> Figure:
    """Draw observed and mean predicted survival of patients in thirds of the predicted risk.

    Args:
        evaluation: evaluation of the predictions.
        grid: time grid of the j bins.
        cumulative: (n, j + 1) the model's cumulative hazards.
        time: (n,) follow-up in months.
        event: (n,) whether the event was observed.
        subtitle: text below the title.
    """
    with house_style():
        figure = Figure(figsize=(7.4, 4.6))
        axes = figure.subplots()
        months = np.linspace(0, evaluation.horizon, 150)
        third = np.digitize(evaluation.risk, np.quantile(evaluation.risk, [1 / 3, 2 / 3]))
        for g, (name, colour) in enumerate(THIRDS):
            rows = third == g
            if not rows.any():
                continue
            weights = evaluation.censoring.weights.take(rows)
            observed = observed_survival(time[rows], event[rows], weights)
            low, high = observed.interval(months)
            label = f"{name} risk: {rows.sum()} patients, {event[rows].sum()} events"
            axes.step(months, observed.at(months), where="post", color=colour, lw=2, label=label)
            axes.fill_between(months, low, high, step="post", color=colour, alpha=0.13, lw=0)
            predicted = survival(grid.at(cumulative[rows], months)).mean(axis=0)
            axes.plot(months, predicted, color=colour, lw=1.4, ls="--")
        axes.plot([], [], color=INK, ls="--", label="predicted")
        axes.set(ylim=(0, 1.02), xlim=(0, None), xlabel="months", ylabel="survival (Kaplan–Meier)")
        axes.legend(loc="lower left", fontsize=8)
        _heading(figure, "Observed survival by predicted risk, in thirds", subtitle)
        return figure


def _heading(figure: Figure, title: str, subtitle: str) -> None:
    figure.suptitle(f"{title}\n{subtitle}", ha="left", x=0.01, fontsize=10, fontweight="bold")
