"""Check a study file and its table, and sum the cohort up without showing a patient's value."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from data.cohort import Cohort, load_cohort, round_off
from data.errors import some
from data.screen import near_copies
from data.study import Feature

#: Levels, and groups of patients, smaller than this are neither counted out nor trusted.
FEW = 5
NEAR_COPY = 0.98
#: Comparing every pair of columns is for tables of this many features at most.
MOST_COMPARED = 2000


@dataclass(frozen=True)
class FeatureSummary:
    """One feature of the cohort."""

    name: str
    modality: str
    kind: str
    missing: float
    """Share of the patients without a value."""
    values: str
    """Quartiles, or patients per level."""
    rare: bool
    """Whether a level has fewer than five patients."""


@dataclass(frozen=True)
class Report:
    """What a cohort holds and what to be wary of."""

    study: str
    endpoint: str
    n: int
    left_out: int
    """Patients without follow-up."""
    events: int
    median_follow_up: float | None
    """Months, by reverse Kaplan-Meier; None: not reached."""
    horizon: float
    features: tuple[FeatureSummary, ...]
    warnings: tuple[str, ...]


def check_study(path: Path) -> Report:
    """Read the study file at ``path`` with its table, and sum it up.

    Raises:
        InputError: the study file or its table is wrong.
    """
    cohort = load_cohort(path)
    modality = {j: name for name, block in cohort.study.blocks.items() for j in block}
    summaries = tuple(
        _summary(name, modality[j], feature, cohort.values[:, j])
        for j, (name, feature) in enumerate(cohort.study.features.items())
    )
    return Report(
        study=cohort.study.name,
        endpoint=cohort.endpoint,
        n=len(cohort),
        left_out=cohort.left_out,
        events=int(cohort.event.sum()),
        median_follow_up=median_follow_up(cohort.time, cohort.event),
        horizon=cohort.horizon,
        features=summaries,
        warnings=tuple(_warnings(cohort, summaries)),
    )


def median_follow_up(time: NDArray[np.float64], event: NDArray[np.bool_]) -> float | None:
    """Return the median follow-up by reverse Kaplan-Meier, where censoring is the event.

    Args:
        time: follow-up (n,).
        event: whether the event was seen (n,).
    """
    times, first = np.unique(np.sort(time), return_index=True)
    at_risk = len(time) - first
    censored = np.array([(time[~event] == t).sum() for t in times])
    under = np.cumprod(1 - censored / at_risk) <= 0.5
    return float(times[np.argmax(under)]) if under.any() else None


def render(report: Report, console: Console) -> None:
    """Print a report."""
    follow_up = report.median_follow_up
    followed = "not reached" if follow_up is None else f"{follow_up:.1f} months"
    left_out = f", {report.left_out} left out without follow-up" if report.left_out else ""
    head = f"{report.study}: {report.n} patients{left_out}, {report.events} events"
    console.print(f"{head} ({report.endpoint})", markup=False, highlight=False)
    console.print(f"median follow-up {followed}, horizon {report.horizon:.1f} months")
    table = Table("modality", "feature", "kind", "missing", "quartiles or levels")
    for row in report.features:
        cells = (row.modality, row.name, row.kind, f"{row.missing:.0%}", row.values)
        table.add_row(*(escape(cell) for cell in cells))
    console.print(table)
    for warning in report.warnings:
        console.print(f"warning: {warning}", markup=False, highlight=False, soft_wrap=True)


def _summary(
    name: str, modality: str, feature: Feature, codes: NDArray[np.float64]
) -> FeatureSummary:
    """Sum a feature up by quartiles or levels, never by a single patient."""
    known = codes[~np.isnan(codes)]
    missing = 1 - len(known) / len(codes)
    rare = False
    if feature.levels is not None:
        counts = np.bincount(known.astype(int), minlength=len(feature.levels))
        few = (counts > 0) & (counts < FEW)
        shown = np.where(few, f"< {FEW}", counts.astype(str))
        values = ", ".join(f"{lv}: {c}" for lv, c in zip(feature.levels, shown, strict=True))
        rare = bool(few.any())
    elif len(known) < 4 * FEW:
        values = "too few to sum up"
    else:
        values = " / ".join(f"{q:.3g}" for q in np.quantile(known, (0.25, 0.5, 0.75)))
    return FeatureSummary(name, modality, feature.kind, missing, values, rare)


def _warnings(cohort: Cohort, summaries: tuple[FeatureSummary, ...]) -> list[str]:
    found = []
    if cohort.horizon > round_off(float(cohort.time.max()), up=True):
        found.append(
            f"the horizon of {cohort.horizon:g} months lies beyond the last follow-up: shorten it"
        )
    each = cohort.event.sum() / len(summaries)
    if each < 10:
        found.append(f"{each:.1f} events per feature, fewer than 10: expect strong shrinkage")
    rare = [row.name for row in summaries if row.rare]
    if rare:
        found.append(f"levels with fewer than {FEW} patients: {some(rare)}")
    empty = [row.name for row in summaries if row.missing > 0.5]
    if empty:
        found.append(f"more than half of the values are missing: {some(empty)}")
    # The order of a category's levels means nothing, so neither does its correlation.
    ordered = [j for j, row in enumerate(summaries) if row.kind != "category"]
    if len(ordered) <= MOST_COMPARED:
        pairs = near_copies(cohort.values[:, ordered], NEAR_COPY)
        names = [f"{summaries[ordered[i]].name} and {summaries[ordered[j]].name}" for i, j in pairs]
        if names:
            found.append(f"nearly the same: {some(names)}")
    return found
