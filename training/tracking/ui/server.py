"""The servers of ``accomplice ui``, in this process and on 127.0.0.1."""

from __future__ import annotations

import importlib.util
import os
import re
import secrets
import sys
from asyncio import Protocol
from collections.abc import Callable
from socket import socket

import mlflow
import uvicorn
from starlette.types import ASGIApp

from accomplice.data.errors import InputError
from accomplice.data.escaping import say
from accomplice.training.processes import HOST, listen
from accomplice.training.search.study import check_storage
from accomplice.training.tracking.store import Store
from accomplice.training.tracking.stores.lost import end_lost_runs
from accomplice.training.tracking.ui.guard import Guard, folder_of
from accomplice.training.tracking.ui.links import links
from accomplice.training.tracking.ui.pages import MLFLOW, OPTUNA, mlflow_pages, optuna_pages
from accomplice.training.tracking.views import address

#: Function that makes uvicorn's protocol of a connection.
Http = Callable[..., Protocol]

#: Environment variable with the secret of MLflow's clients; where it is set, it is this server's.
TOKEN = "MLFLOW_TRACKING_TOKEN"
#: Pattern of a secret: its characters need no escape in a cookie or an address.
SECRET = re.compile(r"[A-Za-z0-9._~-]{16,}")
#: Seconds that answers under way have when the server ends.
GRACE = 5
#: Warning of a server without a secret.
OPEN = (
    "accomplice: --open: everybody on this machine can read, change and delete these runs and "
    "models, and choose the champion"
)


def run_ui(store: Store, port: int, http: Http, *, secret: bool = True) -> None:
    """Print the addresses of the main pages, and serve MLflow on them until Ctrl-C or a signal.

    Runs whose processes were killed are ended first. With a tracking server, which shows the pages
    itself, the addresses are only printed.

    Args:
        store: the open store.
        port: port to listen on.
        http: uvicorn's protocol of each connection, which limits their number and time.
        secret: whether the pages need the secret of :func:`make_token`.

    Raises:
        InputError: the port is taken or needs privileges, or as :func:`make_token`.
    """
    end_lost_runs()
    if store.is_server:
        say(*links(port))
        return
    token = make_token(secret=secret)
    # Before the links are printed, so that none leads to another user's server.
    with listen(port) as listener:
        say(*links(port, token))
        if token:
            say(f"programs    {TOKEN}={token} MLFLOW_TRACKING_URI=http://{HOST}:{port}")
        pages = mlflow_pages(store.tracking_uri, mlflow.get_registry_uri())
        _serve(Guard(pages, MLFLOW, token), listener, http)


def run_dashboard(storage: str, port: int, http: Http, *, secret: bool = True) -> None:
    """Serve Optuna's dashboard until Ctrl-C or a signal.

    Args:
        storage: address of the database of Optuna's studies.
        port: port to listen on.
        http: uvicorn's protocol of each connection, which limits their number and time.
        secret: whether the pages need the secret of :func:`make_token`.

    Raises:
        InputError: the dashboard is not installed, the port is taken or needs privileges, the
            storage cannot be opened, or as :func:`make_token`.
    """
    if importlib.util.find_spec("optuna_dashboard") is None:
        raise InputError(
            "--optuna: Optuna's dashboard is not installed: pip install 'accomplice[dashboard]'"
        )
    check_storage(storage)
    token = make_token(secret=secret)
    with listen(port) as listener:
        say(f"studies: {address('', port, token)}")
        _serve(Guard(optuna_pages(storage, folder_of(token)), OPTUNA, token), listener, http)


def make_token(*, secret: bool) -> str:
    """Return the secret of the pages: ``MLFLOW_TRACKING_TOKEN``, or a new one if it is unset.

    Args:
        secret: whether the pages need one; if not, it is empty, and a warning is printed.

    Raises:
        InputError: ``MLFLOW_TRACKING_TOKEN`` is too short or has other characters.
    """
    if not secret:
        say(OPEN, error=True)
        return ""
    token = os.environ.get(TOKEN) or secrets.token_urlsafe(32)
    if not SECRET.fullmatch(token):
        raise InputError(
            f"{TOKEN}: as the secret of accomplice ui it needs at least 16 characters, letters, "
            "digits and ._~- alone: unset it for a new secret"
        )
    return token


def _serve(app: ASGIApp, listener: socket, http: Http) -> None:
    """Serve an application in this process, which has one socket and no other process.

    MLflow would look for remains of its assistant when it starts (lifespan).
    """
    sys.stdout.flush()
    config = uvicorn.Config(
        app,
        http=http,  # type: ignore[arg-type]
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE,
    )
    uvicorn.Server(config).run(sockets=[listener])
