"""The files of a packed Bento, which include a program, and their checksums.

``SHA256SUMS`` lists the checksums in the format of ``sha256sum -c``. They show accidental changes;
a signature of this file shows changes by others too.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from accomplice.data.errors import InputError
from accomplice.serving.deployment.signatures import check_signature
from accomplice.training.models.manifest import (
    LARGEST,
    MANIFEST,
    SHORT,
    SIGNATURE,
    digest_of,
    read_file,
    read_folder,
)

#: Name of the file of checksums in a Bento's folder.
SUMS = "SHA256SUMS"
#: Name of the file of their signature.
SUMS_SIGNATURE = f"{SUMS}.sig"
#: Folder of the bundle in a Bento.
BUNDLE = Path("src", "bundle")
#: Files that the checksums leave out: themselves and the signatures.
UNLISTED = (SUMS, SUMS_SIGNATURE, (BUNDLE / SIGNATURE).as_posix())
#: Maximum size in bytes of the checksums, and of a file that is none of the bundle's.
LONGEST_SUMS, LARGEST_OTHER = 1 << 20, 1 << 26
#: Folder of Python's compiled modules; a trusted copy has none.
COMPILED = "__pycache__"


def write_sums(bento: Path) -> bytes:
    """Write the checksums of all files of a Bento, and return the text."""
    files = {name: (bento / name).read_bytes() for name in _names(bento)}
    sums = {name: hashlib.sha256(raw).hexdigest() for name, raw in files.items()}
    text = "".join(f"{sum_}  {name}\n" for name, sum_ in sorted(sums.items())).encode()
    (bento / SUMS).write_bytes(text)
    return text


def check_bento(bento: Path) -> None:
    """Refuse a Bento whose files are not those that were packed.

    A Bento without checksums, from an earlier version, is accepted if its bundle is unchanged.

    Raises:
        InputError: a file was changed, added or removed, or the bundle was changed.
    """
    digest_of(bento / BUNDLE)
    sums = read_file(bento / SUMS, LONGEST_SUMS)
    for _ in () if sums is None else _checked(bento, sums):
        pass


def trusted_copy(path: Path, keys: Path, folder: Path) -> Path:
    """Copy a signed bundle or Bento to a folder of this process, and check the bytes copied.

    The copy has the signed content even if others write to ``path`` at the same time.

    Args:
        path: folder of the bundle or Bento.
        keys: file of the trusted public keys.
        folder: folder that no other user may write to.

    Returns:
        The copy's folder.

    Raises:
        InputError: no key has signed it, it was changed, or as :func:`manifest.read_folder`.
    """
    copied = folder / "trusted"
    if (path / MANIFEST).exists():
        content = read_folder(path)
        check_signature(content.signature, content.files[MANIFEST], keys, path)
        return content.write(copied)
    signature, sums = read_file(path / SUMS_SIGNATURE, SHORT), read_file(path / SUMS, LONGEST_SUMS)
    # First of all, so that nothing else of an unsigned Bento is read.
    check_signature(None if sums is None else signature, sums or b"", keys, path)
    for name, raw in _checked(path, sums or b""):
        (copied / name).parent.mkdir(parents=True, exist_ok=True)
        (copied / name).write_bytes(raw)
    return copied


def _checked(bento: Path, sums: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of each listed file, checked, and then of the list.

    Args:
        bento: folder of the Bento.
        sums: content of the list.

    Raises:
        InputError: a file was changed, added or removed, is too large, or cannot be read.
    """
    changed = f"{bento}: was changed after it was packed"
    try:
        lines = [line.partition("  ") for line in sums.decode().splitlines()]
        listed = {name: sum_ for sum_, _, name in lines}
        other = min(listed.keys() ^ {*_names(bento)}, default=None)
    except ValueError:
        raise InputError(f"{changed} ({SUMS}): pack it anew") from None
    except OSError as error:
        raise InputError(f"{error.filename}: cannot be read ({error.strerror})") from None
    if other is not None:
        raise InputError(f"{changed} ({other}): pack it anew")
    for name, sum_ in listed.items():
        most = LARGEST.get(Path(name).name, LARGEST_OTHER)
        raw = read_file(bento / name, most)
        if raw is None or hashlib.sha256(raw).hexdigest() != sum_:
            raise InputError(f"{changed} ({name}): pack it anew")
        yield name, raw
    yield SUMS, sums


def _names(bento: Path) -> Iterator[str]:
    """Yield the path of each file of a Bento that is to be listed, relative to its folder.

    Raises:
        InputError: the folder holds a link, or anything that is neither file nor folder.
    """
    for folder, folders, files in os.walk(bento, onerror=_refuse):
        folders[:] = [each for each in folders if each != COMPILED]
        for name in (*folders, *files):
            place = Path(folder, name)
            relative = place.relative_to(bento).as_posix()
            if place.is_symlink() or not (place.is_file() or place.is_dir()):
                raise InputError(f"{place}: is no regular file, as a Bento's are: pack it anew")
            if name in files and relative not in UNLISTED:
                yield relative


def _refuse(error: OSError) -> None:
    raise error
