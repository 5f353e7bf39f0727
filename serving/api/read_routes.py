"""GET routes of the model card, the OpenAPI document and the metrics.

BentoML makes a POST route of each method of the service, so that these GET routes form a Starlette
application beside it.
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
    from accomplice.serving.answers.loaded_bundle import LoadedBundle


def read_routes(
    current: Callable[[], LoadedBundle | None], exposition: Callable[[], bytes]
) -> Starlette:
    """Return the application of the GET routes.

    Args:
        current: function that returns the bundle in service; None before there is one.
        exposition: function that returns the metrics in Prometheus's text format.
    """

    def loaded() -> LoadedBundle:
        bundle = current()
        if bundle is None:
            raise HTTPException(503)
        return bundle

    async def model(_: Request) -> Response:
        return Response(loaded().model, media_type="application/json")

    async def document(_: Request) -> Response:
        return Response(loaded().document, media_type="application/json")

    # Not async: the drift of a thousand patients takes milliseconds.
    def metrics(_: Request) -> Response:
        return Response(exposition(), headers={"content-type": CONTENT_TYPE_LATEST})

    return Starlette(
        routes=[Route("/model", model), Route("/docs.json", document), Route("/metrics", metrics)]
    )
