"""MLflow's and Optuna's pages as ASGI applications, and the paths that they need.

MLflow's server also has an assistant that runs commands, a gateway to language models, jobs,
webhooks and more. Only the paths of runs, models, datasets and artifacts are allowed that pages and
clients request; links to other pages are hidden.
"""

from __future__ import annotations

import json
import os
import re
import warnings
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import cast

from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route, Router
from starlette.types import ASGIApp

#: Calls of MLflow's API, below their service.
CALLS = {
    "experiments": "create|delete|delete-experiment-tag|get|get-by-name|restore|search"
    "|search-datasets|set-experiment-tag|update",
    "runs": "create|delete|delete-tag|get|log-batch|log-inputs|log-metric|log-model|log-parameter"
    "|outputs|restore|search|set-tag|update",
    "metrics": "get-history|get-history-bulk|get-history-bulk-interval",
    "artifacts": "list",
    "registered-models": "alias|create|delete|delete-tag|get|get-latest-versions|rename|search"
    "|set-tag|update",
    "model-versions": "create|delete|delete-tag|get|get-download-uri|search|set-tag"
    "|transition-stage|update",
    "logged-models": "search|[^/]+(/tags(/[^/]+)?|/params|/artifacts/(directories|files))?",
}
#: Path by which the page of runs asks for language models, of which there are none.
GATEWAY = "/ajax-api/2.0/mlflow/gateway-proxy"
#: Paths that MLflow's pages and clients ask for.
MLFLOW = re.compile(
    r"/|/static-files/.+|/version|/get-artifact|/model-versions/get-artifact|/graphql"
    rf"|{re.escape(GATEWAY)}|/(ajax-)?api/3\.0/mlflow/server-info"
    r"|/(ajax-)?api/2\.0/mlflow-artifacts/artifacts(/.+)?"
    r"|/(ajax-)?api/2\.0/mlflow/(logged-models|"
    + "|".join(f"{service}/({calls})" for service, calls in CALLS.items())
    + ")"
)
#: Paths that the pages of Optuna's dashboard ask for.
OPTUNA = re.compile(
    r"/|/dashboard(/.*)?|/static/.+|/favicon\.ico|/api/(meta|studies|trials)(/.*)?|/csv/\d+"
)
#: Environment variables that configure an MLflow server. They are not taken from the user's
#: environment, since the pages would differ with them.
OTHER_SERVERS = re.compile(
    "_?MLFLOW_(ARTIFACTS_.*|DEFAULT_ARTIFACT_ROOT|EXPOSE_PROMETHEUS|GUNICORN_OPTS|HOST|PORT"
    "|READ_REPLICA_.*|SERVE_ARTIFACTS|SERVER_.*|STATIC_PREFIX|UVICORN_OPTS|WORKERS|WORKSPACE.*)"
)
#: Environment of MLflow's server.
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_AI_GATEWAY": "false",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "_MLFLOW_SERVER_ARTIFACT_DESTINATION": "./mlartifacts",
    "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
    "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
}
#: Beginning of an address of the dashboard's own server, in a file of Optuna's dashboard.
ADDRESS = re.compile(r"""(["`]|this\.baseURL\})(?=/(?:api|artifacts|csv|dashboard|static)\b)""")
#: Selectors of elements that lead to closed paths: the assistant, and pages for language models.
HIDDEN = (
    "[data-assistant-ui]",
    "[data-component-id^='mlflow.assistant']",
    "aside>div[tooltip-data-state]",
    "[data-component-id^='mlflow.home.feature_card']",
    "[data-component-id^='mlflow.home.demo-banner']",
    "a[href='#/'][tooltip-data-state]",
    "a[href^='#/prompts']",
    "a[href^='#/mcp-registry']",
    "a[href^='#/gateway']",
    "a[href^='#/settings/']:not([href^='#/settings/general'])",
    "a[href$='/traces']",
    "a[href*='/traces?']",
    "[role=tab][id$='-trigger-evaluations']",
)
#: Settings that MLflow's pages keep in the browser.
SETTINGS = {
    "_mlflow_model_registry_promo_modal_dismissed_v1": True,
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": True,
    "mlflow.assistant.panelOpen_v1": False,
    "mlflow.settings.telemetry.enabled_v1": False,
    "mlflow.telemetry.info.alert.dismissed_v1": True,
    "mlflow.workflowType_v1": "machine_learning",
}
#: Beginning of MLflow's page.
HEAD = f"""\
<style>{",".join(HIDDEN)}{{display:none!important}}</style>
<script>
for (const [key, value] of Object.entries({json.dumps(SETTINGS)}))
  localStorage.setItem(key, JSON.stringify(value));
if (["", "#/"].includes(location.hash)) location.hash = "#/experiments";
</script>
"""
#: Header of a page: it loads only from this server. ``unsafe-eval`` is for figures of Plotly.
POLICY = {
    "content-security-policy": "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; "
    "frame-ancestors 'self'"
}


def mlflow_pages(tracking_uri: str, registry_uri: str) -> ASGIApp:
    """Return MLflow's server; this process's environment becomes the server's.

    Args:
        tracking_uri: address of the store of runs.
        registry_uri: address of the store of registered models.
    """
    for name in filter(OTHER_SERVERS.fullmatch, list(os.environ)):
        del os.environ[name]
    stores = {
        "_MLFLOW_SERVER_FILE_STORE": tracking_uri,
        "_MLFLOW_SERVER_REGISTRY_STORE": registry_uri,
    }
    os.environ.update({**ENVIRONMENT, **stores})
    warnings.simplefilter("ignore")  # MLflow imports what starlette deprecates
    from mlflow.server.fastapi_app import app

    index = (files("mlflow.server") / "js/build/index.html").read_text(encoding="utf-8")
    page = HTMLResponse(index.replace("<head>", f"<head>{HEAD}"), headers=POLICY)
    models = JSONResponse({"endpoints": []})
    return Router([Route("/", page), Route(GATEWAY, models), Mount("/", app)])


def optuna_pages(storage: str, folder: str) -> ASGIApp:
    """Return Optuna's dashboard, with the addresses in its files moved to a folder.

    Args:
        storage: address of the database of Optuna's studies.
        folder: path of the folder, without a slash at its end.
    """
    from a2wsgi import WSGIMiddleware
    from optuna_dashboard import wsgi

    place = files("optuna_dashboard")
    page = HTMLResponse(_moved(place / "index.html", folder), headers=POLICY)
    script = Response(_moved(place / "public/bundle.js", folder), media_type="text/javascript")
    return Router(
        [
            Route("/", RedirectResponse(f"{folder}/dashboard")),
            Route("/dashboard{rest:path}", page),
            Route("/static/bundle.js", script),
            Mount("/", cast(ASGIApp, WSGIMiddleware(wsgi(storage)))),
        ]
    )


def _moved(file: Traversable, folder: str) -> str:
    return ADDRESS.sub(rf"\g<1>{folder}", file.read_text(encoding="utf-8"))
