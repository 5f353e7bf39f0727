"""The functions of ``accomplice`` do what the verbs do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from mlflow import MlflowClient

import accomplice
from accomplice.data.errors import InputError
from accomplice.data.loading import load_endpoints
from accomplice.data.synthetic import draw
from accomplice.data.synthetic_study import synthesise
from accomplice.training.config import with_settings
from accomplice.training.run import train
from tests.api.conftest import JUDGING, LEAST


class TestStudy:
    def test_is_read_from_any_folder(self, study_path, tmp_path, monkeypatch):
        relative = study_path.relative_to(study_path.parents[1])
        monkeypatch.chdir(study_path.parents[1])
        study = accomplice.read_study(str(relative))
        monkeypatch.chdir(tmp_path)
        assert len(accomplice.load_cohort(study)) == 200

    def test_and_its_path_give_one_cohort(self, study_path):
        by_path = accomplice.load_cohort(study_path)
        by_study = accomplice.load_cohort(accomplice.read_study(study_path))
        assert by_path.fingerprint() == by_study.fingerprint()
        assert by_path.fingerprint() == load_endpoints(study_path).fingerprint()

    def test_notes_of_joined_tables_are_kept(self, study_path, tmp_path):
        raw = yaml.safe_load(study_path.read_text())
        table = study_path.parent / raw["source"]["files"][0]
        (tmp_path / table.name).write_bytes(table.read_bytes())
        ids = pd.read_csv(table, dtype=str)[raw["id"]][:150]
        ids.to_frame().assign(further=1).to_csv(tmp_path / "more.csv", index=False)
        raw["source"]["files"] = [table.name, "more.csv"]
        (tmp_path / "study.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
        (note,) = accomplice.load_cohort(tmp_path / "study.yaml").notes
        assert "150 of its 150 ids" in note

    def test_errors_name_the_file_and_the_endpoint(self, study_path, tmp_path):
        with pytest.raises(InputError, match="no such study file"):
            accomplice.read_study(tmp_path / "study.yaml")
        with pytest.raises(InputError, match="no survival endpoint 'pfs'"):
            accomplice.load_cohort(study_path, "pfs")


class TestTrain:
    def test_keeps_the_run_that_it_returns(self, tracked, workplace, in_workplace):
        run = MlflowClient().get_run(tracked.run_id)
        assert run.data.tags["mlflow.runName"] == "first"
        assert run.data.params["net.members"] == "1"
        assert run.data.params["seed"] == "5"
        assert tracked.path.is_relative_to(workplace / "mlruns" / "bundles")
        assert tracked.model.startswith("models:/accomplice-synthetic-gastric/")
        assert tracked.trained.primary is not None

    def test_fits_what_the_verb_fits(self, made, study_path, tiny_config):
        config = with_settings(type(tiny_config)(), {**LEAST, **JUDGING, "seed": 5})
        frame = draw(30, seed=77).frame
        own = train(load_endpoints(study_path), config).bundle.predict(frame)
        pd.testing.assert_frame_equal(accomplice.predict(made.bundle, frame), own)

    def test_untracked_writes_its_bundle_alone(self, small_cohort, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        settings = {**LEAST, **JUDGING}
        run = accomplice.train(small_cohort, settings=settings, out="model", track=False)
        assert [path.name for path in tmp_path.iterdir()] == ["model"]
        assert (run.path, run.run_id, run.model) == (tmp_path / "model", None, None)
        frame = draw(30, seed=77).frame
        pd.testing.assert_frame_equal(
            accomplice.predict(run.path, frame), run.bundle.predict(frame)
        )

    def test_takes_labels_alone(self, labelled):
        run = accomplice.train(labelled, settings=JUDGING, track=False)
        assert list(run.bundle.responses) == ["ici_response"]
        with pytest.raises(InputError, match="no survival endpoint"):
            accomplice.train(labelled, settings={"endpoint": "os"}, track=False)

    def test_takes_a_further_endpoint_of_a_cohort(self, several_cohort):
        settings = {**LEAST, **JUDGING, "endpoint": "dfs"}
        run = accomplice.train(several_cohort, settings=settings, track=False)
        assert next(iter(run.bundle.survival)) == "dfs"

    @pytest.mark.parametrize(
        ("given", "text"),
        [
            ({"settings": {"net.membrs": 4}}, "setting net.membrs: unknown key.*'net.members'"),
            ({"settings": {"net.members": 0}}, "setting net.members: .*greater than or equal to 1"),
            ({"seed": -1}, "setting seed: "),
            ({"settings": ["net.members=4"]}, "settings: a mapping such as .*, got a list"),
            ({"settings": {"net": {"members": 4}}}, "setting net: .*did you mean 'net.members'"),
            ({"settings": {5: 4}}, "setting 5: unknown key"),
            ({"seed": "one"}, "setting seed: .*integer"),
            ({"out": 5}, "out: the path of a folder is expected, got an int"),
            ({"settings": {"endpoint": "pfs"}}, "no survival endpoint 'pfs'"),
        ],
    )
    def test_refuses_wrong_settings(self, small_cohort, given, text):
        with pytest.raises(InputError, match=text):
            accomplice.train(small_cohort, track=False, **given)

    def test_refuses_a_place_where_something_else_is(self, small_cohort, tmp_path):
        (tmp_path / "notes.txt").write_text("mine")
        with pytest.raises(InputError, match="exists and is not a bundle"):
            accomplice.train(small_cohort, out=tmp_path)

    def test_refuses_too_few_events_before_any_work(self, small_cohort, in_workplace):
        few = small_cohort.take(np.flatnonzero(~small_cohort.event)[:40])
        with pytest.raises(InputError, match="0 events before the horizon are too few"):
            accomplice.train(few)

    def test_takes_numpys_numbers_and_settings_of_many_values(self, small_cohort):
        settings = {
            **LEAST,
            **JUDGING,
            "net.dropout": np.float64(0.25),
            "net.members": np.int64(1),
            "anchor.marker_penalties": (1.0, 2.0),
        }
        run = accomplice.train(small_cohort, settings=settings, track=False)
        assert run.bundle.config["net.dropout"] == 0.25
        assert run.bundle.config["anchor.marker_penalties"] == [1.0, 2.0]


class TestTune:
    @pytest.mark.usefixtures("no_figures")
    def test_searches_and_trains_the_final_model(
        self, study_path, in_workplace, tmp_path, monkeypatch
    ):
        # Apart from the others: a better model would take the alias of theirs.
        monkeypatch.chdir(tmp_path)
        run = accomplice.tune(
            study_path, trials=1, settings={**LEAST, **JUDGING}, out="tuned", name="search"
        )
        assert run.path == tmp_path / "tuned"
        assert run.bundle.config["seed"] == 1, "the final model is judged on other folds"
        tags = MlflowClient().get_run(run.run_id).data.tags
        assert tags["mlflow.runName"] == "final search"

    def test_refuses_no_trials_and_patients_without_survival(self, study_path, labelled):
        with pytest.raises(InputError, match="trials: 0: at least 1"):
            accomplice.tune(study_path, trials=0)
        with pytest.raises(InputError, match="trials: a whole number is expected, got a str"):
            accomplice.tune(study_path, trials="5")
        with pytest.raises(InputError, match="has no survival endpoint, which tune"):
            accomplice.tune(labelled, trials=1)


class TestLoad:
    def test_takes_a_folder_a_run_and_a_registered_model(self, tracked, in_workplace):
        frame = draw(5, seed=77).frame
        own = tracked.bundle.predict(frame)
        for name in (tracked.path, str(tracked.path), f"runs:/{tracked.run_id}", tracked.model):
            pd.testing.assert_frame_equal(accomplice.load(name).predict(frame), own)
        # So small a run need not pass the gate.
        registered, version = tracked.model.removeprefix("models:/").split("/")
        MlflowClient().set_registered_model_alias(registered, "champion", version)
        found = accomplice.load(f"models:/{registered}@champion").predict(frame)
        pd.testing.assert_frame_equal(found, own)

    def test_refuses_what_is_no_model(self, tmp_path):
        with pytest.raises(InputError, match="no such model: give a bundle folder"):
            accomplice.load(tmp_path / "none")
        with pytest.raises(InputError, match="no bundle there"):
            accomplice.load(tmp_path)


class TestWords:
    def test_what_a_notebook_shows_is_short_and_holds_no_patient(self, made, study_path):
        cohort = accomplice.load_cohort(study_path)
        for each in (made, made.bundle, cohort):
            assert len(repr(each)) < 300
        assert cohort.ids[0] not in repr(cohort)
        assert "200 patients" in repr(cohort)

    def test_a_frame_in_place_of_a_study_is_refused(self):
        for function in (accomplice.load_cohort, accomplice.train, accomplice.read_study):
            with pytest.raises(InputError, match=r"a DataFrame is no study.*SurvivalEstimator"):
                function(pd.DataFrame({"age": [1.0]}))

    @pytest.mark.parametrize("seconds", [0, -1, float("nan"), "5", None])
    def test_seconds_are_above_0(self, study_path, seconds):
        with pytest.raises(InputError, match="max_seconds"):
            accomplice.train(study_path, max_seconds=seconds, track=False)


class TestPredict:
    def test_keeps_a_frame_s_index(self, made):
        frame = draw(5, seed=77).frame.set_axis(list("edcba"))
        assert [*accomplice.predict(made.bundle, frame).index] == list("edcba")

    def test_takes_a_table_by_path_as_the_verb_does(self, made, tmp_path):
        frame = draw(20, seed=77).frame
        frame.to_csv(tmp_path / "new.csv", index=False)
        found = accomplice.predict(made.path, tmp_path / "new.csv", times=[6, 24])
        assert {"risk", "survival@6", "survival@24", "flags"} < {*found.columns}
        own = made.bundle.predict(frame, [6, 24])
        np.testing.assert_allclose(found["survival@24"], own["survival@24"], rtol=1e-12)

    def test_takes_frames_whose_names_are_written_otherwise(self, made):
        frame = draw(5, seed=77).frame
        other = frame.rename(columns={"IL1R1": "il1r1", "age": "Age", "patient_id": "Patient ID"})
        pd.testing.assert_frame_equal(
            accomplice.predict(made.bundle, other), accomplice.predict(made.bundle, frame)
        )

    def test_takes_local_rates(self, several_trained, several_frame):
        low, high = (
            accomplice.predict(several_trained.bundle, several_frame, rates={"ici_response": rate})
            for rate in (0.1, 0.5)
        )
        assert (low["response.ici_response"] < high["response.ici_response"]).all()

    def test_refuses_times_beyond_the_horizon(self, made):
        with pytest.raises(InputError, match="beyond the model's horizon"):
            accomplice.predict(made.bundle, draw(2, seed=1).frame, times=[600])

    def test_takes_a_single_time(self, made):
        frame = draw(2, seed=1).frame
        for time in (12, 12.0, np.int64(12)):
            pd.testing.assert_frame_equal(
                accomplice.predict(made.bundle, frame, time),
                accomplice.predict(made.bundle, frame, [12]),
            )

    @pytest.mark.parametrize("times", ["12", b"12", ["12"], [None], [[12]], object()])
    def test_refuses_times_that_are_no_numbers(self, made, times):
        with pytest.raises(InputError, match=r"times: numbers of months are expected, such as"):
            accomplice.predict(made.bundle, draw(2, seed=1).frame, times)

    def test_refuses_arguments_of_other_types(self, made, several_trained, several_frame, other):
        frame, several = draw(2, seed=1).frame, several_trained.bundle
        for call, text in (
            (lambda: accomplice.predict({}, frame), "model: a bundle.* is expected, got a dict"),
            (lambda: accomplice.load(5), "model: a bundle.* is expected, got an int"),
            (lambda: accomplice.evaluate(None, other), "model: a bundle.*, got a NoneType"),
            (lambda: accomplice.predict(made.bundle, [1]), "table: a frame or the path.*a list"),
            (lambda: accomplice.predict(several, several_frame, rates=[0.1]), "rates: a mapping"),
            (
                lambda: accomplice.predict(several, several_frame, rates={"ici_response": "x"}),
                "rate of 'ici_response': must lie between",
            ),
            (lambda: accomplice.evaluate(made.bundle, other, features=["age"]), "features: a map"),
        ):
            with pytest.raises(InputError, match=text) as caught:
                call()
            assert len(str(caught.value).splitlines()) == 1


@pytest.fixture(scope="module")
def other(tmp_path_factory) -> Path:
    """The study file of patients that no model here was trained on."""
    return synthesise(tmp_path_factory.mktemp("other"), 150, "default", 9)


def _uno_c(validation):
    return validation.evaluation.scores["model"].uno_c


class TestEvaluate:
    def test_judges_on_other_patients_and_writes_nothing(self, made, other, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        found = accomplice.evaluate(made.bundle, other, bootstraps=30)
        assert not list(tmp_path.iterdir())
        assert _uno_c(found).value > 0.5
        assert found.update is None
        loaded = accomplice.load_cohort(other)
        again = accomplice.evaluate(made.path, loaded, bootstraps=30, recalibrate=True)
        assert _uno_c(again) == _uno_c(found)
        assert again.update is not None

    def test_refuses_the_training_cohort_and_unknown_endpoints(self, made, study_path, other):
        with pytest.raises(InputError, match="trained on this very cohort"):
            accomplice.evaluate(made.bundle, study_path)
        with pytest.raises(InputError, match="no survival endpoint 'pfs'"):
            accomplice.evaluate(made.bundle, other, endpoint="pfs")

    def test_errors_name_the_argument(self, made, other):
        with pytest.raises(InputError, match=r"\(in Python features\): .*no feature 'agee'"):
            accomplice.evaluate(made.bundle, other, features={"agee": "age"})
