"""The BentoML service: what the endpoint answers of one bundle.

Who waits for the model, and where, is said in ``serving.desk``; BentoML's own batching is left out,
since it costs more than it saves with a model so small.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import bentoml
import orjson
from pydantic import PrivateAttr
from starlette.requests import Request
from starlette.responses import Response

from data.errors import InputError
from serving.app import Page
from serving.card import describe
from serving.desk import Desk
from serving.envelope import INTERNAL, Envelope, kind_and_place, log_error, logger
from serving.explain import explain, read_explain
from serving.guard import Guard
from serving.handover import HANDOVER_VARIABLE, Follower, Handover, Version
from serving.live import Answering, Live
from serving.memory import keep_small_blocks
from serving.metrics import MOVED, REFUSED, Metrics
from serving.openapi import ExplainAnswer, ExplainRequest, WhatIfAnswer, WhatIfRequest, document
from serving.origin import origin
from serving.predictor import Predictor
from serving.schema import (
    Asked,
    BatchAnswer,
    BatchRequest,
    PredictAnswer,
    PredictRequest,
    RequestError,
    envelope,
    read_request,
)
from serving.shown import Shown
from serving.tokens import TOKENS_VARIABLE
from serving.what_if import read_what_if, what_if

T = TypeVar("T")

#: Environment variable that names the bundle to serve; it wins over a packed one. The same as in
#: ``serving.server``, which is not packed.
BUNDLE_VARIABLE = "ACCOMPLICE_BUNDLE"
#: Bytes of a body beyond which even reading it would keep others waiting.
LONG = 50_000
ROUTES = (
    *("/predict", "/predict_batch", "/explain", "/what_if"),
    *("/model", "/docs.json", "/metrics", "/", "/app/", "/app/form", "/docs"),
)
METRICS = Metrics(ROUTES)
LIVE = Live()
SHOWN = Shown(METRICS, LIVE)
PAGE = Page(lambda: None if LIVE.current is None else LIVE.current.form)


def bundle_path() -> Path:
    """Return the folder of the bundle to serve: the environment's, or the one packed beside."""
    named = os.environ.get(BUNDLE_VARIABLE)
    return Path(named) if named else Path(__file__).resolve().parent.parent / "bundle"


class _Body(bentoml.IODescriptor):  # type: ignore[misc]  # BentoML leaves it untyped
    """Hands the body on as it was sent.

    BentoML would parse it with pydantic and log the values of whatever does not fit; the checks
    are in ``serving.schema``, and the fields of the subclasses are there for the documentation.
    """

    _raw: bytes = PrivateAttr(default=b"")

    @classmethod
    async def from_http_request(cls, request: Request, serde: Any) -> _Body:  # noqa: ARG003
        """Take a request's body."""
        made: _Body = cls.model_construct()
        made._raw = await request.body()
        return made


class PredictInput(_Body, PredictRequest):
    """One patient."""


class BatchInput(_Body, BatchRequest):
    """Several patients."""


class ExplainInput(_Body, ExplainRequest):
    """One patient, whose risk is to be explained."""


class WhatIfInput(_Body, WhatIfRequest):
    """One patient, and a feature to look at other values of."""


@bentoml.asgi_app(PAGE.app(), path="/", name="page")
@bentoml.asgi_app(SHOWN.app, path="/", name="shown")
@bentoml.service(
    name="accomplice",
    workers=1,
    # Comes after both of serving.guard's, whose errors have the endpoint's shape, and soon: each
    # request leaves half a kB behind until this time is over, however soon it was answered.
    traffic={"timeout": 45},
    logging={"access": {"enabled": False}},
    # In their place: serving.metrics, which says why.
    metrics={"enabled": False},
    # Without an exporter BentoML would still write a span of each request, for nobody.
    tracing={"excluded_urls": ".*"},
)
class Accomplice:
    """Predictions with their uncertainty, for research use."""

    def __init__(self) -> None:
        keep_small_blocks()
        self.follower: Follower | None = None
        named = os.environ.get(HANDOVER_VARIABLE)
        if named:
            self.follower = Follower(Handover(Path(named)), load, told)
            self.follower.begin()
        else:
            path = bundle_path()
            load(Version(str(path), **origin(path)))
        # What is loaded by now stays: taking it out of the collector's sight brings the slowest
        # percent of the answers from 250 ms down to 11. A large batch makes a hundred thousand
        # objects that are gone by themselves: the collector need not look at them on the way.
        gc.collect()
        gc.freeze()
        gc.set_threshold(100_000, 50, 50)
        if self.follower is not None:
            self.follower.start()

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def close(self) -> None:
        """End the threads."""
        if self.follower is not None:
            self.follower.stop()
        LIVE.put(None)

    @bentoml.api(route="/predict", output_spec=PredictAnswer)  # type: ignore[untyped-decorator]
    async def predict(self, request: PredictInput, /) -> Response:
        """Predict for one patient."""
        with LIVE.taken() as now:
            return await _respond(now, request._raw, _reads(now, False), now.desk.one)

    @bentoml.api(route="/predict_batch", output_spec=BatchAnswer)  # type: ignore[untyped-decorator]
    async def predict_batch(self, request: BatchInput, /) -> Response:
        """Predict for several patients."""
        with LIVE.taken() as now:
            return await _respond(now, request._raw, _reads(now, True), now.desk.many)

    @bentoml.api(route="/explain", output_spec=ExplainAnswer)  # type: ignore[untyped-decorator]
    async def explain(self, request: ExplainInput, /) -> Response:
        """Say what each feature adds to a patient's risk."""
        with LIVE.taken() as now:
            reader = now.predictor.reader
            return await _respond(
                now, request._raw, lambda body: read_explain(body, reader), _away(now, explain)
            )

    @bentoml.api(route="/what_if", output_spec=WhatIfAnswer)  # type: ignore[untyped-decorator]
    async def what_if(self, request: WhatIfInput, /) -> Response:
        """Answer one patient over several values of one feature."""
        with LIVE.taken() as now:
            reader, horizon = now.predictor.reader, now.predictor.bundle.horizon
            return await _respond(
                now,
                request._raw,
                lambda body: read_what_if(body, reader, horizon),
                _away(now, what_if),
            )


def load(version: Version) -> None:
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
        form=PAGE.form(predictor),
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


# The decorator has made a Service of the class, which its annotation does not say.
Accomplice.add_asgi_middleware(  # type: ignore[attr-defined]
    Envelope, routes=ROUTES, observe=METRICS.request
)
Accomplice.add_asgi_middleware(Guard)  # type: ignore[attr-defined]
