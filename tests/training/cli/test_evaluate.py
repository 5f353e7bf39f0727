"""The command ``evaluate``: a model on another cohort, its report, its run, and its update."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml

from accomplice.data.cohort import build_cohort
from accomplice.data.loading import load_cohort
from accomplice.data.study import parse_study
from accomplice.data.synthetic import draw
from accomplice.training.bundle import Bundle
from accomplice.training.cli.main import main
from accomplice.training.config import configure
from accomplice.training.estimators.hazard import survival
from accomplice.training.estimators.intervals import Estimate
from accomplice.training.models.manifest import digest_of
from accomplice.training.models.predictions import EXTERNAL, MODEL
from accomplice.training.run import train
from accomplice.training.validation.external import choose_endpoint, predict_cohort
from accomplice.training.validation.validation import difference, trained_figures
from tests.conftest import TINY


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A model of synthetic patients, and another cohort with names and spellings of its own."""
    root = tmp_path_factory.mktemp("evaluate")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        assert main(["data", "synth", "--out", "home", "--n", "300", "--seed", "3"]) == 0
        config = configure([*TINY, "folds.folds=2", "net.max_epochs=3", "net.steps_per_epoch=10"])
        train(load_cohort(root / "home" / "study.yaml"), config).bundle.save(root / "model")
        assert main(["data", "synth", "--out", "away", "--n", "300", "--variant", "shifted"]) == 0
        study = yaml.safe_load((root / "away" / "study.yaml").read_text())
        frame = pd.read_csv(root / "away" / "cohort.csv").rename(columns={"IL1R1": "il1r1_rna"})
        clinical, il1r1 = study["modalities"]["clinical"], study["modalities"]["il1r1"]
        frame["sex"] = frame["sex"].map({"Female": "F", "Male": "M"})
        clinical["sex"]["levels"] = ["M", "F"]
        frame["pathologic_stage"] = frame.pop("stage")
        clinical["pathologic_stage"] = clinical.pop("stage")
        il1r1["il1r1_rna"] = il1r1.pop("IL1R1")
        del study["modalities"]["stroma"], study["baselines"]
        study["treatment"]["eligible"] = {"pathologic_stage": ["II", "III"]}
        study["interactions"] = []
        study["endpoints"]["binary"]["ici_response"].pop("features")
        study["name"] = "away"
        frame.to_csv(root / "away" / "cohort.csv", index=False)
        (root / "away" / "study.yaml").write_text(yaml.safe_dump(study))
    return root


@pytest.fixture(scope="module")
def evaluated(made, tmp_path_factory):
    """What ``evaluate --recalibrate`` left."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made)
        argv = ["evaluate", "model", "away/study.yaml", "--recalibrate", "--out-model", "updated"]
        assert main([*argv, "--out", "page.html", "--bootstraps", "60"]) == 0
    return made


@pytest.fixture(scope="module")
def numbers(evaluated):
    return json.loads((evaluated / "page.json").read_text())


def refused(capsys, *argv: str) -> str:
    capsys.readouterr()
    before = set(Path.cwd().rglob("*"))
    try:
        code = main(["evaluate", *argv])
    except SystemExit as exit_:
        code = exit_.code
    said = capsys.readouterr()
    assert code == 2, said.err
    assert set(Path.cwd().rglob("*")) == before, "something was written"
    (line,) = said.err.strip().splitlines()
    return line


class TestReport:
    def test_names_and_spellings_are_found(self, numbers):
        found = {m["feature"]: m for m in numbers["matching"]["features"]}
        assert found["stage"]["source"] == "pathologic_stage"
        assert found["IL1R1"]["source"] == "il1r1_rna"
        assert found["sex"]["levels"] == {"M": "Male", "F": "Female"}
        assert found["FAP"]["source"] is None
        assert numbers["matching"]["modalities"]["stroma"]["found"] == 0
        assert "IL1R1" in numbers["matching"]["expression_ranked_in_cohort"]

    def test_the_shift_is_seen_and_mended(self, numbers):
        assert numbers["models"]["model"]["uno_c"]["low"] > 0.5
        before, after = numbers["calibration_at"][1], numbers["recalibration"]["calibration_at"][1]
        assert before["observed_expected"]["low"] > 1
        assert numbers["verdicts"]["calibration"]["tone"] == "alarm"
        for figure in (after["slope"], after["observed_expected"]):
            assert figure["low"] < 1 < figure["high"]
        gain = numbers["recalibration"]["held_out"]["gains"]["before the update"]["ibs"]
        assert gain["low"] > 0

    def test_the_page_says_so_and_holds_no_patient(self, evaluated):
        page = (evaluated / "page.html").read_text()
        assert "risks are predicted too low" in page
        assert "Modalities missing here: stroma" in page
        assert "SYNTHETIC" in page
        assert not re.findall(r"(?:src|href)=.http", page)
        assert "SYN-F" not in page + (evaluated / "page.json").read_text()

    def test_the_run_is_beside_the_model_s_own(self, evaluated, monkeypatch):
        monkeypatch.chdir(evaluated)
        mlflow.set_tracking_uri(f"sqlite:///{evaluated / 'mlruns' / 'mlflow.db'}")
        (run,) = mlflow.search_runs(
            experiment_names=["synthetic-gastric"],
            filter_string="tags.stage = 'evaluate'",
            output_format="list",
        )
        assert run.data.tags["model_digest"] == digest_of(evaluated / "model")
        assert run.data.metrics["observed_expected_low"] > 1
        assert "recalibrated_slope_high" in run.data.metrics
        (data,) = run.inputs.dataset_inputs
        assert data.dataset.name == "away"
        assert data.tags[0].value == "external"


class TestUpdate:
    def test_the_bundle_loads_and_says_what_it_was_updated_by(self, evaluated):
        bundle = Bundle.load(evaluated / "updated")
        (update,) = bundle.provenance["updates"]
        cohort = load_cohort(evaluated / "away" / "study.yaml")
        assert update["cohort_fingerprint"] == cohort.fingerprint()
        assert update["model"] == digest_of(evaluated / "model")
        assert update["patients"] == 300
        old = Bundle.load(evaluated / "model")
        assert bundle.provenance["fit_id"] != old.provenance["fit_id"]
        assert bundle.metrics["protocol"].startswith("updated")

    def test_it_predicts_higher_risks_in_the_same_order(self, evaluated):
        frame = draw(60, variant="shifted", seed=9).frame
        old, new = (Bundle.load(evaluated / m).predict(frame, [24]) for m in ("model", "updated"))
        assert new["survival@24"].mean() < old["survival@24"].mean() - 0.05

    def test_it_is_not_judged_on_the_cohort_that_updated_it(self, evaluated, monkeypatch, capsys):
        monkeypatch.chdir(evaluated)
        assert "updated by this very cohort" in refused(capsys, "updated", "away/study.yaml")


class TestPrediction:
    def test_it_is_what_predict_says(self, made, monkeypatch):
        monkeypatch.chdir(made)
        bundle = Bundle.load(made / "model")
        frame = draw(120, seed=77).frame
        cohort = build_cohort(bundle.study, frame)
        # Fewer than 50 patients of each centre: nothing is put on a scale of its own.
        few = cohort.take(np.arange(40))
        external = predict_cohort(bundle, "os", few)
        predicted = external.predicted
        assert predicted.protocol == EXTERNAL
        assert external.ranked == ()
        told = bundle.predict(frame[:40], [12, 36])
        curves = survival(predicted.grid.at(predicted.served, np.array([12.0, 36.0])))
        np.testing.assert_allclose(curves, told[["survival@12", "survival@36"]], rtol=1e-9)
        blind = few.prognostic().values
        np.testing.assert_allclose(predicted.again(blind), predicted.curves[MODEL], rtol=1e-9)

    def test_another_assay_changes_nothing_in_a_whole_cohort(self, made):
        bundle = Bundle.load(made / "model")
        frame = draw(200, variant="shifted", seed=5).frame
        other = frame.assign(IL1R1=3 * frame["IL1R1"] + 100, CD8A=frame["CD8A"] / 7)
        curves = [
            predict_cohort(bundle, "os", build_cohort(bundle.study, f)).predicted.curves[MODEL]
            for f in (frame, other)
        ]
        np.testing.assert_allclose(*curves, rtol=1e-6)

    def test_the_endpoint_is_the_model_s_own_where_the_study_has_it(self, made, several_raw):
        bundle = Bundle.load(made / "model")
        study = parse_study(several_raw, "several")
        assert choose_endpoint(bundle, study, None) == ("os", "os")
        assert choose_endpoint(bundle, study, "dfs") == ("os", "dfs")
        both = replace(bundle, survival={**bundle.survival, "dfs": bundle.primary})
        assert choose_endpoint(both, study, "dfs") == ("dfs", "dfs")


class TestRefusals:
    @pytest.fixture(autouse=True)
    def here(self, made, monkeypatch):
        monkeypatch.chdir(made)

    def test_its_own_cohort(self, capsys):
        assert "trained on this very cohort" in refused(capsys, "model", "home/study.yaml")

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            (["--map", "age"], "A=B, such as"),
            (["--map", "agee=age"], "no feature 'agee'; did you mean 'age'?"),
            (["--map", "age=sex"], "'sex' is of kind 'category', 'age' of kind 'number'"),
            (["--map", "age=age", "--map", "age=sex"], "'age' is named twice"),
            (["--endpoint", "oss"], "no survival endpoint 'oss'; did you mean 'os'?"),
            (["--out", "page.txt"], "ends in .html"),
            (["--out-model", "x"], "add --recalibrate"),
            (["--recalibrate", "--out-model", "home"], "is not a bundle"),
            (["--recalibrat"], "did you mean '--recalibrate'?"),
        ],
    )
    def test_options(self, capsys, options, said):
        assert said in refused(capsys, "model", "away/study.yaml", *options)

    def test_a_cohort_with_nothing_in_common(self, capsys, tmp_path):
        rng = np.random.default_rng(0)
        table = {"t": rng.uniform(5, 40, 60), "d": 1, "height": rng.normal(170, 9, 60)}
        pd.DataFrame(table).to_csv(tmp_path / "c.csv", index=False)
        study = {
            "name": "other",
            "source": {"files": ["c.csv"]},
            "endpoints": {"survival": {"os": {"time": "t", "event": "d"}}},
            "modalities": {"clinical": {"height": {"kind": "number"}}},
        }
        (tmp_path / "s.yaml").write_text(yaml.safe_dump(study))
        assert "none of the model's features" in refused(capsys, "model", str(tmp_path / "s.yaml"))

    def test_too_few_events(self, capsys, tmp_path):
        frame = pd.read_csv("away/cohort.csv")
        few = pd.concat([frame[frame["os_event"] == 1][:6], frame[frame["os_event"] == 0][:60]])
        few.to_csv(tmp_path / "cohort.csv", index=False)
        (tmp_path / "s.yaml").write_text(Path("away/study.yaml").read_text())
        said = refused(capsys, "model", str(tmp_path / "s.yaml"))
        assert "6 events of 'os'" in said
        few = pd.concat([frame[frame["os_event"] == 1][:15], frame[frame["os_event"] == 0][:60]])
        few.to_csv(tmp_path / "cohort.csv", index=False)
        said = refused(capsys, "model", str(tmp_path / "s.yaml"), "--recalibrate")
        assert "15 events before the horizon are too few to update" in said


def test_help_teaches(capsys):
    with pytest.raises(SystemExit):
        main(["evaluate", "--help"])
    said = capsys.readouterr().out
    assert "accomplice evaluate model other/study.yaml --recalibrate" in said
    assert "--map A=B" in said


def test_a_difference_of_independent_figures_adds_their_uncertainty():
    found = difference(Estimate(0.7, 0.66, 0.73), Estimate(0.6, 0.56, 0.63))
    assert found.value == pytest.approx(0.1)
    assert found.low == pytest.approx(0.1 - 0.05)
    assert found.high == pytest.approx(0.1 + 0.05)


def test_what_the_training_run_said_is_read_from_the_bundle(made):
    bundle = Bundle.load(made / "model")
    told = trained_figures(bundle, "os")
    assert told.figures["uno_c"].value == bundle.metrics["models"]["model"]["uno_c"]["value"]
    assert told.slope == bundle.metrics["calibration"]["slope"]
    assert np.isnan(trained_figures(replace(bundle, metrics={}), "os").figures["uno_c"].value)
