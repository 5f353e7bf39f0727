"""`accomplice power` from its options to its table, sentence, figure and record."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from accomplice.training.cli.main import main
from accomplice.training.power.figures import power_curve
from accomplice.training.power.report import about, conclusion, record
from accomplice.training.power.simulation import Needed, Power, Scenario
from tests.training.power.command import ran, refused

AT = Power(409, 409, 184.0, 500, 180, 1.6, 1.7, 0.0)
LARGE = Power(3200, 3200, 1440.0, 500, 490, 1.55, 1.0, 0.0)
ENOUGH = Needed(1253, 1148, 1373, 564)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


class TestSentence:
    def test_says_the_chance_and_the_size(self):
        chance, warning = conclusion(AT, ENOUGH)
        assert chance == (
            "at n = 409 the chance to see it is 36% (32% to 40%); 80% needs about 1250 patients "
            "(1150 to 1370), about 564 events"
        )
        assert "1.7 times as strong as it is" in warning

    def test_says_where_the_search_ended(self):
        ends = Needed(20_000, 20_000, 20_000, 8340, "more than")
        [chance] = conclusion(replace(AT, exaggeration=math.nan), ends)
        assert chance.endswith("80% needs more than 20000 patients, more than 8340 events")

    def test_of_no_interaction_speaks_of_false_alarms(self):
        [chance] = conclusion(AT, None)
        assert "not there" in chance
        assert "80%" not in chance

    @pytest.mark.parametrize(
        ("number", "rounded"), [(7, 7), (999, 999), (1253, 1250), (18_449, 18_400)]
    )
    def test_knows_three_digits(self, number, rounded):
        assert about(number) == rounded


class TestFigure:
    @pytest.mark.parametrize(
        ("scenario", "points", "enough"),
        [
            (Scenario(), [AT, LARGE], ENOUGH),
            (Scenario(), [AT], None),
            (Scenario(ratio=1.0), [replace(AT, exaggeration=math.nan), LARGE], None),
        ],
    )
    def test_shows_each_size_with_its_interval(self, here, scenario, points, enough):
        figure = power_curve(scenario, AT, points, enough, "study, marker", synthetic=True)
        upper, lower = figure.axes
        drawn = next(line for line in upper.lines if line.get_label() == "simulated, 95%")
        assert list(drawn.get_xdata()) == [p.patients for p in points]
        assert list(drawn.get_ydata()) == [p.power for p in points]
        assert lower.get_xticklabels()[0].get_text() == "409\n184"
        said = " ".join(text.get_text() for text in upper.texts)
        assert "study, marker (synthetic patients)" in said
        labels = [text.get_text() for text in upper.get_legend().get_texts()]
        assert ("80% at about 1250 patients" in labels) == (enough is not None)
        figure.savefig(here / "power.png")

    def test_record_is_json_without_follow_up_of_patients(self):
        point = replace(AT, exaggeration=math.nan)
        raw = record(Scenario(), [point], ENOUGH, seed=3, cohort=None, synthetic=False)
        back = json.loads(json.dumps(raw, allow_nan=False))
        assert back["sizes"][0]["exaggeration"] is None
        assert back["sizes"][0]["power"] == 0.36
        assert "follow_up" not in back["scenario"]


class TestCommandLine:
    def test_runs_without_a_study(self, here, capsys):
        said = ran(capsys, "--sizes", "200,800", "--draws", "60", "--out", "power.png")
        assert "0.48 where the marker is low, 0.76 where high (ratio 1.58)" in said
        assert "45% with the event, 60% treated" in said
        assert "at n = 409 the chance to see it is" in said
        assert "wrote power.png and power.json" in said
        with Image.open("power.png") as image:
            assert image.format == "PNG"
            assert image.width > 600
        found = json.loads(Path("power.json").read_text())
        assert [row["patients"] for row in found["sizes"]] == [200, 409, 800]
        assert found["needed"]["power"] == 0.8
        assert {p.name for p in here.iterdir()} == {"power.png", "power.json"}

    def test_says_the_same_again_and_writes_nothing_unasked(self, here, capsys):
        argv = ("--sizes", "300", "--draws", "40", "--scale", "sd", "--interaction", "1.5")
        said = ran(capsys, *argv)
        assert said == ran(capsys, *argv)
        assert said != ran(capsys, *argv, "--seed", "1")
        assert not list(here.iterdir())

    def test_reads_the_patients_of_a_study(self, here, capsys):
        assert main(["data", "synth", "--out", "demo", "--n", "500", "--seed", "2"]) == 0
        capsys.readouterr()
        argv = ("demo/study.yaml", "--marker", "IL1R1", "--draws", "40", "--sizes", "1600")
        said = ran(capsys, *argv, "--out", "power.svg")
        assert "synthetic-gastric: 500 patients" in said
        assert "SYNTHETIC patients" in said
        assert "have marker and treatment recorded and are analysed" in said
        assert "analysed ┃" in said
        found = json.loads(Path("power.json").read_text())
        assert found["cohort"] == "synthetic-gastric, IL1R1"
        assert found["synthetic_cohort"] is True
        assert 0.4 < found["scenario"]["known"] < 0.8
        assert "<svg" in Path("power.svg").read_text()
        measured = ran(capsys, *argv, "--marker-known", "1")
        assert "analysed ┃" not in measured

    def test_without_an_interaction_promises_nothing(self, here, capsys):
        said = ran(capsys, "--interaction", "1", "--draws", "40", "--sizes", "300")
        assert "no number of patients shows what is not there" in said

    @pytest.mark.parametrize(
        ("argv", "part"),
        [
            (["--events", "1.5"], "--events: a share from 0.01 to 0.99, got '1.5'"),
            (["--treated", "0"], "--treated: a share from 0.01 to 0.99, got '0'"),
            (["--hr-low", "-1"], "--hr-low: a ratio from 0.01 to 100, got '-1'"),
            (["--interaction", "much"], "--interaction: a ratio from 0.01 to 100, got 'much'"),
            (["--alpha", "1"], "--alpha: a level from 1e-06 to 0.5, got '1'"),
            (["--sizes", "200,x"], "--sizes: whole numbers above 0, such as 200,400,800"),
            (["--seed", "-1"], "--seed: a whole number from 0"),
            (["--n", "20"], "--n: 20 patients have fewer than 20 events"),
            (["--interaction", "2", "--hr-high", "0.9"], "give one of them"),
            (["--marker", "IL1R1"], "--marker is of a study: name the study file"),
            (["--endpoint", "os"], "--endpoint is of a study"),
            (["study.yaml"], "--marker: name the study's feature"),
            (["nowhere.yaml", "--marker", "x"], "no such study file"),
            (["--out", "power.txt"], "name a file that ends in .png or .svg or .pdf"),
            (["--out", "nowhere/power.png"], "no such folder"),
        ],
    )
    def test_wrong_options_are_named(self, here, capsys, argv, part):
        assert part in refused(capsys, *argv)
        assert not list(here.iterdir())

    def test_an_interrupt_leaves_nothing_half_written(self, here, capsys, monkeypatch):
        def interrupted(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr("accomplice.training.power.simulation.fit_many", interrupted)
        assert main(["power", "--out", "power.png"]) == 130
        assert "stopped" in capsys.readouterr().err
        assert not list(here.iterdir())
