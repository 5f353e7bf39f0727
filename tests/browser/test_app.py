"""The page in a browser: what a person fills in, moves, reads, hears and prints."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from accomplice.serving.api.tokens import new_token
from accomplice.serving.deployment.server import Access, running, serve_command
from accomplice.training.processes import free_port
from accomplice.training.run import Trained
from tests.browser.driver import Browser, Page

#: Presses of Tab in which the form's button is reached.
MANY = 60


@pytest.fixture(scope="session")
def bundle_folder(tiny_trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "bundle"
    tiny_trained.bundle.save(path)
    return path


@pytest.fixture(scope="session")
def address(browser: Browser, bundle_folder: Path) -> Iterator[str]:
    port = free_port()
    argv, env = serve_command(bundle_folder, port)
    with running(argv, env, port) as url:
        yield url


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    opened = browser.page()
    opened.open(address)
    opened.wait_for("The patient", "h2")
    yield opened
    assert opened.errors == []


@pytest.fixture
def answered(page: Page) -> Page:
    page.click("button", text="Made-up patient")
    page.click("button", text="Show the answer")
    page.wait_for("1. Survival", "h3")
    return page


def survival(page: Page, table: str = "#survival-table", column: int = 1) -> list[str]:
    """A column of a table, top down."""
    cells = f"{table} tbody tr > :nth-child({column + 1})"
    found = f"[...document.querySelectorAll({json.dumps(cells)})].map(e => e.textContent)"
    return list(page.evaluate(found))


def curve(page: Page, figure: str, look: str) -> list[list[float]]:
    """The points of a line that is drawn."""
    line = f"document.querySelector('{figure} polyline.{look}').getAttribute('points')"
    return [[float(v) for v in point.split(",")] for point in page.evaluate(line).split()]


def slide(page: Page, to: str) -> None:
    """Move the first slider by the keyboard, to its beginning or end."""
    page.evaluate("document.querySelector('.slider input').focus()")
    press(page, to)


def press(page: Page, key: str, times: int = 1) -> None:
    codes = {"Tab": 9, "Enter": 13, "End": 35, "Home": 36}
    pressed = {"key": key, "code": key, "windowsVirtualKeyCode": codes[key]}
    text = {"text": "\r"} if key == "Enter" else {}
    for _ in range(times):
        page.ask("Input.dispatchKeyEvent", {"type": "keyDown", **pressed, **text})
        page.ask("Input.dispatchKeyEvent", {"type": "keyUp", **pressed})


def prefer(page: Page, **features: str) -> None:
    named = [{"name": k.replace("_", "-"), "value": v} for k, v in features.items()]
    page.ask("Emulation.setEmulatedMedia", {"features": named})


def focused(page: Page) -> Any:
    return page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()")


def violations(page: Page) -> list[str]:
    """What axe finds serious."""
    if not page.evaluate("typeof axe === 'object'"):
        # By the protocol, which the page's policy does not bind.
        axe = files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8")
        page.evaluate(axe + "; 0")
    found = page.evaluate("axe.run().then(said => said.violations)")
    return [
        f"{each['id']} ({each['impact']}): {node['html'][:200]} {node['failureSummary']}"
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]


def test_a_patient_is_filled_in_and_answered(page: Page) -> None:
    page.type("input[name=age]", "71")
    page.evaluate("document.querySelector('select[name=stage]').value = 'III'")
    page.click("button", text="Show the answer")
    page.wait_for("1. Survival", "h3")
    values = [int(text.split()[0]) for text in survival(page)]
    assert len(values) == 3
    assert 100 > values[0] > values[1] > values[2] > 0
    assert "of 100 patients like this one" in page.text().lower()
    assert page.shows("Chemotherapy", "#glance dt")
    assert page.shows("exploratory", "#else-words")
    assert page.shows("Not given", "#odd")
    line = curve(page, "#survival-chart", "given")
    assert all(a[0] < b[0] and a[1] <= b[1] for a, b in pairwise(line))
    assert page.shows("Age", "#entered dt")
    assert page.shows("71", "#entered dd")


def test_a_slider_changes_the_curve_beside_the_one_as_entered(answered: Page) -> None:
    before = survival(answered)
    slide(answered, "End")
    answered.wait_for("As entered", "#whatif-table")
    answered.wait_for("IL1R1", "#whatif-table caption")
    assert [t for t in survival(answered, "#whatif-table", 1) if "%" in t][:3] == before
    given, changed = (curve(answered, "#whatif-chart", look) for look in ("given", "changed"))
    assert given != changed
    at_end = survival(answered, "#whatif-table", 2)
    slide(answered, "Home")
    high = answered.evaluate("document.querySelector('#whatif-table caption').textContent")
    answered._until(
        lambda: (
            answered.evaluate("document.querySelector('#whatif-table caption').textContent") != high
        ),
        "another value",
    )
    assert survival(answered, "#whatif-table", 2) != at_end
    assert curve(answered, "#whatif-chart", "given") == given
    assert "With IL1R1" in answered.evaluate("document.querySelector('#said').textContent")
    answered.click("button", text="Back to the values entered")
    assert not answered.shows(selector="#whatif-table")


def test_wrong_input_is_told_at_its_field_and_asks_nothing(page: Page) -> None:
    page.type("input[name=age]", "sixty")
    page.type("input[name=IL1R1]", "7,2")
    page.click("button", text="Show the answer")
    page.wait_for("This needs another look", "#problems")
    for name, words in (("age", "must be a number"), ("IL1R1", "with a point")):
        told = page.evaluate(
            f"(() => {{ const f = document.querySelector('input[name={name}]');"
            "return [f.getAttribute('aria-invalid'), f.getAttribute('aria-describedby').split(' ')"
            ".map(id => document.getElementById(id).textContent).join(' ')]; })()"
        )
        assert told[0] == "true"
        assert words in told[1]
    assert focused(page) == "problems"
    assert not page.shows("1. Survival", "h3")
    page.click("#problems a", text="IL1R1")
    assert page.evaluate("document.activeElement.name") == "IL1R1"
    page.type("input[name=age]", "60")
    page.type("input[name=IL1R1]", "7.2")
    page.click("button", text="Show the answer")
    page.wait_for("1. Survival", "h3")
    assert page.evaluate("document.querySelectorAll('[aria-invalid]').length") == 0


def test_what_is_implausible_is_answered_and_flagged_at_its_field(page: Page) -> None:
    page.type("input[name=age]", "140")
    page.click("button", text="Show the answer")
    page.wait_for("Outside the plausible range", ".field[data-name=age] .note")
    assert page.shows("Age: Outside the plausible range", "#odd li")


def test_a_refusal_of_the_server_s_is_told_at_its_field(page: Page) -> None:
    page.evaluate("document.querySelector('input[name=IL1R1]').name = 'CD163'")
    page.type("input[name=age]", "60")
    page.evaluate(
        "window.fetch = async () => new Response(JSON.stringify({error: {code: 'invalid_request',"
        "message: 'no', details: [{where: 'patient.age', problem: 'not like that'}]}}),"
        "{status: 400})"
    )
    page.click("button", text="Show the answer")
    page.wait_for("Age: not like that", ".field[data-name=age] .note")


@pytest.mark.parametrize(
    ("status", "words"), [(429, "busy"), (500, "failed to answer"), (0, "cannot be reached")]
)
def test_a_server_that_does_not_answer_is_told_in_words(
    page: Page, status: int, words: str
) -> None:
    answer = f"new Response('{{}}', {{status: {status}}})" if status else "Promise.reject(Error())"
    page.type("input[name=age]", "60")
    page.evaluate(f"window.fetch = async () => {answer}; 0")
    page.click("button", text="Show the answer")
    page.wait_for(words, "#failed")


def test_another_version_s_answer_is_not_mixed_in_and_nothing_is_lost(page: Page) -> None:
    page.type("input[name=age]", "60")
    page.type("#reference", "R-1")
    page.evaluate(
        "window.real = window.fetch; window.fetch = async (...asked) => {"
        "const answer = await real(...asked); if (asked[1].method !== 'POST') return answer;"
        "const said = await answer.json(); said.model.digest = 'another';"
        "return new Response(JSON.stringify(said)); }; 0"
    )
    page.click("button", text="Show the answer")
    page.wait_for("Another version of the model answers now", "#failed")
    entered = "['input[name=age]', '#reference'].map(s => document.querySelector(s).value)"
    assert page.evaluate(entered) == ["60", "R-1"]
    assert not page.shows("1. Survival", "h3")
    page.evaluate("window.fetch = window.real; 0")
    page.click("button", text="Show the answer")
    page.wait_for("1. Survival", "h3")


def test_an_answer_says_when_the_form_has_moved_on(answered: Page) -> None:
    assert not answered.shows("has changed since")
    answered.type("input[name=age]", "50")
    answered.wait_for("has changed since", "#stale")
    answered.click("button", text="Show the answer")
    answered.wait_for("50", "#entered dd")
    assert not answered.shows("has changed since")
    answered.click("button", text="Clear")
    answered.wait_for("Nothing asked yet", "#empty")
    assert not answered.shows("1. Survival")


def test_works_by_keyboard_alone(page: Page) -> None:
    press(page, "Tab")
    assert focused(page) == "Skip to the answer"
    for _ in range(MANY):
        press(page, "Tab")
        if focused(page) == "Show the answer":
            break
        if page.evaluate("document.activeElement.name") == "age":
            page.ask("Input.insertText", {"text": "66"})
    assert page.evaluate("document.querySelector('input[name=age]').value") == "66"
    press(page, "Enter")
    page.wait_for("1. Survival", "h3")
    assert focused(page) == "answer"
    said = page.evaluate("document.querySelector('#said').textContent")
    assert said.startswith("Answer. Survival: About ")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_bars_those_who_see_or_hear_otherwise(page: Page, scheme: str) -> None:
    prefer(page, prefers_color_scheme=scheme)
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(20, 23, 27)")
    assert violations(page) == []
    page.type("input[name=age]", "x")
    page.click("button", text="Show the answer")
    page.wait_for("This needs another look", "#problems")
    assert violations(page) == []
    page.click("button", text="Made-up patient")
    page.click("button", text="Show the answer")
    page.wait_for("1. Survival", "h3")
    slide(page, "End")
    page.wait_for("As entered", "#whatif-table")
    page.type("input[name=age]", "140")
    assert violations(page) == []


def test_fits_a_phone_and_its_thumbs(answered: Page) -> None:
    answered.resize(360, 740)
    slide(answered, "End")
    answered.wait_for("As entered", "#whatif-table")
    assert answered.evaluate("document.documentElement.scrollWidth") == 360
    small = answered.evaluate(
        "[...document.querySelectorAll('button, input, select, summary, textarea')]"
        ".filter(e => e.getClientRects().length && e.getBoundingClientRect().height < 44)"
        ".map(e => e.outerHTML.slice(0, 80))"
    )
    assert small == []
    assert answered.evaluate("document.querySelector('#survival-chart svg').clientWidth") <= 360


def test_prints_one_page_without_the_form(answered: Page) -> None:
    answered.type("#reference", "ref 17")
    answered.click("button", text="Show the answer")
    answered.wait_for(selector="#result")
    for width, height in ((8.27, 11.69), (8.5, 11)):
        paper = {"paperWidth": width, "paperHeight": height}
        pdf = base64.b64decode(answered.ask("Page.printToPDF", paper)["data"])
        assert pdf.count(b"/Type /Page\n") == 1
    answered.ask("Emulation.setEmulatedMedia", {"media": "print"})
    assert not answered.shows(selector="#patient")
    assert answered.shows("Age", "#entered dt")
    assert answered.shows("SYNTHETIC", ".banner")
    assert answered.shows("For research use only")


@pytest.mark.slow
def test_a_token_is_asked_for_and_kept_in_memory_alone(
    browser: Browser, bundle_folder: Path, tmp_path: Path
) -> None:
    known = tmp_path / "tokens"
    token, line = new_token("ward")
    known.write_text(f"{line}\n")
    port = free_port()
    argv, env = serve_command(bundle_folder, port, Access(tokens=known))
    with running(argv, env, port) as url:
        page = browser.page()
        page.open(url)
        page.wait_for("Access token", "label")
        assert violations(page) == []
        page.type("#token", "wrong")
        page.click("button", text="Continue")
        page.wait_for("not known", "#access-wrong")
        page.type("#token", token)
        page.click("button", text="Continue")
        page.wait_for("The patient", "h2")
        page.click("button", text="Made-up patient")
        page.click("button", text="Show the answer")
        page.wait_for("1. Survival", "h3")
        kept = "[localStorage.length, sessionStorage.length, document.cookie, location.href]"
        assert page.evaluate(kept) == [0, 0, "", f"{url}/app/"]
        assert page.evaluate("document.querySelector('#token').value") == ""
        page.open(f"{url}/docs")
        page.type("#token", token)
        page.click("button", text="Continue")
        page.wait_for("/predict_batch", "#swagger-ui")


def test_the_endpoint_s_documentation_comes_from_here_alone(page: Page, address: str) -> None:
    page.open(f"{address}/docs")
    page.wait_for("/predict_batch", "#swagger-ui")
    asked = page.evaluate("performance.getEntriesByType('resource').map(e => e.name)")
    assert asked
    assert all(name.startswith((address, "data:")) for name in asked)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["labels_trained", "several_trained"])
def test_other_studies_are_asked_and_answered_too(
    browser: Browser, kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    request.getfixturevalue(kind).bundle.save(tmp_path / "bundle")
    port = free_port()
    argv, env = serve_command(tmp_path / "bundle", port)
    with running(argv, env, port) as url:
        page = browser.page()
        page.open(url)
        page.click("button", text="Made-up patient")
        page.click("button", text="Show the answer")
        page.wait_for("3. What else", "h3")
        assert page.shows("Probability of response to a checkpoint inhibitor", "#else-words")
        assert page.shows("1. Survival", "h3") == (kind == "several_trained")
        if kind == "several_trained":
            assert "beyond its horizon" in survival(page, column=3)
            assert page.shows("Disease-free survival", "#survival-table th")
        slide(page, "End")
        page.wait_for("As entered", "#whatif-table")
        assert violations(page) == []
        assert page.errors == []
