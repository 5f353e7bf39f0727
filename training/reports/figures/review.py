"""All figures of a review by name."""

from __future__ import annotations

from collections.abc import Callable

from matplotlib.figure import Figure

from accomplice.training.evaluation.record import Review
from accomplice.training.reports.figures import explanations as explanation_plots
from accomplice.training.reports.figures import performance as performance_plots
from accomplice.training.reports.figures import subgroups as subgroup_plots

#: Function that draws one part of a review; None if the part is empty or undefined.
Draw = Callable[[Review], Figure | None]

#: Name of a figure -> function that draws it, in the order of the page.
DRAWS: dict[str, Draw] = {
    "risk_groups": performance_plots.risk_groups,
    "auc": performance_plots.auc,
    "models": subgroup_plots.models,
    "brier": performance_plots.brier,
    "calibration": performance_plots.calibration,
    "decisions": performance_plots.decisions,
    "subgroups": subgroup_plots.subgroups,
    "patterns": subgroup_plots.patterns,
    "modalities": subgroup_plots.modalities,
    "instability": subgroup_plots.instability,
    "importance": explanation_plots.importance,
    "effects": explanation_plots.effects,
    "surface": explanation_plots.surface,
}
