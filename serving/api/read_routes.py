"""What is read and not asked: the model's card, the documentation and the metrics, over GET.

BentoML's own routes are all asked by POST, so these are an application of their own beside them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

if TYPE_CHECKING:
    from accomplice.serving.answers.loaded_bundle import Answering

JSON = "application/json"


class Shown:
    """The routes, of the bundle that answers now.

    Args:
        current: returns what answers now; None before there is anything.
        exposition: returns the metrics as Prometheus reads them.
    """

    def __init__(
        self, current: Callable[[], Answering | None], exposition: Callable[[], bytes]
    ) -> None:
        self._answering, self._exposition = current, exposition
        self.app = Starlette(
            routes=[
                Route("/model", self._on_model),
                Route("/docs.json", self._on_document),
                Route("/metrics", self._on_metrics),
            ]
        )

    async def _on_model(self, _: Request) -> Response:
        return Response(self._current().model, media_type=JSON)

    async def _on_document(self, _: Request) -> Response:
        return Response(self._current().document, media_type=JSON)

    # Not async: the drift of a thousand patients takes milliseconds.
    def _on_metrics(self, _: Request) -> Response:
        return Response(self._exposition(), headers={"content-type": CONTENT_TYPE_LATEST})

    def _current(self) -> Answering:
        current = self._answering()
        if current is None:
            raise HTTPException(503)
        return current
