"""Request scheduler: single patients in micro-batches, lists in chunks on worker threads.

The model predicts sixteen patients in little more time than one. Requests for one patient that come
in while it is busy are its next batch; none waits for a batch to fill. Lists are cut into chunks
with threads of their own, so that a single patient does not wait behind five thousand. The event
loop goes on receiving, counting and refusing requests.
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
from accomplice.serving.requests.validation import CheckedRequest

T = TypeVar("T")

#: Maximum of single patients in a batch.
MOST_SINGLE = 64
#: Patients in a chunk of a list, if it is the only list; twice as many if there are others.
CHUNK = 500
#: Maximum of long requests under way at once: each takes tens of MB.
LONG_REQUESTS = 2
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
        self._signature = orjson.dumps(predictor.signature)[1:]
        self._waiting: deque[_Waiting] = deque()
        self._batches: asyncio.Task[None] | None = None
        self._lists = 0
        self.long_requests = asyncio.Semaphore(LONG_REQUESTS)
        """Held by each long request while it is read and answered."""
        self._single, self._long = (
            ThreadPoolExecutor(n, name) for n, name in ((1, "single"), (THREADS, "long"))
        )

    async def predict_one(self, request: CheckedRequest) -> bytes:
        """Return the answer to a request for one patient, as JSON; raise the predictor's errors."""
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
                CheckedRequest(patients[start : start + size], request.times)
                for start in range(0, len(patients), size)
            ]
            made = await asyncio.gather(
                *(self.in_thread(partial(self.predictor.answers_json, chunk)) for chunk in chunks)
            )
        finally:
            self._lists -= 1
        # Joined once: a list's answer has some MB.
        answers = [*chain.from_iterable(made)]
        answers[0] = b'{"patients":[' + answers[0]
        answers[-1] += b"]," + self._signature
        return b",".join(answers)

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Return the result of long work, which is done in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._long, work)

    def close(self) -> None:
        """Let the threads end after their work; do not wait for them."""
        self._single.shutdown(wait=False)
        self._long.shutdown(wait=False)

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
            return [answer[:-1] + b"," + self._signature for answer in answers]
        except Exception as error:
            # One by one, so that only the request that causes it gets the error.
            if len(requests) == 1:
                return [error]
            return [self._predict_batch([request])[0] for request in requests]
