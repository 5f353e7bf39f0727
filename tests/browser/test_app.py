"""The page in a browser: what a person fills in, moves, reads, hears and prints."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Page, expect

from accomplice.serving.api.tokens import new_token
from accomplice.serving.deployment.server import Access, running, serve_command
from accomplice.training.processes import free_port
from accomplice.training.run import Trained
from tests.browser.conftest import NewPage
from tests.browser.pages import press, see, shown, text_of

#: Presses of Tab in which the form's button is reached.
MANY = 60
EDGES = ("top", "right", "bottom", "left")


@pytest.fixture(scope="module")
def bundle_folder(tiny_trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "bundle"
    tiny_trained.bundle.save(path)
    return path


@pytest.fixture(scope="module")
def address(browser: Browser, bundle_folder: Path) -> Iterator[str]:
    port = free_port()
    argv, env = serve_command(bundle_folder, port)
    with running(argv, env, port) as url:
        yield url


@pytest.fixture
def page(new_page: NewPage, address: str, errors: list[str]) -> Iterator[Page]:
    opened = new_page()
    opened.goto(address)
    see(opened, "h2", "The patient")
    yield opened
    assert errors == []


@pytest.fixture
def answered(page: Page) -> Page:
    press(page, "Made-up patient")
    press(page, "Show the answer")
    see(page, "h3", "1. Survival")
    return page


def survival(page: Page, table: str = "#survival-table", column: int = 1) -> list[str]:
    """A column of a table, top down."""
    return page.locator(f"{table} tbody tr > :nth-child({column + 1})").all_text_contents()


def curve(page: Page, figure: str, look: str) -> list[list[float]]:
    """The points of a line that is drawn."""
    points = page.locator(f"{figure} polyline.{look}").first.get_attribute("points")
    assert points
    return [[float(v) for v in point.split(",")] for point in points.split()]


def slide(page: Page, to: str) -> None:
    """Move the first slider by the keyboard, to its beginning or end."""
    page.locator(".slider input").first.press(to)


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
    page.fill("input[name=age]", "71")
    page.select_option("select[name=stage]", "III")
    press(page, "Show the answer")
    see(page, "h3", "1. Survival")
    values = [int(text.split()[0]) for text in survival(page)]
    assert len(values) == 3
    assert 100 > values[0] > values[1] > values[2] > 0
    assert "of 100 patients like this one" in text_of(page).lower()
    see(page, "#glance dt", "Chemotherapy")
    see(page, "#else-words", "exploratory")
    see(page, "#odd", "Not given")
    line = curve(page, "#survival-chart", "given")
    assert all(a[0] < b[0] and a[1] <= b[1] for a, b in pairwise(line))
    see(page, "#entered dt", "Age")
    see(page, "#entered dd", "71")


def test_a_slider_changes_the_curve_beside_the_one_as_entered(answered: Page) -> None:
    before = survival(answered)
    slide(answered, "End")
    see(answered, "#whatif-table", "As entered")
    see(answered, "#whatif-table caption", "IL1R1")
    assert [t for t in survival(answered, "#whatif-table", 1) if "%" in t][:3] == before
    given, changed = (curve(answered, "#whatif-chart", look) for look in ("given", "changed"))
    assert given != changed
    at_end = survival(answered, "#whatif-table", 2)
    caption = answered.locator("#whatif-table caption")
    high = caption.text_content()
    slide(answered, "Home")
    expect(caption).not_to_have_text(str(high))
    assert survival(answered, "#whatif-table", 2) != at_end
    assert curve(answered, "#whatif-chart", "given") == given
    assert "With IL1R1" in str(answered.locator("#said").text_content())
    press(answered, "Back to the values entered")
    assert not shown(answered, "#whatif-table").count()


def test_wrong_input_is_told_at_its_field_and_asks_nothing(page: Page) -> None:
    page.fill("input[name=age]", "sixty")
    page.fill("input[name=IL1R1]", "7,2")
    press(page, "Show the answer")
    see(page, "#problems", "This needs another look")
    for name, problem in (("age", "must be a number"), ("IL1R1", "with a point")):
        field = page.locator(f"input[name={name}]")
        assert field.get_attribute("aria-invalid") == "true"
        expect(field).to_have_accessible_description(re.compile(problem))
    assert focused(page) == "problems"
    assert not shown(page, "h3", "1. Survival").count()
    page.locator("#problems a", has_text="IL1R1").click()
    assert page.evaluate("document.activeElement.name") == "IL1R1"
    page.fill("input[name=age]", "60")
    page.fill("input[name=IL1R1]", "7.2")
    press(page, "Show the answer")
    see(page, "h3", "1. Survival")
    assert page.locator("[aria-invalid]").count() == 0


def test_what_is_implausible_is_answered_and_flagged_at_its_field(page: Page) -> None:
    page.fill("input[name=age]", "140")
    press(page, "Show the answer")
    see(page, ".field[data-name=age] .note", "Outside the plausible range")
    see(page, "#odd li", "Age: Outside the plausible range")
    values = [int(text.split()[0]) for text in survival(page)]
    assert len(values) == 3
    assert 100 >= values[0] >= values[1] >= values[2] >= 0


def test_a_refusal_of_the_server_s_is_told_at_its_field(page: Page) -> None:
    page.evaluate("document.querySelector('input[name=IL1R1]').name = 'CD163'")
    page.fill("input[name=age]", "60")
    page.evaluate(
        "window.fetch = async () => new Response(JSON.stringify({error: {code: 'invalid_request',"
        "message: 'no', details: [{where: 'patient.age', problem: 'not like that'}]}}),"
        "{status: 400})"
    )
    press(page, "Show the answer")
    see(page, ".field[data-name=age] .note", "Age: not like that")
    assert page.get_attribute("input[name=age]", "aria-invalid") == "true"
    assert not shown(page, "h3", "1. Survival").count()


@pytest.mark.parametrize(
    ("status", "words"), [(429, "busy"), (500, "failed to answer"), (0, "cannot be reached")]
)
def test_a_server_that_does_not_answer_is_told_in_words(
    page: Page, status: int, words: str
) -> None:
    answer = f"new Response('{{}}', {{status: {status}}})" if status else "Promise.reject(Error())"
    page.fill("input[name=age]", "60")
    page.evaluate(f"window.fetch = async () => {answer}; 0")
    press(page, "Show the answer")
    see(page, "#failed", words)
    assert not shown(page, "h3", "1. Survival").count()
    assert page.input_value("input[name=age]") == "60"


def test_another_version_s_answer_is_not_mixed_in_and_nothing_is_lost(page: Page) -> None:
    page.fill("input[name=age]", "60")
    page.fill("#reference", "R-1")
    page.evaluate(
        "window.real = window.fetch; window.fetch = async (...asked) => {"
        "const answer = await real(...asked); if (asked[1].method !== 'POST') return answer;"
        "const said = await answer.json(); said.model.digest = 'another';"
        "return new Response(JSON.stringify(said)); }; 0"
    )
    press(page, "Show the answer")
    see(page, "#failed", "Another version of the model answers now")
    assert [page.input_value(f) for f in ("input[name=age]", "#reference")] == ["60", "R-1"]
    assert not shown(page, "h3", "1. Survival").count()
    page.evaluate("window.fetch = window.real; 0")
    press(page, "Show the answer")
    see(page, "h3", "1. Survival")


def test_an_answer_says_when_the_form_has_moved_on(answered: Page) -> None:
    assert "has changed since" not in text_of(answered)
    answered.fill("input[name=age]", "50")
    see(answered, "#stale", "has changed since")
    press(answered, "Show the answer")
    see(answered, "#entered dd", "50")
    assert "has changed since" not in text_of(answered)
    press(answered, "Clear")
    see(answered, "#empty", "Nothing asked yet")
    assert "1. Survival" not in text_of(answered)


def test_works_by_keyboard_alone(page: Page) -> None:
    page.keyboard.press("Tab")
    assert focused(page) == "Skip to the answer"
    for _ in range(MANY):
        page.keyboard.press("Tab")
        if focused(page) == "Show the answer":
            break
        if page.evaluate("document.activeElement.name") == "age":
            page.keyboard.type("66")
    assert page.input_value("input[name=age]") == "66"
    page.keyboard.press("Enter")
    see(page, "h3", "1. Survival")
    assert focused(page) == "answer"
    said = page.locator("#said").text_content()
    assert str(said).startswith("Answer. Survival: About ")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_bars_those_who_see_or_hear_otherwise(
    page: Page, scheme: Literal["light", "dark"]
) -> None:
    page.emulate_media(color_scheme=scheme)
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(20, 23, 27)")
    assert violations(page) == []
    page.fill("input[name=age]", "x")
    press(page, "Show the answer")
    see(page, "#problems", "This needs another look")
    assert violations(page) == []
    press(page, "Made-up patient")
    press(page, "Show the answer")
    see(page, "h3", "1. Survival")
    slide(page, "End")
    see(page, "#whatif-table", "As entered")
    page.fill("input[name=age]", "140")
    assert violations(page) == []


def test_fits_a_phone_and_its_thumbs(answered: Page) -> None:
    answered.set_viewport_size({"width": 360, "height": 740})
    slide(answered, "End")
    see(answered, "#whatif-table", "As entered")
    assert answered.evaluate("document.documentElement.scrollWidth") == 360
    small = answered.evaluate(
        "[...document.querySelectorAll('button, input, select, summary, textarea')]"
        ".filter(e => e.getClientRects().length && e.getBoundingClientRect().height < 44)"
        ".map(e => e.outerHTML.slice(0, 80))"
    )
    assert small == []
    assert answered.evaluate("document.querySelector('#survival-chart svg').clientWidth") <= 360


def test_prints_one_page_without_the_form(answered: Page) -> None:
    answered.fill("#reference", "ref 17")
    press(answered, "Show the answer")
    see(answered, "#result")
    for paper in ("A4", "Letter"):
        pdf = answered.pdf(format=paper, margin=dict.fromkeys(EDGES, "1cm"))
        assert pdf.count(b"/Type /Page\n") == 1
    answered.emulate_media(media="print")
    assert not shown(answered, "#patient").count()
    see(answered, "#entered dt", "Age")
    see(answered, ".banner", "SYNTHETIC")
    assert "For research use only" in text_of(answered)


@pytest.mark.slow
def test_a_token_is_asked_for_and_kept_in_memory_alone(
    new_page: NewPage, bundle_folder: Path, tmp_path: Path
) -> None:
    known = tmp_path / "tokens"
    token, line = new_token("ward")
    known.write_text(f"{line}\n")
    port = free_port()
    argv, env = serve_command(bundle_folder, port, Access(tokens=known))
    with running(argv, env, port) as url:
        page = new_page()
        page.goto(url)
        see(page, "label", "Access token")
        assert violations(page) == []
        page.fill("#token", "wrong")
        press(page, "Continue")
        see(page, "#access-wrong", "not known")
        page.fill("#token", token)
        press(page, "Continue")
        see(page, "h2", "The patient")
        press(page, "Made-up patient")
        press(page, "Show the answer")
        see(page, "h3", "1. Survival")
        kept = "[localStorage.length, sessionStorage.length, document.cookie, location.href]"
        assert page.evaluate(kept) == [0, 0, "", f"{url}/app/"]
        assert page.input_value("#token") == ""
        page.goto(f"{url}/docs")
        page.fill("#token", token)
        press(page, "Continue")
        see(page, "#swagger-ui", "/predict_batch")


def test_the_endpoint_s_documentation_comes_from_here_alone(page: Page, address: str) -> None:
    page.goto(f"{address}/docs")
    see(page, "#swagger-ui", "/predict_batch")
    asked = page.evaluate("performance.getEntriesByType('resource').map(e => e.name)")
    assert asked
    assert all(name.startswith((address, "data:")) for name in asked)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["labels_trained", "several_trained"])
def test_other_studies_are_asked_and_answered_too(
    new_page: NewPage,
    errors: list[str],
    kind: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    request.getfixturevalue(kind).bundle.save(tmp_path / "bundle")
    port = free_port()
    argv, env = serve_command(tmp_path / "bundle", port)
    with running(argv, env, port) as url:
        page = new_page()
        page.goto(url)
        press(page, "Made-up patient")
        press(page, "Show the answer")
        see(page, "h3", "3. What else")
        see(page, "#else-words", "Probability of response to a checkpoint inhibitor")
        assert bool(shown(page, "h3", "1. Survival").count()) == (kind == "several_trained")
        if kind == "several_trained":
            assert "beyond its horizon" in survival(page, column=3)
            see(page, "#survival-table th", "Disease-free survival")
        slide(page, "End")
        see(page, "#whatif-table", "As entered")
        assert violations(page) == []
        assert errors == []
