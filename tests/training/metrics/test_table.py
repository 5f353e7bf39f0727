"""A metric that is added to the table is scored, compared, recorded and shown without more."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from accomplice.serving.answers.model_card import main_scores
from accomplice.training.cli.terminal import print_scores
from accomplice.training.config import configure
from accomplice.training.evaluation import bootstrap
from accomplice.training.evaluation.comparison import compare
from accomplice.training.evaluation.record import REVIEW
from accomplice.training.evaluation.review import review
from accomplice.training.evaluation.scores import judge_predicted
from accomplice.training.metrics.table import METRICS, Metric, deciding, label, listed
from accomplice.training.models.baselines import KAPLAN_MEIER
from accomplice.training.models.predictions import MODEL
from accomplice.training.reports.model_card import model_card
from accomplice.training.reports.page import render
from accomplice.training.reports.review.page import review_page
from accomplice.training.tracking.gate import Challenger, Task, decide, lines
from examples import auc_metric
from examples.auc_metric import AucScore
from tests.fixtures.known import GRID, known_predicted
from tests.fixtures.oracles import cumulative_dynamic_auc

CONFIG = configure(["evaluation.bootstraps=60"])
LABEL = "AUC at half the horizon"


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setitem(METRICS, "auc", Metric(LABEL, AucScore(), margin=0.02))


@pytest.fixture(scope="module")
def predicted():
    return known_predicted(300)


class Ensemble:
    """One member."""

    grid = GRID

    def replicates(self, values, centre=None):
        return self.cumulative(values)[None]

    def cumulative(self, values, centre=None):
        return np.tile(0.02 * GRID.edges, (len(values), 1))


def oracle(predicted, curves, horizon):
    time, event = predicted.outcome
    risk = np.log(curves[:, -1])
    weights = bootstrap.censoring(time, event)
    return cumulative_dynamic_auc(event, time, risk, np.array([horizon / 2]), weights)[0]


def test_is_listed_as_deciding(registered):
    assert deciding() == ("uno_c", "ibs", "auc")
    assert listed() == ("uno_c", "ibs", "auc", "harrell_c")
    assert (label("auc"), label("of another version")) == (LABEL, "of another version")


@pytest.mark.parametrize("few", [2000, 0])
def test_is_in_the_scores_and_gains(registered, predicted, monkeypatch, few):
    monkeypatch.setattr(bootstrap, "PAIRS", few)
    judged = judge_predicted(predicted, CONFIG)
    own = oracle(predicted, predicted.curves[MODEL], judged.horizon)
    assert judged.scores[MODEL].auc.value == pytest.approx(own, abs=1e-12)
    assert judged.scores[MODEL].auc.low < own < judged.scores[MODEL].auc.high
    assert judged.gains[KAPLAN_MEIER]["auc"].value == pytest.approx(own - 0.5, abs=1e-12)
    assert judged.to_json()["models"][MODEL]["auc"] == judged.scores[MODEL].auc.to_json()
    assert LABEL in judged.verdict(KAPLAN_MEIER)


def test_draws_of_many_patients_are_the_means_of_contributions(registered, predicted, monkeypatch):
    exact = judge_predicted(predicted, CONFIG).scores[MODEL].auc
    monkeypatch.setattr(bootstrap, "PAIRS", 0)
    made = judge_predicted(predicted, CONFIG).scores[MODEL].auc
    assert made.value == pytest.approx(exact.value, abs=1e-12)
    assert made.high - made.low == pytest.approx(exact.high - exact.low, rel=0.1)


def test_is_in_the_comparison_and_before_the_gate(registered, predicted):
    worse = replace(predicted, curves={MODEL: predicted.baselines[KAPLAN_MEIER]})
    made = compare(worse, predicted, 60)
    assert made.to_json()["first"]["auc"]["value"] == 0.5
    assert made.gains["auc"].high < 0
    assert LABEL in made.verdict()
    challenger = Challenger(
        "s", "os", False, made.first.uno_c, label("uno_c"), {}, made.first.calibration, ()
    )
    decision = decide(challenger, Task("s", "os", synthetic=False), made)
    assert not decision.passed
    assert f"in {LABEL}, more than the" in "\n".join(lines(decision))


def test_is_in_the_record_and_on_every_page(registered, predicted, tiny_trained):
    judged = judge_predicted(predicted, CONFIG)
    recorded = json.loads(review(predicted, judged, Ensemble(), CONFIG).model_dump_json())
    figure = judged.scores[MODEL].auc
    assert recorded["scores"][MODEL]["auc"] == figure.to_json()
    assert recorded["gains"][KAPLAN_MEIER]["auc"] == judged.gains[KAPLAN_MEIER]["auc"].to_json()
    metrics = {**tiny_trained.bundle.metrics, **judged.to_json(), REVIEW: recorded}
    bundle = replace(tiny_trained.bundle, metrics=metrics)
    for text in (render(review_page(bundle)), model_card(bundle)):
        assert LABEL in text
        assert str(figure) in text
    assert main_scores(metrics)["auc"] == figure.to_json()
    assert Challenger.of(bundle).gains["auc"] == judged.gains[KAPLAN_MEIER]["auc"]


def test_is_in_the_table_that_a_command_prints(registered, predicted, capsys):
    judged = judge_predicted(predicted, CONFIG)
    print_scores(judged)
    _, head, first, *_ = capsys.readouterr().out.splitlines()
    for metric, name in (("uno_c", "Uno's C"), ("ibs", "integrated Brier score"), ("auc", LABEL)):
        figure = str(judged.scores[MODEL].figures[metric])
        assert head.index(name) == first.index(figure, head.index(name))


def test_three_are_listed_with_commas(registered, predicted):
    worse = replace(predicted, curves={MODEL: predicted.baselines[KAPLAN_MEIER]})
    made = compare(worse, predicted, 60)
    assert f"better in Uno's C, integrated Brier score and {LABEL}" in made.verdict()


def test_todays_metrics_keep_their_names(predicted):
    judged = judge_predicted(predicted, CONFIG).to_json()
    assert list(judged["models"][MODEL]) == ["uno_c", "harrell_c", "ibs"]
    assert list(judged["gains"][KAPLAN_MEIER]) == ["uno_c", "ibs"]


def test_the_documentation_shows_it_whole():
    source = Path(auc_metric.__file__)
    shown = (source.parents[1] / "docs/extending.md").read_text(encoding="utf-8")
    assert f"```python\n{source.read_text(encoding='utf-8')}```\n" in shown
