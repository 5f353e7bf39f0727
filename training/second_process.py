"""A second process beside that of a command, for work that does not depend on each other.

It makes nothing but results faster: a task gives the same bits in either process, a task that has
not begun in the second process when its result is needed is done in the first, and where there is
no second process, or it has ended, all tasks are.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Generic, TypeVar

from accomplice.training.processes import uninterrupted_children

T = TypeVar("T")

#: Environment variable with the number of processes, 1 or 2; by default 2 where there are as many
#: processors.
PROCESSES = "ACCOMPLICE_PROCESSES"
#: Maximum number of patients with whom there is a second process, whose copies of them need memory.
MOST_PATIENTS = 5000
#: Modules that the second process imports when it begins: those that take longest.
MODULES = ("accomplice.training.fitting.network",)


class Task(Generic[T]):
    """A piece of work, done when its result is asked for unless the second process has begun it.

    Args:
        here: function that does the work in this process.
        future: the same work in the second process; None without one.
        keeps: whether the work stays with the second process, which alone has the modules for it.
    """

    def __init__(
        self, here: Callable[[], T], future: Future[T] | None = None, *, keeps: bool = False
    ) -> None:
        self._here, self._future, self._keeps = here, future, keeps

    @property
    def begun(self) -> bool:
        """Whether the second process has the work, or has done it."""
        return self._future is not None

    def result(self) -> T:
        """Return the result of the work, or raise its error.

        Raises:
            Exception: any error of the work.
        """
        if self._future is not None and (self._keeps or not self._future.cancel()):
            # The second process may have been killed, for want of memory for example.
            with contextlib.suppress(BrokenProcessPool):
                return self._future.result()
        return self._here()


class SecondProcess:
    """The second process of a command, or none.

    Args:
        pool: executor with one process; None without one.
    """

    def __init__(self, pool: ProcessPoolExecutor | None = None) -> None:
        self._pool = pool
        self._end = contextlib.ExitStack()

    @property
    def runs(self) -> bool:
        """Whether there is a second process."""
        return self._pool is not None

    def submit(
        self,
        function: Callable[..., T],
        *args: Any,
        here: Callable[[], T] | None = None,
        keeps: bool = False,
    ) -> Task[T]:
        """Return a task of work that needs no result of other tasks.

        Args:
            function: function of a module, which is given ``args`` in either process.
            *args: arguments that can be pickled.
            here: function without arguments that does the work in this process instead, with a
                callback of progress for example.
            keeps: see :class:`Task`.
        """
        local = here or (lambda: function(*args))
        if self._pool is None:
            return Task(local)
        try:
            return Task(local, self._pool.submit(function, *args), keeps=keeps)
        except BrokenProcessPool:
            return Task(local)

    def end(self) -> None:
        """End the process, whatever it does, and wait for its end; later tasks run in this one."""
        self._pool = None
        self._end.close()


#: No second process.
ALONE = SecondProcess()


@contextlib.contextmanager
def second_process(*, wanted: bool = True) -> Iterator[SecondProcess]:
    """Start the second process of a command, which ends with the block.

    There is none if the block is not run by the command itself, since another program's main module
    might not bear to be imported; in a daemonic process, which may not have children; and with one
    processor.

    Args:
        wanted: whether there shall be one at all.
    """
    if not (wanted and processes() > 1 and _is_own_command()):
        yield ALONE
        return
    made = SecondProcess()
    try:
        made._pool = _start(made._end)
        yield made
    finally:
        made.end()


def processes() -> int:
    """Return the number of processes, 1 or 2, of a command that uses both processors."""
    if multiprocessing.current_process().daemon:
        return 1
    given = os.environ.get(PROCESSES, "")
    return min(2, int(given) if given.isdecimal() else _processors())


def _processors() -> int:
    """Return the number of processors of this process, at least 1."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with contextlib.suppress(OSError, ValueError):
        # A container's share of the processors, in microseconds for each period.
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return max(1, min(count or 1, int(quota) // int(period)))
    return count or 1


def _is_own_command() -> bool:
    """Whether this process runs the command ``accomplice``."""
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return str(spec.name) == "accomplice.__main__"
    return Path(getattr(main, "__file__", None) or "").stem == "accomplice"


def _start(end: contextlib.ExitStack) -> ProcessPoolExecutor:
    """Start the process, and add its end to a stack."""
    # Forked processes would have the locks of the parent's threads.
    context = multiprocessing.get_context("spawn")
    reader, writer = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(1, context, initializer=_begin, initargs=(reader, MODULES))
    end.callback(pool.shutdown, cancel_futures=True)
    end.callback(writer.close)
    with reader, uninterrupted_children():
        # The first task starts the process.
        pool.submit(int)
    return pool


def _begin(parent: Connection, modules: Sequence[str]) -> None:
    """Make the second process end with its parent, ignore Ctrl-C, and import modules.

    Args:
        parent: connection that is closed when the process shall end, and when its parent ends.
        modules: names of the modules.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    for name in modules:
        import_module(name)


def _end_with(parent: Connection) -> None:
    """End this process as soon as the parent's end of a connection is closed."""
    with contextlib.suppress(EOFError, OSError):
        parent.recv()
    os._exit(0)
