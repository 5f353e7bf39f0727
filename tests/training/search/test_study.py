"""The Optuna study: its name and storage, one objective, and one trial of the defaults."""

from __future__ import annotations

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState, create_trial
from sqlalchemy.exc import IntegrityError

from accomplice.data.errors import InputError
from accomplice.training.config import configure
from accomplice.training.search.scores import OBJECTIVES, OPTIMISED
from accomplice.training.search.space import defaults
from accomplice.training.search.study import (
    DEFAULTS,
    FINAL,
    completed,
    count_others,
    is_full,
    kept_back,
    of_defaults,
    open_study,
    propose_defaults,
    study_name,
    usual_duration,
    whole_duration,
)
from tests.training.search.made import made_scores, study_of

# Asking for a trial by hand, as these tests do, sends no sign of life; `tune` uses `optimize`.
by_hand = pytest.mark.filterwarnings("ignore:Heartbeat of storage is supposed to be used")


@pytest.fixture
def storage(tmp_path):
    return f"sqlite:///{tmp_path / 'optuna.db'}"


class TestName:
    def test_follows_cohort_and_configuration(self, small_cohort):
        cohort, config = small_cohort.take(np.arange(80)), configure()
        name = study_name(cohort, config)
        assert name == study_name(cohort, configure([], config))
        assert name == study_name(cohort, configure(["search.patience=99"], config))
        assert name.startswith(f"{cohort.study.name}-os-")
        assert name != study_name(small_cohort, config)
        for other in ("net.members=3", "seed=1", "search.objective=uno_c", "forest.use=false"):
            assert name != study_name(cohort, configure([other], config)), other


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
            open_study("s", storage)
        assert "hunter2" not in str(caught.value)

    def test_a_worker_that_finds_another_making_the_tables_tries_again(self, monkeypatch, storage):
        tries = []

        class Collides(optuna.storages.RDBStorage):
            def __init__(self, *args, **kwargs):
                tries.append(args)
                if len(tries) == 1:
                    raise IntegrityError("CREATE TABLE studies", {}, Exception("duplicate key"))
                super().__init__(*args, **kwargs)

        monkeypatch.setattr("optuna.storages.RDBStorage", Collides)
        assert open_study("s", storage).study_name == "s"
        assert len(tries) == 2


class TestObjective:
    @pytest.mark.parametrize("objective", OPTIMISED)
    def test_each_score_has_its_direction(self, storage, objective):
        found = open_study("s", storage, objective).directions
        higher = [OBJECTIVES[score].higher_is_better for score in OPTIMISED[objective]]
        assert [way.name == "MAXIMIZE" for way in found] == higher
        assert open_study("s", storage, objective).directions == found

    @pytest.mark.parametrize("other", ["uno_c", "calibration", "several"])
    def test_a_study_of_another_is_refused(self, storage, other):
        open_study("s", storage)
        said = f"the study 's' ranks its trials by another objective than {other}.*give another "
        with pytest.raises(InputError, match=said + "--name"):
            open_study("s", storage, other)
        assert open_study("t", storage, other).study_name == "t"

    def test_a_study_of_an_older_version_is_refused(self, storage):
        old = optuna.create_study(study_name="s", storage=storage)
        old.add_trial(create_trial(value=0.2))
        with pytest.raises(InputError, match=r"is of an older version: give another --name"):
            open_study("s", storage)

    def test_one_whose_first_worker_has_only_made_it_is_taken_over(self, storage):
        optuna.create_study(study_name="s", storage=storage)
        assert open_study("s", storage).user_attrs == {"objective": "ibs"}


class TestDefaults:
    @by_hand
    def test_are_proposed_once(self, storage):
        study, config = open_study("s", storage), configure()
        assert propose_defaults(study, config, {"worker": "a"})["worker"] == "a"
        assert propose_defaults(study, config, {"worker": "b"})["worker"] == "a"
        (trial,) = study.get_trials()
        assert DEFAULTS in trial.user_attrs
        assert trial.system_attrs["fixed_params"] == defaults(config)
        assert of_defaults(study) is None
        study.tell(study.ask(), 0.2)
        assert of_defaults(study).number == 0
        propose_defaults(study, config)
        assert len(study.get_trials()) == 1

    @by_hand
    def test_are_proposed_again_where_they_failed(self, storage):
        study, config = open_study("s", storage), configure()
        propose_defaults(study, config, {"worker": "a"})
        study.tell(study.ask(), state=TrialState.FAIL)
        assert propose_defaults(study, config, {"worker": "b"})["worker"] == "a"
        assert [t.state.name for t in study.get_trials()] == ["FAIL", "WAITING"]


class TestCounts:
    @by_hand
    def test_running_trials_count_and_failed_ones_do_not(self, storage):
        study, config = open_study("s", storage), configure()
        propose_defaults(study, config)
        # The defaults wait: however few trials are asked for, they are to be run.
        assert not is_full(study, 1)
        study.tell(study.ask(), 0.2)
        assert is_full(study, 1)
        assert not is_full(study, 2)
        running, lost = study.ask(), study.ask()
        study.tell(lost, state=TrialState.FAIL)
        assert count_others(study) == 1
        assert count_others(study, before=running.number) == 0
        assert is_full(study, 2)
        assert len(completed(study)) == 1

    def test_durations(self):
        study = study_of([made_scores()] * 4)
        for seconds, trial in zip((8, 1, 1, 2), completed(study), strict=True):
            ended = trial.datetime_start + np.timedelta64(seconds, "s").item()
            trial.datetime_complete = ended
        assert whole_duration(study) == 8
        assert usual_duration(study) == pytest.approx(3.5)
        # The final fit is of every endpoint, and fits every learner as the longest trial did.
        assert kept_back(study, 3) == FINAL * 3 * 8
        none = study_of([])
        assert (whole_duration(none), usual_duration(none), kept_back(none, 1)) == (0, 0, 0)
