"""The bundle of a model in the store: its folder, and its recorded digest and signature."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

from accomplice.data.errors import InputError
from accomplice.training.models.manifest import LARGEST, MANIFEST, SHORT

if TYPE_CHECKING:
    from mlflow import MlflowClient

#: Tag of a run and of a version: the SHA-256 that identifies its bundle's content.
DIGEST = "bundle_digest"
#: Tag of a version: the signature of its bundle's manifest, in hexadecimal digits.
SIGNATURE = "bundle_signature"
#: Folder of a stored model that holds its bundle, and maximum number of files and folders in it.
FOLDER, MOST_FILES = "artifacts", 100


@dataclass(frozen=True)
class Recorded:
    """Records of the store about one model and its bundle."""

    uri: str
    """MLflow's address of the model's files."""
    digest: str | None
    """Digest of the bundle; None if none was recorded."""
    signature: bytes | None
    """Signature of the bundle's manifest; None if none was recorded."""


def recorded_of(model: str) -> Recorded:
    """Return the records of a model's bundle in the registered version and the run.

    Args:
        model: ``runs:/ID``, ``models:/NAME@alias``, ``models:/NAME/version`` or
            ``models:/MODEL_ID``.

    Raises:
        InputError: version and run record different digests, or the signature is invalid.
        MlflowException: there is no such model, or it cannot be read.
    """
    from mlflow import MlflowClient
    from mlflow.store.artifact.utils.models import get_model_name_and_version

    client, run_id = MlflowClient(), None
    tags: Mapping[str, str] = {}
    if model.startswith("runs:/"):
        run_id = model.removeprefix("runs:/").split("/")[0]
        model = _model_of_run(run_id)
    else:
        named = get_model_name_and_version(client, model)  # type: ignore[no-untyped-call]
        if len(named) == 1:
            run_id = client.get_logged_model(named[0]).source_run_id
        else:
            made = client.get_model_version(*named)
            run_id, tags, model = made.run_id, made.tags, "models:/{}/{}".format(*named)
    try:
        signature = bytes.fromhex(tags[SIGNATURE]) if SIGNATURE in tags else None
    except ValueError:
        raise InputError(f"{model}: its tag {SIGNATURE} is no signature: sign it anew") from None
    return Recorded(model, recorded_digest(client, model, run_id, tags), signature)


def recorded_digest(
    client: MlflowClient, model: str, run_id: str | None, tags: Mapping[str, str]
) -> str | None:
    """Return the digest of a bundle, as recorded by its version or run; None if not recorded.

    Args:
        client: client of the registry.
        model: name of the model, for errors.
        run_id: run of the version; None if unknown.
        tags: tags of the version.

    Raises:
        InputError: version and run record different digests.
    """
    from mlflow.exceptions import MlflowException

    of_run = None
    if run_id:
        with contextlib.suppress(MlflowException):  # the run was deleted
            of_run = client.get_run(run_id).data.tags.get(DIGEST)
    of_version = tags.get(DIGEST)
    if None not in (of_version, of_run) and of_version != of_run:
        raise InputError(
            f"{model}: its version and its run record bundles of different digests: one of the two "
            "was changed"
        )
    return of_version or of_run


def fetch(model: str, uri: str, into: Path | None) -> Path:
    """Return the folder of a stored model's bundle, on this machine.

    Args:
        model: name of the model, for errors.
        uri: MLflow's address of its files.
        into: folder to which files of another machine are copied; None: a temporary one, which is
            removed when this process ends. Those of this machine are used where they are.

    Raises:
        InputError: the files are missing, contain no bundle, or are larger than a bundle's can be.
        MlflowException: the files cannot be read.
        OSError: local files cannot be read.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact.models_artifact_repo import ModelsArtifactRepository
    from mlflow.utils.file_utils import local_file_uri_to_path
    from mlflow.utils.uri import is_local_uri

    files: Any = ModelsArtifactRepository(uri)
    place = files.repo.artifact_uri
    if is_local_uri(place):  # type: ignore[no-untyped-call]
        # Raises the system's error, which MLflow would replace.
        os.scandir(local_file_uri_to_path(place)).close()  # type: ignore[no-untyped-call]
        # A copy would be of whatever lies beside the bundle, of any size.
        into = None
    elif into is None:
        into = _temporary_folder()
    none = InputError(f"{model}: that model holds no bundle of accomplice's")
    try:
        if into is not None:
            _check_sizes(model, files)
        # Not the whole model: MLflow would write a file of its own into it.
        local = files.download_artifacts(FOLDER, None if into is None else str(into))
    except (MlflowException, FileNotFoundError):
        if files.list_artifacts(None):
            raise none from None
        raise
    found = min(Path(local).glob(f"*/{MANIFEST}"), default=None)
    if found is None:
        raise none
    return found.parent


def _check_sizes(model: str, files: Any) -> None:
    """Raise ``InputError`` if files of another machine are larger than those of a bundle can be.

    Args:
        model: name of the model, for errors.
        files: MLflow's repository of the model.
    """
    folders, count = [FOLDER], 0
    while folders:
        for found in files.list_artifacts(folders.pop()):
            count += 1
            most = LARGEST.get(Path(found.path).name, SHORT)
            if count > MOST_FILES or (found.file_size or 0) > most:
                raise InputError(f"{model}: {found.path} is no file of a bundle, or too large")
            if found.is_dir:
                folders.append(found.path)


def _temporary_folder() -> Path:
    """Return a new folder that is removed when this process ends."""
    folder = Path(mkdtemp(prefix="accomplice-model-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _model_of_run(run_id: str) -> str:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST

    outputs = MlflowClient().get_run(run_id).outputs
    logged = outputs.model_outputs if outputs is not None else []
    if not logged:
        raise MlflowException("the run logged no model", error_code=RESOURCE_DOES_NOT_EXIST)
    return f"models:/{logged[-1].model_id}"
