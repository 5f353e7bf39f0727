"""Texts of a power simulation: its assumptions, table, conclusion, and record."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table

from accomplice.training.estimators.policy import ENOUGH_POWER
from accomplice.training.power.simulation import Needed, Power, Scenario, approximate


def assumptions(scenario: Scenario, draws: int, marker: str | None = None) -> list[str]:
    """Return the assumptions of the simulation and its analysis in a few lines.

    Args:
        scenario: of the simulation.
        draws: cohorts of each size.
        marker: its name in the cohort that gave the patients, where one did.
    """
    s = scenario
    who = f"{s.events:.0%} with the event, {s.treated:.0%} treated"
    if s.known < 1:
        who += f"; {s.known:.0%} have marker and treatment recorded and are analysed"
    if marker is not None:
        who += "; followed as long as the cohort's"
    unit = "the high half" if s.scale == "half" else "one SD more"
    return [
        f"marker    {marker or 'any'}, "
        + ("high or low by its median" if s.scale == "half" else "normal, acting per SD"),
        f"patients  {who}",
        f"assumed   hazard ratio of treatment {effect(s)}",
        f"          hazard ratio of the marker {s.hr_marker:.2f} for {unit}, among the untreated",
        "analysis  Cox model of treatment, marker, their product and a clinical index (C 0.70);",
        f"          Wald's test at {s.alpha:g}, two-sided; {draws} simulated cohorts of each size",
    ]


def effect(scenario: Scenario) -> str:
    """Write the treatment's assumed hazard ratios."""
    s = scenario
    if s.scale == "half":
        high = s.hr_low * s.ratio
        return (
            f"{s.hr_low:.2f} where the marker is low, {high:.2f} where high (ratio {s.ratio:.2f})"
        )
    middle = math.exp(s.effects[0])
    return f"{middle:.2f} at the marker's mean, times {s.ratio:.2f} for each SD"


def table(points: Sequence[Power]) -> Table:
    """Lay the sizes out as rows."""
    some_unknown = any(p.analysed < p.patients for p in points)
    made = Table("patients")
    if some_unknown:
        made.add_column("analysed")
    for head in ("events", "power (95%)", "median\nratio", "exagge-\nration", "wrong\nsign"):
        made.add_column(head)
    for column in made.columns:
        column.justify = "right"
    for p in points:
        low, high = p.interval
        made.add_row(
            str(p.patients),
            *([str(p.analysed)] if some_unknown else []),
            f"{p.events:.0f}",
            f"{p.power:.0%} ({low:.0%} to {high:.0%})",
            f"{p.ratio:.2f}",
            "-" if math.isnan(p.exaggeration) else f"{p.exaggeration:.1f} x",
            "-" if math.isnan(p.wrong_sign) else f"{p.wrong_sign:.1%}",
        )
    return made


LEGEND = (
    "exaggeration: how many times too strong the significant estimates are, on average (logs); "
    "wrong sign: how many of them are on the wrong side of 1"
)


def conclusion(at: Power, enough: Needed | None) -> list[str]:
    """Return the power of the size at hand, and the size needed."""
    low, high = at.interval
    chance = f"{at.power:.0%} ({low:.0%} to {high:.0%})"
    if enough is None:
        return [
            f"at n = {at.patients} the chance to see an interaction that is not there is {chance}; "
            "no number of patients shows what is not there"
        ]
    size = f"{enough.bound} {about(enough.patients)} patients"
    if enough.bound == "about":
        size += f" ({about(enough.low)} to {about(enough.high)})"
    said = [
        f"at n = {at.patients} the chance to see it is {chance}; "
        f"{ENOUGH_POWER:.0%} needs {size}, {enough.bound} {about(enough.events)} events"
    ]
    if at.exaggeration >= 1.1:
        said.append(
            f"a cohort of {at.patients} that does show it makes it look, on average, "
            f"{at.exaggeration:.1f} times as strong as it is: shrink such a finding"
        )
    return said


def about(number: float) -> int:
    """Round to three digits: more than a simulation knows."""
    step: int = 10 ** max(0, math.floor(math.log10(max(number, 1))) - 2)
    return round(number / step) * step


def record(
    scenario: Scenario,
    points: Sequence[Power],
    enough: Needed | None,
    *,
    seed: int,
    cohort: str | None,
    synthetic: bool,
) -> dict[str, Any]:
    """Return everything as plain data: enough to draw the curve, or to run it again.

    Args:
        scenario: of the simulation.
        points: one a size.
        enough: what the search found.
        seed: of the draws.
        cohort: study and marker whose patients these are like, where there is one.
        synthetic: whether that cohort's patients are simulated themselves.
    """
    return {
        "cohort": cohort,
        "synthetic_cohort": synthetic,
        "scenario": scenario.describe(),
        "seed": seed,
        "sizes": [_row(scenario, point) for point in points],
        "needed": None if enough is None else {"power": ENOUGH_POWER, **asdict(enough)},
    }


def _row(scenario: Scenario, point: Power) -> dict[str, Any]:
    low, high = point.interval
    row = asdict(point) | {
        "power": point.power,
        "power_low": low,
        "power_high": high,
        "power_closed_form": approximate(scenario, point.patients),
    }
    # JSON has no NaN.
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()}
