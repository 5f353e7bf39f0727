"""The command line: help, exit codes, and one clear line for each wrong input."""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml

from accomplice.serving.api.tokens import read_tokens
from accomplice.training.bundle import Bundle
from accomplice.training.cli.main import main
from accomplice.training.cli.preparation import ctrl_c_heeded
from accomplice.training.learners.network.model import PackedNet
from accomplice.training.models.manifest import MANIFEST
from accomplice.training.search.space import part_of_trial
from tests.conftest import TINY_OPTIONS

CANARY = 61.987654321

pytestmark = pytest.mark.usefixtures("no_figures")


@pytest.fixture(scope="module")
def patients():
    """A sane table of made-up patients."""
    rng = np.random.default_rng(5)
    n = 80
    frame = pd.DataFrame(
        {
            "pid": [f"p{i}" for i in range(n)],
            "months": rng.exponential(30, n).round(2) + 0.5,
            "died": rng.integers(0, 2, n),
            "age": rng.normal(60, 9, n).round(1),
            "grade": rng.choice(["low", "mid", "high"], n),
        }
    )
    frame.loc[0, "age"] = CANARY
    return frame


@pytest.fixture
def table(tmp_path, monkeypatch, patients):
    """The patients as a file, in a working folder of its own."""
    monkeypatch.chdir(tmp_path)
    patients.to_csv("cohort.csv", index=False)
    return patients.copy()


@pytest.fixture(scope="module")
def drafted(tmp_path_factory, patients):
    """The study file that `data init` writes for the patients."""
    folder = tmp_path_factory.mktemp("drafted")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patients.to_csv("cohort.csv", index=False)
        assert main(["data", "init", "cohort.csv", "--time", "months", "--event", "died"]) == 0
    return folder / "study.yaml"


@pytest.fixture
def study(table, drafted):
    return yaml.safe_load(Path(shutil.copy(drafted, "study.yaml")).read_text())


@pytest.fixture(scope="module")
def bundle_folder(tmp_path_factory, tiny_trained):
    """A saved bundle of synthetic patients."""
    folder = tmp_path_factory.mktemp("bundle") / "model"
    tiny_trained.bundle.save(folder)
    return folder


def refused(capsys, *argv: str) -> str:
    """Run a command that must be refused; return its one line."""
    before = set(Path.cwd().rglob("*"))
    capsys.readouterr()
    try:
        code = main(list(argv))
    except SystemExit as exit_:
        code = exit_.code
    said = capsys.readouterr()
    assert code == 2, said.err
    lines = said.err.strip().splitlines()
    assert len(lines) == 1, said.err
    assert "Traceback" not in said.err
    assert str(CANARY) not in said.err + said.out
    assert set(Path.cwd().rglob("*")) == before, "something was written"
    return lines[0]


def test_help_imports_nothing_heavy():
    script = (
        "import sys; from accomplice.training.cli.main import command; "
        "context = command().make_context('accomplice', [], resilient_parsing=True); "
        "context.get_help(); "
        "print([m for m in ('torch', 'pandas', 'numpy', 'mlflow', 'rich') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "verb",
    [
        [],
        ["data", "init"],
        ["train"],
        ["tune"],
        ["predict"],
        ["evaluate"],
        ["marker"],
        ["power"],
        ["compare"],
        ["promote"],
        ["package"],
        ["serve"],
    ],
)
def test_every_verb_has_help(verb, capsys):
    with pytest.raises(SystemExit) as exit_:
        main([*verb, "--help"])
    assert exit_.value.code == 0
    assert "accomplice" in capsys.readouterr().out


def test_wrong_words_name_the_nearest(capsys, table):
    assert "did you mean 'train'?" in refused(capsys, "trian", "x")
    assert "did you mean '--out'?" in refused(capsys, "train", "study.yaml", "--outt", "x")
    assert "--times" in refused(capsys, "predict", "m", "t.csv", "--times", "soon")
    assert "whole number above 0" in refused(capsys, "tune", "s.yaml", "--trials", "0")
    assert "seconds above 0" in refused(capsys, "train", "s.yaml", "--max-seconds", "-3")
    assert "seconds above 0" in refused(capsys, "tune", "s.yaml", "--max-seconds", "inf")


def test_missing_files(capsys, table):
    assert "no such study file" in refused(capsys, "train", "nowhere.yaml")
    init = ("data", "init", "nowhere.csv", "--time", "months", "--event", "died")
    assert "no such file" in refused(capsys, *init)
    assert "no such model" in refused(capsys, "predict", "nowhere", "cohort.csv")
    assert "no such model" in refused(capsys, "predict", "models:/none@champion", "cohort.csv")
    assert "no such model" in refused(capsys, "package", "runs:/0123456789abcdef")
    followed = ("serve", "models:/none@champion", "--reload-champion")
    assert "no such model" in refused(capsys, *followed)
    fixed = ("serve", "nowhere", "--reload-champion")
    assert "give models:/NAME@champion" in refused(capsys, *fixed)


def test_not_a_table(capsys, study):
    Path("cohort.csv").write_bytes(b"\x89PNG\0\0\0")
    assert "not a table" in refused(capsys, "train", "study.yaml")


def test_missing_column_names_the_nearest(capsys, study, table):
    table.rename(columns={"age": "Age_y", "months": "month"}).to_csv("cohort.csv", index=False)
    assert "did you mean" in refused(capsys, "train", "study.yaml")
    init = ("data", "init", "cohort.csv", "--time", "months", "--event", "died", "--out", "s.yaml")
    assert "no column 'months'; did you mean 'month'?" in refused(capsys, *init)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda f: pd.concat([f, f.head(3)]), "3 rows repeat a patient"),
        (lambda f: f.assign(died=0), "no event among 80"),
        (lambda f: f.assign(months=-f["months"]), "80 of 80 times are negative"),
        (
            lambda f: f.assign(
                months=f["months"].mask(f.index < 4, 0), died=f["died"].mask(f.index < 4, 0)
            ),
            "4 of 80 patients",
        ),
        (
            lambda f: f.assign(months=f["months"].astype(str) + "m"),
            "80 of 80 times are not numbers",
        ),
        (lambda f: f.assign(died=f["died"] + 1), "neither 0/1"),
        (lambda f: f.assign(grade=f["grade"].replace("low", "lowish")), "not among its levels"),
        (lambda f: f.assign(age=np.nan), "no patient has a value"),
        (lambda f: f.assign(age="old"), "80 values are not numbers"),
    ],
)
def test_a_bad_table_is_refused(capsys, study, table, change, expected):
    change(table).to_csv("cohort.csv", index=False)
    assert expected in refused(capsys, "train", "study.yaml")
    assert expected in refused(capsys, "tune", "study.yaml", "--trials", "2")


def test_zero_times_may_be_dropped_and_it_is_said(capsys, study, table):
    zero = {name: table[name].mask(table.index < 4, 0) for name in ("months", "died")}
    table.assign(**zero).to_csv("cohort.csv", index=False)
    line = refused(capsys, "train", "study.yaml")
    assert "drop_without_follow_up: true" in line
    endpoint = next(iter(study["endpoints"]["survival"].values()))
    endpoint["drop_without_follow_up"] = True
    Path("study.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
    assert main(["train", "study.yaml", *TINY_OPTIONS, "--out", "model"]) == 0
    assert "76 patients" in capsys.readouterr().out


def test_wrong_settings(capsys, study):
    assert "did you mean 'net.members'?" in refused(
        capsys, "train", "study.yaml", "--set", "net.member=3"
    )
    assert "net.dropout" in refused(capsys, "train", "study.yaml", "--set", "net.dropout=1.5")
    assert "key=value" in refused(capsys, "train", "study.yaml", "--set", "net.dropout")
    assert "did you mean" in refused(capsys, "train", "study.yaml", "--endpoint", "survivl")


def test_a_wrong_objective_names_the_choices(capsys, study):
    said = refused(capsys, "tune", "study.yaml", "--objective", "nonsense")
    assert "'ibs', 'uno_c', 'calibration' or 'several', got 'nonsense'" in said
    assert said == refused(capsys, "tune", "study.yaml", "--set", "search.objective=nonsense")


def test_a_search_by_another_objective_says_what_is_gained(capsys, study):
    command = ["tune", "study.yaml", "--objective", "uno_c", "--out", "model", *TINY_OPTIONS]
    assert main([*command, "--trials", "9", "--set", "search.patience=1"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"\d trials, ended early: no better settings in the last 1; Uno's C of", said)
    gained = re.search("expected gain on fresh patients over the defaults: .* Uno's C", said)
    assert (gained is None) == ("the defaults are kept: " in said)
    (run,) = mlflow.search_runs(
        search_all_experiments=True,
        filter_string="tags.stage = 'study'",
        output_format="list",
    )
    assert run.data.params["search.objective"] == "uno_c"
    assert {"expected_gain", "gain_low", "gain_high", "best_trial"} <= run.data.metrics.keys()


def test_a_wrong_storage_leaves_nothing(capsys, study):
    said = refused(capsys, "tune", "study.yaml", "--storage", "nonsense")
    assert "--storage (in Python storage): cannot be opened" in said


def test_max_seconds_says_what_was_cut_short(capsys, study):
    assert main(["train", "study.yaml", "--max-seconds", "0.001", "--out", "model"]) == 0
    said = capsys.readouterr().out
    assert "time ran out, which cut short: forest" in said
    (run,) = mlflow.search_runs(search_all_experiments=True, output_format="list")
    assert run.data.tags["cut_short"] in said
    assert "; ".join(Bundle.load(Path("model")).provenance["cut_short"]) in said
    command = ["tune", "study.yaml", "--max-seconds", "0.001", "--out", "model", "--force"]
    assert main([*command, *TINY_OPTIONS]) == 0
    said = capsys.readouterr().out
    assert "1 trials; integrated Brier score of the defaults" in said
    assert "search 1 of 30 trials" in said


def test_ctrl_c_that_a_library_swallows_is_heeded():
    def importing():
        with contextlib.suppress(BaseException):
            signal.raise_signal(signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), ctrl_c_heeded():
        importing()
    assert signal.getsignal(signal.SIGINT) is handler


def test_nothing_is_written_over(capsys, study):
    Path("notes").mkdir()
    Path("notes/keep.txt").write_text("mine")
    assert "is not a bundle" in refused(capsys, "train", "study.yaml", "--out", "notes")
    assert Path("notes/keep.txt").read_text() == "mine"


def test_a_changed_bundle_is_refused(capsys, table, bundle_folder):
    shutil.copytree(bundle_folder, "model")
    for name in (MANIFEST, "model.json", "weights.safetensors"):
        raw = bytearray(Path("model", name).read_bytes())
        raw[len(raw) // 2] ^= 1
        Path("model", name).write_bytes(raw)
        assert "was changed" in refused(capsys, "predict", "model", "cohort.csv")
        shutil.copy(bundle_folder / name, Path("model", name))


def test_predict_refuses_what_it_cannot_answer(capsys, table, bundle_folder):
    where = str(bundle_folder)
    assert "none" not in refused(capsys, "predict", where, "nowhere.csv")
    assert "beyond the model's horizon" in refused(
        capsys, "predict", where, "cohort.csv", "--times", "12,6000", "--out", "p.csv"
    )
    table[["pid", "months"]].to_csv("other.csv", index=False)
    assert "no column is one of the model's features" in refused(
        capsys, "predict", where, "other.csv", "--out", "p.csv"
    )
    assert "no such folder" in refused(
        capsys, "predict", where, "cohort.csv", "--out", "nowhere/p.csv"
    )


def test_predict_says_why_in_a_table_of_its_own(capsys, table, bundle_folder):
    model, where = Bundle.load(bundle_folder), str(bundle_folder)
    table.head(3).to_csv("few.csv", index=False)
    written = ["few.csv", "--out", "p.csv", "--explain", "why.csv"]
    assert main(["predict", where, *written]) == 0
    found = pd.read_csv("why.csv")
    expected = model.explain(pd.read_csv("few.csv"))
    pd.testing.assert_frame_equal(
        found.drop(columns="patient_id"), expected.drop(columns="patient_id")
    )
    np.testing.assert_allclose(found["risk"], pd.read_csv("p.csv")["risk"], atol=1e-6)
    for place, said in (("p.csv", "another file"), ("nowhere/w.csv", "no such folder")):
        command = ["predict", where, "few.csv", "--out", "p.csv", "--explain", place]
        assert said in refused(capsys, *command)
    command = ["predict", where, "few.csv", "--out", "nowhere/p.csv", "--explain", "w.csv"]
    assert "no such folder" in refused(capsys, *command)


@pytest.mark.parametrize(
    ("step", "done", "sent"),
    [(5, 0, signal.SIGINT), (20, 3, signal.SIGINT), (20, 3, signal.SIGTERM)],
)
def test_an_interrupt_closes_the_runs_and_loses_nothing(
    capsys, study, monkeypatch, step, done, sent
):
    # A network takes ten steps; the first trials after the defaults change other parts.
    steps = ("--set", "net.max_epochs=1", "--set", "net.steps_per_epoch=10")
    small = [*TINY_OPTIONS, *steps, "--out", "model"]
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    calls = 0
    logits = PackedNet.logits

    def interrupted(self, *given):
        nonlocal calls
        calls += 1
        if self.training and calls > step:  # in the middle of a trial
            signal.raise_signal(sent)
        return logits(self, *given)

    monkeypatch.setattr(PackedNet, "logits", interrupted)
    assert part_of_trial(3) == "net"
    assert main(["tune", "study.yaml", "--trials", "5", *small]) == 130
    assert "the same command resumes" in capsys.readouterr().err
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert not Path("model").exists()
    monkeypatch.setattr(PackedNet, "logits", logits)

    runs = mlflow.search_runs(search_all_experiments=True)
    found = sorted(zip(runs["tags.stage"], runs["status"], strict=True))
    assert found == [("study", "KILLED"), *[("trial", "FINISHED")] * done]
    assert main(["tune", "study.yaml", "--trials", "5", *small]) == 0
    said = capsys.readouterr().out
    assert ("going on after 3 trials" in said) == (done == 3)
    assert "5 trials; integrated Brier score of the defaults" in said
    runs = mlflow.search_runs(search_all_experiments=True)
    assert runs["tags.stage"].value_counts().to_dict() == {"trial": 5, "study": 1, "final": 1}
    assert (runs["status"] == "FINISHED").all()


def test_a_token_file_keeps_a_line_for_each(tmp_path, capsys):
    path = tmp_path / "tokens"
    path.write_text("old:" + "0" * 64)  # without its end
    assert main(["token", "new", "--tokens", str(path)]) == 0
    assert read_tokens(path).keys() >= {"0" * 64}
    assert [token.name for token in read_tokens(path).values()] == ["old", "new"]
    capsys.readouterr()
    places = {tmp_path: "it is a folder", tmp_path / "none" / "tokens": "cannot be written"}
    for place, said in places.items():
        assert main(["token", "new", "--tokens", str(place)]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert said in err
        assert len(err.splitlines()) == 1


def test_tokens_are_listed_and_revoked_by_name(tmp_path, capsys):
    at = ("--tokens", str(tmp_path / "tokens"))
    for more in (["ward"], ["board", "--expires", "2100-01-31"]):
        assert main(["token", *more, *at]) == 0
    assert main(["token", "--revoke", "ward", *at]) == 0
    capsys.readouterr()
    assert main(["token", "--list", *at]) == 0
    assert capsys.readouterr().out.split() == ["board", "until", "2100-01-31", "23:59", "UTC"]
    for wrong in ([], ["a", "--list"], ["--list", "--expires", "1d"], ["a", "--expires", "soon"]):
        assert main(["token", *wrong, *at]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1


def test_ctrl_c_in_train_marks_its_run(capsys, study, monkeypatch):
    def interrupted(self, *given):
        raise KeyboardInterrupt

    monkeypatch.setattr(PackedNet, "logits", interrupted)
    assert main(["train", "study.yaml", "--out", "model"]) == 130
    assert mlflow.search_runs(search_all_experiments=True)["status"].tolist() == ["KILLED"]
    assert not Path("model").exists()
