"""The process that starts a server follows an alias of the registry, and is never stopped by it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import mlflow
import pytest
from mlflow.exceptions import MlflowException

from accomplice.data.errors import InputError
from accomplice.serving.deployment.handover import HANDOVER_VARIABLE, Handover, Version
from accomplice.training.bundle import Bundle
from accomplice.training.cli.served_model import Champion, Registered
from accomplice.training.models.manifest import digest_of
from accomplice.training.tracking.registry import register_bundle
from accomplice.training.tracking.store import Source, find_bundle, find_source, open_store

NAME = "accomplice-made-up"


@pytest.fixture(scope="module")
def stored(bundle: Bundle, other_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose store has two versions; the alias names none."""
    folder = tmp_path_factory.mktemp("registry")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        store = open_store()
        for k, one in enumerate((bundle, Bundle.load(other_path))):
            known = {**one.provenance, "cohort_fingerprint": "f"}
            place = folder / f"bundle-{k}"
            replace(one, provenance=known).save(place)
            register_bundle(store, NAME, one.load(place), place)
    return folder


@pytest.fixture
def client(stored: Path, monkeypatch: pytest.MonkeyPatch) -> mlflow.MlflowClient:
    monkeypatch.chdir(stored)
    open_store()
    made = mlflow.MlflowClient()
    made.set_registered_model_alias(NAME, "champion", "1")
    return made


class Followed:
    """A champion that is followed, and what was said of it."""

    def __init__(self, folder: Path) -> None:
        self.said: list[str] = []
        self.handover = Handover(folder)
        self.champion = Champion(f"models:/{NAME}@champion", folder, 0.1, self.said.append)

    def refresh(self) -> Version | None:
        self.champion.refresh()
        return self.handover.wanted

    @property
    def kept(self) -> set[str]:
        return {place.name for place in (self.handover.folder / "bundles").iterdir()}


@pytest.fixture
def followed(client: mlflow.MlflowClient, tmp_path: Path) -> Followed:
    made = Followed(tmp_path)
    made.champion.begin()
    return made


def test_it_begins_with_the_version_that_the_alias_names(
    followed: Followed, client: mlflow.MlflowClient, stored: Path
) -> None:
    wanted = followed.handover.wanted
    assert wanted is not None
    assert wanted.bundle is not None
    assert digest_of(Path(wanted.bundle)) == wanted.digest == digest_of(stored / "bundle-0")
    assert wanted.version == "1"
    assert wanted.run_id == client.get_model_version(NAME, "1").run_id
    assert followed.champion.environment() == {HANDOVER_VARIABLE: str(followed.handover.folder)}
    before = (followed.handover.folder / "wanted.json").stat().st_mtime_ns
    assert followed.refresh() == wanted
    assert (followed.handover.folder / "wanted.json").stat().st_mtime_ns == before
    assert followed.said == []


def test_a_new_champion_is_handed_over_and_the_old_one_kept_until_it_is_served(
    followed: Followed, client: mlflow.MlflowClient, stored: Path
) -> None:
    client.set_registered_model_alias(NAME, "champion", "2")
    wanted = followed.refresh()
    assert wanted is not None
    assert (wanted.version, wanted.digest) == ("2", digest_of(stored / "bundle-1"))
    assert len(followed.said) == 1
    assert "version 2" in followed.said[0]
    followed.refresh()
    assert followed.kept == {"1", "2"}
    followed.handover.served = wanted
    followed.refresh()
    assert followed.kept == {"2"}


@pytest.fixture
def damaged(client: mlflow.MlflowClient) -> Iterator[Path]:
    """The second version's files in the store, which are put back."""
    folder = find_bundle(f"models:/{NAME}/2").path
    before = {path: path.read_bytes() for path in folder.iterdir()}
    yield folder
    for path, raw in before.items():
        path.write_bytes(raw)


def test_a_version_that_is_not_whole_is_said_once_and_marked(
    followed: Followed, client: mlflow.MlflowClient, damaged: Path
) -> None:
    whole = (damaged / "model.json").read_bytes()
    (damaged / "model.json").write_text("{}")
    client.set_registered_model_alias(NAME, "champion", "2")
    for _ in range(3):
        wanted = followed.refresh()
        assert wanted is not None
        assert (wanted.version, wanted.bundle) == ("2", None)
    assert len(followed.said) == 1
    assert "version 2 cannot be fetched" in followed.said[0]
    assert "changed" in followed.said[0]
    assert "\n" not in followed.said[0]
    (damaged / "model.json").write_bytes(whole)
    wanted = followed.refresh()
    assert wanted is not None
    assert wanted.bundle is not None
    assert len(followed.said) == 2


def test_a_bundle_that_was_cleaned_away_is_fetched_again(followed: Followed) -> None:
    # As systems do with old files in their temporary folder; a new worker reads the bundle.
    wanted = followed.handover.wanted
    assert wanted is not None
    assert wanted.bundle is not None
    for file in Path(wanted.bundle).iterdir():
        file.unlink()
    assert followed.refresh() == wanted
    assert digest_of(Path(wanted.bundle)) == wanted.digest
    assert followed.said == []


def test_a_full_disk_changes_nothing(followed: Followed, client: mlflow.MlflowClient) -> None:
    blocked = followed.handover.folder / "wanted.part"
    blocked.mkdir()
    client.set_registered_model_alias(NAME, "champion", "2")
    for _ in range(2):
        wanted = followed.refresh()
        assert wanted is not None
        assert wanted.version == "1"
    (said,) = followed.said
    assert "version 2 cannot be fetched" in said
    blocked.rmdir()
    wanted = followed.refresh()
    assert wanted is not None
    assert wanted.version == "2"


def test_another_bundle_than_was_registered_is_refused(
    followed: Followed, client: mlflow.MlflowClient, damaged: Path, stored: Path
) -> None:
    shutil.copytree(stored / "bundle-0", damaged, dirs_exist_ok=True)
    client.set_registered_model_alias(NAME, "champion", "2")
    wanted = followed.refresh()
    assert wanted is not None
    assert wanted.bundle is None
    assert "not the one that was registered" in followed.said[0]
    with pytest.raises(InputError, match="not the one that was registered"):
        Registered(f"models:/{NAME}/2", followed.handover.folder).begin()


def test_a_registry_that_is_away_changes_nothing(
    followed: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise MlflowException("no connection to host:port")

    wanted = followed.handover.wanted
    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "get_model_version_by_alias", away)
        assert followed.refresh() == followed.refresh() == wanted
        assert followed.said == ["the registry cannot be read (MlflowException): serving goes on"]
    followed.refresh()
    assert len(followed.said) == 1


def test_an_alias_that_is_taken_away_changes_nothing(
    followed: Followed, client: mlflow.MlflowClient
) -> None:
    wanted = followed.handover.wanted
    client.delete_registered_model_alias(NAME, "champion")
    assert followed.refresh() == followed.refresh() == wanted
    assert len(followed.said) == 1
    assert "names no version" in followed.said[0]


@pytest.mark.parametrize("model", ["model", f"models:/{NAME}/1", "runs:/abc", "models:/@champion"])
def test_what_has_no_alias_cannot_be_followed(model: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give models:/NAME@champion"):
        Champion(model, tmp_path)


def test_no_such_model_is_said_before_anything_starts(
    client: mlflow.MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for model in (f"models:/{NAME}@other", "models:/none@champion"):
        with pytest.raises(InputError, match="no such model"):
            Champion(model, tmp_path).begin()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="no such model"):
        Champion(f"models:/{NAME}@champion", tmp_path).begin()


@pytest.mark.parametrize("how", ["@champion", "/1"])
def test_a_registered_model_is_handed_over_where_it_lies(
    client: mlflow.MlflowClient, stored: Path, tmp_path: Path, how: str
) -> None:
    registered, handover = Registered(f"models:/{NAME}{how}", tmp_path), Handover(tmp_path)
    assert registered.environment() == {HANDOVER_VARIABLE: str(tmp_path)}
    registered.begin()
    wanted = handover.wanted
    assert wanted is not None
    assert wanted.bundle is not None
    assert Path(wanted.bundle).is_relative_to(stored)
    assert (wanted.version, wanted.digest) == ("1", digest_of(stored / "bundle-0"))
    assert wanted.run_id == client.get_model_version(NAME, "1").run_id
    client.set_registered_model_alias(NAME, "champion", "2")
    registered.refresh()
    assert handover.wanted == wanted


def test_a_registered_model_that_is_not_there_is_said_so(
    client: mlflow.MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="no such model"):
        Registered(f"models:/{NAME}@other", tmp_path).begin()
    monkeypatch.chdir(tmp_path)
    # Before anything is started.
    with pytest.raises(InputError, match="no run was logged"):
        Registered(f"models:/{NAME}/1", tmp_path)


def test_where_a_model_comes_from(
    client: mlflow.MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = client.get_model_version(NAME, "1").run_id
    by_version = Source(f"models:/{NAME}/1", run_id, "1")
    assert find_source(f"models:/{NAME}@champion") == by_version
    assert find_source(f"models:/{NAME}/1") == by_version
    assert find_source(f"runs:/{run_id}") == Source(f"runs:/{run_id}", run_id, "1")
    for model in ("folder", f"models:/{NAME}@other", f"models:/{NAME}/99", "models:/x"):
        assert find_source(model) == Source(model)
    monkeypatch.chdir(tmp_path)
    assert find_source(f"models:/{NAME}/1") == Source(f"models:/{NAME}/1")
