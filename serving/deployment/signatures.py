"""Ed25519 signatures of bundles and of packed Bentos, which OpenSSL makes and checks too.

A bundle is signed by its ``manifest.json``, a Bento by its ``SHA256SUMS``: each has the checksums
of all files. A signature has 64 bytes, in a file next to the signed one or in a version's tag.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from accomplice.data.errors import InputError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

#: A public key in a file of several.
PUBLIC = re.compile(rb"-----BEGIN PUBLIC KEY-----.+?-----END PUBLIC KEY-----", re.DOTALL)
#: Maximum size in bytes of a file of keys.
LARGEST = 1 << 20
#: Permissions of others to read or write a file, and to write it.
READ_OR_WRITE, WRITE = stat.S_IRWXG | stat.S_IRWXO, stat.S_IWGRP | stat.S_IWOTH
#: How to make a key, for errors.
MAKE = "openssl genpkey -algorithm ed25519 -out FILE makes one"


def sign(message: bytes, key: Path) -> bytes:
    """Return the signature of a message by a private key.

    Args:
        message: the message.
        key: file of the key, in PEM.

    Raises:
        InputError: the file cannot be read, others can read it, or it holds no Ed25519 key without
            a password.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    text = _pem(key, READ_OR_WRITE, "others can read it, and sign with it: chmod 600 it")
    try:
        private = load_pem_private_key(text, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        private = None
    if not isinstance(private, Ed25519PrivateKey):
        raise InputError(f"{key}: no private Ed25519 key without a password: {MAKE}")
    return private.sign(message)


def read_trusted(keys: Path) -> list[Ed25519PublicKey]:
    """Return the public keys of a file, in PEM, one after the other.

    Raises:
        InputError: the file cannot be read, others can write it, or it holds no public Ed25519 key
            or another key.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    found: list[Ed25519PublicKey] = []
    for text in PUBLIC.findall(_pem(keys, WRITE, "others can write it: chmod go-w it")):
        try:
            public = load_pem_public_key(text)
        except (ValueError, UnsupportedAlgorithm):
            public = None
        if not isinstance(public, Ed25519PublicKey):
            raise InputError(f"{keys}: key {len(found) + 1} is no Ed25519 key: {MAKE}")
        found.append(public)
    if not found:
        raise InputError(
            f"{keys}: no public key there: openssl pkey -in KEY -pubout prints a private one's"
        )
    return found


def check_signature(signature: bytes | None, message: bytes, keys: Path, name: object) -> None:
    """Refuse a message that no trusted key has signed.

    Args:
        signature: the signature; None if there is none.
        message: the message.
        keys: file of the trusted public keys.
        name: name of the signed object, for errors.

    Raises:
        InputError: there is no signature, or it is by none of the keys, or as
            :func:`read_trusted`.
    """
    from cryptography.exceptions import InvalidSignature

    trusted = read_trusted(keys)
    if signature is None:
        raise InputError(
            f"{name}: is not signed, and --trust asks for a signature: accomplice package and "
            "accomplice promote make one by --sign KEY"
        )
    for key in trusted:
        try:
            key.verify(signature, message)
        except InvalidSignature:
            continue
        return
    raise InputError(f"{name}: is not signed by a key of {keys}")


def _pem(file: Path, forbidden: int, why: str) -> bytes:
    """Return the content of a file of keys.

    Args:
        file: the file; a link to one is followed.
        forbidden: permissions that it must not have.
        why: reason why they are forbidden, and the correction, for the error's text.

    Raises:
        InputError: it is no regular file, cannot be read, or has such permissions.
    """
    try:
        # A pipe is not waited for.
        with os.fdopen(os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            text = opened.read(LARGEST) if stat.S_ISREG(mode) else None
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror})") from None
    if text is None:
        raise InputError(f"{file}: is no file")
    if os.name == "posix" and mode & forbidden:
        raise InputError(f"{file}: {why}")
    return text
