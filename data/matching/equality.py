"""Rules by which features of two studies are the same: names, columns, and the panels.

Two features are compared by keys, the surest first; those of one key must agree in kind, unit and
levels. Levels are the same by their labels, by what a panel reads in them, or where one begins with
the other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable

from accomplice.data.errors import some
from accomplice.data.panels.panel import Panel, folded, key_of, matches
from accomplice.data.study_parts import Feature

#: Name and feature -> key that equal features share; None if there is none.
Key = Callable[[str, Feature], Hashable | None]
#: Level and column's key -> the level's meaning; None if it is not known.
LevelReading = Callable[[str, str], str | None]

#: Fewest shared levels of a levelled feature that is the same.
FEWEST_LEVELS = 2


def keys(panel: Panel) -> list[tuple[str, Key]]:
    """Return the rules by which two features are the same, the surest first."""

    def gene(name: str, feature: Feature) -> Hashable | None:
        places = [panel.place(n) for n in (name, feature.column or name)]
        symbols = [p.concept for p in places if p is not None and p.gene and p.exact]
        measured = feature.kind in ("expression", "density")
        return (symbols[0], feature.kind) if symbols and measured else None

    def ordered(name: str, feature: Feature) -> Hashable | None:
        key = key_of(name)
        codes = [o.name for o in panel.ordinals if feature.levels is not None and o.named(key)]
        return codes[0] if codes else None

    def quantity(name: str, feature: Feature) -> Hashable | None:
        key = key_of(name)
        known = [q.names for q in panel.quantities if matches([q.names], key)]
        return known[0] if known and feature.kind == "number" else None

    def labels(name: str, feature: Feature) -> Hashable | None:
        key = key_of(name)
        known = [
            label
            for label, category in panel.categories.items()
            if category.names is not None
            and any(category.meaning(level, key) for level in feature.levels or ())
        ]
        return known[0] if known else None

    return [
        ("same name", lambda name, _: key_of(name)),
        ("same column", lambda name, feature: key_of(feature.column or name)),
        ("same gene", gene),
        ("same ordered code", ordered),
        ("same quantity", quantity),
        ("same labels", labels),
    ]


def same_levels(
    ours: tuple[str, Feature], theirs: tuple[str, Feature], panel: Panel
) -> dict[str, str]:
    """Return levels of another feature -> the level of ours that each means.

    Both are given as name and feature.

    Labels are the same but for case; or a panel reads both as the same; or one begins with the
    other, a whole word of it, and no other does.
    """
    known, there = ours[1].levels or (), theirs[1].levels or ()
    spelt = defaultdict(list)
    for level in known:
        spelt[folded(level)].append(level)
    found = {lv: own[0] for lv in there if len(own := spelt[folded(lv)]) == 1}
    for meaning in _readings(ours[0], theirs[0], panel):
        read = defaultdict(list)
        for level in known:
            read[meaning(level, key_of(ours[0]))].append(level)
        for level in there:
            said = meaning(level, key_of(theirs[0]))
            if level not in found and said is not None and len(read[said]) == 1:
                found[level] = read[said][0]
    for level in there:
        begun = [own for own in known if _begins(own, level)]
        if level not in found and len(begun) == 1:
            rivals = [lv for lv in there if _begins(begun[0], lv) and lv not in found]
            if rivals == [level] and begun[0] not in found.values():
                found[level] = begun[0]
    return {level: found[level] for level in there if level in found}


def _readings(ours: str, theirs: str, panel: Panel) -> list[LevelReading]:
    """Return the panel's ways to read a level of columns of these two names."""
    keys = key_of(ours), key_of(theirs)
    codes: list[LevelReading] = [
        c.meaning for c in panel.ordinals if c.names is None or all(map(c.named, keys))
    ]
    return codes + [c.meaning for c in panel.categories.values()]


def _begins(one: str, other: str) -> bool:
    short, long = sorted((folded(one), folded(other)), key=len)
    return long.startswith(short) and not long[len(short) : len(short) + 1].isalnum()


def why_not(ours: tuple[str, Feature], theirs: tuple[str, Feature], panel: Panel) -> str:
    """Return the reason why two features cannot be the same; empty if there is none."""
    one, other = ours[1], theirs[1]
    if one.levels is not None and other.levels is not None:
        shared = set(same_levels(ours, theirs, panel).values())
        if len(shared) < FEWEST_LEVELS:
            only = f"only {some(sorted(shared))}" if shared else "none"
            return f"{only} of the levels of '{theirs[0]}' is one of the model's"
    elif one.kind != other.kind:
        return f"'{theirs[0]}' is of kind '{other.kind}' there, '{one.kind}' in the model"
    # Expression is ranked, so that its unit does not matter.
    units = {folded(f.unit) for f in (one, other) if f.unit and f.kind != "expression"}
    if len(units) > 1:
        return f"'{theirs[0]}' is in {other.unit} there, in {one.unit} in the model"
    return ""
