"""The paths of MLflow's server that are open are those of runs, models, datasets, artifacts."""

from __future__ import annotations

import asyncio
import re

import httpx
import optuna
import pytest
from mlflow.server import handlers

from accomplice.training.tracking.ui.pages import ADDRESS, MLFLOW, OPTUNA, optuna_pages

#: Services of MLflow's API that pages or clients need.
SERVICES = {
    *("experiments", "runs", "metrics", "artifacts", "registered-models", "model-versions"),
    *("logged-models", "server-info"),
}


def test_no_other_service_is_open():
    paths = {re.sub("<[^>]+>", "x", path) for path, _, _ in handlers.get_endpoints()}
    services = {
        re.sub(r"/(ajax-)?api/\d\.0/(mlflow/)?", "", path).strip("/").split("/")[0]
        for path in paths
        if MLFLOW.fullmatch(path)
    }
    assert services == {*SERVICES, "mlflow-artifacts", "graphql"}
    assert len(paths) > 300


@pytest.mark.parametrize(
    "path",
    [
        "/ajax-api/3.0/mlflow/assistant/config",
        "/ajax-api/3.0/mlflow/assistant/message",
        "/gateway/mlflow/v1/chat/completions",
        "/gateway/proxy/x/y",
        "/ajax-api/2.0/mlflow/gateway-proxy/x",
        "/ajax-api/3.0/mlflow/gateway/secrets/create",
        "/ajax-api/3.0/jobs/",
        "/ajax-api/3.0/mlflow/jobs/x",
        "/api/2.0/mlflow/webhooks",
        "/ajax-api/3.0/mlflow/mcp-servers",
        "/ajax-api/3.0/mlflow/scorer/invoke",
        "/ajax-api/3.0/mlflow/demo/generate",
        "/ajax-api/2.0/mlflow/runs/create-promptlab-run",
        "/ajax-api/2.0/mlflow/upload-artifact",
        "/v1/traces",
        "/api/2x0/mlflow/runs/get",
        "/api/2.0/mlflow/runs/get/../../../3.0/mlflow/assistant/config",
        "/static-files",
        "/ajax-api/2.0/mlflow/logged-models/x/y",
    ],
)
def test_is_closed(path):
    assert not MLFLOW.fullmatch(path)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/static-files/static/js/main.js",
        "/get-artifact",
        "/api/2.0/mlflow/runs/log-batch",
        "/ajax-api/2.0/mlflow/runs/search",
        "/api/2.0/mlflow/registered-models/alias",
        "/api/2.0/mlflow/logged-models",
        "/api/2.0/mlflow/logged-models/m-1/artifacts/directories",
        "/api/2.0/mlflow-artifacts/artifacts/1/run/artifacts/model/net.safetensors",
    ],
)
def test_is_open(path):
    assert MLFLOW.fullmatch(path)


def test_addresses_of_the_dashboard_are_moved():
    before = 'src="/static/a.js" {x:"/dashboard"} fetch(`${this.baseURL}/api/meta`) `/csv/${e}`'
    assert ADDRESS.sub(r"\g<1>/folder", before) == (
        'src="/folder/static/a.js" {x:"/folder/dashboard"} '
        "fetch(`${this.baseURL}/folder/api/meta`) `/folder/csv/${e}`"
    )
    assert not ADDRESS.search("`${e}/artifacts/` '/api' \"/apis\"")


def test_dashboard_is_served_below_a_folder(tmp_path):
    pytest.importorskip("optuna_dashboard")
    storage = f"sqlite:///{tmp_path}/optuna.db"
    optuna.create_study(study_name="night", storage=storage)
    pages = optuna_pages(storage, "/folder")

    async def asked():
        transport = httpx.ASGITransport(pages)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            paths = ("/", "/dashboard/studies/1", "/static/bundle.js", "/api/studies")
            assert all(OPTUNA.fullmatch(path) for path in paths)
            return [await client.get(path) for path in paths]

    entry, page, script, studies = asyncio.run(asked())
    assert entry.headers["location"] == "/folder/dashboard"
    assert 'src="/folder/static/bundle.js"' in page.text
    assert 'url_prefix:"/folder/dashboard"' in script.text
    assert [each["study_name"] for each in studies.json()["study_summaries"]] == ["night"]
