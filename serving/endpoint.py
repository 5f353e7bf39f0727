"""State of a worker: its bundle, scheduler and metrics, and the answers to requests.

``serving.service`` declares the routes to BentoML and imports this module in the workers alone,
since the process that starts the workers imports the service too.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import orjson
from starlette.responses import Response

import accomplice
from accomplice.data.errors import InputError
from accomplice.serving.answers.batching import RequestScheduler
from accomplice.serving.answers.explain import explain
from accomplice.serving.answers.loaded_bundle import BundleSlot, LoadedBundle
from accomplice.serving.answers.model_card import describe
from accomplice.serving.answers.predictor import Predictor
from accomplice.serving.answers.what_if import read_what_if, what_if
from accomplice.serving.api.errors import INTERNAL, envelope, kind_and_place, log_error, logger
from accomplice.serving.api.openapi import document
from accomplice.serving.api.tokens import TOKENS_VARIABLE
from accomplice.serving.deployment.handover import (
    BUNDLE_VARIABLE,
    HANDOVER_VARIABLE,
    Follower,
    Handover,
    Version,
)
from accomplice.serving.deployment.origin import read_origin
from accomplice.serving.monitoring import MOVED, REFUSED, Metrics
from accomplice.serving.requests.long_lists import LONG_LIST, read_long_list
from accomplice.serving.requests.problems import RequestError
from accomplice.serving.requests.schemas import ROUTES
from accomplice.serving.requests.validation import CheckedRequest, read_request
from accomplice.training.models.manifest import readable

#: Bytes of a body from which on it is read in a thread, so that other requests are not delayed.
LONG = 50_000
#: Seconds after which a thread that computes lets another one go on.
SWITCH = 0.001
#: Metrics of this worker.
METRICS = Metrics(ROUTES)
#: Bundle in service of this worker.
SLOT = BundleSlot()


class Page(Protocol):
    """Web page with a form."""

    def form(self, predictor: Predictor, /) -> str:
        """Return the form for a predictor's patients, as HTML."""


def bundle_path() -> Path:
    """Return the folder of the bundle to serve: the environment's, or else the packed one."""
    given = os.environ.get(BUNDLE_VARIABLE)
    return Path(given) if given else Path(accomplice.__file__).parents[1] / "bundle"


def begin(page: Page) -> Follower | None:
    """Load the first bundle, and follow later ones.

    Args:
        page: the web page, which makes the form of each bundle.

    Returns:
        The running thread that loads later versions; None without a handover.

    Raises:
        InputError: no bundle can be loaded.
    """
    follower = load_first(page)
    if follower is not None:
        follower.start()
    return follower


def load_first(page: Page) -> Follower | None:
    """Load the first bundle, from the handover's folder or else :func:`bundle_path`.

    A bundle that is in service already, as in a fork of a process that has loaded it, is kept.

    Args:
        page: the web page, which makes the form of each bundle.

    Returns:
        The thread that loads later versions, once it is started; None without a handover.

    Raises:
        InputError: no bundle can be loaded.
    """
    follower: Follower | None = None
    folder = os.environ.get(HANDOVER_VARIABLE)
    if folder:
        follower = Follower(Handover(Path(folder)), partial(load, page=page), log_reload)
        follower.begin()
    else:
        path = bundle_path()
        load(Version(str(path), **read_origin(path)), page)
    # The loaded objects stay: freezing them takes the slowest percent of the answers from 250 ms
    # down to 11. A large batch makes a hundred thousand objects, all freed by reference counts, so
    # that the collector need not run meanwhile.
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)
    # Threads that compute let the event loop go on sooner: with the usual 5 ms single patients wait
    # three times as long beside long lists.
    sys.setswitchinterval(SWITCH)
    return follower


def load(version: Version, page: Page) -> None:
    """Load a version and put it in service, unless it is.

    Args:
        version: the bundle's folder, expected digest, run and version.
        page: the web page, which makes the bundle's form.

    Raises:
        InputError: as for ``Bundle.load``, or the bundle's digest is not the expected one.
    """
    if SLOT.current is not None and SLOT.current.version == version:
        return
    made_by = {"run_id": version.run_id, "version": version.version}
    path = Path(version.bundle or "")
    predictor = Predictor.load(path, made_by, version.digest)
    with readable(path):
        predictor.warm_up()
        new = LoadedBundle(
            predictor,
            RequestScheduler(predictor),
            form=page.form(predictor),
            model=orjson.dumps(describe(predictor)),
            document=orjson.dumps(document(predictor, secured=TOKENS_VARIABLE in os.environ)),
            version=version,
        )
        predictor.watch = METRICS.watch(predictor)
    SLOT.put(new)
    # The objects loaded at the start are frozen, so that this is fast.
    gc.collect()


def log_reload(version: Version, error: Exception | None) -> None:
    """Count and log a change of version.

    Args:
        version: the new version.
        error: error for which the version was refused; None if it is in service.
    """
    METRICS.reload(MOVED if error is None else REFUSED)
    name = f"version {version.version or 'unknown'} (digest {(version.digest or 'unknown')[:12]})"
    if error is None:
        logger.info("answering with %s from now on", name)
    else:
        ours = isinstance(error, InputError)
        why = " ".join(str(error).split()) if ours else kind_and_place(error)
        logger.error("%s is refused: %s", name, why)


async def respond(route: str, body: bytes) -> Response:
    """Return the answer to a request, or its error.

    Args:
        route: path of a POST route, such as ``/predict``.
        body: the JSON that was sent.
    """
    with SLOT.use() as bundle:
        read, answer = _handlers(bundle)[route]
        scheduler = bundle.scheduler
        try:
            request = read(body) if len(body) < LONG else None
            if request is not None and not scheduler.is_long(request):
                return _json(200, await answer(request))
            async with scheduler.turn():
                if request is None:
                    request = await scheduler.in_thread(partial(read, body))
                return _json(200, await answer(request))
        except RequestError as error:
            refusal = envelope(error.code, error.message, error.details)
            return _json(error.status, orjson.dumps(refusal))
        except Exception as error:
            # BentoML would log the error's text, which can quote a value.
            log_error(error)
            return _json(500, orjson.dumps(envelope(*INTERNAL)))


def _handlers(
    bundle: LoadedBundle,
) -> dict[str, tuple[Callable[[bytes], Any], Callable[[Any], Awaitable[bytes]]]]:
    """Return route -> function that reads a body, and function that answers it as JSON."""
    predictor, scheduler = bundle.predictor, bundle.scheduler
    reader, horizon = predictor.reader, predictor.bundle.horizon

    def in_thread(answer: Callable[[Predictor, Any], dict[str, Any]]) -> Any:
        # Explanations and what-ifs take several times as long as a prediction.
        return lambda request: scheduler.aside(lambda: orjson.dumps(answer(predictor, request)))

    def read_list(body: bytes) -> CheckedRequest:
        if len(body) < LONG_LIST:
            return read_request(body, reader, horizon, batch=True)
        return read_long_list(body, reader, horizon)

    return {
        "/predict": (lambda body: read_request(body, reader, horizon), scheduler.predict_one),
        "/predict_batch": (read_list, scheduler.predict_many),
        "/explain": (
            lambda body: read_request(body, reader, horizon, timed=False),
            in_thread(explain),
        ),
        "/what_if": (lambda body: read_what_if(body, reader, horizon), in_thread(what_if)),
    }


def _json(status: int, content: bytes) -> Response:
    return Response(content, status_code=status, media_type="application/json")
