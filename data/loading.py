"""Load cohorts: the tables that a study file names, read and joined, with their outcomes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd

from accomplice.data.cells.keys import keyed
from accomplice.data.cohort import Cohort, Patients, build_cohort, build_patients
from accomplice.data.errors import InputError
from accomplice.data.matching.columns import aligned, renamed
from accomplice.data.readers.reader import Reading, Selection, Stream
from accomplice.data.readers.readers import READERS, reader_named, recognise
from accomplice.data.rows.joins import join_tables
from accomplice.data.study import Study, load_study


def load_cohort(path: Path, endpoint: str | None = None, *, further: bool = False) -> Cohort:
    """Read the study file at ``path`` and the cohort it describes; see :func:`build_cohort`.

    Raises:
        InputError: the study file or its table is wrong; the text names the column and the fix.
    """
    study = load_study(path)
    study.survival_endpoint(endpoint)
    frame, notes = read_tables(study, path.parent)
    cohort = build_cohort(study, frame, endpoint, further=further)
    return replace(cohort, notes=(*notes, *cohort.notes))


def load_endpoints(path: Path, endpoint: str | None = None, *, further: bool = True) -> Patients:
    """Read the study file at ``path`` and its patients, with survival or without.

    Args:
        path: of the study file.
        endpoint: the survival endpoint that comes first; the study's first if absent.
        further: whether the study's other survival endpoints are read too.

    Returns:
        A :class:`Cohort` where the study has a survival endpoint, or one is named.

    Raises:
        InputError: as :func:`load_cohort`.
    """
    study = load_study(path)
    if study.endpoints.survival or endpoint is not None:
        return load_cohort(path, endpoint, further=further)
    frame, notes = read_tables(study, path.parent)
    patients = build_patients(study, frame)
    return replace(patients, notes=(*notes, *patients.notes))


def read_source(study: Study, folder: Path) -> pd.DataFrame:
    """Read the study's files; see :func:`read_tables`."""
    return read_tables(study, folder)[0]


def read_tables(study: Study, folder: Path) -> tuple[pd.DataFrame, list[str]]:
    """Read the study's files, whose paths are relative to ``folder``.

    Returns:
        One table, and a line for each further file on how many identifiers met.

    Raises:
        InputError: there is no such reader, or a file cannot be read or joined with the others.
    """
    reader, selection = reader_named(study.source.reader), selection_for(study)
    paths = [folder / name for name in study.source.files]
    frames = [keyed(reader.read(path, selection)) for path in paths]
    if len(frames) == 1:
        return frames[0], []
    if study.id is None:
        raise InputError("source.files: several tables are joined on the id column: name it (id)")
    return join_tables(frames, [str(p) for p in paths], study.id)


def read_patients(path: Path, study: Study) -> pd.DataFrame:
    """Read patients to predict for, in any form that a reader recognises.

    Raises:
        InputError: the file cannot be read.
    """
    reader = READERS[recognise(path, study.source.reader)]
    return aligned(keyed(reader.read(path, selection_for(study, predicting=True))), study)


def selection_for(study: Study, *, predicting: bool = False) -> Selection:
    """Return the part of its files that a study asks for."""
    reading = Reading(study.words, study.source.sheet, study.source.encoding)
    columns = frozenset(study.columns())
    return Selection(study.id, columns, study.source.expression, predicting, reading)


def stream_patients(path: Path, study: Study, sheet: str | None = None) -> Stream:
    """Open the patients of :func:`read_patients`, to be read in parts.

    Args:
        path: of the file.
        study: names the columns.
        sheet: of a workbook, where it is not the study's.

    Raises:
        InputError: the file cannot be read.
    """
    reader = READERS[recognise(path, study.source.reader)]
    selection = selection_for(study, predicting=True)
    if sheet is not None:
        selection = replace(selection, reading=replace(selection.reading, sheet=sheet))
    stream = reader.stream(path, selection)
    names = renamed(stream.columns, study)
    return Stream(
        stream.rows,
        tuple(names.get(name, name) for name in stream.columns),
        lambda rows: (keyed(part).rename(columns=names) for part in stream.parts(rows)),
    )
