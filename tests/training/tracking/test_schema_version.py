"""A store that another MLflow wrote is refused in one line, before anything is fitted."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient

from accomplice.data.errors import InputError
from accomplice.training.cli.main import main
from accomplice.training.tracking.schema_version import WRITTEN_BY, check_schema
from accomplice.training.tracking.store import open_store

#: A revision that MLflow's schema once had, and one that it never had.
OLD, UNKNOWN = "400f98739977", "feedbeef0001"


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    store = open_store()
    run = MlflowClient().create_run(store.experiment("cohort"), tags={WRITTEN_BY: "3.99.1"})
    MlflowClient().set_terminated(run.info.run_id)
    return tmp_path / "mlruns" / "mlflow.db"


def write(database: Path, statement: str) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(statement)


def revise(database: Path, revision: str) -> str:
    write(database, f"update alembic_version set version_num = '{revision}'")
    return f"sqlite:///{database}"


def test_the_installed_mlflow_s_own_is_taken(database: Path):
    check_schema(f"sqlite:///{database}")


def test_one_that_is_not_there_yet_is_taken_and_not_made(tmp_path: Path):
    check_schema(f"sqlite:///{tmp_path / 'folder' / 'none.db'}")
    assert not (tmp_path / "folder" / "none.db").exists()


def test_an_older_one_is_named_with_the_command_that_upgrades_it(database: Path):
    uri = revise(database, OLD)
    with pytest.raises(InputError, match="older MLflow") as caught:
        check_schema(uri)
    assert str(caught.value).endswith(f"mlflow db upgrade {uri}")


def test_a_newer_one_is_named_with_the_version_that_it_wants(database: Path):
    with pytest.raises(InputError, match=r"MLflow 3\.99\.1.*pip install 'mlflow>=3\.99\.1'"):
        check_schema(revise(database, UNKNOWN))


def test_a_newer_one_whose_runs_name_no_version(database: Path):
    write(database, f"update tags set value = 'none' where key = '{WRITTEN_BY}'")
    with pytest.raises(InputError, match=r"newer MLflow.*pip install --upgrade mlflow"):
        check_schema(revise(database, UNKNOWN))


def test_an_address_with_a_password_is_not_shown(database: Path):
    uri = revise(database, OLD)
    with pytest.raises(InputError) as caught:
        check_schema(uri, "MLFLOW_TRACKING_URI")
    assert str(database) not in str(caught.value)
    assert str(caught.value).endswith('mlflow db upgrade "$MLFLOW_TRACKING_URI"')


def test_nothing_is_changed_or_fitted(
    database: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["data", "synth", "--n", "60", "--out", "cohort"]) == 0
    revise(database, OLD)
    before = database.read_bytes()
    for verb in (
        ["train", "cohort/study.yaml", "--out", "model"],
        ["tune", "cohort/study.yaml", "--out", "model"],
        ["predict", "models:/accomplice-x@champion", "cohort/cohort.csv"],
        ["ui"],
    ):
        capsys.readouterr()
        assert main(verb) == 2, verb
        said = capsys.readouterr()
        assert said.err.count("\n") == 1
        assert "mlflow db upgrade" in said.err
    assert database.read_bytes() == before
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("file:///somewhere/mlruns", "no longer keeps runs in a folder's files"),
        ("./mlruns", "no longer keeps runs in a folder's files"),
        ("sqlite:////proc/none/mlflow.db", "its folder cannot be made"),
        ("mysql+nosuch://me:hunter2@127.0.0.1/x", "not a database's address"),
        ("postgresql+psycopg2://me:hunter2@127.0.0.1:9/x", "(OperationalError)|(not installed)"),
    ],
)
def test_addresses_that_cannot_be_opened_are_one_line(
    address: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    with pytest.raises(InputError, match=f"^MLFLOW_TRACKING_URI: .*({said})") as caught:
        open_store(tmp_path)
    assert "hunter2" not in str(caught.value)


def test_what_is_no_database_is_said(tmp_path: Path):
    (tmp_path / "x.db").write_text("a text that is longer than a header" * 9)
    with pytest.raises(InputError, match="cannot be opened as a database"):
        check_schema(f"sqlite:///{tmp_path / 'x.db'}")
