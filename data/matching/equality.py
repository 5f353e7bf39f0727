"""Rules by which features of two studies are the same: by name, by column, or by the panels.

Each rule gives a feature a key. Two features of one key are the same if they share two levels or,
where one has no levels, are of one kind, and if their units do not differ (see :func:`why_not`).
Levels are compared by their labels and by the panel's reading of them (see :func:`same_levels`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable

from accomplice.data.errors import some
from accomplice.data.panels.panel import Panel, folded, key_of, matches
from accomplice.data.study_parts import Feature

#: Function of a feature's name and the feature -> key that equal features share, if any.
Key = Callable[[str, Feature], Hashable | None]
#: Function of a level and its feature's name as a key -> the level's meaning, None if unknown.
LevelReading = Callable[[str, str], str | None]

#: Minimum number of levels that two features with levels must share to be the same.
FEWEST_LEVELS = 2


def matching_rules(panel: Panel) -> list[tuple[str, Key]]:
    """Return the rules by which two features can be the same, the surest first: (name, key)."""

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
    """Return level of another study's feature -> the level of the model's feature that it means.

    Two levels are the same if their labels are equal once :func:`panel.folded`; else if a panel
    reads the same in both; else if one label is the other's first word or words. A level that fits
    several of the model's levels by one of these rules is not matched by it. By the last rule the
    model's level must have no partner yet, and fit no other level that has none. Levels without a
    partner are left out.

    Args:
        ours: name and feature of the model's study.
        theirs: name and feature of the other study.
        panel: known codes and labels.
    """
    known, others = ours[1].levels or (), theirs[1].levels or ()
    by_spelling = defaultdict(list)
    for level in known:
        by_spelling[folded(level)].append(level)
    found = {lv: own[0] for lv in others if len(own := by_spelling[folded(lv)]) == 1}
    for meaning in _readings(ours[0], theirs[0], panel):
        read = defaultdict(list)
        for level in known:
            read[meaning(level, key_of(ours[0]))].append(level)
        for level in others:
            meant = meaning(level, key_of(theirs[0]))
            if level not in found and meant is not None and len(read[meant]) == 1:
                found[level] = read[meant][0]
    for level in others:
        begun = [own for own in known if _begins(own, level)]
        if level not in found and len(begun) == 1:
            rivals = [lv for lv in others if _begins(begun[0], lv) and lv not in found]
            if rivals == [level] and begun[0] not in found.values():
                found[level] = begun[0]
    return {level: found[level] for level in others if level in found}


def _readings(ours: str, theirs: str, panel: Panel) -> list[LevelReading]:
    """Return the functions by which the panel reads levels of features of both names."""
    keys = key_of(ours), key_of(theirs)
    codes: list[LevelReading] = [
        c.meaning for c in panel.ordinals if c.names is None or all(map(c.named, keys))
    ]
    return codes + [c.meaning for c in panel.categories.values()]


def _begins(one: str, other: str) -> bool:
    """Whether one label is equal to the other, or is its first word or words."""
    short, long = sorted((folded(one), folded(other)), key=len)
    return long.startswith(short) and not long[len(short) : len(short) + 1].isalnum()


def why_not(ours: tuple[str, Feature], theirs: tuple[str, Feature], panel: Panel) -> str:
    """Return the reason why two features of one key are not the same; empty if they can be.

    Two features with levels must share `FEWEST_LEVELS` levels, others must be of one kind. Units
    must not differ where both are known; expression is compared without them.

    Arguments are those of :func:`same_levels`.
    """
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
