"""Texts of a power simulation: assumptions, table, conclusion, and the numbers for JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table

from accomplice.training.estimators.policy import ENOUGH_POWER
from accomplice.training.power.simulation import Needed, Power, Scenario, approximate


def assumptions(scenario: Scenario, draws: int, marker: str | None = None) -> list[str]:
    """Return the assumptions of the simulation and its analysis, a few lines of text.

    Args:
        scenario: simulated scenario.
        draws: simulated cohorts of each size.
        marker: marker's name, if size, shares and follow-up were read from a cohort.
    """
    s = scenario
    patients = f"{s.events:.0%} with the event, {s.treated:.0%} treated"
    if s.known < 1:
        patients += f"; {s.known:.0%} have marker and treatment recorded and are analysed"
    if marker is not None:
        patients += "; followed as long as the cohort's"
    unit = "the high half" if s.scale == "half" else "one SD more"
    return [
        f"marker    {marker or 'any'}, "
        + ("high or low by its median" if s.scale == "half" else "normal, acting per SD"),
        f"patients  {patients}",
        f"assumed   hazard ratio of treatment {effect(s)}",
        f"          hazard ratio of the marker {s.hr_marker:.2f} for {unit}, among the untreated",
        "analysis  Cox model of treatment, marker, their product and a clinical index (C 0.70);",
        f"          Wald's test at {s.alpha:g}, two-sided; {draws} simulated cohorts of each size",
    ]


def effect(scenario: Scenario) -> str:
    """Return the treatment's assumed hazard ratios as text."""
    s = scenario
    if s.scale == "half":
        high = s.hr_low * s.ratio
        return (
            f"{s.hr_low:.2f} where the marker is low, {high:.2f} where high (ratio {s.ratio:.2f})"
        )
    middle = math.exp(s.effects[0])
    return f"{middle:.2f} at the marker's mean, times {s.ratio:.2f} for each SD"


def table(points: Sequence[Power]) -> Table:
    """Return a table with the results of each size in a row."""
    some_unknown = any(p.analysed < p.patients for p in points)
    found = Table("patients")
    if some_unknown:
        found.add_column("analysed")
    for head in ("events", "power (95%)", "median\nratio", "exagge-\nration", "wrong\nsign"):
        found.add_column(head)
    for column in found.columns:
        column.justify = "right"
    for p in points:
        low, high = p.interval
        found.add_row(
            str(p.patients),
            *([str(p.analysed)] if some_unknown else []),
            f"{p.events:.0f}",
            f"{p.power:.0%} ({low:.0%} to {high:.0%})",
            f"{p.ratio:.2f}",
            "-" if math.isnan(p.exaggeration) else f"{p.exaggeration:.1f} x",
            "-" if math.isnan(p.wrong_sign) else f"{p.wrong_sign:.1%}",
        )
    return found


#: Explanation of the table's last columns.
LEGEND = (
    "exaggeration: how many times too strong the significant estimates are, on average (logs); "
    "wrong sign: how many of them are on the wrong side of 1"
)


def conclusion(at: Power, enough: Needed | None) -> list[str]:
    """Return sentences on the power of the size asked about and on the size needed.

    Args:
        at: results at the size asked about.
        enough: size needed for the power ``ENOUGH_POWER``; None without an interaction.
    """
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
    sentences = [
        f"at n = {at.patients} the chance to see it is {chance}; "
        f"{ENOUGH_POWER:.0%} needs {size}, {enough.bound} {about(enough.events)} events"
    ]
    if at.exaggeration >= 1.1:
        sentences.append(
            f"a cohort of {at.patients} that does show it makes it look, on average, "
            f"{at.exaggeration:.1f} times as strong as it is: shrink such a finding"
        )
    return sentences


def about(number: float) -> int:
    """Return a number rounded to three significant digits, and to a whole number.

    A simulation is no more precise.
    """
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
    """Return the simulation as plain data, enough to draw the curve or to run it again.

    Args:
        scenario: simulated scenario.
        points: results of each size.
        enough: size needed for the power ``ENOUGH_POWER``; None without an interaction.
        seed: seed of the simulation.
        cohort: study and marker that size, shares and follow-up were read from; None if none.
        synthetic: whether the patients of that cohort are synthetic.
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
