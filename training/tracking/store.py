"""The store of runs, studies and bundles: ``mlruns/``, unless the environment names another.

MLflow is imported inside functions: its import takes longer than all else that a server does before
it is ready, and a bundle's folder is read without it.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from accomplice.data.errors import InputError
from accomplice.data.escaping import say
from accomplice.training.databases import sqlite_path, sqlite_uri, with_driver
from accomplice.training.models.manifest import Content, read_folder
from accomplice.training.tracking.stores.address import check_address, kind_of
from accomplice.training.tracking.stores.moved import correct_places, experiment_place
from accomplice.training.tracking.stores.recorded import fetch, recorded_of

if TYPE_CHECKING:
    from mlflow.entities import Run

#: Environment variable with the address of another store of runs than ``mlruns/``.
TRACKING = "MLFLOW_TRACKING_URI"
#: Environment variable with the address of another registry than the store of runs.
REGISTRY = "MLFLOW_REGISTRY_URI"
#: Environment variables that only suit a database server or a tracking server.
FOR_SERVERS = (
    "MLFLOW_SQLALCHEMYSTORE_POOL_SIZE",
    "MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW",
    "MLFLOW_SQLALCHEMYSTORE_POOL_RECYCLE",
    "MLFLOW_ENABLE_WORKSPACES",
    "MLFLOW_WORKSPACE",
)
#: File of the store's own database in ``mlruns/``.
DATABASE = "mlflow.db"
#: MLflow's error codes for a run, model, version or alias that does not exist.
ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
#: Tag by which MLflow opens an experiment's pages in the model-training view.
KIND = {"mlflow.experimentKind": "custom_model_development"}


@dataclass(frozen=True)
class Store:
    """The store of runs, and the folder of bundles, bentos and studies."""

    root: Path
    """Absolute path of ``mlruns``."""
    tracking_uri: str
    """Address of the store of runs."""
    embedded: bool
    """Whether the store of runs is the folder's own database."""

    @property
    def is_server(self) -> bool:
        """Whether runs go to a tracking server, which shows MLflow's pages itself."""
        return self.tracking_uri.startswith(("http://", "https://"))

    @property
    def bundles(self) -> Path:
        """Folder in which bundles are left for the caller."""
        return self.root / "bundles"

    @property
    def bentos(self) -> Path:
        """Folder that is BentoML's home."""
        return self.root / "bentoml"

    @property
    def optuna(self) -> str:
        """Address of the database of Optuna's studies."""
        return sqlite_uri(self.root / "optuna.db")

    def experiment(self, name: str) -> str:
        """Return the id of an experiment, which is created if it does not exist."""
        from mlflow import MlflowClient

        client = MlflowClient()
        known = client.get_experiment_by_name(name)
        if known is not None:
            return str(known.experiment_id)
        place = experiment_place(self.root, name) if self.embedded else None
        return str(client.create_experiment(name, artifact_location=place, tags=KIND))


def open_store(folder: Path | None = None) -> Store:
    """Point MLflow at the store: ``MLFLOW_TRACKING_URI``, or a database in ``mlruns/``.

    Args:
        folder: folder that holds ``mlruns``; by default the working folder. Its path is made
            absolute: in another working folder MLflow would make an empty database for a relative
            path.

    Raises:
        InputError: the store is of a kind that MLflow does not take, cannot be opened, does not
            answer, or was written by another MLflow.
    """
    root = ((folder or Path.cwd()) / "mlruns").absolute()
    given = check_stores(folder)
    own = sqlite_uri(root / DATABASE)
    uri, registry = given[TRACKING] or own, given[REGISTRY]
    import mlflow

    root.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    if kind_of(uri) == "sqlite":
        for name in FOR_SERVERS:
            os.environ.pop(name, None)
        # MLflow never closes the connections that it pools.
        os.environ["MLFLOW_SQLALCHEMYSTORE_POOLCLASS"] = "NullPool"
    for name in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(name).setLevel(logging.ERROR)
    if uri == own and not (root / DATABASE).is_file():
        _create_database(root / DATABASE)
    elif kind_of(uri) == "sqlite" and (path := sqlite_path(uri)) is not None:
        path.absolute().parent.mkdir(parents=True, exist_ok=True)
        _correct_places(uri, path)
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(registry or uri)
    for name, value in given.items():
        if value is None:
            # MLflow has set it; the next ``open_store`` must not take it for the user's.
            os.environ.pop(name, None)
    return Store(root, uri, not given[TRACKING])


def check_stores(folder: Path | None = None) -> dict[str, str | None]:
    """Refuse stores that cannot be opened, before any long work.

    Args:
        folder: folder that holds ``mlruns``; by default the working folder.

    Returns:
        :data:`TRACKING` and :data:`REGISTRY` -> the address in that variable; None if it is unset.

    Raises:
        InputError: as :func:`open_store`.
    """
    given = {name: os.environ.get(name) or None for name in (TRACKING, REGISTRY)}
    if given[TRACKING] is None:
        check_address(sqlite_uri(((folder or Path.cwd()) / "mlruns" / DATABASE).absolute()))
    for name, uri in given.items():
        if uri is not None:
            given[name] = with_driver(uri)
            check_address(with_driver(uri), name)
    return given


def _correct_places(uri: str, path: Path) -> None:
    """Correct the paths of files in a store's own database that was moved, and print a line."""
    if path.name != DATABASE or not path.is_file():
        return
    root = path.absolute().parent
    for before in correct_places(uri, root):
        say(
            f"accomplice: {before} is {root} now: the places of its files were corrected",
            error=True,
        )


def _create_database(path: Path) -> None:
    """Create MLflow's database in one step: half-made tables would stop every later run."""
    from mlflow import MlflowClient

    part = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        MlflowClient(sqlite_uri(part)).search_experiments(max_results=1)
        if not path.exists():  # unless another first run was quicker
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def store_exists() -> bool:
    """Whether the environment names a store or the working folder has one.

    Opening a missing store would create it.
    """
    return bool(os.environ.get(TRACKING)) or (Path("mlruns") / DATABASE).is_file()


def tagged_runs(tag: str, value: str) -> list[Run]:
    """Return the runs whose tag has a value; none without a store, or if it cannot be searched.

    Args:
        tag: name of the tag.
        value: letters and digits; no run has another one.

    Raises:
        InputError: as :func:`open_store`.
    """
    if not (value.isalnum() and store_exists()):
        return []
    import mlflow
    from mlflow.exceptions import MlflowException

    open_store()
    try:
        return mlflow.search_runs(
            filter_string=f"tags.{tag} = '{value}'",
            search_all_experiments=True,
            output_format="list",
        )
    except MlflowException:
        return []


def is_stored(model: str) -> bool:
    """Whether ``MODEL`` on the command line is an address in the store, not a folder."""
    return model.startswith(("runs:/", "models:/"))


@dataclass(frozen=True)
class Source:
    """A model with its run and its version in the registry."""

    model: str
    """Argument for :func:`find_bundle`. An alias, which may move, is replaced by its version if the
    registry has that."""
    run_id: str | None = None
    """Id of the run that made the model; None if unknown, as for a folder."""
    version: str | None = None
    """Version in the registry; None if unknown."""


def find_source(model: str) -> Source:
    """Return ``MODEL`` on the command line with its run and version, if the registry has them.

    Raises:
        InputError: as :func:`open_store`.
    """
    if not is_stored(model) or not store_exists():
        return Source(model)
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    open_store()
    client = MlflowClient()
    try:
        if model.startswith("runs:/"):
            run_id = model.removeprefix("runs:/").split("/")[0]
            versions = client.search_model_versions(f"run_id='{run_id}'")
            version = max((str(v.version) for v in versions), key=int, default=None)
            return Source(model, run_id, version)
        name, at, alias = model.removeprefix("models:/").partition("@")
        if at:
            found = client.get_model_version_by_alias(name, alias)
        else:
            name, _, version = name.partition("/")
            found = client.get_model_version(name, version)
    except MlflowException:
        return Source(model)
    return Source(f"models:/{found.name}/{found.version}", found.run_id, str(found.version))


def find_bundle(model: str, into: Path | None = None) -> Content:
    """Return the content of the bundle that ``MODEL`` on the command line names.

    A bundle of the store must have the digest that its version in the registry, or the version's
    run, recorded when it was registered. Nothing is written into the store.

    Args:
        model: a bundle folder, ``runs:/ID``, ``models:/NAME@alias`` or ``models:/NAME/version``.
        into: folder to which a model of a store on another machine is copied; by default a
            temporary one. Otherwise the store's own files are used.

    Raises:
        InputError: there is no such model, its files are missing or cannot be read, it holds no
            bundle or not the one that was recorded, no digest was recorded, or as
            :func:`open_store` and :func:`manifest.read_folder`.
    """
    if not is_stored(model):
        path = Path(model)
        if not path.is_dir():
            raise InputError(
                f"{model}: no such model: give a bundle folder, runs:/ID or models:/NAME@champion"
            )
        return read_folder(path)
    if not store_exists():
        raise InputError(
            f"{model}: no such model: no run was logged in {Path('mlruns').absolute()}"
        )
    check_stores()  # before MLflow is imported, which takes seconds
    from mlflow.exceptions import MlflowException

    store = open_store()
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    place = store.root if store.embedded else TRACKING
    try:
        recorded = recorded_of(model)
    except MlflowException as error:
        if error.error_code in ABSENT:
            raise InputError(f"{model}: no such model in {place}") from None
        why = str(error).partition("\n")[0]
        raise InputError(f"{model}: cannot be read from {place}: {why}") from None
    try:
        folder = fetch(model, recorded.uri, into)
    except (MlflowException, FileNotFoundError):
        raise InputError(
            f"{model}: its files are not where the store says: put them back, or train it again"
        ) from None
    except OSError as error:
        why = (error.strerror or type(error).__name__).lower()
        raise InputError(f"{model}: its files cannot be read: {why}") from None
    if recorded.digest is None:
        raise InputError(
            f"{model}: neither its version nor its run records the digest of its bundle, so that "
            f"a change cannot be seen: accomplice promote registers {folder} anew"
        )
    content = read_folder(folder, recorded.digest)
    return replace(content, signature=recorded.signature or content.signature)
