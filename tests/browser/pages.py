"""What a page shows, for the tests that drive it."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, Page, expect


def shown(page: Page, selector: str, text: str = "") -> Locator:
    """Return the visible elements of a selector that contain a text, with its case."""
    return page.locator(selector).filter(has_text=re.compile(re.escape(text)), visible=True)


def see(page: Page, selector: str, text: str = "") -> None:
    """Wait until an element of a selector is visible with a text in it."""
    expect(shown(page, selector, text).first).to_be_visible()


def press(page: Page, button: str) -> None:
    """Press the button of a name."""
    page.get_by_role("button", name=button, exact=True).click()


def text_of(page: Page) -> str:
    """Return all that is shown, as it is shown."""
    return page.locator("body").inner_text()
