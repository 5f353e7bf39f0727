"""Starting and ending of servers, tried on small ones that stand in for BentoML's."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil
import pytest

from accomplice.data.errors import InputError
from accomplice.serving.api.guard import CONCURRENCY_VARIABLE
from accomplice.serving.api.tokens import TOKENS_VARIABLE, new_token
from accomplice.serving.deployment import server
from accomplice.serving.deployment.server import Access, ServerError, running, serve_command
from accomplice.training.processes import check_free, free_port

ROOT = Path(__file__).resolve().parents[2]

# Answers every GET with 200; has a worker in a session of its own, as circus gives its workers.
SERVER = """
import http.server, pathlib, subprocess, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
worker = subprocess.Popen(
    [sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True
)
pathlib.Path(sys.argv[2]).write_text(str(worker.pid))
print("listening", flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def stand_in(port: int, note: Path) -> list[str]:
    return [sys.executable, "-c", SERVER, str(port), str(note)]


def gone(pid: int) -> bool:
    until = time.monotonic() + 10
    while time.monotonic() < until:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


def test_a_server_runs_for_the_block_and_ends_with_its_workers(tmp_path: Path) -> None:
    port, note, log = free_port(), tmp_path / "worker", tmp_path / "log"
    with running(stand_in(port, note), os.environ, port, 20, log) as url:
        assert url == f"http://127.0.0.1:{port}"
        with urllib.request.urlopen(url) as answer:
            assert answer.status == 200
        assert psutil.pid_exists(int(note.read_text()))
    assert gone(int(note.read_text()))
    assert "listening" in log.read_text()


def test_an_error_in_the_block_ends_the_server(tmp_path: Path) -> None:
    port, note = free_port(), tmp_path / "worker"

    def use_and_fail() -> None:
        with running(stand_in(port, note), os.environ, port, 20):
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        use_and_fail()
    assert gone(int(note.read_text()))


@pytest.mark.parametrize(
    ("code", "how"),
    [
        ("print('no such weights'); raise SystemExit(3)", "ended"),
        ("import time; print('no such weights', flush=True); time.sleep(60)", "not ready in time"),
    ],
)
def test_a_server_that_does_not_start_shows_its_log(code: str, how: str) -> None:
    port = free_port()
    with (
        pytest.raises(ServerError, match=how) as caught,
        running([sys.executable, "-c", code], os.environ, port, 2),
    ):
        pass
    assert "no such weights" in str(caught.value)


def test_a_taken_port_is_refused() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port} is taken"), running(["no"], {}, port):
            pass


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(InputError, match="no address of this machine"):
        check_free(free_port(), "192.0.2.1")


def test_a_port_is_looked_at_where_it_is_to_be(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.2", 0))
        taken.listen()
        port = taken.getsockname()[1]
        check_free(port)
        with pytest.raises(InputError, match="is taken"):
            check_free(port, "127.0.0.2")


def test_a_first_bundle_that_is_not_there_ends_the_server_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Nothing:
        every: float | None = None

        def environment(self) -> dict[str, str]:
            return {}

        def begin(self) -> None:
            raise InputError("no such model")

        def refresh(self) -> None:
            raise AssertionError

    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    command = [sys.executable, "-c", deaf], dict(os.environ)
    monkeypatch.setattr(server, "serve_command", lambda *_: command)
    began = time.monotonic()
    with pytest.raises(InputError, match="no such model"):
        server.serve(None, free_port(), supply=Nothing())
    assert time.monotonic() - began < 10


def test_the_command_binds_to_this_machine_and_sends_nothing_home(
    bundle_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCOMPLICE_BUNDLE", "/another")
    argv, env = serve_command(bundle_path, 4321)
    assert argv[:3] == [sys.executable, "-m", "accomplice.serving"]
    assert argv[argv.index("--host") + 1] == "127.0.0.1"
    assert argv[argv.index("--port") + 1] == "4321"
    assert env["ACCOMPLICE_BUNDLE"] == str(bundle_path)
    assert env["BENTOML_DO_NOT_TRACK"] == "True"
    assert env["PATH"].startswith(str(Path(sys.executable).parent))


def test_a_bento_is_served_by_its_own_code(bundle_path: Path, tmp_path: Path) -> None:
    shutil.copytree(bundle_path, tmp_path / "src" / "bundle")
    (tmp_path / "bento.yaml").touch()
    with pytest.raises(InputError, match="packed by an earlier release"):
        serve_command(tmp_path, 1)
    start = tmp_path / "src" / server.START
    start.parent.mkdir(parents=True)
    start.touch()
    _, env = serve_command(tmp_path, 1)
    assert env["PYTHONPATH"].split(os.pathsep)[0] == str(tmp_path / "src")
    assert "ACCOMPLICE_BUNDLE" not in env


def test_arrays_lie_in_huge_pages_unless_the_library_was_told_otherwise(
    bundle_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    assert serve_command(bundle_path, 4321)[1]["GLIBC_TUNABLES"] == (
        "glibc.malloc.hugetlb=1:glibc.malloc.arena_max=2:"
        "glibc.malloc.mmap_threshold=4194304:glibc.malloc.trim_threshold=33554432"
    )
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.check=3")
    assert serve_command(bundle_path, 4321)[1]["GLIBC_TUNABLES"] == "glibc.malloc.check=3"


def test_nothing_to_serve_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="neither a bundle"):
        serve_command(tmp_path, 1)


def test_an_interrupt_while_the_server_starts_is_no_failure(tmp_path: Path) -> None:
    port = free_port()
    code = (
        "import os, signal, sys, pathlib, accomplice.serving.deployment.server as server\n"
        "class Finder:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'psutil':\n"
        "            os.kill(os.getpid(), signal.SIGTERM)\n"
        "sys.meta_path.insert(0, Finder())\n"
        "server.serve_command = lambda path, port, access=None: (sys.argv[1:], dict(os.environ))\n"
        f"server.serve(pathlib.Path('any'), {port})\n"
    )
    command = [sys.executable, "-c", code, *stand_in(port, tmp_path / "worker")]
    assert subprocess.run(command, cwd=ROOT, timeout=30, check=False).returncode == 0


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_serving_in_the_foreground_ends_well_when_interrupted(
    tmp_path: Path, how: signal.Signals
) -> None:
    port, note = free_port(), tmp_path / "worker"
    code = (
        "import os, signal, sys, pathlib, accomplice.serving.deployment.server as server\n"
        # A shell starts what runs in the background with Ctrl-C ignored; tests may run there.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "server.serve_command = lambda path, port, access=None: (sys.argv[1:], dict(os.environ))\n"
        f"server.serve(pathlib.Path('any'), {port})\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, *stand_in(port, note)], cwd=ROOT)
    try:
        until = time.monotonic() + 20
        while not (note.is_file() and note.read_text()) and time.monotonic() < until:
            time.sleep(0.05)
        process.send_signal(how)
        assert process.wait(20) == 0
        assert gone(int(note.read_text()))
    finally:
        process.kill()
        process.wait()


def test_a_bundle_that_does_not_load_ends_the_server_with_its_reason(drifted_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "accomplice",
    ]
    command += ["serve", str(drifted_path), "--port", str(free_port())]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stdout.count("answers its own test rows differently") == 1
    assert "Traceback" not in done.stdout + done.stderr
    assert "ended by itself" in done.stderr
    assert len(done.stderr.splitlines()) == 1


class TestAccess:
    def test_other_addresses_need_tokens(self, tmp_path: Path, bundle_path: Path) -> None:
        with pytest.raises(InputError, match="needs --tokens"):
            serve_command(bundle_path, 1, Access("0.0.0.0"))
        (tmp_path / "tokens").write_text(new_token("a")[1])
        argv, env = serve_command(bundle_path, 1, Access("0.0.0.0", tmp_path / "tokens", 9))
        assert argv[argv.index("--host") + 1] == "0.0.0.0"
        assert env[TOKENS_VARIABLE] == str(tmp_path / "tokens")
        assert env[CONCURRENCY_VARIABLE] == "9"

    def test_a_limit_that_the_server_would_not_take_is_refused(self) -> None:
        for limit in (0, 1_000_000):
            with pytest.raises(InputError, match="--concurrency"):
                Access(concurrency=limit).environment()

    def test_a_name_is_no_address(self) -> None:
        with pytest.raises(InputError, match="give an address"):
            Access("example").environment()

    def test_a_token_file_is_read_before_the_server_starts(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="no token file"):
            Access("127.0.0.1", tmp_path / "none").environment()
