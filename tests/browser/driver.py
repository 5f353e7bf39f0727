"""Drive Debian's chromium without a window, to look at pages as a reader would.

It speaks the DevTools protocol over a pair of pipes (``--remote-debugging-pipe``: JSON messages,
each ended by a zero byte), so nothing but chromium itself is needed, and no port is opened.

    with Browser(tmp_path) as browser:
        page = browser.page()
        page.open("http://127.0.0.1:3000/")
        page.type("input[name=age]", "61")
        page.click("button", text="Predict")
        page.wait_for(text="survival")
        page.screenshot(tmp_path / "answer.png")
        assert not page.errors
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

BINARIES = ("chromium", "chromium-browser", "google-chrome")
#: Seconds that chromium has to answer, and a page to show what is waited for.
ANSWER, WAIT = 30.0, 20.0
#: Becomes chromium, which reads its file 3 and writes its file 4, with the pipes there.
PLACED = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3]]
os.dup2(ends[0], 3), os.dup2(ends[1], 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
#: Finds the shown elements of a selector whose text holds some words, the innermost first.
FIND = """
(selector, text) => [...document.querySelectorAll(selector)].filter(e => {
    const said = (e.innerText ?? e.textContent ?? "") + " " + (e.getAttribute("aria-label") ?? "");
    return e.getClientRects().length > 0 && said.includes(text);
}).sort((a, b) => a.contains(b) - b.contains(a))
"""


class BrowserError(AssertionError):
    """A page did not do what was expected of it."""


def chromium() -> str | None:
    """Return where chromium is, if it is installed."""
    return next((found for name in BINARIES if (found := shutil.which(name))), None)


class Browser:
    """A chromium of its own, with a fresh profile."""

    def __init__(self, folder: Path) -> None:
        """Start chromium; its profile goes below ``folder``."""
        binary = chromium()
        if binary is None:
            raise BrowserError("chromium is not installed")
        to_read, self._out = os.pipe()
        self._in, to_write = os.pipe()
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        options += ["--remote-debugging-pipe", f"--user-data-dir={folder / 'profile'}"]
        options += ["--no-first-run", "--disable-background-networking", "--no-proxy-server"]
        options += ["--force-color-profile=srgb", "--hide-scrollbars", "--lang=en-GB"]
        command = [sys.executable, "-S", "-c", PLACED, str(to_read), str(to_write)]
        self._process = subprocess.Popen(
            [*command, binary, *options, "about:blank"],
            pass_fds=(to_read, to_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
        )
        os.close(to_read)
        os.close(to_write)
        self._rest, self._count = b"", 0
        self._hears: dict[str, Callable[[str, dict[str, Any]], None]] = {}

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def page(self, width: int = 1400, height: int = 1000) -> Page:
        """Open an empty tab of so many pixels."""
        target = self.ask("Target.createTarget", {"url": "about:blank"})["targetId"]
        to = {"targetId": target, "flatten": True}
        return Page(self, self.ask("Target.attachToTarget", to)["sessionId"], width, height)

    def close(self) -> None:
        """End chromium."""
        with contextlib.suppress(BrowserError, OSError):
            self.ask("Browser.close")
        try:
            self._process.wait(ANSWER)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._in)
        os.close(self._out)

    def ask(
        self, method: str, params: dict[str, Any] | None = None, session: str | None = None
    ) -> dict[str, Any]:
        """Send a command of the DevTools protocol and return its answer."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": params or {}}
        message |= {} if session is None else {"sessionId": session}
        os.write(self._out, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + ANSWER
        while True:
            said = self._read(until, method)
            if said.get("id") == self._count:
                if "error" in said:
                    raise BrowserError(f"{method}: {said['error']['message']}")
                answer: dict[str, Any] = said["result"]
                return answer

    def hear(self, session: str, listener: Callable[[str, dict[str, Any]], None]) -> None:
        """Have a listener told of a tab's events."""
        self._hears[session] = listener

    def _read(self, until: float, why: str) -> dict[str, Any]:
        while b"\0" not in self._rest:
            left = until - time.monotonic()
            if left <= 0 or not select.select([self._in], [], [], left)[0]:
                raise BrowserError(f"{why}: no answer from chromium")
            part = os.read(self._in, 1 << 20)
            if not part:
                raise BrowserError(f"{why}: chromium has ended")
            self._rest += part
        first, self._rest = self._rest.split(b"\0", 1)
        said: dict[str, Any] = json.loads(first)
        if "method" in said and said.get("sessionId") in self._hears:
            self._hears[said["sessionId"]](said["method"], said["params"])
        return said


class Page:
    """A tab."""

    def __init__(self, browser: Browser, session: str, width: int, height: int) -> None:
        self._browser, self._session = browser, session
        self.errors: list[str] = []
        """Uncaught exceptions, and requests that failed or were answered 400 or above."""
        browser.hear(session, self._heard)
        for domain in ("Page", "Runtime", "Network"):
            self.ask(f"{domain}.enable")
        self.resize(width, height)

    def ask(self, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send a command of the DevTools protocol to this tab."""
        return self._browser.ask(method, params, self._session)

    def resize(self, width: int, height: int = 1000) -> None:
        """Make the tab so many pixels wide and high."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.ask("Emulation.setDeviceMetricsOverride", size)

    def open(self, url: str) -> None:
        """Go to an address, and wait until its document is read."""
        # Else an address that differs behind its # alone would leave the old page as it is.
        self.ask("Page.navigate", {"url": "about:blank"})
        said = self.ask("Page.navigate", {"url": url})
        if said.get("errorText"):
            raise BrowserError(f"{url}: {said['errorText']}")
        self._until(lambda: self.evaluate("document.readyState") == "complete", f"{url} to load")

    def evaluate(self, script: str) -> Any:
        """Return the value of a JavaScript expression; a promise's once it is kept."""
        asked = {"expression": script, "returnByValue": True, "awaitPromise": True}
        said = self.ask("Runtime.evaluate", asked)
        if "exceptionDetails" in said:
            thrown = said["exceptionDetails"]
            raise BrowserError(thrown.get("exception", {}).get("description") or thrown["text"])
        return said["result"].get("value")

    def text(self) -> str:
        """Return the words that are shown."""
        return str(self.evaluate("document.body ? document.body.innerText : ''"))

    def shows(self, text: str = "", selector: str = "body") -> bool:
        """Say whether an element of a selector is shown with some words in it."""
        return bool(self.evaluate(f"({FIND})({json.dumps(selector)}, {json.dumps(text)}).length"))

    def wait_for(self, text: str = "", selector: str = "body", seconds: float = WAIT) -> None:
        """Wait until an element of a selector is shown with some words in it.

        Raises:
            BrowserError: it was not; the page's words are in the error.
        """
        self._until(lambda: self.shows(text, selector), f"{selector} with {text!r}", seconds)

    def click(self, selector: str, text: str = "", seconds: float = WAIT) -> None:
        """Click in the middle of the first such element, once it is shown."""
        self._press(*self._middle(selector, text, seconds))

    def type(self, selector: str, text: str, seconds: float = WAIT) -> None:
        """Put a text into the first such field, in place of what is there."""
        self._press(*self._middle(selector, "", seconds))
        self.evaluate("document.activeElement.select && document.activeElement.select()")
        self.ask("Input.insertText", {"text": text})

    def screenshot(self, path: Path, width: int | None = None, whole: bool = False) -> None:
        """Write a PNG of what is shown, or of the whole page down to its end."""
        if width is not None:
            self.resize(width)
        asked = {"format": "png", "captureBeyondViewport": whole}
        if whole:
            size = self.ask("Page.getLayoutMetrics")["cssContentSize"]
            asked["clip"] = {**size, "scale": 1}
        path.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot", asked)["data"]))

    def _middle(self, selector: str, text: str, seconds: float) -> tuple[float, float]:
        self.wait_for(text, selector, seconds)
        x, y = self.evaluate(
            f"""(() => {{
            const e = ({FIND})({json.dumps(selector)}, {json.dumps(text)})[0];
            e.scrollIntoView({{block: "center", inline: "center", behavior: "instant"}});
            const box = e.getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2];
            }})()"""
        )
        return float(x), float(y)

    def _press(self, x: float, y: float) -> None:
        at = {"x": x, "y": y, "button": "left", "clickCount": 1}
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", {"type": kind, **at})

    def _until(self, true: Callable[[], bool], what: str, seconds: float = WAIT) -> None:
        until = time.monotonic() + seconds
        while True:
            with contextlib.suppress(BrowserError):  # the page may be between two documents
                if true():
                    return
            if time.monotonic() > until:
                shown = " ".join(self.text().split())
                raise BrowserError(f"waited {seconds:.0f} s for {what}; shown: {shown[:2000]}")
            time.sleep(0.1)

    def _heard(self, method: str, params: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            thrown = params["exceptionDetails"]
            said = thrown.get("exception", {}).get("description") or thrown["text"]
            self.errors.append(said.splitlines()[0])
        elif method == "Network.responseReceived" and params["response"]["status"] >= 400:
            self.errors.append(f"{params['response']['status']} {params['response']['url']}")
        elif method == "Network.loadingFailed" and not params.get("canceled"):
            self.errors.append(f"{params['errorText']} ({params['type']})")
