"""What answers requests: the bundle that is loaded, those who wait for it, and what is counted.

``serving.service`` is BentoML's view of it, which the process that starts the workers imports too:
it imports this module in a worker alone.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import orjson
from starlette.responses import Response

import accomplice
from accomplice.data.errors import InputError
from accomplice.serving.answers.batching import Desk
from accomplice.serving.answers.explain import explain, read_explain
from accomplice.serving.answers.loaded_bundle import Answering, Live
from accomplice.serving.answers.model_card import describe
from accomplice.serving.answers.predictor import Predictor
from accomplice.serving.answers.what_if import read_what_if, what_if
from accomplice.serving.api.errors import INTERNAL, envelope, kind_and_place, log_error, logger
from accomplice.serving.api.openapi import document
from accomplice.serving.api.tokens import TOKENS_VARIABLE
from accomplice.serving.deployment.handover import HANDOVER_VARIABLE, Follower, Handover, Version
from accomplice.serving.deployment.origin import origin
from accomplice.serving.monitoring import MOVED, REFUSED, Metrics
from accomplice.serving.requests.schemas import ROUTES
from accomplice.serving.requests.validation import Asked, RequestError, read_request
from accomplice.serving.web.page import Page

T = TypeVar("T")

#: Environment variable that names the bundle to serve; it wins over a packed one. The same as in
#: ``deployment.server``, which is not packed.
BUNDLE_VARIABLE = "ACCOMPLICE_BUNDLE"
#: Bytes of a body beyond which even reading it would keep others waiting.
LONG = 50_000
METRICS = Metrics(ROUTES)
LIVE = Live()


def bundle_path() -> Path:
    """Return the folder of the bundle to serve: the environment's, or the one packed beside."""
    named = os.environ.get(BUNDLE_VARIABLE)
    return Path(named) if named else Path(accomplice.__file__).parents[1] / "bundle"


def begin(page: Page) -> Follower | None:
    """Load the bundle that the environment names; return what follows another one, if asked for.

    Args:
        page: whose form is made of each bundle.

    Raises:
        InputError: as :func:`load`.
    """
    follower: Follower | None = None
    named = os.environ.get(HANDOVER_VARIABLE)
    if named:
        follower = Follower(Handover(Path(named)), lambda version: load(version, page), told)
        follower.begin()
    else:
        path = bundle_path()
        load(Version(str(path), **origin(path)), page)
    # What is loaded by now stays: taking it out of the collector's sight brings the slowest percent
    # of the answers from 250 ms down to 11. A large batch makes a hundred thousand objects that are
    # gone by themselves: the collector need not look at them on the way.
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)
    if follower is not None:
        follower.start()
    return follower


def load(version: Version, page: Page) -> None:
    """Load a bundle and let it answer from now on.

    Raises:
        InputError: as ``Bundle.load`` does, or the bundle is not the one that is meant.
    """
    made_by = {"run_id": version.run_id, "version": version.version}
    predictor = Predictor.load(Path(version.bundle or ""), made_by)
    if version.digest not in (None, predictor.model["digest"]):
        raise InputError("the bundle is not the one that is meant: its digest differs")
    predictor.warm_up()
    new = Answering(
        predictor,
        Desk(predictor),
        form=page.form(predictor),
        model=orjson.dumps(describe(predictor)),
        document=orjson.dumps(document(predictor, secured=TOKENS_VARIABLE in os.environ)),
    )
    predictor.watch = METRICS.watch(predictor)
    LIVE.put(new)
    # What was loaded at the start is out of the collector's sight, so that this takes a moment.
    gc.collect()


def told(version: Version, error: Exception | None) -> None:
    """Count and log a move to another bundle, or the refusal of one."""
    METRICS.reload(MOVED if error is None else REFUSED)
    name = f"version {version.version or 'unknown'} (digest {(version.digest or 'unknown')[:12]})"
    if error is None:
        logger.info("answering with %s from now on", name)
    else:
        ours = isinstance(error, InputError)
        why = " ".join(str(error).split()) if ours else kind_and_place(error)
        logger.error("%s is refused: %s", name, why)


async def predict(body: bytes) -> Response:
    """Answer a request for one patient."""
    with LIVE.taken() as now:
        return await _respond(now, body, _reads(now, False), now.desk.one)


async def predict_batch(body: bytes) -> Response:
    """Answer a request for several patients."""
    with LIVE.taken() as now:
        return await _respond(now, body, _reads(now, True), now.desk.many)


async def explain_risk(body: bytes) -> Response:
    """Answer what each feature adds to a patient's risk."""
    with LIVE.taken() as now:
        reader = now.predictor.reader
        return await _respond(
            now, body, lambda sent: read_explain(sent, reader), _away(now, explain)
        )


async def ask_what_if(body: bytes) -> Response:
    """Answer one patient over several values of one feature."""
    with LIVE.taken() as now:
        reader, horizon = now.predictor.reader, now.predictor.bundle.horizon
        return await _respond(
            now, body, lambda sent: read_what_if(sent, reader, horizon), _away(now, what_if)
        )


def _reads(now: Answering, batch: bool) -> Callable[[bytes], Asked]:
    reader, horizon = now.predictor.reader, now.predictor.bundle.horizon
    return lambda body: read_request(body, reader, horizon, batch)


def _away(
    now: Answering, answer: Callable[[Predictor, T], dict[str, Any]]
) -> Callable[[T], Awaitable[bytes]]:
    """What takes some times as long as a prediction goes where lists go."""
    return lambda asked: now.desk.away(lambda: orjson.dumps(answer(now.predictor, asked)))


async def _respond(
    now: Answering, body: bytes, read: Callable[[bytes], T], answer: Callable[[T], Awaitable[bytes]]
) -> Response:
    try:
        if len(body) < LONG:
            return _json(200, await answer(read(body)))
        async with now.desk.turn:
            return _json(200, await answer(await now.desk.away(lambda: read(body))))
    except RequestError as error:
        said = envelope(error.code, error.message, error.details)
        return _json(error.status, orjson.dumps(said))
    except Exception as error:
        # BentoML would log the error's text, which can quote a value.
        log_error(error)
        return _json(500, orjson.dumps(envelope(*INTERNAL)))


def _json(status: int, content: bytes) -> Response:
    return Response(content, status_code=status, media_type="application/json")
