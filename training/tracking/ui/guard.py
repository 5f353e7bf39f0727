"""ASGI middleware before the pages: host, origin, secret, and a list of allowed paths.

Any user of this machine can connect to the pages' port, and any web page can make the user's
browser do so. A request reaches the pages only if

- its ``Host`` is this machine, so that a foreign name which resolves to this machine is refused;
- it comes from the pages themselves, if a browser states its origin;
- it carries the secret: a program's as a bearer token, a browser's in a cookie;
- its path is allowed.

A browser sends a cookie to all ports of a host, so also to the servers of other users. Therefore
the cookie is bound to a folder with a secret name, below which the pages are.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Name of the cookie that holds the secret.
COOKIE = "accomplice-ui"
#: Pattern of a ``Host`` that is this machine, at any port: a tunnel may lead here from another.
THIS_MACHINE = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?", re.IGNORECASE)
#: Name of a request's state: it may come in. The name is repeated from ``serving.api.guard``.
ADMITTED = "admitted"
#: Path that shows, without the secret, whether the server is up.
HEALTH = "/health"
#: Line for a request without the secret.
NO_SECRET = (
    "accomplice ui: open the link that it printed in its terminal: the link holds the secret. "
    "A program sends it as MLFLOW_TRACKING_TOKEN."
)
#: Line for a request under a name that is not this machine's.
FOREIGN_HOST = "accomplice ui: this server answers as 127.0.0.1 and localhost alone."
#: Line for a request by another site's page.
FOREIGN_PAGE = "accomplice ui: a page of another site has asked for this: open the printed link."
#: Line for a path that is not allowed.
CLOSED = "accomplice ui has closed this path, as no page of runs, models or artifacts needs it."
#: Headers of every answer that does not set them itself.
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
#: Script of the entry page: goes on to the pages' folder, and remembers it for links without the
#: secret. A browser keeps such storage apart for each port.
SCRIPT = """\
const given = document.documentElement.dataset.folder;
if (given) localStorage.setItem("accomplice-ui", given);
const folder = localStorage.getItem("accomplice-ui");
if (folder) location.replace(folder + "/" + location.hash);
"""
#: The entry page, without the pages' folder and a line of text.
ENTRY = """\
<!doctype html>
<html lang="en" data-folder="{folder}">
<meta charset="utf-8"><title>accomplice ui</title>
<p>{line}</p>
<script>{script}</script>
</html>
"""
#: Headers of the entry page: nothing but its own script runs.
ENTRY_HEADERS = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'; script-src 'sha256-"
    + base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    + "'",
    "cache-control": "no-store",
}


def folder_of(token: str) -> str:
    """Return the path of the folder of the pages, without a slash at its end.

    Args:
        token: the secret; empty if none is needed, for which the path is empty too.
    """
    return f"/{hashlib.sha256(token.encode()).hexdigest()[:32]}" if token else ""


class Guard:
    """Middleware that refuses requests of other users and other sites, and of closed paths.

    Args:
        app: the application.
        allowed: pattern of the paths that the application answers.
        token: the secret; empty if none is needed.
    """

    def __init__(self, app: ASGIApp, allowed: re.Pattern[str], token: str) -> None:
        self.app = app
        self.allowed = allowed
        self.token = token
        self.folder = folder_of(token)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or refuse an HTTP request; anything else, such as a web socket, is ignored."""
        if scope["type"] != "http":
            return

        async def sender(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                names = {name.lower() for name, _ in headers}
                headers += [pair for pair in HEADERS if pair[0] not in names]
                message = {**message, "headers": headers}
            await send(message)

        below = _below(scope, self.folder)
        answer = self._refusal(Request(below or scope), entering=below is None)
        if answer is None and scope["path"] != HEALTH:
            # Connections without such a request are the first that are closed.
            scope.setdefault("state", {})[ADMITTED] = True
        await (answer or self.app)(below or scope, receive, sender)

    def _refusal(self, request: Request, *, entering: bool) -> Response | None:
        """Return the answer to a request that does not reach the pages; None if it does.

        Args:
            request: the request.
            entering: whether its path is not in the folder of the pages.
        """
        path = request.scope["path"]
        reads = request.method in ("GET", "HEAD")
        if not _is_to_this_machine(request):
            return PlainTextResponse(FOREIGN_HOST, 403)
        if not _is_of_own_page(request, entry=reads and path == "/"):
            return PlainTextResponse(FOREIGN_PAGE, 403)
        if path == HEALTH and reads:
            return None
        if not self._has_secret(request):
            headers = {"www-authenticate": "Bearer"}
            if entering and reads and path == "/":
                return self._entry(request.query_params.get("token", ""), headers)
            return PlainTextResponse(NO_SECRET, 401, headers)
        if not self.allowed.fullmatch(path):
            return JSONResponse({"error_code": "ENDPOINT_NOT_FOUND", "message": CLOSED}, 404)
        return None

    def _has_secret(self, request: Request) -> bool:
        """Whether a request carries the secret, or none is needed."""
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        given = [bearer.strip()] if scheme.lower() == "bearer" else []
        # Another server of this host may have set a cookie of the same name.
        for pair in ";".join(request.headers.getlist("cookie")).split(";"):
            name, _, value = pair.strip().partition("=")
            given += [value] if name == COOKIE else []
        return not self.token or any(self._is_secret(each) for each in given)

    def _is_secret(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self.token.encode())

    def _entry(self, given: str, refused: dict[str, str]) -> Response:
        """Return the page that goes on to the folder of the pages.

        Args:
            given: the secret in the link; another text if the link has none.
            refused: headers of the answer if it is not the secret.
        """
        known = self._is_secret(given)
        page = ENTRY.format(
            folder=self.folder if known else "", line="" if known else NO_SECRET, script=SCRIPT
        )
        if not known:
            return HTMLResponse(page, 401, {**ENTRY_HEADERS, **refused})
        answer = HTMLResponse(page, headers=ENTRY_HEADERS)
        answer.set_cookie(COOKIE, self.token, path=self.folder, httponly=True, samesite="strict")
        return answer


def _below(scope: Scope, folder: str) -> Scope | None:
    """Return the scope of a request as seen from a folder; None if it is not in the folder."""
    path = scope["path"]
    if not path.startswith(f"{folder}/"):
        return None
    path = path[len(folder) :]
    return {**scope, "path": path, "raw_path": quote(path).encode()}


def _is_to_this_machine(request: Request) -> bool:
    """Whether a request has one ``Host``, which is this machine."""
    hosts = request.headers.getlist("host")
    return len(hosts) == 1 and THIS_MACHINE.fullmatch(hosts[0]) is not None


def _is_of_own_page(request: Request, *, entry: bool) -> bool:
    """Whether a request comes from the pages, from a typed address, or not from a browser.

    Args:
        request: the request, with a ``Host``.
        entry: whether it is for the entry page, to which other sites may link.
    """
    headers = request.headers
    origin = headers.get("origin")
    if origin is not None and origin.partition("://")[2] != headers["host"]:
        return False
    linked = entry and headers.get("sec-fetch-dest") == "document"
    return linked or headers.get("sec-fetch-site", "none") in ("none", "same-origin")
