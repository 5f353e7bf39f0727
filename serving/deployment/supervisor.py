"""Supervision of a worker: the process that answers requests.

The supervisor holds the listening socket and all that a worker needs, and answers nothing. A worker
is a fork of it, so that another one is ready at once, and both share the memory of what was
imported and loaded. The supervisor has no other socket, by which another user could control it.

A worker that takes no more requests, whether it was killed or asked to end, is replaced at once;
connections meanwhile wait in the listening socket. One that is ready reports that its event loop
runs; without a report for ``STILL`` it is killed. A worker that ends before it was ready ends the
server, unless an earlier one was ready. The server also ends by a signal, and with the process that
started it, where that one asked for it. After a kill of any of these processes the port is free.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from accomplice.serving.api.errors import log_error, logger

#: Environment variable of a server that ends when its standard input is closed, set by
#: ``deployment.server``, which holds the other end: the folder to remove then.
TIED_VARIABLE = "ACCOMPLICE_TIED"
#: Signals that end the server.
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
#: Seconds that workers have to end before they are killed.
GRACE = 22.0
#: The same where the process that started the server has ended.
ABANDONED = 1.0
#: Maximum time in seconds between two reports of a worker, and seconds between two checks of it.
STILL, CHECK = 60.0, 10.0
#: Exit code of a worker that can never serve, such as with a changed bundle.
UNABLE = 2
#: Seconds before another worker is started in place of one that was never ready; twice as many each
#: time, up to the second number.
PAUSES = (0.5, 10.0)

#: Function that serves a listening socket and returns an exit code, given the file descriptors to
#: write to when ready and from then on (and to close when ending), and to read until the supervisor
#: has ended.
Work = Callable[[socket.socket, int, int], int]


@dataclass
class _Worker:
    """Worker that takes requests, or will."""

    pid: int
    channel: int
    """Pipe to which the worker writes when it is ready and from then on, and that it closes when it
    ends."""
    ready: bool = False
    reported: float = 0.0
    """Time of its last report, or since which it could not be read."""


class Supervisor:
    """Supervisor of the worker of a listening socket.

    Args:
        listener: the listening socket; closed when the server ends.
        work: function that a worker runs.
        parent: file descriptor whose other end is held by the process that started the server; None
            if the server does not end with that process.
    """

    def __init__(self, listener: socket.socket, work: Work, parent: int | None = None) -> None:
        self._listener, self._work, self._parent = listener, work, parent
        # The first receives signals; by the second, workers notice that the supervisor has ended.
        self._signalled, self._signals = os.pipe()
        self._watched, self._held = os.pipe()
        self._worker: _Worker | None = None
        self._pids: set[int] = set()
        self._unable = self._proven = False
        self._checked = time.monotonic()

    def run(self) -> int:
        """Keep one worker until the server has to end, and return the server's exit code.

        0: asked to end; ``UNABLE``: a worker exited with it; 1: the first worker was never ready.
        """
        os.set_blocking(self._signals, False)
        signal.set_wakeup_fd(self._signals, warn_on_full_buffer=False)
        for each in (*ENDING, signal.SIGCHLD):
            # Under nohup SIGHUP is ignored, and in a shell's background SIGINT. Where SIGCHLD is
            # ignored, the system keeps no exit code of a worker.
            if each == signal.SIGCHLD or signal.getsignal(each) is not signal.SIG_IGN:
                signal.signal(each, lambda *_: None)
        # A collection would write to each object, so that its page is no longer shared.
        gc.collect()
        gc.freeze()
        pause, due = PAUSES[0], time.monotonic()
        while True:
            if self._worker is None and time.monotonic() >= due:
                try:
                    self._start()
                except OSError as error:
                    log_error(error)
                    if not self._proven:
                        return self._end(0.0, 1)
                    due = time.monotonic() + PAUSES[1]
            if self._asked_to_end(CHECK if self._worker else max(0.0, due - time.monotonic())):
                return self._end(GRACE)
            if self._left():
                return self._end(ABANDONED)
            worker = self._worker
            self._reap()
            if worker is None:
                continue
            if not self._over(worker):
                self._kill_if_still(worker)
                continue
            self._worker, due = None, time.monotonic()
            if worker.ready:
                pause = PAUSES[0]
                logger.warning("the worker has ended: another one starts")
                continue
            if self._unable or not self._proven:
                return self._end(0.0, 1)
            due += pause
            pause = min(2 * pause, PAUSES[1])
            logger.error("the worker ended before it was ready: another one starts soon")

    def _asked_to_end(self, timeout: float) -> bool:
        """Wait for a signal, the worker or the parent; return whether a signal to end arrived.

        Args:
            timeout: maximum time in seconds.
        """
        sources = [self._signalled]
        sources += [self._worker.channel] if self._worker else []
        sources += [] if self._parent is None else [self._parent]
        if self._signalled not in select.select(sources, [], [], timeout)[0]:
            return False
        return not {*os.read(self._signalled, 4096)}.isdisjoint(ENDING)

    def _left(self) -> bool:
        """Return whether the process that started the server has ended."""
        if self._parent is None or not select.select([self._parent], [], [], 0)[0]:
            return False
        return not os.read(self._parent, 4096)

    def _over(self, worker: _Worker) -> bool:
        """Return whether a worker takes no more requests, and note whether it has been ready."""
        if not select.select([worker.channel], [], [], 0)[0]:
            return False
        if os.read(worker.channel, 4096):
            worker.ready, worker.reported = True, time.monotonic()
            self._proven = True
            return False
        os.close(worker.channel)
        if not worker.ready:
            # Only its end has closed the pipe.
            self._reap(worker.pid)
        return True

    def _kill_if_still(self, worker: _Worker) -> None:
        """Kill a ready worker that has not reported for ``STILL``."""
        now, before = time.monotonic(), self._checked
        self._checked = now
        if now - before > 2 * CHECK:
            # This process was stopped too.
            worker.reported = now
        if worker.ready and now - worker.reported > STILL:
            logger.error("the worker stands still: it is killed")
            os.kill(worker.pid, signal.SIGKILL)
            worker.reported = now

    def _start(self) -> None:
        """Fork a worker.

        Raises:
            OSError: there is no memory, process id or file descriptor left for it.
        """
        channel, report = os.pipe()
        # A signal to the fork must not be taken for one to this process.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, (*ENDING, signal.SIGCHLD))
        try:
            pid = os.fork()
            if pid == 0:
                self._become_worker(report, channel)
        except OSError:
            os.close(channel)
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            os.close(report)
        self._pids.add(pid)
        self._worker = _Worker(pid, channel)

    def _become_worker(self, report: int, channel: int) -> NoReturn:
        """Serve, in a fork of the supervisor, and exit."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for each in (*ENDING, signal.SIGCHLD):
                if signal.getsignal(each) is not signal.SIG_IGN:
                    signal.signal(each, signal.SIG_DFL)
            for descriptor in (channel, self._held, self._signalled, self._signals):
                os.close(descriptor)
            if self._parent is not None:
                nothing = os.open(os.devnull, os.O_RDONLY)
                os.dup2(nothing, self._parent)
                os.close(nothing)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, (*ENDING, signal.SIGCHLD))
            code = self._work(self._listener, report, self._watched)
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except Exception as error:
            log_error(error)
        finally:
            os._exit(code)

    def _reap(self, pid: int | None = None) -> None:
        """Note which workers have ended; wait for one of them if its process id is given."""
        for each in [*self._pids]:
            ended, status = os.waitpid(each, 0 if each == pid else os.WNOHANG)
            if ended:
                self._pids.discard(each)
                self._unable |= os.waitstatus_to_exitcode(status) == UNABLE

    def _end(self, grace: float, code: int = 0) -> int:
        """End all workers, and return the server's exit code.

        Args:
            grace: seconds until workers are killed.
            code: exit code, unless a worker was unable to serve.
        """
        # Before the workers are ended, so that no process listens once they have closed it too.
        self._listener.close()
        self._kill(signal.SIGTERM)
        until = time.monotonic() + grace
        self._worker = None
        self._reap()
        while self._pids and (left := until - time.monotonic()) > 0:
            self._asked_to_end(left)
            if self._left():
                self._parent, until = None, min(until, time.monotonic() + ABANDONED)
            self._reap()
        self._kill(signal.SIGKILL)
        for pid in [*self._pids]:
            self._reap(pid)
        return UNABLE if self._unable else code

    def _kill(self, number: signal.Signals) -> None:
        for pid in self._pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
