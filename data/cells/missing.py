"""Words that mean "not known" in a cell, and a study's or user's changes to them.

A word that a study lists as a level of a column is a level there, even if it is one of these.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

#: Words that mean "not known" in a column that does not list them, as :func:`word_of` spells them.
MISSING = frozenset(
    {"", ".", "?", "-", "--", "'--", "na", "n/a", "#na", "#n/a", "#n/a n/a", "<na>", "nan", "-nan"}
    | {"null", "missing", "unknown", "not available", "not reported", "not stated"}
    | {"[not available]", "[not applicable]", "[not evaluated]", "[unknown]", "[discrepancy]"}
    | {"1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan"}
)
#: Words that mean missing where all other cells of a column are numbers; elsewhere they are levels.
NO_NUMBERS = frozenset(
    {"none", "nd", "n.d.", "n.a.", "unk", "not done", "not applicable", "not tested"}
    | {"not assessed", "not evaluated", "[completed]", "pending", "not recorded", "n/d", "*", "**"}
    | {"not measured", "not determined", "not collected", "not performed", "undetermined", "tbd"}
    | {"not known", "no data", "no value", "no information", "withheld", "unbekannt", "k.a."}
    | {"keine angabe", "nicht bekannt", "inconnu", "non connu", "desconocido", "sconosciuto"}
    | {"fehlt", "fehlend", "nicht erhoben", "nicht bestimmt", "nicht durchgeführt", "n.b."}
    | {"manquant", "non renseigné", "non fait", "inconnue", "nr", "n.r.", "no consta", "sin datos"}
    | {"desconocida", "no disponible", "ignorado", "non noto", "sconosciuta", "onbekend"}
    | {"未知", "不详", "未查", "缺失", "无数据"}
)
#: Words that can mean missing or be a level, in a column that has blank cells too.
DOUBTFUL = ("None", "NA")


def word_of(cell: object) -> str:
    """Return a cell in the spelling of this module's words: lower case, no blanks around it."""
    return str(cell).strip().lower()


def words_of(cells: Collection[object]) -> frozenset[str]:
    """Return the distinct words of cells, each as :func:`word_of` spells it."""
    return frozenset(map(word_of, cells))


@dataclass(frozen=True)
class Words:
    """A study's or user's changes to the words for missing, in the spelling of :func:`word_of`."""

    missing: frozenset[str] = frozenset()
    """Further words that mean missing."""
    levels: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Column -> words that are levels there."""
    kept: frozenset[str] = frozenset()
    """Words that are levels in every column."""

    def blank(self, column: str) -> frozenset[str]:
        """Return the words that mean missing in a column."""
        return (MISSING | self.missing) - self.kept - self.levels.get(column, frozenset())

    def no_numbers(self, column: str) -> frozenset[str]:
        """Return the words that mean missing in a column of numbers, beyond :meth:`blank`."""
        return NO_NUMBERS - self.kept - self.levels.get(column, frozenset())
