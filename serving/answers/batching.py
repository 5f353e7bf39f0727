"""Request scheduler: single patients in micro-batches, lists in chunks on worker threads.

The model predicts sixteen patients in little more time than one. Requests for one patient that come
in while it is busy are its next batch; none waits for a batch to fill. Lists are cut into chunks
with threads of their own, so that a single patient does not wait behind five thousand. The event
loop goes on receiving, counting and refusing requests.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from itertools import chain
from typing import NamedTuple, TypeVar

import orjson

from accomplice.serving.answers.predictor import Predictor
from accomplice.serving.deployment.memory import give_back
from accomplice.serving.requests.validation import CheckedRequest

T = TypeVar("T")

#: Maximum number of single patients in a batch.
MOST_SINGLE = 64
#: Names of a patient beyond which it is answered by itself.
MANY_NAMES = 1000
#: Patients in a chunk of a list, if it is the only list; twice as many if there are others.
CHUNK = 500
#: Maximum number of long requests under way at once: each takes tens of MB.
LONG_REQUESTS = 2
#: Seconds after the last long request until its memory is given back.
REST = 2.0
#: Minimum number of points of all curves of a long request's answer.
LONG_ANSWER = 10_000
#: Threads for long work; numpy releases the interpreter's lock.
THREADS = 2


class _Waiting(NamedTuple):
    """A request for one patient, and the future of its answer."""

    request: CheckedRequest
    answer: asyncio.Future[bytes]


class RequestScheduler:
    """Scheduler that runs a predictor in worker threads.

    Args:
        predictor: predictor of the bundle in service.
    """

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self._model_and_note = orjson.dumps(predictor.model_and_note)[1:]
        self._waiting: deque[_Waiting] = deque()
        self._batches: asyncio.Task[None] | None = None
        self._lists = self._long_requests = 0
        self._rest: asyncio.TimerHandle | None = None
        self._turns = asyncio.Semaphore(LONG_REQUESTS)
        self._single, self._aside, self._long = (
            ThreadPoolExecutor(n, name)
            for n, name in ((1, "single"), (1, "aside"), (THREADS, "long"))
        )

    def is_long(self, request: object) -> bool:
        """Whether the answer to a request takes so much memory that it has to wait for its turn."""
        if not isinstance(request, CheckedRequest):
            return False
        points = len(self.predictor.grid) + len(request.times or ())
        return len(request.patients) * points >= LONG_ANSWER

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for the turn of a long request, which lasts until the block ends."""
        self._long_requests += 1
        try:
            async with self._turns:
                yield
        finally:
            self._long_requests -= 1
            if self._rest is not None:
                self._rest.cancel()
            self._rest = asyncio.get_running_loop().call_later(REST, self._give_back)

    async def predict_one(self, request: CheckedRequest) -> bytes:
        """Return the answer to a request for one patient, as JSON; raise the predictor's errors."""
        if len(request.patients[0]) > MANY_NAMES:
            # Alone: in a batch all others would wait for it.
            (answer,) = await self.aside(partial(self._predict_batch, [request]))
            if isinstance(answer, Exception):
                raise answer
            return answer
        waiting = _Waiting(request, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._batches is None or self._batches.done():
            self._batches = asyncio.create_task(self._run_batches())
        return await waiting.answer

    async def predict_many(self, request: CheckedRequest) -> bytes:
        """Return the answers to a request for patients, at least one, in their order, as JSON."""
        self._lists += 1
        try:
            # Chunks of the only list are small enough to occupy all threads.
            patients, size = request.patients, CHUNK * min(self._lists, THREADS)
            chunks = [
                partial(self._predict_chunk, request, slice(start, start + size))
                for start in range(0, len(patients), size)
            ]
            made = await asyncio.gather(*(self.in_thread(chunk) for chunk in chunks))
        finally:
            self._lists -= 1
        # Joined once: a list's answer has some MB.
        answers = [*chain.from_iterable(made)]
        answers[0] = b'{"patients":[' + answers[0]
        answers[-1] += b"]," + self._model_and_note
        return b",".join(answers)

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Return the result of long work, which is done in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._long, work)

    async def aside(self, work: Callable[[], T]) -> T:
        """Return the result of work about one patient, which does not wait for lists."""
        return await asyncio.get_running_loop().run_in_executor(self._aside, work)

    def _give_back(self) -> None:
        """Return memory to the system, unless another long request would take it again."""
        if not self._long_requests:
            asyncio.get_running_loop().run_in_executor(None, give_back)

    def close(self) -> None:
        """Let the threads end after their work; do not wait for them."""
        for threads in (self._single, self._aside, self._long):
            threads.shutdown(wait=False)

    def _predict_chunk(self, request: CheckedRequest, part: slice) -> list[bytes]:
        """Answer a part of a list."""
        return self.predictor.answers_json(CheckedRequest(request.patients[part], request.times))

    async def _run_batches(self) -> None:
        """Answer batches until no request waits."""
        loop = asyncio.get_running_loop()
        while batch := self._next_batch():
            requests = [waiting.request for waiting in batch]
            answers = await loop.run_in_executor(self._single, self._predict_batch, requests)
            for waiting, answer in zip(batch, answers, strict=True):
                if waiting.answer.done():
                    continue  # cancelled meanwhile
                if isinstance(answer, bytes):
                    waiting.answer.set_result(answer)
                else:
                    waiting.answer.set_exception(answer)

    def _next_batch(self) -> list[_Waiting]:
        """Remove and return the requests that wait longest and ask for the same months."""
        batch: list[_Waiting] = []
        while self._waiting and len(batch) < MOST_SINGLE:
            waiting = self._waiting[0]
            if waiting.answer.done():
                self._waiting.popleft()
                continue
            if batch and waiting.request.times != batch[0].request.times:
                break
            batch.append(self._waiting.popleft())
        return batch

    def _predict_batch(self, requests: Sequence[CheckedRequest]) -> list[bytes | Exception]:
        """Answer requests for one patient each and the same months.

        Returns:
            The JSON answer to each request, or the exception that it caused.
        """
        try:
            patients = [request.patients[0] for request in requests]
            answers = self.predictor.answers_json(CheckedRequest(patients, requests[0].times))
            return [answer[:-1] + b"," + self._model_and_note for answer in answers]
        except Exception as error:
            # One by one, so that only the request that causes it gets the error.
            if len(requests) == 1:
                return [error]
            return [self._predict_batch([request])[0] for request in requests]
