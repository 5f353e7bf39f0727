"""The web page: a form made from the study, and the answer in words and curves.

The page itself contains no data of the model and needs no token. Its script fetches the form, which
needs a token if the endpoint has tokens. The script sends the entries only to the endpoint, and
keeps them and the token only in memory. All files are served from ``files``, under paths that
change with the content.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from accomplice.data.escaping import printable
from accomplice.serving.requests.schemas import RESEARCH, SYNTHETIC

if TYPE_CHECKING:
    from accomplice.serving.answers.loaded_bundle import LoadedBundle
    from accomplice.serving.answers.predictor import Predictor

#: Folder of the page's files and templates.
FILES = Path(__file__).resolve().parent / "files"
#: Suffix of a served file -> its media type.
TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
#: Content security policy: only the page's own files, images within them, and requests to this
#: server are allowed. The browser must submit no form, so that no value ends up in an address.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
#: Content security policy of the documentation, whose Swagger UI writes styles of its own.
DOCS_POLICY = POLICY.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")
#: Caching of a file, whose path changes with its content.
FOREVER = "public, max-age=31536000, immutable"


class Page:
    """The web page; ``app`` is the application of its routes.

    Args:
        current: function that returns the bundle in service; None before there is one.
    """

    def __init__(self, current: Callable[[], LoadedBundle | None]) -> None:
        self._current = current
        self._files = {p.name: p.read_bytes() for p in FILES.iterdir() if p.suffix in TYPES}
        digest = hashlib.sha256()
        for name, content in sorted(self._files.items()):
            digest.update(name.encode() + b"\0" + content + b"\0")
        self.digest = digest.hexdigest()[:16]
        """Digest of all files, a part of their paths."""
        self._templates = Environment(
            loader=FileSystemLoader(FILES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters["printable"] = printable
        self._frame = self._render("page.html.j2", files=f"files/{self.digest}")
        self._docs = self._render("docs.html.j2", files=f"app/files/{self.digest}")
        self.app = Starlette(
            routes=[
                Route("/", self._home),
                Route("/app", self._home),
                Route("/app/", self._page),
                Route("/app/form", self._form),
                Route("/app/files/{digest}/{name}", self._file),
                Route("/docs", self._documentation),
            ]
        )

    def form(self, predictor: Predictor) -> str:
        """Return the HTML of the form for a predictor's bundle."""
        from accomplice.serving.web.form import form_of

        bundle = predictor.bundle
        scores = (bundle.metrics.get("review") or {}).get("scores", {}).get("model", {})
        return self._render(
            "form.html.j2",
            form=form_of(bundle),
            study=bundle.study,
            model=predictor.model,
            concordance=scores.get("uno_c"),
            patients=bundle.provenance.get("patients"),
            events=bundle.provenance.get("events"),
            research=RESEARCH,
            synthetic=SYNTHETIC if bundle.study.synthetic else "",
        )

    async def _home(self, _: Request) -> Response:
        # Relative, for proxies that add a path before it.
        return RedirectResponse("app/", headers={"content-security-policy": POLICY})

    async def _page(self, _: Request) -> Response:
        return _html(self._frame, POLICY)

    async def _documentation(self, _: Request) -> Response:
        return _html(self._docs, DOCS_POLICY)

    async def _form(self, _: Request) -> Response:
        current = self._current()
        if current is None:
            raise HTTPException(503)
        return _html(current.form, POLICY)

    async def _file(self, request: Request) -> Response:
        name = request.path_params["name"]
        if request.path_params["digest"] != self.digest or name not in self._files:
            raise HTTPException(404)
        return Response(
            self._files[name],
            media_type=TYPES[Path(name).suffix],
            headers={"cache-control": FOREVER, "content-security-policy": POLICY},
        )

    def _render(self, template: str, **values: Any) -> str:
        return self._templates.get_template(template).render(values)


def _html(text: str, policy: str) -> Response:
    headers = {"content-security-policy": policy, "cache-control": "no-store"}
    return Response(text, media_type="text/html", headers=headers)
