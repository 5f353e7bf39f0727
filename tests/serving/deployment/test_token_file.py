"""Changes of token files: new ones, revoked ones, last moments, and two commands at once."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from accomplice.data.errors import InputError
from accomplice.serving.api.tokens import hashed, read_tokens
from accomplice.serving.deployment.token_file import (
    add_token,
    list_tokens,
    read_moment,
    revoke_token,
)

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokens"


def names(path: Path) -> list[str]:
    return [token.name for token in list_tokens(path)]


def test_a_new_file_is_its_owner_s_alone_whatever_the_umask(path: Path) -> None:
    before = os.umask(0)
    try:
        add_token(path, "ward")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_name_is_given_once(path: Path) -> None:
    first = add_token(path, "ward")
    with pytest.raises(InputError, match="has a token of the name ward"):
        add_token(path, "ward")
    assert [*read_tokens(path)] == [hashed(first)]


def test_a_revoked_token_s_line_goes_and_all_else_stays(path: Path) -> None:
    add_token(path, "ward")
    with path.open("a") as file:
        file.write("# those of the board\n")
    kept = add_token(path, "board")
    inode = path.stat().st_ino
    assert revoke_token(path, "ward") == 1
    assert path.read_text() == f"# those of the board\nboard:{hashed(kept)}\n"
    # A container that has mounted the file sees the change.
    assert path.stat().st_ino == inode
    with pytest.raises(InputError, match="no token of the name bord; did you mean 'board'"):
        revoke_token(path, "bord")


def test_a_token_can_be_revoked_in_a_file_with_faults(path: Path) -> None:
    add_token(path, "ward")
    text = path.read_text()
    path.write_text(f"{text}{text}nonsense\n")
    assert revoke_token(path, "ward") == 0
    assert path.read_text() == "nonsense\n"


def test_revoking_makes_no_file(path: Path) -> None:
    with pytest.raises(InputError, match="no token file"):
        revoke_token(path, "ward")
    assert not path.exists()


def test_commands_at_once_lose_no_token(path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert len({*pool.map(lambda i: add_token(path, f"t{i}"), range(40))}) == 40
        [*pool.map(lambda i: revoke_token(path, f"t{i}"), range(0, 40, 2))]
    assert sorted(names(path)) == sorted(f"t{i}" for i in range(1, 40, 2))


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-06-01", datetime(2026, 6, 1, 23, 59, 59, tzinfo=UTC)),
        ("2026-06-01T15:00", datetime(2026, 6, 1, 15, tzinfo=UTC)),
        ("2026-06-01T15:00+02:00", datetime(2026, 6, 1, 13, tzinfo=UTC)),
        ("30d", datetime(2026, 7, 1, 12, tzinfo=UTC)),
        ("2h", datetime(2026, 6, 1, 14, tzinfo=UTC)),
    ],
)
def test_moments(text: str, moment: datetime) -> None:
    assert read_moment(text, NOW) == moment


@pytest.mark.parametrize(
    "text",
    [
        *("", "soon", "90", "2026-13-01", "2026-05-31", "0d", "-1d"),
        *("9999-12-31T23:59:59-14:00", "0001-01-01T00:00+14:00"),
    ],
)
def test_what_is_past_or_no_moment_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="--expires"):
        read_moment(text, NOW)


def test_a_last_moment_is_written(path: Path) -> None:
    add_token(path, "ward", read_moment("90d", datetime.now(UTC)))
    (token,) = read_tokens(path).values()
    assert token.expires is not None
    assert token.valid(datetime.now(UTC))
