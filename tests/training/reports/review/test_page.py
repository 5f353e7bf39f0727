"""The page of a review: all of the record, nothing from outside, and the lead says who wins."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from markupsafe import Markup

from accomplice.data.errors import InputError
from accomplice.training.evaluation.record import REVIEW, read_review
from accomplice.training.reports.figures.review import DRAWS
from accomplice.training.reports.page import Figure, Table, render
from accomplice.training.reports.review.drawings import drawn
from accomplice.training.reports.review.page import review_page, settings_changed
from tests.training.reports.made_review import (
    FEATURES,
    MODALITIES,
    MODELS,
    SENTINELS,
    bare_review,
    made_review,
    unknown_review,
)
from tests.training.reports.test_page import assert_self_contained, walked

QUESTIONS = (
    "Does it rank patients?",
    "Does it beat the simple models?",
    "Do its probabilities come true?",
    "What would it do to decisions?",
    "Does it hold in subgroups and centres?",
    "Does it hold where modalities are missing?",
    "What is each modality worth?",
    "How stable is a patient's answer?",
    "What drives it?",
    "Could it be a leak?",
    "What does chemotherapy change?",
    "What was it made from?",
)


def bundle_with(trained, review):
    return replace(
        trained.bundle,
        metrics=dict(trained.bundle.metrics) | {REVIEW: review.model_dump(mode="json")},
    )


@pytest.fixture(scope="module")
def bundle(tiny_trained):
    return bundle_with(tiny_trained, made_review())


@pytest.fixture(scope="module")
def page(bundle):
    return review_page(bundle)


@pytest.fixture(scope="module")
def html(page):
    return render(page)


def text_of(html):
    return " ".join(walked(html).seen)


def items(page, kind):
    return [i for section in page.sections for i in section.items if isinstance(i, kind)]


def test_asks_every_question_in_order(page):
    assert tuple(section.heading for section in page.sections) == QUESTIONS


def test_loads_nothing(html):
    assert_self_contained(html)


def test_ids_are_unique_and_references_lead_somewhere(html):
    walk = walked(html)
    ids = [v for k, v in walk.attributes if k == "id"]
    assert len(ids) == len(set(ids))
    asked = {v.removeprefix("#") for k, v in walk.attributes if k == "href"}
    asked |= set(re.findall(r"url\(#([^)]*)\)", html))
    assert asked <= set(ids)


def test_every_figure_is_there_with_its_numbers_beside(page):
    assert len(items(page, Figure)) == len(DRAWS)
    for section in page.sections:
        if any(isinstance(i, Figure) for i in section.items):
            assert any(isinstance(i, Table) for i in section.items), section.heading


def test_all_of_the_record_is_in_its_tables(page, html):
    said = text_of(html)
    review = made_review()
    for name in (*MODELS, *(m[0] for m in MODALITIES), *(f[0] for f in FEATURES)):
        assert name in said, name
    for finding, (_, question, _) in zip(review.sentinels, SENTINELS, strict=True):
        assert question in said
        assert finding.text in said
    for span in (review.scores["forest"]["ibs"], review.calibration[2].slope):
        assert f"({span.low:.2f}"[:5] in said
    assert "scikit-survival is not installed" in said
    assert all(len(row) == len(table.head) for table in items(page, Table) for row in table.rows)


def test_synthetic_patients_are_called_so_at_the_top(bundle, page):
    assert "SYNTHETIC" in page.banner
    real = bundle.study.model_copy(update={"synthetic": False})
    honest = bare_review().model_copy(update={"synthetic": False}).model_dump(mode="json")
    other = replace(bundle, study=real, metrics=dict(bundle.metrics) | {REVIEW: honest})
    assert "SYNTHETIC" not in render(review_page(other))


def test_where_it_came_from_is_said(bundle, html):
    said = text_of(html)
    for key in ("fit_id", "cohort_fingerprint", "git_commit"):
        assert str(bundle.provenance[key] or "unknown") in said
    changed = settings_changed(bundle)
    assert changed["net.members"] == ("8", "2")
    assert "net.dropout" not in changed
    assert "net.max_epochs" in said


def test_the_treatments_evidence_is_there(bundle, html):
    said = text_of(html)
    for key in ("hr", "ate", "heterogeneity"):
        assert bundle.metrics["treatment"]["sentences"][key] in said


def test_words_are_explained_once(page):
    words = [word for section in page.sections for word, _ in section.terms]
    assert len(words) == len(set(words))


@pytest.mark.parametrize("review", [unknown_review(), bare_review()])
def test_a_record_without_numbers_is_still_a_page(tiny_trained, review):
    page = review_page(bundle_with(tiny_trained, review))
    assert_self_contained(render(page))
    assert items(page, Figure) == []
    assert page.sections[0].verdict.tone == "absent"


def test_names_are_escaped(tiny_trained):
    nasty = "<script>alert(1)</script>"
    made = made_review()
    odd = bare_review().model_copy(
        update={
            "strongest": nasty,
            "cohort": nasty,
            "gains": {nasty: made.gains["clinical"]},
            "importance": tuple(
                i.model_copy(update={"feature": nasty, "modality": nasty})
                for i in made.importance[:2]
            ),
            "surface": made.surface.model_copy(update={"x": nasty}),
        }
    )
    assert_self_contained(render(review_page(bundle_with(tiny_trained, odd))))


def test_figures_drawn_before_are_taken_as_they_are(bundle):
    kept = {"auc": made_review().auc, "months": made_review().months}
    review = bare_review().model_copy(update=kept)
    before = drawn("auc", review)
    assert before is not None
    assert before.png.startswith(b"\x89PNG")
    assert before.svg.startswith("<svg")
    end = Markup("<desc>drawn before</desc></svg>")
    kept = {"auc": before.svg.removesuffix("</svg>") + end}
    page = render(review_page(bundle, review, kept))
    assert page.count("<desc>drawn before</desc>") == 1


def test_nothing_is_drawn_of_an_empty_review():
    assert [drawn(name, unknown_review()) for name in DRAWS] == [None] * len(DRAWS)


def test_an_external_review_is_of_its_own_cohort_alone(bundle):
    external = bare_review().model_copy(update={"protocol": "external", "cohort": "elsewhere"})
    page = review_page(bundle, external)
    assert "elsewhere" in page.title
    assert "none of whom the model has seen" in page.about[0]
    assert not any("chemotherapy" in section.heading for section in page.sections)


def test_intervals_are_said_to_be_of_the_model_served_where_they_are(bundle):
    said = "of the model that is served"
    assert said in review_page(bundle, bare_review()).about[1]
    older = replace(bundle, metrics=dict(bundle.metrics) | {"protocol": "out of fold"})
    assert said not in review_page(older, bare_review()).about[1]
    external = bare_review().model_copy(update={"protocol": "external"})
    assert said not in review_page(bundle, external).about[1]


class TestWithoutSurvival:
    @pytest.fixture
    def labels(self, bundle):
        metrics = {
            "patients": 240,
            "responses": {
                "drug": {
                    "labelled": 80,
                    "positive": 20,
                    "verdict": "ranks better than chance",
                    "metrics": {
                        "auroc": {"value": 0.7, "low": 0.6, "high": 0.8},
                        "ppv": {"value": None, "low": None, "high": None},
                    },
                }
            },
        }
        return replace(bundle, survival={}, responses={"drug": None}, metrics=metrics)

    def test_the_page_is_of_the_responses(self, labels):
        page = review_page(labels)
        assert [s.heading for s in page.sections] == [
            "Does it predict responses?",
            "What was it made from?",
        ]
        assert "Exploratory. drug: ranks better than chance" in page.lead
        said = text_of(render(page))
        assert "0.70 (0.60 to 0.80)" in said
        assert "not determined" in said


def test_further_endpoints_are_listed(bundle):
    metrics = dict(bundle.metrics) | {REVIEW: bare_review().model_dump(mode="json")}
    metrics["further"] = {"dfs": {k: metrics[k] for k in ("models", "gains", "patients", "events")}}
    said = text_of(render(review_page(replace(bundle, metrics=metrics))))
    assert "How are the other endpoints predicted?" in said
    assert "dfs" in said


class TestRead:
    def test_none_where_there_is_none(self):
        assert read_review({}) is None

    def test_the_same_as_was_written(self):
        review = made_review()
        raw = {REVIEW: review.model_dump(mode="json")}
        assert read_review(raw).gains == review.gains

    def test_another_versions_is_refused_by_name(self):
        raw = made_review().model_dump(mode="json") | {"novel": 1}
        with pytest.raises(InputError, match=r"another version \(at novel\): train it again"):
            read_review({REVIEW: raw})
