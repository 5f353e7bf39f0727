"""A page loads nothing, escapes everything, and can be read without its colours."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.figure import Figure as Drawing

from accomplice.training.reports.page import (
    LABELS,
    Figure,
    Page,
    Section,
    Table,
    Verdict,
    inline_svg,
    plain,
    render,
)

NASTY = "<script>alert('x')</script> & \"IL1R1\" <b>"


def drawing(text="a label"):
    figure = Drawing(figsize=(3, 2))
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], "o-", color="#0072B2")
    axes.set_title(text)
    return figure


def page(text="plain", figures=2):
    items = (
        Table(text, (text, "n"), [(text, "1.20 (1.10 to 1.30)")]),
        *(Figure(inline_svg(drawing(text), f"k{i}"), text, text) for i in range(figures)),
    )
    section = Section(text, Verdict("alarm", text), (text,), items, ((text, text),))
    return Page(text, (text,), text, (section,), (text,), text)


class Walk(HTMLParser):
    """Collects tags, attributes and text; complains of tags that do not close."""

    VOID = ("meta", "br", "img", "input", "link", "hr")

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.attributes, self.seen = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.seen.append(data)


def walked(html):
    walk = Walk()
    walk.feed(html)
    assert not walk.open
    return walk


def assert_self_contained(html):
    walk = walked(html)
    assert not re.search(r"https?://", html)
    assert not set(walk.tags) & {"script", "link", "iframe", "object", "embed", "img", "base"}
    for name, value in walk.attributes:
        if name in ("src", "href", "xlink:href", "srcset", "action"):
            assert value.startswith("#"), (name, value)
        assert not name.startswith("on"), name
    assert not re.search(r"@import|url\((?!#)", html)


class TestRender:
    def test_loads_nothing(self):
        assert_self_contained(render(page()))

    def test_escapes_whatever_is_put_in(self):
        html = render(page(NASTY))
        assert_self_contained(html)
        walk = walked(html)
        assert "b" not in walk.tags[walk.tags.index("main") + 1 : walk.tags.index("h2")]
        assert "".join(walk.seen).count("alert('x')") >= 8

    def test_ids_are_unique_and_references_lead_somewhere(self):
        walk = walked(render(page()))
        ids = [v for k, v in walk.attributes if k == "id"]
        assert len(ids) == len(set(ids))
        links = [
            v.removeprefix("#") for k, v in walk.attributes if k in ("href", "aria-labelledby")
        ]
        links += re.findall(r"url\(#([^)]*)\)", render(page()))
        assert len(links) > 4
        assert set(links) <= set(ids)

    def test_verdicts_are_words_and_figures_have_texts(self):
        html = render(page("what is seen"))
        assert LABELS["alarm"] in html
        walk = walked(html)
        assert ("aria-label", "what is seen") in walk.attributes
        assert walk.tags.count("h1") == 1
        assert "caption" in walk.tags
        assert ("scope", "row") in walk.attributes
        assert ("lang", "en") in walk.attributes

    def test_dark_and_print_are_provided_for(self):
        html = render(page())
        assert "prefers-color-scheme: dark" in html
        assert "@media print" in html

    def test_without_a_banner_there_is_none(self):
        bare = Page("t", (), "l", (), ())
        assert 'class="banner"' not in render(bare)
        assert 'class="banner"' in render(page())

    def test_words_are_listed_once_in_the_order_of_the_alphabet(self):
        section = Section("q", Verdict("yes", "v"), terms=(("b", "1"), ("A", "2"), ("b", "1")))
        assert Page("t", (), "l", (section,), ()).glossary == [("A", "2"), ("b", "1")]


class TestSvg:
    def test_colours_become_the_pages(self):
        svg = str(inline_svg(drawing(), "k"))
        assert "var(--blue)" in svg
        assert "#0072b2" not in svg

    def test_is_the_same_each_time(self):
        assert inline_svg(drawing(), "k") == inline_svg(drawing(), "k")

    def test_text_stays_text(self):
        assert "find me" in inline_svg(drawing("find me"), "k")


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), np.float64("nan"), np.array([np.nan])]
)
def test_what_json_does_not_know_becomes_null(value):
    assert "null" in json.dumps(plain({"x": [value]}), allow_nan=False)


def test_arrays_and_numbers_become_plain():
    found = plain({"a": np.arange(2), "b": (np.float64(0.5), np.int64(3), np.bool_(True)), 1: None})
    assert found == {"a": [0, 1], "b": [0.5, 3, True], "1": None}
    assert json.loads(json.dumps(found)) == found
