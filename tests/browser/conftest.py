"""A browser for the tests of pages; they skip where chromium is not installed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser.driver import Browser, chromium


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Chromium without a window, for the whole session."""
    if chromium() is None:
        pytest.skip("needs chromium")
    with Browser(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened
