"""The panels: known column names and spellings of a field, read from YAML.

A panel sorts columns into modalities, knows ordered codes such as a tumour's stage, and names the
columns that a model must not see. It helps to draft a study file, to find a model's features in
another cohort's, to name a feature that is known after the outcome, and to read spellings of levels
that a study does not list.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from accomplice.data.readers.yaml_text import own_yaml
from accomplice.data.study_parts import as_level

#: Names of the panels' files, merged in this order.
NAMES = ("common", "gastric")

#: Reason of :attr:`Panel.ignored` for columns that would leak the outcome.
KNOWN_AFTER = "known only after the outcome"

#: Kinds of measurement of a gene: its expression, or the density of cells stained for it.
Assay = Literal["expression", "density"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Modality(_Model):
    """Features of one kind that a study file lists together, such as those of the stroma."""

    genes: dict[str, list[str]] = Field(default_factory=dict)
    """Genes taken from any table, a genome-wide expression matrix too: symbol -> other names."""
    further: dict[str, list[str]] = Field(default_factory=dict)
    """Genes taken from any table but a genome-wide expression matrix: symbol -> other names."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Other columns: concept, such as ``msi`` -> pattern of column names."""


class Ordinal(_Model):
    """An ordered code, such as a tumour's stage or grade."""

    name: str
    """Name of the code."""
    stage: bool = False
    """Whether this is the overall stage, the only feature of the reference model ``stage``."""
    names: str | None = None
    """Pattern of the names of columns where :attr:`bare` counts too; None: no column."""
    levels: list[str]
    """Levels, lowest first."""
    rare: list[str] = Field(default_factory=list)
    """Levels that a study file lists only if the table has them."""
    spelled: dict[str, str] = Field(default_factory=dict)
    """Level -> pattern of cells that mean it in any column."""
    bare: dict[str, str] = Field(default_factory=dict)
    """Level -> pattern of cells that mean it in a column whose name matches :attr:`names`."""
    missing: str | None = None
    """Pattern of cells that mean "not assessed"."""
    needs: str | None = None
    """Pattern that at least one cell of a column of this code contains."""

    def read(self, cells: Iterable[str], key: str) -> dict[str, str | None] | None:
        """Return cell -> level (None: not assessed), or None for a column of something else.

        Args:
            cells: distinct texts of the column.
            key: the column's name, written by :func:`key_of`.
        """
        texts = [(cell, folded(cell)) for cell in cells]
        if self.needs and not any(re.search(self.needs, text) for _, text in texts):
            return None
        meaning: dict[str, str | None] = {}
        for cell, text in texts:
            level = self.meaning(cell, key)
            if level is None and not (self.missing and re.fullmatch(self.missing, text)):
                return None
            meaning[cell] = level
        return meaning

    def meaning(self, cell: str, key: str) -> str | None:
        """Return the level that a cell means in a column with this key; None if it means none.

        Args:
            cell: text of the cell.
            key: the column's name, written by :func:`key_of`.
        """
        text = folded(cell)
        patterns = [*self.spelled.items(), *(self.bare.items() if self.named(key) else ())]
        return next((level for level, p in patterns if re.fullmatch(p, text)), None)

    def named(self, key: str) -> bool:
        """Whether a column's key matches :attr:`names`."""
        return self.names is not None and re.search(self.names, key) is not None


class Category(_Model):
    """A set of labels that tables spell in several ways."""

    names: str | None = None
    """Pattern of the names of columns that hold the labels; None: any column may."""
    spelled: dict[str, str]
    """Label -> pattern of whole cells, in lower case, that mean it."""
    apart: str | None = None
    """Pattern of cells that mean a label but stay a level of their own in a drafted study."""

    def spelling(self, cell: str, key: str) -> str | None:
        """Return :meth:`meaning`, but None for a cell that matches :attr:`apart`.

        Args:
            cell: text of the cell.
            key: the column's name, written by :func:`key_of`.
        """
        if self.apart is not None and re.fullmatch(self.apart, folded(cell)):
            return None
        return self.meaning(cell, key)

    def meaning(self, cell: str, key: str) -> str | None:
        """Return the label that a cell means in a column with this key; None if it means none.

        Args:
            cell: text of the cell.
            key: the column's name, written by :func:`key_of`.
        """
        if self.names is not None and re.search(self.names, key) is None:
            return None
        text = folded(cell)
        return next((lb for lb, p in self.spelled.items() if re.fullmatch(p, text)), None)


class Quantity(_Model):
    """A measured quantity whose unit and range are known from the column's name."""

    names: str
    """Pattern of the names of its columns."""
    unit: str
    """Unit of the values, such as ``years``."""
    range: tuple[float, float]
    """Lowest and highest possible value, in the unit."""


@dataclass(frozen=True)
class Place:
    """The modality of a column, and the gene or concept that the column measures."""

    modality: str
    """Name of the modality."""
    concept: str
    """Symbol of the gene, or a key of :attr:`Modality.columns`, such as ``msi``."""
    gene: bool
    """Whether the column measures a gene."""
    exact: bool
    """Whether nothing follows the gene in the column's name, or an assay follows it directly,
    whatever comes after that; false for a concept."""
    assay: Assay | None
    """Assay in the name of a gene's column; None: the name contains none."""


class KnownTreatment(_Model):
    """A treatment that the panel knows."""

    columns: str
    """Pattern of the name of its column."""
    stages: list[str] = Field(default_factory=list)
    """Levels of the overall stage at which it is an option."""
    expected_hr: tuple[float, float] | None = None
    """Range of the hazard ratio of overall survival in randomised trials."""
    expected_hr_source: str = ""
    """The trials that the range is from."""


class Disease(_Model):
    """A disease, and the columns and cells by which a table of its patients is recognised."""

    name: str
    """Name of the disease."""
    columns: list[list[str]]
    """Lists of patterns of column names; a table that matches all of one list is recognised."""
    cells: str
    """Pattern of whole cells, in lower case; half the cells of one column must match it."""
    ceiling: float
    """C-index above which a leak of the outcome is suspected."""

    def known_by(self, names: Iterable[str], texts: Iterable[Iterable[str]]) -> bool:
        """Whether a table is of patients with the disease, by its columns or its cells.

        Args:
            names: names of the columns.
            texts: cells of each text column, without missing ones.
        """
        keys = [key_of(name) for name in names]
        for listed in self.columns:
            if all(any(re.search(pattern, key) for key in keys) for pattern in listed):
                return True
        for cells in texts:
            counts = Counter(" ".join(cell.lower().split()) for cell in cells)
            met = sum(count for text, count in counts.items() if re.fullmatch(self.cells, text))
            if met and 2 * met >= counts.total():
                return True
        return False


class Panel(_Model):
    """All panels merged; patterns of column names are searched in the names' :func:`key_of`."""

    ids: list[str] = Field(default_factory=list)
    """Patterns of columns that identify rows."""
    patients: list[str] = Field(default_factory=list)
    """Patterns of columns that identify patients: rows that share a value are one patient's."""
    centres: list[str] = Field(default_factory=list)
    """Patterns of columns of the hospital."""
    ignored: dict[str, list[str]] = Field(default_factory=dict)
    """Reason -> patterns of columns that are not features."""
    endpoints: dict[str, str] = Field(default_factory=dict)
    """Name of an endpoint -> pattern of its time column."""
    treated: str
    """Pattern of whole cells, in lower case, that mean treated."""
    untreated: str
    """Pattern of whole cells, in lower case, that mean untreated."""
    positive: str
    """Pattern of whole cells, in lower case, that mean a positive response."""
    negative: str
    """Pattern of whole cells, in lower case, that mean a negative response."""
    assays: dict[Assay, str] = Field(default_factory=dict)
    """Assay -> pattern of the words that name it beside a gene's symbol."""
    densities: str
    """Pattern of density columns without a gene in their names (IHC, per mm²)."""
    genes_like_words: list[str] = Field(default_factory=list)
    """Gene symbols that are also words (MET, EFS): genes only in a table that has other genes."""
    gene_symbol: str
    """Pattern of a gene's symbol, in the column's own spelling."""
    quantities: list[Quantity] = Field(default_factory=list)
    """Quantities of known unit and range."""
    modalities: dict[str, Modality] = Field(default_factory=dict)
    """Name of a modality -> its genes and columns."""
    ordinals: list[Ordinal] = Field(default_factory=list)
    """Known ordered codes."""
    ensembl: dict[str, str] = Field(default_factory=dict)
    """Ensembl id of a gene -> its symbol."""
    categories: dict[str, Category] = Field(default_factory=dict)
    """Name -> labels that two cohorts, or two hospitals of one, may spell differently."""
    nominal: list[str] = Field(default_factory=list)
    """Patterns of columns of categories, in which whole numbers are codes."""
    treatments: dict[str, KnownTreatment] = Field(default_factory=dict)
    """Label of a treatment -> its column, and the stages at which it is an option."""
    interactions: list[list[str]] = Field(default_factory=list)
    """Concepts for interactions with the treatment: of each list, the first that the table has."""
    disease: Disease | None = None
    """The disease that the panels are for."""
    response: list[list[str]] = Field(default_factory=list)
    """Concepts for the inputs of a response: of each list, the first that the table has."""

    @cached_property
    def aliases(self) -> dict[str, tuple[str, str]]:
        """Name of a gene, in lower case without ``_`` -> its modality and symbol."""
        return {
            key_of(alias).replace("_", ""): (name, symbol)
            for name, modality in self.modalities.items()
            for symbol, others in {**modality.further, **modality.genes}.items()
            for alias in (symbol, *others)
        }

    @cached_property
    def default_genes(self) -> frozenset[str]:
        """Symbols of the genes that are taken from a genome-wide expression matrix."""
        return frozenset(g for m in self.modalities.values() for g in m.genes)

    def place(self, name: str) -> Place | None:
        """Return the modality and gene or concept of a column by its name; None if unknown."""
        key = key_of(name)
        return self._gene(key) or self._concept(key)

    def why_ignored(self, name: str) -> str | None:
        """Return the reason why a column of this name is not a feature; None if it may be one."""
        key = key_of(name)
        gene = self._gene(key)
        if gene is not None and gene.exact:
            return None
        for reason, patterns in self.ignored.items():
            if matches(patterns, key):
                return reason
        return None

    def _gene(self, key: str) -> Place | None:
        tokens = key.split("_")
        named: list[Assay] = []
        while len(tokens) > 1 and (lead := self._assay(tokens[0])):
            named.append(lead)
            tokens = tokens[1:]
        for end in range(len(tokens), 0, -1):
            found = self.aliases.get("".join(tokens[:end]))
            if found is not None:
                rest = [self._assay(token) for token in tokens[end:]]
                named += [assay for assay in rest[:1] if assay is not None]
                exact = end == len(tokens) or rest[0] is not None
                assay = "density" if "density" in [*named, *rest] else next(iter(named), None)
                return Place(*found, gene=True, exact=exact, assay=assay)
        return None

    def _assay(self, token: str) -> Assay | None:
        for assay, pattern in self.assays.items():
            if re.search(pattern, token):
                return assay
        return None

    def _concept(self, key: str) -> Place | None:
        for name, modality in self.modalities.items():
            for concept, pattern in modality.columns.items():
                if re.search(pattern, key):
                    return Place(name, concept, gene=False, exact=True, assay=None)
        return None


def key_of(name: str) -> str:
    """Return a column's name as a key: lower case, one ``_`` between words."""
    return re.sub(r"[\W_]+", "_", name.lower()).strip("_")


def folded(cell: str) -> str:
    """Return a cell as patterns read it: case folded, single blanks, compatible letters (NFKC).

    A Roman numeral that is one character, such as U+2162, becomes several letters.
    """
    return " ".join(unicodedata.normalize("NFKC", cell).casefold().split())


def same_key(cell: str) -> str:
    """Return a key that is the same for spellings that differ in case, blanks or form of a number.

    A cell ``01`` in a table's column of numbers is read as 1, and must still match level ``01``.
    """
    plain = folded(cell)
    try:
        number = float(plain)
    except ValueError:
        return plain
    return as_level(number) if math.isfinite(number) else plain


def matches(patterns: Iterable[str], key: str) -> bool:
    """Whether a key contains a match of any of the patterns.

    Args:
        patterns: regular expressions.
        key: a column's name, written by :func:`key_of`.
    """
    return any(re.search(pattern, key) for pattern in patterns)


def panel_text(name: str) -> str:
    """Return the text of a YAML file here: a panel, or the study ``synthetic_gastric``."""
    return files("accomplice.data.panels").joinpath(f"{name}.yaml").read_text(encoding="utf-8")


@cache
def load_panel() -> Panel:
    """Read the package's panels and merge them."""
    merged: dict[str, Any] = {}
    for name in NAMES:
        merged = _merge(merged, own_yaml(panel_text(name)))
    return Panel.model_validate(merged)


def _merge(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(first)
    for key, value in second.items():
        old = merged.get(key)
        if isinstance(old, dict):
            merged[key] = _merge(old, value)
        elif isinstance(old, list):
            merged[key] = old + value
        else:
            merged[key] = value
    return merged
