"""Choose a draft's features, their modalities, and the features of reference models."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from accomplice.data.arrays import Array, Bools
from accomplice.data.cells.few_patients import LEAST, merged_into_neighbours
from accomplice.data.drafting.infer import MIXED, Hints, Inferred, ask_words, infer
from accomplice.data.drafting.leaks import find_copies, find_label_leaks, find_leaks
from accomplice.data.drafting.names import ENSEMBL, resolve_names
from accomplice.data.errors import InputError, nearest, some
from accomplice.data.panels.panel import KNOWN_AFTER, Panel, Place, key_of, matches

#: Modality of columns that the panel does not know.
REST = "clinical"
#: Modality of genes that the panel does not know, if there are many.
GENES = "genes"
#: Minimum number of genes that make a modality of their own.
MANY_GENES = 30
#: Maximum number of features of a reference model.
BASELINE_SIZE = 30

#: Maximum number of assumptions about columns that a note lists.
MOST_NOTED = 30

#: Reason: the column is a copy of another.
COPY = "repeats another column"
#: Reason: the column is the hospital.
CENTRE = "names the hospital, take it with --centre (centre in the study file)"
#: Reason: another column of the gene and assay is a feature.
SECOND = "another column of the same gene"


@dataclass
class Chosen:
    """The features of a draft."""

    found: dict[str, Inferred] = field(default_factory=dict)
    """Name of a feature -> the feature."""
    places: dict[str, Place] = field(default_factory=dict)
    """Name of a feature -> its place in the panel, where the panel knows the name."""
    ignored: dict[str, str] = field(default_factory=dict)
    """Column -> the reason why it is no feature, with details after a colon."""
    modalities: dict[str, list[str]] = field(default_factory=dict)
    """Modality -> names of its features."""
    columns: dict[str, str] = field(default_factory=dict)
    """Name of a feature -> its column, where that has another name."""
    remarks: list[str] = field(default_factory=list)
    """Assumptions about names, one line each."""
    cells: list[str] = field(default_factory=list)
    """Assumptions about cells: one line, if any."""
    asked: list[str] = field(default_factory=list)
    """Questions on columns that an option must answer."""

    def drop(self, reasons: Mapping[str, str]) -> None:
        """Move features to the ignored columns.

        Args:
            reasons: name of a feature -> why it is dropped.
        """
        for name, reason in reasons.items():
            del self.found[name]
            self.ignored[self.columns.pop(name, name)] = reason

    def describe(self) -> dict[str, dict[str, Any]]:
        """Return the modalities with their features, as in the study file."""
        return {m: {n: self._spec(n) for n in names} for m, names in self.modalities.items()}

    def _spec(self, name: str) -> dict[str, Any]:
        kind, *rest = self.found[name].spec.items()
        column = [("column", self.columns[name])] if name in self.columns else []
        return dict([kind, *column, *rest])


def choose(
    frame: pd.DataFrame,
    time: Array | None,
    event: Bools | None,
    label: Array | None,
    outcomes: Mapping[str, Array],
    treatment: Mapping[str, Array],
    panel: Panel,
    hints: Hints | None = None,
    keys: Mapping[str, str] | None = None,
) -> Chosen:
    """Choose the features of a draft.

    Args:
        frame: the cohort's patients (n rows), without the columns that have another role.
        time: follow-up in months (n,); None without a survival endpoint.
        event: whether the event was observed (n,); None without a survival endpoint.
        label: response (n,), 1, 0, or NaN for unlabelled patients; None without one.
        outcomes: column of an outcome -> its values as numbers (n,); a copy of one is no feature.
        treatment: column of the treatment, if any -> its values as codes (n,); a copy of it is no
            feature.
        panel: known names.
        hints: words for missing, decimal mark, and columns that options name.
        keys: column -> the key that all its cells begin with; see :func:`keys.keys_of`.

    Raises:
        InputError: the hints name a column that the table lacks.
    """
    chosen = Chosen()
    naming = resolve_names(frame, keys or {}, time, panel)
    hints = _named(hints or Hints(), naming.names, frame)
    chosen.remarks += naming.remarks
    remarks: list[str] = []
    for name, cells in frame.items():
        column = naming.names.get(str(name), str(name))
        gene = str(name) in naming.genes
        reason = None if gene else panel.why_ignored(column) or naming.entry.get(column)
        if matches(panel.centres, key_of(column)) and not gene:
            reason = CENTRE
        place = panel.place(column)
        inferred = reason or infer(cells, column, place, panel, hints)
        if isinstance(inferred, str):
            chosen.ignored[str(name)] = inferred
            if inferred.startswith(MIXED):
                chosen.asked += ask_words(cells, column, hints)
            continue
        # The treatment is an option at levels of the stage, each of which must then be a level.
        if inferred.ordinal is not None and not (treatment and inferred.ordinal.stage):
            inferred = _without_rare_levels(column, inferred)
        chosen.found[column] = inferred
        remarks += inferred.remarks
        chosen.asked += inferred.asked
        if column != name:
            chosen.columns[column] = str(name)
        if place is not None:
            chosen.places[column] = place
    if remarks:
        more = f"; and {len(remarks) - MOST_NOTED} more" if len(remarks) > MOST_NOTED else ""
        chosen.cells.append("; ".join(remarks[:MOST_NOTED]) + more)
    if time is not None and event is not None:
        chosen.drop(find_leaks(chosen.found, time, event))
    if label is not None:
        chosen.drop(find_label_leaks(chosen.found, label))
    for name, (of, how) in find_copies(chosen.found, {**outcomes, **treatment}).items():
        chosen.drop({name: f"{KNOWN_AFTER if of in outcomes else COPY}: {how} as '{of}'"})
    chosen.drop(_second_columns(chosen))
    chosen.modalities = _modalities(chosen, panel)
    return chosen


def _without_rare_levels(name: str, inferred: Inferred) -> Inferred:
    """Return an ordinal whose levels of few patients are read as their neighbours."""
    whole = inferred.ordinal.levels if inferred.ordinal is not None else []
    codes = inferred.codes[~np.isnan(inferred.codes)].astype(int)
    sizes = dict(zip(whole, np.bincount(codes, minlength=len(whole)).tolist(), strict=True))
    levels, spellings = inferred.spec["levels"], inferred.spec.get("map", {})
    into = merged_into_neighbours(sizes, levels)
    if not into:
        return inferred
    spec = inferred.spec | {"levels": [level for level in levels if level not in into]}
    spec["map"] = {text: into.get(level, level) for text, level in spellings.items()} | into
    read = ", ".join(
        f"{level} ({sizes[level]} cells) is read as {end}" for level, end in into.items()
    )
    remark = f"{name}: {read}: fewer than {LEAST} patients have it"
    return replace(inferred, spec=spec, remarks=(*inferred.remarks, remark))


def _named(hints: Hints, names: Mapping[str, str], frame: pd.DataFrame) -> Hints:
    """Return hints in which columns have the names of their features.

    Raises:
        InputError: a hint names a column that the table lacks.
    """
    present = {*map(str, frame.columns), *names.values()}
    for name in (*hints.categories, *hints.numbers):
        if name not in present:
            raise InputError(
                f"--category or --number: no column '{name}' that can be a feature"
                f"{nearest(name, present)}"
            )
    categories, numbers = (
        frozenset(names.get(name, name) for name in columns)
        for columns in (hints.categories, hints.numbers)
    )
    return replace(hints, categories=categories, numbers=numbers)


def reference_models(chosen: Chosen) -> dict[str, list[str]]:
    """Return the reference models: name -> names of their features.

    ``stage`` has the first feature of the overall stage. ``clinical`` has the features of
    :data:`REST`, or else of the first modality, if they are at most :data:`BASELINE_SIZE`.

    Raises:
        StopIteration: no feature was chosen.
    """
    baselines = {}
    stage = [n for n, f in chosen.found.items() if f.ordinal is not None and f.ordinal.stage]
    if stage:
        baselines["stage"] = stage[:1]
    simple = chosen.modalities.get(REST) or next(iter(chosen.modalities.values()))
    if len(simple) <= BASELINE_SIZE:
        baselines["clinical"] = simple
    return baselines


def interactions(treatment: str, chosen: Chosen, panel: Panel) -> list[list[str]]:
    """Return the pairs of the treatment and a feature whose product the panel suggests.

    Of each of the panel's lists of concepts, the first with a feature is taken. A category counts
    only if it has two levels.

    Args:
        treatment: column of the treatment.
        chosen: the features of the draft.
        panel: known concepts.
    """
    first: dict[str, str] = {}
    for name, place in chosen.places.items():
        spec = chosen.found[name].spec if name in chosen.found else {}
        if spec and (spec["kind"] != "category" or len(spec["levels"]) == 2):
            first.setdefault(place.concept, name)
    pairs = (next((first[c] for c in wanted if c in first), None) for wanted in panel.interactions)
    return [[treatment, name] for name in pairs if name is not None]


def treatment_entry(treatment: str, chosen: Chosen, panel: Panel) -> dict[str, Any]:
    """Return the entry of a treatment that the panel knows by its column's name, else an empty one.

    Its keys are those of the study file: ``label``; ``eligible``, if the stage is a feature and has
    all stages at which the treatment is an option; and, if known, ``expected_hr`` and
    ``expected_hr_source``.

    Args:
        treatment: column of the treatment.
        chosen: the features of the draft.
        panel: known treatments and concepts.

    Raises:
        StopIteration: no feature was chosen.
    """
    key = key_of(treatment)
    label = next((n for n, c in panel.treatments.items() if re.search(c.columns, key)), None)
    if label is None:
        return {}
    known, entry = panel.treatments[label], dict[str, Any](label=label)
    for name in reference_models(chosen).get("stage", ()):
        if known.stages and set(known.stages) <= set(chosen.found[name].spec["levels"]):
            entry["eligible"] = {name: known.stages}
            break
    if known.expected_hr is not None:
        entry["expected_hr"] = list(known.expected_hr)
        entry["expected_hr_source"] = known.expected_hr_source
    return entry


def response_features(chosen: Chosen, panel: Panel) -> list[str]:
    """Return the features that the panel suggests for a model of the response.

    Of each of the panel's lists of concepts, the first with a feature is taken.

    Args:
        chosen: the features of the draft.
        panel: known concepts.
    """
    first: dict[str, str] = {}
    for name in chosen.found:
        if name in chosen.places:
            first.setdefault(chosen.places[name].concept, name)
    found = (next((first[c] for c in wanted if c in first), None) for wanted in panel.response)
    return [name for name in found if name is not None]


def notes_on(chosen: Chosen) -> list[str]:
    """Return notes on chosen and left-out columns: one for each modality, doubt and reason."""
    notes = [*chosen.remarks]
    for modality, names in chosen.modalities.items():
        kinds = Counter(chosen.found[name].kind for name in names)
        listed = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
        notes.append(f"{modality}: {listed}: {some(map(_one_line, names))}")
    ordinals = [
        f"{_one_line(name)} ({' < '.join(f.spec['levels'])})"
        for name, f in chosen.found.items()
        if f.ordinal is not None
    ]
    order = [f"check the order of {some(ordinals)}"] if ordinals else []
    notes += ["; ".join([*chosen.cells, *order])] if chosen.cells or order else []
    unknown = [n for n in chosen.modalities.get(REST, ()) if n not in chosen.places]
    if unknown and len(chosen.modalities) > 1:
        notes.append(f"put under '{REST}', as no better place is known: {some(unknown)}")
    return notes + [f"ignored, {line}" for line in ignored_by_reason(chosen.ignored)]


def absent_markers(chosen: Chosen, panel: Panel) -> list[str]:
    """Return one note, in a list, on the panel's default genes that the cohort lacks.

    The list is empty if the cohort lacks all of them, or none.

    Args:
        chosen: the features of the draft.
        panel: known genes.
    """
    present = {place.concept for place in chosen.places.values() if place.gene}
    lacking = {
        name: [gene for gene in modality.genes if gene not in present]
        for name, modality in panel.modalities.items()
    }
    listed = [f"{name}: {', '.join(genes)}" for name, genes in lacking.items() if genes]
    if not present & panel.default_genes or not listed:
        return []
    return [f"not in this cohort, of the panel's markers: {'; '.join(listed)}"]


def ignored_by_reason(ignored: Mapping[str, str]) -> list[str]:
    """Return one line for each reason, with the columns ignored for it."""
    groups: dict[str, list[str]] = {}
    for name, reason in ignored.items():
        groups.setdefault(reason.split(":")[0], []).append(_one_line(name))
    return [f"{reason}: {some(names)}" for reason, names in groups.items()]


def _one_line(name: str) -> str:
    return " ".join(name.split())


def _second_columns(chosen: Chosen) -> dict[str, str]:
    """Return feature -> reason to drop it, for all but the first of one gene and kind.

    Only features of the kinds expression and density count.
    """
    first: dict[tuple[str, str], str] = {}
    second = {}
    for name, inferred in chosen.found.items():
        place = chosen.places.get(name)
        if place is None or not place.gene or inferred.kind not in ("expression", "density"):
            continue
        kept = first.setdefault((place.concept, inferred.kind), name)
        if kept != name:
            second[name] = f"{SECOND}: '{kept}' is kept"
    return second


def _modalities(chosen: Chosen, panel: Panel) -> dict[str, list[str]]:
    """Return modality -> names of its features, in the order of the panel's modalities."""
    rest = [name for name in chosen.found if name not in chosen.places]
    met = any(chosen.places[name].gene for name in chosen.found if name in chosen.places)
    met |= any(ENSEMBL.fullmatch(name) for name in rest)
    genes = {
        name
        for name in (rest if met else ())
        if chosen.found[name].kind == "number"
        and (re.search(panel.gene_symbol, name) or ENSEMBL.fullmatch(name))
    }
    if len(genes) < MANY_GENES:
        genes = set()
    sorted_: dict[str, list[str]] = {m: [] for m in (REST, *panel.modalities, GENES)}
    for name, inferred in chosen.found.items():
        if name in genes:
            inferred.spec["kind"] = "expression"
            sorted_[GENES].append(name)
        else:
            place = chosen.places.get(name)
            sorted_[REST if place is None else place.modality].append(name)
    return {modality: names for modality, names in sorted_.items() if names}
