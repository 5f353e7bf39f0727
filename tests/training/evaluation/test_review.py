"""The whole review: complete, plain, reproducible, and never at a loss for a small cohort."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from accomplice.training.budget import Budget
from accomplice.training.bundle import Bundle
from accomplice.training.config import configure
from accomplice.training.estimators.censoring import choose_censoring
from accomplice.training.estimators.hazard import TimeGrid
from accomplice.training.evaluation import review as module
from accomplice.training.evaluation.record import Review
from accomplice.training.evaluation.review import on_censoring, review, strongest_baseline
from accomplice.training.evaluation.scores import judge, judge_predicted
from accomplice.training.fitting.out_of_fold import from_fit
from accomplice.training.models.predictions import MODEL
from tests.fixtures.known import GRID, known_predicted

CONFIG = configure(["evaluation.bootstraps=60"])


class Ensemble:
    """Two members who say nearly the same of everybody."""

    grid = GRID

    def replicates(self, values, centre=None):
        return np.stack([0.9 * self.cumulative(values), 1.1 * self.cumulative(values)])

    def cumulative(self, values, centre=None):
        return np.tile(0.02 * GRID.edges, (len(values), 1))


def reviewed(predicted, budget=None):
    evaluation = judge_predicted(predicted, CONFIG)
    given = {} if budget is None else {"budget": budget}
    return review(predicted, evaluation, Ensemble(), CONFIG, **given)


def plain(made):
    return made.model_dump(mode="json")


@pytest.fixture(scope="module")
def predicted():
    return known_predicted(400)


@pytest.fixture(scope="module")
def found(predicted):
    return reviewed(predicted)


class TestKnown:
    def test_says_what_was_judged(self, found, predicted):
        assert (found.cohort, found.endpoint, found.synthetic) == ("known", "os", True)
        assert found.protocol == predicted.protocol
        assert found.patients == 400
        assert found.events == predicted.outcome[1].sum()
        assert found.bootstraps == 60

    def test_takes_the_scores_of_the_evaluation(self, found, predicted):
        evaluation = judge_predicted(predicted, CONFIG)
        assert found.scores[MODEL]["ibs"].value == evaluation.scores[MODEL].ibs.value
        assert found.gains["coarse"]["uno_c"].low == evaluation.gains["coarse"]["uno_c"].low
        assert found.d_calibration_p == evaluation.d_calibration_p
        assert found.strongest == strongest_baseline(evaluation)

    def test_everybody_is_a_subgroup_scored_as_in_the_evaluation(self, found):
        everybody = found.subgroups[0]
        assert everybody.feature == "all"
        for metric in ("uno_c", "ibs"):
            whole, again = found.scores[MODEL][metric], getattr(everybody, metric)
            for end in ("value", "low", "high"):
                assert getattr(again, end) == pytest.approx(getattr(whole, end), rel=1e-9)
        gain = found.gains[found.strongest]["ibs"]
        assert everybody.ibs_gain.low == pytest.approx(gain.low, abs=1e-12)

    def test_the_model_that_is_right_looks_right(self, found):
        low, _, high = found.risk_groups
        assert low.survival.low[-1] > high.survival.high[-1]
        assert min(found.auc[MODEL].low[3:]) > 0.5
        assert set(found.auc["Kaplan-Meier"].value[3:]) == {0.5}
        assert all(each.slope.low < 1 < each.slope.high for each in found.calibration)
        assert all(each.intercept.low < 0 < each.intercept.high for each in found.calibration)
        assert all(each.smooth.ici < each.smooth.ici_by_chance for each in found.calibration)
        expected = found.expected_concordance
        assert expected.excess.low < 0 < expected.excess.high
        observed = found.scores[MODEL]["uno_c"].value
        assert expected.uno_c.value + expected.excess.value == pytest.approx(observed)
        assert {each.modality for each in found.modalities} == {"clinical", "molecular"}
        assert found.modalities[0].ibs_loss.low > 0
        assert found.modalities[1].ibs_loss.low < 0

    def test_others_parts_are_left_to_them(self, found):
        assert (found.importance, found.effects, found.surface, found.sentinels) == (
            (),
            (),
            None,
            (),
        )

    def test_the_same_twice(self, found, predicted):
        assert plain(reviewed(predicted)) == plain(found)

    def test_is_plain_json_and_comes_back(self, found):
        text = json.dumps(found.model_dump(mode="json"), allow_nan=False)
        back = Review.model_validate(json.loads(text))
        assert json.dumps(back.model_dump(mode="json"), allow_nan=False) == text

    def test_months_are_nobody_s_own(self, found, predicted):
        own = set(predicted.cohort.time.tolist())
        assert not own & {*found.months, *found.marks, *(c.month for c in found.calibration)}


class TestLimits:
    def test_of_very_many_patients_a_sample_is_reviewed(self, predicted, monkeypatch):
        monkeypatch.setattr(module, "MOST_REVIEWED", 200)
        found = reviewed(predicted)
        assert found.patients == 400
        assert sum(each.patients for each in found.risk_groups) == 200
        assert "a random 200" in found.notes[0]

    def test_without_time_the_first_part_is_made(self, predicted):
        ticks = iter(range(0, 1000, 10))
        budget = Budget(5.0, lambda: float(next(ticks)))
        found = reviewed(predicted, budget)
        assert len(found.risk_groups) == 3
        assert found.subgroups == found.modalities == ()
        assert found.auc == {}
        assert budget.cuts == ["review 1 of 7 parts"]
        assert "Not done for want of time: subgroups." in found.notes
        json.dumps(found.model_dump(mode="json"), allow_nan=False)

    def test_ample_time_leaves_nothing_out(self, predicted, found):
        budget = Budget(1e9)
        assert plain(reviewed(predicted, budget)) == plain(found)
        assert budget.cuts == []

    def test_no_baselines(self, predicted):
        found = reviewed(replace(predicted, baselines={}))
        assert found.strongest == ""
        assert found.gains == {}
        assert all(math.isnan(each.ibs_gain.value) for each in found.subgroups)
        assert all(math.isnan(v) for d in found.decisions for v in d.gain.value)
        json.dumps(found.model_dump(mode="json"), allow_nan=False)

    @pytest.mark.parametrize("n", [3, 12, 30])
    @pytest.mark.parametrize("events", [1, 2, 30])
    @pytest.mark.parametrize("tied", [False, True])
    def test_few_patients_leave_figures_unknown(self, n, events, tied):
        predicted = known_predicted(60, seed=4)
        died = np.flatnonzero(predicted.cohort.event)[: min(events, n)]
        rest = np.flatnonzero(~predicted.cohort.event)[: max(n - len(died), 0)]
        few = predicted.take(np.append(died, rest))
        if tied:
            # All are censored at one month, the last.
            time = np.where(few.cohort.event, np.ceil(few.cohort.time / 10), 12.0)
            few = replace(few, cohort=replace(few.cohort, time=time))
        found = reviewed(few)
        json.dumps(found.model_dump(mode="json"), allow_nan=False)
        assert found.patients == len(few.cohort)
        assert len(found.calibration) == len(found.decisions) > 0


class TestRun:
    def test_every_survival_endpoint_is_reviewed(self, several_trained):
        metrics = several_trained.bundle.metrics
        for endpoint, raw in (("os", metrics), ("dfs", metrics["further"]["dfs"])):
            found = Review.model_validate(raw["review"])
            assert found.endpoint == endpoint
            assert found.events == several_trained.survival[endpoint].evaluation.events
            assert found.instability is not None
            assert found.instability.mean_difference > 0

    def test_it_travels_with_the_bundle(self, tiny_trained, tmp_path):
        tiny_trained.bundle.save(tmp_path / "bundle")
        raw = Bundle.load(tmp_path / "bundle").metrics["review"]
        assert raw == tiny_trained.primary.review.model_dump(mode="json")
        found = Review.model_validate(raw)
        assert found.patients == 240
        assert [each.modality for each in found.modalities] == [
            "clinical",
            "molecular",
            "il1r1",
            "macrophage",
            "t_cell",
            "stroma",
        ]

    def test_it_is_that_of_the_fit(self, tiny_trained, tiny_config):
        judged = tiny_trained.primary
        predicted = from_fit(judged.fitted, tiny_config)
        again = review(predicted, judged.evaluation, judged.fitted.ensemble, tiny_config)
        again = again.model_copy(update={"sentinels": judged.findings})
        assert again.model_dump(mode="json") == judged.review.model_dump(mode="json")


@pytest.mark.parametrize(("sicker", "said"), [(1.0, "place of"), (0.0, "one distribution for all")])
def test_the_weights_for_censoring_are_said(sicker, said):
    rng, n = np.random.default_rng(3), 600
    late = rng.random(n) < 0.5
    hazard = np.exp(sicker * late) / 50
    death = rng.exponential(1 / hazard)
    end = np.where(late, rng.uniform(5, 50, n), rng.uniform(40, 90, n))
    time, event = np.minimum(death, end), death <= end
    grid = TimeGrid(np.linspace(0, 60, 13))
    chosen = choose_censoring(time, event, {"centre": late}, {})
    curves = {MODEL: hazard[:, None] * grid.edges}
    judged = judge(time, event, np.zeros(n, dtype=int), grid, curves, {}, 5, 0, chosen=chosen)
    note = on_censoring(judged)
    assert said in note
    assert "centre" in note
    plain = judged.to_json()["censoring"]
    assert plain["decided_by"] == ["centre"]
    assert set(plain["alike"]) == ({"uno_c", "ibs", "calibration_slope"} if sicker else set())
    if sicker:
        assert judged.horizon == plain["reach"] < 50
