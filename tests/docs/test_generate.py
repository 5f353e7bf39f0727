"""What the documentation takes from the code."""

from __future__ import annotations

import importlib
import importlib.util
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from accomplice.data.study import Feature, Study
from accomplice.training.config import Config, known_keys
from tests.integration.test_rooms import ORDER

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def hook():
    """The hook as MkDocs loads it: by its path."""
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def cells(text, key):
    (row,) = re.findall(rf"(?m)^\| `{re.escape(key)}` \| (.*) \|$", text)
    return row.split(" | ")


def test_study_file_lists_every_key_with_type_default_and_meaning(hook):
    text = hook.study_file()
    for key in {*Study.model_fields, *Feature.model_fields}:
        assert f"| `{key}` |" in text
    assert cells(text, "landmark")[:2] == ["number ≥ 0", "`2.0`"]
    assert cells(text, "horizon")[:2] == ["number > 0", "none"]
    assert cells(text, "expected_hr")[1] == "none"
    assert cells(text, "modalities")[1] == "**needed**"
    assert cells(text, "kind")[2] == hook._attribute_docstrings(Feature)["kind"]


def test_settings_are_those_that_set_takes(hook):
    text = hook.settings()
    assert re.findall(r"(?m)^\| `([a-z_.]+)` \|", text) == [
        *(key for key in known_keys() if "." not in key),
        *(key for key in known_keys() if "." in key),
    ]
    assert cells(text, "net.members")[1] == f"`{Config().net.members}`"
    assert cells(text, "folds.by")[0] == "`patient`, `centre`"
    assert cells(text, "net.members")[2] == known_keys()["net.members"]


def test_commands_are_all_verbs(hook):
    shown = re.findall(r"(?m)^## accomplice ?(.*)$", hook.commands())
    assert shown[:2] == ["", "data init"]
    assert {"data check", "train", "predict", "serve", "demo"} <= {*shown}
    assert len(shown) == len({*shown})


def test_rooms_are_those_of_the_test(hook):
    assert hook.room_order() == ORDER
    assert "| 1 | `data` | " in hook.rooms()


@pytest.fixture
def page():
    return SimpleNamespace(file=SimpleNamespace(src_uri="reference/bundle.md"))


def test_marks_are_filled_and_unknown_ones_refused(hook, page):
    filled = hook.on_page_markdown("a <!-- generate: rooms --> b", page)
    assert filled == f"a {hook.rooms()} b"
    with pytest.raises(KeyError, match="nothing"):
        hook.on_page_markdown("<!-- generate: nothing -->", page)


def test_links_to_the_repository_become_paths(hook, page):
    text = "[a](../how-to/deploy.md#packages) [LICENSE](../../LICENSE) [b](../../README.md#map)"
    expected = "[a](../how-to/deploy.md#packages) `LICENSE` b (`README.md`)"
    assert hook.on_page_markdown(text, page) == expected
    with pytest.raises(FileNotFoundError):
        hook.on_page_markdown("[c](../../nowhere.md)", page)


@pytest.mark.parametrize(
    "loaded",
    ['<script src="https://a.org/b.js">', '<link rel="x" href="http://a.org/b.css">'],
)
def test_pages_that_load_from_other_hosts_are_refused(hook, page, loaded):
    assert hook.on_post_page('<a href="https://a.org">', page) == '<a href="https://a.org">'
    with pytest.raises(ValueError, match=r"reference/bundle\.md loads from elsewhere"):
        hook.on_post_page(loaded, page)


def test_what_the_api_page_names_is_there():
    names = re.findall(r"(?m)^::: (.+)$", (DOCS / "reference/api.md").read_text(encoding="utf-8"))
    assert len(names) > 3
    for name in names:
        module, _, attribute = name.rpartition(".")
        assert not module or hasattr(importlib.import_module(module), attribute)
