"""Resolve column names: keys of cells, genes turned into dates, Ensembl ids, times of follow-up."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from accomplice.data.arrays import Array
from accomplice.data.cells.dates import GENE_AS_DATE, MONTHS
from accomplice.data.errors import some
from accomplice.data.panels.panel import KNOWN_AFTER, Panel, key_of

#: Ensembl id of a gene, with or without a version.
ENSEMBL = re.compile(r"ENSG\d{11}(\.\d+)?(_PAR_Y)?")
#: A symbol beside an id: IL1R1|3554, IL1R1 (3554), ENSG00000115594.11_IL1R1.
_BESIDE_ID = re.compile(
    r"(?P<symbol>[A-Za-z][\w.-]*?)( ?\(|\|)(\d+|ENSG\d{11}(\.\d+)?)\)?"
    r"|ENSG\d{11}(\.\d+)?[|_:; ](?P<symbol2>[A-Za-z][\w.-]*)"
)
#: Names of probes, transcripts, or genes of another catalogue.
_OTHER_ID = re.compile(
    r"X?\d+(_[a-z])?_at|\d{1,9}|ILMN_\d+|A_\d+_P\d+|ENST\d{11}(\.\d+)?|[NX][MR]_\d+(\.\d+)?"
)
#: Minimum number of columns that a pattern of ids must fit, unless the panel knows a gene of one.
SEVERAL = 3
#: A gene's symbol that a spreadsheet has turned into an ISO date.
_ISO = re.compile(r"\d{4}-(?P<month>\d\d)-(?P<day>\d\d)( 00:00:00)?")
#: Month -> stem of the gene symbols that a spreadsheet turns into dates of this month.
_STEMS = {
    "Mar": "MARCHF",
    "Sep": "SEPTIN",
    "Dec": "DELEC",
    "Oct": "OCT",
    "Nov": "NOV",
    "Feb": "FEB",
}
#: Symbol -> another gene with the same date: 1 March is MARCH1 or MARC1, 2 March MARCH2 or MARC2.
_EITHER = {"MARCHF1": "MTARC1", "MARCHF2": "MTARC2"}
#: Current symbols of genes whose former ones, such as MARCH1, a spreadsheet turns into dates.
_DATE_LIKE_GENES = {
    *(f"MARCHF{i}" for i in range(1, 12)),
    *(f"SEPTIN{i}" for i in range(1, 15)),
    "DELEC1",
}
#: Names of the time at which observation of a patient began (delayed entry).
_ENTRY = re.compile(
    r"(^|_)(entry|enter|entered|enroll?ment|inclusion|left_trunc(ation)?|truncation|tstart|start)"
    r"(_(time|days?|weeks?|months?|years?|date))?$"
    r"|^(time|days|weeks|months|years)_(to|at|until)_(entry|enroll?ment|inclusion)"
)
#: Words of a duration in a column's name.
_DURATION = re.compile(r"(^|_)(time|days?|weeks?|wks?|months?|mos?|years?|yrs?|tstop|stop)(_|$)")
#: Largest absolute rank correlation with the time of a gene whose name is also a word.
LIKE_TIME = 0.5

#: Reason: the column is the time at which observation began.
ENTRY = "when observation began: delayed entry is not modelled"
#: Reason: the column is another time of the follow-up.
SECOND_TIME = f"{KNOWN_AFTER}: a second time, which never exceeds the follow-up"


@dataclass
class Naming:
    """Resolved names of columns."""

    names: dict[str, str] = field(default_factory=dict)
    """Column -> name of its feature, where that differs."""
    genes: set[str] = field(default_factory=set)
    """Columns that are genes although their names are also words, as MET is, or dates."""
    entry: dict[str, str] = field(default_factory=dict)
    """Column that holds a time of the follow-up -> the reason why it is no feature."""
    remarks: list[str] = field(default_factory=list)
    """Assumptions about names, one line each."""


def resolve_names(
    frame: pd.DataFrame, keys: Mapping[str, str], time: Array | None, panel: Panel
) -> Naming:
    """Resolve the names of a table's columns.

    Args:
        frame: the columns that can be features (n rows).
        keys: column -> the key that all its cells begin with, as in ``age: 66``.
        time: follow-up in months (n,); None without a survival endpoint.
        panel: known names.

    Returns:
        The names, with the assumptions made as remarks.
    """
    found = Naming()
    columns = {str(name) for name in frame.columns}
    genes = [n for n in columns if (p := panel.place(n)) is not None and p.gene and p.exact]
    _beside_ids(columns, panel, found)
    _by_other_ids(frame, found)
    among_genes = (
        bool(genes) or bool(found.names) or any(ENSEMBL.fullmatch(name) for name in columns)
    )
    keyed = _keys(keys, columns)
    found.names |= keyed
    if keyed:
        found.remarks.append(
            f"cells of {some(keyed)} begin with a key, which names the feature: "
            f"{some(keyed.values())}"
        )
    if among_genes:
        _ensembl(columns, panel, found)
        _dated(columns, found)
    for name in columns & {*panel.genes_like_words}:
        if len(genes) > 1 and _is_gene(frame, name, genes, time):
            found.genes.add(name)
    if found.genes:
        found.remarks.append(f"taken for genes among genes: {some(sorted(found.genes))}")
    if time is not None:
        found.entry = _follow_up_times(frame, time)
        if ENTRY in found.entry.values():
            listed = [name for name, why in found.entry.items() if why == ENTRY]
            found.remarks.append(
                f"{some(listed)} says when observation began: delayed entry is not modelled, and "
                "patients count from the start of follow-up"
            )
    return found


def _keys(keys: Mapping[str, str], columns: set[str]) -> dict[str, str]:
    """Return column -> key, for keys of one column only that are no column's name."""
    wanted = {name: key for name, key in keys.items() if name in columns}
    several = [*wanted.values()]
    return {n: k for n, k in wanted.items() if several.count(k) == 1 and k not in columns}


def _beside_ids(columns: set[str], panel: Panel, found: Naming) -> None:
    """Add to ``found`` the symbols of columns that are named by a gene's symbol and id.

    Nothing is added for fewer than ``SEVERAL`` such columns if the panel knows none of the genes.
    """
    symbols: dict[str, str] = {}
    for name in sorted(columns):
        match = _BESIDE_ID.fullmatch(name)
        symbol = match and (match["symbol"] or match["symbol2"])
        if symbol and symbol not in columns and symbol not in symbols.values():
            symbols[name] = symbol
    known = [s for s in symbols.values() if (p := panel.place(s)) is not None and p.gene]
    if not known and len(symbols) < SEVERAL:
        return
    found.names |= symbols
    found.remarks.append(f"genes by their symbols, without the ids: {some(symbols.values())}")


def _by_other_ids(frame: pd.DataFrame, found: Naming) -> None:
    """Add a remark to ``found`` if ``SEVERAL`` columns or more are named by ids of other kinds."""
    named = [str(n) for n in frame.columns if _OTHER_ID.fullmatch(str(n))]
    if len(named) >= SEVERAL:
        found.remarks.append(
            f"{len(named)} columns are named by ids ({some(named, 3)}): the panel's markers are "
            "found by gene symbols and Ensembl ids: rename the columns, if these are genes"
        )


def _ensembl(columns: set[str], panel: Panel, found: Naming) -> None:
    """Add to ``found`` the symbols of columns that are named by Ensembl ids the panel knows."""
    symbols: dict[str, str] = {}
    for name in sorted(columns):
        symbol = panel.ensembl.get(name.split(".")[0]) if ENSEMBL.fullmatch(name) else None
        if symbol is not None and symbol not in columns and symbol not in symbols.values():
            symbols[name] = symbol
    found.names |= symbols
    if symbols:
        found.remarks.append(f"genes by their Ensembl ids: {some(symbols.values())}")


def _dated(columns: set[str], found: Naming) -> None:
    """Add to ``found`` the genes whose symbols a spreadsheet turned into dates.

    A column gets a symbol only if no other gene has the same date and no other column the symbol.
    """
    repaired: dict[str, str] = {}
    doubtful: list[str] = []
    for name in sorted(columns):
        match, iso = GENE_AS_DATE.fullmatch(name), _ISO.fullmatch(name)
        if match is not None:
            month, day = match["month"] or match["month2"], int(match["day"] or match["day2"])
        elif iso is not None and 1 <= int(iso["month"]) <= 12:
            month, day = MONTHS[int(iso["month"]) - 1], int(iso["day"])
        else:
            continue
        symbol = f"{_STEMS.get(month, '')}{day}"
        if symbol not in _DATE_LIKE_GENES:
            continue
        if symbol in _EITHER or symbol in columns or symbol in repaired.values():
            doubtful.append(name)
        else:
            repaired[name] = symbol
    found.names |= repaired
    found.genes |= {*repaired, *doubtful}
    if repaired:
        pairs = [f"{symbol} from {name}" for name, symbol in repaired.items()]
        found.remarks.append(f"genes that a spreadsheet turned into dates: {some(pairs)}")
    if doubtful:
        found.remarks.append(
            f"{some(doubtful)} are genes that a spreadsheet turned into dates, of which it is not "
            "certain which they were: rename the columns, or leave them out"
        )


def _is_gene(frame: pd.DataFrame, name: str, genes: list[str], time: Array | None) -> bool:
    """Whether a column of numbers is measured like the table's genes and unlike the time.

    At least 0.3 n of its values are distinct; they lie in the genes' range, widened by its width on
    both sides; and their rank correlation with the time is at most ±``LIKE_TIME``. Whole
    numbers stored as floats, as in a column with empty cells, are refused.

    Args:
        frame: the columns (n rows).
        name: name of the column.
        genes: columns that are genes.
        time: follow-up in months (n,), if any.
    """
    cells = frame[name]
    if not is_numeric_dtype(cells.dtype) or cells.nunique() < 0.3 * len(cells):
        return False
    if cells.dtype.kind == "f" and (cells.dropna() % 1 == 0).all():
        return False
    measured = [frame[g] for g in genes if is_numeric_dtype(frame[g].dtype)]
    if not measured:
        return False
    low = min(float(gene.min()) for gene in measured)
    high = max(float(gene.max()) for gene in measured)
    span = high - low
    if not low - span <= float(cells.min()) or not float(cells.max()) <= high + span:
        return False
    if time is None:
        return True
    rho = pd.Series(time).rank().corr(cells.reset_index(drop=True).rank())
    return not abs(rho) > LIKE_TIME


def _follow_up_times(frame: pd.DataFrame, time: Array) -> dict[str, str]:
    """Return column that holds a time of the follow-up -> the reason why it is no feature.

    Args:
        frame: the columns (n rows).
        time: follow-up in months (n,).
    """
    found = {}
    for name, cells in frame.items():
        key = key_of(str(name))
        if _ENTRY.search(key) is not None:
            if is_numeric_dtype(cells.dtype) and cells.nunique() > 2:
                found[str(name)] = ENTRY
        elif (
            _DURATION.search(key)
            and "age" not in key.split("_")
            and is_numeric_dtype(cells.dtype)
            and _never_beyond(cells.to_numpy(dtype=float, na_value=np.nan), time)
        ):
            found[str(name)] = SECOND_TIME
    return found


def _never_beyond(values: Array, time: Array) -> bool:
    """Whether values (n,) never exceed the time (n,), though they would if patients were shuffled.

    The time is in months, the values in months, days, years or weeks. If patients were shuffled,
    more than a tenth of the values would have to exceed the time. False for fewer than 20 known
    values, or fewer than 10 distinct ones.
    """
    known = ~np.isnan(values)
    if known.sum() < 20 or len(np.unique(values[known])) < 10:
        return False
    values, time = values[known], time[known]
    some_times = time[:: max(7, len(time) // 200)]
    for per_month in (1.0, 365.25 / 12, 1 / 12, 365.25 / 84):
        shuffled = (values[:, None] > some_times[None] * per_month).mean()
        if (values <= time * per_month * 1.001).all() and shuffled > 0.1:
            return True
    return False
