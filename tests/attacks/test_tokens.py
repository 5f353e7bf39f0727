"""Who may ask: tokens revoked under a running server, files that others can write, and the log."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from accomplice.training.cli.main import main
from tests.attacks.wire import Server, prediction, served

#: Seconds in which a server must follow its token file.
WITHIN = 5.0


@pytest.fixture(scope="module")
def server(bundle_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with served(bundle_path, tmp_path_factory.mktemp("tokens"), secured=True) as server:
        yield server


def ask(server: Server, token: str | None, line: str = "POST /predict", **headers: str) -> int:
    """Return the status of a request with this token."""
    given = None if token is None else f"Bearer {token}"
    body = prediction() if line.startswith("POST") else None
    return server.ask(line, body, Authorization=given, **headers).status


def becomes(server: Server, status: int, token: str) -> bool:
    """Whether requests with a token get a status within :data:`WITHIN`."""
    until = time.monotonic() + WITHIN
    while time.monotonic() < until:
        if ask(server, token) == status:
            return True
        time.sleep(0.2)
    return False


def logs(server: Server, text: str) -> bool:
    """Whether a text stands in the log, whose lines come after the answers."""
    until = time.monotonic() + WITHIN
    while text not in server.log.read_text(encoding="utf-8") and time.monotonic() < until:
        time.sleep(0.05)
    return text in server.log.read_text(encoding="utf-8")


def command(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    capsys.readouterr()
    assert main(["token", *argv]) == 0
    return capsys.readouterr().out.strip()


def test_a_running_server_follows_its_file(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    tokens = server.log.with_name("tokens")
    at = ("--tokens", str(tokens))
    ward, clinic = command(capsys, "ward", *at), command(capsys, "clinic", *at)
    assert becomes(server, 200, ward)
    assert ask(server, clinic) == 200
    command(capsys, "--revoke", "ward", *at)
    assert becomes(server, 401, ward)
    assert ask(server, clinic) == 200

    # The hand of an editor, that writes another file in its place.
    other = tokens.with_name("other")
    other.write_text("")
    other.chmod(0o600)
    text = tokens.read_text()
    other.replace(tokens)
    assert becomes(server, 401, clinic)
    # Without any token left nobody is let in: the server had some.
    assert ask(server, None) == 401
    tokens.write_text(text)
    assert becomes(server, 200, clinic)
    logged = server.log.read_text(encoding="utf-8")
    assert "tokens no longer valid from now on: ward" in logged
    assert ward not in logged
    assert clinic not in logged


def test_the_log_names_the_token_and_on_refusals_the_address(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    token = command(capsys, "audited", "--tokens", str(server.log.with_name("tokens")))
    assert becomes(server, 200, token)
    assert ask(server, "not-a-token", X_Forwarded_For="\x9b2J, 203.0.113.9%\x9b") == 401
    assert ask(server, None, "GET /metrics") == 401
    assert ask(server, token, "GET /nowhere") == 404
    assert logs(server, "token=audited from=127.0.0.1")
    logged = server.log.read_text(encoding="utf-8")
    lines = logged.splitlines()
    (answered, *_) = [line for line in lines if "token=audited" in line]
    assert "POST /predict 200" in answered
    assert "from=" not in answered
    for request in ("POST /predict 401", "GET /metrics 401"):
        (*_, refused) = [line for line in lines if request in line]
        assert refused.partition(" from=")[2].replace(".", "").isalnum()
    assert token not in logged
    assert "not-a-token" not in logged


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="makes files of another user")
def test_a_file_of_another_user_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "tokens"
    command(capsys, "ward", "--tokens", str(path))
    os.chown(path, 65534, 65534)
    for verb in (["token", "other"], ["token", "--list"], ["serve", str(tmp_path)]):
        assert main([*verb, "--tokens", str(path)]) == 2
        assert "another user" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["fifo", "device", "folder", "endless"])
def test_what_is_no_file_is_refused_at_once(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "tokens"
    if kind == "fifo":
        os.mkfifo(path, 0o600)
    elif kind == "folder":
        path.mkdir()
    elif kind == "endless":
        with path.open("wb") as file:
            file.truncate(1 << 40)
    else:
        path = Path("/dev/zero")
    signal.alarm(20)  # instead of waiting for ever
    try:
        for verb in (["token", "--list"], ["token", "ward"], ["token", "--revoke", "ward"]):
            assert main([*verb, "--tokens", str(path)]) == 2
            (line,) = capsys.readouterr().err.splitlines()
            assert "no token file" in line
    finally:
        signal.alarm(0)
