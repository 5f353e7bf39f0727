"""The package's own YAML files read the same by libyaml and by PyYAML's own parser."""

from __future__ import annotations

import pytest
import yaml

from accomplice.data.panels.panel import NAMES, panel_text
from accomplice.data.readers.yaml_text import own_yaml
from accomplice.training.reports.page import TEMPLATES


@pytest.mark.parametrize(
    "text",
    [
        *map(panel_text, NAMES),
        *(
            (TEMPLATES / name).read_text(encoding="utf-8")
            for name in ("words.yaml", "glossary.yaml")
        ),
    ],
)
def test_own_files_read_as_the_plain_parser_reads_them(text):
    assert own_yaml(text) == yaml.load(text, yaml.SafeLoader)
