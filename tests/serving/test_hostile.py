"""A real server, asked what it should not be: it says what is wrong, repeats nothing, and stays up.

Where it is asked by schemathesis, whatever the documentation allows is answered as documented.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from accomplice.serving.api.tokens import new_token
from accomplice.serving.deployment.server import Access, running, serve_command
from accomplice.training.processes import HOST, free_port

CANARY = "canary-71"
NUMBER = 86420.97531
MB = 2**20


@dataclass
class Server:
    port: int
    token: str
    log: Path

    def send(self, *parts: bytes, **headers: str) -> tuple[int, dict[str, Any]]:
        """Send bytes of a body as they are; return status and answer, 0 where there is none."""
        named = {
            "Host": HOST,
            "Authorization": f"Bearer {self.token}",
            "Content-Type": "application/json",
            "Content-Length": str(sum(map(len, parts))),
            "Connection": "close",
        }
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        lines = [f"{name}: {value}\r\n" for name, value in named.items() if value]
        answer = b""
        with socket.create_connection((HOST, self.port), timeout=30) as connection:
            try:
                connection.sendall(f"POST /predict HTTP/1.1\r\n{''.join(lines)}\r\n".encode())
                for part in parts:
                    connection.sendall(part)
                if headers.get("half"):
                    connection.shutdown(socket.SHUT_WR)
            except (BrokenPipeError, ConnectionResetError):
                pass  # it has heard enough
            try:
                while part := connection.recv(65536):
                    answer += part
            except ConnectionResetError:
                pass
        head, _, body = answer.partition(b"\r\n\r\n")
        if not head:
            return 0, {}
        return int(head[9:12]), json.loads(body) if body[:1] == b"{" else {}

    def is_well(self, patient: dict[str, Any]) -> bool:
        status, answer = self.send(json.dumps({"patient": patient}).encode())
        return status == 200 and "risk" in answer

    @property
    def keeps_quiet(self) -> bool:
        text = self.log.read_text(encoding="utf-8", errors="replace")
        return CANARY not in text and str(NUMBER) not in text and "Traceback" not in text


@pytest.fixture(scope="module")
def server(bundle_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("hostile")
    token, line = new_token("tests")
    (folder / "tokens").write_text(line + "\n")
    port, log = free_port(), folder / "server.log"
    argv, env = serve_command(bundle_path, port, Access(tokens=folder / "tokens"))
    with running(argv, env, port, log=log):
        yield Server(port, token, log)


def patient_of(**values: Any) -> bytes:
    return json.dumps({"patient": {"patient": CANARY, **values}}).encode()


def raw(text: str) -> bytes:
    return b'{"patient": {"age_years": %b, "sex": "%b"}}' % (text.encode(), CANARY.encode())


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (raw("NaN"), 400),
        (raw("Infinity"), 400),
        (raw("-Infinity"), 400),
        (raw("1e309"), 400),
        (raw("1e308"), 200),
        (raw("-1e308"), 200),
        (raw("1" * 400), 400),
        (raw("86420.97531"), 200),
        (raw('"' + "9" * MB + '"'), 200),
        (patient_of(**{CANARY * 20_000: 1}), 400),
        (patient_of(sex=CANARY * 100_000), 200),
        (patient_of(**{f"{CANARY}{i}": i for i in range(20_000)}), 400),
        (b"[" * 100_000, 400),
        (b'{"patient":' * 5_000, 400),
        (b'{"patient": {"sex": ' + b"[" * 900 + b"]" * 900 + b"}}", 400),
        (patient_of(sex={"a": [CANARY]}), 400),
        (b"", 400),
        (b"null", 400),
        (b"\xef\xbb\xbf{}", 400),
        (b'{"patient": {"sex": "\xff\xfe"}}', 400),
        (b'{"patient": {"sex": "\\ud800"}}', 400),
        (patient_of(sex="\0"), 200),
        (patient_of()[:-3], 400),
        (b'{"patient": {}, "patient": {}, "' + CANARY.encode() + b'": 1}', 400),
        (json.dumps({"patient": {}, "times": [NUMBER]}).encode(), 400),
        (json.dumps({"patient": {}, "times": [[CANARY]]}).encode(), 400),
    ],
)
def test_bodies(server: Server, patient: dict[str, Any], body: bytes, status: int) -> None:
    found, answer = server.send(body)
    assert found == status
    said = json.dumps(answer)
    if status == 400:
        assert answer["error"].keys() == {"code", "message", "details"}
        assert CANARY not in said
    assert str(NUMBER) not in said
    assert server.is_well(patient)
    assert server.keeps_quiet


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("", 415),
        ("application/json; charset=utf-8", 200),
        ("Application/JSON", 200),
        ("text/plain", 415),
        ("application/xml; charset=" + CANARY, 415),
        ("application/vnd.bentoml+pickle", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=" + CANARY, 415),
    ],
)
def test_types(server: Server, patient: dict[str, Any], kind: str, status: int) -> None:
    found, answer = server.send(json.dumps({"patient": patient}).encode(), Content_Type=kind)
    assert found == status, answer
    assert server.is_well(patient)
    assert server.keeps_quiet


def chunked(*parts: bytes) -> list[bytes]:
    return [*(b"%x\r\n%b\r\n" % (len(part), part) for part in parts), b"0\r\n\r\n"]


def test_lengths(server: Server, patient: dict[str, Any]) -> None:
    whole = json.dumps({"patient": patient}).encode()
    pieces: dict[str, str] = {"Transfer_Encoding": "chunked", "Content_Length": ""}
    assert server.send(*chunked(whole[:20], whole[20:]), **pieces)[0] == 200
    # It ends before it has said what it would.
    assert server.send(whole[:-5], Content_Length=str(len(whole)), half="yes")[0] in (0, 400)
    assert server.send(*chunked(whole[:20])[:-1], **pieces, half="yes")[0] in (0, 400)
    assert server.send(b"zz\r\n" + CANARY.encode(), **pieces)[0] in (0, 400)
    assert server.send(whole, Content_Length=CANARY)[0] in (400, 411)
    assert server.send(whole, Content_Encoding="gzip")[0] == 415
    assert server.is_well(patient)
    assert server.keeps_quiet


def test_a_hundred_megabytes(server: Server, patient: dict[str, Any]) -> None:
    part = CANARY.encode().ljust(MB, b" ")
    found, answer = server.send(*[part] * 100)
    assert (found, answer["error"]["code"]) == (413, "too_large")
    pieces = {"Transfer_Encoding": "chunked", "Content_Length": ""}
    found, answer = server.send(*chunked(*[part] * 100), **pieces)
    assert (found, answer["error"]["code"]) == (413, "too_large")
    assert server.send(b"{}", Content_Length=str(100 * MB), half="yes")[0] in (0, 400, 413)
    assert server.is_well(patient)
    assert server.keeps_quiet


def schemathesis(server: Server, *options: str) -> tuple[int, str]:
    """Ask all that the documentation names; return how many cases there were, and the report."""
    program = Path(sys.executable).parent / "schemathesis"
    command = [str(program), "run", f"http://{HOST}:{server.port}/docs.json", "--checks", "all"]
    header = f"Authorization: Bearer {server.token}"
    done = subprocess.run(
        [*command, "--header", header, "--no-color", *options],
        capture_output=True,
        text=True,
        # What it finds and keeps is not the project's.
        cwd=server.log.parent,
        env={**os.environ, "COLUMNS": "100", "PYTHONIOENCODING": "utf-8"},
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    cases = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
    assert cases is not None
    assert cases[1] == cases[2]
    return int(cases[1]), done.stdout


def test_what_is_documented_is_so(server: Server, patient: dict[str, Any]) -> None:
    cases, _ = schemathesis(server, "--phases", "examples,coverage,fuzzing", "--max-examples", "20")
    assert cases > 60
    assert server.is_well(patient)
    assert server.keeps_quiet


@pytest.mark.slow
def test_what_is_documented_is_so_ten_thousand_times(
    server: Server, patient: dict[str, Any]
) -> None:
    cases, _ = schemathesis(server, "--max-examples", "2500")
    assert cases >= 10_000
    assert server.is_well(patient)
    assert server.keeps_quiet
