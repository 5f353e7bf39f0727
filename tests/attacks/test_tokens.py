"""Who may ask: tokens revoked under a running server, files that others can write, and the log."""

from __future__ import annotations

import http.client
import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from accomplice.serving.deployment.server import Access, running, serve_command
from accomplice.training.cli.main import main
from accomplice.training.processes import free_port
from tests.serving.conftest import bundle_path, patient, study, table  # noqa: F401

#: Seconds in which a server must follow its token file.
WITHIN = 5.0


@dataclass
class Server:
    port: int
    tokens: Path
    log: Path
    body: bytes

    def ask(self, token: str | None = None, path: str = "/predict", **headers: str) -> int:
        """Return the status of a request with this token."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        given = {} if token is None else {"Authorization": f"Bearer {token}"}
        method = "POST" if path == "/predict" else "GET"
        try:
            body = self.body if method == "POST" else None
            kind = {"Content-Type": "application/json"}
            connection.request(method, path, body, {**kind, **given, **headers})
            return connection.getresponse().status
        finally:
            connection.close()

    def becomes(self, status: int, token: str) -> bool:
        """Whether requests with a token get a status within :data:`WITHIN`."""
        until = time.monotonic() + WITHIN
        while time.monotonic() < until:
            if self.ask(token) == status:
                return True
            time.sleep(0.2)
        return False

    def logs(self, text: str) -> bool:
        """Whether a text stands in the log, whose lines come after the answers."""
        until = time.monotonic() + WITHIN
        while text not in self.logged and time.monotonic() < until:
            time.sleep(0.05)
        return text in self.logged

    @property
    def logged(self) -> str:
        return self.log.read_text(encoding="utf-8")


def command(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    capsys.readouterr()
    assert main(["token", *argv]) == 0
    return capsys.readouterr().out.strip()


@pytest.fixture(scope="module")
def server(
    bundle_path: Path,  # noqa: F811
    patient: dict[str, Any],  # noqa: F811
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("tokens")
    tokens, log, port = folder / "tokens", folder / "server.log", free_port()
    assert main(["token", "first", "--tokens", str(tokens)]) == 0
    argv, env = serve_command(bundle_path, port, Access(tokens=tokens))
    with running(argv, env, port, log=log):
        yield Server(port, tokens, log, json.dumps({"patient": patient}).encode())


def test_a_running_server_follows_its_file(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    at = ("--tokens", str(server.tokens))
    ward, clinic = command(capsys, "ward", *at), command(capsys, "clinic", *at)
    assert server.becomes(200, ward)
    assert server.ask(clinic) == 200
    command(capsys, "--revoke", "ward", *at)
    assert server.becomes(401, ward)
    assert server.ask(clinic) == 200

    # The hand of an editor, that writes another file in its place.
    other = server.tokens.with_name("other")
    other.write_text("")
    other.chmod(0o600)
    text = server.tokens.read_text()
    other.replace(server.tokens)
    assert server.becomes(401, clinic)
    # Without any token left nobody is let in: the server had some.
    assert server.ask() == 401
    server.tokens.write_text(text)
    assert server.becomes(200, clinic)
    assert "tokens no longer valid from now on: ward" in server.logged
    assert ward not in server.logged
    assert clinic not in server.logged


def test_the_log_names_the_token_and_on_refusals_the_address(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    token = command(capsys, "audited", "--tokens", str(server.tokens))
    assert server.becomes(200, token)
    assert server.ask("not-a-token", **{"X-Forwarded-For": "\x9b2J, 203.0.113.9%\x9b"}) == 401
    assert server.ask(path="/metrics") == 401
    assert server.ask(token, path="/nowhere") == 404
    assert server.logs("token=audited from=127.0.0.1")
    lines = server.logged.splitlines()
    (answered, *_) = [line for line in lines if "token=audited" in line]
    assert "POST /predict 200" in answered
    assert "from=" not in answered
    for request in ("POST /predict 401", "GET /metrics 401"):
        (*_, refused) = [line for line in lines if request in line]
        assert refused.partition(" from=")[2].replace(".", "").isalnum()
    assert token not in server.logged
    assert "not-a-token" not in server.logged


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
