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

import yaml
from pydantic import BaseModel, ConfigDict, Field

from accomplice.data.study_parts import as_level

#: The panels in use, the general one first.
NAMES = ("common", "gastric")

KNOWN_AFTER = "known only after the outcome"

Assay = Literal["expression", "density"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Modality(_Model):
    """The columns that belong together."""

    genes: dict[str, list[str]] = Field(default_factory=dict)
    """Default features: symbol -> other names."""
    further: dict[str, list[str]] = Field(default_factory=dict)
    """Genes sorted here where a table has them, but not taken from a whole expression matrix."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Other columns: concept -> pattern of their names."""


class Ordinal(_Model):
    """A known ordered code."""

    name: str
    stage: bool = False
    """Whether this is the overall stage, which is a reference model of its own."""
    names: str | None = None
    """Pattern of the columns whose bare cells are read; none: only self-evident cells."""
    levels: list[str]
    """Lowest first."""
    rare: list[str] = Field(default_factory=list)
    """Levels listed only where they occur."""
    spelled: dict[str, str] = Field(default_factory=dict)
    """Level -> pattern of cells that mean it in any column."""
    bare: dict[str, str] = Field(default_factory=dict)
    """Level -> pattern of cells that mean it where the column's name fits."""
    missing: str | None = None
    """Pattern of cells that mean "not assessed"."""
    needs: str | None = None
    """Pattern that at least one cell must hold."""

    def read(self, cells: Iterable[str], key: str) -> dict[str, str | None] | None:
        """Return cell -> level (None: missing), or None if a cell is not of this code.

        Args:
            cells: distinct texts of a column.
            key: the column's name as a key.
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
        """Return the level that one cell of a column means, if it is of this code."""
        text = folded(cell)
        patterns = [*self.spelled.items(), *(self.bare.items() if self.named(key) else ())]
        return next((level for level, p in patterns if re.fullmatch(p, text)), None)

    def named(self, key: str) -> bool:
        """Whether a column of this name holds this code."""
        return self.names is not None and re.search(self.names, key) is not None


class Category(_Model):
    """A set of labels that tables spell in several ways."""

    names: str | None = None
    """Pattern of the columns that hold it; none: any column may, and no name tells."""
    spelled: dict[str, str]
    """Label -> pattern of cells that mean it, as a whole, in lower case."""
    apart: str | None = None
    """Pattern of cells that a draft keeps as a level of their own, though they mean a label."""

    def spelling(self, cell: str, key: str) -> str | None:
        """Return the label that a cell spells, if it is of this set and not kept apart."""
        if self.apart is not None and re.fullmatch(self.apart, folded(cell)):
            return None
        return self.meaning(cell, key)

    def meaning(self, cell: str, key: str) -> str | None:
        """Return the label that a cell of a column means, if it is of this set."""
        if self.names is not None and re.search(self.names, key) is None:
            return None
        text = folded(cell)
        return next((lb for lb, p in self.spelled.items() if re.fullmatch(p, text)), None)


class Quantity(_Model):
    """A number whose unit and range are known by its name."""

    names: str
    """Pattern of its columns' names, as keys."""
    unit: str
    range: tuple[float, float]
    """Lowest and highest possible value, in the unit."""


@dataclass(frozen=True)
class Place:
    """A column's modality, and its gene or concept."""

    modality: str
    concept: str
    """The gene's symbol or the concept of the pattern that was met."""
    gene: bool
    """Whether the column is a gene's."""
    exact: bool
    """For a gene: the name says nothing beyond the gene and its assay."""
    assay: Assay | None
    """For a gene: the assay that the name tells."""


class Course(_Model):
    """A treatment that the panel knows."""

    columns: str
    """Pattern of its column's name, as a key."""
    stages: list[str] = Field(default_factory=list)
    """Levels of the overall stage at which it is an option."""
    expected_hr: tuple[float, float] | None = None
    """Range of the hazard ratio of overall survival in randomised trials."""
    expected_hr_source: str = ""
    """The trials."""


class Disease(_Model):
    """A disease that a table can be known to be of."""

    name: str
    columns: list[list[str]]
    """Lists of patterns of columns, as keys; one list that is met as a whole will do."""
    cells: str
    """Pattern of whole cells, in lower case; a column half of whose cells match will do."""
    ceiling: float
    """C-index above which a model of such patients is taken for a leak."""

    def known_by(self, names: Iterable[str], texts: Iterable[Iterable[str]]) -> bool:
        """Whether a table is of the disease.

        Args:
            names: of its columns.
            texts: the known cells of each of its columns of text.
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
    """All panels merged. Lists are patterns of column names written as keys."""

    ids: list[str] = Field(default_factory=list)
    """Identifiers of rows."""
    patients: list[str] = Field(default_factory=list)
    """Identifiers that can only be a patient's, so that rows that repeat one are one patient's."""
    centres: list[str] = Field(default_factory=list)
    """Hospitals."""
    ignored: dict[str, list[str]] = Field(default_factory=dict)
    """Reason -> columns that are not features."""
    endpoints: dict[str, str] = Field(default_factory=dict)
    """Name of an endpoint -> pattern of its time column."""
    treated: str
    """Pattern of whole cells, in lower case, that mean treated."""
    untreated: str
    """The same for untreated."""
    positive: str
    """The same for a positive response."""
    negative: str
    """The same for a negative one."""
    assays: dict[Assay, str] = Field(default_factory=dict)
    densities: str
    """Names of a density that no gene names."""
    genes_like_words: list[str] = Field(default_factory=list)
    """Symbols of genes that are left out for their names elsewhere."""
    gene_symbol: str
    """Pattern of a gene's symbol, as the column writes it."""
    quantities: list[Quantity] = Field(default_factory=list)
    modalities: dict[str, Modality] = Field(default_factory=dict)
    ordinals: list[Ordinal] = Field(default_factory=list)
    ensembl: dict[str, str] = Field(default_factory=dict)
    """Ensembl id of a gene -> its symbol."""
    categories: dict[str, Category] = Field(default_factory=dict)
    """Labels that two cohorts, or two hospitals of one, may spell differently."""
    nominal: list[str] = Field(default_factory=list)
    """Names of columns that hold categories, whose whole numbers are codes."""
    treatments: dict[str, Course] = Field(default_factory=dict)
    """Label of a treatment -> its column's pattern, and the stages at which it is an option."""
    interactions: list[list[str]] = Field(default_factory=list)
    """With a treatment: its product with the first concept of each list that is there."""
    disease: Disease | None = None
    response: list[list[str]] = Field(default_factory=list)
    """Inputs of a response: the first concept of each list that is there."""

    @cached_property
    def aliases(self) -> dict[str, tuple[str, str]]:
        """Compact name of a gene -> its modality and symbol."""
        return {
            key_of(alias).replace("_", ""): (name, symbol)
            for name, modality in self.modalities.items()
            for symbol, others in {**modality.further, **modality.genes}.items()
            for alias in (symbol, *others)
        }

    @cached_property
    def default_genes(self) -> frozenset[str]:
        """Symbols taken from a whole expression matrix."""
        return frozenset(g for m in self.modalities.values() for g in m.genes)

    def place(self, name: str) -> Place | None:
        """Return the place of a column of this name, if the panel knows it."""
        key = key_of(name)
        return self._gene(key) or self._concept(key)

    def why_ignored(self, name: str) -> str | None:
        """Return why a column of this name is no feature, if the panel says so."""
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
        told: list[Assay] = []
        while len(tokens) > 1 and (lead := self._assay(tokens[0])):
            told.append(lead)
            tokens = tokens[1:]
        for end in range(len(tokens), 0, -1):
            found = self.aliases.get("".join(tokens[:end]))
            if found is not None:
                rest = [self._assay(token) for token in tokens[end:]]
                told += [assay for assay in rest[:1] if assay is not None]
                exact = end == len(tokens) or rest[0] is not None
                assay = "density" if "density" in [*told, *rest] else next(iter(told), None)
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
    """Write a column's name as a key: lower case, one ``_`` between words."""
    return re.sub(r"[\W_]+", "_", name.lower()).strip("_")


def folded(cell: str) -> str:
    """Return a cell with letter case, blanks and forms of letters removed, as patterns read it.

    Roman numerals of one character, such as U+2162, are written out.
    """
    return " ".join(unicodedata.normalize("NFKC", cell).casefold().split())


def same_key(cell: str) -> str:
    """Return a key that is equal for spellings of one level: by case, blanks, forms of a number.

    A table's column of numbers is read as such, so that a cell ``01`` arrives as 1.
    """
    plain = folded(cell)
    try:
        number = float(plain)
    except ValueError:
        return plain
    return as_level(number) if math.isfinite(number) else plain


def matches(patterns: Iterable[str], key: str) -> bool:
    """Whether any pattern is found in a key."""
    return any(re.search(pattern, key) for pattern in patterns)


def panel_text(name: str) -> str:
    """Return one of the package's files, such as ``synthetic_gastric``, which is a study file."""
    return files("accomplice.data.panels").joinpath(f"{name}.yaml").read_text(encoding="utf-8")


@cache
def load_panel() -> Panel:
    """Read the package's panels and merge them."""
    merged: dict[str, Any] = {}
    for name in NAMES:
        merged = _merge(merged, yaml.safe_load(panel_text(name)))
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
