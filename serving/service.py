"""The BentoML service: ``POST /predict`` and ``POST /predict_batch`` on one bundle.

Who waits for the model, and where, is said in ``serving.desk``; BentoML's own batching is left out,
since it costs more than it saves with a model so small.
"""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import bentoml
import orjson
import torch
from pydantic import ConfigDict, PrivateAttr
from starlette.requests import Request
from starlette.responses import Response

from data.example import example_patient
from data.study import parse_study
from serving.desk import Desk
from serving.envelope import INTERNAL, Envelope, log_error
from serving.guard import Guard
from serving.predictor import Predictor
from serving.schema import (
    GENERIC_PATIENT,
    Asked,
    BatchAnswer,
    BatchRequest,
    PredictAnswer,
    PredictRequest,
    RequestError,
    envelope,
    read_request,
)

#: Environment variable that names the bundle to serve; it wins over a packed one. The same as in
#: ``serving.server``, which is not packed.
BUNDLE_VARIABLE = "ACCOMPLICE_BUNDLE"
#: Bytes of a body beyond which even reading it would keep others waiting.
LONG = 50_000
ROUTES = ("/predict", "/predict_batch", "/docs.json", "/")


def bundle_path() -> Path:
    """Return the folder of the bundle to serve: the environment's, or the one packed beside."""
    named = os.environ.get(BUNDLE_VARIABLE)
    return Path(named) if named else Path(__file__).resolve().parent.parent / "bundle"


def _example() -> dict[str, Any]:
    """A patient for the documentation; the bundle's study is asked, if there is one already."""
    path = bundle_path() / "study.json"
    try:
        return example_patient(parse_study(json.loads(path.read_text()), str(path)))
    except (OSError, ValueError):
        return GENERIC_PATIENT


EXAMPLE = _example()


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

    model_config = ConfigDict(
        json_schema_extra={"example": {"patient": EXAMPLE, "times": [12, 36]}}
    )


class BatchInput(_Body, BatchRequest):
    """Several patients."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"patients": [EXAMPLE], "times": [12, 36]}}
    )


@bentoml.service(
    name="accomplice",
    workers=1,
    logging={"access": {"enabled": False}},
)
class Accomplice:
    """Predictions with their uncertainty, for research use."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        self.predictor = Predictor.load(bundle_path())
        self.predictor.warm_up()
        self.desk = Desk(self.predictor)
        # What is loaded by now stays: taking it out of the collector's sight brings the slowest
        # percent of the answers from 250 ms down to 11. A large batch makes a hundred thousand
        # objects that are gone by themselves: the collector need not look at them on the way.
        gc.collect()
        gc.freeze()
        gc.set_threshold(100_000, 50, 50)

    @bentoml.api(route="/predict", output_spec=PredictAnswer)  # type: ignore[untyped-decorator]
    async def predict(self, request: PredictInput, /) -> Response:
        """Predict for one patient."""
        return await self._respond(request._raw, False, self.desk.one)

    @bentoml.api(route="/predict_batch", output_spec=BatchAnswer)  # type: ignore[untyped-decorator]
    async def predict_batch(self, request: BatchInput, /) -> Response:
        """Predict for several patients."""
        return await self._respond(request._raw, True, self.desk.many)

    async def _respond(
        self, body: bytes, batch: bool, answer: Callable[[Asked], Awaitable[bytes]]
    ) -> Response:
        reader, horizon = self.predictor.reader, self.predictor.bundle.horizon

        def read() -> Asked:
            return read_request(body, reader, horizon, batch)

        try:
            asked = read() if len(body) < LONG else await self.desk.away(read)
            return _json(200, await answer(asked))
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
Accomplice.add_asgi_middleware(Envelope, routes=ROUTES)  # type: ignore[attr-defined]
Accomplice.add_asgi_middleware(Guard)  # type: ignore[attr-defined]
