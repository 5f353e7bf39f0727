"""Write files atomically, and check whether a file may be overwritten."""

from __future__ import annotations

import csv
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from accomplice.data.errors import InputError
from accomplice.data.escaping import printable_cells, quote_cells

if TYPE_CHECKING:
    import pandas as pd

    WritePart = Callable[[pd.DataFrame], None]

#: Ending of a Parquet file.
PARQUET = ".parquet"
#: Endings of the tables that can be written.
TABLES = (".csv", PARQUET)
#: Key and value that mark a JSON file as written by accomplice.
GENERATOR = {"generator": "accomplice"}
#: Ending of a file's name -> bytes that mark a file as written by accomplice.
MARKS = {
    ".html": b'<meta name="generator" content="accomplice">',
    ".json": b'"generator": "accomplice"',
    ".pdf": b"/Creator (accomplice)",
    ".png": b"Software\0accomplice",
    ".svg": b"<dc:title>accomplice</dc:title>",
}
#: Last line of a model card draft, with the digest of the text before it; an edited card differs.
SEAL = "<!-- accomplice {} -->\n"
#: Pattern of the names of the columns of predictions and of explanations.
ANSWER = re.compile(
    r"patient_id|base|flags|(.+\.)?(risk|risk_group|risk_centile|advice|p_benefit)"
    r"|(feature|modality|response)\..+|(.+\.)?\w+(\..+)?@[\d.]+"
)
#: Minimum number of rows of each group of a Parquet file but the last.
ROW_GROUP = 1 << 16


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, in UTF-8.

    Args:
        path: file to write.
        text: its text.

    Raises:
        InputError: as :func:`written_whole`.
    """
    with written_whole(path) as part:
        part.write_text(text, encoding="utf-8")


@contextmanager
def written_in_parts(path: Path, *, raw: bool = False) -> Iterator[WritePart]:
    """Yield a function that appends rows to a table: Parquet for that ending, else CSV.

    The file is complete at the end of the block; on an error it is left as it was. For Parquet the
    function must be called at least once, since the first rows decide the columns.

    Args:
        path: file to write.
        raw: as in :func:`csv_parts`.

    Raises:
        InputError: as :func:`written_whole`.
    """
    with written_whole(path) as place:
        if path.suffix == PARQUET:
            with closing(_ParquetParts(place)) as file:
                yield file.write
                file.flush()
        else:
            with place.open("w", encoding="utf-8", newline="") as text:
                yield csv_parts(text, raw=raw)


def csv_parts(file: TextIO, *, raw: bool = False) -> WritePart:
    """Return a function that appends rows to an open CSV file, with a header before the first.

    On a terminal, texts are printable.

    Args:
        file: the file.
        raw: whether texts stay as they are; by default they are those of
            :func:`escaping.quote_cells`, which no spreadsheet runs.
    """
    begun = False
    changes = [*([] if raw else [quote_cells]), *([printable_cells] if file.isatty() else [])]

    def write(part: pd.DataFrame) -> None:
        nonlocal begun
        texts = part.columns[[kind.kind not in "biuf" for kind in part.dtypes]]
        names: Iterable[object] = part.columns
        for changed in changes:
            part = part.assign(**{name: changed(part[name]) for name in texts})
            names = changed(names)
        part.set_axis([*names], axis=1).to_csv(file, index=False, header=not begun)
        begun = True

    return write


class _ParquetParts:
    """A Parquet file to which rows are appended, in groups of at least :data:`ROW_GROUP` rows.

    The last group may be smaller.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: Any = None
        self._held: list[Any] = []

    def write(self, part: pd.DataFrame) -> None:
        """Append rows; the first ones decide the columns' types."""
        import pyarrow as pa

        schema = self._held[0].schema if self._held else getattr(self._writer, "schema", None)
        self._held.append(pa.Table.from_pandas(part, schema, preserve_index=False))
        if sum(map(len, self._held)) >= ROW_GROUP:
            self.flush()

    def flush(self) -> None:
        """Write the rows that are buffered."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not self._held:
            return
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, self._held[0].schema)
        self._writer.write_table(pa.concat_tables(self._held))
        self._held.clear()

    def close(self) -> None:
        """Close the file without the buffered rows."""
        if self._writer is not None:
            self._writer.close()


def check_file(path: Path, inputs: Iterable[Path] = ()) -> bool:
    """Refuse a path at which no file may be written.

    Args:
        path: file to write.
        inputs: files and folders that are read.

    Returns:
        Whether a file that accomplice wrote exists there, which would be replaced.

    Raises:
        InputError: the path's folder does not exist, or the path is a folder, an input, or a file
            that accomplice did not write.
    """
    place = _place(path)
    for other in inputs:
        if same_file(path, other):
            raise InputError(f"{path}: is an input, {other}: name another file")
    if not place.exists():
        return False
    if not is_ours(place):
        raise InputError(f"{path}: is there, and not of accomplice's: name another file")
    return True


def is_study(path: Path) -> bool:
    """Whether a file is a study file by its top-level keys, valid or not."""
    from accomplice.data.readers.yaml_text import read_yaml

    try:
        raw = read_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    keys = {*raw} if isinstance(raw, dict) else set()
    return bool({"source", "cohorts"} & keys) and bool({"endpoints", "modalities"} & keys)


def check_study_place(path: Path, inputs: Iterable[Path], *, force: bool) -> bool:
    """Refuse a path at which no study file may be written.

    Args:
        path: study file to write.
        inputs: files and folders that are read.
        force: whether an existing study file may be replaced.

    Returns:
        Whether a file would be replaced.

    Raises:
        InputError: a study file exists there and ``force`` is false; or, if what exists is no
            study file, as :func:`check_file`.
    """
    if not is_study(path):
        return check_file(path, inputs)
    if not force:
        raise InputError(
            f"{path}: a study file is there: --force replaces it, edits and all; or name another "
            "one by --out"
        )
    return True


def _place(path: Path) -> Path:
    """Return the file that a path leads to, links followed.

    Raises:
        InputError: its folder does not exist or may not be written to, or it is a folder itself.
    """
    place = path.resolve()
    if not place.parent.is_dir():
        raise InputError(f"{path.parent}: no such folder: make it first")
    if place.is_dir():
        raise InputError(f"{path}: is a folder: name a file")
    if not os.access(place.parent, os.W_OK | os.X_OK):
        raise InputError(f"{path}: cannot be written: no permission in {place.parent}")
    return place


def same_file(path: Path, other: Path) -> bool:
    """Whether two paths lead to the same file or folder; links and ``..`` are followed."""
    if path.resolve() == other.resolve():
        return True
    return path.exists() and other.exists() and path.samefile(other)


def is_ours(path: Path) -> bool:
    """Whether accomplice wrote a file: a report, its numbers, a model card, a figure or a table.

    A table of predictions or explanations is recognised by the names of all its columns, a model
    card by its digest (an edited card is the user's), and any other file by its mark.
    """
    try:
        if path.suffix == ".csv":
            with path.open(encoding="utf-8", newline="") as file:
                return _is_answer(next(csv.reader(file), []))
        if path.suffix == PARQUET:
            import pyarrow.parquet as pq

            return _is_answer(pq.read_schema(path).names)
        if path.suffix == ".md":
            text = path.read_text(encoding="utf-8")
            return text == sealed(text[: text.rfind(SEAL.partition(" {")[0])])
        mark = MARKS.get(path.suffix)
        return mark is not None and path.is_file() and mark in path.read_bytes()
    except (OSError, ValueError, csv.Error):
        return False


def sealed(text: str) -> str:
    """Return a text with its digest in a last line, which shows whether it was edited since."""
    return text + SEAL.format(hashlib.sha256(text.encode()).hexdigest())


def _is_answer(columns: Sequence[str]) -> bool:
    """Whether these are the columns of predictions or of explanations."""
    ends = {"flags", "base"} & {*columns}
    return bool(ends) and all(map(ANSWER.fullmatch, columns))


def check_beside(path: Path, suffixes: tuple[str, ...], inputs: Iterable[Path] = ()) -> list[Path]:
    """Refuse a path at which a file, or the JSON file beside it, may not be written.

    Args:
        path: file to write; the JSON file has its name with ``.json``.
        suffixes: endings that the file may have.
        inputs: files and folders that are read.

    Returns:
        Those of the two files that would be replaced.

    Raises:
        InputError: the ending is none of the suffixes, or as :func:`check_file`.
    """
    if path.suffix not in suffixes:
        raise InputError(f"--out {path}: name a file that ends in {' or '.join(suffixes)}")
    inputs = [*inputs]
    return [file for file in (path, path.with_suffix(".json")) if check_file(file, inputs)]


@contextmanager
def written_beside(path: Path, numbers: str) -> Iterator[Path]:
    """Yield a temporary path as :func:`written_whole`, and write ``numbers`` as JSON beside it.

    Args:
        path: file to write; the JSON file has its name with ``.json``.
        numbers: text of the JSON file.

    Raises:
        InputError: as :func:`written_whole`.
    """
    with written_whole(path) as part, written_whole(path.with_suffix(".json")) as beside:
        yield part
        beside.write_text(numbers, encoding="utf-8")


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a temporary path, which replaces ``path`` at the end and is removed on an error.

    If the path is a link, the file that it leads to is replaced.

    Raises:
        InputError: the path's folder does not exist, or the path is a folder.
    """
    place = _place(path)
    part = place.with_name(f".{place.name}.part")
    try:
        yield part
        part.replace(place)
    finally:
        part.unlink(missing_ok=True)
