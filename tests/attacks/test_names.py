"""A name in a table or a study file acts neither on a console, nor in Markdown, nor on a page."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from accomplice.data.cohort import build_cohort
from accomplice.data.escaping import code, markdown, printable, unquote_cells
from accomplice.data.files import csv_parts
from accomplice.data.study import load_study, parse_study
from accomplice.data.synthetic import draw
from accomplice.serving.answers.model_card import card
from accomplice.serving.answers.predictor import Predictor
from accomplice.serving.web.page import Page
from accomplice.training.cli.main import main
from accomplice.training.reports.model_card import model_card
from accomplice.training.reports.page import json_text, render
from accomplice.training.reports.review.page import review_page
from accomplice.training.tracking.summary import note

#: Sets the title, clears the screen, by one and by two bytes, and turns the text round.
CONTROLS = "x\x1b]0;owned\x07\x1b[2J\x9b2J\u202e\u2066\x7f\u200f"
#: Markup in HTML and Markdown: an element, links, an image, emphasis, code, a cell.
MARKUP = "<img src=x onerror=alert(1)>[x](javascript:alert(1))![y](//e)https://e.test`**|z"
#: What no text for people holds.
ACTING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
#: Markup that is not escaped.
ACTIVE = re.compile(r"<img|(?<!\\)\[[xy]\\?\]\(|(?<!\\)!\[|https://e")


def table(n=60):
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "pid": [f"p{i}" for i in range(n)],
            "months": rng.exponential(20, n).round(1) + 0.1,
            "dead": rng.integers(0, 2, n),
            CONTROLS: rng.normal(size=n).round(3),
            f"a{CONTROLS}": [f"{CONTROLS}{i % 2}" for i in range(n)],
            f"notes {CONTROLS}": "the same",
        }
    )


class TestConsole:
    @pytest.fixture
    def said(self, tmp_path, capsys, monkeypatch):
        monkeypatch.chdir(tmp_path)
        table().to_csv("t.csv", index=False)
        assert main(["data", "init", "t.csv", "--time", "months", "--event", "dead"]) == 0
        assert main(["data", "check", "study.yaml"]) == 0
        return "".join(capsys.readouterr())

    def test_no_verb_prints_a_name_that_acts(self, said):
        assert not ACTING.search(said)
        assert "\\u001b[2J" in said
        assert "\\u202e" in said

    def test_the_study_file_names_the_column_in_escapes(self, said, tmp_path):
        assert not ACTING.search((tmp_path / "study.yaml").read_text(encoding="utf-8"))
        assert CONTROLS in load_study(tmp_path / "study.yaml").features

    def test_errors_do_not_either(self, tmp_path, capsys, monkeypatch):
        monkeypatch.chdir(tmp_path)
        table().to_csv("t.csv", index=False)
        asked = ["data", "init", "t.csv", "--time", f"a{CONTROLS}", "--event", "dead"]
        assert main(asked) == 2
        assert main(["data", "check", f"{CONTROLS}.yaml"]) == 2
        assert not ACTING.search("".join(capsys.readouterr()))

    def test_a_table_of_answers_on_a_terminal_does_not(self):
        class Terminal(io.StringIO):
            def isatty(self):
                return True

        answers = pd.DataFrame({"patient_id": [f"{CONTROLS}\t"], "risk": [-0.5]})
        screen, file, raw = Terminal(), io.StringIO(), io.StringIO()
        csv_parts(screen)(answers)
        csv_parts(file)(answers)
        csv_parts(raw, raw=True)(answers)
        assert not ACTING.search(screen.getvalue() + file.getvalue())
        assert CONTROLS in raw.getvalue()
        assert "\t" not in screen.getvalue()
        cell = file.getvalue().splitlines()[1].rpartition(",")[0]
        assert unquote_cells([cell]) == [f"{CONTROLS}\t"]


@pytest.fixture(scope="module")
def trained(small_cohort, quick_config, shared):
    """A run whose features, levels and texts have hostile names."""
    from accomplice.training.run import train

    raw = small_cohort.study.describe()
    clinical = raw["modalities"]["clinical"]
    clinical[MARKUP + CONTROLS] = clinical.pop("age") | {"column": "age", "unit": CONTROLS}
    clinical["sex"] |= {"label": MARKUP + CONTROLS, "levels": [CONTROLS, MARKUP]}
    clinical["sex"]["map"] = {"Female": CONTROLS, "Male": MARKUP}
    raw["treatment"]["label"] = f"drug{CONTROLS}{MARKUP}"
    raw["description"] = MARKUP + CONTROLS
    raw["baselines"] = {MARKUP + CONTROLS: ["stage"]}
    study = parse_study(raw, "hostile")
    cohort = build_cohort(study, draw(240, seed=11).frame)
    return shared("hostile", lambda: train(cohort, quick_config))


class TestMarkdown:
    def test_a_model_card_holds_no_markup_of_others(self, trained):
        text = model_card(trained.bundle)
        assert not ACTIVE.search(re.sub(r"(`+).*?\1", "", text))
        assert not ACTING.search(text)
        assert "&lt;img src=x" in text

    def test_nor_does_the_note_of_a_run(self, trained):
        text = note(trained)
        assert not ACTIVE.search(text)
        assert not ACTING.search(text)
        assert "drug" in text

    def test_nor_the_card_that_is_served(self, trained):
        assert not ACTIVE.search(card(replace(trained.bundle, metrics={})))

    def test_plain_words_stay_as_they_are(self):
        for words in ("os_months", "T-cell (CD8+)", "-0.03 (-0.12 to 0.24)", "5 % of 3.2; a: b"):
            assert markdown(words) == words

    def test_code_ends_where_the_name_does(self):
        assert code("a`b``c") == "``` a`b``c ```"


@pytest.mark.filterwarnings("ignore:Glyph")
class TestPage:
    def test_a_report_shows_a_name_as_text(self, trained):
        page = review_page(trained.bundle)
        text = render(page)
        assert "<img" not in text
        assert not ACTING.search(text)

    def test_its_numbers_keep_the_name(self):
        text = json_text({"name": CONTROLS})
        assert not ACTING.search(text)
        assert json.loads(text)["name"] == CONTROLS

    def test_the_form_asks_by_the_name_and_shows_it_as_text(self, trained):
        text = Page(lambda: None).form(Predictor(trained.bundle, "0" * 64))
        shown = re.sub(r'\b(name|value|data-\w+)="[^"]*"', "", text)
        assert "<img" not in text
        assert not ACTING.search(shown)
        assert f'<option value="{CONTROLS}">{printable(CONTROLS)}</option>' in text
