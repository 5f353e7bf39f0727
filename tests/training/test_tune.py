"""Tuning: the defaults first, then draws that no session repeats, up to a total."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import optuna
import pytest
from sqlalchemy.exc import IntegrityError

from accomplice.data.errors import InputError
from accomplice.training.budget import Budget
from accomplice.training.config import configure, flat
from accomplice.training.fitting.fit import fit
from accomplice.training.fitting.prepare import prepare
from accomplice.training.tune import (
    DEFAULTS,
    FINAL,
    SPACE,
    STARTUP,
    WARM_UP,
    best_of,
    count_judged,
    of_defaults,
    open_study,
    propose_defaults,
    quick_scores,
    study_name,
    suggest,
    tune,
    with_settings,
)

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
def prepared(small_cohort, config):
    return prepare(small_cohort.take(np.arange(80)), config)


@pytest.fixture
def storage(tmp_path):
    return f"sqlite:///{tmp_path / 'optuna.db'}"


def unheard(trial, study):
    """Take a report and say nothing."""


def draws(study):
    return [tuple(sorted(trial.params.items())) for trial in study.get_trials()]


class TestTune:
    def test_a_study_over_two_sessions(self, prepared, config, storage):
        reported = []

        def report(trial, study):
            reported.append(trial.number)

        first = open_study("s", storage, config.seed)
        after = tune(prepared, config, first, 3, report)
        assert after.trials == count_judged(first) == 3

        # The defaults are trial 0, scored as any fit is; the best is no worse.
        trials = first.get_trials()
        assert trials[0].params == {key: flat(config)[key] for key in SPACE}
        scores = quick_scores(fit(prepared, config))
        assert trials[0].value == scores["ibs"]
        assert trials[0].user_attrs["uno_c"] == scores["uno_c"]
        assert first.best_value <= trials[0].value
        assert {k: flat(after.config)[k] for k in SPACE} == first.best_params
        untuned = flat(config).keys() - SPACE.keys()
        assert {k: flat(after.config)[k] for k in untuned} == {k: flat(config)[k] for k in untuned}

        # A second session goes on to the total, with other draws.
        second = open_study("s", storage, config.seed)
        assert tune(prepared, config, second, 5, report).trials == 5
        assert reported == [0, 1, 2, 3, 4]
        assert len(set(draws(second))) == 5
        for trial in second.get_trials():
            for key, (low, high) in SPACE.items():
                edges = (min(low, flat(config)[key]), max(high, flat(config)[key]))
                assert edges[0] <= trial.params[key] <= edges[1]

        # A third has nothing left to do.
        third = open_study("s", storage, config.seed)
        assert tune(prepared, config, third, 5, report).trials == 5
        assert len(third.get_trials()) == 5
        assert reported == [0, 1, 2, 3, 4]

    def test_same_seed_makes_the_same_trials(self, prepared, config, tmp_path):
        made = []
        for name in ("a", "b"):
            study = open_study(name, f"sqlite:///{tmp_path / name}.db", 3)
            tune(prepared, config, study, 2, unheard)
            made.append([(t.params, t.value) for t in study.get_trials()])
        assert made[0] == made[1]

    @by_hand
    def test_failed_trial_is_not_counted(self, prepared, config, storage):
        study = open_study("s", storage, 0)
        study.enqueue_trial({key: flat(config)[key] for key in SPACE})
        study.tell(study.ask(), state=optuna.trial.TrialState.FAIL)
        assert tune(prepared, config, study, 1, unheard).trials == 1
        assert len(study.get_trials()) == 2

    def test_final_settings_are_no_worse_than_the_defaults_on_the_same_folds(
        self, prepared, config, storage
    ):
        study = open_study("s", storage, config.seed)
        tuned = tune(prepared, config, study, 4, unheard)
        found = quick_scores(fit(prepared, tuned.config))["ibs"]
        assert found <= quick_scores(fit(prepared, config))["ibs"]
        assert found == best_of(study).value


def scripted(monkeypatch, losses, seconds=0.0, clock=None):
    """Let a trial report these losses, one an epoch, instead of a fit."""

    def fit(prepared, config, report):
        for epoch, loss in enumerate(next(losses)):
            if clock is not None:
                clock.now += seconds
            report(epoch, loss)
        stack = SimpleNamespace(weight=lambda learner: 0.25)
        return SimpleNamespace(ensemble=SimpleNamespace(stack=stack), loss=loss)

    monkeypatch.setattr("accomplice.training.tune.fit", fit)
    monkeypatch.setattr(
        "accomplice.training.tune.quick_scores", lambda fitted: {"ibs": fitted.loss, "uno_c": 0.5}
    )


class Clock:
    """Moves only as told."""

    now = 0.0

    def __call__(self):
        return self.now


class TestPruning:
    EPOCHS = WARM_UP + 3

    def test_a_trial_that_is_behind_is_given_up_and_counts(self, config, storage, monkeypatch):
        good, bad = [1.0] * self.EPOCHS, [2.0] * self.EPOCHS
        scripted(monkeypatch, iter([good] * STARTUP + [bad, good]))
        study, seen = open_study("s", storage, 0), []
        tuned = tune(None, config, study, STARTUP + 2, lambda t, _: seen.append(t.state.name))
        assert seen == ["COMPLETE"] * STARTUP + ["PRUNED", "COMPLETE"]
        assert (tuned.trials, tuned.pruned) == (STARTUP + 2, 1)
        given_up = study.get_trials()[STARTUP]
        assert len(given_up.intermediate_values) == WARM_UP + 1
        assert best_of(study).value == 1.0

    def test_the_defaults_are_never_given_up(self, config, storage, monkeypatch):
        good, bad = [1.0] * self.EPOCHS, [2.0] * self.EPOCHS
        scripted(monkeypatch, iter([good] * STARTUP))
        study = open_study("s", storage, 0)
        tune(None, config, study, STARTUP, unheard)
        # As if those had been another's: only now are the defaults tried.
        monkeypatch.setattr("accomplice.training.tune.DEFAULTS", "other")
        scripted(monkeypatch, iter([bad]))
        assert tune(None, config, study, STARTUP + 1, unheard).pruned == 0
        assert of_defaults(study).value == 2.0


class TestTime:
    def test_stops_where_no_other_trial_and_final_fit_would_end_in_time(
        self, config, storage, monkeypatch
    ):
        clock = Clock()
        scripted(monkeypatch, iter([[1.0]] * 99), seconds=10.0, clock=clock)
        monkeypatch.setattr("accomplice.training.tune.usual_duration", lambda study: 10.0)
        study, budget = open_study("s", storage, 0), Budget(100.0, clock)
        tuned = tune(None, config, study, 50, unheard, budget, before=10.0)
        # The final fit is left 1.5 (10 + 10) seconds; the trials have 70.
        assert FINAL == 1.5
        assert tuned.trials == 6
        assert budget.cuts == ["search 6 of 50 trials"]
        # More seconds go on; fewer trials than there are end at once.
        more = Budget(100.0, clock)
        assert tune(None, config, study, 9, unheard, more, before=10.0).trials == 9
        assert more.cuts == []

    def test_a_trial_stopped_by_the_clock_is_not_judged(self, config, storage, monkeypatch):
        clock = Clock()
        scripted(monkeypatch, iter([[1.0], [0.1] * 20]), seconds=10.0, clock=clock)
        study = open_study("s", storage, 0)
        tuned = tune(None, config, study, 5, unheard, Budget(60.0, clock))
        assert [t.state.name for t in study.get_trials()] == ["COMPLETE", "FAIL"]
        assert tuned.trials == 1
        assert best_of(study).value == 1.0

    def test_the_defaults_are_tried_in_full_without_any_time(self, config, storage, monkeypatch):
        clock = Clock()
        scripted(monkeypatch, iter([[1.0] * 20]), seconds=10.0, clock=clock)
        study = open_study("s", storage, 0)
        tuned = tune(None, config, study, 5, unheard, Budget(0.001, clock))
        assert tuned.config == config
        assert len(of_defaults(study).intermediate_values) == 20


class TestWorkers:
    def test_of_two_proposals_of_the_defaults_the_first_is_run(self, config, storage, monkeypatch):
        study = open_study("s", storage, 0)
        settings = {key: flat(config)[key] for key in SPACE}
        for name in ("a", "b"):  # as two workers that saw none do
            study.enqueue_trial(settings, user_attrs={DEFAULTS: True, "worker": name})
        assert propose_defaults(study, config, {"worker": "c"})["worker"] == "a"
        scripted(monkeypatch, iter([[1.0], [2.0]]))
        assert tune(None, config, study, 2, unheard).trials == 2
        states = [(t.user_attrs.get("worker"), t.state.name) for t in study.get_trials()]
        assert states == [("a", "COMPLETE"), ("b", "FAIL"), (None, "COMPLETE")]

    @by_hand
    def test_two_that_start_together_draw_differently(self, config, storage):
        workers = [open_study("s", storage, config.seed) for _ in range(2)]
        drawn = []
        for worker in workers:
            trial = worker.ask()
            suggest(trial, config)
            drawn.append(tuple(trial.params.values()))
        assert drawn[0] != drawn[1]


class TestSpace:
    @by_hand
    def test_reaches_as_far_as_the_settings_given(self, config, storage):
        base = configure(["net.weight_decay=50.0", "net.hidden_width=4"], config)
        study = open_study("s", storage, 0)
        study.enqueue_trial({key: flat(base)[key] for key in SPACE})
        trial = study.ask()
        assert suggest(trial, base) == base
        edges = trial.distributions["net.weight_decay"]
        assert (edges.low, edges.high) == (SPACE["net.weight_decay"][0], 50.0)
        assert trial.distributions["net.hidden_width"].low == 4

    def test_every_key_is_a_setting_and_in_reach(self):
        for key, (low, high) in SPACE.items():
            assert low <= flat(configure())[key] <= high, key
            for value in (low, high):
                assert flat(with_settings(configure(), {key: value}))[key] == value


class TestName:
    def test_follows_cohort_and_configuration(self, prepared, config):
        name = study_name(prepared.cohort, config)
        assert name == study_name(prepared.cohort, configure([], config))
        assert name.startswith("synthetic-gastric") or "os" in name
        assert name != study_name(prepared.cohort, configure(["net.members=3"], config))
        assert name != study_name(prepared.cohort, configure(["seed=1"], config))


class TestStorage:
    @pytest.mark.parametrize(
        "storage",
        [
            "nonsense",
            "sqlite:////no/such/folder/x.db",
            "postgresql://me:hunter2@nowhere.invalid/db",
        ],
    )
    def test_that_cannot_be_opened_is_said_without_its_password(self, storage):
        said = r"--storage \(in Python storage\): cannot be opened"
        with pytest.raises(InputError, match=said) as caught:
            open_study("s", storage, 0)
        assert "hunter2" not in str(caught.value)


def test_a_worker_that_finds_another_making_the_tables_tries_again(monkeypatch, storage):
    tries = []

    class Collides(optuna.storages.RDBStorage):
        def __init__(self, *args, **kwargs):
            tries.append(args)
            if len(tries) == 1:
                raise IntegrityError("CREATE TABLE studies", {}, Exception("duplicate key"))
            super().__init__(*args, **kwargs)

    monkeypatch.setattr("optuna.storages.RDBStorage", Collides)
    assert open_study("s", storage, 0).study_name == "s"
    assert len(tries) == 2
