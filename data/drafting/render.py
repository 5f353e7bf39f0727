"""Write a drafted study as the text of a study file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from accomplice.data.escaping import printable

#: Section of the file -> the comment above it.
COMMENTS = {
    "name": "Drafted by `accomplice data init`: read it through, correct it, then train.",
    "source": "Where the values are, relative to this file.",
    "id": "The patient's identifier.",
    "rows": "How several rows of a patient become one.",
    "missing": "Further words that mean not known; a level of a feature is never missing.",
    "centre": "The hospital, for splits and assay scales.",
    "endpoints": "The outcomes to predict. horizon: months; null is the last follow-up.",
    "ceiling": "A C-index above this is taken for a leak until shown otherwise.",
    "treatment": "The treatment whose effect is estimated, and at which levels it is an option.",
    "modalities": "The inputs by modality. map: other spellings -> level, null is missing.",
    "baselines": "Reference models that every run is compared with: a ridge Cox on these features.",
    "interactions": "Products that enter the linear model, fixed in advance.",
    "ignored": "Columns left out and why; move one to modalities to use it.",
}


def render(study: Mapping[str, Any]) -> str:
    """Return a study as the text of a study file, with a comment above each section.

    Raises:
        KeyError: a section has no comment in :data:`COMMENTS`.
    """
    blocks = []
    for key, value in study.items():
        text = yaml.dump(
            {key: _styled(value, one_line_below=2 if key == "modalities" else None)},
            Dumper=_Dumper,
            sort_keys=False,
            allow_unicode=True,
            width=100,
        )
        blocks.append(f"# {COMMENTS[key]}\n{printable(text, lines=True)}")
    return "\n".join(blocks)


class _Line(dict[str, Any]):
    """A mapping written on one line."""


class _Row(list[Any]):
    """A list written on one line."""


class _Dumper(yaml.SafeDumper):
    """A YAML writer without anchors and aliases, for :class:`_Line` and :class:`_Row` too."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


_Dumper.add_representer(
    _Line, lambda d, v: d.represent_mapping("tag:yaml.org,2002:map", v.items(), flow_style=True)
)
_Dumper.add_representer(
    _Row, lambda d, v: d.represent_sequence("tag:yaml.org,2002:seq", v, flow_style=True)
)

# Control characters and those that change the direction of text are escaped, which needs quotes.
_Dumper.add_representer(
    str,
    lambda d, v: d.represent_scalar(
        "tag:yaml.org,2002:str", v, style='"' if printable(v, lines=True) != v else None
    ),
)


def _styled(value: Any, one_line_below: int | None) -> Any:
    """Return a value in which lists, and mappings at a depth, are written on one line each.

    Args:
        value: plain data.
        one_line_below: depth of those mappings, 0 for the value itself; None: no mapping.
    """
    if isinstance(value, list):
        return _Row(_styled(item, None) for item in value)
    if not isinstance(value, dict):
        return value
    if one_line_below == 0:
        return _Line(value)
    deeper = None if one_line_below is None else one_line_below - 1
    return {key: _styled(item, deeper) for key, item in value.items()}
