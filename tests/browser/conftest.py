"""A browser for the tests of pages; they skip where chromium is not installed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, Request, Response, expect, sync_playwright

BINARIES = ("chromium", "chromium-browser", "google-chrome")
#: Milliseconds that a page has to show what is expected of it.
WAIT = 20_000
#: How the name of a request ends that the page itself gave up.
GIVEN_UP = "ERR_ABORTED"

NewPage = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's chromium without a window; for a module, as an event loop runs meanwhile."""
    found = next(filter(None, map(shutil.which, BINARIES)), None)
    if found is None:
        pytest.skip("needs chromium")
    expect.set_options(timeout=WAIT)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=found, args=["--no-proxy-server", "--disable-gpu"]
        )
        yield browser
        browser.close()


@pytest.fixture
def errors() -> list[str]:
    """Exceptions that pages did not catch; requests that failed or were answered 400 or above."""
    return []


@pytest.fixture
def new_page(browser: Browser, errors: list[str]) -> Iterator[NewPage]:
    """Opens a tab of a width and a height, with a profile of its own."""
    contexts = []

    def answered(response: Response) -> None:
        if response.status >= 400:
            errors.append(f"{response.status} {response.url}")

    def failed(request: Request) -> None:
        if not str(request.failure).endswith(GIVEN_UP):
            errors.append(f"{request.failure} {request.url}")

    def opened(width: int = 1400, height: int = 1000) -> Page:
        size = {"width": width, "height": height}
        contexts.append(browser.new_context(viewport=size, locale="en-GB"))
        page = contexts[-1].new_page()
        page.set_default_timeout(WAIT)
        page.on("pageerror", lambda error: errors.append(error.message))
        page.on("response", answered)
        page.on("requestfailed", failed)
        return page

    yield opened
    for context in contexts:
        context.close()
