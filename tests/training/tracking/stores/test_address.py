"""A store that another MLflow wrote is refused in one line, before anything is fitted."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from mlflow import MlflowClient

from accomplice.data.errors import InputError
from accomplice.training.cli.main import main
from accomplice.training.databases import with_driver
from accomplice.training.search.study import check_storage
from accomplice.training.tracking.store import open_store
from accomplice.training.tracking.stores.address import WRITTEN_BY, check_address

#: A revision that MLflow's schema once had, and one that it never had.
OLD, UNKNOWN = "400f98739977", "feedbeef0001"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The installed MLflow's database, with one run."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        store = open_store()
        run = MlflowClient().create_run(store.experiment("cohort"), tags={WRITTEN_BY: "3.99.1"})
        MlflowClient().set_terminated(run.info.run_id)
    return folder / "mlruns" / "mlflow.db"


@pytest.fixture
def database(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, in the store of the working folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mlruns").mkdir()
    return Path(shutil.copy(made, tmp_path / "mlruns"))


def write(database: Path, statement: str) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(statement)


def revise(database: Path, revision: str) -> str:
    write(database, f"update alembic_version set version_num = '{revision}'")
    return f"sqlite:///{database}"


def test_the_installed_mlflow_s_own_is_taken(database: Path):
    check_address(f"sqlite:///{database}")


def test_one_that_is_not_there_yet_is_taken_and_not_made(tmp_path: Path):
    check_address(f"sqlite:///{tmp_path / 'folder' / 'none.db'}")
    assert not (tmp_path / "folder" / "none.db").exists()


def test_an_older_one_is_named_with_the_command_that_upgrades_it(database: Path):
    uri = revise(database, OLD)
    with pytest.raises(InputError, match="older MLflow") as caught:
        check_address(uri)
    assert str(caught.value).endswith(f"mlflow db upgrade {uri}")


def test_a_newer_one_is_named_with_the_version_that_it_wants(database: Path):
    with pytest.raises(
        InputError, match=r"MLflow 3\.99\.1.*pip install --upgrade accomplice 'mlflow>=3\.99\.1'"
    ):
        check_address(revise(database, UNKNOWN))


def test_a_newer_one_whose_runs_name_no_version(database: Path):
    write(database, f"update tags set value = 'none' where key = '{WRITTEN_BY}'")
    with pytest.raises(InputError, match=r"newer MLflow.*pip install --upgrade accomplice mlflow"):
        check_address(revise(database, UNKNOWN))


def test_an_address_with_a_password_is_not_shown(database: Path):
    uri = revise(database, OLD)
    with pytest.raises(InputError) as caught:
        check_address(uri, "MLFLOW_TRACKING_URI")
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
        ("sqlite://", "in memory"),
        ("sqlite:///:memory:", "in memory"),
        ("sqlite:////", "not a file"),
        ("mysql+nosuch://me:hunter2@127.0.0.1/x", "not a database's address"),
        ("postgresql+psycopg2://me:hunter2@127.0.0.1:port/x", "not a database's address"),
        ("oracle://me:hunter2@127.0.0.1/x", "the kind oracle"),
        (" sqlite:////somewhere/x.db", "the kind sqlite"),
        ("s3://bucket/x", "the kind s3"),
        ("http://me:hunter2@127.0.0.1:9", "does not answer"),
        ("http://127.0.0.1:port", "does not answer"),
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
    with pytest.raises(InputError, match="cannot be read as MLflow's database"):
        check_address(f"sqlite:///{tmp_path / 'x.db'}")


def test_tables_without_a_version_are_refused(database: Path):
    write(database, "delete from alembic_version")
    with pytest.raises(InputError, match="no version of MLflow's schema"):
        check_address(f"sqlite:///{database}")
    write(database, "drop table alembic_version")
    with pytest.raises(InputError, match="no version of MLflow's schema"):
        check_address(f"sqlite:///{database}")


def test_an_empty_file_is_taken(tmp_path: Path):
    (tmp_path / "x.db").touch()
    check_address(f"sqlite:///{tmp_path / 'x.db'}")


def test_a_server_that_answers_anything_is_taken(tmp_path: Path):
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        check_address(f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_variables_without_a_value_are_unset_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "")
    assert open_store(tmp_path).embedded


def test_a_server_s_settings_do_not_reach_the_store_in_the_folder(
    database: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MLFLOW_SQLALCHEMYSTORE_POOL_SIZE", "5")
    monkeypatch.setenv("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "QueuePool")
    monkeypatch.setenv("MLFLOW_ENABLE_WORKSPACES", "true")
    store = open_store()
    assert store.experiment("another")
    assert os.environ["MLFLOW_SQLALCHEMYSTORE_POOLCLASS"] == "NullPool"


@pytest.fixture
def silent() -> Iterator[int]:
    """A port where something listens that never says a word."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(20)
        yield listening.getsockname()[1]


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:{}", "postgresql+psycopg2://me:hunter2@127.0.0.1:{}/x"]
)
def test_one_that_takes_the_call_and_says_nothing(
    silent: int, address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    pytest.importorskip("psycopg2")
    monkeypatch.setattr("accomplice.training.databases.TIMEOUT", 1.0)
    monkeypatch.setattr("accomplice.training.tracking.stores.address.TIMEOUT", 1.0)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address.format(silent))
    began = time.monotonic()
    with pytest.raises(InputError, match=r"MLFLOW_TRACKING_URI: .*does not answer"):
        open_store(tmp_path)
    assert time.monotonic() - began < 4


@pytest.mark.parametrize(
    ("verb", "options"),
    [
        ("train", ["study.yaml"]),
        ("tune", ["study.yaml"]),
        ("evaluate", ["model", "study.yaml"]),
        ("marker", ["study.yaml", "--marker", "x"]),
        ("predict", ["models:/x@champion", "cohort.csv"]),
        ("report", ["models:/x@champion"]),
        ("compare", ["models:/x/1", "models:/x/2"]),
        ("promote", ["models:/x/1"]),
        ("package", ["models:/x/1"]),
        ("serve", ["runs:/0123"]),
        ("ui", []),
        ("demo", ["--short"]),
    ],
)
def test_every_verb_looks_first(
    verb: str,
    options: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert main([verb, *options]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "MLFLOW_TRACKING_URI: the tracking server does not answer" in said
    assert not [*tmp_path.iterdir()]


class TestDrivers:
    @pytest.fixture(autouse=True)
    def without(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """No driver is installed."""
        for name in ("psycopg", "psycopg2", "MySQLdb", "pymysql"):
            monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.setattr("accomplice.training.databases._has", lambda module: False)

    @pytest.mark.parametrize(
        ("address", "package"),
        [
            ("postgresql://h/x", "'accomplice[postgres]'"),
            ("postgresql+psycopg2://h/x", "'accomplice[postgres]'"),
            ("postgresql+psycopg://h/x", "'psycopg[binary]'"),
            ("mysql://h/x", "mysqlclient"),
            ("mysql+pymysql://h/x", "pymysql"),
        ],
    )
    def test_a_missing_one_is_named_with_its_package(self, address: str, package: str):
        for place, check in (
            ("MLFLOW_TRACKING_URI", lambda: check_address(address, "MLFLOW_TRACKING_URI")),
            ("--storage", lambda: check_storage(address)),
        ):
            with pytest.raises(InputError, match=r"the driver \w+ is not installed") as caught:
                check()
            assert str(caught.value).startswith(place)
            assert str(caught.value).endswith(f"pip install {package}")


def test_postgresql_takes_the_driver_that_is_installed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("accomplice.training.databases._has", lambda module: True)
    assert with_driver("postgresql://h/x") == "postgresql+psycopg2://h/x"
    for address in ("postgresql+psycopg://h/x", "sqlite:///x.db", "nonsense", "mysql://h/x"):
        assert with_driver(address) == address
