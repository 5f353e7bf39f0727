"""Load on a server of this machine: keep-alive connections, each asking as soon as it is answered.

Written on bare streams, so that asking costs a fraction of what answering does; how much it cost is
measured with the rest.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import psutil

HOST = "127.0.0.1"
#: What the log of a run calls an answer that never came.
BROKEN = 0
Check = Callable[[int, int, bytes], bool]
"""Place of the request's body, status and body of the answer -> whether that is right."""


@dataclass
class Load:
    """What happened in one run."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    """Seconds of each request that was answered with 200."""
    statuses: Counter[int] = field(default_factory=Counter)
    """Answers by status; ``BROKEN`` counts connections that broke."""
    wrong: int = 0
    """Answers that the check refused."""
    broken_at: list[float] = field(default_factory=list)
    """When connections broke, in seconds since the beginning."""
    asking: float = 0.0
    """Processor seconds of the asking side."""
    answering: float = 0.0
    """Processor seconds of the server."""

    @property
    def answered(self) -> int:
        """How many requests were answered with 200."""
        return len(self.latencies)

    @property
    def rate(self) -> float:
        """Requests answered with 200 a second."""
        return self.answered / self.seconds

    def quantile(self, part: float) -> float:
        """Quantile of the latencies in milliseconds."""
        return 1000 * float(np.quantile(self.latencies, part)) if self.latencies else float("nan")

    @property
    def cost(self) -> float:
        """Processor milliseconds of the server for each request answered."""
        return 1000 * self.answering / max(self.answered, 1)

    def __add__(self, other: Load) -> Load:
        return Load(
            self.seconds + other.seconds,
            self.latencies + other.latencies,
            self.statuses + other.statuses,
            self.wrong + other.wrong,
            self.broken_at + other.broken_at,
            self.asking + other.asking,
            self.answering + other.answering,
        )


def request(path: str, body: bytes, port: int) -> bytes:
    """Return a POST of JSON as it goes over the wire."""
    head = f"POST {path} HTTP/1.1\r\nHost: {HOST}:{port}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def load(
    port: int,
    path: str,
    bodies: Sequence[bytes],
    clients: int,
    seconds: float,
    *,
    most: int | None = None,
    check: Check | None = None,
    server: int | None = None,
) -> Load:
    """Ask a server for some seconds.

    Args:
        port: it listens on.
        path: of the endpoint.
        bodies: sent in turn, each client beginning at another one.
        clients: connections at once.
        seconds: after which no more is asked.
        most: requests after which no more is asked.
        check: of every answer.
        server: process whose processor time, and its children's, is measured.
    """
    wires = [request(path, body, port) for body in bodies]
    return asyncio.run(_run(port, wires, clients, seconds, most, check, server))


async def _run(
    port: int,
    wires: Sequence[bytes],
    clients: int,
    seconds: float,
    most: int | None,
    check: Check | None,
    server: int | None,
) -> Load:
    found = Load()
    family = [] if server is None else _family(server)
    before = processor_seconds(family)
    began, asking = time.perf_counter(), time.process_time()
    left = iter(range(most)) if most is not None else None

    def another() -> bool:
        if time.perf_counter() - began > seconds:
            return False
        return left is None or next(left, None) is not None

    async def one(client: int) -> None:
        place, streams = client * len(wires) // clients, None
        while another():
            place = (place + 1) % len(wires)
            sent = time.perf_counter()
            try:
                if streams is None:
                    streams = await asyncio.open_connection(HOST, port, limit=2**24)
                status, body, keep = await ask(*streams, wires[place])
            except (OSError, asyncio.IncompleteReadError, ValueError):
                found.statuses[BROKEN] += 1
                found.broken_at.append(sent - began)
                await _close(streams)
                streams = None
                await asyncio.sleep(0.05)
                continue
            found.statuses[status] += 1
            if status == 200:
                found.latencies.append(time.perf_counter() - sent)
            if check is not None and not check(place, status, body):
                found.wrong += 1
            if not keep:
                await _close(streams)
                streams = None
        await _close(streams)

    await asyncio.gather(*(one(client) for client in range(clients)))
    found.seconds = time.perf_counter() - began
    found.asking = time.process_time() - asking
    found.answering = processor_seconds(family) - before
    return found


async def ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wire: bytes
) -> tuple[int, bytes, bool]:
    """Send one request; return status and body of the answer, and whether more may be sent."""
    writer.write(wire)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    status = int(head[9:12])
    _, found, rest = head.partition(b"content-length:")
    if not found:
        raise ValueError("an answer without its length")
    body = await reader.readexactly(int(rest.split(b"\r\n", 1)[0]))
    return status, body, b"connection: close" not in head


async def _close(streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None) -> None:
    if streams is not None:
        streams[1].close()
        with contextlib.suppress(OSError):
            await streams[1].wait_closed()


def _family(pid: int) -> list[psutil.Process]:
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


def processor_seconds(family: Sequence[psutil.Process]) -> float:
    """Processor time that processes have taken so far."""
    total = 0.0
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def worker(pid: int) -> psutil.Process:
    """Return the process of a server that answers: the largest of those that started no other."""
    leaves = [process for process in _family(pid) if not process.children()]
    return max(leaves, key=lambda process: process.memory_info().rss)
