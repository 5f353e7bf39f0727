"""What a session leaves in MLflow: runs, figures, a registered model, and no pickle."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from optuna.distributions import CategoricalDistribution

from accomplice.data.errors import InputError
from accomplice.data.synthetic import draw
from accomplice.training.bundle import Bundle
from accomplice.training.config import configure, flat
from accomplice.training.evaluation.record import REVIEW
from accomplice.training.models.manifest import digest_of
from accomplice.training.models.provenance import TRAINED
from accomplice.training.reports.figures.review import DRAWS
from accomplice.training.search.gain import choose, sentence
from accomplice.training.search.search import Tuned
from accomplice.training.search.space import KEYS
from accomplice.training.search.study import open_study, propose_defaults
from accomplice.training.tracking import runs as tracking
from accomplice.training.tracking import search_runs
from accomplice.training.tracking.experiment import search
from accomplice.training.tracking.sketches import find_sketch
from accomplice.training.tracking.store import find_bundle, open_store
from tests.conftest import TINY
from tests.training.reports.made_review import made_review
from tests.training.search.made import made_scores, study_of

#: Whether a learner is used.
YES_OR_NO = CategoricalDistribution([True, False])
#: First bytes of a pickle of protocol 2 and later, and of a zip, in which torch hides one.
PICKLED = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04")


@pytest.fixture(scope="module")
def config():
    few = ("folds.folds=2", "net.max_epochs=1", "net.steps_per_epoch=2")
    return configure([*TINY, *few, "evaluation.bootstraps=10", "evaluation.explanations=true"])


@pytest.fixture(scope="module")
def cohort(small_cohort):
    return small_cohort.take(np.arange(150))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store of its own, in a working folder of its own, with MLflow pointed at it."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
            patch.delenv(name, raising=False)
        patch.chdir(tmp_path_factory.mktemp("work"))
        yield open_store()


@pytest.fixture(scope="module")
def searched(store, cohort, config):
    """Two trials, then the final model: trained result, bundle folder, what was logged."""
    return search(store, cohort, config, 2, None, None, None)


@pytest.fixture(scope="module")
def run(searched):
    return MlflowClient().get_run(searched[2].run_id)


@pytest.fixture(scope="module")
def reviewed(searched, store, cohort):
    """A run on which the figures of a whole, made-up review were logged."""
    trained = searched[0]
    metrics = dict(trained.bundle.metrics) | {REVIEW: made_review().model_dump(mode="json")}
    bundle = replace(trained.bundle, metrics=metrics)
    with tracking.run(store, cohort, "figures", "figures") as run_id:
        tracking.log_figures(run_id, replace(trained, bundle=bundle))
    return MlflowClient().get_run(run_id)


def runs_of(cohort, stage):
    """Runs of a stage, the oldest first."""
    experiment = MlflowClient().get_experiment_by_name(cohort.study.name)
    return MlflowClient().search_runs(
        [experiment.experiment_id], f"tags.stage = '{stage}'", order_by=["attributes.start_time"]
    )


class TestFinalRun:
    def test_has_every_setting_as_a_parameter(self, run, cohort, searched):
        settings = searched[0].bundle.config
        for key, value in settings.items():
            assert key in run.data.params, key
            if isinstance(value, float):
                assert float(run.data.params[key]) == pytest.approx(value, rel=1e-3)
            elif not isinstance(value, list) and key != "endpoint":
                assert run.data.params[key] == str(value)
        assert run.data.params["endpoint"] == cohort.endpoint
        assert run.data.params.keys() >= flat(configure()).keys()
        assert run.data.params["patients"] == str(len(cohort))
        assert run.data.params["events"] == str(cohort.event.sum())

    def test_has_the_headline_metrics_with_their_intervals(self, run, searched):
        scores = searched[0].primary.evaluation.scores["model"]
        metrics = run.data.metrics
        assert metrics["uno_c"] == pytest.approx(scores.uno_c.value)
        assert metrics["ibs"] == pytest.approx(scores.ibs.value)
        assert metrics["uno_c_low"] <= metrics["uno_c"] <= metrics["uno_c_high"]
        assert {"ibs_gain", "uno_c_gain", "calibration_slope"} <= metrics.keys()
        slope = "calibration_slope"
        assert metrics[f"{slope}_low"] <= metrics[slope] <= metrics[f"{slope}_high"]
        assert all(np.isfinite(v) and abs(v) < 1e6 for v in metrics.values())

    def test_has_a_note_that_says_synthetic(self, run):
        note = run.data.tags["mlflow.note.content"]
        assert "SYNTHETIC" in note
        assert "research use only" in note
        assert "| model |" in note

    def test_has_the_cohort_as_its_dataset(self, run, cohort):
        (given,) = run.inputs.dataset_inputs
        assert given.dataset.name == cohort.study.name
        assert cohort.fingerprint().startswith(given.dataset.digest)
        assert given.tags[0].value == "training"

    def test_has_figures_that_are_pictures(self, reviewed, store):
        figures = MlflowClient().list_artifacts(reviewed.info.run_id, "figures")
        assert {f"figures/{name}.png" for name in DRAWS} <= {figure.path for figure in figures}
        folder = Path(reviewed.info.artifact_uri.removeprefix("file://"))
        assert folder.is_relative_to(store.root)
        for figure in figures:
            assert (folder / figure.path).read_bytes().startswith(b"\x89PNG"), figure.path

    def test_has_its_page_and_its_model_card(self, reviewed):
        folder = Path(reviewed.info.artifact_uri.removeprefix("file://"))
        page = (folder / "report.html").read_text(encoding="utf-8")
        assert page.count("<svg") == len(DRAWS)
        assert (folder / "model_card.md").read_text(encoding="utf-8").startswith("# Model card")

    def test_is_finished_and_can_be_searched_for(self, run, cohort, searched):
        assert run.info.status == "FINISHED"
        tags = run.data.tags
        assert tags["synthetic"] == "true"
        assert tags["endpoint"] == "os"
        assert tags["cohort_fingerprint"] == cohort.fingerprint()
        assert tags["fit_id"] == searched[0].bundle.provenance["fit_id"]
        assert tags["bundle_digest"] == digest_of(searched[1])

    def test_bundle_is_left_beside_the_store(self, searched, store):
        assert searched[1].parent == store.bundles
        Bundle.load(searched[1])


class TestSketch:
    def test_is_kept_with_the_run_and_in_no_bundle(self, searched, cohort):
        trained, folder, logged = searched
        assert find_sketch(trained.bundle)["patients"] == len(cohort)
        for held in (folder, find_bundle(f"runs:/{logged.run_id}").path):
            assert not any(b"sketch" in file.read_bytes() for file in held.iterdir())

    def test_is_found_for_an_updated_model_and_not_for_another(self, searched):
        bundle = searched[0].bundle
        other = {**bundle.provenance, "fit_id": "0" * 16}
        assert find_sketch(replace(bundle, provenance=other)) is None
        updated = {**other, TRAINED: bundle.provenance["fit_id"]}
        assert find_sketch(replace(bundle, provenance=updated)) == find_sketch(bundle)


class TestStudyRun:
    def test_trials_are_nested_under_it(self, searched, cohort, run):
        (parent,) = runs_of(cohort, "study")
        trials = runs_of(cohort, "trial")
        assert len(trials) == 2
        for trial in trials:
            assert trial.data.tags["mlflow.parentRunId"] == parent.info.run_id
            assert trial.data.params.keys() == run.data.params.keys() > {*KEYS}
            assert trial.data.metrics.keys() == {"ibs", "uno_c", "ici", "net_share"}
            assert trial.info.status == "FINISHED"
        # The final model stands beside the study, where the table of runs shows it.
        assert "mlflow.parentRunId" not in run.data.tags
        assert run.data.tags["optuna_study"] == parent.data.tags["optuna_study"]
        assert run.info.run_name == f"final {run.data.tags['optuna_study']}"

    def test_carries_the_choice_and_its_gain(self, searched, store, cohort):
        (parent,) = runs_of(cohort, "study")
        metrics = parent.data.metrics
        choice = choose(open_study(parent.data.tags["optuna_study"], store.optuna), "ibs")
        trial = runs_of(cohort, "trial")[choice.trial.number]
        assert metrics["best_trial"] == choice.trial.number
        assert metrics["best_ibs"] == trial.data.metrics["ibs"]
        assert {f"best_{key}" for key in choice.trial.params} <= metrics.keys()
        low, high = choice.gain.interval
        ends = metrics["gain_low"], metrics["expected_gain"], metrics["gain_high"]
        assert ends == pytest.approx((low, choice.gain.mean, high))
        assert parent.info.status == "FINISHED"
        said = parent.data.tags["mlflow.note.content"]
        assert said.startswith("2 trials, each judged on the same folds; integrated Brier score of")
        assert ("expected gain" in said) == (choice.gain.mean > 0) != ("defaults are kept" in said)
        figures = MlflowClient().list_artifacts(parent.info.run_id, "figures")
        assert {f.path for f in figures} == {"figures/history.png", "figures/parallel.png"}

    def test_note_leads_to_the_final_run(self, searched, cohort):
        (parent,) = runs_of(cohort, "study")
        assert f"/runs/{searched[2].run_id}?workflowType=" in parent.data.tags[tracking.NOTE]

    def test_resumed_session_goes_on_under_it(self, searched, store, cohort, config):
        search(store, cohort, config, 3, None, None, store.root / "resumed")
        (parent,) = runs_of(cohort, "study")
        assert len(runs_of(cohort, "trial")) == 3
        assert "3 trials" in parent.data.tags["mlflow.note.content"]

    def test_workers_that_begin_together_share_one(self, searched, store, cohort, config, tmp_path):
        storage = f"sqlite:///{tmp_path / 'shared.db'}"
        studies = [open_study("shared", storage) for _ in range(2)]
        made = {}

        def second(*args):
            monkeypatch.undo()
            made["second"] = search_runs.open_parent(store, cohort, config, studies[1])
            return propose_defaults(*args)

        with pytest.MonkeyPatch.context() as monkeypatch:
            # The second begins, and ends, between the first's look and its proposal.
            monkeypatch.setattr(search_runs, "propose_defaults", second)
            made["first"] = search_runs.open_parent(store, cohort, config, studies[0])
        assert made["first"] == made["second"]
        found = [r for r in runs_of(cohort, "study") if r.data.tags["optuna_study"] == "shared"]
        assert [r.info.run_id for r in found] == [made["first"]]
        MlflowClient().delete_run(made["first"])

    @pytest.mark.parametrize("gains", [True, False])
    def test_says_what_is_gained(self, searched, store, cohort, config, gains):
        better = made_scores(0.00001 if gains else 0.05, ibs=0.19)
        drawn = {"params": {"forest.use": False}, "distributions": {"forest.use": YES_OR_NO}}
        study = study_of([made_scores(), better], trials=[{}, drawn])
        choice = choose(study, "ibs")
        tuned = Tuned(study, config, choice, 2, stopped=False)
        with tracking.run(store, cohort, "study", "made up") as run_id:
            search_runs.log_search(run_id, tuned, searched[2].run_id)
        made = MlflowClient().get_run(run_id)
        MlflowClient().delete_run(run_id)
        metrics, said = made.data.metrics, made.data.tags["mlflow.note.content"]
        assert sentence(choice, "ibs") in said
        if gains:
            assert metrics["gain_low"] > 0.009
            assert metrics["best_trial"] == 1
            assert metrics["best_forest.use"] == 0
            assert "expected gain on fresh patients over the defaults: 5.0 % of" in said
        else:
            assert metrics["gain_low"] == metrics["expected_gain"] == metrics["gain_high"] == 0
            assert metrics["best_trial"] == 0
            assert "the defaults are kept" in said

    def test_a_trial_without_a_learner_and_a_score_is_logged(self, searched, store, cohort, config):
        (parent,) = runs_of(cohort, "study")
        drawn = {"params": {"forest.use": False}, "distributions": {"forest.use": YES_OR_NO}}
        study = study_of([made_scores(), made_scores(ici=math.nan)], trials=[{}, drawn])
        search_runs.log_trial(store, cohort, config, parent.info.run_id, study.get_trials()[1])
        run = runs_of(cohort, "trial")[-1]
        MlflowClient().delete_run(run.info.run_id)
        assert run.data.metrics == {"ibs": 0.2, "uno_c": 0.6, "net_share": 0.25}
        assert run.data.params["forest.use"] == "False"


class TestModel:
    def test_first_version_is_champion_and_a_later_one_is_not(self, searched, run):
        client, logged = MlflowClient(), searched[2]
        champion = client.get_model_version_by_alias(logged.model_name, "champion")
        assert str(champion.version) == logged.version == "1"
        assert logged.champion
        assert champion.run_id == run.info.run_id
        assert champion.tags["synthetic"] == "true"
        assert "SYNTHETIC" in champion.description

    def test_has_the_metrics_of_its_run_and_cohort(self, searched, run):
        (made,) = run.outputs.model_outputs
        model = MlflowClient().get_logged_model(made.model_id)
        assert {m.key: m.value for m in model.metrics} == run.data.metrics
        assert '"version": 1' in model.tags["mlflow.modelVersions"]
        (given,) = run.inputs.dataset_inputs
        assert {m.dataset_digest for m in model.metrics} == {given.dataset.digest}
        # Logged once: a second point would make every chart a line.
        assert len(MlflowClient().get_metric_history(run.info.run_id, "ibs")) == 1

    def test_answers_its_example(self, searched):
        loaded = mlflow.pyfunc.load_model(f"models:/{searched[2].model_name}@champion")
        given = loaded.input_example
        assert set(given.columns) <= set(loaded.metadata.get_input_schema().input_names())
        (flags,) = loaded.predict(given)["flags"]
        assert "range" not in flags
        assert "unknown" not in flags

    def test_answers_as_its_bundle_without_any_pickle(self, searched, monkeypatch):
        monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
        loaded = mlflow.pyfunc.load_model(f"models:/{searched[2].model_name}@champion")
        columns = loaded.metadata.get_input_schema().input_names()
        frame = draw(12, seed=5).frame
        frame = frame[[c for c in columns if c in frame]]
        bundle = Bundle.load(searched[1])
        found = loaded.predict(frame, params={"times": [12.0, 30.0]})
        pd.testing.assert_frame_equal(found, bundle.predict(frame, [12.0, 30.0]), rtol=1e-6)
        usual = loaded.predict(frame)
        assert [c for c in usual if c.startswith("survival@")] == [
            "survival@12",
            "survival@36",
            "survival@60",
        ]

    def test_answers_a_patient_of_whom_little_is_known(self, searched):
        loaded = mlflow.pyfunc.load_model(f"models:/{searched[2].model_name}@champion")
        found = loaded.predict(pd.DataFrame({"age": [61.0], "stage": ["III"]}))
        assert len(found) == 1
        assert 0 < found["survival@60"][0] < 1

    def test_no_file_of_the_store_is_a_pickle(self, searched, store):
        files = [p for p in store.root.rglob("*") if p.is_file()]
        assert len(files) > 20
        for file in files:
            assert file.suffix not in (".pkl", ".pickle", ".joblib", ".pt", ".pth", ".ckpt"), file
            assert not file.read_bytes()[:4].startswith(PICKLED), file

    @pytest.mark.parametrize("how", ["runs:/{run}", "models:/{name}@champion", "models:/{name}/1"])
    def test_is_found_by_every_name(self, searched, how):
        logged = searched[2]
        found = find_bundle(how.format(run=logged.run_id, name=logged.model_name))
        assert found.digest == digest_of(searched[1])

    @pytest.mark.parametrize("name", ["runs:/0123", "models:/nobody@champion", "no/such/folder"])
    def test_unknown_name_is_refused_in_one_line(self, searched, name):
        with pytest.raises(InputError, match="no such model") as caught:
            find_bundle(name)
        assert "\n" not in str(caught.value)


class TestEnds:
    @pytest.mark.parametrize(
        ("error", "status"), [(RuntimeError, "FAILED"), (KeyboardInterrupt, "KILLED")]
    )
    def test_broken_run_is_marked(self, store, cohort, error, status):
        def fail():
            with tracking.run(store, cohort, "train", "doomed") as run_id:
                seen.append(run_id)
                raise error

        seen = []
        with pytest.raises(error):
            fail()
        assert MlflowClient().get_run(seen[0]).info.status == status

    def test_study_s_run_is_marked_when_the_final_fit_breaks(
        self, searched, store, cohort, config, monkeypatch
    ):
        def fail(*args, **kwargs):
            raise RuntimeError

        monkeypatch.setattr("accomplice.training.tracking.experiment.train", fail)
        with pytest.raises(RuntimeError):
            search(store, cohort, config, 2, None, "doomed", None)
        found = {run.data.tags["optuna_study"]: run for run in runs_of(cohort, "study")}
        assert found["doomed"].info.status == "FAILED"

    def test_nothing_is_written_outside_the_store(self, searched, store):
        beside = {p.name for p in store.root.parent.iterdir()}
        assert beside == {"mlruns"}
        assert {p.name for p in store.root.iterdir()} <= {
            "mlflow.db",
            "optuna.db",
            "artifacts",
            "bundles",
            "resumed",
        }

    def test_no_patient_is_in_the_store(self, searched, store, cohort):
        for file in store.root.rglob("*"):
            if file.is_file() and file.suffix in (".json", ".yaml", ".txt", ".md", ".py", ".csv"):
                words = set(file.read_text().replace('"', " ").replace(",", " ").split())
                assert not words & set(cohort.ids.tolist()), file


class TestStore:
    def test_is_in_the_working_folder_by_absolute_path(self, store):
        assert store.root == Path.cwd() / "mlruns"
        assert store.tracking_uri == f"sqlite:///{Path.cwd() / 'mlruns' / 'mlflow.db'}"
        assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"

    def test_opened_again_is_the_same(self, store):
        # MLflow writes the address into the environment, where it would pass for the user's.
        assert open_store() == store
        assert "MLFLOW_TRACKING_URI" not in os.environ

    def test_opened_elsewhere_is_another(self, store, tmp_path):
        try:
            other = open_store(tmp_path)
            assert other.embedded
            assert other.tracking_uri == f"sqlite:///{tmp_path / 'mlruns' / 'mlflow.db'}"
            assert mlflow.get_tracking_uri() == other.tracking_uri
        finally:
            open_store()

    def test_environment_names_another(self, store, tmp_path, monkeypatch):
        other = f"sqlite:///{tmp_path / 'other.db'}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", other)
        opened = open_store(tmp_path)
        assert (opened.tracking_uri, opened.embedded) == (other, False)
        assert mlflow.get_tracking_uri() == other
        monkeypatch.undo()
        assert open_store() == store
