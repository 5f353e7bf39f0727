"""Read a level that a study spells otherwise: but for case, or as the panels know it."""

from __future__ import annotations

from accomplice.data.matching.columns import known_panel
from accomplice.data.panels.panel import folded, key_of
from accomplice.data.study_parts import Feature


def same_level(name: str, feature: Feature, text: str) -> str | None:
    """Return the level or listed spelling of a feature that a text means, if it is sure.

    Args:
        name: of the feature's column.
        feature: has levels.
        text: that is neither a level nor a spelling that the study lists.
    """
    known = dict.fromkeys((*(feature.levels or ()), *(feature.map or ())))
    alike = [level for level in known if folded(level) == folded(text)]
    if alike:
        return alike[0] if len(alike) == 1 else None
    panel, key = known_panel(), key_of(name)
    codes = [code for code in panel.ordinals if code.named(key)]
    labels = [each for each in panel.categories.values() if each.names is not None]
    for meaning in (*(c.meaning for c in codes), *(c.spelling for c in labels)):
        said = meaning(text, key)
        levels = [level for level in feature.levels or () if meaning(level, key) == said]
        if said is not None and len(levels) == 1:
            return levels[0]
    return None
