"""Changes of a token file by the command line, which running servers follow."""

from __future__ import annotations

import errno
import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import BinaryIO

from accomplice.data.errors import InputError, nearest
from accomplice.serving.api.tokens import Token, check_safe, new_token, parse_tokens, read_safely

#: Pattern of a duration, such as ``90d``.
DURATION = re.compile(r"([0-9]{1,5})([dh])")


def add_token(path: Path, name: str, expires: datetime | None = None) -> str:
    """Make a token, add its hash to a file, and return it.

    Args:
        path: the token file; if it is not there it is made, for its owner alone.
        name: the token's name, such as its user's.
        expires: time of expiry; None if it does not expire.

    Raises:
        InputError: the file holds a token of this name, is no token file, cannot be written, or
            may be written by other users; or as for :func:`new_token`.
    """
    token, line = new_token(name, expires)
    with _changing(path, os.O_CREAT) as (file, text):
        if name in (each.name for each in _parsed(path, text).values()):
            raise InputError(
                f"{path}: has a token of the name {name}: take another name, or --revoke {name} "
                "first"
            )
        # A line that was left without its end must not swallow this one.
        gap = "\n" if text and not text.endswith("\n") else ""
        added = f"{gap}{line}\n".encode()
        end = file.seek(0, os.SEEK_END)
        if file.write(added) < len(added):
            file.truncate(end)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return token


def revoke_token(path: Path, name: str) -> int:
    """Remove a token from a file, and return the number of tokens that it still holds.

    Another line may be invalid: it stays.

    Args:
        path: the token file.
        name: the token's name.

    Raises:
        InputError: there is no such file or token, or the file cannot be written, or may be written
            by other users.
    """
    read_safely(path)
    with _changing(path) as (file, text):
        lines = text.splitlines(keepends=True)
        names = [_name(line) for line in lines]
        if name not in names:
            known = [token.name for token in _parsed(path, text).values()]
            raise InputError(f"{path}: has no token of the name {name}{nearest(name, known)}")
        kept = "".join(line for line, each in zip(lines, names, strict=True) if each != name)
        # In place, not by another file: a container that has mounted this one sees the change.
        file.seek(0)
        file.write(kept.encode())
        file.truncate()
    return len(parse_tokens(kept)[0])


def list_tokens(path: Path) -> list[Token]:
    """Return the tokens of a file, those that have expired included.

    Raises:
        InputError: there is no token file, or it is invalid or may be written by other users.
    """
    return [*_parsed(path, read_safely(path)).values()]


def read_moment(text: str, now: datetime) -> datetime:
    """Return the moment that ``--expires`` gives, in UTC.

    Args:
        text: a day, which counts to its end, or a moment in ISO 8601, both in UTC unless they have
            another time zone; or a number of days or hours from now, such as ``90d``.
        now: the present moment.

    Raises:
        InputError: the text is none of these, or the moment is past.
    """
    if match := DURATION.fullmatch(text):
        number = int(match[1])
        moment = now + (timedelta(days=number) if match[2] == "d" else timedelta(hours=number))
    else:
        try:
            moment = datetime.combine(date.fromisoformat(text), time(23, 59, 59), UTC)
        except ValueError:
            moment = _iso(text)
    if moment <= now:
        raise InputError(f"--expires {text}: is past")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise InputError(f"--expires {text}: is after the year 9999 in UTC") from None


def _iso(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(
            f"--expires {text}: give a day such as 2027-06-30, or a duration such as 90d"
        ) from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _parsed(path: Path, text: str) -> dict[str, Token]:
    """Return SHA-256 -> token of each line.

    Raises:
        InputError: a line is invalid, or repeats a name or a hash.
    """
    tokens, faults = parse_tokens(text)
    if faults:
        raise InputError(f"{path}: {faults[0]}")
    return tokens


def _name(line: str) -> str | None:
    """Return the name of the token on a line; None without a token."""
    return next((token.name for token in parse_tokens(line)[0].values()), None)


@contextmanager
def _changing(path: Path, flags: int = 0) -> Iterator[tuple[BinaryIO, str]]:
    """Yield a token file, unbuffered, and its text; no other command changes it meanwhile.

    Args:
        path: the token file.
        flags: further flags of :func:`os.open`.

    Raises:
        InputError: it cannot be read or written, or may be written by other users.
    """
    try:
        # Opening a device can have effects, and opening a FIFO can wait.
        if path.exists():
            check_safe(path, path.stat())
        opened = os.open(path, os.O_RDWR | os.O_NONBLOCK | flags, 0o600)
        with os.fdopen(opened, "r+b", buffering=0) as file:
            check_safe(path, os.fstat(opened))
            fcntl.flock(opened, fcntl.LOCK_EX)
            yield file, file.read().decode("utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{path}: is there, and no token file: name another file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None
