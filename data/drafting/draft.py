"""Draft a study file from a table, a cBioPortal study folder or another form of files.

A doubtful column is left out, listed under ``ignored`` with the reason, and named in the notes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from accomplice.data.arrays import Array
from accomplice.data.cells.keys import keys_of, without_keys
from accomplice.data.cells.missing import MISSING
from accomplice.data.cells.times import without_missing
from accomplice.data.coding import missing_words
from accomplice.data.cohort import build_cohort, build_patients
from accomplice.data.drafting.binary_values import yes_no_values
from accomplice.data.drafting.decimal_marks import doubtful_points, table_mark, text_marks
from accomplice.data.drafting.features import (
    absent_markers,
    choose,
    ignored_by_reason,
    interactions,
    notes_on,
    reference_models,
    response_features,
    treatment_entry,
)
from accomplice.data.drafting.further_endpoints import further_endpoints
from accomplice.data.drafting.identity import identify
from accomplice.data.drafting.infer import Hints
from accomplice.data.drafting.render import render
from accomplice.data.drafting.survival_endpoint import Wanted, draft_endpoint, time_columns
from accomplice.data.errors import InputError, some
from accomplice.data.outcomes import binary_target, competing_deaths
from accomplice.data.panels.panel import Disease, Panel, key_of, load_panel
from accomplice.data.readers.columns import column
from accomplice.data.readers.reader import PLAIN, Reading
from accomplice.data.readers.registry import READERS, recognise
from accomplice.data.study import parse_study
from accomplice.data.study_parts import MONTHS, TREATMENT, BinaryEndpoint, Mark, Rows, Unit


@dataclass(frozen=True)
class Answers:
    """The user's answers to questions that a table leaves open."""

    start: str | None = None
    """Column of the date at which follow-up begins; ``time`` then names dates."""
    date_format: str | None = None
    """Format of the dates."""
    event_values: tuple[str, ...] | None = None
    """Values that mean the event."""
    rows: Rows | str | None = None
    """Rule on several rows of a patient; ``all``: each row is a patient; None: not answered."""
    decimal: Mark | None = None
    """Decimal mark of columns that leave it open."""
    categories: tuple[str, ...] = ()
    """Columns whose numbers or words are levels of a category."""
    numbers: tuple[str, ...] = ()
    """Columns of whole numbers that are no codes."""


@dataclass(frozen=True)
class Draft:
    """A drafted study, with notes and open questions for the user."""

    study: dict[str, Any]
    """Plain data that :func:`study.parse_study` takes."""
    notes: tuple[str, ...]
    """One line each on choices, and on columns left out with the reason."""
    asked: tuple[str, ...] = ()
    """One line each on a question that an option must answer before the draft is used."""


def draft_study(
    path: Path,
    *,
    time: str | None,
    event: str | None,
    id: str | None = None,
    centre: str | None = None,
    unit: Unit | None = None,
    treatment: str | None = None,
    response: str | None = None,
    name: str | None = None,
    drop_without_follow_up: bool = False,
    reading: Reading = PLAIN,
    out: Path,
    answers: Answers | None = None,
) -> Draft:
    """Draft a study file.

    Args:
        path: a table, a cBioPortal study folder, or another form that a reader recognises.
        time: column of the follow-up time, or several separated by commas, of which the first
            known one counts; None: the usual one of the reader's form. With a response but neither
            time nor event, the study has no survival endpoint.
        event: column of the event; None: the usual one of the reader's form.
        id: column of the patient's identifier; None: found by its name, sample barcodes, or rows
            that share an outcome.
        centre: column of the hospital.
        unit: unit of the time column; None: the one in its name or cells, else months.
        treatment: column of the treatment whose effect is estimated.
        response: column of a response to treatment.
        name: name of the study; None: made from the path.
        drop_without_follow_up: whether patients without follow-up are left out however many they
            are. Up to a tenth of the patients are left out in any case, with a note; any number in
            a cBioPortal study folder, where they are usual.
        reading: options of reading the table, such as its sheet, encoding and words for missing.
        out: path of the future study file; the paths of its source are relative to its folder.
        answers: the user's answers to questions that the table leaves open.

    Raises:
        InputError: the path cannot be read; the unit is unknown; a column is missing or has two
            roles; time or event is neither named nor usual in the reader's form; a treatment is
            named without survival; patients have several rows and no rule is given; no row is left
            by the rule; an outcome or the treatment is not usable, as in training; or no column can
            be a feature.
    """
    panel, answers = load_panel(), answers or Answers()
    if unit is not None and unit not in MONTHS:
        raise InputError(f"unit: '{unit}' is not one of {some(MONTHS)}")
    reader = recognise(path)
    source = READERS[reader].draft(path, id, panel.default_genes, reading)
    keys = keys_of([source.frame])
    table = without_keys(source.frame, keys)
    frame, time, event = table, time or source.time, event or source.event
    followed = response is None or time is not None or event is not None
    if not followed and treatment is not None:
        raise InputError("treatment: its effect is on survival: name --time and --event too")
    times: list[str] = []
    if followed:
        time, event = _needed("time", time), _needed("event", event)
        times = time_columns(frame, time)
    outcome = [*times, *([event] if event is not None else [])]
    roles: list[tuple[str, str | None]] = [("time", each) for each in times]
    roles += [("from", answers.start), ("event", event), ("centre", centre)]
    roles += [("treatment", treatment), ("response", response)]
    used = _used(frame, [*roles, ("id", id)])
    words = (MISSING | reading.words.missing) - reading.words.kept
    identity = identify(frame, source.id, answers.rows, outcome, panel, words)
    frame = identity.frame
    if frame.empty:
        why = "none of them is of a tumour"
        if identity.rows is not None and not isinstance(identity.rows.one_per_patient, str):
            why = (
                "times of latest_before count from the start of follow-up, before which they are "
                "negative"
            )
        raise InputError(f"{path}: of its {len(table)} rows none is left as a patient's: {why}")
    used = _used(frame, [*roles, ("id", identity.id)])
    if centre is not None and (lacking := int(without_missing(frame[centre], words).isna().sum())):
        identity.notes.append(f"centre: {lacking} of {len(frame)} patients have none in '{centre}'")
    marks = text_marks(frame, words)
    mark = answers.decimal or table_mark(frame, marks)

    endpoints: dict[str, Any] = {}
    keep, months, observed = np.ones(len(frame), dtype=bool), None, None
    outcomes: dict[str, Array] = {}
    notes, asked = [*source.notes, *identity.notes], [*identity.asked]
    if answers.decimal != ".":
        shown = marks if answers.decimal is None else {answers.decimal}
        asked += doubtful_points(frame, shown, answers.numbers)
    on_outcome: list[str] = []
    if followed and event is not None:
        endpoint = _endpoint_name(keys.get(times[0], times[0]), panel)
        wanted = Wanted(
            times,
            event,
            start=answers.start,
            date_format=answers.date_format,
            unit=unit,
            event_values=answers.event_values,
            drop_without_follow_up=drop_without_follow_up,
            keys=keys,
        )
        drafted = draft_endpoint(
            frame, endpoint, wanted, words, mark, gaps=source.gaps_in_follow_up
        )
        endpoints["survival"] = {endpoint: drafted.raw}
        keep, asked = drafted.keep, asked + drafted.asked
        on_outcome = drafted.notes
        months, observed = drafted.time[keep], drafted.event[keep]
        outcomes = {**dict.fromkeys(times, months), event: observed.astype(np.float64)}
        more = further_endpoints(
            frame,
            endpoint,
            used,
            panel,
            words,
            mark,
            drafted.raw.get("unit", "months"),
            keys,
            gaps=source.gaps_in_follow_up,
        )
        endpoints["survival"] |= more.endpoints
        used += more.columns
        notes += more.notes
    files = [Path(os.path.relpath(path, out.parent)).as_posix()]
    study: dict[str, Any] = {"name": name or _study_name(path)}
    study["source"] = {"reader": reader, "files": files, **source.options}
    study |= {"missing": sorted(reading.words.missing), "id": identity.id, "centre": centre}
    if identity.rows is not None:
        study["rows"] = identity.rows.model_dump(mode="json", exclude_defaults=True)
    study["endpoints"] = endpoints
    label = None
    if response is not None:
        yes, no = yes_no_values(frame[response], response, panel.positive, panel.negative, words)
        labels = {"column": response, "positive": yes, "negative": no}
        endpoints["binary"] = {"response": labels}
        label = binary_target(frame[keep], "response", BinaryEndpoint.model_validate(labels), words)
    if treatment is not None:
        yes, no = yes_no_values(frame[treatment], treatment, panel.treated, panel.untreated, words)
        study["treatment"] = {"column": treatment, "treated": yes, "untreated": no}

    patients = frame[keep]
    outcomes |= _as_codes(patients, response)
    chosen = choose(
        patients.drop(columns=used),
        months,
        observed,
        label,
        outcomes,
        _as_codes(patients, treatment),
        panel,
        Hints(words, mark, answers.categories, answers.numbers),
        keys,
    )
    if not chosen.found:
        why = "; ".join(ignored_by_reason(chosen.ignored)) or "there is no other column"
        raise InputError(f"{path}: no column can be a feature: {why}")
    study["modalities"] = chosen.describe()
    if followed:
        study["baselines"] = reference_models(chosen)
    if treatment is not None:
        study["interactions"] = interactions(treatment, chosen, panel)
        study["treatment"] |= treatment_entry(treatment, chosen, panel)
    inputs = response_features(chosen, panel)
    if response is not None and inputs:
        endpoints["binary"]["response"]["features"] = inputs
        notes.append(
            f"response: its inputs are {some(inputs)}, fixed in advance as labels are few; change "
            "endpoints.binary.response.features"
        )
    if followed and panel.disease is not None and _is_of(panel.disease, patients):
        study["ceiling"] = panel.disease.ceiling
        notes.append(
            f"taken to be {panel.disease.name}: a C-index above {panel.disease.ceiling:g} will be "
            "taken for a leak; change ceiling"
        )
    study["ignored"] = chosen.ignored
    study = {key: value for key, value in study.items() if value not in (None, {}, [])}
    parsed = parse_study(study, str(out))
    build = build_cohort if followed else build_patients
    read = [note for note in build(parsed, table).notes if note not in notes]
    notes += ["; ".join([*on_outcome, *read])] if on_outcome or read else []
    survival = parsed.endpoints.survival
    known = missing_words(parsed)
    warned = {name: competing_deaths(frame, name, survival, known) for name in survival}
    warned = {name: note for name, note in warned.items() if note and note[0] not in read}
    if warned:
        first, others = next(iter(warned.values())), list(warned)[1:]
        notes.append(first[0] + (f"; so it is with {some(others)}" if others else ""))
    if treatment is not None:
        notes += _on_treatment(study["treatment"])
    notes += [*notes_on(chosen), *absent_markers(chosen, panel)]
    return Draft(study, tuple(dict.fromkeys(notes)), (*asked, *chosen.asked))


def render_study(draft: Draft) -> str:
    """Return a draft as the text of a study file, with a comment above each section."""
    return render(draft.study)


def _needed(role: str, name: str | None) -> str:
    """Return the column of the time or the event, which must be named.

    Raises:
        InputError: it is None.
    """
    if name is None:
        raise InputError(f"{role}: name the column of the {role} (--{role})")
    return name


def _used(frame: pd.DataFrame, roles: Iterable[tuple[str, str | None]]) -> list[str]:
    """Return the columns that have a role, such as the time.

    Raises:
        InputError: a column is missing or has two roles.
    """
    used: dict[str, str] = {}
    for role, name in roles:
        if name is None:
            continue
        column(frame, name, role)
        if name in used:
            raise InputError(f"{role}: column '{name}' is named for {used[name]} already")
        used[name] = role
    return list(used)


def _is_of(disease: Disease, patients: pd.DataFrame) -> bool:
    """Whether a table's columns or cells show that its patients have a disease."""
    text = [name for name, cells in patients.items() if not is_numeric_dtype(cells.dtype)]
    return disease.known_by(
        map(str, patients.columns), ([str(c) for c in patients[name].dropna()] for name in text)
    )


def _as_codes(frame: pd.DataFrame, name: str | None) -> dict[str, Array]:
    """Return the name of a column -> its distinct values as codes (n,), NaN where missing."""
    if name is None:
        return {}
    codes = pd.factorize(frame[name])[0].astype(np.float64)
    return {name: np.where(codes < 0, np.nan, codes)}


def _endpoint_name(time: str, panel: Panel) -> str:
    """Return the endpoint that the time's column names, such as ``os``; else ``survival``."""
    key = key_of(time)
    return next((n for n, p in panel.endpoints.items() if re.search(p, key)), "survival")


def _study_name(path: Path) -> str:
    stem = path.resolve().name.split(".")[0]
    return re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-_") or "cohort"


def _on_treatment(treatment: dict[str, Any]) -> list[str]:
    """Return notes on the assumptions about a treatment."""
    label, where = treatment.get("label", TREATMENT), treatment.get("eligible")
    if where is None:
        notes = [f"{label} is taken to be an option for everybody; say otherwise under eligible"]
    else:
        options = "; ".join(f"{name} {some(levels)}" for name, levels in where.items())
        notes = [f"{label} is taken to be an option at {options}; correct treatment.eligible"]
    if "expected_hr" in treatment:
        low, high = treatment["expected_hr"]
        return [
            *notes,
            f"trials of {label} saw hazard ratios of {low:g} to {high:g}; correct "
            "treatment.expected_hr and its source where they do not fit these patients",
        ]
    return [
        *notes,
        f"which hazard ratios did randomised trials of {label} see? give their range as "
        "treatment.expected_hr and the trials as expected_hr_source; without, no effect is "
        "compared with trials",
    ]
