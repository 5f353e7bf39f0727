"""The figure of a power simulation: power and exaggeration by number of patients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, PercentFormatter

from accomplice.training.estimators.policy import ENOUGH_POWER
from accomplice.training.power.report import about, effect
from accomplice.training.power.simulation import Needed, Power, Scenario, approximate
from accomplice.training.reports.figures.style import BLUE, INK, ORANGE, house_style


def power_curve(
    scenario: Scenario,
    at: Power,
    points: Sequence[Power],
    enough: Needed | None,
    cohort: str | None,
    *,
    synthetic: bool,
) -> Figure:
    """Draw power and exaggeration over the number of patients.

    Args:
        scenario: simulated scenario.
        at: results at the size asked about, which is marked.
        points: results of all sizes, smallest first.
        enough: size needed for the power ``ENOUGH_POWER``, marked if the search found it among the
            sizes drawn; None without an interaction.
        cohort: study and marker that size, shares and follow-up were read from; None if none.
        synthetic: whether the patients of that cohort are synthetic.
    """
    of = "" if cohort is None else f"{cohort}{' (synthetic patients)' if synthetic else ''}: "
    subtitle = f"{of}{scenario.events:.0%} events, {scenario.treated:.0%} treated\n"
    subtitle += f"hazard ratio of treatment {effect(scenario)}"
    with house_style():
        figure = Figure(figsize=(7, 5.8))
        upper, lower = figure.subplots(2, 1, height_ratios=[3, 1.3], sharex=True)
        _power(upper, scenario, at, points, enough)
        upper.set_title("Power to see the treatment-by-marker interaction\n\n", fontsize=11)
        upper.text(0, 1.02, subtitle, transform=upper.transAxes, fontsize=9, color="#555555")
        size = np.array([p.patients for p in points])
        lower.plot(size, [p.exaggeration for p in points], "o-", color=ORANGE, ms=5)
        if scenario.interaction == 0:
            lower.text(0.01, 0.5, "no interaction to exaggerate", transform=lower.transAxes)
        lower.axhline(1, color=INK, lw=1, ls="--")
        lower.set(ylabel="exaggeration\nwhere significant", ylim=(0.8, None))
        lower.set_xlabel("patients, with the expected events among those analysed")
        lower.set_xscale("log")
        lower.xaxis.set_minor_locator(NullLocator())
        shown = _labelled_sizes(points, at)
        lower.set_xticks(
            [p.patients for p in shown], [f"{p.patients}\n{p.events:.0f}" for p in shown]
        )
    return figure


def _power(
    axes: Axes, scenario: Scenario, at: Power, points: Sequence[Power], enough: Needed | None
) -> None:
    size = np.array([p.patients for p in points])
    low, high = np.array([p.interval for p in points]).T
    smooth = np.geomspace(size[0], size[-1], 200)
    line = [approximate(scenario, n) for n in smooth]
    axes.plot(smooth, line, color=INK, lw=1, label="closed form, without simulation")
    axes.vlines(size, low, high, color=BLUE, lw=2)
    axes.plot(size, [p.power for p in points], "o", color=BLUE, label="simulated, 95%")
    label = f"n = {at.patients}: {at.power:.0%}"
    axes.plot(at.patients, at.power, "o", ms=13, mfc="none", mec=BLUE, mew=1.5, label=label)
    axes.axhline(ENOUGH_POWER, color=INK, lw=1, ls=":")
    if enough is not None and enough.bound == "about" and size[0] < enough.patients < size[-1]:
        label = f"{ENOUGH_POWER:.0%} at about {about(enough.patients)} patients"
        axes.axvspan(enough.low, enough.high, color=ORANGE, alpha=0.35, lw=0, label=label)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set(ylim=(0, 1.02), ylabel="cohorts that show it")
    legend = axes.legend(loc="lower right")
    if points[-1].power < 0.6:
        legend.set_loc("center left")
    # Over the band and the grid.
    legend.set_frame_on(True)
    legend.get_frame().set(facecolor="white", edgecolor="none", alpha=0.85)


def _labelled_sizes(points: Sequence[Power], at: Power) -> list[Power]:
    """Return sizes whose labels do not overlap, the size asked about among them."""
    labelled = [at]
    least = np.log(points[-1].patients / points[0].patients) / 14
    for p in points:
        if all(abs(np.log(p.patients / other.patients)) > least for other in labelled):
            labelled.append(p)
    return labelled
