"""A bundle's folder: files and their checksums; a bundle with a changed byte is refused."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from accomplice.data.errors import InputError, some
from accomplice.data.study import Study

#: Number of the bundle's format.
FORMAT = 6
#: Name of the file that lists a bundle's files and their checksums.
MANIFEST = "manifest.json"


def check_place(path: Path, inputs: Iterable[Path] = (), *, force: bool = False) -> bool:
    """Refuse to write a bundle over anything but an empty folder or a bundle to be replaced.

    Args:
        path: folder to write to.
        inputs: files and folders that the work reads.
        force: whether a bundle in the folder may be replaced.

    Returns:
        Whether the folder holds a bundle.

    Raises:
        InputError: the path is a link, lies below a file, or is or holds an input; it exists and
            is neither an empty folder nor a bundle; or its bundle may not be replaced, or has
            other files beside its own.
    """
    blocked = next((p for p in path.absolute().parents if p.is_file()), None)
    if blocked is not None:
        raise InputError(f"{path}: {blocked} is a file: name another folder")
    if path.is_symlink():
        raise InputError(f"{path}: is a link: name the folder it leads to")
    for source in inputs:
        if path.resolve() in (source.resolve(), *source.resolve().parents):
            raise InputError(f"{path}: is or holds an input, {source}: name another folder")
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
        return {MANIFEST, *json.loads((path / MANIFEST).read_bytes())["files"]}
    except (ValueError, KeyError, TypeError):
        return {MANIFEST}


def write_folder(
    path: Path, study: Study, files: Mapping[str, bytes], *, force: bool = False
) -> None:
    """Write a bundle's files and their manifest; the folder appears whole or not at all.

    Args:
        path: folder to write to.
        study: study whose name the manifest holds.
        files: content of each file by name.
        force: whether a bundle in the folder may be replaced.

    Raises:
        InputError: as :func:`check_place`.
    """
    check_place(path, force=force)
    manifest = {
        "format": FORMAT,
        "study": study.name,
        "synthetic": study.synthetic,
        "files": {name: hashlib.sha256(raw).hexdigest() for name, raw in sorted(files.items())},
    }
    manifest["digest"] = _digest(manifest)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.parent / f".{path.name}.part"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    for name, raw in {**files, MANIFEST: to_json(manifest)}.items():
        (fresh / name).write_bytes(raw)
    # The old bundle goes only when the new one is in its place.
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
    return str(json.loads(read_folder(path)[MANIFEST])["digest"])


def read_folder(path: Path) -> dict[str, bytes]:
    """Return the content of a bundle's files by name, each checked against the manifest.

    Raises:
        InputError: the folder holds no bundle, or one of another format, or one that lacks a file
            or was changed.
    """
    if not (path / MANIFEST).is_file():
        raise InputError(f"{path}: no bundle there (a bundle is a folder with a {MANIFEST})")
    changed = InputError(
        f"{path}: the bundle was changed after it was made: fetch or train it anew"
    )
    text = (path / MANIFEST).read_bytes()
    try:
        manifest = json.loads(text)
        listed = dict(manifest["files"])
        stated = manifest.pop("digest")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise changed from None
    # Written again, the manifest must give the same bytes: a changed blank counts too.
    if stated != _digest(manifest) or text != to_json(manifest | {"digest": stated}):
        raise changed
    if manifest["format"] != FORMAT:
        raise InputError(
            f"{path}: bundle format {manifest['format']}, this version reads {FORMAT}: retrain it"
        )
    files = {MANIFEST: text}
    for name, sha in listed.items():
        if not (path / name).is_file():
            raise InputError(f"{path}: the bundle lacks its file {name}: fetch it anew")
        files[name] = (path / name).read_bytes()
        if hashlib.sha256(files[name]).hexdigest() != sha:
            raise changed
    return files


def to_json(data: Any) -> bytes:
    """Return plain data as JSON text in bytes; equal data with keys in one order give equal bytes.

    Raises:
        ValueError: a number is not finite.
    """
    return (json.dumps(data, indent=1, allow_nan=False) + "\n").encode()


def _digest(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
