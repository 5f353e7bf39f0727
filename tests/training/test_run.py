"""A run of several endpoints, or of labels alone: who is fitted on whom, what is left out, why."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import replace

import numpy as np
import pytest

from accomplice.data.cohort import build_cohort, build_patients
from accomplice.data.errors import InputError
from accomplice.data.study import parse_study
from accomplice.training.budget import Budget
from accomplice.training.config import configure
from accomplice.training.models.provenance import git_commit
from accomplice.training.run import train
from accomplice.training.tracking.summary import headline, note, on_further, on_responses


@pytest.fixture
def repository(tmp_path):
    """Another project's repository, with its one commit."""
    identity = ("-c", "user.name=x", "-c", "user.email=x@x.invalid", "-c", "commit.gpgsign=false")
    (tmp_path / "theirs.py").write_text("")
    for command in (["init", "-q"], ["add", "theirs.py"], [*identity, "commit", "-q", "-m", "x"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    return tmp_path


class TestCommit:
    def test_is_of_the_repository_that_holds_the_source(self, repository, monkeypatch):
        monkeypatch.setattr(
            "accomplice.training.models.provenance.__file__", str(repository / "theirs.py")
        )
        assert re.fullmatch("[0-9a-f]{40}", git_commit())

    def test_is_none_where_the_package_is_installed_in_another_project(
        self, repository, monkeypatch
    ):
        (repository / "venv").mkdir()
        (repository / "venv" / "provenance.py").write_text("")
        monkeypatch.setattr(
            "accomplice.training.models.provenance.__file__",
            str(repository / "venv" / "provenance.py"),
        )
        assert git_commit() is None

    def test_is_not_that_of_a_hook_s_repository(self, repository, monkeypatch):
        before = git_commit()
        monkeypatch.setenv("GIT_DIR", str(repository / ".git"))
        assert git_commit() == before


class Clock:
    """Moves on a little each time it is looked at."""

    def __init__(self, step):
        self.now, self.step = 0.0, step

    def __call__(self):
        self.now += self.step
        return self.now


@pytest.fixture(scope="module")
def alone(several_cohort, quick_config):
    """A run of OS and the response, without DFS."""
    return train(replace(several_cohort, further={}), quick_config)


class TestSeveral:
    def test_each_endpoint_is_fitted_on_the_patients_who_have_it(
        self, several_trained, several_cohort
    ):
        assert list(several_trained.survival) == ["os", "dfs"]
        assert several_trained.primary is several_trained.survival["os"]
        assert list(several_trained.further) == ["dfs"]
        os, dfs = (each.fitted.prepared.cohort for each in several_trained.survival.values())
        assert (len(os), len(dfs)) == (len(several_cohort), len(several_cohort.further["dfs"]))
        assert len(dfs) < len(os)
        assert several_trained.survival["dfs"].evaluation.horizon <= 36

    def test_the_primary_model_is_the_one_it_is_without_the_others(self, several_trained, alone):
        os = several_trained.primary.fitted
        np.testing.assert_array_equal(os.cumulative, alone.primary.fitted.cumulative)
        assert several_trained.primary.to_json() == alone.primary.to_json()
        assert several_trained.bundle.metrics["responses"] == alone.bundle.metrics["responses"]
        assert alone.further == {}
        assert alone.bundle.metrics["further"] == {}

    def test_a_further_model_is_the_one_it_is_as_the_primary(
        self, several_trained, several_cohort, quick_config
    ):
        made = train(several_cohort.further["dfs"], quick_config).primary
        dfs = several_trained.further["dfs"]
        np.testing.assert_array_equal(made.fitted.cumulative, dfs.fitted.cumulative)

    def test_metrics_hold_each_endpoint(self, several_trained):
        metrics = several_trained.bundle.metrics
        dfs = several_trained.further["dfs"]
        assert metrics["further"] == {"dfs": dfs.to_json()}
        assert metrics["further"]["dfs"]["treatment"]["label"] == "chemotherapy"
        assert metrics["events"] == several_trained.primary.evaluation.events
        json.dumps(metrics, allow_nan=False)
        named = headline(several_trained)
        scores = dfs.evaluation.scores["model"]
        assert named["dfs_uno_c"] == scores.uno_c.value
        assert named["dfs_ibs_high"] == scores.ibs.high
        assert named["uno_c"] == several_trained.primary.evaluation.scores["model"].uno_c.value

    def test_what_is_said_names_each_endpoint(self, several_trained):
        (told,) = on_further(several_trained).values()
        dfs = several_trained.further["dfs"].evaluation
        assert str(dfs.scores["model"].uno_c) in told
        assert f"{dfs.patients} patients, {dfs.events} events, to 36 months" in told
        assert f"**dfs**: {told}" in note(several_trained)

    def test_provenance_counts_each_endpoint(self, several_trained, several_cohort):
        made = several_trained.bundle.provenance
        assert made["dfs_patients"] == len(several_cohort.further["dfs"])
        assert made["dfs_events"] == several_cohort.further["dfs"].event.sum()
        assert made["cohort_fingerprint"] == several_cohort.fingerprint()

    def test_too_few_events_of_a_further_endpoint_leave_it_out(
        self, several_raw, several_frame, quick_config
    ):
        rare = several_frame.assign(dfs_event=0)
        rare.loc[rare.index[rare["dfs_months"].between(1, 30)][:7], "dfs_event"] = 1
        cohort = build_cohort(parse_study(several_raw, "x"), rare, further=True)
        trained = train(cohort, quick_config)
        assert list(trained.bundle.survival) == ["os"]
        assert not [c for c in trained.bundle.predict(rare.head(2)) if c.startswith("dfs.")]
        assert trained.without["dfs"].startswith("7 events before the horizon are too few")
        assert on_further(trained)["dfs"].startswith("no model: 7 events")
        with pytest.raises(InputError, match="7 events before the horizon are too few"):
            train(build_cohort(cohort.study, rare, "dfs", further=True), quick_config)

    def test_a_feature_nobody_has_of_a_further_endpoint_does_no_harm(
        self, several_raw, several_frame, quick_config
    ):
        gone = several_frame.assign(
            location=several_frame["location"].where(several_frame["stage"] == "IV"),
            FAP=several_frame["FAP"].where(several_frame["stage"] == "IV"),
        )
        cohort = build_cohort(parse_study(several_raw, "x"), gone, further=True)
        place = [list(cohort.study.features).index(name) for name in ("location", "FAP")]
        assert np.isnan(cohort.further["dfs"].values[:, place]).all()
        found = train(cohort, quick_config).bundle.predict(several_frame, [12])
        assert np.isfinite(found["dfs.risk"]).all()

    def test_without_time_each_gets_the_least(self, several_cohort, quick_config):
        config = configure(["evaluation.bootstraps=60"], quick_config)
        least = train(several_cohort, config, budget=Budget(1.0, Clock(step=10.0)))
        assert list(least.survival) == ["os", "dfs"]
        assert [len(each.fitted.history) for each in least.survival.values()] == [1, 1]
        assert any(
            cut.startswith("evaluation 20 of") for cut in least.bundle.provenance["cut_short"]
        )

    def test_ample_time_cuts_nothing_of_either(self, several_cohort, quick_config, several_trained):
        ample = train(several_cohort, quick_config, budget=Budget(1e9, Clock(step=1e-3)))
        assert ample.bundle.provenance == several_trained.bundle.provenance
        for name, each in several_trained.survival.items():
            assert ample.survival[name].fitted.history == each.fitted.history
            assert ample.survival[name].evaluation.bootstraps == each.evaluation.bootstraps


class TestLabelsAlone:
    def test_a_model_is_made_of_labels_alone(self, labels_trained, alone):
        assert labels_trained.primary is None
        assert labels_trained.survival == labels_trained.bundle.survival == {}
        judged = labels_trained.responses["ici_response"].evaluation
        assert labels_trained.bundle.metrics["responses"]["ici_response"] == judged.to_json()
        # The same patients and labels: survival beside them has no part in it.
        beside = alone.responses["ici_response"]
        np.testing.assert_array_equal(
            beside.probability, labels_trained.responses["ici_response"].probability
        )

    def test_headline_and_note_are_the_response_s(self, labels_trained):
        named = headline(labels_trained)
        assert {name.removesuffix("_low").removesuffix("_high") for name in named} == {
            "ici_response_auroc",
            "ici_response_brier",
        }
        told = note(labels_trained)
        assert "ici_response" in told.splitlines()[0]
        assert on_responses(labels_trained)["ici_response"] in told
        assert "SYNTHETIC" in told
        assert "Uno" not in told

    def test_too_few_labels_are_refused_with_their_counts(
        self, labels_raw, several_frame, quick_config
    ):
        few = several_frame.copy()
        positive = few.index[few["ici_response"].isin(["CR", "PR"])]
        few.loc[positive[3:], "ici_response"] = None
        negative = int(few["ici_response"].isin(["SD", "PD"]).sum())
        patients = build_patients(parse_study(labels_raw, "x"), few)
        said = f"nothing to train on: ici_response: 3 positive and {negative} negative labels"
        with pytest.raises(InputError, match=said):
            train(patients, quick_config)

    def test_one_of_two_endpoints_with_labels_enough_will_do(
        self, labels_raw, several_frame, quick_config
    ):
        other = {"column": "other", "positive": ["1"], "negative": ["0"]}
        binary = {"other": other, **labels_raw["endpoints"]["binary"]}
        study = parse_study(labels_raw | {"endpoints": {"binary": binary}}, "x")
        frame = several_frame.assign(other=[1, 0] + [None] * (len(several_frame) - 2))
        trained = train(build_patients(study, frame), quick_config)
        assert trained.without == {
            "other": "1 positive and 1 negative labels are too few to learn from: a model needs 5 "
            "of each"
        }
        found = trained.bundle.predict(frame.head(3))
        assert found["response.other"].isna().all()
        assert found["response.ici_response"].between(0, 1).all()
