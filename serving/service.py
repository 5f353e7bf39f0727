"""The BentoML service: its routes, their schemas, and its middleware.

BentoML imports this in the process that starts the workers and in each worker. ``serving.endpoint``
takes a second to load and is imported by the workers alone. Requests wait for the model in
``answers.batching``, not in BentoML's batching, which costs more than it saves with so small a
model.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from types import ModuleType
from typing import Any

import bentoml
from pydantic import PrivateAttr
from starlette.requests import Request
from starlette.responses import Response

from accomplice.data.errors import InputError
from accomplice.serving.api.errors import Envelope, logger
from accomplice.serving.api.guard import Guard, Limits
from accomplice.serving.api.read_routes import read_routes
from accomplice.serving.requests.schemas import (
    ROUTES,
    BatchAnswer,
    BatchRequest,
    ExplainAnswer,
    ExplainRequest,
    PredictAnswer,
    PredictRequest,
    WhatIfAnswer,
    WhatIfRequest,
)
from accomplice.serving.web.page import Page

#: Environment variable, set by ``deployment.server``, of a server that ends with its starter.
TIED_VARIABLE = "ACCOMPLICE_TIED"
#: Of Linux's ``prctl``.
PR_SET_PDEATHSIG = 1


def _endpoint() -> ModuleType:
    from accomplice.serving import endpoint

    return endpoint


def end_with_parent() -> None:
    """Have Linux end this process when its parent dies, even by SIGKILL.

    Otherwise processes of a server whose starter was killed would hold its port.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


if os.environ.get(TIED_VARIABLE):
    end_with_parent()
PAGE = Page(lambda: _endpoint().SLOT.current)
READ_ROUTES = read_routes(
    lambda: _endpoint().SLOT.current, lambda: _endpoint().METRICS.exposition()
)


def stop_server(error: InputError) -> None:
    """End the server of this worker, if it is one: a new worker would fail in the same way."""
    if bentoml.server_context.worker_index is None:
        return
    logger.error("cannot serve: %s", " ".join(str(error).split()))
    os.kill(os.getppid(), signal.SIGTERM)
    # Not by an exception, of which BentoML would print the place in its own code.
    os._exit(2)


class _Body(bentoml.IODescriptor):  # type: ignore[misc]  # BentoML leaves it untyped
    """A body as it was sent, checked by ``requests.validation``.

    BentoML would parse it with pydantic and log the values that do not fit. The fields of the
    subclasses are for BentoML's schema of the service.
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


@bentoml.asgi_app(PAGE.app, path="/", name="page")
@bentoml.asgi_app(READ_ROUTES, path="/", name="read_routes")
@bentoml.service(
    name="accomplice",
    workers=1,
    # Longer than both of the guard's, whose errors have the endpoint's shape; short, since each
    # request takes half a kB of memory until this time is over.
    traffic={"timeout": 45},
    logging={"access": {"enabled": False}},
    # Replaced by serving.monitoring.
    metrics={"enabled": False},
    # BentoML would make a span of each request even without an exporter.
    tracing={"excluded_urls": ".*"},
)
class Accomplice:
    """Predictions with their uncertainty, for research use."""

    def __init__(self) -> None:
        from accomplice.serving import endpoint

        self.endpoint = endpoint
        try:
            # Read here, so that an invalid limit ends the start and not the first request.
            Limits.of_environment()
            self.follower = endpoint.begin(PAGE)
        except InputError as error:
            stop_server(error)
            raise

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def close(self) -> None:
        """End the threads."""
        if self.follower is not None:
            self.follower.stop()
        self.endpoint.SLOT.put(None)

    @bentoml.api(route="/predict", output_spec=PredictAnswer)  # type: ignore[untyped-decorator]
    async def predict(self, request: PredictInput, /) -> Response:
        """Predict for one patient."""
        return await self.endpoint.respond("/predict", request._raw)

    @bentoml.api(route="/predict_batch", output_spec=BatchAnswer)  # type: ignore[untyped-decorator]
    async def predict_batch(self, request: BatchInput, /) -> Response:
        """Predict for several patients."""
        return await self.endpoint.respond("/predict_batch", request._raw)

    @bentoml.api(route="/explain", output_spec=ExplainAnswer)  # type: ignore[untyped-decorator]
    async def explain(self, request: ExplainInput, /) -> Response:
        """Attribute a patient's risk to the features (Shapley values)."""
        return await self.endpoint.respond("/explain", request._raw)

    @bentoml.api(route="/what_if", output_spec=WhatIfAnswer)  # type: ignore[untyped-decorator]
    async def what_if(self, request: WhatIfInput, /) -> Response:
        """Answer one patient over several values of one feature."""
        return await self.endpoint.respond("/what_if", request._raw)


# The decorator has made a Service of the class, which its annotation does not say.
Accomplice.add_asgi_middleware(  # type: ignore[attr-defined]
    Envelope, routes=ROUTES, observe=lambda *request: _endpoint().METRICS.request(*request)
)
Accomplice.add_asgi_middleware(Guard)  # type: ignore[attr-defined]
