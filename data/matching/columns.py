"""Match a table's columns to a study's, despite other spellings of their names.

A column is the same by its name, or its feature's, but for case, blanks and marks, or by a gene's
other names and Ensembl id. Where several fit, none is taken.
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
from accomplice.data.panels.panel import key_of, load_panel
from accomplice.data.study import Study

log = logging.getLogger(__name__)

#: Fewest cells of a column that is refused if none of them fits.
FEWEST = 5


@dataclass(frozen=True)
class Synonyms:
    """Other ways to write the names of a study's columns and features."""

    columns: Mapping[str, str]
    """Name -> the column of that name, or that of the feature of that name."""

    @classmethod
    def of(cls, study: Study) -> Self:
        """Return those of a study's columns of id, hospital and features, and of the features."""
        columns = {feature.column or name for name, feature in study.features.items()}
        columns |= {name for name in (study.id, study.centre) if name is not None}
        return cls({name: name for name in columns} | other_names(study))

    def renamed(self, given: Iterable[str]) -> dict[str, str]:
        """Return given name -> the name that it means, of those that are not given as they are."""
        there = frozenset(given)
        free, found = there - self.columns.keys(), dict[str, str]()
        if not free or there.issuperset(self.columns):
            return found
        for known, meaning in ((self._keys, key_of), (self._genes, _gene)):
            taken = there.union(found.values())
            means = {name: known.get(meaning(name)) for name in free - found.keys()}
            times = Counter(means.values())
            found |= {
                name: own
                for name, own in means.items()
                if own is not None and times[own] == 1 and own not in taken
            }
        return found

    @cached_property
    def _keys(self) -> dict[str | None, str | None]:
        return self._single(key_of)

    @cached_property
    def _genes(self) -> dict[str | None, str | None]:
        return self._single(_gene)

    def _single(self, meaning: Callable[[str], str | None]) -> dict[str | None, str | None]:
        """Invert name -> meaning; None where names of several columns, or of none, have it."""
        found: dict[str | None, str | None] = {}
        for name, column in self.columns.items():
            key = meaning(name)
            first = found.get(key, name)
            same = key and first is not None and self.columns[first] == column
            found[key] = first if same else None
        return found


def other_names(study: Study) -> dict[str, str]:
    """Return feature -> its column, where that has another name and no column has the feature's."""
    columns = frozenset(study.columns())
    features = study.features.items()
    return {name: f.column for name, f in features if f.column and name not in columns}


def renamed(names: Iterable[str], study: Study) -> dict[str, str]:
    """Return the table's column -> the study's, where the study's own is not there.

    Args:
        names: the table's columns.
        study: whose id, hospital and features are looked for.
    """
    there, others = frozenset(map(str, names)), other_names(study)
    features = {name: own for name, own in others.items() if name in there and own not in there}
    there = there - features.keys() | {*features.values()}
    found = {n: others.get(o, o) for n, o in Synonyms.of(study).renamed(there).items()}
    times = Counter(found.values())
    return features | {n: o for n, o in found.items() if times[o] == 1 and o not in there}


def aligned(frame: pd.DataFrame, study: Study) -> pd.DataFrame:
    """Return a table with the study's names of columns, as far as they are found."""
    names = renamed(frame.columns, study)
    return frame.rename(columns=names) if names else frame


def keys_for(parts: Iterable[pd.DataFrame], study: Study) -> dict[str, str]:
    """Return column -> the key that all its cells begin with, of a study's table in parts.

    A column of levels that have keys of their own has none. A key that is not the feature's name is
    noted, as another table may hold something else in a column of that name.

    Raises:
        InputError: the key is the name of a feature that is read from another column.
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
            told = "its cells begin with another name than the feature's, as which they are read"
            log.warning("note: column '%s': %s: '%s'", source, told, name)
    return keys


def refuse_unfit(study: Study, flags: Mapping[str, int], patients: int) -> None:
    """Raise for a column none of whose cells fits its feature, for example with other codes.

    Args:
        study: the model's.
        flags: how many patients of a table have each flag.
        patients: how many there are.

    Raises:
        InputError: there is one; the text names it.
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
    """Return the symbol of a gene by one of its names or its Ensembl id, with a version or not."""
    panel = load_panel()
    symbol = panel.ensembl.get(name.split(".")[0])
    if symbol is None and (named := panel.aliases.get(key_of(name).replace("_", ""))):
        _, symbol = named
    return symbol
