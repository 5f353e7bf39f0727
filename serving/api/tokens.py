"""Access tokens of the endpoint, and their file, which holds their names and hashes alone.

``serving.api.guard`` checks them. The process that starts a server reads the file too, but must not
import the guard.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from pathlib import Path

from accomplice.data.errors import InputError

#: Environment variable of the token file's path.
TOKENS_VARIABLE = "ACCOMPLICE_TOKENS"
#: Environment variable of the maximum of requests under way at once.
CONCURRENCY_VARIABLE = "ACCOMPLICE_CONCURRENCY"
#: Environment variable of the maximum of a body's size, in MB.
BODY_VARIABLE = "ACCOMPLICE_MAX_BODY_MB"
#: Upper bound (exclusive) of both maxima.
BELOW = 1_000_000

#: Pattern of a token file's line: name and SHA-256.
LINE = re.compile(r"([A-Za-z0-9._-]{1,64}):([0-9a-f]{64})")


def hashed(token: str) -> str:
    """Return a token's SHA-256 in hex; a token is random, so it needs no salt."""
    return hashlib.sha256(token.encode()).hexdigest()


def new_token(name: str) -> tuple[str, str]:
    """Return a new random token, and its line for a token file.

    Args:
        name: the token's name, such as its user's.

    Raises:
        InputError: the name is empty, has over 64 characters, or has others than letters (A to Z, a
            to z), digits, dots, dashes and underscores.
    """
    token = secrets.token_urlsafe(32)
    line = f"{name}:{hashed(token)}"
    if not LINE.fullmatch(line):
        raise InputError("the token's name: use up to 64 letters, digits, dots, dashes")
    return token, line


def read_tokens(path: Path) -> dict[str, str]:
    """Read a token file: a line ``name:sha256`` for each token, ``#`` before a comment.

    Returns:
        SHA-256 -> name of each token.

    Raises:
        InputError: the file cannot be read, a line is invalid, or there is no token.
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
