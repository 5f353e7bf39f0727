"""Write files atomically, and overwrite only files that accomplice wrote."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from accomplice.data.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    WritePart = Callable[[pd.DataFrame], None]

PARQUET = ".parquet"
#: Endings of a table that can be written.
TABLES = (".csv", PARQUET)
#: Mark of all JSON files.
GENERATOR = {"generator": "accomplice"}
#: Marks of written files, by the ending of their names.
MARKS = {
    ".html": b'<meta name="generator" content="accomplice">',
    ".json": b'"generator": "accomplice"',
    ".pdf": b"/Creator (accomplice)",
    ".png": b"Software\0accomplice",
    ".svg": b"<dc:title>accomplice</dc:title>",
}
#: Last line of a draft for people to complete: its digest shows whether it was edited.
SEAL = "<!-- accomplice {} -->\n"
#: Columns of predictions and of explanations.
ANSWER = re.compile(
    r"patient_id|base|flags|(.+\.)?(risk|risk_group|risk_centile|advice|p_benefit)"
    r"|(feature|modality|response)\..+|(.+\.)?\w+(\..+)?@[\d.]+"
)
#: Rows of a Parquet file that are written together.
ROW_GROUP = 1 << 16


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with written_whole(path) as part:
        part.write_text(text, encoding="utf-8")


@contextmanager
def written_in_parts(path: Path) -> Iterator[WritePart]:
    """Yield a writer of a table part by part, as CSV or Parquet by the file's ending.

    The file appears at the end, whole, or not at all; memory holds some parts of it at the most.
    """
    with written_whole(path) as place:
        if path.suffix == PARQUET:
            with closing(_ParquetParts(place)) as file:
                yield file.write
                file.flush()
        else:
            with place.open("w", encoding="utf-8", newline="") as text:
                yield csv_parts(text)


def csv_parts(file: TextIO) -> WritePart:
    """Return a writer of a table part by part to an open file, as CSV."""
    begun = False

    def write(part: pd.DataFrame) -> None:
        nonlocal begun
        part.to_csv(file, index=False, header=not begun)
        begun = True

    return write


class _ParquetParts:
    """A Parquet file written part by part, in row groups of a size that is quick to read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: Any = None
        self._held: list[Any] = []

    def write(self, part: pd.DataFrame) -> None:
        """Add rows; the first part decides the columns' types."""
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
    """Refuse a path where no file may be written.

    Args:
        path: of the file.
        inputs: files and folders that are read.

    Returns:
        Whether a file of accomplice's is there, which would be replaced.

    Raises:
        InputError: the folder does not exist, or the path is one, an input's, or another file's.
    """
    place = _place(path)
    for each in inputs:
        if same_file(path, each):
            raise InputError(f"{path}: is an input, {each}: name another file")
    if not place.exists():
        return False
    if not is_ours(place):
        raise InputError(f"{path}: is there, and not of accomplice's: name another file")
    return True


def is_study(path: Path) -> bool:
    """Whether a file is a study file, valid or not."""
    import yaml

    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError):
        return False
    keys = {*raw} if isinstance(raw, dict) else set()
    return bool({"source", "cohorts"} & keys) and bool({"endpoints", "modalities"} & keys)


def check_study_place(path: Path, inputs: Iterable[Path], *, force: bool) -> bool:
    """Refuse to write a study file over one that is there, unless that is asked for.

    Args:
        path: of the file.
        inputs: files and folders that are read.
        force: whether a study file that is there is replaced.

    Returns:
        Whether one would be replaced.

    Raises:
        InputError: one is there, and it was not asked for; or as :func:`check_file`.
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
    """Return the file that a path leads to.

    Raises:
        InputError: its folder does not exist, or it is one.
    """
    place = path.resolve()
    if not place.parent.is_dir():
        raise InputError(f"{path.parent}: no such folder: make it first")
    if place.is_dir():
        raise InputError(f"{path}: is a folder: name a file")
    return place


def same_file(path: Path, other: Path) -> bool:
    """Whether two paths lead to the same file or folder, by links and ``..`` too."""
    if path.resolve() == other.resolve():
        return True
    return path.exists() and other.exists() and path.samefile(other)


def is_ours(path: Path) -> bool:
    """Whether a file is a report, a model card, a figure, or predictions that accomplice wrote.

    A table is one by its columns, all of them; a card by its digest, since people complete it;
    others have a mark.
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
    """Return a draft with its digest, which shows whether it was edited since."""
    return text + SEAL.format(hashlib.sha256(text.encode()).hexdigest())


def _is_answer(columns: Sequence[str]) -> bool:
    ends = {"flags", "base"} & {*columns}
    return bool(ends) and all(map(ANSWER.fullmatch, columns))


def check_beside(path: Path, suffixes: tuple[str, ...], inputs: Iterable[Path] = ()) -> list[Path]:
    """Refuse, before long work, a path where a file and its JSON cannot be written.

    Returns:
        The files there that would be replaced.

    Raises:
        InputError: not one of the suffixes, or as :func:`check_file`.
    """
    if path.suffix not in suffixes:
        raise InputError(f"--out {path}: name a file that ends in {' or '.join(suffixes)}")
    inputs = [*inputs]
    return [each for each in (path, path.with_suffix(".json")) if check_file(each, inputs)]


@contextmanager
def written_beside(path: Path, numbers: str) -> Iterator[Path]:
    """Do as :func:`written_whole`, and write the numbers as JSON next to it."""
    with written_whole(path) as part, written_whole(path.with_suffix(".json")) as beside:
        yield part
        beside.write_text(numbers, encoding="utf-8")


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a temporary path that becomes ``path`` at the end, and is removed on failure.

    A link stays, and the file that it leads to is written.

    Raises:
        InputError: the folder does not exist, or the path is one.
    """
    place = _place(path)
    part = place.with_name(f".{place.name}.part")
    try:
        yield part
        part.replace(place)
    finally:
        part.unlink(missing_ok=True)
