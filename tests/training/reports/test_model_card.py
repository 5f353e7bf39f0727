"""The card follows TRIPOD+AI's items and leaves to a person what only a person knows."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from accomplice.data.study_parts import FirstOf, FromDates
from accomplice.training.evaluation.record import REVIEW
from accomplice.training.reports.model_card import PERSON, model_card
from tests.training.reports.made_review import made_review

#: Items that no run can fill in by itself.
HUMAN = ("2", "3c", "5b", "9c", "17", "18a", "18c", "19", "27b", "27c")


@pytest.fixture(scope="module")
def bundle(tiny_trained):
    metrics = dict(tiny_trained.bundle.metrics)
    metrics[REVIEW] = made_review().model_dump(mode="json")
    return replace(tiny_trained.bundle, metrics=metrics)


@pytest.fixture(scope="module")
def card(bundle):
    return model_card(bundle)


def items(card):
    """Numbers of the items -> the line that opens with them."""
    found = {}
    for line in card.splitlines():
        opening = re.match(r"\*\*.*?\*\*", line)
        if opening:
            found |= dict.fromkeys(re.findall(r"\b\d+[a-g]?\b", opening.group(0)), line)
    return found


def test_has_every_item_from_1_to_27(card):
    found = items(card)
    assert {int(re.match(r"\d+", key).group(0)) for key in found} == set(range(1, 28))
    assert {"3a", "3b", "3c", "12a", "12g", "18f", "20a", "23a", "23b", "27c"} <= set(found)


@pytest.mark.parametrize("item", HUMAN)
def test_marks_what_is_left_to_a_person(card, item):
    assert PERSON in items(card)[item]


def test_lists_predictors_with_unit_and_levels(card, bundle):
    for modality, features in bundle.study.modalities.items():
        for name in features:
            assert f"| {name} | {modality} |" in card
    assert "| age | clinical | number | years | 18 to 100 |" in card


@pytest.mark.parametrize(
    ("time", "said"),
    [
        ("os_months", "time `os_months` (months)"),
        (FirstOf(first_of=("death", "last_seen")), "time in the first filled of `death`, `last_"),
        (
            FromDates(start="surgery", to=("death", "last_seen")),
            "time from `surgery` to the first filled of `death`, `last_seen` (months)",
        ),
    ],
)
def test_names_the_columns_of_the_time(bundle, time, said):
    study = bundle.study
    survival = {
        name: endpoint.model_copy(update={"time": time})
        for name, endpoint in study.endpoints.survival.items()
    }
    endpoints = study.endpoints.model_copy(update={"survival": survival})
    assert said in model_card(
        replace(bundle, study=study.model_copy(update={"endpoints": endpoints}))
    )


def test_gives_performance_with_intervals(card):
    review = made_review()
    assert str(review.scores["model"]["uno_c"]) in card
    assert f"{review.gains['stage']['ibs']:+.3f}" in card
    assert f"{review.calibration[2].slope:.2f}" in card
    assert "| 0.06 (-0.12 to 0.24) | 2.1 (by chance to 3.4) | 1.8 | 4.3 |" in card
    assert "317 synthetic patients" in card
    for finding in review.sentinels:
        assert finding.text in card


def test_says_synthetic_and_research_use(card):
    assert "SYNTHETIC" in card
    assert "research use only" in card


def test_tables_are_whole(card):
    for block in re.findall(r"(?:^\|.*\|\n)+", card, flags=re.MULTILINE):
        widths = {len(re.findall(r"(?<!\\)\|", row)) for row in block.strip().splitlines()}
        assert len(widths) == 1, block


def test_names_are_no_markup(bundle):
    study = bundle.study.model_copy(update={"description": "a <script> | b\nc"})
    card = model_card(replace(bundle, study=study))
    assert "<script" not in card
    assert "a &lt;script&gt; \\| b c" in card


def test_a_bundle_without_a_review_has_a_card_too(tiny_trained):
    bundle = tiny_trained.bundle
    unreviewed = {k: v for k, v in bundle.metrics.items() if k != REVIEW}
    card = model_card(replace(bundle, metrics=unreviewed))
    assert "## Results" not in card
    assert "## Discussion" in card
