"""The BentoML service: its routes, their schemas, and its middleware.

``python -m accomplice.serving`` serves it by the worker of ``deployment.worker``. Under
``bentoml serve`` BentoML imports this module in the process that starts its workers and in each
worker; ``serving.endpoint``, which takes a second to import, is imported only by the workers.
Requests are batched by ``answers.batching``, since BentoML's batching takes longer than it saves
with so small a model.
"""

from __future__ import annotations

import os
import signal
from types import ModuleType
from typing import Any

import bentoml
from pydantic import PrivateAttr
from starlette.requests import Request
from starlette.responses import Response

from accomplice.data.errors import InputError
from accomplice.serving.api.errors import App, Envelope, logger
from accomplice.serving.api.guard import Guard
from accomplice.serving.api.read_routes import read_routes
from accomplice.serving.deployment.supervisor import UNABLE
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

#: Parent process when this module was imported. In a worker of BentoML's it is the supervisor,
#: which would replace a worker that ends. A worker of ours is forked after the import, so that its
#: parent is another process: our supervisor, which ends after a worker that cannot serve.
PARENT = os.getppid()


def _endpoint() -> ModuleType:
    """Return the module ``serving.endpoint``, imported on first use."""
    from accomplice.serving import endpoint

    return endpoint


#: The web page.
PAGE = Page(lambda: _endpoint().SLOT.current)
#: GET routes of the model card, the OpenAPI document and the metrics.
READ_ROUTES = read_routes(
    lambda: _endpoint().SLOT.current, lambda: _endpoint().METRICS.exposition()
)


def report_unable(error: InputError) -> None:
    """Log why no bundle can be served."""
    logger.error("cannot serve: %s", " ".join(str(error).split()))


def stop_server(error: InputError) -> None:
    """Log an error and end the server of this worker: a new worker would fail in the same way.

    Nothing is done outside a worker.
    """
    if bentoml.server_context.worker_index is None:
        return
    report_unable(error)
    if os.getppid() == PARENT:
        os.kill(PARENT, signal.SIGTERM)
    # Not by an exception, for which BentoML would print a traceback of its own code.
    os._exit(UNABLE)


def guarded(app: App) -> Guard:
    """Return the application wrapped in the guard; end the server if a limit is invalid."""
    try:
        return Guard(app)
    except InputError as error:
        stop_server(error)
        raise


class _Body(bentoml.IODescriptor):  # type: ignore[misc]  # BentoML leaves it untyped
    """Unparsed body of a request, to be checked by ``requests.validation``.

    BentoML would parse it with pydantic and log invalid values. The fields of the subclasses are
    for BentoML's schema of the service alone.
    """

    _raw: bytes = PrivateAttr(default=b"")

    @classmethod
    async def from_http_request(cls, request: Request, serde: Any) -> _Body:  # noqa: ARG003
        """Return the body of an HTTP request, which the guard passes on in one message."""
        body: _Body = cls.model_construct()
        # Not by Starlette's methods, which copy the body.
        body._raw = (await request.receive())["body"]
        return body


class PredictInput(_Body, PredictRequest):
    """Body of ``POST /predict``."""


class BatchInput(_Body, BatchRequest):
    """Body of ``POST /predict_batch``."""


class ExplainInput(_Body, ExplainRequest):
    """Body of ``POST /explain``."""


class WhatIfInput(_Body, WhatIfRequest):
    """Body of ``POST /what_if``."""


@bentoml.asgi_app(PAGE.app, path="/", name="page")
@bentoml.asgi_app(READ_ROUTES, path="/", name="read_routes")
@bentoml.service(
    name="accomplice",
    workers=1,
    # Longer than the guard's two limits together, whose errors have the endpoint's shape; short,
    # since each request takes half a kB of memory until this time is over.
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
            self.follower = endpoint.begin(PAGE)
        except InputError as error:
            stop_server(error)
            raise

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def close(self) -> None:
        """Let the threads of the worker end."""
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
        """Predict for one patient at several values of one feature."""
        return await self.endpoint.respond("/what_if", request._raw)


# The decorator has replaced the class by a Service, against its annotation.
Accomplice.add_asgi_middleware(  # type: ignore[attr-defined]
    Envelope, routes=ROUTES, observe=lambda *request: _endpoint().METRICS.request(*request)
)
Accomplice.add_asgi_middleware(guarded)  # type: ignore[attr-defined]
