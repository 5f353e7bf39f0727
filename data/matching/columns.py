"""Find a study's columns in a table to predict for, which may write their names otherwise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import pandas as pd

from accomplice.data.panels.panel import key_of, load_panel
from accomplice.data.study import Study


def renamed(names: Iterable[str], study: Study) -> dict[str, str]:
    """Return the table's column -> the study's, where the study's own is not there.

    A column is the same by its name but for case, blanks and marks, or by a gene's other names and
    Ensembl id. Where several fit, none is taken.

    Args:
        names: the table's columns.
        study: whose id, hospital and features are looked for.
    """
    there = [*map(str, names)]
    sources = [feature.column or name for name, feature in study.features.items()]
    wanted = [c for c in (study.id, study.centre) if c is not None] + sources
    absent = [name for name in dict.fromkeys(wanted) if name not in there]
    free = [name for name in there if name not in wanted]
    found: dict[str, str] = {}
    for meaning in (key_of, _gene) if absent and free else ():
        ours = Counter(key for name in absent if (key := meaning(name)))
        theirs = Counter(key for name in free if (key := meaning(name)))
        place = {meaning(name): name for name in free}
        for name in absent:
            key = meaning(name)
            if key and ours[key] == theirs[key] == 1:
                found[place[key]] = name
        absent = [name for name in absent if name not in found.values()]
        free = [name for name in free if name not in found]
    return found


def aligned(frame: pd.DataFrame, study: Study) -> pd.DataFrame:
    """Return a table with the study's names of columns, as far as they are found."""
    names = renamed(frame.columns, study)
    return frame.rename(columns=names) if names else frame


def _gene(name: str) -> str | None:
    """Return the symbol of a column that is a gene's expression by its name."""
    panel = load_panel()
    symbol = panel.ensembl.get(name.split(".")[0])
    if symbol is not None:
        return symbol
    place = panel.place(name)
    exact = place is not None and place.gene and place.exact and place.assay is None
    return place.concept if place is not None and exact else None
