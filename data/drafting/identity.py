"""Find a table's identifier column, and merge several rows of one patient."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd
from pandas.api.types import is_float_dtype, is_numeric_dtype
from pydantic import ValidationError

from accomplice.data.cells.dates import date_form
from accomplice.data.errors import InputError, some
from accomplice.data.panels.panel import Panel, key_of, matches
from accomplice.data.readers.columns import column
from accomplice.data.rows.barcodes import read_barcodes
from accomplice.data.rows.equal_rows import equal_pairs, row_codes, value_codes
from accomplice.data.rows.one_per_patient import SAMPLE_TYPE, one_per_patient
from accomplice.data.study_parts import Rows, as_level

#: Option ``--rows all``: each row is a patient.
ALL = "all"
#: Pattern of cells for a sample of normal tissue.
_NORMAL = r"\bnormal\b|\badjacent (?:tissue|mucosa)|\bnon-?tumou?r"
#: Pattern of cells for a sample of a tumour.
_TUMOUR = r"tumou?r|cancer|carcinoma|primary|metasta|malign"
#: Values of the option ``--rows`` that choose one of a patient's rows.
WAYS = "first|last|primary|mean|latest_before:COLUMN"
#: Minimum number of groups of rows that are taken for several rows of one patient; also the maximum
#: number of distinct values of a column that may separate normal tissue from tumours.
FEWEST_GROUPS = 5
#: Maximum share of rows without an identifier for a question about the column.
FEW_BLANK = 0.05
#: Mean number of rows per value of a column named like a patient's identifier, above which the
#: column groups patients and does not identify them.
MOST_ROWS = 100
#: Number of equal pairs of rows expected by chance, below which equal rows are asked about.
UNLIKELY = 1e-6
#: Number of equal pairs of rows expected by chance, below which equal rows are noted.
DOUBTFUL = 0.01
#: Maximum number of clinical columns that are compared in the search for equal rows.
MOST_COMPARED = 200


@dataclass
class Identity:
    """A table's identifier column, and its rows, one a patient."""

    id: str | None
    """The identifier column; None: rows are numbered."""
    frame: pd.DataFrame
    """One row a patient."""
    rows: Rows | None = None
    """Rule by which several rows became one."""
    notes: list[str] = field(default_factory=list)
    """Notes for the user, one line each."""
    asked: list[str] = field(default_factory=list)
    """Questions that an option must answer, one line each."""


def parse_rows(option: str | None, prefer: Literal["filled"] | None = None) -> Rows | str | None:
    """Parse the option that chooses one of a patient's rows.

    Args:
        option: :data:`ALL` or one of :data:`WAYS`.
        prefer: with ``filled``, a cell that the chosen row lacks is taken from the other rows; not
            used with :data:`ALL`.

    Returns:
        The rule; :data:`ALL`; or None without an option.

    Raises:
        InputError: the option is not known, or ``prefer`` is given without an option.
    """
    if option is None:
        if prefer is not None:
            raise InputError(f"--prefer {prefer}: say which row counts too (--rows {WAYS})")
        return None
    if option == ALL:
        return ALL
    name, _, at = option.partition(":")
    how: object = {"latest_before": at} if name == "latest_before" and at else option
    try:
        return Rows.model_validate({"one_per_patient": how, "prefer": prefer})
    except ValidationError:
        raise InputError(f"--rows: '{option}' is none of {WAYS}|{ALL}") from None


def identify(
    frame: pd.DataFrame,
    id: str | None,
    rows: Rows | str | None,
    outcome: Sequence[str],
    panel: Panel,
    words: Collection[str],
) -> Identity:
    """Find the identifier column, and merge each patient's rows into one.

    Args:
        frame: the table.
        id: column of the identifier; None: it is found by its name, sample barcodes, or rows that
            share an outcome.
        rows: rule by which several rows become one; :data:`ALL`: each row is a patient; None: not
            answered, so that the primary tumour's row is taken if there are sample barcodes.
        outcome: columns of time and event, which a patient's rows share.
        panel: known names.
        words: cells that mean missing, in lower case.

    Raises:
        InputError: the column ``id`` is missing or holds lists; patients have several rows, no
            sample barcodes and no rule; the rule cannot be applied, as :func:`one_per_patient`; or,
            without :data:`ALL`, identifiers differ only by case, blanks, leading zeros or quotation
            marks.
    """
    if id is not None:
        column(frame, id, "id")
    key = id or _unique_id(frame, panel)
    made = rows if isinstance(rows, Rows) else None
    if rows != ALL:
        repeated = _repeated(frame, key, id, outcome, panel)
        sampled = None if rows else _sampled(frame, [id] if id else [repeated, key, *frame.columns])
        if sampled is not None:
            made, key = Rows(one_per_patient="primary"), sampled
        elif repeated is not None and made is None:
            raise InputError(_repeats_text(frame, repeated))
        else:
            key = repeated or key
    found = Identity(key, frame)
    if key is None or key != id:
        start = f"column '{key}' is the" if key else "rows are numbered, without a"
        found.notes.append(f"{start} patient identifier; name another with --id")
    if made is not None and key is not None:
        merged = one_per_patient(frame, key, made, words=words)
        found.frame, found.rows = merged.frame, made
        found.notes.append(f"rows: {merged.note(made)}")
    if rows != ALL and key is not None:
        _check_spelling(found, key)
    if rows is None and made is None:
        found.asked += _ask_equal_rows(frame, key, outcome)
        found.asked += _normal_tissue(frame, key)
        if key is None:
            found.asked += _incomplete_id(frame, panel)
        if key is None and not found.asked:
            _check_same(found)
    return found


def _sampled(frame: pd.DataFrame, names: Iterable[str | None]) -> str | None:
    """Return the first column of sample barcodes that has normal tissue or repeats a patient."""
    for name in dict.fromkeys(str(name) for name in names if name is not None):
        if not is_numeric_dtype(frame[name].dtype) and _has_normals(frame[name]):
            return name
    return None


def _unique_id(frame: pd.DataFrame, panel: Panel) -> str | None:
    """Return the first column that is named like an identifier and is complete and unique."""
    for name, cells in frame.items():
        if matches(panel.ids, key_of(str(name))) and not cells.isna().any():
            texts = pd.Series([as_level(cell) for cell in cells])
            if not texts.duplicated().any():
                return str(name)
    return None


def _incomplete_id(frame: pd.DataFrame, panel: Panel) -> list[str]:
    """Return a question if a column of identifiers, each once, is blank in few rows.

    Such a row may be a summary, and without the column patients cannot be recognised.
    """
    for name, cells in frame.items():
        blank = cells.isna().to_numpy()
        few = 0 < blank.sum() <= max(1, FEW_BLANK * len(frame))
        if few and matches(panel.ids, key_of(str(name))):
            if cells[~blank].map(as_level).duplicated().any():
                continue
            rows = (np.flatnonzero(blank) + 1).tolist()
            return [
                f"column '{name}': {len(rows)} of {len(frame)} rows have no identifier (row "
                f"{some(rows, 3, quote='')} of the table): remove them if they are no patients, or "
                f"fill the cells; --rows {ALL} takes each row as a patient, numbered"
            ]
    return []


def _repeated(
    frame: pd.DataFrame,
    single: str | None,
    named: str | None,
    outcome: Sequence[str],
    panel: Panel,
) -> str | None:
    """Return the identifier column in which patients repeat; None if there is none.

    Args:
        frame: the table.
        single: a column that is unique by row, if any.
        named: the identifier column that the user named, if any.
        outcome: columns of time and event.
        panel: known names.
    """
    if named is not None and frame[named].dropna().map(as_level).duplicated().any():
        return named
    taken = {*outcome, single}
    columns = [str(name) for name in frame.columns if str(name) not in taken]
    for name in columns:
        if matches(panel.patients, key_of(name)):
            codes, n = value_codes(frame[name].map(as_level, na_action="ignore"))
            if MOST_ROWS * n >= len(frame) and 1 < n < (codes >= 0).sum():
                return name
    candidates = {}
    for name in columns:
        cells = frame[name]
        like_id = matches(panel.ignored.get("an identifier", ()), key_of(name))
        text = not is_numeric_dtype(cells.dtype) and _worded(cells) and date_form(cells) is None
        if text or (like_id and not is_float_dtype(cells.dtype)):
            candidates[name] = cells
    return next(
        (name for name, cells in candidates.items() if _same_outcome(frame, cells, outcome)), None
    )


def _worded(cells: pd.Series) -> bool:
    """Whether most known cells of a column are not numbers."""
    return bool(pd.to_numeric(cells.dropna(), errors="coerce").isna().mean() > 0.5)


def _same_outcome(frame: pd.DataFrame, cells: pd.Series, outcome: Sequence[str]) -> bool:
    """Whether the repeated values of a column are patients, since each has one outcome.

    At least ``FEWEST_GROUPS`` values must repeat, 95 % of them with one outcome each; and the table
    must have at least 0.3 distinct outcomes for each value.
    """
    if not outcome:
        return False
    codes, n = value_codes(cells)
    if n < FEWEST_GROUPS or n > 0.95 * len(frame):
        return False
    ends = row_codes(frame, outcome)
    if len(np.unique(ends)) < 0.3 * n:
        return False
    known = pd.DataFrame({"patient": codes, "end": ends})[codes >= 0]
    groups = known.groupby("patient")["end"].agg(["size", "nunique"])
    several = groups[groups["size"] > 1]
    return len(several) >= FEWEST_GROUPS and bool((several["nunique"] == 1).mean() >= 0.95)


def _has_normals(cells: pd.Series) -> bool:
    """Whether a column has sample barcodes that include normal tissue or repeat a patient.

    Any sample that is no tumour counts as normal tissue; see :data:`barcodes.TUMOURS`.
    """
    codes = [c for c in read_barcodes(cells.dropna().astype(str)) or () if c is not None]
    if all(code.type is None for code in codes):
        return False
    patients = {code.patient for code in codes}
    return not all(code.tumour for code in codes) or len(patients) < len(codes)


def _repeats_text(frame: pd.DataFrame, name: str) -> str:
    """Return the error text on several rows of a patient, with the options that choose one."""
    codes, n = value_codes(frame[name])
    return (
        f"column '{name}': {int((codes >= 0).sum()) - n} rows repeat a patient ({len(frame)} rows, "
        f"{n} patients): say which row counts with --id '{name}' --rows {WAYS} (rows in the study "
        f"file), or --rows {ALL} if each row is a patient"
    )


def _ask_equal_rows(frame: pd.DataFrame, id: str | None, outcome: Sequence[str]) -> list[str]:
    """Return a question if at least a fifth of the rows share outcome and all clinical values.

    It is asked only if there are 10 such rows or more, and if equal rows come in groups of one size
    or make over five times the pairs expected by chance.
    """
    if not outcome:
        return []
    ends = row_codes(frame, outcome)
    measured = frame.select_dtypes("float")
    with np.errstate(invalid="ignore"):
        whole = (np.nan_to_num(measured.to_numpy(dtype=float)) % 1 == 0).all(axis=0)
    fractions = {str(name) for name, ints in zip(measured.columns, whole, strict=True) if not ints}
    clinical = [
        name
        for name in map(str, frame.columns)
        if name not in (*outcome, id)
        and name not in fractions
        and frame[name].map(np.isscalar, na_action="ignore").all()
        and 1 < frame[name].nunique() < 0.5 * len(frame)
    ][:MOST_COMPARED]
    if not clinical:
        return []
    profile = row_codes(frame, clinical)
    n = len(frame)
    both = pd.factorize(ends * (profile.max() + 1) + profile)[0]
    pairs = {key: equal_pairs(codes) for key, codes in (("end", ends), ("both", both))}
    chance = pairs["end"] * 2 * equal_pairs(profile) / max(n * (n - 1), 1)
    alike = int((np.bincount(both)[both] > 1).sum())
    sizes = np.bincount(both)
    usual = int(np.bincount(sizes).argmax())
    # By chance groups of equal rows differ in size.
    even = usual > 1 and len(sizes) >= 4 * FEWEST_GROUPS and (sizes == usual).mean() > 0.9
    many = pairs["both"] >= 5 * chance + FEWEST_GROUPS
    if alike < max(2 * FEWEST_GROUPS, 0.2 * n) or not (even or many):
        return []
    return [
        f"{alike} of {n} rows share the outcome and all clinical values with another row, as "
        f"samples of one patient do: name the patient with --id and --rows {WAYS}, or give --rows "
        f"{ALL} if each row is a patient"
    ]


def _normal_tissue(frame: pd.DataFrame, key: str | None) -> list[str]:
    """Return a question if, by a column, some rows are of normal tissue and others of tumours.

    Only columns of text with two to ``FEWEST_GROUPS`` distinct values are read.
    """
    for name, cells in frame.items():
        if is_numeric_dtype(cells.dtype) or not 1 < value_codes(cells)[1] <= FEWEST_GROUPS:
            continue
        texts = cells.dropna().astype(str).str.lower()
        normal = texts.str.contains(_NORMAL)
        if normal.any() and texts[~normal].str.contains(_TUMOUR).any():
            way = "remove them"
            if key is not None and SAMPLE_TYPE.search(str(name)):
                way = "give --rows primary, which drops them"
            return [
                f"column '{name}': {int(normal.sum())} rows are of normal tissue: {way}, or give "
                f"--rows {ALL} if each row is a patient"
            ]
    return []


def _check_spelling(found: Identity, key: str) -> None:
    """Note quotation marks and line breaks in identifiers; refuse two spellings of one identifier.

    Raises:
        InputError: two identifiers differ by case, blanks, leading zeros or quotation marks alone.
    """
    ids = found.frame[key].map(as_level).tolist()
    marked = sum(bool({*text} & {*'"\n\r'}) for text in ids)
    if marked:
        found.notes.append(
            f"column '{key}': {marked} identifiers have a quotation mark or a line break: remove "
            "it if it is stray"
        )
    plain = ["".join(text.replace('"', "").split()).casefold() for text in ids]
    forms = [text.lstrip("0") if text.isdecimal() else text for text in plain]
    if twice := len(set(ids)) - len(set(forms)):
        raise InputError(
            f"column '{key}': {twice} rows repeat a patient whose identifier is spelt otherwise "
            "(by case, blanks, leading zeros or quotation marks): write them alike, or give "
            f"--rows {ALL} if each row is a patient"
        )


def _check_same(found: Identity) -> None:
    """Ask about rows that are equal in all columns, or note them where that may be chance.

    From ``DOUBTFUL`` pairs on that are expected by chance, they are not mentioned.
    """
    frame = found.frame
    columns = [value_codes(frame[name]) for name in frame.columns]
    codes = np.zeros(len(frame), dtype=np.int64)
    for own, n in columns:
        codes = pd.factorize(codes * (n + 1) + own + 1)[0]
    first = np.unique(codes, return_index=True)[1]
    twice, pairs = len(codes) - len(first), max(len(first) * (len(first) - 1) / 2, 1.0)
    # Expected number of pairs that are equal in all columns, if the columns are independent.
    chance = pairs * float(
        np.prod([max(equal_pairs(own[first] + 1), 1) / pairs for own, _ in columns])
    )
    text = f"{twice} rows are the same in all columns as another: remove them"
    if twice and chance < UNLIKELY:
        found.asked.append(f"{text}, or give --rows {ALL} if each row is a patient")
    elif twice and chance < DOUBTFUL:
        found.notes.append(f"{text} if they repeat a patient")
