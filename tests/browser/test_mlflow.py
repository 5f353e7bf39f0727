"""What a reader sees in MLflow after a search: the pages of `accomplice ui`, in chromium."""

from __future__ import annotations

import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import takewhile
from threading import Thread
from urllib.parse import urlsplit

import numpy as np
import pytest
from mlflow import MlflowClient
from playwright.sync_api import expect

from accomplice.training.config import configure
from accomplice.training.processes import end, free_port
from accomplice.training.search.space import KEYS
from accomplice.training.tracking.experiment import search
from accomplice.training.tracking.store import open_store
from tests.browser.pages import see, text_of
from tests.conftest import TINY

pytestmark = pytest.mark.slow

#: What MLflow's pages ask for and is not there: a login, which no server of one user has, and the
#: assistant, which is closed.
USUAL = ("users/current", "assistant/config", "assistant/providers")


@pytest.fixture(scope="module")
def logged(tmp_path_factory, small_cohort):
    """What a search of three trials left in a store of its own, which stays open."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
            patch.delenv(name, raising=False)
        patch.chdir(tmp_path_factory.mktemp("work"))
        shown = ("evaluation.explanations=true", "evaluation.peers=true")
        config = configure([*TINY, "folds.folds=2", *shown])
        cohort = small_cohort.take(np.arange(200))
        yield search(open_store(), cohort, config, 3, None, "night", None)[2]


@pytest.fixture(scope="module")
def server(logged):
    """The process of `accomplice ui` on that store, and the links it printed."""
    port = free_port()
    command = [sys.executable, "-m", "accomplice", "ui", "--port", str(port)]
    # The working folder is the store's: what is under test is found by its path.
    path = os.pathsep.join(p for p in sys.path if p)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}
    ) as process:
        try:
            printed = iter(process.stdout.readline, "")
            lines = list(takewhile(lambda line: not line.startswith("programs"), printed))
            yield process, [line.split()[-1] for line in lines[1:]]
        finally:
            end(process)


@pytest.fixture
def page(new_page, errors, server):
    """A tab whose browser holds the secret."""
    addresses = server[1]
    opened = new_page(1600, 1000)
    opened.goto(addresses[0])
    read(opened, "matching runs")
    errors.clear()
    return opened


def visit(page, url):
    """Load an address anew; one that differs behind its # alone would change the old page."""
    page.goto("about:blank")
    page.goto(url)


def read(page, text):
    """Wait until a text is among all that is shown."""
    expect(page.locator("body")).to_contain_text(text, use_inner_text=True)


def assert_whole(page, errors):
    """Check that a page shows no error and that nothing of it failed to load."""
    assert [error for error in errors if not error.endswith(USUAL)] == []
    said = text_of(page).lower()
    for wrong in ("something went wrong", "error loading", "not found", "failed to"):
        assert wrong not in said, wrong


def test_table_of_runs_shows_the_models_and_how_good_they_are(
    page, errors, server, logged, tmp_path
):
    runs, _, _, _ = server[1]
    visit(page, runs)
    read(page, "final night")
    read(page, "ibs_gain")
    page.screenshot(path=tmp_path / "runs.png")
    said = text_of(page)
    assert "study night" in said
    assert "trial 1" not in said
    ibs = MlflowClient().get_run(logged.run_id).data.metrics["ibs"]
    assert f"{ibs:.9f}"[:7] in said
    assert_whole(page, errors)


def test_trials_are_compared_in_parallel_coordinates(page, errors, server, tmp_path):
    _, _, trials, _ = server[1]
    visit(page, trials)
    read(page, "Parallel Coordinates")
    see(page, "svg text", "ibs")
    page.screenshot(path=tmp_path / "trials.png")
    shown = page.evaluate("[...document.querySelectorAll('svg text')].map(t => t.textContent)")
    assert set(KEYS) <= set(shown)
    assert "trial 2" in text_of(page)
    assert_whole(page, errors)


def test_study_leads_to_its_final_run_with_figures(page, errors, server, logged, tmp_path):
    _, study, _, _ = server[1]
    visit(page, study)
    read(page, "3 trials, each judged on the same folds")
    leads = "[...document.links].find(a => a.innerText.startsWith('final model')).href"
    visit(page, page.evaluate(leads))  # a click would open another tab
    read(page, "final night")
    read(page, "calibration_slope_low")
    page.screenshot(path=tmp_path / "final.png")
    assert "SYNTHETIC" in text_of(page)
    visit(page, page.evaluate("location.href").replace("?", "/artifacts/figures/brier.png?"))
    see(page, "img")
    page.wait_for_function("[...document.images].some(i => i.complete && i.naturalWidth > 500)")
    page.screenshot(path=tmp_path / "figure.png")
    assert_whole(page, errors)


def test_registered_model_says_what_it_is(page, errors, server, logged, tmp_path):
    *_, champion = server[1]
    visit(page, champion)
    page.set_viewport_size({"width": 1600, "height": 1800})
    read(page, "Version 1")
    read(page, "champion")
    read(page, "Schema")
    page.screenshot(path=tmp_path / "model.png")
    said = text_of(page)
    assert "SYNTHETIC patients." in said
    assert "synthetic-gastric" in said
    assert "Inputs" in said
    assert "Outputs" in said
    assert_whole(page, errors)


PAGES = {
    "#/": "synthetic-gastric",
    "#/models": "champion",
    "#/models/{model}": "For research use only",
    "#/experiments/{experiment}/models": "Ready",
    "#/experiments/{experiment}/runs": "matching runs",
    "#/experiments/{experiment}/runs/{run}/model-metrics": "calibration_slope",
    "#/experiments/{experiment}/runs/{run}/artifacts/model_card.md": "model_card.md",
    '#/compare-runs?runs=["{run}","{run}"]&experiments=["{experiment}"]': "Comparing 2 Runs",
}


@pytest.mark.parametrize("place", PAGES)
def test_page_opens_and_leads_to_no_closed_one(page, errors, server, logged, place):
    names = {"run": logged.run_id, "experiment": logged.experiment_id, "model": logged.model_name}
    path = place
    for name, value in names.items():
        path = path.replace(f"{{{name}}}", str(value))
    visit(page, server[1][0].partition("#")[0] + path)
    read(page, PAGES[place])
    assert_whole(page, errors)
    said = text_of(page)
    for other in ("Assistant", "GenAI", "Prompts", "MCP", "Gateway", "Traces", "Demo"):
        assert other not in said


def test_report_is_shown_apart_from_the_pages(page, errors, server, logged):
    place = f"#/experiments/{logged.experiment_id}/runs/{logged.run_id}/artifacts/report.html"
    visit(page, server[1][0].partition("#")[0] + place)
    frame = page.frame_locator("iframe")
    expect(frame.locator("body")).to_contain_text("can its predictions of")
    # Its scripts have no origin, so that they cannot act for the reader.
    assert page.locator("iframe").get_attribute("sandbox") == "allow-scripts"
    assert_whole(page, errors)


def test_link_without_the_secret_opens_where_the_browser_holds_it(page, new_page, errors, server):
    secret, _, place = server[1][0].partition("#")
    plain = secret.partition("?")[0] + "#" + place
    visit(page, plain)
    read(page, "final night")
    other = new_page()
    other.goto(plain)
    read(other, "open the link that it printed in its terminal")
    assert other.url == plain


def test_secret_goes_to_no_other_port_and_other_pages_read_nothing(page, server):
    asked = []

    class Other(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.headers.get("Cookie"))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    own = server[1][0].partition("?")[0]
    folder = urlsplit(page.url).path
    with ThreadingHTTPServer(("127.0.0.1", 0), Other) as other:
        Thread(target=other.serve_forever, daemon=True).start()
        page.goto(f"http://127.0.0.1:{other.server_port}/")
        read_it = "url => fetch(url, {credentials: 'include'}).then(a => a.text(), e => 'refused')"
        tries = [page.evaluate(read_it, own + path) for path in ("", "health", folder[1:])]
        page.goto(f"http://localhost:{other.server_port}/")
        other.shutdown()
    assert tries == ["refused"] * 3
    assert asked
    assert not any(asked)
    (cookie,) = page.context.cookies(own + folder[1:])
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
