"""Resolve column names: keys in cells, genes turned into dates, Ensembl ids, times of follow-up."""

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
#: Columns that a pattern of gene names must fit where the panel knows none of them.
SEVERAL = 3
_ISO = re.compile(r"\d{4}-(?P<month>\d\d)-(?P<day>\d\d)( 00:00:00)?")
#: Month -> stem of the symbols that a spreadsheet turns into its days.
_MONTHS = {
    "Mar": "MARCHF",
    "Sep": "SEPTIN",
    "Dec": "DELEC",
    "Oct": "OCT",
    "Nov": "NOV",
    "Feb": "FEB",
}
#: March 1 is MARCH1 or MARC1, March 2 is MARCH2 or MARC2: symbol -> the other one.
_EITHER = {"MARCHF1": "MTARC1", "MARCHF2": "MTARC2"}
_KNOWN = {
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
#: Rank correlation with the time, below which a column of an ambiguous name is a gene.
LIKE_TIME = 0.5

ENTRY = "when observation began: delayed entry is not modelled"
SECOND_TIME = f"{KNOWN_AFTER}: a second time, which never exceeds the follow-up"


@dataclass
class Naming:
    """Resolved names of columns."""

    names: dict[str, str] = field(default_factory=dict)
    """Column -> the feature's name, where it differs."""
    genes: set[str] = field(default_factory=set)
    """Columns that are genes though their names match words for an outcome, or dates."""
    entry: dict[str, str] = field(default_factory=dict)
    """Column -> why it is no feature: a time that belongs to the follow-up."""
    remarks: list[str] = field(default_factory=list)
    """Assumptions made in reading names."""


def rename(
    frame: pd.DataFrame, keys: Mapping[str, str], time: Array | None, panel: Panel
) -> Naming:
    """Resolve the names of a table's columns.

    Args:
        frame: the columns that can be features (n rows).
        keys: column -> the name in its cells.
        time: follow-up in months (n,), where there is one.
        panel: known names.
    """
    found = Naming()
    there = {str(name) for name in frame.columns}
    genes = [n for n in there if (p := panel.place(n)) is not None and p.gene and p.exact]
    _beside_ids(there, panel, found)
    _by_other_ids(frame, found)
    among_genes = bool(genes) or bool(found.names) or any(ENSEMBL.fullmatch(name) for name in there)
    keyed = _keys(keys, there)
    found.names |= keyed
    if keyed:
        found.remarks.append(
            f"cells of {some(keyed)} begin with a key, which names the feature: "
            f"{some(keyed.values())}"
        )
    if among_genes:
        _ensembl(there, panel, found)
        _dated(there, found)
    for name in there & {*panel.genes_like_words}:
        if len(genes) > 1 and _like(frame, name, genes, time):
            found.genes.add(name)
    if found.genes:
        found.remarks.append(f"taken for genes among genes: {some(sorted(found.genes))}")
    if time is not None:
        found.entry = _times(frame, time)
        if ENTRY in found.entry.values():
            listed = [name for name, why in found.entry.items() if why == ENTRY]
            found.remarks.append(
                f"{some(listed)} says when observation began: delayed entry is not modelled, and "
                "patients count from the start of follow-up"
            )
    return found


def _keys(keys: Mapping[str, str], there: set[str]) -> dict[str, str]:
    """Return column -> key, where keys are columns' names of their own."""
    wanted = {name: key for name, key in keys.items() if name in there}
    several = [*wanted.values()]
    return {n: k for n, k in wanted.items() if several.count(k) == 1 and k not in there}


def _beside_ids(there: set[str], panel: Panel, found: Naming) -> None:
    """Name genes whose columns have a symbol and an id by the symbol."""
    symbols: dict[str, str] = {}
    for name in sorted(there):
        met = _BESIDE_ID.fullmatch(name)
        symbol = met and (met["symbol"] or met["symbol2"])
        if symbol and symbol not in there and symbol not in symbols.values():
            symbols[name] = symbol
    known = [s for s in symbols.values() if (p := panel.place(s)) is not None and p.gene]
    if not known and len(symbols) < SEVERAL:
        return
    found.names |= symbols
    found.remarks.append(f"genes by their symbols, without the ids: {some(symbols.values())}")


def _by_other_ids(frame: pd.DataFrame, found: Naming) -> None:
    """Say that columns are named by ids by which no marker is found."""
    named = [str(n) for n in frame.columns if _OTHER_ID.fullmatch(str(n))]
    if len(named) >= SEVERAL:
        found.remarks.append(
            f"{len(named)} columns are named by ids ({some(named, 3)}): the panel's markers are "
            "found by gene symbols and Ensembl ids: rename the columns, if these are genes"
        )


def _ensembl(there: set[str], panel: Panel, found: Naming) -> None:
    """Name Ensembl ids, with or without versions, by their symbols."""
    symbols: dict[str, str] = {}
    for name in sorted(there):
        symbol = panel.ensembl.get(name.split(".")[0]) if ENSEMBL.fullmatch(name) else None
        if symbol is not None and symbol not in there and symbol not in symbols.values():
            symbols[name] = symbol
    found.names |= symbols
    if symbols:
        found.remarks.append(f"genes by their Ensembl ids: {some(symbols.values())}")


def _dated(there: set[str], found: Naming) -> None:
    """Restore symbols that a spreadsheet turned into dates, if only one gene fits."""
    repaired: dict[str, str] = {}
    doubtful: list[str] = []
    for name in sorted(there):
        met, iso = GENE_AS_DATE.fullmatch(name), _ISO.fullmatch(name)
        if met is not None:
            month, day = met["month"] or met["month2"], int(met["day"] or met["day2"])
        elif iso is not None and 1 <= int(iso["month"]) <= 12:
            month, day = MONTHS[int(iso["month"]) - 1], int(iso["day"])
        else:
            continue
        symbol = f"{_MONTHS.get(month, '')}{day}"
        if symbol not in _KNOWN:
            continue
        if symbol in _EITHER or symbol in there or symbol in repaired.values():
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


def _like(frame: pd.DataFrame, name: str, genes: list[str], time: Array | None) -> bool:
    """Whether a column has the range of the genes in the table, and is no time."""
    cells = frame[name]
    if not is_numeric_dtype(cells.dtype) or cells.nunique() < 0.3 * len(cells):
        return False
    if cells.dtype.kind == "f" and (cells.dropna() % 1 == 0).all():
        return False
    measured = [frame[g] for g in genes if is_numeric_dtype(frame[g].dtype)]
    if not measured:
        return False
    low = min(float(each.min()) for each in measured)
    high = max(float(each.max()) for each in measured)
    span = high - low
    if not low - span <= float(cells.min()) or not float(cells.max()) <= high + span:
        return False
    if time is None:
        return True
    rho = pd.Series(time).rank().corr(cells.reset_index(drop=True).rank())
    return not abs(rho) > LIKE_TIME


def _times(frame: pd.DataFrame, time: Array) -> dict[str, str]:
    """Return the columns that hold a time of the follow-up -> why they are no features."""
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
    """Whether a column of many values never exceeds the time, and would if it were shuffled."""
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
