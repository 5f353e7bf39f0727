"""Match a table's columns to a study's, despite other spellings of their names.

A column matches if its name is that of the study's column or feature, apart from letter case,
blanks and punctuation, or another name of the same gene, such as its Ensembl id. Where several
columns match, none is taken.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import pandas as pd

from accomplice.data.cells.keys import has_key, keys_of
from accomplice.data.coding import NOT_A_NUMBER, UNKNOWN_LEVEL
from accomplice.data.errors import InputError, some
from accomplice.data.escaping import printable
from accomplice.data.panels.panel import key_of, load_panel
from accomplice.data.study import Study

log = logging.getLogger(__name__)

#: Minimum number of cells of a column that is refused because none of them fits its feature.
FEWEST = 5


@dataclass(frozen=True)
class Synonyms:
    """Other ways to write the names of a study's columns and features."""

    columns: Mapping[str, str]
    """Name of a column or a feature -> the study's column."""

    @classmethod
    def of(cls, study: Study) -> Self:
        """Return the names of a study's features and of the columns for them, id and hospital."""
        columns = {feature.column or name for name, feature in study.features.items()}
        columns |= {name for name in (study.id, study.centre) if name is not None}
        return cls({name: name for name in columns} | other_names(study))

    def renamed(self, given: Iterable[str]) -> dict[str, str]:
        """Return given name -> the study's name that it means, for names that the study lacks.

        A name has no entry if its meaning is unknown, ambiguous, or given as it is.
        """
        names = frozenset(given)
        free, found = names - self.columns.keys(), dict[str, str]()
        if not free or names.issuperset(self.columns):
            return found
        for known, meaning in ((self._keys, key_of), (self._genes, _gene)):
            taken = names.union(found.values())
            means = {name: known.get(meaning(name)) for name in free - found.keys()}
            counts = Counter(means.values())
            found |= {
                name: own
                for name, own in means.items()
                if own is not None and counts[own] == 1 and own not in taken
            }
        return found

    @cached_property
    def _keys(self) -> dict[str | None, str | None]:
        return self._single(key_of)

    @cached_property
    def _genes(self) -> dict[str | None, str | None]:
        return self._single(_gene)

    def _single(self, meaning: Callable[[str], str | None]) -> dict[str | None, str | None]:
        """Return meaning -> name; None where names of several columns have the meaning.

        Args:
            meaning: function of a name; None where it knows no meaning.
        """
        found: dict[str | None, str | None] = {}
        for name, column in self.columns.items():
            key = meaning(name)
            first = found.get(key, name)
            same = key and first is not None and self.columns[first] == column
            found[key] = first if same else None
        return found


def other_names(study: Study) -> dict[str, str]:
    """Return feature -> its column, for features whose column has another name.

    A feature is left out if some column of the study has the feature's name.
    """
    columns = frozenset(study.columns())
    features = study.features.items()
    return {name: f.column for name, f in features if f.column and name not in columns}


def renamed(names: Iterable[str], study: Study) -> dict[str, str]:
    """Return the table's column -> the study's column that it means, where they differ.

    Args:
        names: the table's columns.
        study: study with columns of id, hospital and features.
    """
    given, others = frozenset(map(str, names)), other_names(study)
    features = {name: own for name, own in others.items() if name in given and own not in given}
    given = given - features.keys() | {*features.values()}
    found = {name: others.get(own, own) for name, own in Synonyms.of(study).renamed(given).items()}
    counts = Counter(found.values())
    return features | {
        name: own for name, own in found.items() if counts[own] == 1 and own not in given
    }


def aligned(frame: pd.DataFrame, study: Study) -> pd.DataFrame:
    """Return a table whose columns have the study's names where they match; see :func:`renamed`.

    Args:
        frame: the table.
        study: study with columns of id, hospital and features.
    """
    names = renamed(frame.columns, study)
    return frame.rename(columns=names) if names else frame


def keys_for(parts: Iterable[pd.DataFrame], study: Study) -> dict[str, str]:
    """Return column -> the key that all its known cells begin with, for columns that have one.

    A key is the text before a colon, as in ``age: 66``. A column is left out if a level or a mapped
    cell of its feature in the study begins with a key. If the key is none of the feature's name,
    column and label, apart from case and punctuation, a warning names the column and the feature,
    since the column may hold something else in another table. The key itself is not logged.

    Args:
        parts: the rows of one table, in parts.
        study: study of the table.

    Raises:
        InputError: the key of a feature's column is the name of a feature that is read from another
            column.
    """
    keys = keys_of(parts)
    if not keys:
        return keys
    features = [(name, f.column or name, f) for name, f in study.features.items()]
    columns = {key_of(name): source for name, source, _ in features}
    for name, source, feature in features:
        if source not in keys:
            continue
        if any(map(has_key, (*(feature.levels or ()), *(feature.map or ())))):
            del keys[source]
            continue
        key = key_of(keys[source])
        if columns.get(key, source) != source:
            raise InputError(
                f"column '{source}': its cells begin with the name of the feature that is read "
                f"from column '{columns[key]}': rename the column, or correct the study file"
            )
        if key not in map(key_of, (name, source, feature.label or "")):
            # The text before the colon can be a patient's, so that it is not shown.
            note = "its cells begin with another name than the feature's, as which they are read"
            log.warning("%s", printable(f"note: column '{source}': {note}: '{name}'"))
    return keys


def refuse_unfit(study: Study, flags: Mapping[str, int], patients: int) -> None:
    """Raise for a column of which no cell fits its feature, for example because of other codes.

    Args:
        study: study of the model.
        flags: flag -> number of patients who have it.
        patients: number of patients.

    Raises:
        InputError: a column does not fit; the text names it.
    """
    modality = {j: name for name, block in study.blocks.items() for j in block}
    for j, (name, feature) in enumerate(study.features.items()):
        kind = NOT_A_NUMBER if feature.levels is None else UNKNOWN_LEVEL
        odd = flags.get(f"{kind}:{name}", 0)
        missing = flags.get(f"missing:{name}", 0) + flags.get(f"missing_modality:{modality[j]}", 0)
        if odd < FEWEST or missing < patients:
            continue
        taken = "a number"
        if feature.levels is not None:
            taken = f"one of its levels {some(feature.levels)}"
        raise InputError(
            f"column '{feature.column or name}': none of its {odd} cells is {taken}: write them "
            "so, or leave the column out to predict without it"
        )


def _gene(name: str) -> str | None:
    """Return a gene's symbol by its Ensembl id, with or without a version, or another name."""
    panel = load_panel()
    symbol = panel.ensembl.get(name.split(".")[0])
    if symbol is None and (named := panel.aliases.get(key_of(name).replace("_", ""))):
        _, symbol = named
    return symbol
