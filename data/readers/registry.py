"""The table of readers: the values that ``source.reader`` of a study file can have."""

from __future__ import annotations

from pathlib import Path

from accomplice.data.errors import InputError, nearest
from accomplice.data.readers.cbioportal import CBioPortalReader
from accomplice.data.readers.reader import Reader
from accomplice.data.readers.table_reader import TableReader

#: Name of the reader for paths that no reader recognises; its errors list the formats.
DEFAULT = "table"
#: Name in a study file -> reader.
READERS: dict[str, Reader] = {DEFAULT: TableReader(), "cbioportal": CBioPortalReader()}


def reader_named(name: str) -> Reader:
    """Return the reader that a study file names.

    Raises:
        InputError: no reader has that name; the text gives the nearest name, if one is near.
    """
    if name not in READERS:
        raise InputError(f"source.reader: no reader '{name}'{nearest(name, READERS)}")
    return READERS[name]


def recognise(path: Path, first: str = DEFAULT) -> str:
    """Return the name of the first reader that recognises a path, ``DEFAULT`` if none does.

    Args:
        path: a file or a folder.
        first: name of the reader that is tried before the others, if it is registered.
    """
    order = (*({first} & READERS.keys()), *READERS)
    return next((name for name in order if READERS[name].recognises(path)), DEFAULT)
