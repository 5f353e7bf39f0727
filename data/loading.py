"""Load cohorts: read and join a study file's tables, and check them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd

from accomplice.data.cells.keys import without_keys
from accomplice.data.cohort import Cohort, Patients, build_cohort, build_patients
from accomplice.data.errors import InputError
from accomplice.data.matching.columns import aligned, keys_for, renamed
from accomplice.data.readers.reader import Reading, Selection, Stream
from accomplice.data.readers.registry import READERS, reader_named, recognise
from accomplice.data.rows.joins import join_tables
from accomplice.data.study import Study, load_study


def load_cohort(path: Path, endpoint: str | None = None, *, further: bool = False) -> Cohort:
    """Read the study file at ``path`` and the cohort it describes; see :func:`read_cohort`.

    Args:
        path: the study file; paths of its tables start from its folder.
        endpoint: name of the main survival endpoint; None: the study's first.
        further: whether the study's other survival endpoints are read too.

    Raises:
        InputError: the study file or a table is missing or wrong, or the study has no such survival
            endpoint; the text says how to correct it.
    """
    return read_cohort(load_study(path), path.parent, endpoint, further=further)


def load_endpoints(path: Path, endpoint: str | None = None, *, further: bool = True) -> Patients:
    """Read the study file at ``path`` and its patients; see :func:`read_endpoints`.

    Args:
        path: the study file; paths of its tables start from its folder.
        endpoint: name of the main survival endpoint; None: the study's first.
        further: whether the study's other survival endpoints are read too.

    Raises:
        InputError: as :func:`load_cohort`.
    """
    return read_endpoints(load_study(path), path.parent, endpoint, further=further)


def read_cohort(
    study: Study, folder: Path, endpoint: str | None = None, *, further: bool = False
) -> Cohort:
    """Read a study's tables and check them; see :func:`cohort.build_cohort`.

    Args:
        study: description of the tables.
        folder: folder from which relative paths of the tables start.
        endpoint: name of the main survival endpoint; None: the study's first.
        further: whether the study's other survival endpoints are read too.

    Returns:
        The patients, in the order of their identifiers.

    Raises:
        InputError: as :func:`load_cohort`.
    """
    study.survival_endpoint(endpoint)
    frame, notes = read_tables(study, folder)
    cohort = build_cohort(study, frame, endpoint, further=further).in_order()
    return replace(cohort, notes=(*notes, *cohort.notes))


def read_endpoints(
    study: Study, folder: Path, endpoint: str | None = None, *, further: bool = True
) -> Patients:
    """Read a study's tables and check them, with or without a survival endpoint.

    Arguments are those of :func:`read_cohort`.

    Returns:
        A :class:`Cohort` if the study has a survival endpoint, else :class:`Patients`.

    Raises:
        InputError: as :func:`load_cohort`.
    """
    if study.endpoints.survival or endpoint is not None:
        return read_cohort(study, folder, endpoint, further=further)
    frame, notes = read_tables(study, folder)
    patients = build_patients(study, frame).in_order()
    return replace(patients, notes=(*notes, *patients.notes))


def read_tables(study: Study, folder: Path) -> tuple[pd.DataFrame, list[str]]:
    """Read a study's files, whose paths are relative to ``folder``, and join them.

    Args:
        study: description of the tables.
        folder: folder from which relative paths of the files start.

    Returns:
        One table, and a line for each further file on the number of matched identifiers.

    Raises:
        InputError: the study's reader is unknown; a file cannot be read or joined; there are
            several files but no id column; or the cells of a column begin with the name of a
            feature that is read from another column.
    """
    reader, selection = reader_named(study.source.reader), selection_for(study)
    paths = [folder / name for name in study.source.files]
    read = (reader.read(path, selection) for path in paths)
    frames = [without_keys(frame, keys_for([frame], study)) for frame in read]
    if len(frames) == 1:
        return frames[0], []
    if study.id is None:
        raise InputError("source.files: several tables are joined on the id column: name it (id)")
    return join_tables(frames, [str(p) for p in paths], study.id)


def read_patients(path: Path, study: Study) -> pd.DataFrame:
    """Read patients to predict for, from a file or folder in any form that a reader recognises.

    Args:
        path: the file or folder.
        study: study of the model.

    Returns:
        The table; columns that match the study's have the study's names.

    Raises:
        InputError: the file cannot be read, or the cells of a column begin with the name of a
            feature that is read from another column.
    """
    reader = READERS[recognise(path, study.source.reader)]
    frame = reader.read(path, selection_for(study, predicting=True))
    return aligned(without_keys(frame, keys_for([frame], study)), study)


def selection_for(study: Study, *, predicting: bool = False) -> Selection:
    """Return the columns that a study needs from its files, and the options of reading them.

    Args:
        study: the study.
        predicting: whether the patients are read for predictions, not from the study's own files.
    """
    reading = Reading(study.words, study.source.sheet, study.source.encoding)
    columns = frozenset(study.columns())
    return Selection(study.id, columns, study.source.expression, predicting, reading)


def stream_patients(
    path: Path, study: Study, sheet: str | None = None, encoding: str | None = None
) -> Stream:
    """Open a file of patients to predict for, to be read in parts; see :func:`read_patients`.

    Args:
        path: the file or folder.
        study: study of the model.
        sheet: sheet of a workbook; None: the study's.
        encoding: encoding of a text file; None: the study's.

    Raises:
        InputError: the file cannot be read. The parts raise it too, as :func:`read_patients`.
    """
    reader = READERS[recognise(path, study.source.reader)]
    selection = selection_for(study, predicting=True)
    own = selection.reading
    reading = replace(own, sheet=sheet or own.sheet, encoding=encoding or own.encoding)
    selection = replace(selection, reading=reading)
    stream = reader.stream(path, selection)
    names = renamed(stream.columns, study)

    def parts(rows: int) -> Iterator[pd.DataFrame]:
        keys = keys_for(stream.parts(rows), study)
        for part in stream.parts(rows):
            yield without_keys(part, keys).rename(columns=names)

    return Stream(stream.rows, tuple(names.get(name, name) for name in stream.columns), parts)
