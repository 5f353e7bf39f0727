"""Draft a study file from a table, a cBioPortal study folder or another form of files.

Nothing is guessed silently: a doubtful column is left out under ``ignored`` with the reason, and
the notes name it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from pandas.api.types import is_numeric_dtype

from accomplice.data.arrays import Array
from accomplice.data.cohort import build_cohort, build_patients
from accomplice.data.drafting.features import (
    absent_markers,
    choose,
    course,
    ignored_by_reason,
    interactions,
    notes_on,
    references,
    response_features,
)
from accomplice.data.errors import InputError, some
from accomplice.data.outcomes import binary_target, survival_targets
from accomplice.data.panels.panel import Disease, Panel, key_of, load_panel, matches
from accomplice.data.readers.columns import column
from accomplice.data.readers.missing import MISSING
from accomplice.data.readers.reader import PLAIN, DraftSource, Reading
from accomplice.data.readers.readers import READERS, recognise
from accomplice.data.study import parse_study
from accomplice.data.study_parts import (
    MONTHS,
    TREATMENT,
    BinaryEndpoint,
    SurvivalEndpoint,
    as_level,
)

#: Part of the patients without follow-up that a draft leaves out without being told to.
FEW_WITHOUT_FOLLOW_UP = 0.1


@dataclass(frozen=True)
class Draft:
    """A drafted study and what the user should look at."""

    study: dict[str, Any]
    """Plain data that :func:`study.parse_study` takes."""
    notes: tuple[str, ...]
    """One line each: what was chosen, what was left out and why."""


def draft_study(
    path: Path,
    *,
    time: str | None,
    event: str | None,
    id: str | None = None,
    centre: str | None = None,
    unit: str = "months",
    treatment: str | None = None,
    response: str | None = None,
    name: str | None = None,
    drop_without_follow_up: bool = False,
    reading: Reading = PLAIN,
    out: Path,
) -> Draft:
    """Draft a study file.

    Args:
        path: a table, a cBioPortal study folder, or what another reader recognises.
        time: column of the follow-up time; that of the reader's convention if absent. Without time
            and event, a response makes a study of labels alone.
        event: column of the event; likewise.
        id: column of the patient's identifier; looked for by name if absent.
        centre: column of the hospital.
        unit: unit of the time column.
        treatment: column of the treatment whose effect is asked for.
        response: column of a response to treatment.
        name: name of the study; from the path if absent.
        drop_without_follow_up: leave out patients without follow-up however many they are. A few
            are left out in any case, and said; a study folder's too, since portals keep them as
            time zero or NA.
        reading: what is said of how to read the table.
        out: where the study file will be; the source is written relative to its folder.

    Raises:
        InputError: a column is missing, or an outcome is not usable, as in training.
    """
    panel = load_panel()
    if unit not in MONTHS:
        raise InputError(f"unit: '{unit}' is not one of {some(MONTHS)}")
    reader = recognise(path)
    source = READERS[reader].draft(path, id, panel.default_genes, reading)
    if source.id is None:
        source = _with_id(source, panel)
    frame, time, event = source.frame, time or source.time, event or source.event
    followed = response is None or time is not None or event is not None
    if not followed and treatment is not None:
        raise InputError("treatment: its effect is on survival: name --time and --event too")
    roles = {"time": time, "event": event, "id": source.id, "centre": centre}
    roles |= {"treatment": treatment, "response": response}
    used = _used(frame, roles)

    endpoints: dict[str, Any] = {}
    keep, months, seen = np.ones(len(frame), dtype=bool), None, None
    outcomes: dict[str, Array] = {}
    if followed:
        time, event = _needed("time", time), _needed("event", event)
        survival: dict[str, Any] = {"time": time, "event": event, "unit": unit, "horizon": None}
        endpoint = _endpoint_name(time, panel)
        leave_out = SurvivalEndpoint(**survival, drop_without_follow_up=True)
        months, seen, keep = survival_targets(frame, endpoint, leave_out)
        few = (~keep).mean() <= FEW_WITHOUT_FOLLOW_UP
        if drop_without_follow_up or source.gaps_in_follow_up or (few and not keep.all()):
            survival["drop_without_follow_up"] = True
        else:
            # Refuses so many, with their count and the way out.
            survival_targets(frame, endpoint, SurvivalEndpoint(**survival))
        endpoints["survival"] = {endpoint: survival}
        months, seen = months[keep], seen[keep]
        outcomes = {time: months, event: seen.astype(np.float64)}
    files = [Path(os.path.relpath(path, out.parent)).as_posix()]
    study: dict[str, Any] = {"name": name or _study_name(path)}
    study["source"] = {"reader": reader, "files": files, **source.options}
    study |= {"missing": sorted(reading.words.missing), "id": source.id, "centre": centre}
    study["endpoints"] = endpoints
    label = None
    if response is not None:
        yes, no = _sides(frame[response], response, panel.positive, panel.negative)
        labels = {"column": response, "positive": yes, "negative": no}
        endpoints["binary"] = {"response": labels}
        label = binary_target(frame[keep], "response", BinaryEndpoint.model_validate(labels))
    if treatment is not None:
        yes, no = _sides(frame[treatment], treatment, panel.treated, panel.untreated)
        study["treatment"] = {"column": treatment, "treated": yes, "untreated": no}

    patients = frame[keep]
    outcomes |= _as_codes(patients, response)
    chosen = choose(
        patients.drop(columns=used),
        months,
        seen,
        label,
        outcomes,
        _as_codes(patients, treatment),
        panel,
    )
    if not chosen.found:
        why = "; ".join(ignored_by_reason(chosen.ignored)) or "there is no other column"
        raise InputError(f"{path}: no column can be a feature: {why}")
    study["modalities"] = chosen.describe()
    if followed:
        study["baselines"] = references(chosen)
    if treatment is not None:
        study["interactions"] = interactions(treatment, chosen, panel)
        study["treatment"] |= course(treatment, chosen, panel)
    notes = [*source.notes]
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
    if followed:
        build_cohort(parsed, frame)
    else:
        build_patients(parsed, frame)
    if treatment is not None:
        notes += _on_treatment(study["treatment"])
    if not keep.all():
        notes.append(
            f"left out: {int((~keep).sum())} of {len(keep)} patients, who have no follow-up "
            "(drop_without_follow_up: true; with false they are an error)"
        )
    return Draft(study, (*notes, *notes_on(chosen), *absent_markers(chosen, panel)))


def _with_id(source: DraftSource, panel: Panel) -> DraftSource:
    """Look for the identifier, and note which column it is."""
    found = _find_id(source.frame, panel)
    said = f"column '{found}' is the" if found else "rows are numbered for want of a"
    note = f"{said} patient identifier; name another with --id"
    return replace(source, id=found, notes=(*source.notes, note))


def _needed(role: str, name: str | None) -> str:
    """Return the column of the time or the event."""
    if name is None:
        raise InputError(f"{role}: name the column of the {role} (--{role})")
    return name


def _used(frame: pd.DataFrame, roles: Mapping[str, str | None]) -> list[str]:
    """Return the columns that have a role.

    Raises:
        InputError: a column is missing or has two roles.
    """
    used: dict[str, str] = {}
    for role, name in roles.items():
        if name is None:
            continue
        column(frame, name, role)
        if name in used:
            raise InputError(f"{role}: column '{name}' is named for {used[name]} already")
        used[name] = role
    return list(used)


def _is_of(disease: Disease, patients: pd.DataFrame) -> bool:
    """Say whether a table's columns and cells are of a disease."""
    text = [name for name, cells in patients.items() if not is_numeric_dtype(cells.dtype)]
    return disease.known_by(
        map(str, patients.columns), ([str(c) for c in patients[name].dropna()] for name in text)
    )


def _find_id(frame: pd.DataFrame, panel: Panel) -> str | None:
    """Return the first column that is named like an identifier and is one."""
    for name, cells in frame.items():
        if matches(panel.ids, key_of(str(name))) and not cells.isna().any():
            texts = pd.Series([as_level(cell) for cell in cells])
            if not texts.duplicated().any():
                return str(name)
    return None


def _sides(cells: pd.Series, name: str, yes: str, no: str) -> tuple[list[str], list[str]]:
    """Return the values of a column that mean yes and those that mean no.

    Where there are two values and one is known, the other is its opposite.

    Raises:
        InputError: a value is not known to be either, or one side is empty.
    """
    codes, distinct = pd.factorize(cells, use_na_sentinel=True)
    texts = [as_level(cell) for cell in distinct]
    known = {text for text in texts if text.lower() not in MISSING}
    lower = {text: " ".join(text.lower().split()) for text in known}
    positive = {text for text in known if re.fullmatch(yes, lower[text])}
    negative = {text for text in known - positive if re.fullmatch(no, lower[text])}
    other = known - positive - negative
    if len(known) == 2 and len(other) == 1:
        (negative if positive else positive).update(other)
        other = set()
    if other:
        count = int(np.isin(codes, [i for i, text in enumerate(texts) if text in other]).sum())
        raise InputError(
            f"column '{name}': {count} of {len(cells)} values mean neither yes nor no: "
            "recode the column as yes, no and empty, or write the study file by hand"
        )
    if not positive or not negative:
        raise InputError(f"column '{name}': it needs both yes and no, one of them does not occur")
    return sorted(positive), sorted(negative)


def _as_codes(frame: pd.DataFrame, name: str | None) -> dict[str, Array]:
    """Return a column's values as numbers (n,), under its name."""
    if name is None:
        return {}
    codes = pd.factorize(frame[name])[0].astype(np.float64)
    return {name: np.where(codes < 0, np.nan, codes)}


def _endpoint_name(time: str, panel: Panel) -> str:
    key = key_of(time)
    return next((n for n, p in panel.endpoints.items() if re.search(p, key)), "survival")


def _study_name(path: Path) -> str:
    stem = path.resolve().name.split(".")[0]
    return re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-_") or "cohort"


#: Section of the file -> the comment above it.
COMMENTS = {
    "name": "Drafted by `accomplice data init`: read it through, correct it, then train.",
    "source": "Where the values are, relative to this file.",
    "missing": "Further words that mean not known; a level of a feature is never missing.",
    "id": "The patient's identifier.",
    "centre": "The hospital, for splits and assay scales.",
    "endpoints": "What is predicted. horizon: months; null is the last follow-up.",
    "ceiling": "A C-index above this is taken for a leak until shown otherwise.",
    "treatment": "The treatment whose effect is asked for, and at which levels it is an option.",
    "modalities": "The inputs by modality. map: other spellings -> level, null is missing.",
    "baselines": "Reference models that every run is held against: a ridge Cox on these features.",
    "interactions": "Products that enter the linear model, fixed in advance.",
    "ignored": "Columns left out and why; move one to modalities to use it.",
}


def _on_treatment(treatment: dict[str, Any]) -> list[str]:
    """Say what was taken for granted of a treatment."""
    label, where = treatment.get("label", TREATMENT), treatment.get("eligible")
    if where is None:
        return [f"{label} is taken to be an option for everybody; say otherwise under eligible"]
    told = "; ".join(f"{name} {some(levels)}" for name, levels in where.items())
    return [f"{label} is taken to be an option at {told}; correct treatment.eligible"]


def render_study(draft: Draft) -> str:
    """Write a draft as the text of a study file, with a comment for each section."""
    blocks = []
    for key, value in draft.study.items():
        text = yaml.dump(
            {key: _styled(value, one_line_below=2 if key == "modalities" else None)},
            Dumper=_Dumper,
            sort_keys=False,
            allow_unicode=True,
            width=100,
        )
        blocks.append(f"# {COMMENTS[key]}\n{text}")
    return "\n".join(blocks)


class _Line(dict[str, Any]):
    """A mapping written on one line."""


class _Row(list[Any]):
    """A list written on one line."""


class _Dumper(yaml.SafeDumper):
    """Writes every value in full, and lines as lines."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


_Dumper.add_representer(
    _Line, lambda d, v: d.represent_mapping("tag:yaml.org,2002:map", v.items(), flow_style=True)
)
_Dumper.add_representer(
    _Row, lambda d, v: d.represent_sequence("tag:yaml.org,2002:seq", v, flow_style=True)
)

# YAML reads the control character "next line" as a line break unless it is quoted and escaped.
_Dumper.add_representer(
    str,
    lambda d, v: d.represent_scalar("tag:yaml.org,2002:str", v, style='"' if "\x85" in v else None),
)


def _styled(value: Any, one_line_below: int | None) -> Any:
    """Put lists, and mappings so many levels inside, on one line."""
    if isinstance(value, list):
        return _Row(_styled(item, None) for item in value)
    if not isinstance(value, dict):
        return value
    if one_line_below == 0:
        return _Line(value)
    deeper = None if one_line_below is None else one_line_below - 1
    return {key: _styled(item, deeper) for key, item in value.items()}
