"""Access tokens of the endpoint, and their file, which has only their names, hashes and expiry.

``serving.api.guard`` checks them; the process that starts a server reads the file too.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import stat
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from accomplice.data.errors import InputError, some
from accomplice.serving.api.errors import logger

#: Environment variable of the token file's path.
TOKENS_VARIABLE = "ACCOMPLICE_TOKENS"
#: Pattern of a token file's line: name, SHA-256 and, of a token that expires, its last moment.
LINE = re.compile(r"([A-Za-z0-9._-]{1,64}):([0-9a-f]{64})(?::([0-9TZ:-]+))?")
#: Format of the time of expiry, in UTC.
MOMENT = "%Y-%m-%dT%H:%M:%SZ"
#: Maximum size in bytes of a token file.
LARGEST = 1 << 20
#: Seconds between two checks of the file of a running server.
EVERY = 2.0
#: Seconds after a change in which the next one may leave the file's times as they are.
SETTLED = 3.0
#: Maximum number of names and of faults that are logged at once.
LOGGED = 20


@dataclass(frozen=True)
class Token:
    """A known token."""

    name: str
    """Name of the program or the people that use it."""
    expires: datetime | None = None
    """Time of expiry, to which it is valid; None if it does not expire."""

    def valid(self, now: datetime) -> bool:
        """Whether the token is valid at a time."""
        return self.expires is None or now <= self.expires


def hashed(token: str) -> str:
    """Return a token's SHA-256 in hex; a token is random, so it needs no salt."""
    return hashlib.sha256(token.encode()).hexdigest()


def new_token(name: str, expires: datetime | None = None) -> tuple[str, str]:
    """Return a new random token, and its line for a token file.

    Args:
        name: the token's name, such as its user's.
        expires: time of expiry; None if it does not expire.

    Raises:
        InputError: the name is empty, has over 64 characters, or has others than letters (A to Z, a
            to z), digits, dots, dashes and underscores.
    """
    token = secrets.token_urlsafe(32)
    line = f"{name}:{hashed(token)}"
    if not LINE.fullmatch(line):
        raise InputError("the token's name: use up to 64 letters, digits, dots, dashes")
    return token, line if expires is None else f"{line}:{expires.astimezone(UTC):{MOMENT}}"


def parse_tokens(text: str) -> tuple[dict[str, Token], list[str]]:
    """Read the text of a token file: ``NAME:SHA256`` or ``NAME:SHA256:UNTIL``, ``#`` for comments.

    Returns:
        SHA-256 -> token of each valid line, and the fault of each other line. A fault does not
        repeat its line, which may be a token that was pasted by mistake.
    """
    tokens: dict[str, Token] = {}
    lines: dict[str, int] = {}
    faults = []
    for number, line in enumerate(text.splitlines(), 1):
        entry = line.partition("#")[0].strip()
        if not entry:
            continue
        parsed = _parse(entry)
        if parsed is None:
            faults.append(f"line {number} is not NAME:SHA256 (see accomplice token)")
            continue
        digest, token = parsed
        first = lines.get(token.name) or lines.get(digest)
        if first is not None:
            faults.append(f"line {number} repeats the name or the hash of line {first}: remove one")
            continue
        lines[token.name] = lines[digest] = number
        tokens[digest] = token
    return tokens, faults


def _parse(entry: str) -> tuple[str, Token] | None:
    """Return the hash and the token of a line; None if the line is invalid."""
    match = LINE.fullmatch(entry)
    if match is None:
        return None
    name, digest, until = match.groups()
    try:
        expires = None if until is None else datetime.strptime(until, MOMENT).replace(tzinfo=UTC)
    except ValueError:
        return None
    return digest, Token(name, expires)


def read_tokens(path: Path) -> dict[str, Token]:
    """Return SHA-256 -> token of each token of a file.

    Args:
        path: the token file.

    Raises:
        InputError: as for :func:`read_safely`, a line is invalid, a name or hash occurs twice, or
            there is no token that is valid now.
    """
    tokens, faults = parse_tokens(read_safely(path))
    if faults:
        raise InputError(f"{path}: {faults[0]}")
    if not tokens:
        raise InputError(f"{path}: holds no token: accomplice token NAME makes one")
    if not any(token.valid(datetime.now(UTC)) for token in tokens.values()):
        raise InputError(f"{path}: all its tokens have expired: accomplice token NAME makes one")
    return tokens


def read_safely(path: Path) -> str:
    """Return the text of a token file.

    Raises:
        InputError: the file cannot be read, or as for :func:`check_safe`.
    """
    try:
        # Opening a device can have effects, and opening a FIFO can wait.
        check_safe(path, path.stat())
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            check_safe(path, os.fstat(file.fileno()))
            return file.read(LARGEST).decode("utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{path}: no token file: it is not text") from None
    except OSError as error:
        raise InputError(
            f"{path}: no token file there that can be read ({error.strerror})"
        ) from None


def check_safe(path: Path, found: os.stat_result) -> None:
    """Refuse a token file that another user can write.

    Args:
        path: the file's path, for the error.
        found: state of the file.

    Raises:
        InputError: it is no regular file, belongs to a user other than root and this process's, may
            be written by its group or by all, or is too large.
    """
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f"{path}: no token file: it is a folder, pipe or device")
    if found.st_uid not in (0, os.geteuid()):
        raise InputError(
            f"{path}: belongs to another user, who can add tokens: make it root's or that of the "
            f"user who serves (chown), or serve as its owner"
        )
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise InputError(f"{path}: other users can add tokens: chmod go-w {path}")
    if found.st_size >= LARGEST:
        raise InputError(f"{path}: no token file: it is larger than {LARGEST >> 20} MB")


class TokenFile:
    """The tokens of a file that are valid now, under a running server.

    When they are asked for, and :data:`EVERY` seconds after the last look, the file is read again
    if it has changed. Where it is gone or another user can write it, no token is valid until it is
    mended; of an invalid line, its token alone is not.

    Args:
        path: the token file.

    Raises:
        InputError: as for :func:`read_tokens`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tokens = read_tokens(path)
        self._names = {digest: token.name for digest, token in self._tokens.items()}
        self._faults: list[str] = []
        self._state: tuple[int, ...] | None = None
        self._refresh()

    def names(self) -> dict[str, str]:
        """Return SHA-256 -> name of the tokens."""
        if time.monotonic() >= self._next:
            self._refresh()
        return self._names

    def _refresh(self) -> None:
        """Read the file, and log faults, new tokens, and tokens that are no longer valid."""
        self._next = time.monotonic() + EVERY
        faults = self._faults
        try:
            found = self._path.stat()
            # Without opening it: a server that has no descriptor left goes on with its tokens.
            state = (*found[:7], found.st_mtime_ns, found.st_ctime_ns)
            if state != self._state:
                self._tokens, faults = parse_tokens(read_safely(self._path))
                self._state = state if time.time() - found.st_ctime > SETTLED else None
        except (InputError, OSError) as error:
            self._state, self._tokens, faults = None, {}, [str(error)]
        if faults != self._faults:
            for fault in faults[:LOGGED]:
                logger.error("tokens: %s", " ".join(fault.split()))
            self._faults = faults
        now = datetime.now(UTC)
        before = self._names
        self._names = {each: t.name for each, t in self._tokens.items() if t.valid(now)}
        for word, one, other in (
            ("valid", self._names, before),
            ("no longer valid", before, self._names),
        ):
            if names := sorted(one[each] for each in one.keys() - other.keys()):
                logger.info("tokens %s from now on: %s", word, some(names, LOGGED, ""))
