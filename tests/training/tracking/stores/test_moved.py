"""Stores in folders of any name, and moved, renamed or copied ones: their models are found."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient

from accomplice.data.errors import InputError
from accomplice.training.cli.main import main
from accomplice.training.databases import sqlite_path, sqlite_uri
from accomplice.training.tracking import runs
from accomplice.training.tracking.registry import register
from accomplice.training.tracking.store import find_bundle, open_store
from accomplice.training.tracking.stores.moved import STUDY_FILE

#: Names of folders that people have, and characters that mean something in addresses.
ODD = ("study #3", "responders 100%25", "größe", "what?", "a b", "x&y=1;z", "~a+b@c", "é%23#?")
MODEL = "models:/accomplice-c/1"


def keep(project: Path, trained, cohort) -> str:
    """Log a model in a project's store; return its run's id."""
    project.mkdir(parents=True, exist_ok=True)
    store = open_store(project)
    bundle = project / "bündel #1 50%25?"
    trained.bundle.save(bundle, force=True)
    with runs.run(store, cohort, "train", "x") as run_id:
        register("accomplice-c", run_id, trained.bundle, bundle, "a model", {})
    MlflowClient().set_tag(run_id, STUDY_FILE, str(project / "study.yaml"))
    return run_id


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tiny_trained, small_cohort) -> Path:
    """A project's folder with a model in its store."""
    folder = tmp_path_factory.mktemp("made") / "old #1"
    keep(folder, tiny_trained, small_cohort)
    return folder


@pytest.fixture
def project(made: Path, tmp_path: Path) -> Path:
    """That folder as it was made, at another place, while the first is gone."""
    shutil.copytree(made, tmp_path / "old #1")
    database = tmp_path / "old #1" / "mlruns" / "mlflow.db"
    gone = tmp_path / "gone"
    text = database.read_bytes()
    assert made.as_uri().encode() in text
    open_store(tmp_path / "old #1")  # as if it had been made here
    assert not gone.exists()
    return tmp_path / "old #1"


def places(project: Path, folder: str = "mlruns") -> str:
    with closing(sqlite3.connect(project / folder / "mlflow.db")) as connection:
        return "\n".join(connection.iterdump())


@pytest.mark.parametrize("name", ODD)
def test_an_address_leads_to_its_file(tmp_path: Path, name: str):
    from sqlalchemy import create_engine, text

    (tmp_path / name).mkdir()
    uri = sqlite_uri(tmp_path / name / "x.db")
    assert sqlite_path(uri) == tmp_path / name / "x.db"
    engine = create_engine(uri)
    with engine.connect() as connection:
        connection.execute(text("create table t (a int)"))
    engine.dispose()
    assert (tmp_path / name / "x.db").stat().st_size
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_an_address_where_sqlalchemy_has_no_escapes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from sqlalchemy.engine import URL

    # As before 2.1: what is written is not read back, and a name is taken as it is.
    monkeypatch.setattr(
        URL, "render_as_string", lambda self, hide_password=True: f"sqlite:///{self.database}"
    )
    uri = sqlite_uri(tmp_path / "what?" / "x.db")
    assert uri == f"sqlite+pysqlite:///{(tmp_path / 'what?' / 'x.db').as_uri()}?uri=true"


@pytest.mark.parametrize("name", ["study #3", "responders 100%25", "größe a?b"])
def test_a_folder_of_any_name_holds_all_of_its_store(
    tmp_path: Path, name: str, tiny_trained, small_cohort
):
    keep(tmp_path / name, tiny_trained, small_cohort)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    store = open_store(tmp_path / name)
    assert sqlite_path(store.optuna) == tmp_path / name / "mlruns" / "optuna.db"


@pytest.mark.parametrize("name", ["new", "größe #2 50%"])
def test_a_moved_project_is_corrected_and_that_is_said(
    project: Path, name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    moved = project.rename(project.with_name(name))
    monkeypatch.chdir(moved)
    capsys.readouterr()
    assert (find_bundle(MODEL).path / "manifest.json").is_file()
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert str(project / "mlruns") in said
    assert str(moved / "mlruns") in said
    assert str(project) not in places(moved)
    assert project.as_uri() not in places(moved)
    assert str(moved / "study.yaml") in places(moved)
    # Once.
    open_store(moved)
    assert capsys.readouterr().err == ""
    assert not project.exists()


def test_new_runs_of_a_moved_project_stay_in_it(project: Path, tiny_trained, small_cohort):
    moved = project.rename(project.with_name("new"))
    keep(moved, tiny_trained, small_cohort)
    assert not project.exists()


def test_a_renamed_store_that_the_environment_names(project: Path, monkeypatch: pytest.MonkeyPatch):
    (project / "mlruns").rename(project / "runs of 2024")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", sqlite_uri(project / "runs of 2024" / "mlflow.db"))
    monkeypatch.chdir(project)
    assert (find_bundle(MODEL).path / "manifest.json").is_file()


def test_a_store_reached_by_a_link_is_not_moved(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "link").symlink_to(project)
    before = places(project)
    open_store(tmp_path / "link")
    assert capsys.readouterr().err == ""
    assert places(project) == before


def test_a_copied_database_goes_on_with_the_files_where_they_are(project: Path, tmp_path: Path):
    (tmp_path / "copy" / "mlruns").mkdir(parents=True)
    shutil.copy(project / "mlruns" / "mlflow.db", tmp_path / "copy" / "mlruns")
    before = places(project)
    open_store(tmp_path / "copy")
    assert places(tmp_path / "copy") == before


def test_places_of_others_are_left_alone(project: Path):
    store = open_store(project)
    mlflow.create_experiment("theirs", artifact_location="file:///elsewhere/files")
    moved = project.rename(project.with_name("new"))
    open_store(moved)
    found = MlflowClient().get_experiment_by_name("theirs")
    assert found.artifact_location == "file:///elsewhere/files"
    assert store.root != moved / "mlruns"


def test_an_experiment_of_an_earlier_version_that_was_cut_short(project: Path):
    with closing(sqlite3.connect(project / "mlruns" / "mlflow.db")) as connection, connection:
        connection.execute(
            "update experiments set artifact_location = ? where experiment_id > 0",
            (f"file://{project}/mlruns/artifacts/synthetic-gastric",),
        )
        names = [n for (n,) in connection.execute("select name from experiments")]
    assert "synthetic-gastric" in names
    open_store(project)
    found = MlflowClient().get_experiment_by_name("synthetic-gastric")
    assert found.artifact_location == (f"{project.as_uri()}/mlruns/artifacts/synthetic-gastric")


def test_a_model_whose_files_are_gone_is_one_line(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    shutil.rmtree(project / "mlruns" / "artifacts")
    monkeypatch.chdir(project)
    with pytest.raises(InputError, match="its files are not where the store says"):
        find_bundle(MODEL)
    assert main(["predict", "models:/accomplice-c/2", "x.csv"]) == 2
    assert "no such model" in capsys.readouterr().err
