"""Token files: their lines, who may write them, and how a running server follows them."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from accomplice.data.errors import InputError
from accomplice.serving.api import tokens
from accomplice.serving.api.tokens import (
    Token,
    TokenFile,
    hashed,
    new_token,
    parse_tokens,
    read_tokens,
)

LATER = datetime(2100, 1, 1, tzinfo=UTC)
PAST = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokens"


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as error:
        read_tokens(path)
    assert "\n" not in str(error.value)
    return str(error.value)


class TestFile:
    def test_a_token_is_known_by_its_hash_alone(self, path: Path) -> None:
        token, line = new_token("clinic-a")
        path.write_text(f"# who asks\n{line}  # since spring\n\nb:{hashed('second')}\n")
        assert token not in path.read_text()
        known = {hashed(token): Token("clinic-a"), hashed("second"): Token("b")}
        assert read_tokens(path) == known

    def test_two_tokens_differ(self) -> None:
        assert new_token("a")[0] != new_token("a")[0]

    def test_a_last_moment_is_kept(self, path: Path) -> None:
        path.write_text(new_token("a", LATER)[1])
        assert [*read_tokens(path).values()] == [Token("a", LATER)]

    @pytest.mark.parametrize("name", ["", "a b", "a:b", "ä", "x" * 65, "a\n", "\x1b[2J", "\u202e"])
    def test_a_name_that_would_not_read_again_is_refused(self, name: str) -> None:
        with pytest.raises(InputError, match="name"):
            new_token(name)

    @pytest.mark.parametrize(
        "line", ["secret-token", "a:abc", "a:{}:", "a:{}:2027", "a:{}:2027-13-01T00:00:00Z"]
    )
    def test_a_line_that_does_not_read_is_refused_and_not_repeated(
        self, path: Path, line: str
    ) -> None:
        path.write_text(f"# ours\n{line.format(hashed('x'))}\n")
        assert refusal(path) == f"{path}: line 2 is not NAME:SHA256 (see accomplice token)"

    @pytest.mark.parametrize("text", ["", "# nobody\n"])
    def test_a_file_without_tokens_is_refused(self, path: Path, text: str) -> None:
        path.write_text(text)
        assert "holds no token" in refusal(path)

    def test_a_file_of_which_all_have_expired_is_refused(self, path: Path) -> None:
        path.write_text(new_token("a", PAST)[1])
        assert "expired" in refusal(path)

    def test_a_name_and_a_hash_stand_once(self, path: Path) -> None:
        for again in (new_token("a")[1], f"b:{hashed('one')}"):
            path.write_text(f"a:{hashed('one')}\n{again}\n")
            assert "line 2 repeats the name or the hash of line 1" in refusal(path)

    def test_a_file_that_is_not_there_or_not_text_is_refused(self, path: Path) -> None:
        assert "no token file" in refusal(path)
        path.write_bytes(b"\xff\xfe\x00")
        assert "no token file" in refusal(path)

    @pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
    def test_a_file_that_others_can_write_is_refused(self, path: Path, mode: int) -> None:
        path.write_text(new_token("a")[1])
        path.chmod(mode)
        assert "chmod go-w" in refusal(path)

    @pytest.mark.parametrize("mode", [0o600, 0o640, 0o444])
    def test_a_file_that_others_can_read_is_taken(self, path: Path, mode: int) -> None:
        path.write_text(new_token("a")[1])
        path.chmod(mode)
        assert len(read_tokens(path)) == 1


class Clock:
    """Time that passes when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(tokens.time, "monotonic", lambda: self.now)

    def passes(self, seconds: float = tokens.EVERY) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


class TestRunning:
    def test_tokens_come_and_go_with_their_lines(self, path: Path, clock: Clock) -> None:
        a, b = (new_token(name)[1] for name in "ab")
        path.write_text(f"{a}\n")
        found = TokenFile(path).names
        assert found() == {a[2:]: "a"}
        path.write_text(f"{a}\n{b}\n")
        assert len(found()) == 1
        clock.passes()
        assert found() == {a[2:]: "a", b[2:]: "b"}
        path.write_text(f"{b}\n")
        clock.passes()
        assert [*found()] == [b[2:]]
        assert found()[b[2:]] == "b"

    def test_a_change_of_the_same_length_in_the_same_moment_counts(
        self, path: Path, clock: Clock
    ) -> None:
        a, b = (new_token("a")[1] for _ in range(2))
        path.write_text(a)
        found, state = TokenFile(path).names, path.stat()
        path.write_text(b)
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
        clock.passes()
        assert [*found()] == [b[2:]]

    def test_it_is_read_no_more_often_than_said(
        self, path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path.write_text(new_token("a")[1])
        found = TokenFile(path).names
        monkeypatch.setattr(tokens, "read_safely", lambda _: pytest.fail("read"))
        clock.passes(tokens.EVERY - 0.01)
        assert len(found()) == 1

    def test_a_file_that_stays_is_not_opened_again(
        self, path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tokens, "SETTLED", -1.0)
        path.write_text(new_token("a")[1])
        found = TokenFile(path).names
        monkeypatch.setattr(tokens, "read_safely", lambda _: pytest.fail("read"))
        clock.passes()
        assert len(found()) == 1

    def test_without_any_line_no_token_is_valid(self, path: Path, clock: Clock) -> None:
        path.write_text(new_token("a")[1])
        found = TokenFile(path).names
        for change in (lambda: path.write_text("# none\n"), path.unlink):
            change()
            clock.passes()
            assert found() == {}

    def test_a_file_that_others_can_write_opens_nothing_until_it_is_mended(
        self, path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
    ) -> None:
        path.write_text(new_token("a")[1])
        found = TokenFile(path).names
        path.chmod(0o606)
        for _ in range(3):
            clock.passes()
            assert len(found()) == 0
        assert caplog.text.count("chmod go-w") == 1
        path.chmod(0o600)
        clock.passes()
        assert len(found()) == 1

    def test_an_invalid_line_costs_its_own_token_alone(
        self, path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
    ) -> None:
        a, b = (new_token(name)[1] for name in "ab")
        path.write_text(a)
        found = TokenFile(path).names
        path.write_text(f"{a}\npasted-secret\n{b}\n")
        for _ in range(3):
            clock.passes()
            assert [*found().values()] == ["a", "b"]
        assert caplog.text.count("line 2 is not NAME:SHA256") == 1
        assert "pasted-secret" not in caplog.text

    def test_a_token_expires_under_a_running_server(
        self, path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = datetime.now(UTC)
        path.write_text(new_token("a", now + timedelta(hours=1))[1])
        found = TokenFile(path).names
        assert len(found()) == 1

        class Tomorrow(datetime):
            @classmethod
            def now(cls, zone: object = None) -> datetime:
                return now + timedelta(days=1)

        monkeypatch.setattr(tokens, "datetime", Tomorrow)
        clock.passes()
        assert len(found()) == 0


def test_faults_name_lines_and_leave_the_others() -> None:
    good = new_token("a")[1]
    found, faults = parse_tokens(f"nonsense\n{good}\n{good}\n")
    assert [*found.values()] == [Token("a")]
    assert [fault.split()[1] for fault in faults] == ["1", "3"]
