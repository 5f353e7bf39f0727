from __future__ import annotations

import pytest
from mlflow import MlflowClient

from accomplice.training.tracking.store import open_store
from accomplice.training.tracking.ui.links import links
from accomplice.training.tracking.views import save_models_view


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A new store, which takes seconds to make."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
            patch.delenv(name, raising=False)
        yield open_store(tmp_path_factory.mktemp("work"))


def test_empty_store_says_what_to_do(store):
    assert links(5000) == ["nothing is logged yet: accomplice train STUDY"]


def test_links_are_those_that_there_are(store):
    key, client = store.experiment("cohort"), MlflowClient()
    (name, runs) = links(5055)
    assert name == "cohort"
    assert "127.0.0.1:5055/#/experiments/1/runs?workflowType=" in runs
    save_models_view(key, ["ibs"])
    older, newer = (
        client.create_run(key, start_time=at, tags={"stage": "study"}) for at in (1000, 2000)
    )
    client.create_registered_model("accomplice-cohort")
    version = client.create_model_version("accomplice-cohort", "nowhere", older.info.run_id)
    client.set_registered_model_alias("accomplice-cohort", "champion", version.version)
    _, runs, study, champion = links(5055, "secret")
    assert "viewStateShareKey=models" in runs
    assert newer.info.run_id in study
    assert "127.0.0.1:5055/?token=secret#/models/accomplice-cohort/versions/1?" in champion
