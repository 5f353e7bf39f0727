from __future__ import annotations

import json
import random

import pytest
import yaml

from accomplice.data.escaping import markdown, printable, quote_cells, say, unquote_cells

#: Of what cells are drawn: that which is escaped or quoted, and what looks like an escape.
LETTERS = "\\\\u202e=+-@\t\r\n\x1b\u202e\x85\u2028'05c"
ACTING = "a\x1b[2J\u202eb\x85\u2028\u200f\n\t"


def test_escapes_mean_the_same_in_json_and_yaml():
    assert printable(ACTING) == r"a\u001b[2J\u202eb\u0085\u2028\u200f\n\t"
    assert json.loads(f'"{printable(ACTING)}"') == ACTING
    assert yaml.safe_load(f'"{printable(ACTING)}"') == ACTING
    assert printable(ACTING, lines=True).endswith("\n\t")
    assert printable("größe ✓ T-Zellen") == "größe ✓ T-Zellen"


def test_a_line_is_a_line(capsys):
    say("a\nb", "c", error=True)
    assert capsys.readouterr() == ("", "a\\nb\nc\n")


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("# a", r"\# a"),
        ("1. a", r"1\. a"),
        ("- a", r"\- a"),
        ("-0.5", "-0.5"),
        ("_a_ b_c", r"\_a\_ b_c"),
        ("www.a.b x@y.z", r"www\.a.b x\@y.z"),
        ("a\n\nb", "a b"),
        ("&lt;", "&amp;lt;"),
    ],
)
def test_markdown_reads_as_the_text(text, written):
    assert markdown(text) == written
    assert markdown(markdown(text)) == written


def test_any_cell_is_given_back():
    drawn = random.Random(0)
    for _ in range(3000):
        cell = "".join(
            drawn.choices("\\\\u202e=+-@\t\r\n\x1b\u202e\x85\u2028'05c", k=drawn.randint(0, 8))
        )
        assert unquote_cells(quote_cells([cell])) == [cell]
