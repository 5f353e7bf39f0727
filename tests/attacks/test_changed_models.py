"""Models and bentos changed by someone who may write to them: by digests, and by signatures."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as other_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

import accomplice
from accomplice.data.errors import InputError
from accomplice.serving.deployment import bento_files
from accomplice.serving.deployment.bento_files import (
    SUMS,
    SUMS_SIGNATURE,
    check_bento,
    trusted_copy,
    write_sums,
)
from accomplice.serving.deployment.packaging import Packaged, package
from accomplice.serving.deployment.server import serve_command
from accomplice.serving.deployment.signatures import check_signature, read_trusted, sign
from accomplice.training.bundle import Bundle
from accomplice.training.cli.main import main
from accomplice.training.cli.served_model import Champion, Registered
from accomplice.training.models.manifest import MANIFEST, SIGNATURE, read_file, read_folder
from accomplice.training.tracking.registry import register_bundle
from accomplice.training.tracking.store import find_bundle, open_store
from accomplice.training.tracking.stores.recorded import DIGEST, MOST_FILES
from accomplice.training.tracking.stores.recorded import SIGNATURE as SIGNATURE_TAG

#: Packs a bundle.
PACK = """
import sys
from pathlib import Path
from accomplice.serving.deployment.packaging import package
from accomplice.training.models.manifest import read_file, read_folder
print(package(read_folder(Path(sys.argv[1])), Path(sys.argv[2])))
"""
NAME = "accomplice-made-up"
MODEL = f"models:/{NAME}/1"


def write_keys(folder: Path) -> tuple[Path, Path]:
    """Make a private key and the file of its public one."""
    private = Ed25519PrivateKey.generate()
    key, trusted = folder / "key.pem", folder / "trusted.pem"
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    key.chmod(0o600)
    trusted.write_bytes(
        private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    trusted.chmod(0o644)
    return key, trusted


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def registry(bundle: Bundle, bundle_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose store has a registered model."""
    folder = tmp_path_factory.mktemp("registry")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        register_bundle(open_store(), NAME, bundle, bundle_path)
    return folder


@pytest.fixture
def files(registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The files of the registered bundle in the store, which are put back, as its tags are."""
    monkeypatch.chdir(registry)
    open_store()
    client = mlflow.MlflowClient()
    made = client.get_model_version(NAME, "1")
    digest, folder = made.tags[DIGEST], find_bundle(MODEL).path
    shutil.copytree(folder, tmp_path / "before")
    yield folder
    shutil.rmtree(folder)
    shutil.copytree(tmp_path / "before", folder)
    client.set_model_version_tag(NAME, "1", DIGEST, digest)
    client.set_tag(made.run_id, DIGEST, digest)
    if SIGNATURE_TAG in client.get_model_version(NAME, "1").tags:
        client.delete_model_version_tag(NAME, "1", SIGNATURE_TAG)


class TestRegistry:
    def test_another_bundle_in_its_place_is_refused_by_all(
        self, files: Path, other_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        shutil.copytree(other_path, files, dirs_exist_ok=True)
        (tmp_path / "t.csv").write_text("age_years\n61\n")
        verbs = (
            ("predict", MODEL, str(tmp_path / "t.csv")),
            ("report", MODEL),
            ("package", MODEL),
            ("serve", MODEL),
            ("compare", MODEL, MODEL),
            ("promote", MODEL),
            ("evaluate", MODEL, "study.yaml"),
        )
        for verb in verbs:
            assert main(list(verb)) == 2
            (line,) = capsys.readouterr().err.splitlines()
            assert "not the one that was registered" in line
        for found in (accomplice.load, find_bundle):
            with pytest.raises(InputError, match="not the one that was registered"):
                found(MODEL)

    def test_it_is_refused_by_the_runs_digest_where_the_versions_is_gone(
        self, files: Path, other_path: Path
    ) -> None:
        client = mlflow.MlflowClient()
        client.delete_model_version_tag(NAME, "1", DIGEST)
        assert find_bundle(MODEL).path == files
        shutil.copytree(other_path, files, dirs_exist_ok=True)
        with pytest.raises(InputError, match="not the one that was registered"):
            find_bundle(MODEL)
        client.set_model_version_tag(NAME, "1", DIGEST, read_folder(other_path).digest)
        with pytest.raises(InputError, match="record bundles of different digests"):
            find_bundle(MODEL)

    def test_without_any_record_it_is_not_taken(self, files: Path, tmp_path: Path) -> None:
        client = mlflow.MlflowClient()
        run_id = client.get_model_version(NAME, "1").run_id
        client.delete_model_version_tag(NAME, "1", DIGEST)
        client.delete_tag(run_id, DIGEST)
        for model in (MODEL, f"runs:/{run_id}"):
            with pytest.raises(InputError, match="neither its version nor its run records"):
                find_bundle(model)
        client.set_registered_model_alias(NAME, "champion", "1")
        with pytest.raises(InputError, match="neither its version nor its run records"):
            Champion(f"models:/{NAME}@champion", tmp_path / "handover").begin()

    def test_what_lies_beside_a_bundle_is_not_registered(
        self, bundle: Bundle, bundle_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = Path(shutil.copytree(bundle_path, tmp_path / "b"))
        (folder / "evil.py").write_text("raise SystemExit")
        (folder / "link").symlink_to("/etc/passwd")
        monkeypatch.chdir(tmp_path)
        register_bundle(open_store(), "other", bundle, folder)
        found = {path.name for path in find_bundle("models:/other/1").path.iterdir()}
        assert found == {path.name for path in bundle_path.iterdir()}

    def test_what_lies_beside_a_bundle_is_not_copied(self, files: Path, tmp_path: Path) -> None:
        (files / "endless").symlink_to("/dev/zero")
        (files.parent / "huge").touch()
        os.truncate(files.parent / "huge", 64 << 30)  # takes no space on disk
        mlflow.MlflowClient().set_registered_model_alias(NAME, "champion", "1")
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 26, before[1]))
        try:
            Champion(f"models:/{NAME}@champion", tmp_path / "handover").begin()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            (files.parent / "huge").unlink()
        (served,) = (tmp_path / "handover" / "bundles").iterdir()
        assert {path.name for path in served.iterdir()} == {*read_folder(served).files}

    def test_reading_a_model_writes_nothing_into_the_store(self, files: Path) -> None:
        before = {path: path.stat().st_mtime_ns for path in files.parents[2].rglob("*")}
        find_bundle(MODEL)
        assert {path: path.stat().st_mtime_ns for path in files.parents[2].rglob("*")} == before

    def test_a_copy_from_another_machine_is_removed_in_the_end(
        self, files: Path, tmp_path: Path
    ) -> None:
        code = (
            "import mlflow.utils.uri as uri\n"
            "from accomplice.training.tracking.store import find_bundle\n"
            "uri.is_local_uri = lambda _: False\n"
            f"path = find_bundle({MODEL!r}).path\n"
            "print(path, (path / 'manifest.json').is_file())"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "TMPDIR": str(tmp_path)},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        path, _, copied = done.stdout.rstrip().rpartition(" ")
        assert (Path(path).is_relative_to(tmp_path), copied) == (True, "True")
        assert [each.name for each in tmp_path.iterdir()] == ["before"]

    @pytest.mark.parametrize("name", ["zeros", "bundle/zeros", "bundle/manifest.json", "many"])
    def test_what_another_machine_sends_is_bounded(
        self, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        monkeypatch.setattr("mlflow.utils.uri.is_local_uri", lambda _: False)
        path = files.parent / name.replace("bundle", files.name)
        if name == "many":
            path.mkdir()
            for j in range(MOST_FILES):
                (path / f"file{j}").touch()
        else:
            with path.open("ab") as file:
                file.truncate(1 << 34)
        try:
            with pytest.raises(InputError, match="is no file of a bundle, or too large"):
                find_bundle(MODEL, into=tmp_path / "copy")
            assert not [*(tmp_path / "copy").rglob("*")]
        finally:
            if path.parent == files.parent:
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def test_a_model_is_served_only_if_a_trusted_key_has_signed_it(
        self,
        files: Path,
        keys: tuple[Path, Path],
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        key, trusted = keys
        _, others = write_keys(tmp_path)
        client = mlflow.MlflowClient()
        assert main(["serve", MODEL, "--trust", str(trusted)]) == 2
        assert "is not signed, and --trust asks for a signature" in capsys.readouterr().err
        folder = str(shutil.copytree(files, tmp_path / "model"))
        assert main(["promote", folder, "--force", "a test", "--sign", str(key)]) == 0
        Registered(MODEL, tmp_path, trusted).begin()
        champion = Champion(f"models:/{NAME}@champion", tmp_path / "handover", trust=trusted)
        champion.begin()
        for bad in (others, tmp_path / "model" / "model.json"):
            with pytest.raises(InputError):
                Registered(MODEL, tmp_path, bad).begin()
        for odd in ("", "00" * 64, "no number"):
            client.set_model_version_tag(NAME, "1", SIGNATURE_TAG, odd)
            with pytest.raises(InputError, match=r"signed by a key|is no signature|not signed"):
                Registered(MODEL, tmp_path, trusted).begin()


@pytest.fixture(scope="module")
def packed(
    bundle_path: Path, keys: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Packaged:
    """A signed bento, of a bundle that came with other files, packed by two at once."""
    folder = Path(shutil.copytree(bundle_path, tmp_path_factory.mktemp("packed") / "b"))
    for name in ("evil.py", "sitecustomize.py", "bentoml.py"):
        (folder / name).write_text("import pathlib; pathlib.Path('/tmp/ran').touch()")
    store = folder.parent / "store"
    command = [sys.executable, "-c", PACK, str(folder), str(store)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = {process.communicate()[0] for process in both}
    assert [process.returncode for process in both] == [0, 0]
    first = package(read_folder(folder), store)
    assert said == {f"{first}\n"}
    assert not [path for path in store.iterdir() if path.name.startswith(".")]
    with pytest.raises(InputError, match="is not signed"):
        trusted_copy(first.path, keys[1], folder.parent / "none")
    # A bento that was changed is not taken, and not signed: the same one is packed again.
    code = first.path / "src/accomplice/serving/endpoint.py"
    before = code.read_bytes()
    code.write_text("evil")
    with pytest.raises(InputError, match="was changed after it was packed"):
        package(read_folder(folder), store)
    signed = package(read_folder(folder), store, key=keys[0])
    assert signed == first
    assert code.read_bytes() == before
    return signed


@pytest.fixture
def bento(packed: Packaged, tmp_path: Path) -> Path:
    return Path(shutil.copytree(packed.path, tmp_path / "bento"))


class TestBento:
    def test_only_the_bundles_own_files_are_packed(self, packed: Packaged) -> None:
        bundled = {path.name for path in (packed.path / "src" / "bundle").iterdir()}
        assert bundled == {*read_folder(packed.path / "src" / "bundle").files, SIGNATURE}
        assert not list(packed.path.rglob("evil.py"))
        assert not list(packed.path.rglob("*/sitecustomize.py"))

    def test_the_archive_is_signed_too(
        self, packed: Packaged, keys: tuple[Path, Path], tmp_path: Path
    ) -> None:
        assert packed.archive is not None
        with tarfile.open(packed.archive) as archive:
            assert {member.uname for member in archive} == {""}
            archive.extractall(tmp_path / "unpacked", filter="data")
        found = trusted_copy(tmp_path / "unpacked", keys[1], tmp_path)
        assert (found / "src" / "accomplice" / "__init__.py").is_file()

    def test_serve_runs_a_private_copy_of_what_was_signed(
        self, bento: Path, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        served: list[tuple[Path, int]] = []

        def command(path: Path, *_: Any) -> None:
            assert serve_command(path, 3999)
            assert not list(path.rglob("__pycache__"))
            served.append((path, path.parent.stat().st_mode & 0o777))
            raise InputError("seen")

        monkeypatch.setattr("accomplice.serving.deployment.server.serve_command", command)
        (bento / "src" / "__pycache__").mkdir()
        (bento / "src" / "__pycache__" / "x.pyc").write_bytes(b"not signed")
        for path in (bento, bento / "src" / "bundle"):
            assert main(["serve", str(path), "--trust", str(keys[1])]) == 2
        assert [mode for _, mode in served] == [0o700, 0o700]
        assert not [path for path, _ in served if path.exists()]

    @pytest.mark.parametrize(
        "change",
        [
            lambda b: (b / "src/accomplice/serving/endpoint.py").write_text("evil"),
            lambda b: (b / "src/bundle/metrics.json").write_text("{}"),
            lambda b: (b / "bento.yaml").write_text("service: os"),
            lambda b: (b / "src/orjson.py").write_text("evil"),
            lambda b: (b / "src/accomplice/serving/endpoint.py").unlink(),
            lambda b: (b / "env/python/requirements.txt").write_text("evil"),
            lambda b: (b / "src/link").symlink_to("/etc"),
            lambda b: os.mkfifo(b / "src/pipe"),
            lambda b: (b / SUMS).write_text("x"),
            lambda b: (b / SUMS).write_bytes(b"\xff"),
            lambda b: (b / SUMS).write_text(""),
        ],
    )
    def test_any_changed_file_is_refused(
        self,
        bento: Path,
        keys: tuple[Path, Path],
        change: Callable[[Path], object],
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        change(bento)
        for trust in ([], ["--trust", str(keys[1])]):
            assert main(["serve", str(bento), *trust]) == 2
            (line,) = capsys.readouterr().err.splitlines()
            said = ("changed after it was", "regular file", "is not signed by a key of")
            assert any(words in line for words in said[: 3 if trust else 2])

    @pytest.mark.parametrize("name", [SUMS, SUMS_SIGNATURE, "src/orjson.py", "bento.yaml"])
    def test_nothing_larger_than_its_bound_is_read(
        self, bento: Path, keys: tuple[Path, Path], tmp_path: Path, name: str
    ) -> None:
        with (bento / name).open("ab") as file:
            file.truncate(64 << 30)  # takes no space on disk
        words = "that it may have|was packed"
        with pytest.raises(InputError, match=words):
            trusted_copy(bento, keys[1], tmp_path / "copy")
        if name != SUMS_SIGNATURE:
            with pytest.raises(InputError, match=words):
                check_bento(bento)

    def test_no_file_of_an_unsigned_bento_is_read(
        self, bento: Path, keys: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        read: list[str] = []

        def note(file: Path, most: int) -> bytes | None:
            read.append(file.name)
            return read_file(file, most)

        monkeypatch.setattr(bento_files, "read_file", note)
        (bento / SUMS).write_bytes((bento / SUMS).read_bytes() + b"x")
        with pytest.raises(InputError, match="is not signed by a key of"):
            trusted_copy(bento, keys[1], tmp_path / "copy")
        assert {*read} == {SUMS, SUMS_SIGNATURE}

    def test_new_checksums_without_the_key_are_refused(
        self, bento: Path, keys: tuple[Path, Path], tmp_path: Path
    ) -> None:
        (bento / "src/accomplice/serving/endpoint.py").write_text("evil")
        write_sums(bento)
        check_bento(bento)  # checksums guard against accidents alone
        with pytest.raises(InputError, match="is not signed by a key of"):
            trusted_copy(bento, keys[1], tmp_path / "one")
        other, _ = write_keys(tmp_path)
        (bento / SUMS_SIGNATURE).write_bytes(sign((bento / SUMS).read_bytes(), other))
        with pytest.raises(InputError, match="is not signed by a key of"):
            trusted_copy(bento, keys[1], tmp_path / "two")
        (bento / SUMS_SIGNATURE).unlink()
        with pytest.raises(InputError, match="is not signed, and --trust asks"):
            trusted_copy(bento, keys[1], tmp_path / "three")

    def test_a_bundles_signature_is_none_of_a_bento_and_of_no_other_bundle(
        self, bento: Path, keys: tuple[Path, Path], other_path: Path, tmp_path: Path
    ) -> None:
        bundled = bento / "src" / "bundle"
        shutil.copy(bundled / SIGNATURE, bento / SUMS_SIGNATURE)
        with pytest.raises(InputError, match="is not signed by a key of"):
            trusted_copy(bento, keys[1], tmp_path / "one")
        other = Path(shutil.copytree(other_path, tmp_path / "other"))
        shutil.copy(bundled / SIGNATURE, other / SIGNATURE)
        with pytest.raises(InputError, match="is not signed by a key of"):
            trusted_copy(other, keys[1], tmp_path / "two")


class TestKeys:
    def test_openssl_makes_keys_and_signatures(
        self, bundle_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if shutil.which("openssl") is None:
            pytest.skip("needs openssl")
        monkeypatch.chdir(tmp_path)
        shutil.copytree(bundle_path, "model")
        for line in (
            "genpkey -algorithm ed25519 -out key.pem",
            "pkey -in key.pem -pubout -out trusted.pem",
            "pkeyutl -sign -inkey key.pem -rawin -in model/manifest.json "
            "-out model/manifest.json.sig",
        ):
            subprocess.run(["openssl", *line.split()], check=True)
        assert trusted_copy(Path("model"), Path("trusted.pem"), tmp_path).is_dir()
        message = Path("model", MANIFEST).read_bytes()
        assert sign(message, Path("key.pem")) == Path("model", SIGNATURE).read_bytes()

    def test_several_keys_may_be_trusted(self, keys: tuple[Path, Path], tmp_path: Path) -> None:
        _, other = write_keys(tmp_path)
        both = tmp_path / "both.pem"
        both.write_bytes(other.read_bytes() + b"# ours\n" + keys[1].read_bytes())
        both.chmod(0o644)
        assert len(read_trusted(both)) == 2
        check_signature(sign(b"x", keys[0]), b"x", both, "x")

    def test_files_that_hold_no_such_keys_are_one_line(
        self, keys: tuple[Path, Path], tmp_path: Path
    ) -> None:
        file, key = tmp_path / "file", Ed25519PrivateKey.generate()
        encrypted = key.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
        )
        other = other_key(SECP256R1())
        for text in (
            b"",
            b"x" * 100,
            encrypted,
            other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        ):
            file.write_bytes(text)
            file.chmod(0o600)
            with pytest.raises(InputError, match="Ed25519"):
                sign(b"x", file)
            with pytest.raises(InputError, match=r"Ed25519 key|no public key"):
                read_trusted(file)
        for place in (tmp_path, tmp_path / "none", Path("/dev/zero")):
            with pytest.raises(InputError):
                sign(b"x", place)
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(InputError, match="is no file"):
            read_trusted(tmp_path / "pipe")

    def test_files_that_others_can_use_are_refused(
        self, keys: tuple[Path, Path], tmp_path: Path
    ) -> None:
        key, trusted = write_keys(tmp_path)
        key.chmod(0o640)
        with pytest.raises(InputError, match="others can read it"):
            sign(b"x", key)
        for mode in (0o664, 0o646):
            trusted.chmod(mode)
            with pytest.raises(InputError, match="others can write it"):
                read_trusted(trusted)


def test_without_trust_no_cryptography_is_imported(bundle_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from accomplice.serving.deployment.server import serve_command\n"
        f"serve_command(Path({str(bundle_path)!r}), 3999)\n"
        "print('cryptography' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
