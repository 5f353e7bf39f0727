"""From the command line to the page, the JSON beside it and the run."""

from __future__ import annotations

import json
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from accomplice.training.cli.main import main
from tests.conftest import TINY_OPTIONS
from tests.training.reports.test_page import assert_self_contained

QUICK = [*TINY_OPTIONS, "--set", "folds.folds=2"]
VALUES = ("IL1R1", "FAP", "os_months")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A working folder with a synthetic study whose names are as nasty as names get."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
            patch.delenv(name, raising=False)
        patch.chdir(tmp_path_factory.mktemp("work"))
        assert main(["data", "synth", "--out", ".", "--n", "240", "--seed", "3"]) == 0
        frame = pd.read_csv("cohort.csv")
        frame["centre"] = frame["centre"].str.replace("centre A", "<b>St. $A & B</b>")
        # Long values, so that none is found in a page by chance.
        rng = np.random.default_rng(0)
        for name in VALUES:
            frame[name] += rng.uniform(0, 1e-3, len(frame)).round(12)
        frame.to_csv("cohort.csv", index=False)
        yield Path.cwd()


@pytest.fixture(scope="module")
def written(folder):
    command = ["marker", "study.yaml", "--marker", "IL1R1", "--adjust", "<i>x</i>=CD68,CD163"]
    assert main([*command, *QUICK, "--seed", "2"]) == 0
    return folder / "marker-IL1R1.html"


@pytest.fixture(scope="module")
def found(written):
    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    text = written.with_suffix(".json").read_text(encoding="utf-8")
    return json.loads(text, parse_constant=refuse)


@pytest.fixture(scope="module")
def logged(written, found):
    return MlflowClient().get_run(found["provenance"]["run"])


class TestPage:
    def test_opens_without_a_network_and_is_escaped(self, written):
        html = written.read_text(encoding="utf-8")
        assert_self_contained(html)
        assert "&lt;b&gt;St. $A &amp; B&lt;/b&gt;" in html
        assert "<b>St." not in html
        assert "<i>" not in html

    def test_says_that_the_patients_are_synthetic_before_all_else(self, written):
        html = written.read_text(encoding="utf-8")
        assert html.index("SYNTHETIC patients") < html.index("<h1>")
        assert "research use only" in html.lower()

    def test_answers_every_question_with_a_figure_or_says_why_not(self, written, found):
        html = written.read_text(encoding="utf-8")
        assert html.count("<figure>") >= 8
        assert len(found["answers"]) == 9
        for answer in found["answers"]:
            assert answer["question"].endswith("?")
            assert answer["tone"] in ("yes", "no", "caution", "alarm", "absent")

    def test_no_file_is_left_half_written(self, folder, written):
        assert not list(folder.glob(".*.part"))


class TestJson:
    def test_holds_the_figures_of_the_page(self, found):
        assert found["marker"] == "IL1R1"
        assert found["synthetic"] is True
        ratio = found["association"]["per_sd"]
        assert ratio["low"] < ratio["value"] < ratio["high"]
        assert [a["for"] for a in found["adjusted"]][-2:] == ["<i>x</i>", "all together"]
        shares = found["cut_points"]["share_below"]
        assert shares == sorted(shares)
        assert len(found["cut_points"]["ratios"]) == len(shares)
        assert set(found["treatment"]) >= {"alarm", "adjusted", "early", "outside"}
        assert set(found["modification"]["design"]) >= {"power", "type_m", "type_s"}

    def test_tells_no_patient(self, folder, written):
        frame = pd.read_csv(folder / "cohort.csv", dtype=str)
        text = written.with_suffix(".json").read_text() + written.read_text()
        for name in ("patient_id", *VALUES):
            values = [v[:10] for v in frame[name].dropna() if len(v) >= 7]
            assert len(values) > 50
            assert not [v for v in values if v in text], name


class TestRun:
    def test_carries_page_and_json(self, logged, written):
        names = {a.path for a in MlflowClient().list_artifacts(logged.info.run_id)}
        assert names == {"marker-IL1R1.html", "marker-IL1R1.json"}
        local = mlflow.artifacts.download_artifacts(
            run_id=logged.info.run_id, artifact_path="marker-IL1R1.html"
        )
        assert Path(local).read_text(encoding="utf-8") == written.read_text(encoding="utf-8")

    def test_has_headline_metrics_and_a_note(self, logged, found):
        metrics = logged.data.metrics
        for name, part in (("hr_per_sd", "value"), ("hr_per_sd_low", "low")):
            assert metrics[name] == pytest.approx(found["association"]["per_sd"][part])
        assert metrics["p_max_selected"] == pytest.approx(found["cut_points"]["p_corrected"])
        assert {"hr_adjusted", "interaction_hr", "uno_c_gain", "treatment_alarm"} <= set(metrics)
        assert logged.data.tags["stage"] == "marker"
        assert logged.data.tags["synthetic"] == "true"
        assert logged.data.params["marker"] == "IL1R1"
        assert "SYNTHETIC" in logged.data.tags["mlflow.note.content"]
        assert logged.info.status == "FINISHED"

    def test_names_the_cohort(self, logged):
        assert logged.inputs.dataset_inputs[0].dataset.name == "synthetic-gastric"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--marker", "IL1R2"], "no feature 'IL1R2' to report on; the most alike: 'IL1R1'"),
        (["--marker", "IL1R1", "--out", "report.txt"], "ends in .html"),
        (["--marker", "IL1R1", "--out", "nowhere/report.html"], "no such folder"),
        (["--marker", "IL1R1", "--stroma", "FAPX"], "did you mean 'FAP'"),
        (["--marker", "IL1R1", "--endpoint", "dfs"], "no survival endpoint 'dfs'"),
    ],
)
def test_a_wrong_input_is_one_line_and_writes_nothing(folder, capsys, options, says):
    before = set(folder.glob("*"))
    capsys.readouterr()
    assert main(["marker", "study.yaml", *options]) == 2
    said = capsys.readouterr().err.strip()
    assert says in said
    assert "\n" not in said
    assert set(folder.glob("*")) == before


@pytest.mark.parametrize(
    "options",
    [["--plausible", "1"], ["--adjust", "CD68"]],
)
def test_an_option_out_of_range_is_refused(folder, capsys, options):
    with pytest.raises(SystemExit) as stopped:
        main(["marker", "study.yaml", "--marker", "IL1R1", *options])
    assert stopped.value.code == 2
    assert options[0] in capsys.readouterr().err
