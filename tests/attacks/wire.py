"""Bytes sent to a server as they are, by clients that keep to no rule."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from accomplice.serving.api.tokens import new_token
from accomplice.serving.deployment.server import Access, running, serve_command
from accomplice.training.processes import HOST, free_port
from tests.benchmarks.load import worker

#: Headers of each request unless others are given.
USUAL = {"Host": HOST, "Content-Type": "application/json"}


@dataclass
class Answer:
    """An answer: its status, 0 where there is none, its headers and its content."""

    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def code(self) -> str:
        """Code of the error in the answer."""
        error = json.loads(self.content)["error"]
        assert error.keys() == {"code", "message", "details"}
        return str(error["code"])


@dataclass
class Server:
    """A running server."""

    port: int
    token: str | None
    log: Path

    def connect(self, timeout: float = 20.0, receives: int | None = None) -> socket.socket:
        """Return a connection whose kernel keeps so many bytes of an answer that is not read."""
        connection = socket.socket()
        if receives is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receives)
        connection.settimeout(timeout)
        connection.connect((HOST, self.port))
        return connection

    def head(self, line: str = "POST /predict", **headers: str | None) -> bytes:
        """Return the head of a request; a header that is None is left out."""
        named = dict(USUAL)
        if self.token is not None:
            named["Authorization"] = f"Bearer {self.token}"
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        lines = [f"{name}: {value}\r\n" for name, value in named.items() if value is not None]
        return f"{line} HTTP/1.1\r\n{''.join(lines)}\r\n".encode()

    def send(self, *parts: bytes, timeout: float = 20.0) -> Answer:
        """Send bytes, and return the first answer."""
        with self.connect(timeout) as connection:
            try:
                for part in parts:
                    connection.sendall(part)
            except OSError:
                pass  # it has heard enough
            return read(connection)

    def ask(
        self,
        line: str = "POST /predict",
        body: bytes | None = None,
        timeout: float = 20.0,
        **headers: str | None,
    ) -> Answer:
        """Send one request, and return its answer."""
        if body is not None:
            headers = {"Content-Length": str(len(body)), **headers}
        head = self.head(line, Connection="close", **headers)
        return self.send(head, body or b"", timeout=timeout)

    @property
    def memory(self) -> float:
        """MB that the process that answers takes."""
        ours = next(each for each in psutil.process_iter() if self._listens(each))
        return float(worker(ours.pid).memory_info().rss / 2**20)

    def _listens(self, process: psutil.Process) -> bool:
        try:
            found = process.cmdline()
        except psutil.Error:
            return False
        return "--port" in found and str(self.port) in found


def read(connection: socket.socket) -> Answer:
    """Read one answer of a connection."""
    received = b""
    try:
        while part := connection.recv(2**20):
            received += part
            head, end, content = received.partition(b"\r\n\r\n")
            fields = headers_of(head)
            if end and len(content) >= int(fields.get("content-length", 2**30)):
                break
    except OSError:
        pass
    head, _, content = received.partition(b"\r\n\r\n")
    return Answer(int(head[9:12] or 0), headers_of(head), content)


def headers_of(head: bytes) -> dict[str, str]:
    """Return the headers in the head of an answer by lower-case name."""
    lines = (line.partition(":") for line in head.decode("latin-1").split("\r\n")[1:])
    return {name.lower(): value.strip() for name, _, value in lines}


@contextmanager
def served(
    bundle: Path, folder: Path, *, secured: bool = False, **environment: str
) -> Iterator[Server]:
    """Serve a bundle in a folder for as long as the block lasts."""
    token, access = None, Access()
    if secured:
        token, line = new_token("tests")
        (folder / "tokens").write_text(line + "\n")
        (folder / "tokens").chmod(0o600)
        access = Access(tokens=folder / "tokens")
    port, log = free_port(), folder / "server.log"
    argv, env = serve_command(bundle, port, access)
    with running(argv, env | environment, port, log=log):
        yield Server(port, token, log)


def prediction(**values: Any) -> bytes:
    """Return the body of a request for one patient."""
    return json.dumps({"patient": {"age_years": 61, **values}}).encode()
