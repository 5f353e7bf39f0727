"""The browser's driver, on pages written here."""

from __future__ import annotations

import pytest

from tests.browser.driver import Browser, BrowserError, Page

HTML = """<!doctype html><title>t</title>
<form onsubmit="event.preventDefault(); setTimeout(() => said.textContent =
 'hello ' + who.value, 200)"><input id=who value=nobody><button>Greet</button></form>
<button onclick="oops()">Break</button><p hidden>a secret</p><p id=said></p>"""


@pytest.fixture
def page(browser: Browser, tmp_path) -> Page:
    (tmp_path / "page.html").write_text(HTML)
    opened = browser.page(600, 400)
    opened.open(f"file://{tmp_path / 'page.html'}")
    return opened


def test_types_clicks_and_waits(page: Page) -> None:
    page.type("#who", "world")
    page.click("button", text="Greet")
    page.wait_for(text="hello world")
    assert page.evaluate("Promise.resolve(who.value.length)") == 5
    assert page.errors == []


def test_what_is_hidden_is_not_shown(page: Page) -> None:
    assert not page.shows("a secret")
    with pytest.raises(BrowserError, match=r"for p with 'a secret'; shown: Greet Break"):
        page.wait_for("a secret", "p", seconds=0.2)


def test_exceptions_of_the_page_are_kept(page: Page) -> None:
    page.click("button", text="Break")
    page.wait_for("Break")
    assert page.errors == ["ReferenceError: oops is not defined"]
    with pytest.raises(BrowserError, match="TypeError"):
        page.evaluate("null.nothing")


def test_takes_a_picture(page: Page, tmp_path) -> None:
    page.screenshot(tmp_path / "a.png", width=500)
    header = (tmp_path / "a.png").read_bytes()[:24]
    assert header.startswith(b"\x89PNG")
    assert int.from_bytes(header[16:20]) == 500
