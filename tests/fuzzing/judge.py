"""Judge how a table is read: drafted, then loaded by the draft, and compared with the truth.

A reading is compared independently of how cells are written and levels are called: identifiers as
texts, times in months and numbers to nine digits, an ordered code as the rank of its levels among
those that occur, a category by the order in which its levels first occur; so is a column of two
values, whatever its kind. Two readings are equal if all of this is, for the same features.
"""

from __future__ import annotations

import json
import re
import tempfile
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml

from accomplice.data.cells.few_patients import merged_into_other
from accomplice.data.cells.missing import Words, words_of
from accomplice.data.cohort import Cohort
from accomplice.data.drafting.draft import Answers, Draft, draft_study, render_study
from accomplice.data.drafting.identity import parse_rows
from accomplice.data.errors import InputError
from accomplice.data.loading import load_cohort
from accomplice.data.readers.reader import Reading
from tests.fuzzing.cases import Case, digest
from tests.fuzzing.tables import Column, Value

Outcome = Literal[
    "equal", "answered", "refused", "asked", "noted", "unequal", "silent", "traceback", "leak"
]
#: Outcomes that are faults, for a damaged and for a sound table.
FAULTS: frozenset[Outcome] = frozenset({"unequal", "silent", "traceback", "leak"})
#: Notes that list columns without saying anything of one of them.
_LISTS = re.compile(
    r"\w+: \d+ (number|category|ordinal|expression|density)\b|put under |check the order"
)
#: How often a user answers what is asked of a sound table.
ANSWERS = 4


@dataclass(frozen=True)
class Read:
    """A table as it was read, or as it is in truth."""

    ids: tuple[str, ...]
    time: tuple[float, ...]
    event: tuple[bool, ...]
    features: dict[str, tuple[str, tuple[float | None, ...]]]
    """Column -> kind, and numbers that do not depend on how levels are called."""

    def fingerprint(self) -> str:
        """Return the sha256 (hex) of everything."""
        features = sorted(self.features.items())
        return digest(json.dumps([self.ids, self.time, self.event, features]))

    def differences(self, other: Read) -> list[str]:
        """Return what another reading has otherwise."""
        if len(other.ids) != len(self.ids):
            return ["rows"]
        found = [n for n in ("ids", "time", "event") if getattr(self, n) != getattr(other, n)]
        found += [f"lost {name}" for name in self.features if name not in other.features]
        found += [f"added {name}" for name in other.features if name not in self.features]
        both = [name for name in self.features if name in other.features]
        return found + [f"value {n}" for n in both if self.features[n] != other.features[n]]


@dataclass(frozen=True)
class Verdict:
    """How a case went."""

    outcome: Outcome
    text: str = ""
    """The error, what is asked, or the trace."""
    differences: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def truth_of(case: Case) -> Read:
    """Return what is true of a case's table."""
    table = case.table
    kept = [i for i in range(table.rows) if i not in table.left_out]
    if table.has("id"):  # a cohort is in the order of its identifiers
        ids = [cell.strip() for cell in table.role("id").cells]
        kept.sort(key=ids.__getitem__)
    else:
        ids = [str(i + 1) for i in range(table.rows)]
    return Read(
        tuple(ids[i] for i in kept),
        tuple(rounded(table.role("time").values[i]) or 0.0 for i in kept),
        tuple(table.role("event").values[i] == 1 for i in kept),
        {case.name(c): _truth(c, kept) for c in table.features()},
    )


def reading_of(cohort: Cohort) -> Read:
    """Return how a table was read."""
    features = {}
    for j, (name, feature) in enumerate(cohort.study.features.items()):
        values = [None if np.isnan(v) else float(v) for v in cohort.values[:, j]]
        kind = feature.kind if feature.kind in ("ordinal", "category") else "number"
        features[feature.column or name] = alike(kind, values)
    return Read(
        tuple(map(str, cohort.ids)),
        tuple(rounded(v) or 0.0 for v in cohort.time.tolist()),
        tuple(map(bool, cohort.event)),
        features,
    )


def alike(kind: str, values: Sequence[float | None]) -> tuple[str, tuple[float | None, ...]]:
    """Return a column's kind and values, independently of what levels are called."""
    known = {v for v in values if v is not None}
    if kind == "category" or len(known) <= 2:
        places = {
            v: float(i) for i, v in enumerate(dict.fromkeys(v for v in values if v is not None))
        }
        return "levels", tuple(None if v is None else places[v] for v in values)
    if kind == "ordinal":
        ranks = {v: float(i) for i, v in enumerate(sorted(known))}
        return "ordinal", tuple(None if v is None else ranks[v] for v in values)
    return "number", tuple(map(rounded, values))


def rounded(value: Any) -> float | None:
    """Return a number to nine digits."""
    return None if value is None else float(f"{float(value):.9g}")


def _truth(column: Column, kept: Sequence[int]) -> tuple[str, tuple[float | None, ...]]:
    values: list[Value] = [column.values[i] for i in kept]
    if column.kind == "number":
        return alike("number", [None if v is None else float(v) for v in values])
    order = column.order or tuple(sorted({str(v) for v in values if v is not None}))
    places = {level: float(i) for i, level in enumerate(order)}
    if column.kind == "category":  # a draft joins levels that few patients have
        sizes = Counter(str(v) for v in column.values if v is not None)
        other, few = merged_into_other(sizes)
        places |= dict.fromkeys(few, places.get(other, -1.0))
    return alike(column.kind, [None if v is None else places[str(v)] for v in values])


def judge(case: Case, folder: Path | None = None) -> Verdict:
    """Draft, load and compare a case.

    Args:
        case: finished, as :func:`cases.finish` leaves it.
        folder: where its files are left; a folder that is removed if absent.
    """
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="accomplice-fuzz-") as scratch:
            return judge(case, Path(scratch))
    try:
        verdict = _judged(case, case.save(folder), folder / "study.yaml")
    except Exception:
        return Verdict("traceback", traceback.format_exc())
    told = _told(case, [verdict.text, *verdict.notes])
    return Verdict("leak", told, verdict.differences, verdict.notes) if told else verdict


def _judged(case: Case, paths: list[Path], study: Path) -> Verdict:
    said, stopped = dict(case.options), ""
    for _ in range(ANSWERS):
        text, outcome = "", "refused"
        try:
            draft = draft_study(paths[0], out=study, **_arguments(case, said))
            text, outcome = "; ".join(draft.asked), "asked"
        except InputError as error:
            text = str(error)
        if not text:
            return _compared(case, draft, paths, study, stopped)
        if not case.sound:
            return Verdict(outcome, text)
        answers = {
            name: answer(text) if callable(answer) else answer
            for name, answer in case.answers.items()
            if f"--{name.replace('_', '-')}" in text
        }
        new = {k: v for k, v in answers.items() if v and v not in str(said.get(k, "")).split(",")}
        if not new:
            break
        stopped = stopped or text
        for name, answer in new.items():
            listed = name in ("category", "number", "missing", "level")
            said[name] = ",".join([*filter(None, [said.get(name)]), answer]) if listed else answer
    return Verdict("unequal", text)


def _compared(case: Case, draft: Draft, paths: list[Path], study: Path, stopped: str) -> Verdict:
    """Load what was drafted and compare it with the truth."""
    text = render_study(draft)
    if len(paths) > 1:
        raw = yaml.safe_load(text)
        raw["source"] = {"reader": "table", "files": [path.name for path in paths[1:]]}
        text = yaml.safe_dump(raw)
    study.write_text(text, "utf-8")
    try:
        cohort = load_cohort(study)
    except InputError as error:
        # A draft that cannot be loaded is none, but two files may not fit each other.
        if len(paths) > 1:
            return Verdict("refused", str(error))
        return Verdict("traceback", f"the draft cannot be loaded: {error}")
    notes = (*draft.notes, *cohort.notes)
    parts = [part for note in notes for part in note.split("; ")]
    said = [part for part in parts if not _LISTS.match(part)]
    different = tuple(truth_of(case).differences(reading_of(cohort)))
    lacking = [need for need in case.needed if not any(re.search(need, note) for note in said)]
    if not different and not lacking:
        return Verdict("answered" if stopped else "equal", stopped, (), notes)
    if case.sound:
        return Verdict("unequal", stopped, different, notes)
    ignored = draft.study.get("ignored", {})
    for each in different:
        excuses = [note for what, note in case.excused if re.search(what, each)]
        lost = each.removeprefix("lost ")
        if lost != each and lost in ignored and any(n.startswith("ignored, ") for n in said):
            continue
        if not any(re.search(excuse, note) for excuse in excuses for note in said):
            lacking.append(f"excuse for {each}")
    if lacking:
        return Verdict("silent", "no note: " + "; ".join(lacking), different, notes)
    return Verdict("noted", "", different, notes)


def _arguments(case: Case, said: dict[str, str]) -> dict[str, Any]:
    """Return the arguments of :func:`draft_study`, as the command line makes them of options."""

    def listed(name: str) -> tuple[str, ...]:
        return tuple(word.strip() for word in said.get(name, "").split(",") if word.strip())

    answers = Answers(
        start=said.get("from"),
        date_format=said.get("date_format"),
        event_values=listed("event_values") or None,
        rows=parse_rows(said.get("rows")),
        decimal=said.get("decimal"),
        categories=listed("category"),
        numbers=listed("number"),
    )
    words = Words(missing=words_of(listed("missing")), kept=words_of(listed("level")))
    encoding = case.form.encoding if case.form.encoding == "cp1252" else None
    reading = Reading(words, encoding=encoding if case.form.is_text else None)
    plain = {key: said[key] for key in ("id", "centre", "unit") if key in said}
    return {
        "time": said["time"],
        "event": said["event"],
        "drop_without_follow_up": "drop_without_follow_up" in said,
        "reading": reading,
        "answers": answers,
        **plain,
    }


def _told(case: Case, texts: Sequence[str]) -> str:
    """Return the first text that has a patient's identifier or remark in it, or nothing."""
    table = case.table
    cells = table.role("id").cells if table.has("id") else []
    secret = [c for c in cells if len(c) >= 6 and not c.isdigit()]
    remarks = table.concept("remarks")
    secret += [c for c in remarks.cells if len(c) >= 8] if remarks is not None else []
    return next((text for text in texts for each in secret if each in text), "")
