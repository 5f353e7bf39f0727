"""A bundle's folder: files with their checksums, refused if a byte has changed."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from accomplice.data.errors import InputError, some
from accomplice.data.study import Study

FORMAT = 6
MANIFEST = "manifest.json"


def check_place(path: Path, inputs: Iterable[Path] = (), *, force: bool = False) -> bool:
    """Refuse to write a bundle over anything but a bundle that may be replaced.

    Args:
        path: of the folder.
        inputs: files and folders that are read.
        force: whether a bundle that is there may be replaced.

    Returns:
        Whether there is one.

    Raises:
        InputError: the path exists and is neither an empty folder nor a bundle; or it is a bundle
            that may not be replaced, is an input, or holds one, or files of others.
    """
    blocked = next((p for p in path.absolute().parents if p.is_file()), None)
    if blocked is not None:
        raise InputError(f"{path}: {blocked} is a file: name another folder")
    if path.is_symlink():
        raise InputError(f"{path}: is a link: name the folder it leads to")
    for each in inputs:
        if path.resolve() in (each.resolve(), *each.resolve().parents):
            raise InputError(f"{path}: is or holds an input, {each}: name another folder")
    if not path.exists():
        return False
    if not (path / MANIFEST).is_file():
        if not path.is_dir() or any(path.iterdir()):
            raise InputError(f"{path}: exists and is not a bundle: name another folder")
        return False
    foreign = sorted({each.name for each in path.iterdir()} - _listed(path))
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
    """Return the names of a bundle's files, by its manifest as far as it can be read."""
    try:
        return {MANIFEST, *json.loads((path / MANIFEST).read_bytes())["files"]}
    except (ValueError, KeyError, TypeError):
        return {MANIFEST}


def write_folder(
    path: Path, study: Study, files: Mapping[str, bytes], *, force: bool = False
) -> None:
    """Write a bundle's files and their manifest; the folder appears whole or not at all.

    Raises:
        InputError: something is there that may not be replaced; see :func:`check_place`.
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
    """Return the sha256 that names a bundle's whole content."""
    return str(json.loads(read_folder(path)[MANIFEST])["digest"])


def read_folder(path: Path) -> dict[str, bytes]:
    """Read a bundle's files by name, each checked against the manifest.

    Raises:
        InputError: there is no bundle, or it was changed.
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
    # Written the same way again, it must be the same bytes: a changed blank counts too.
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
    """Write plain data as JSON, the same data always as the same bytes."""
    return (json.dumps(data, indent=1, allow_nan=False) + "\n").encode()


def _digest(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
