"""Check a study file and its table, and summarise the cohort by counts, shares and quantiles."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from accomplice.data.arrays import Array, Bools
from accomplice.data.cells.few_patients import LEAST
from accomplice.data.checks.sample_size import (
    USUAL_R2,
    Population,
    SampleSize,
    expected_shrinkage,
    parameters_of,
    sample_size,
)
from accomplice.data.cohort import Cohort, Patients
from accomplice.data.drafting.leaks import near_copies
from accomplice.data.errors import some
from accomplice.data.escaping import printable
from accomplice.data.loading import load_endpoints
from accomplice.data.preprocessing.repeats import repeated_features
from accomplice.data.study_parts import Feature

#: Minimum number of patients of a level or label that are printed as an exact number, beside 0. A
#: level or a centre with 1 to 4 patients and an endpoint with 0 to 4 positive or negative labels
#: give a warning.
FEW = LEAST
#: Median time in years from which on the unit is doubted: no cohort of cancer is followed so long.
LONG_FOLLOW_UP = 30
#: Minimum absolute rank correlation of two features that are nearly the same.
NEAR_COPY = 0.98
#: Maximum number of features, without categories, whose pairs are compared; of more features no
#: pair is.
MOST_COMPARED = 2000


@dataclass(frozen=True)
class FeatureSummary:
    """Missing values and distribution of one feature of the cohort."""

    name: str
    """Name of the feature."""
    modality: str
    """Modality of the feature."""
    kind: str
    """Kind of the feature, such as ``number``."""
    missing: float
    """Share of the patients without a value."""
    values: str
    """Quartiles, or patients per level, as text; "too few to sum up" for under 20 numbers."""
    rare: bool
    """Whether a level that occurs has fewer than five patients."""


@dataclass(frozen=True)
class FollowUp:
    """Follow-up of the cohort for one survival endpoint."""

    endpoint: str
    """Name of the endpoint."""
    n: int
    """Patients with follow-up."""
    left_out: int
    """Patients without follow-up."""
    events: int
    """Patients with the event."""
    events_by_horizon: int
    """Patients with the event by the horizon, as the sample size counts them."""
    median: float | None
    """Median follow-up in months, by reverse Kaplan-Meier; None: not reached."""
    horizon: float
    """Months to which the endpoint is modelled."""
    needed: SampleSize | None
    """Minimum sample size to develop a model with as many parameters as `parameters_of` counts;
    None without events."""
    shrinkage: float
    """Expected shrinkage of such a model's effects in this cohort; NaN without events."""

    @property
    def enough(self) -> bool:
        """Whether there are as many patients as needed, or the number needed is not known."""
        return self.needed is None or self.n >= self.needed.patients


@dataclass(frozen=True)
class Labels:
    """Numbers of patients by their label of one binary endpoint."""

    endpoint: str
    """Name of the endpoint."""
    positive: int
    """Patients with a positive label."""
    negative: int
    """Patients with a negative label."""
    unlabelled: int
    """Patients without a label."""


@dataclass(frozen=True)
class Report:
    """Summary of a cohort, with warnings."""

    study: str
    """Name of the study."""
    n: int
    """Patients; those of the first survival endpoint, if there is one."""
    survival: tuple[FollowUp, ...]
    """One for each survival endpoint."""
    binary: tuple[Labels, ...]
    """One for each binary endpoint."""
    features: tuple[FeatureSummary, ...]
    """One for each feature, in the study's order."""
    warnings: tuple[str, ...]
    """Notes on reading the table, and warnings, one line each."""


def check_study(path: Path, further: Callable[[Cohort], tuple[str, ...]] = lambda _: ()) -> Report:
    """Read the study file at ``path`` with its table, and summarise the cohort.

    Args:
        path: the study file.
        further: function that returns more warnings on the patients of a survival endpoint.

    Raises:
        InputError: the study file or its table is wrong.
    """
    patients = load_endpoints(path)
    cohorts = (patients, *patients.further.values()) if isinstance(patients, Cohort) else ()
    modality = {j: name for name, block in patients.study.blocks.items() for j in block}
    summaries = tuple(
        _summary(name, modality[j], feature, patients.values[:, j])
        for j, (name, feature) in enumerate(patients.study.features.items())
    )
    labels = tuple(
        Labels(name, int((label == 1).sum()), int((label == 0).sum()), int(np.isnan(label).sum()))
        for name, label in patients.binary.items()
    )
    notes = (note for group in (patients, *cohorts) for note in group.notes)
    on_outcomes = [*dict.fromkeys(notes)]
    followed = tuple(_follow_up(cohort) for cohort in cohorts)
    on_outcomes += [line for cohort in cohorts for line in _on_unit(cohort)]
    on_outcomes += [_on_size(each) for each in followed if not each.enough]
    on_outcomes += [warning for cohort in cohorts for warning in further(cohort)]
    on_outcomes += [
        f"fewer than {FEW} labels of one kind: {each.endpoint} gets no model"
        for each in labels
        if min(each.positive, each.negative) < FEW
    ]
    return Report(
        study=patients.study.name,
        n=len(patients),
        survival=followed,
        binary=labels,
        features=summaries,
        warnings=(*on_outcomes, *_warnings(patients, summaries)),
    )


def _follow_up(cohort: Cohort) -> FollowUp:
    needed, shrinkage = _sample_size(cohort)
    return FollowUp(
        endpoint=cohort.endpoint,
        n=len(cohort),
        left_out=cohort.left_out,
        events=int(cohort.event.sum()),
        events_by_horizon=int((cohort.event & (cohort.time <= cohort.horizon)).sum()),
        median=median_follow_up(cohort.time, cohort.event),
        horizon=cohort.horizon,
        needed=needed,
        shrinkage=shrinkage,
    )


def median_follow_up(time: Array, event: Bools) -> float | None:
    """Return the median follow-up in months by reverse Kaplan-Meier; None if it is not reached.

    Censoring counts as the event, and the event as censoring (Schemper and Smith, A note on
    quantifying follow-up in studies of failure time, Controlled Clinical Trials 1996).

    Args:
        time: follow-up in months (n,).
        event: whether the event was observed (n,).
    """
    times, first = np.unique(np.sort(time), return_index=True)
    at_risk = len(time) - first
    censored = np.array([(time[~event] == t).sum() for t in times])
    under = np.cumprod(1 - censored / at_risk) <= 0.5
    return float(times[np.argmax(under)]) if under.any() else None


def render(report: Report, console: Console) -> None:
    """Print a report on a console."""

    def say(line: str) -> None:
        console.print(printable(line), markup=False, highlight=False, soft_wrap=True)

    if not report.survival:
        say(f"{report.study}: {report.n} patients")
    for place, each in enumerate(report.survival):
        followed = "not reached" if each.median is None else f"{each.median:.1f} months"
        left_out = f", {each.left_out} left out without follow-up" if each.left_out else ""
        head = f"{report.study}: " if place == 0 else ""
        head += f"{each.n} patients{left_out}, {each.events} events ({each.endpoint})"
        say(head)
        say(f"median follow-up {followed}, horizon {each.horizon:.1f} months")
        if each.needed is not None and each.enough:
            say(_on_size(each))
    for labels in report.binary:
        counts = (labels.positive, labels.negative, labels.unlabelled)
        listed = ", ".join(
            f"{_count(n)} {what}"
            for n, what in zip(counts, ("positive", "negative", "unlabelled"), strict=True)
        )
        say(f"{listed} ({labels.endpoint})")
    table = Table("modality", "feature", "kind", "missing", "quartiles or levels")
    for row in report.features:
        cells = (row.modality, row.name, row.kind, f"{row.missing:.0%}", row.values)
        table.add_row(*(escape(printable(cell)) for cell in cells))
    console.print(table)
    for warning in report.warnings:
        say(f"warning: {warning}")


def _count(n: int) -> str:
    """Return a number of patients as text; 1 to 4 as ``< 5``."""
    return f"< {FEW}" if 0 < n < FEW else str(n)


def _summary(name: str, modality: str, feature: Feature, codes: Array) -> FeatureSummary:
    """Summarise a feature by the patients at each level, or by quartiles of 20 or more numbers."""
    known = codes[~np.isnan(codes)]
    missing = 1 - len(known) / len(codes)
    rare = False
    if feature.levels is not None:
        counts = np.bincount(known.astype(int), minlength=len(feature.levels))
        shown = zip(feature.levels, counts.tolist(), strict=True)
        values = ", ".join(f"{level}: {_count(n)}" for level, n in shown)
        rare = bool(((counts > 0) & (counts < FEW)).any())
    elif len(known) < 4 * FEW:
        values = "too few to sum up"
    else:
        values = " / ".join(f"{q:.3g}" for q in np.quantile(known, (0.25, 0.5, 0.75)))
    return FeatureSummary(name, modality, feature.kind, missing, values, rare)


def _sample_size(cohort: Cohort) -> tuple[SampleSize | None, float]:
    """Return the minimum sample size for the features, and the expected shrinkage."""
    if not (cohort.event & (cohort.time <= cohort.horizon)).any():
        return None, math.nan
    population = Population.of(cohort)
    parameters = parameters_of(cohort)
    r2 = USUAL_R2 * population.most_r2
    found = sample_size(population, parameters, r2)
    return found, expected_shrinkage(len(cohort), parameters, r2)


def _on_unit(cohort: Cohort) -> list[str]:
    """Return a line that doubts the unit of the time if its median is above 30 years."""
    years = float(np.median(cohort.time)) / 12
    if years <= LONG_FOLLOW_UP:
        return []
    return [
        f"half of the times of {cohort.endpoint} are {years:.0f} years or longer: if they are in "
        f"days, write unit: days under endpoints.survival.{cohort.endpoint}"
    ]


def _on_size(each: FollowUp) -> str:
    """Return a line on the minimum sample size by Riley's criteria, compared with this cohort's."""
    if each.needed is None:
        return ""
    needed = each.needed
    asked = (
        f"{needed.parameters} parameters need {needed.patients} patients with {needed.events} "
        f"events by month {each.horizon:g} ({each.endpoint}; Riley et al. 2020, Nagelkerke's R² "
        f"{USUAL_R2:g}, {needed.decides.name} decides)"
    )
    if each.n >= needed.patients:
        return f"sample size: {asked}: there are enough"
    return (
        f"{asked}; there are {each.n} with {each.events_by_horizon}: expect effects to shrink to "
        f"{each.shrinkage:.2f} of their size; other assumptions: accomplice power --prediction"
    )


def _warnings(patients: Patients, summaries: tuple[FeatureSummary, ...]) -> list[str]:
    """Return warnings on rare levels and centres, missing values and nearly equal features."""
    found = []
    rare = [row.name for row in summaries if row.rare]
    if rare:
        found.append(
            f"levels with fewer than {FEW} patients: {some(rare)}: the model and its page name "
            "them; merge them by map, or leave them out and say by unlisted what they mean"
        )
    if patients.centre is not None:
        centres, sizes = np.unique(patients.centre[patients.centre != ""], return_counts=True)
        if small := int((sizes < FEW).sum()):
            found.append(
                f"fewer than {FEW} patients are in {small} of the {len(centres)} centres of column "
                f"'{patients.study.centre}', which the model names; merge them in the table"
            )
    empty = [row.name for row in summaries if row.missing > 0.5]
    if empty:
        found.append(f"more than half of the values are missing: {some(empty)}")
    # The order of a category's levels means nothing, so neither does its correlation.
    ordered = [j for j, row in enumerate(summaries) if row.kind != "category"]
    if len(ordered) <= MOST_COMPARED:
        pairs = near_copies(patients.values[:, ordered], NEAR_COPY)
        names = [f"{summaries[ordered[i]].name} and {summaries[ordered[j]].name}" for i, j in pairs]
        if names:
            found.append(f"nearly the same: {some(names)}")
    repeats = repeated_features(patients.values, [row.kind for row in summaries])
    if repeats:
        names = [f"{summaries[j].name} (as {summaries[i].name})" for j, i in repeats]
        found.append(f"the same in all patients, and so not read: {some(names)}")
    return found
