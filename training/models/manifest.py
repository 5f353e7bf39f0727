"""A bundle's folder: files and their checksums; a bundle with a changed byte is refused.

A bundle may come from an untrusted source. So the names of its files are fixed, only regular files
up to a maximum size are read, and each is read once: the bytes that are checked are those used.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from accomplice.data.errors import InputError, some
from accomplice.data.study import Study

#: Number of the bundle's format.
FORMAT = 6
#: Name of the file that lists a bundle's files and their checksums.
MANIFEST = "manifest.json"
#: Key under which earlier versions kept a sketch of the training patients in ``provenance.json``.
SKETCH = "sketch"
#: Name of the file of a signature of the manifest, which need not exist.
SIGNATURE = f"{MANIFEST}.sig"
#: Name of the file of tensors.
WEIGHTS = "weights.safetensors"
#: Name of each file of a bundle beside the manifest -> maximum size in bytes.
LARGEST = {
    "golden.json": 1 << 26,
    "metrics.json": 1 << 26,
    "model.json": 1 << 30,
    "preprocessing.json": 1 << 30,
    "provenance.json": 1 << 26,
    "study.json": 1 << 26,
    WEIGHTS: 1 << 32,
}
#: Maximum size in bytes of the manifest, and of a signature.
SHORT = 1 << 14


@dataclass(frozen=True)
class Content:
    """The content of a bundle's files, which agrees with their manifest."""

    path: Path
    """Folder that they were read from."""
    files: Mapping[str, bytes]
    """Content of each file, the manifest included, by name."""
    manifest: Mapping[str, Any]
    """The manifest's keys but the digest: format, study, synthetic and checksums."""
    digest: str
    """SHA-256 that identifies the content."""
    signature: bytes | None = None
    """Signature of the manifest, not checked here; None if there is none."""

    def json(self, name: str) -> Any:
        """Return the data of a JSON file.

        Raises:
            ValueError: it is no JSON, or has a number that is not finite.
            RecursionError: it is nested too deeply.
        """
        return json.loads(self.files[name], parse_constant=_refuse_constant)

    def write(self, folder: Path) -> Path:
        """Write these files and the signature into a new folder, and return the folder."""
        signed = {} if self.signature is None else {SIGNATURE: self.signature}
        folder.mkdir(parents=True)
        for name, raw in {**self.files, **signed}.items():
            (folder / name).write_bytes(raw)
        return folder


def check_place(path: Path, inputs: Iterable[Path] = (), *, force: bool = False) -> bool:
    """Refuse to write a bundle over anything but an empty folder or a bundle to be replaced.

    Args:
        path: folder to write to.
        inputs: files and folders that the work reads.
        force: whether a bundle in the folder may be replaced.

    Returns:
        Whether the folder holds a bundle.

    Raises:
        InputError: the path is a link, lies below a file, cannot be written, or is or holds an
            input; it exists and is neither an empty folder nor a bundle; or its bundle may not be
            replaced, or has other files beside its own.
    """
    blocked = next((p for p in path.absolute().parents if p.is_file()), None)
    if blocked is not None:
        raise InputError(f"{path}: {blocked} is a file: name another folder")
    if path.is_symlink():
        raise InputError(f"{path}: is a link: name the folder it leads to")
    for source in inputs:
        if path.resolve() in (source.resolve(), *source.resolve().parents):
            raise InputError(f"{path}: is or holds an input, {source}: name another folder")
    there = next(p for p in (path.absolute(), *path.absolute().parents) if p.is_dir())
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"{path}: cannot be written: no permission in {there}")
    if not path.exists():
        return False
    if not (path / MANIFEST).is_file():
        if not path.is_dir() or any(path.iterdir()):
            raise InputError(f"{path}: exists and is not a bundle: name another folder")
        return False
    foreign = sorted({file.name for file in path.iterdir()} - _listed(path))
    if foreign:
        raise InputError(
            f"{path}: a bundle is there, and files that are not its own ({some(foreign)}): name "
            "another folder"
        )
    if not force:
        raise InputError(
            f"{path}: a bundle is there: --force (in Python force=True) replaces it; or name "
            "another folder"
        )
    return True


def _listed(path: Path) -> set[str]:
    """Return the names of a bundle's files; of one with an unreadable manifest, the manifest's."""
    try:
        listed = json.loads(read_file(path / MANIFEST, SHORT) or b"")["files"]
        return {MANIFEST, SIGNATURE, *(LARGEST.keys() & set(listed))}
    except (ValueError, KeyError, TypeError, RecursionError):
        return {MANIFEST, SIGNATURE}


def write_folder(
    path: Path, study: Study, files: Mapping[str, bytes], *, force: bool = False
) -> None:
    """Write a bundle's files and their manifest; the folder appears only when it is complete.

    Args:
        path: folder to write to.
        study: study whose name the manifest holds.
        files: content of each file by name.
        force: whether a bundle in the folder may be replaced.

    Raises:
        InputError: as :func:`check_place`, or a file is larger than one that can be read.
    """
    check_place(path, force=force)
    for name, raw in files.items():
        if len(raw) > LARGEST[name]:
            raise InputError(
                f"{path}: {name} has {len(raw)} bytes, at most {LARGEST[name]} are read"
            )
    manifest = _manifest(study.name, study.synthetic, files)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.parent / f".{path.name}.part"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    for name, raw in {**files, MANIFEST: to_json(manifest)}.items():
        (fresh / name).write_bytes(raw)
    # The old bundle is removed only after the new one is in its place.
    aside = path.parent / f".{path.name}.old"
    shutil.rmtree(aside, ignore_errors=True)
    if path.exists():
        path.rename(aside)
    fresh.rename(path)
    shutil.rmtree(aside, ignore_errors=True)


def digest_of(path: Path) -> str:
    """Return the sha256 that identifies a bundle's whole content.

    Raises:
        InputError: as :func:`read_folder`.
    """
    return read_folder(path).digest


def read_folder(path: Path, digest: str | None = None) -> Content:
    """Return the content of a bundle's files, each checked against the manifest.

    Args:
        path: folder of the bundle.
        digest: digest that the bundle must have; None: any.

    Raises:
        InputError: the folder holds no bundle, or one of another format, or one that lacks a file,
            was changed, has another digest, or cannot be read.
    """
    changed = InputError(
        f"{path}: the bundle was changed after it was made: fetch or train it anew"
    )
    text = read_file(path / MANIFEST, SHORT)
    if text is None:
        raise InputError(f"{path}: no bundle there (a bundle is a folder with a {MANIFEST})")
    try:
        manifest = json.loads(text)
        stated = manifest.pop("digest")
        listed, number = manifest["files"], manifest["format"]
        # Written again, the manifest must give the same bytes: a changed blank counts too.
        same = stated == _digest(manifest) and text == to_json(manifest | {"digest": stated})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise changed from None
    if not same or type(number) is not int or not isinstance(listed, dict):
        raise changed
    if number != FORMAT:
        raise InputError(f"{path}: bundle format {number}, this version reads {FORMAT}: retrain it")
    named = [type(manifest.get(key)) for key in ("study", "synthetic")]
    if named != [str, bool] or listed.keys() != LARGEST.keys():
        raise changed
    if digest not in (None, stated):
        raise InputError(
            f"{path}: the bundle is not the one that was registered or signed: its digest differs"
        )
    files = {MANIFEST: text}
    for name, sha in listed.items():
        raw = read_file(path / name, LARGEST[name])
        if raw is None:
            raise InputError(f"{path}: the bundle lacks its file {name}: fetch it anew")
        if hashlib.sha256(raw).hexdigest() != sha:
            raise changed
        files[name] = raw
    return Content(path, files, manifest, stated, read_file(path / SIGNATURE, SHORT))


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn any error in a block that uses a bundle's content into one line about the bundle.

    A manifest can agree with files that are those of no model.

    Args:
        path: folder of the bundle.

    Raises:
        InputError: the block raises an error.
    """
    try:
        with np.errstate(all="ignore"):
            yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"{path}: the bundle's files are not those of a model of this version "
            f"({type(error).__name__}): fetch or train it anew"
        ) from error


def read_file(file: Path, most: int) -> bytes | None:
    """Return the content of a regular file of a bundle; None if there is no such file.

    Args:
        file: its path.
        most: maximum of its bytes.

    Raises:
        InputError: it is no regular file, larger than ``most`` bytes, or cannot be read.
    """
    # Do not follow a link or wait for a pipe; some systems lack these two flags.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    flags |= getattr(os, "O_BINARY", 0)
    try:
        if not stat.S_ISREG(file.lstat().st_mode):
            raise InputError(f"{file}: is no regular file, as a bundle's are: fetch it anew")
        with os.fdopen(os.open(file, flags), "rb") as opened:
            about = os.fstat(opened.fileno())
            if about.st_size > most:
                raise InputError(f"{file}: more than the {most} bytes that it may have")
            raw = opened.read(about.st_size + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {_why(error)}") from None
    if len(raw) != about.st_size or not stat.S_ISREG(about.st_mode):
        raise InputError(f"{file}: was changed while it was read: try again")
    return raw


def _why(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def without_sketch(content: Content) -> Content:
    """Return a bundle's content without the sketch of its training patients.

    The result has no signature, since its manifest differs. Content without a sketch is returned as
    it is.
    """
    made = content.json("provenance.json")
    if SKETCH not in made:
        return content
    kept = {name: raw for name, raw in content.files.items() if name != MANIFEST}
    kept["provenance.json"] = to_json({key: each for key, each in made.items() if key != SKETCH})
    manifest = _manifest(content.manifest["study"], content.manifest["synthetic"], kept)
    files = {**kept, MANIFEST: to_json(manifest)}
    digest = manifest.pop("digest")
    return Content(content.path, files, manifest, digest)


def _manifest(study: str, synthetic: bool, files: Mapping[str, bytes]) -> dict[str, Any]:
    """Return the manifest of a bundle's files, its digest included."""
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "study": study,
        "synthetic": synthetic,
        "files": {name: hashlib.sha256(raw).hexdigest() for name, raw in sorted(files.items())},
    }
    manifest["digest"] = _digest(manifest)
    return manifest


def to_json(data: Any) -> bytes:
    """Return plain data as JSON text in bytes; equal data with keys in one order give equal bytes.

    Raises:
        ValueError: a number is not finite.
    """
    return (json.dumps(data, indent=1, allow_nan=False) + "\n").encode()


def _digest(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
