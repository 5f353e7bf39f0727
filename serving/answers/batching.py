"""Where requests wait for the model: single patients go together, long lists go in parts.

The model takes sixteen patients in little more time than one. While it answers, those who ask next
wait, and are then answered all at once: nobody waits for a group to fill, and the more ask, the
less each costs. A long list is cut into parts that have threads of their own, so that who asks for
one patient does not wait behind five thousand. The event loop does neither: it goes on taking
requests in, counting them, and turning away those that are too many.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from typing import NamedTuple, TypeVar

import orjson

from accomplice.serving.answers.predictor import Predictor
from accomplice.serving.requests.validation import Asked

T = TypeVar("T")

#: Single patients answered at once at the most.
TOGETHER = 64
#: Patients of a part of a list that is alone.
PART = 500
#: Long requests worked on at once: what one of them holds meanwhile is tens of MB.
LISTS = 2
#: Threads for lists and whatever else takes long; the model's work lets other threads run.
THREADS = 2


class _Waiting(NamedTuple):
    asked: Asked
    answer: asyncio.Future[bytes]


class Desk:
    """Has a predictor's answers made, in threads."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self._signature = orjson.dumps(predictor.signature)[1:]
        self._waiting: deque[_Waiting] = deque()
        self._going: asyncio.Task[None] | None = None
        self._lists = 0
        self.turn = asyncio.Semaphore(LISTS)
        """Who asks for much waits for it."""
        self._single, self._long = (
            ThreadPoolExecutor(n, name) for n, name in ((1, "single"), (THREADS, "long"))
        )

    async def one(self, asked: Asked) -> bytes:
        """Return the answer to a request for one patient, as JSON."""
        waiting = _Waiting(asked, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._going is None or self._going.done():
            self._going = asyncio.create_task(self._go())
        return await waiting.answer

    async def many(self, asked: Asked) -> bytes:
        """Return the answer to a request for one patient or more, in their order, as JSON."""
        self._lists += 1
        try:
            # Smaller parts are for the sake of threads that had nothing to do.
            patients, size = asked.patients, PART * min(self._lists, THREADS)
            parts = [
                Asked(patients[start : start + size], asked.times)
                for start in range(0, len(patients), size)
            ]
            written = await asyncio.gather(
                *(self.away(partial(self.predictor.written, part)) for part in parts)
            )
        finally:
            self._lists -= 1
        # Joined once: a list's answer is some MB.
        answers = [*chain.from_iterable(written)]
        answers[0] = b'{"patients":[' + answers[0]
        answers[-1] += b"]," + self._signature
        return b",".join(answers)

    async def away(self, work: Callable[[], T]) -> T:
        """Do what takes long in a thread, so that others are answered meanwhile."""
        return await asyncio.get_running_loop().run_in_executor(self._long, work)

    def close(self) -> None:
        """End the threads, once what they do is done."""
        self._single.shutdown(wait=False)
        self._long.shutdown(wait=False)

    async def _go(self) -> None:
        """Answer group after group until nobody waits."""
        loop = asyncio.get_running_loop()
        while self._waiting:
            group = self._next()
            if not group:
                return  # all of them gave up
            asked = [waiting.asked for waiting in group]
            found = await loop.run_in_executor(self._single, self._group, asked)
            for waiting, answer in zip(group, found, strict=True):
                if waiting.answer.done():
                    continue  # given up meanwhile
                if isinstance(answer, bytes):
                    waiting.answer.set_result(answer)
                else:
                    waiting.answer.set_exception(answer)

    def _next(self) -> list[_Waiting]:
        """Take those who wait longest and ask for the same months."""
        group: list[_Waiting] = []
        while self._waiting and len(group) < TOGETHER:
            waiting = self._waiting[0]
            if waiting.answer.done():
                self._waiting.popleft()
                continue
            if group and waiting.asked.times != group[0].asked.times:
                break
            group.append(self._waiting.popleft())
        return group

    def _group(self, asked: Sequence[Asked]) -> list[bytes | Exception]:
        """Answer requests for one patient each and the same months."""
        if not asked:
            return []
        try:
            patients = [each.patients[0] for each in asked]
            answers = self.predictor.written(Asked(patients, asked[0].times))
            return [answer[:-1] + b"," + self._signature for answer in answers]
        except Exception as error:
            # Whoever brought the error is not to take the others along.
            if len(asked) == 1:
                return [error]
            return [self._group([each])[0] for each in asked]
