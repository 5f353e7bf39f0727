"""The page's routes: what is open, what they may load, and that no name of a study becomes code."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest

from accomplice.data.study import parse_study
from accomplice.serving.answers.batching import RequestScheduler
from accomplice.serving.answers.loaded_bundle import LoadedBundle
from accomplice.serving.answers.predictor import Predictor
from accomplice.serving.api.guard import Guard, Limits
from accomplice.serving.web.page import FILES, FOREVER, Page
from accomplice.training.bundle import Bundle
from accomplice.training.run import Trained
from tests.browser.markup import unlabelled

NASTY = "<script>alert(1)</script>\"'&"


def get(page: Page, path: str, limits: Limits | None = None, **headers: str) -> httpx.Response:
    app = Guard(page.app, limits or Limits())

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.get(path, headers=headers)

    return asyncio.run(ask())


def shown(bundle: Bundle) -> Page:
    page = Page(lambda: answering)
    predictor = Predictor(bundle, "0123456789abcdef")
    answering = LoadedBundle(
        predictor, RequestScheduler(predictor), page.form(predictor), b"{}", b"{}"
    )
    return page


class Tags(HTMLParser):
    """Every tag with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def all(self, tag: str) -> Iterator[dict[str, str | None]]:
        return (attributes for name, attributes in self.found if name == tag)


@pytest.fixture(scope="module")
def page(bundle: Bundle) -> Page:
    return shown(bundle)


class TestFrame:
    def test_home_leads_to_the_page_by_a_relative_address(self, page: Page):
        for path in ("/", "/app"):
            answer = get(page, path)
            assert answer.status_code == 307
            assert answer.headers["location"] == "app/"

    def test_loads_files_of_its_own_alone_and_nothing_inline(self, page: Page):
        for path, base in (("/app/", "/app/"), ("/docs", "/")):
            tags = Tags(get(page, path).text)
            scripts, links = list(tags.all("script")), list(tags.all("link"))
            assert scripts
            assert all(each.get("src") for each in scripts)
            for address in [each["src"] for each in scripts] + [each["href"] for each in links]:
                assert address is not None
                assert "//" not in address
                if "static_content" not in address:
                    assert get(page, base + address).status_code == 200
            assert not [a for _, attributes in tags.found for a in attributes if a[:2] == "on"]
            assert not [1 for _, attributes in tags.found if "style" in attributes]
            assert not list(tags.all("style"))

    def test_names_nothing_of_the_model(self, page: Page):
        text = get(page, "/app/").text + get(page, "/docs").text
        for word in ("made-up", "IL1R1", "age_years", "hospital", "north"):
            assert word not in text

    @pytest.mark.parametrize("path", ["/", "/app/", "/app/form", "/docs"])
    def test_forbids_what_the_page_does_not_need(self, page: Page, path: str):
        policy = get(page, path).headers["content-security-policy"]
        rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
        assert rules["default-src"] == rules["form-action"] == rules["base-uri"] == "'none'"
        assert rules["script-src"] == rules["connect-src"] == "'self'"
        assert rules["frame-ancestors"] == "'none'"
        assert rules["style-src"] == ("'self' 'unsafe-inline'" if path == "/docs" else "'self'")
        assert get(page, path).headers["x-content-type-options"] == "nosniff"


class TestFiles:
    def test_are_kept_for_good_under_a_name_of_their_content(self, page: Page):
        answer = get(page, f"/app/files/{page.digest}/app.js")
        assert answer.headers["cache-control"] == FOREVER
        assert answer.headers["content-type"].startswith("text/javascript")
        assert get(page, "/app/form").headers["cache-control"] == "no-store"

    def test_another_name_is_not_answered(self, page: Page):
        for path in ("0123456789abcdef/app.js", f"{page.digest}/form.html.j2", f"{page.digest}/x"):
            assert get(page, f"/app/files/{path}").status_code == 404
        assert get(page, f"/app/files/{page.digest}/..%2fapp.py").status_code == 404

    def test_ask_no_other_host(self):
        for path in FILES.iterdir():
            text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
            assert not re.search(r"https?://|url\(|@import|//cdn", text), path.name

    def test_keep_nothing_in_the_browser(self):
        text = "".join(path.read_text(encoding="utf-8") for path in FILES.glob("*.js"))
        assert not re.search(r"localStorage|sessionStorage|indexedDB|document\.cookie|caches", text)


class TestTokens:
    LIMITS = Limits(tokens=lambda: {"0" * 64: "someone"})

    def test_the_frame_is_open_and_the_form_is_not(self, page: Page):
        for path in ("/", "/app", "/app/", "/docs", f"/app/files/{page.digest}/app.css"):
            assert get(page, path, self.LIMITS).status_code in (200, 307)
        for path in ("/app/form", "/docs.json", "/app/files", "/appx"):
            assert get(page, path, self.LIMITS).status_code == 401
            wrong = get(page, path, self.LIMITS, authorization="Bearer wrong")
            assert wrong.status_code == 401


class TestForm:
    def test_waits_until_there_is_a_model(self):
        assert get(Page(lambda: None), "/app/form").status_code == 503

    def test_has_a_labelled_field_for_each_feature(self, page: Page, bundle: Bundle):
        text = get(page, "/app/form").text
        names = {e["name"] for t in ("input", "select") for e in Tags(text).all(t) if "name" in e}
        columns = {f.column or name for name, f in bundle.study.features.items()}
        assert columns <= names <= {*columns, bundle.study.centre}
        assert not unlabelled(text)

    def test_says_what_it_is_made_of(self, page: Page):
        text = unescape(get(page, "/app/form").text)
        assert "SYNTHETIC" in text
        assert "For research use only" in text
        assert "18 to 110" in text
        assert "0123456789ab" in text

    def test_holds_no_script_and_no_style(self, page: Page):
        tags = Tags(get(page, "/app/form").text)
        assert not {"script", "style", "iframe", "object"} & {tag for tag, _ in tags.found}
        assert not [1 for _, attributes in tags.found if "style" in attributes]

    def test_writes_a_study_s_names_as_text(self, bundle: Bundle, study: Any):
        raw = study.describe()
        raw["modalities"]["clinical"]["age"]["label"] = NASTY
        raw["modalities"]["clinical"]["age"]["unit"] = NASTY
        raw["modalities"]["clinical"]["sex"]["levels"] = [NASTY, "male"]
        raw["modalities"][NASTY] = raw["modalities"].pop("density")
        raw["treatment"]["label"] = NASTY
        nasty = replace(bundle, study=parse_study(raw, "nasty"))
        text = get(shown(nasty), "/app/form").text
        assert "<script" not in text
        tags = Tags(text)
        assert "script" not in {tag for tag, _ in tags.found}
        (form,) = tags.all("form")
        assert form["data-config"] is not None
        assert json.loads(form["data-config"])["treatment"]["label"] == NASTY


def test_a_study_of_labels_alone_has_no_curves(labels_trained: Trained):
    text = get(shown(labels_trained.bundle), "/app/form").text
    assert 'id="survival-h"' not in text
    assert 'id="treatment-h"' not in text
    assert 'id="else-h"' in text


def test_a_study_of_several_endpoints_names_each(several_trained: Trained):
    (form,) = Tags(get(shown(several_trained.bundle), "/app/form").text).all("form")
    config = json.loads(form["data-config"] or "")
    assert [e["label"] for e in config["endpoints"]] == [
        "Overall survival",
        "Disease-free survival",
    ]
    assert [e["horizon"] for e in config["endpoints"]][1] == pytest.approx(36, abs=1)
