"""The BentoML service: routes, their documentation, and what stands before them.

BentoML imports this in the process that starts the workers and in each worker; what answers, in
``serving.endpoint``, takes a second to load and is imported by the workers alone. Requests wait for
the model in ``answers.batching``; BentoML's own batching is left out, since it costs more than it
saves with a model so small.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import bentoml
from pydantic import PrivateAttr
from starlette.requests import Request
from starlette.responses import Response

from accomplice.data.errors import InputError
from accomplice.serving.api.errors import Envelope, logger
from accomplice.serving.api.guard import Guard, Limits
from accomplice.serving.api.read_routes import Shown
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

if TYPE_CHECKING:
    from accomplice.serving.answers.loaded_bundle import Answering


def _current() -> Answering | None:
    from accomplice.serving.endpoint import LIVE

    return LIVE.current


def _exposition() -> bytes:
    from accomplice.serving.endpoint import METRICS

    return METRICS.exposition()


def _observe(path: str, status: int, seconds: float) -> None:
    from accomplice.serving.endpoint import METRICS

    METRICS.request(path, status, seconds)


PAGE = Page(_current)
SHOWN = Shown(_current, _exposition)


def give_up(error: InputError) -> None:
    """End the server, where this is a worker of one: another worker would fail as this one does."""
    if bentoml.server_context.worker_index is None:
        return
    logger.error("cannot serve: %s", " ".join(str(error).split()))
    os.kill(os.getppid(), signal.SIGTERM)
    # BentoML would print where in its own code that was.
    os._exit(2)


class _Body(bentoml.IODescriptor):  # type: ignore[misc]  # BentoML leaves it untyped
    """Hands the body on as it was sent.

    BentoML would parse it with pydantic and log the values of whatever does not fit; the checks
    are in ``requests.validation``; the fields of the subclasses are there for the documentation.
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
@bentoml.asgi_app(SHOWN.app, path="/", name="shown")
@bentoml.service(
    name="accomplice",
    workers=1,
    # Comes after both of the guard's, whose errors have the endpoint's shape, and soon: a request
    # leaves half a kB behind until this time is over, however soon it was answered.
    traffic={"timeout": 45},
    logging={"access": {"enabled": False}},
    # In their place: serving.monitoring, which says why.
    metrics={"enabled": False},
    # Without an exporter BentoML would still write a span of each request, for nobody.
    tracing={"excluded_urls": ".*"},
)
class Accomplice:
    """Predictions with their uncertainty, for research use."""

    def __init__(self) -> None:
        from accomplice.serving import endpoint

        self.endpoint = endpoint
        try:
            # A limit that does not read ends the start, and not the first request.
            Limits.of_environment()
            self.follower = endpoint.begin(PAGE)
        except InputError as error:
            give_up(error)
            raise

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def close(self) -> None:
        """End the threads."""
        if self.follower is not None:
            self.follower.stop()
        self.endpoint.LIVE.put(None)

    @bentoml.api(route="/predict", output_spec=PredictAnswer)  # type: ignore[untyped-decorator]
    async def predict(self, request: PredictInput, /) -> Response:
        """Predict for one patient."""
        return await self.endpoint.predict(request._raw)

    @bentoml.api(route="/predict_batch", output_spec=BatchAnswer)  # type: ignore[untyped-decorator]
    async def predict_batch(self, request: BatchInput, /) -> Response:
        """Predict for several patients."""
        return await self.endpoint.predict_batch(request._raw)

    @bentoml.api(route="/explain", output_spec=ExplainAnswer)  # type: ignore[untyped-decorator]
    async def explain(self, request: ExplainInput, /) -> Response:
        """Say what each feature adds to a patient's risk."""
        return await self.endpoint.explain_risk(request._raw)

    @bentoml.api(route="/what_if", output_spec=WhatIfAnswer)  # type: ignore[untyped-decorator]
    async def what_if(self, request: WhatIfInput, /) -> Response:
        """Answer one patient over several values of one feature."""
        return await self.endpoint.ask_what_if(request._raw)


# The decorator has made a Service of the class, which its annotation does not say.
Accomplice.add_asgi_middleware(  # type: ignore[attr-defined]
    Envelope, routes=ROUTES, observe=_observe
)
Accomplice.add_asgi_middleware(Guard)  # type: ignore[attr-defined]
