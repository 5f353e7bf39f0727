"""The interface of readers, one for each form of a cohort's files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from accomplice.data.cells.missing import Words


@dataclass(frozen=True)
class Reading:
    """Options of a study or user on how files are read."""

    words: Words = field(default_factory=Words)
    """Words for missing, and words that are levels."""
    sheet: str | None = None
    """Sheet of a workbook; None: its only one, or the one that is far larger than all others."""
    encoding: str | None = None
    """Python's name of the text's encoding; None: UTF-8, or UTF-16 if the file looks like it."""


#: The default options of reading.
PLAIN = Reading()


@dataclass(frozen=True)
class Selection:
    """The part of a file that a study needs."""

    id: str | None = None
    """Column of the patient's identifier, read as text."""
    columns: Collection[str] | None = None
    """Columns that the study names; a reader may leave out others. All if None."""
    expression: str | None = None
    """``source.expression`` of the study file."""
    predicting: bool = False
    """Whether the patients are read for predictions, from another file than the study's own."""
    reading: Reading = PLAIN
    """Options on how the file is read."""


@dataclass(frozen=True)
class Stream:
    """A table that can be read repeatedly, in parts."""

    rows: int
    """Number of rows."""
    columns: tuple[str, ...]
    """Names of the columns."""
    _parts: Callable[[int], Iterator[pd.DataFrame]]
    """Function that yields the parts, given their number of rows."""

    def parts(self, rows: int) -> Iterator[pd.DataFrame]:
        """Yield the table in order, in parts of ``rows`` rows; the last part may have fewer.

        Raises:
            InputError: the file cannot be read.
        """
        return self._parts(rows)


def of_frame(frame: pd.DataFrame) -> Stream:
    """Return a stream of a table that is in memory."""

    def parts(rows: int) -> Iterator[pd.DataFrame]:
        for start in range(0, len(frame), rows):
            yield frame.iloc[start : start + rows]

    return Stream(len(frame), tuple(map(str, frame.columns)), parts)


@dataclass(frozen=True)
class DraftSource:
    """A table to draft a study file from, and the conventions of its format."""

    frame: pd.DataFrame
    """The table."""
    id: str | None = None
    """Column of the patient's identifier; None: it is searched, see :func:`identity.identify`."""
    time: str | None = None
    """The format's usual column of the follow-up time, if it has one and the table too."""
    event: str | None = None
    """The format's usual column of the event, if it has one and the table too."""
    gaps_in_follow_up: bool = False
    """Whether patients without follow-up are usual, so that the draft leaves them out."""
    options: dict[str, str] = field(default_factory=dict)
    """Keys of the study file's ``source``, beside ``reader`` and ``files``, and their values."""
    notes: tuple[str, ...] = ()
    """Notes on the choices made in reading, one line each."""


class Reader(ABC):
    """Reader of one format; :data:`readers.registry.READERS` lists the readers by name."""

    @abstractmethod
    def recognises(self, path: Path) -> bool:
        """Whether a path has this format, by its name or as a folder, without opening a file."""

    @abstractmethod
    def read(self, path: Path, selection: Selection) -> pd.DataFrame:
        """Return the table, a row for each patient or sample; missing cells are NaN, None or NA.

        Args:
            path: file or folder of this format.
            selection: columns that are needed, and options of reading.

        Raises:
            InputError: the path cannot be read. The text names the path and quotes no cell.
        """

    def stream(self, path: Path, selection: Selection) -> Stream:
        """Return the table in parts; this default reads it whole first.

        Args:
            path: file or folder of this format.
            selection: columns that are needed, and options of reading.

        Raises:
            InputError: as :meth:`read`.
        """
        return of_frame(self.read(path, selection))

    def draft(
        self,
        path: Path,
        id: str | None,
        genes: Collection[str],  # noqa: ARG002
        reading: Reading = PLAIN,
    ) -> DraftSource:
        """Return the table to draft a study file from.

        Args:
            path: a file or folder of this format.
            id: column of the patient's identifier; None: it is searched, see
                :func:`identity.identify`.
            genes: symbols to keep of a genome-wide expression matrix.
            reading: options on how the file is read.

        Raises:
            InputError: as :meth:`read`.
        """
        return DraftSource(self.read(path, Selection(id=id, reading=reading)), id)
