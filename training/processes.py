"""Processes of this machine: unique names, free ports, and ending a server with its workers."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import multiprocessing.process
import os
import platform
import secrets
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import FrameType

from accomplice.data.errors import InputError

#: Address on which servers listen by default: this machine alone reaches it.
HOST = "127.0.0.1"
#: First of the ports that :func:`free_port` draws from.
FIRST_PORT = 20_000
#: First port that Linux gives to a process that asks for any; other systems begin higher.
FIRST_SYSTEM_PORT = 32_768
#: Connections that the system holds for a server that is busy or being replaced.
BACKLOG = 2048
#: Seconds that a server has to end by itself; it gives its workers 22.
GRACE = 24.0


def this_process() -> str:
    """Return a unique name of this process: its machine, process id and start."""
    return f"{_machine()}.{os.getpid()}.{_start_of(os.getpid())}"


def has_ended(process: str) -> bool:
    """Whether a process of this machine has ended; False for one of another machine.

    Args:
        process: name by :func:`this_process`.
    """
    machine, _, rest = process.partition(".")
    pid, _, start = rest.partition(".")
    return machine == _machine() and pid.isdecimal() and _start_of(int(pid)) != start


@cache
def _machine() -> str:
    """Return a digest of the machine's name, its boot and the namespace of its process ids."""
    parts = [platform.node()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii"))
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _start_of(pid: int) -> str | None:
    """Return the start time of a process, in the system's own unit; None if it has ended.

    A process that its parent has not yet waited for (a zombie) has ended.
    """
    if Path("/proc/self/stat").is_file():
        try:
            stat = Path("/proc", str(pid), "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None
        # After the name, which may hold blanks and brackets: the state, and the start in ticks.
        fields = stat.rpartition(")")[2].split()
        return None if fields[0] in "ZX" else fields[19]
    import psutil  # type: ignore[import-untyped]  # slow to import, and seldom needed

    with contextlib.suppress(psutil.NoSuchProcess):
        return str(round(psutil.Process(pid).create_time()))
    return None


def free_port() -> int:
    """Return a port of :data:`HOST` that nothing listens on at this moment.

    It is drawn below the range from which the system serves processes that ask for any port, so
    that none of those takes it before the caller listens.
    """
    while True:
        port = FIRST_PORT + secrets.randbelow(FIRST_SYSTEM_PORT - FIRST_PORT)
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            else:
                return port


def check_free(port: int, host: str = HOST) -> None:
    """Refuse a port on which a server could not listen.

    Args:
        port: port to listen on.
        host: IP address to listen on.

    Raises:
        InputError: as for :func:`listen`.
    """
    listen(port, host).close()


def listen(port: int, host: str = HOST) -> socket.socket:
    """Return a listening socket.

    Args:
        port: port to listen on.
        host: IP address to listen on.

    Raises:
        InputError: the port is taken or needs privileges, or ``host`` is no address of this
            machine.
    """
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
        # Fails where another process was bound to the port before, and has begun to listen.
        made.listen(BACKLOG)
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRNOTAVAIL:
            raise InputError(f"{host} is no address of this machine: name another") from None
        if error.errno == errno.EACCES:
            raise InputError(f"port {port} needs rights: name one above 1023") from None
        raise InputError(f"port {port} is taken: name another one") from None
    return made


def end(process: subprocess.Popen[bytes], grace: float = GRACE) -> None:
    """End a server and all its workers, which run in sessions of their own.

    Args:
        process: the server's process.
        grace: seconds that the server has to end by itself; then it is killed with its workers.
    """
    import psutil

    family = []
    with contextlib.suppress(psutil.NoSuchProcess):
        parent = psutil.Process(process.pid)
        family = [parent, *parent.children(recursive=True)]
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace)
    # psutil also compares the start: another process with a reused pid is not killed.
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait()
    if process.stdin is not None:
        process.stdin.close()


@contextlib.contextmanager
def term_interrupts() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise KeyboardInterrupt in the block, so that a server is ended too.

    A signal that is ignored, as SIGHUP is under nohup, stays so. A second one is ignored, so that
    it does not interrupt the end. Outside the main thread, where no signal can be handled, nothing
    is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        for number in before:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    # Windows has no SIGHUP.
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    before = {number: was for number, was in before.items() if was is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def uninterrupted_children() -> Iterator[None]:
    """Let processes that are spawned in the block ignore Ctrl-C; their parent has to end them.

    A terminal sends Ctrl-C to all processes. A process that is still importing would print its
    traceback, since it can ignore Ctrl-C only if it inherits that. On Windows nothing is changed.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    from multiprocessing import resource_tracker

    start = multiprocessing.process.BaseProcess.start

    def blocked(self: multiprocessing.process.BaseProcess) -> None:
        resource_tracker.ensure_running()  # which would unblock it
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            start(self)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    multiprocessing.process.BaseProcess.start = blocked  # type: ignore[method-assign]
    try:
        yield
    finally:
        multiprocessing.process.BaseProcess.start = start  # type: ignore[method-assign]
