"""The text of a file as UTF-8 bytes; other encodings are converted, other kinds of file refused."""

from __future__ import annotations

import codecs
import gzip
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from accomplice.data.errors import InputError

#: Number of bytes at the beginning of a file that show its kind and whether it is text.
HEAD = 65536
#: First bytes of a zip archive; an Excel workbook (.xlsx) is one.
ZIP = b"PK\x03\x04"
#: First bytes of an old Excel workbook (.xls), or of one with a password.
OLE = b"\xd0\xcf\x11\xe0"
#: First bytes of other kinds of file, in any letter case -> the kind, and the remedy.
OTHERS = {
    ZIP: "an Excel workbook or a zip archive: name it .xlsx, or unpack it",
    OLE: "an old Excel workbook (.xls), or one with a password, which are not read: save it as "
    ".xlsx or as CSV UTF-8",
    b"PAR1": "a Parquet file: name it .parquet",
    b'{"': "JSON: write one row a patient as CSV",
    b"[{": "JSON: write one row a patient as CSV",
    b"{\n": "JSON: write one row a patient as CSV",
    b"[\n": "JSON: write one row a patient as CSV",
    b"%pdf": "a PDF document: export the table as CSV",
    b"<!doctype html": "a web page: download the file itself",
    b"<html": "a web page: download the file itself",
    b"<?xml": "an XML document: export the table as CSV",
    b"<table": "a web page's table: save it as .xlsx or as CSV UTF-8",
    b"{\\rtf": "a text document: export the table as CSV",
    b"$fl2": "an SPSS file: export it as CSV",
    b"$fl3": "an SPSS file: export it as CSV",
    bytes(12) + b"\xc2\xea\x81\x60": "a SAS file: export it as CSV",
    b"\x1f\x8b": "packed by gzip: name it .gz, or, if it is R's (.rds, .rda), write the table with "
    "write.csv",
    b"\x89hdf": "an HDF5 file: export the table as CSV",
    b"arrow1": "a Feather file: write it as Parquet or CSV",
    b"<stata_dta": "a Stata file: export it as CSV",
    b"rdx": "an R data file: write the table with write.csv",
    b"!series_": "a GEO series matrix, with patients in columns: write one row a patient, such as "
    "GEOquery's pData(getGEO(...)) with write.csv",
    b"!sample_": "a part of a GEO series matrix, with patients in columns: write one row a patient",
    b"^database": "a GEO SOFT file: write one row a patient, such as GEOquery's pData as CSV",
    b"^series": "a GEO SOFT file: write one row a patient, such as GEOquery's pData as CSV",
    b"##fileformat=vcf": "a VCF file: write one row a patient",
    b"#1.2\n": "a GCT matrix, with patients in columns: write one row a patient",
    b"#1.3\n": "a GCT matrix, with patients in columns: write one row a patient",
}
#: Byte order mark -> encoding.
BOMS = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


@dataclass(frozen=True)
class Contents:
    """A text that can be opened repeatedly."""

    open: Callable[[], IO[bytes]]
    """Function that opens the text at its beginning, as UTF-8 bytes without byte order mark."""
    notes: tuple[str, ...] = ()
    """Notes on how the text was read, one line each."""


def in_memory(text: bytes, *notes: str) -> Contents:
    """Return a text that is held in memory, with notes on how it was read."""
    return Contents(lambda: io.BytesIO(text), notes)


def without_comments(contents: Contents) -> Contents:
    """Return a text with blank lines in place of those that begin with ``#``."""
    with contents.open() as file:
        text = file.read()
    return in_memory(re.sub(rb"(?m)^#[^\r\n]*", b"", text), *contents.notes)


def contents_of(path: Path, encoding: str | None = None) -> Contents:
    """Return the text of a file.

    Args:
        path: the file; a ``.gz`` file is unpacked.
        encoding: Python's name of the encoding of text that is neither UTF-8 nor UTF-16; these two
            are recognised, whatever is given. None: the text is one of the two.

    Raises:
        InputError: the file is binary or of another kind, ``encoding`` is unknown, or the text is
            not in it. Invalid UTF-8 without an ``encoding`` is found later, when the rows are read;
            errors in opening or decoding are turned into one line by ``tables.readable``.
    """
    with _opened(path) as file:
        head = file.read(HEAD)
    refuse_others(path, head)
    wide = _utf16(head)
    if wide is None and b"\0" in head:
        raise InputError(f"{path}: not a table: the file is binary")
    if wide is not None:
        text = _whole(path).decode(wide).lstrip("\ufeff").encode()
        return in_memory(_with_newlines(text), "it is UTF-16")
    if encoding is not None:
        return _decoded(path, encoding)
    if b"\r" in head and b"\n" not in head:
        return in_memory(_with_newlines(_whole(path).removeprefix(codecs.BOM_UTF8)))
    start = len(codecs.BOM_UTF8) if head.startswith(codecs.BOM_UTF8) else 0

    def reopen() -> IO[bytes]:
        opened = _opened(path)
        opened.seek(start)
        return opened

    return Contents(reopen)


def refuse_others(path: Path, head: bytes) -> None:
    """Raise for a file of a kind in `OTHERS`.

    Args:
        path: the file, for errors.
        head: first bytes of the file.

    Raises:
        InputError: the file is of such a kind; the text says how to get a table from it.
    """
    begun = head.removeprefix(codecs.BOM_UTF8).lstrip()[:64].lower().replace(b"\r\n", b"\n")
    for start, kind in OTHERS.items():
        if begun.startswith(start.lower()):
            raise InputError(f"{path}: not a table that can be read: it is {kind}")


def _opened(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path)) if path.suffix.lower() == ".gz" else path.open("rb")


def _whole(path: Path) -> bytes:
    """Return all bytes of a file, unpacked."""
    with _opened(path) as file:
        return file.read()


def _with_newlines(text: bytes) -> bytes:
    """Return a text with newlines in place of carriage returns, if those alone end its lines."""
    return text if b"\n" in text else text.replace(b"\r", b"\n")


def _utf16(head: bytes) -> str | None:
    """Return the encoding of UTF-16 text, by its mark or, if mostly ASCII, by its zero bytes.

    It is None for other text.
    """
    for mark, order in BOMS.items():
        if head.startswith(mark):
            return order
    even, odd, half = head[::2].count(0), head[1::2].count(0), len(head) // 2
    if odd > 0.8 * half and even == 0:
        return BOMS[codecs.BOM_UTF16_LE]
    return BOMS[codecs.BOM_UTF16_BE] if even > 0.8 * half and odd == 0 else None


def _decoded(path: Path, encoding: str) -> Contents:
    """Return the text of a file in an encoding; text that is valid UTF-8 is read as such.

    Raises:
        InputError: the encoding is unknown, or the text is not in it.
    """
    raw = _whole(path).removeprefix(codecs.BOM_UTF8)
    try:
        known = codecs.lookup(encoding).name
        return in_memory(_with_newlines(raw if raw.isascii() else raw.decode().encode()))
    except LookupError:
        raise InputError(f"encoding '{encoding}': no such encoding: try cp1252") from None
    except UnicodeDecodeError:
        pass
    try:
        return in_memory(_with_newlines(raw.decode(encoding).encode()), f"it is read as {known}")
    except UnicodeError:
        raise InputError(f"{path}: not a readable table: the text is not {encoding}") from None
