"""Access tokens of the endpoint, kept as hashes.

The guard checks them. They have a module of their own, since the process that starts a server must
not import the guard's.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from pathlib import Path

from accomplice.data.errors import InputError

#: Environment variables that the guard of a server reads: the token file, the requests under way
#: at once, and the largest body in MB.
TOKENS_VARIABLE = "ACCOMPLICE_TOKENS"
CONCURRENCY_VARIABLE = "ACCOMPLICE_CONCURRENCY"
BODY_VARIABLE = "ACCOMPLICE_MAX_BODY_MB"
#: Upper bound (exclusive) of both limits.
BELOW = 1_000_000

#: A line of a token file.
LINE = re.compile(r"([A-Za-z0-9._-]{1,64}):([0-9a-f]{64})")


def hashed(token: str) -> str:
    """Return the sha256 (hex) by which a token is known; a token is random, so it needs no salt."""
    return hashlib.sha256(token.encode()).hexdigest()


def new_token(name: str) -> tuple[str, str]:
    """Make a token; return it with the line that a token file holds of it.

    Raises:
        InputError: the name holds other than letters, digits, dots, dashes and underscores.
    """
    token = secrets.token_urlsafe(32)
    line = f"{name}:{hashed(token)}"
    if not LINE.fullmatch(line):
        raise InputError("the token's name: use up to 64 letters, digits, dots, dashes")
    return token, line


def read_tokens(path: Path) -> dict[str, str]:
    """Read a token file: a line ``name:sha256`` for each token, ``#`` before a comment.

    Returns:
        Hash -> name.

    Raises:
        InputError: the file is not there, a line does not read, or it holds no token.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise InputError(f"{path}: no token file there that can be read") from None
    tokens = {}
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        match = LINE.fullmatch(text)
        if match is None:
            # Not the line itself: it may be a token that was pasted by mistake.
            raise InputError(f"{path}: line {number} is not NAME:SHA256 (see accomplice token)")
        tokens[match[2]] = match[1]
    if not tokens:
        raise InputError(f"{path}: holds no token: accomplice token NAME makes one")
    return tokens
