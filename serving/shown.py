"""What is read and not asked: the model's card, the documentation and the metrics, over GET.

BentoML's own routes are all asked by POST, so these are an application of their own beside them.
"""

from __future__ import annotations

from collections.abc import Mapping

import orjson
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving.card import describe
from serving.metrics import Metrics
from serving.openapi import document
from serving.predictor import Predictor

JSON = "application/json"


class Shown:
    """The routes; they answer once a predictor is shown."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._model = self._document = b""
        self.app = Starlette(
            routes=[
                Route("/model", self._on_model),
                Route("/docs.json", self._on_document),
                Route("/metrics", self._on_metrics),
            ]
        )

    def show(
        self, predictor: Predictor, made_by: Mapping[str, str | None], secured: bool = False
    ) -> None:
        """Describe a predictor, once and for all requests.

        Args:
            predictor: what answers.
            made_by: from ``serving.card.origin``.
            secured: whether the server knows tokens.
        """
        self._model = orjson.dumps(describe(predictor, made_by))
        self._document = orjson.dumps(document(predictor, secured))

    async def _on_model(self, _: Request) -> Response:
        return Response(self._model, media_type=JSON)

    async def _on_document(self, _: Request) -> Response:
        return Response(self._document, media_type=JSON)

    # Not async: the drift of a thousand patients takes milliseconds.
    def _on_metrics(self, _: Request) -> Response:
        return Response(self._metrics.exposition(), headers={"content-type": CONTENT_TYPE_LATEST})
