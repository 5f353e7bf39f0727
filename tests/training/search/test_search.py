"""The search: the defaults first, then draws that no session repeats, up to a total."""

from __future__ import annotations

import math

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from accomplice.data.errors import InputError
from accomplice.training.budget import Budget
from accomplice.training.config import configure, flat
from accomplice.training.fitting.fit import fit
from accomplice.training.fitting.prepare import prepare
from accomplice.training.search import search
from accomplice.training.search.gain import FINALISTS, other_folds, ranked
from accomplice.training.search.search import PartSampler, tune
from accomplice.training.search.shared_fits import SharedFits
from accomplice.training.search.space import KEYS, PART, SPACE, defaults, part_of_trial, suggest
from accomplice.training.search.study import (
    DEFAULTS,
    FINAL,
    SCORES,
    completed,
    of_defaults,
    open_study,
    propose_defaults,
)
from tests.training.search.made import Clock, MadeJudge, in_turn, made_scores, study_of

# Asking for a trial by hand, as these tests do, sends no sign of life; `tune` uses `optimize`.
by_hand = pytest.mark.filterwarnings("ignore:Heartbeat of storage is supposed to be used")


@pytest.fixture(scope="module")
def config():
    return configure(
        [
            "folds.folds=2",
            "anchor.folds=2",
            "forest.trees=10",
            "boosting.members=2",
            "boosting.max_rounds=10",
            "net.members=1",
            "net.max_epochs=1",
            "net.steps_per_epoch=1",
        ]
    )


@pytest.fixture(scope="module")
def cohort(small_cohort):
    return small_cohort.take(np.arange(80))


@pytest.fixture
def storage(tmp_path):
    return f"sqlite:///{tmp_path / 'optuna.db'}"


@pytest.fixture
def study():
    """A study in memory; on a disk a trial takes as long as the disk does."""
    return study_of([])


def unheard(trial, study):
    """Take a report and say nothing."""


def draws(study):
    return [tuple(sorted(trial.params.items())) for trial in study.get_trials()]


def by_equal(config):
    """Scores that are the better the stronger the prior of equal weights is."""
    return made_scores(ibs=0.2 - 0.001 * math.log(config.stack.equal))


class TestTune:
    def test_a_study_over_two_sessions(self, cohort, config, storage):
        reported = []

        def report(trial, study):
            reported.append(trial.number)

        first = open_study("s", storage)
        after = tune(SharedFits(cohort, config), config, first, 3, report)
        assert after.trials == len(completed(first)) == 3
        assert not after.stopped

        # The defaults are trial 0, scored as any fit is.
        trials = first.get_trials()
        assert trials[0].params == {key: flat(config)[key] for key in KEYS}
        assert trials[0].value == pytest.approx(
            SharedFits(cohort, config).judge(config).scores["ibs"][0]
        )
        assert trials[0].value == trials[0].user_attrs[SCORES]["ibs"][0]
        assert 0 < trials[0].user_attrs["net_share"] < 1
        untuned = flat(config).keys() - {*KEYS}
        assert {k: flat(after.config)[k] for k in untuned} == {k: flat(config)[k] for k in untuned}

        # A second session goes on to the total, with other draws.
        second = open_study("s", storage)
        assert tune(SharedFits(cohort, config), config, second, 5, report).trials == 5
        assert reported == [*range(5)]
        assert len(set(draws(second))) == 5
        for trial in second.get_trials():
            for key, value in trial.params.items():
                limits = SPACE[PART[key]][key]
                if isinstance(limits, list):
                    assert value in limits
                elif limits is not None:
                    low, high = limits
                    edges = (min(low, flat(config)[key]), max(high, flat(config)[key]))
                    assert edges[0] <= value <= edges[1]

        # A third has nothing left to do.
        third = open_study("s", storage)
        assert tune(SharedFits(cohort, config), config, third, 5, report).trials == 5
        assert len(third.get_trials()) == 5
        assert reported == [*range(5)]

    def test_same_seed_makes_the_same_trials(self, cohort, config, tmp_path):
        made = []
        for name in ("a", "b"):
            study = open_study(name, f"sqlite:///{tmp_path / name}.db")
            tune(SharedFits(cohort, config), config, study, 3, unheard)
            made.append([(t.params, t.value, t.user_attrs[SCORES]) for t in study.get_trials()])
        assert made[0] == made[1]

    def test_two_sessions_make_the_trials_of_one(self, config, study, storage):
        for total in (3, 15):
            two = open_study("two", storage)
            tune(MadeJudge(by_equal), config, two, total, unheard)
        tune(MadeJudge(by_equal), config, study, 15, unheard)
        assert draws(two) == draws(study)
        other = study_of([])
        tune(MadeJudge(by_equal), configure(["seed=1"], config), other, 15, unheard)
        assert draws(other)[0] == draws(study)[0]
        assert draws(other)[1] not in draws(study)

    @by_hand
    def test_failed_trial_is_not_counted(self, config, study):
        study.enqueue_trial(defaults(config))
        study.tell(study.ask(), state=TrialState.FAIL)
        assert tune(MadeJudge(), config, study, 1, unheard).trials == 1
        assert len(study.get_trials()) == 2

    def test_final_settings_are_no_worse_than_the_defaults_on_the_same_folds(self, config, study):
        judge = MadeJudge(by_equal)
        tuned = tune(judge, config, study, 11, unheard)
        assert tuned.choice.trial == ranked(study, "ibs")[0][0]
        assert tuned.config == suggest(optuna.trial.FixedTrial(tuned.choice.trial.params), config)
        assert by_equal(tuned.config).scores["ibs"] < by_equal(config).scores["ibs"]
        assert min(t.value for t in completed(study)) == tuned.choice.trial.value

    def test_settings_without_a_probable_gain_are_left(self, config, study):
        judge = MadeJudge(in_turn(made_scores(), made_scores(0.05, ibs=0.199)))
        tuned = tune(judge, config, study, 6, unheard)
        assert tuned.config == config
        assert tuned.choice.trial.number == 0
        assert tuned.choice.runner_up.mean > 0

    def test_trials_are_ranked_by_the_objective(self, config):
        other = configure(["search.objective=uno_c"], config)

        def score(config):
            leaf = config.forest.leaf if config.forest.use else 1
            return made_scores(ibs=0.2 - 0.001 * leaf, uno_c=0.6 - 0.001 * leaf)

        study = study_of([], "uno_c")
        tuned = tune(MadeJudge(score), other, study, 11, unheard)
        assert tuned.choice.trial.value == max(t.value for t in completed(study)) > 0.595

    @pytest.mark.parametrize("objective", ["calibration", "several"])
    def test_a_score_that_the_defaults_do_not_have_is_refused(self, config, objective):
        other = configure([f"search.objective={objective}"], config)
        study = study_of([], objective)
        with pytest.raises(InputError, match=r"integrated calibration index .*--objective"):
            tune(MadeJudge(lambda _: made_scores(ici=math.nan)), other, study, 3, unheard)

    def test_a_trial_without_the_score_fails_and_others_are_tried(self, config):
        other = configure(["search.objective=calibration"], config)
        study = study_of([], "calibration")
        judge = MadeJudge(in_turn(made_scores(), made_scores(ici=math.nan), made_scores()))
        assert tune(judge, other, study, 3, unheard).trials == 3
        states = [trial.state.name for trial in study.get_trials()]
        assert states == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]


class TestParts:
    def test_a_trial_changes_one_part_of_the_best_so_far(self, config, study):
        judge = MadeJudge(by_equal)
        tune(judge, config, study, 1, unheard)
        for total in range(2, 22):
            best = ranked(study, "ibs")[0][0].params
            tune(judge, config, study, total, unheard)
            trial = study.get_trials()[-1]
            same = {key for key, value in trial.params.items() if best.get(key) == value}
            others = {key for key in trial.params if PART[key] != part_of_trial(trial.number)}
            assert others <= same
            assert trial.params != best

    def test_a_learner_that_the_best_does_without_stays_out(self, config, study):
        tuned = tune(
            MadeJudge(lambda c: made_scores(ibs=0.2 if c.boosting.use else 0.19)),
            config,
            study,
            24,
            unheard,
        )
        without = [t for t in completed(study) if not t.params["boosting.use"]]
        first = without[0].number
        assert {key for key in without[0].params if PART[key] == "boosting"} == {"boosting.use"}
        for trial in completed(study)[first:]:
            if part_of_trial(trial.number) != "boosting":
                assert not trial.params["boosting.use"]
        assert not tuned.config.boosting.use
        assert tuned.config.boosting.depth == config.boosting.depth


class TestPatience:
    def test_ends_the_search(self, config, study):
        scores = [0.2, 0.21, 0.19, *[0.2] * 9]
        patient = configure(["search.patience=4"], config)
        judge = MadeJudge(
            in_turn(*(made_scores(ibs=score) for score in scores)),
            again=lambda c: made_scores(ibs=0.2 if c == patient else 0.19),
        )
        budget = Budget(math.inf)
        tuned = tune(judge, patient, study, 50, unheard, budget)
        assert (tuned.trials, tuned.stopped) == (3 + 4, True)
        # It was not time that ended it.
        assert budget.cuts == []
        assert tuned.choice.trial.number == 2

        more = configure(["search.patience=6"], config)
        assert tune(judge, more, study, 50, unheard).trials == 3 + 6
        assert tune(judge, more, study, 8, unheard).trials == 9

    def test_the_defaults_may_be_the_last_that_were_better(self, config, study):
        patient = configure(["search.patience=2"], config)
        judge = MadeJudge(in_turn(made_scores(), made_scores(ibs=0.21)))
        tuned = tune(judge, patient, study, 50, unheard)
        assert (tuned.trials, tuned.stopped, tuned.config) == (3, True, patient)

    def test_a_search_that_reached_its_total_did_not_end_early(self, config, study):
        patient = configure(["search.patience=2"], config)
        tuned = tune(MadeJudge(), patient, study, 3, unheard)
        assert (tuned.trials, tuned.stopped) == (3, False)


class TestFinalists:
    def test_the_defaults_and_the_best_are_judged_on_other_folds(self, config, study):
        judge = MadeJudge(by_equal)
        tune(judge, config, study, 13, unheard)
        best = [trial for trial, _ in ranked(study, "ibs")[:FINALISTS]]
        assert judge.judged_again[0] == config
        assert [c.stack.equal for c in judge.judged_again[1:]] == [
            trial.params["stack.equal"] for trial in best
        ]
        assert other_folds(study).keys() == {0, *(trial.number for trial in best)}
        # They are judged once, also where the search is resumed.
        tune(judge, config, study, 13, unheard)
        assert len(judge.judged_again) == 1 + FINALISTS

    def test_the_other_folds_decide(self, config, study):
        judge = MadeJudge(
            by_equal, again=lambda c: made_scores(ibs=0.4 - by_equal(c).scores["ibs"][0])
        )
        tuned = tune(judge, config, study, 13, unheard)
        assert ranked(study, "ibs")[0][1].mean > 0
        assert tuned.config == config

    def test_folds_by_centre_have_no_others(self, config, study):
        judge = MadeJudge(by_equal)
        tune(judge, configure(["folds.by=centre"], config), study, 6, unheard)
        assert judge.judged_again == []
        assert other_folds(study) == {}

    def test_where_nothing_seems_to_gain_none_is_judged_again(self, config, study):
        judge = MadeJudge(lambda c: made_scores(ibs=0.2 if c == config else 0.21))
        tuned = tune(judge, config, study, 4, unheard)
        assert judge.judged_again == []
        assert tuned.config == config


class TestTime:
    def test_stops_where_no_other_trial_and_final_fit_would_end_in_time(
        self, config, study, monkeypatch
    ):
        clock = Clock()
        judge = MadeJudge(clock=clock, seconds=10.0)
        monkeypatch.setattr(search, "usual_duration", lambda study: 10.0)
        monkeypatch.setattr(search, "kept_back", lambda study, models: FINAL * models * 10.0)
        budget = Budget(100.0, clock)
        tuned = tune(judge, config, study, 50, unheard, budget, models=2)
        # The final fit is left 1.5 · 2 · 10 seconds; the trials have 70.
        assert FINAL == 1.5
        assert tuned.trials == 6
        assert budget.cuts == ["search 6 of 50 trials"]
        # More seconds go on; fewer trials than there are end at once.
        more = Budget(100.0, clock)
        assert tune(judge, config, study, 9, unheard, more, models=2).trials == 9
        assert more.cuts == []

    def test_a_trial_stopped_by_the_clock_is_not_judged(self, config, study):
        clock = Clock()
        judge = MadeJudge(clock=clock, seconds=10.0, checks=4)
        budget = Budget(60.0, clock)
        tuned = tune(judge, config, study, 5, unheard, budget)
        assert [t.state.name for t in study.get_trials()] == ["COMPLETE", "FAIL"]
        assert tuned.trials == 1
        assert tuned.choice.trial.number == 0

    def test_the_defaults_are_tried_in_full_without_any_time(self, config, study):
        clock = Clock()
        judge = MadeJudge(clock=clock, seconds=10.0, checks=20)
        tuned = tune(judge, config, study, 5, unheard, Budget(0.001, clock))
        assert tuned.config == config
        assert judge.judged == [config]
        assert clock.now == 200
        assert tuned.trials == 1

    def test_without_time_the_finalists_are_not_judged_again(self, config, study, monkeypatch):
        def better(given):
            return made_scores(ibs=0.2 if given == config else 0.19)

        clock = Clock()
        judge = MadeJudge(better, clock=clock, seconds=10.0)
        monkeypatch.setattr(search, "whole_duration", lambda study: 10.0)
        tune(judge, config, study, 7, unheard, Budget(1000.0, clock))
        assert len(judge.judged_again) == 1 + FINALISTS
        late = study_of([])
        judge, budget = MadeJudge(better, clock=clock, seconds=10.0), Budget(79.0, clock)
        tuned = tune(judge, config, late, 7, unheard, budget)
        assert tuned.trials == 7
        assert judge.judged_again == []
        assert budget.cuts == [f"finalists 0 of {1 + FINALISTS}"]


class TestWorkers:
    def test_of_two_proposals_of_the_defaults_the_first_is_run(self, config, study):
        for name in ("a", "b"):  # as two workers that saw none do
            study.enqueue_trial(defaults(config), user_attrs={DEFAULTS: True, "worker": name})
        assert propose_defaults(study, config, {"worker": "c"})["worker"] == "a"
        assert tune(MadeJudge(), config, study, 2, unheard).trials == 2
        states = [(t.user_attrs.get("worker"), t.state.name) for t in study.get_trials()]
        assert states == [("a", "COMPLETE"), ("b", "FAIL"), (None, "COMPLETE")]
        assert of_defaults(study).number == 0

    @by_hand
    def test_two_that_start_together_draw_differently(self, config, storage):
        workers = [open_study("s", storage) for _ in range(2)]
        drawn = []
        for worker in workers:
            worker.sampler = PartSampler(config.seed, "ibs")
            trial = worker.ask()
            suggest(trial, config)
            drawn.append(tuple(trial.params.values()))
        assert drawn[0] != drawn[1]


def test_the_defaults_score_is_that_of_a_fit(cohort, config, study):
    tune(SharedFits(cohort, config), config, study, 1, unheard)
    fitted = fit(prepare(cohort, config), config)
    scores = SharedFits(cohort, config).scores
    expected = scores.of(fitted.prepared.grid, fitted.blind, fitted.prepared.group, 0.0, "ibs")
    assert of_defaults(study).value == pytest.approx(expected.scores["ibs"][0], abs=1e-12)
