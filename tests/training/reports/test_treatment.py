"""The treatment's page: says what the evidence says, loads nothing, and escapes names."""

from __future__ import annotations

import html
import re
from dataclasses import replace

import pytest

from accomplice.training.reports.figures.treatment import treatment_figures
from accomplice.training.reports.treatment import treatment_page
from accomplice.training.treatment.evidence import sentences
from accomplice.training.treatment.trial_range import TrialRange


@pytest.fixture(scope="module")
def found(tiny_trained):
    return tiny_trained.primary.evidence


@pytest.fixture(scope="module")
def page(found):
    return treatment_page(found, "made-up", synthetic=True)


def text_of(page):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def test_every_sentence_is_on_it(found, page):
    said = text_of(page)
    for sentence in sentences(found).values():
        assert re.sub(r"\s+", " ", sentence) in html.unescape(said)


def test_synthetic_patients_are_called_so(found, page):
    assert "SYNTHETIC" in page
    assert "synthetic patients" in text_of(page)
    assert "SYNTHETIC" not in treatment_page(found, "made-up", synthetic=False)


def test_needs_no_network_and_runs_no_script(page):
    assert "<script" not in page
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page)


def test_names_are_escaped(found):
    page = treatment_page(replace(found, label="<b>drug</b>"), "<i>study</i>", synthetic=True)
    assert "<i>study" not in page
    assert "<b>drug" not in page


def test_an_alarm_is_the_first_thing_said(found):
    narrow = replace(found, trials=TrialRange(90.0, 100.0))
    assert "Alarm: what is seen here" in treatment_page(narrow, "made-up", synthetic=True)
    wide = replace(found, trials=TrialRange(0.01, 100.0))
    assert "Alarm: what is seen here" not in treatment_page(wide, "made-up", synthetic=True)


def test_every_figure_is_drawn_with_its_patients(found):
    drawn = dict(treatment_figures(found, synthetic=True))
    assert len(drawn) == 6
    for figure in drawn.values():
        words = " ".join(t.get_text() for t in figure.findobj() if hasattr(t, "get_text"))
        assert f"{found.arms.treated} treated" in words
        assert "synthetic" in words
