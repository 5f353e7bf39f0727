"""What may be written over: what was written here before, and nothing of the user's unasked."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from accomplice.data.files import is_ours
from accomplice.data.synthetic import draw
from accomplice.training.bundle import Bundle
from accomplice.training.cli.main import main
from accomplice.training.models.manifest import MANIFEST, check_place
from tests.conftest import TINY_OPTIONS

MINE = "mine, and nobody else's\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tiny_trained) -> Path:
    """A folder with a study file, its table and a bundle."""
    folder = tmp_path_factory.mktemp("outputs")
    tiny_trained.bundle.save(folder / "model")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        draw(120, seed=3).frame.to_csv("cohort.csv", index=False)
        columns = ["--time", "os_months", "--event", "os_event"]
        assert main(["data", "init", "cohort.csv", *columns]) == 0
    return folder


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: Path) -> Path:
    """A working folder with a study file, its table and a bundle."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path


def refused(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    """Run a command that is refused before it writes anything; return its line."""
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    capsys.readouterr()
    assert main([*command]) == 2, command
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert before == {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    return line


def replaced(capsys: pytest.CaptureFixture[str], *command: str) -> list[str]:
    """Run a command; return the names that it says it replaced."""
    capsys.readouterr()
    assert main([*command]) == 0, command
    lines = capsys.readouterr().err.splitlines()
    return [line.split()[2].strip(",") for line in lines if line.startswith("accomplice: replaced")]


class TestStudyFiles:
    INIT = ("data", "init", "cohort.csv", "--time", "os_months", "--event", "os_event")

    def test_one_that_was_edited_stays(self, capsys: pytest.CaptureFixture[str]):
        text = Path("study.yaml").read_text() + "# agreed with the statistician\n"
        Path("study.yaml").write_text(text)
        assert "study.yaml: a study file is there: --force" in refused(capsys, *self.INIT)
        assert replaced(capsys, *self.INIT, "--force") == ["study.yaml"]
        assert "statistician" not in Path("study.yaml").read_text()

    @pytest.mark.parametrize("force", [[], ["--force"]])
    @pytest.mark.parametrize("name", ["cohort.csv", "notes.yaml", "x/../cohort.csv", "link.csv"])
    def test_other_files_stay_whatever_is_asked(
        self, capsys: pytest.CaptureFixture[str], name: str, force: list[str]
    ):
        Path("notes.yaml").write_text("a: 1\n")
        Path("x").mkdir()
        Path("link.csv").symlink_to("cohort.csv")
        said = refused(capsys, *self.INIT, "--out", name, *force)
        assert "is an input" in said if "csv" in name else "not of accomplice's" in said

    def test_a_synthetic_cohort_is_replaced_where_it_is_asked(
        self, capsys: pytest.CaptureFixture[str]
    ):
        synth = ("data", "synth", "--n", "40", "--out", "demo")
        assert replaced(capsys, *synth) == []
        assert "--force" in refused(capsys, *synth)
        assert replaced(capsys, *synth, "--force") == ["demo/cohort.csv", "demo/study.yaml"]

    def test_a_table_of_the_user_s_is_never_the_synthetic_one(
        self, capsys: pytest.CaptureFixture[str]
    ):
        for force in ([], ["--force"]):
            said = refused(capsys, "data", "synth", "--n", "40", "--out", ".", *force)
            assert "not of a synthetic cohort" in said


class TestBundles:
    def train(self, *options: str) -> tuple[str, ...]:
        return ("train", "study.yaml", *TINY_OPTIONS, *options)

    def test_one_that_is_there_is_replaced_where_it_is_asked(
        self, capsys: pytest.CaptureFixture[str], no_figures: None
    ):
        before = Path("model", MANIFEST).read_bytes()
        for verb in ("train", "tune"):
            said = refused(capsys, verb, "study.yaml", "--out", "model")
            assert "model: a bundle is there: --force" in said
        assert main([*self.train("--out", "model", "--force")]) == 0
        assert Path("model", MANIFEST).read_bytes() != before
        Bundle.load(Path("model"))
        assert not [p for p in Path().iterdir() if p.name.startswith(".model")]

    def test_one_stays_where_the_run_fails(self, monkeypatch: pytest.MonkeyPatch):
        before = Path("model", MANIFEST).read_bytes()

        def fail(*_: object, **__: object) -> None:
            raise RuntimeError

        monkeypatch.setattr("accomplice.training.tracking.experiment.train", fail)
        with pytest.raises(RuntimeError):
            main([*self.train("--out", "model", "--force")])
        assert Path("model", MANIFEST).read_bytes() == before

    def test_files_of_others_in_it_stay(self, capsys: pytest.CaptureFixture[str]):
        Path("model", "notes.txt").write_text(MINE)
        said = refused(capsys, *self.train("--out", "model", "--force"))
        assert "not its own ('notes.txt')" in said

    @pytest.mark.parametrize("place", ["model", "model/../model", "."])
    def test_one_that_holds_an_input_stays(self, capsys: pytest.CaptureFixture[str], place: str):
        shutil.copy("cohort.csv", "model")
        text = Path("study.yaml").read_text().replace("cohort.csv", "model/cohort.csv")
        Path("study.yaml").write_text(text)
        said = refused(capsys, *self.train("--out", place, "--force"))
        assert "is or holds an input" in said

    def test_the_model_that_is_evaluated_is_not_its_update(
        self, capsys: pytest.CaptureFixture[str]
    ):
        Path("link").symlink_to("model")
        for model, place in (("model", "model"), ("link", "model"), ("model", "x/../model")):
            Path("x").mkdir(exist_ok=True)
            update = ("--recalibrate", "--force", "--out-model", place)
            said = refused(capsys, "evaluate", model, "study.yaml", *update)
            assert "is or holds an input" in said

    def test_a_place_that_is_free(self, tmp_path: Path):
        (tmp_path / "empty").mkdir()
        assert not check_place(tmp_path / "empty")
        assert not check_place(tmp_path / "none")
        assert check_place(tmp_path / "model", force=True)


class TestAnswers:
    def test_earlier_ones_are_replaced_and_that_is_said(self, capsys: pytest.CaptureFixture[str]):
        command = ("predict", "model", "cohort.csv", "--times", "12")
        both = ("--out", "p.csv", "--explain", "why.parquet")
        pd.read_csv("cohort.csv").head(5).to_csv("few.csv", index=False)
        few = ("predict", "model", "few.csv", "--times", "12")
        assert replaced(capsys, *few, *both) == []
        assert replaced(capsys, *few, *both) == ["p.csv", "why.parquet"]
        Path("link.csv").symlink_to("p.csv")
        assert replaced(capsys, *command, "--out", "link.csv") == ["link.csv"]
        assert Path("link.csv").is_symlink()
        assert len(pd.read_csv("p.csv")) == 120

    @pytest.mark.parametrize("name", ["mine.csv", "mine.parquet", "hard.csv"])
    def test_other_files_stay(self, capsys: pytest.CaptureFixture[str], name: str):
        pd.read_csv("cohort.csv").to_parquet("mine.parquet")
        Path("mine.csv").write_text(MINE)
        os.link("cohort.csv", "hard.csv")
        said = refused(capsys, "predict", "model", "few.csv", "--out", name)
        assert "not of accomplice's" in said

    @pytest.mark.parametrize("name", ["cohort.csv", "./x/../cohort.csv", "link.csv", "hard.csv"])
    @pytest.mark.parametrize("table", ["cohort.csv", "x/../cohort.csv", "link.csv"])
    @pytest.mark.parametrize("option", ["--out", "--explain"])
    def test_the_table_of_patients_stays(
        self, capsys: pytest.CaptureFixture[str], table: str, name: str, option: str
    ):
        Path("x").mkdir()
        Path("link.csv").symlink_to("cohort.csv")
        os.link("cohort.csv", "hard.csv")
        assert "than the table of patients" in refused(
            capsys, "predict", "model", table, option, name
        )

    def test_answers_with_columns_of_the_user_s_stay(self, capsys: pytest.CaptureFixture[str]):
        assert main(["predict", "model", "cohort.csv", "--out", "p.csv"]) == 0
        pd.read_csv("p.csv").assign(comment="call").to_csv("p.csv", index=False)
        assert "not of accomplice's" in refused(
            capsys, "predict", "model", "cohort.csv", "--out", "p.csv"
        )

    def test_earlier_ones_are_an_input_too(self, capsys: pytest.CaptureFixture[str]):
        assert main(["predict", "model", "cohort.csv", "--out", "p.csv"]) == 0
        assert "than the table" in refused(capsys, "predict", "model", "p.csv", "--out", "p.csv")


class TestReports:
    def test_earlier_ones_are_replaced_and_that_is_said(self, capsys: pytest.CaptureFixture[str]):
        report = ("report", "model", "--out", "r.html", "--card", "c.md")
        assert replaced(capsys, *report) == []
        assert replaced(capsys, *report) == ["r.html", "r.json", "c.md"]

    def test_a_card_that_was_completed_stays(self, capsys: pytest.CaptureFixture[str]):
        report = ("report", "model", "--out", "r.html", "--card", "c.md")
        assert main([*report]) == 0
        Path("c.md").write_text(Path("c.md").read_text().replace("Title", "A title", 1))
        assert "c.md: is there, and not of accomplice's" in refused(capsys, *report)

    @pytest.mark.parametrize("name", ["r.html", "r.json", "c.md"])
    def test_other_files_stay(self, capsys: pytest.CaptureFixture[str], name: str):
        Path(name).write_text(MINE)
        said = refused(capsys, "report", "model", "--out", "r.html", "--card", "c.md")
        assert f"{name}: is there" in said

    @pytest.mark.parametrize("card", ["r.html", "r.json", "x/../r.json"])
    def test_two_outputs_are_two_files(self, capsys: pytest.CaptureFixture[str], card: str):
        Path("x").mkdir()
        said = refused(capsys, "report", "model", "--out", "r.html", "--card", card)
        assert "--card" in said

    @pytest.mark.parametrize("kind", [".png", ".svg", ".pdf"])
    def test_a_figure_of_power(self, capsys: pytest.CaptureFixture[str], kind: str):
        command = ("power", "--n", "100", "--sizes", "50", "--draws", "5", "--out", f"p{kind}")
        Path(f"p{kind}").write_text(MINE)
        assert f"p{kind}: is there" in refused(capsys, *command)
        Path(f"p{kind}").unlink()
        assert replaced(capsys, *command) == []
        assert replaced(capsys, *command) == [f"p{kind}", "p.json"]

    def test_numbers_of_a_comparison(self, capsys: pytest.CaptureFixture[str]):
        Path("c.json").write_text("{}")
        compare = ("compare", "model", "model", "--json", "c.json")
        assert "c.json: is there" in refused(capsys, *compare)
        Path("c.json").unlink()
        assert replaced(capsys, *compare) == []
        assert replaced(capsys, *compare) == ["c.json"]

    @pytest.mark.parametrize("verb", ["marker", "evaluate"])
    def test_pages_of_other_verbs(self, capsys: pytest.CaptureFixture[str], verb: str):
        named = {"marker": ["study.yaml", "--marker", "IL1R1"], "evaluate": ["model", "study.yaml"]}
        Path("r.json").write_text(MINE)
        said = refused(capsys, verb, *named[verb], "--out", "r.html")
        assert "r.json: is there" in said


class TestTokens:
    def test_are_not_added_to_another_file(self, capsys: pytest.CaptureFixture[str]):
        assert "is not NAME:SHA256" in refused(capsys, "token", "x", "--tokens", "cohort.csv")
        Path("binary").write_bytes(b"\xff\xfe\x00")
        assert "no token file" in refused(capsys, "token", "x", "--tokens", "binary")
        Path("tokens").write_text("# who may ask\n")
        for name in ("a", "b"):
            assert main(["token", name, "--tokens", "tokens"]) == 0
        assert len(Path("tokens").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("header", "ours"),
    [
        ("patient_id,risk,survival@12,survival_low@12,survival_high@12,flags", True),
        ("patient_id,risk,survival@12.5,incidence.cancer@12,dfs.risk,dfs.survival@6,flags", True),
        ("patient_id,response.ici,flags", True),
        ("patient_id,risk,base,feature.age,modality.clinical", True),
        ("patient_id,risk", False),
        ("patient_id,risk,age,flags", False),
        ("patient_id,os_months,os_event,flags", False),
        ("", False),
    ],
)
def test_predictions_are_known_by_all_of_their_columns(tmp_path: Path, header: str, ours: bool):
    (tmp_path / "p.csv").write_text(f"{header}\n1,2\n")
    assert is_ours(tmp_path / "p.csv") == ours


def test_a_study_that_was_drafted_is_one(project: Path):
    assert yaml.safe_load((project / "study.yaml").read_text())["source"]
