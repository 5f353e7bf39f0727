"""The verbs that deploy a model: ``package``, ``serve``, ``token``; and ``ui``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from accomplice.data.errors import InputError
from accomplice.data.escaping import say
from accomplice.training.cli.arguments import MODEL_HELP, Model, count, option, port, seconds
from accomplice.training.cli.terminal import quoted, relative

if TYPE_CHECKING:
    from accomplice.serving.deployment.server import Access


def package(
    model: Model,
    *,
    name: Annotated[str | None, option("NAME", "of the bento; accomplice-STUDY if absent")] = None,
    sign: Annotated[
        Path | None, option("KEY", "private Ed25519 key (PEM) that signs the bento")
    ] = None,
    base: Annotated[
        str | None,
        option("NAME@sha256:DIGEST", "base of the image; Python's, by its version, if absent"),
    ] = None,
) -> int:
    """Pack a model as a bento, ready to deploy.

    Packs the model with the code that serves it and the page, and nothing of training, as a bento.
    No network is needed. Below mlruns/bentoml are then

      bentos/NAME/VERSION        the bento; accomplice serve takes the folder
      archives/NAME-VERSION.bento   the same in one file, for another machine
      containers/NAME-VERSION    a Dockerfile with all that it copies, for docker or podman

      accomplice package models:/accomplice-NAME@champion
      accomplice serve mlruns/bentoml/bentos/NAME/VERSION --port 3001

    VERSION is made of the digests of the model and of the code and requirements packed with it: the
    same ones give the same VERSION, and others live beside it. Two versions serve at once on two
    ports.

    Elsewhere: tar -xf the archive into an empty folder and accomplice serve that, or, where
    accomplice is not installed, pip install -r env/python/requirements.txt and, in its folder src,
    python -m accomplice.serving. (bentoml serve FOLDER works too, but opens a control port: every
    user of the machine can then run commands as the one who serves.)

    The image is built with a container engine, by the commands that are printed. Its packages are
    those of a lock, whose hashes pip checks; --base fixes what it starts from too. It answers other
    machines, and therefore starts only with a token file (accomplice token) mounted. podman takes
    the same commands; with --format docker its build keeps the check of health, and with --userns
    keep-id it runs as you.

    A bento is a program: who may write to its folder decides what runs. SHA256SUMS in it shows
    accidents; --sign adds signatures, and serve --trust runs only what a trusted key has signed.

      openssl genpkey -algorithm ed25519 -out key.pem
      openssl pkey -in key.pem -pubout -out trusted.pem
      accomplice package model --sign key.pem
      accomplice serve mlruns/bentoml/bentos/NAME/VERSION --trust trusted.pem

      BENTOML_HOME=mlruns/bentoml bentoml list
      BENTOML_HOME=mlruns/bentoml bentoml delete NAME:VERSION
    """
    from accomplice.serving.deployment.container import commands
    from accomplice.serving.deployment.origin import origin_json
    from accomplice.serving.deployment.packaging import package as pack
    from accomplice.serving.deployment.server import ServerError
    from accomplice.training.tracking.store import find_bundle, find_source, open_store

    source = find_source(model)
    bundle = find_bundle(source.model)
    store = open_store().bentos
    try:
        origin = origin_json(source.run_id, source.version)
        packed = pack(bundle, store, name, origin, sign, base)
    except ServerError as error:
        say(f"accomplice: {error}", error=True)
        return 1
    say(f"bento    {packed.tag}")
    say(f"folder   {relative(packed.path)}")
    if packed.archive is not None:
        say(f"archive  {relative(packed.archive)}")
    say(f"image    {relative(packed.context)}, to be built where there is a container engine:")
    for command in commands(packed.tag, str(relative(packed.context))):
        say(f"         {command}")
    say(f"next     accomplice serve {quoted(packed.path)}")
    home = f"BENTOML_HOME={relative(store)} bentoml"
    say(f"all      {home} list; {home} delete TAG removes one")
    return 0


def serve(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help=f"{MODEL_HELP}, or a bento's folder")
    ],
    *,
    at: Annotated[int, option("PORT", "to listen on (default: 3000)", port, name="--port")] = 3000,
    host: Annotated[
        str,
        option("ADDRESS", "address to listen on (default: 127.0.0.1); any other needs --tokens"),
    ] = "127.0.0.1",
    tokens: Annotated[Path | None, option("FILE", "access tokens; see accomplice token")] = None,
    concurrency: Annotated[
        int | None, option("N", "requests under way at once (default: 128)", count)
    ] = None,
    memory: Annotated[
        int | None, option("MB", "for large bodies and answers at once (default: 512)", count)
    ] = None,
    proxy: Annotated[
        str | None,
        option("ADDRESS", "from which a proxy connects: its connections are those of many"),
    ] = None,
    tls_cert: Annotated[
        Path | None, option("FILE", "certificate (PEM) to answer by HTTPS; needs --tls-key")
    ] = None,
    tls_key: Annotated[Path | None, option("FILE", "the certificate's key (PEM)")] = None,
    trust: Annotated[
        Path | None,
        option("KEYS", "serve only what a public key in this file has signed; see package --sign"),
    ] = None,
    reload_champion: Annotated[
        bool,
        typer.Option(
            "--reload-champion",
            help="move to whatever version models:/NAME@champion names, without a pause",
        ),
    ] = False,
    every: Annotated[
        float,
        option(
            "SECONDS",
            "between two looks at the registry for --reload-champion (default: 10)",
            seconds,
        ),
    ] = 10.0,
) -> int:
    r"""Serve a model or a bento on 127.0.0.1.

    Answers a page for a person at /, and POST /predict, /predict_batch, /explain and /what_if for
    programs; /docs describes them, GET /model says which model answers, GET /metrics is for
    Prometheus.

      accomplice serve model --port 3000
      accomplice serve models:/accomplice-NAME@champion --reload-champion
      curl -s http://127.0.0.1:3000/predict -H 'Content-Type: application/json' \
           -d '{"patient": {"age": 61}, "times": [12, 36]}'

    --reload-champion looks at the registry every --every seconds. Where the alias names another
    version its bundle is copied here, checked, loaded beside the one that answers and tried on its
    golden rows; then it answers, and no request fails meanwhile. An answer is always of one
    version, which it names. A version that cannot be fetched, was changed, or answers its golden
    rows differently is refused in one line of the log, counted (accomplice_reloads_total), and the
    one before goes on. So it does while the registry is away. To go back, promote the version
    before again.

    A model that was changed is refused, by the digest that its version and its files record. That
    guards against accidents: who may write to them can write both. --trust guards against that
    too: a model of the registry must be signed by promote --sign, a bento by package --sign.
    """
    from accomplice.serving.deployment.server import Access, ServerError
    from accomplice.serving.deployment.server import serve as run_server
    from accomplice.training.tracking.store import is_stored

    access = Access(host, tokens, concurrency, tls_cert, tls_key, memory, proxy)
    try:
        if reload_champion or is_stored(model):
            serve_stored(model, at, access, every if reload_champion else None, trust)
        elif not Path(model).is_dir():
            raise InputError(
                f"{model}: no such model: give a bundle folder, a bento's, or one of the registry"
            )
        else:
            run_server(Path(model), at, access, trust=trust)
    except ServerError as error:
        say(f"accomplice: {error}", error=True)
        return 1
    return 0


def serve_stored(
    model: str, at: int, access: Access, every: float | None, trust: Path | None = None
) -> None:
    """Serve a model of the store; with ``every``, also the later versions that its alias names.

    Args:
        model: ``runs:/ID``, ``models:/NAME/VERSION`` or ``models:/NAME@ALIAS``; the last if
            ``every`` is given.
        at: port to listen on.
        access: address, tokens, limits and certificate.
        every: seconds between two checks of the alias; None: later versions are not served.
        trust: file of the public keys by one of which a model must be signed; None: any model.

    Raises:
        InputError: there is no store or no such model, its bundle was changed, ``every`` is given
            for a model without an alias, or the port is taken.
        ServerError: the server ended by itself.
    """
    from tempfile import TemporaryDirectory

    from accomplice.serving.deployment.server import Supply
    from accomplice.serving.deployment.server import serve as run_server
    from accomplice.training.cli.served_model import Champion, Registered
    from accomplice.training.processes import term_interrupts

    # SIGTERM by itself would leave the folder behind.
    with term_interrupts(), TemporaryDirectory(prefix="accomplice-model-") as folder:
        place = Path(folder)
        supply: Supply = (
            Registered(model, place, trust)
            if every is None
            else Champion(model, place, every, trust=trust)
        )
        run_server(None, at, access, supply)


def token(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="of the program or the people who get it")
    ] = None,
    *,
    tokens: Annotated[Path, option("FILE", "holds the tokens' names and hashes")],
    expires: Annotated[
        str | None,
        option("WHEN", "last day of the new token's validity, or days from now, such as 90d"),
    ] = None,
    revoke: Annotated[str | None, option("NAME", "of the token to remove")] = None,
    list_: Annotated[
        bool, typer.Option("--list", help="show the names of all tokens, and until when")
    ] = False,
) -> None:
    """Make, list or revoke access tokens for clients of the endpoint.

    Prints a new token once, and adds its hash to a file that serve --tokens reads. A server that
    runs follows the file: it takes a new token, and refuses a revoked or expired one, within 5
    seconds.

      accomplice token tumour-board --tokens tokens --expires 90d
      accomplice serve model --host 10.0.0.5 --tokens tokens
      curl -s http://10.0.0.5:3000/predict -H "Authorization: Bearer $TOKEN" …
      accomplice token --list --tokens tokens
      accomplice token --revoke tumour-board --tokens tokens

    A day counts to its end, in UTC; --expires 2027-06-30T12:00 is a moment. Each name stands for
    one token, and the server's log names it with each request. A file that other users can write
    is refused; a new one only its owner can read.
    """
    from datetime import UTC, datetime

    from accomplice.serving.deployment.token_file import (
        add_token,
        list_tokens,
        read_moment,
        revoke_token,
    )

    if [name is not None, revoke is not None, list_].count(True) != 1:
        raise InputError("token: give either a NAME, --revoke NAME or --list")
    if expires is not None and name is None:
        raise InputError("--expires: is for a new token: give its NAME")
    now = datetime.now(UTC)
    if name is not None:
        made = add_token(tokens, name, None if expires is None else read_moment(expires, now))
        say(made)
        say(
            f"accomplice: shown this once; {tokens} keeps its hash, and serve --tokens reads it",
            error=True,
        )
    elif revoke is not None:
        left = revoke_token(tokens, revoke)
        say(f"revoked {revoke}; {left} left: a running server refuses it within 5 seconds")
    else:
        for each in list_tokens(tokens):
            until = "" if each.expires is None else f"until {each.expires:%Y-%m-%d %H:%M} UTC"
            state = until if each.valid(now) else f"expired: {until}"
            say(f"{each.name:<24}{state or 'does not expire'}")


def ui(
    *,
    at: Annotated[int, option("PORT", "to listen on (default: 5000)", port, name="--port")] = 5000,
    optuna: Annotated[
        bool, typer.Option("--optuna", help="Optuna's dashboard on the studies")
    ] = False,
    storage: Annotated[str | None, option("URL", "of the studies, as in tune")] = None,
    without_secret: Annotated[
        bool, typer.Option("--open", help="no secret: for everybody on this machine")
    ] = False,
) -> None:
    """Open MLflow on the project's runs.

    Serves MLflow on what mlruns/ (or MLFLOW_TRACKING_URI) holds, and prints the links that matter:
    of each experiment its models beside each other, the last study and its trials in parallel
    coordinates, and the champion. With --optuna Optuna's dashboard is served in its place, where it
    is installed: pip install 'accomplice[dashboard]'

    The links hold a secret, which the browser keeps until it is closed: other users of this machine
    are refused. Programs send it as MLFLOW_TRACKING_TOKEN; where that is set here, it is the
    secret. Of MLflow only runs, models, datasets and artifacts are served. The server ends with its
    terminal.

      accomplice ui
      accomplice ui --optuna --port 8080
      accomplice ui --optuna --storage postgresql://host/optuna
    """
    from functools import partial

    from accomplice.serving.api.connections import Connection, Connections
    from accomplice.training.tracking.store import open_store
    from accomplice.training.tracking.ui.server import run_dashboard, run_ui

    store = open_store()
    # Another user of this machine can keep nobody away.
    http = partial(Connection, open_connections=Connections.of_environment(0, {}))
    if optuna or storage is not None:
        run_dashboard(storage or store.optuna, at, http, secret=not without_secret)
    else:
        run_ui(store, at, http, secret=not without_secret)
