"""The kinds of tables: sound ones, and each kind of damage."""

from __future__ import annotations

from collections.abc import Callable

from tests.fuzzing import damaged_cells, damaged_files, damaged_outcomes, damaged_rows, sound
from tests.fuzzing.cases import Case, Damage, finish, new_case

#: Kinds of which nothing is wrong.
SOUND = ("sound", "unusual")
KINDS: dict[str, Damage] = {
    "sound": sound.plain,
    "unusual": sound.unusual,
    "rows of another width": damaged_rows.width,
    "shifted cells": damaged_rows.shift,
    "one quotation mark": damaged_rows.one_mark,
    "two quotation marks": damaged_rows.two_marks,
    "line breaks": damaged_rows.line_breaks,
    "repeated rows": damaged_rows.repeated,
    "samples": damaged_rows.samples,
    "identifiers spelt twice": damaged_rows.respelt,
    "event codings": damaged_outcomes.codings,
    "censoring flags": damaged_outcomes.censoring,
    "swapped events": damaged_outcomes.swapped,
    "time units": damaged_outcomes.units,
    "dates for times": damaged_outcomes.dates,
    "follow-up": damaged_outcomes.follow_up,
    "decimal and thousands": damaged_cells.marks,
    "units in cells": damaged_cells.units,
    "bounds": damaged_cells.bounds,
    "odd cells": damaged_cells.odd,
    "spellings": damaged_cells.spellings,
    "dates among numbers": damaged_cells.dates,
    "codes for unknown": damaged_cells.unknown,
    "words for missing": damaged_cells.missing,
    "None as a level": damaged_cells.none,
    "around the table": damaged_files.around,
    "names of genes": damaged_files.genes,
    "joined files": damaged_files.joined,
}


def make(kind: str, seed: int, kinds: dict[str, Callable[[Case], None]] = KINDS) -> Case:
    """Make the table of a kind and a seed, ready to be judged."""
    case = new_case(kind, seed)
    kinds[kind](case)
    finish(case)
    return case
