"""The whole life of a model of several endpoints, and of one that knows no survival."""

from __future__ import annotations

import json
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml

from accomplice.serving.answers.predictor import Predictor
from accomplice.serving.deployment.packaging import package
from accomplice.serving.requests.validation import CheckedRequest
from accomplice.training.bundle import Bundle
from accomplice.training.cli.main import main
from accomplice.training.tracking import runs as runs_in_mlflow
from accomplice.training.tracking.store import find_bundle, open_store
from tests.conftest import TINY_OPTIONS

SMALL = [
    *TINY_OPTIONS,
    *("--set", "folds.folds=2", "--set", "forest.trees=10"),
    *("--set", "evaluation.explanations=true"),
]


@pytest.fixture
def folder(tmp_path, monkeypatch, several_raw, several_frame):
    """A working folder with a cohort and a study of OS, DFS and a response."""
    monkeypatch.chdir(tmp_path)
    several_frame.to_csv("cohort.csv", index=False)
    Path("study.yaml").write_text(yaml.safe_dump(several_raw, sort_keys=False))
    fresh = several_frame.head(15).drop(columns=["os_months", "os_event", "dfs_months"])
    fresh.assign(patient_id=[f"new-{i}" for i in range(15)]).to_csv("new.csv", index=False)
    return tmp_path


def answered_everywhere(times: list[float] | None) -> pd.DataFrame:
    """What the bundle, MLflow's model and the packed service's code say; all must be the same."""
    (model,) = mlflow.MlflowClient().search_registered_models()
    champion = find_bundle(f"models:/{model.name}@champion")
    table = pd.read_csv("new.csv")
    expected = Bundle.of(champion).predict(table, times)
    registered = mlflow.pyfunc.load_model(f"models:/{model.name}@champion")
    params = None if times is None else {"params": {"times": times}}
    again = registered.predict(table, **(params or {}))
    # Columns that the model does not know are flagged here; MLflow does not hand them on.
    pd.testing.assert_frame_equal(again.drop(columns="flags"), expected.drop(columns="flags"))
    usual = Bundle.of(champion).predict(table)
    assert registered.metadata.signature.outputs.input_names() == list(usual.columns)
    packed = package(champion, open_store().bentos)
    predictor = Predictor.load(packed.path / "src" / "bundle")
    asked = CheckedRequest(json.loads(table.to_json(orient="records")), times and tuple(times))
    served = pd.DataFrame(predictor.answers(asked))
    for column in expected.columns.drop(["patient_id", "flags"]):
        if expected[column].dtype.kind == "f":
            np.testing.assert_allclose(served[column], expected[column], atol=1e-9, err_msg=column)
        else:
            assert served[column].tolist() == expected[column].tolist()
    return expected


def test_of_os_dfs_and_a_response(folder, capsys, monkeypatch):
    assert main(["data", "check", "study.yaml"]) == 0
    said = capsys.readouterr().out
    assert "events (os)" in said
    assert "left out without follow-up" in said
    assert main(["tune", "study.yaml", "--trials", "1", "--out", "model", *SMALL]) == 0
    said = capsys.readouterr().out
    assert "dfs: Uno's C" in said
    assert "ici_response: AUROC" in said
    predict = ["predict", "model", "new.csv", "--times", "12,48", "--out", "p.csv"]
    assert main(predict) == 0
    predicted = pd.read_csv("p.csv")
    assert "dfs.survival@12" in predicted
    assert "dfs.survival@48" not in predicted
    expected = answered_everywhere([12.0, 48.0])
    pd.testing.assert_frame_equal(predicted, expected, check_dtype=False, rtol=1e-12)

    runs = mlflow.search_runs(search_all_experiments=True, output_format="list")
    final = next(run for run in runs if run.data.tags["stage"] == "final")
    assert {
        "uno_c",
        "dfs_uno_c",
        "dfs_uno_c_low",
        "ici_response_auroc",
    } <= final.data.metrics.keys()
    assert final.data.tags["endpoint"] == "os"
    assert int(final.data.params["dfs_patients"]) < int(final.data.params["patients"])
    assert "**dfs**: Uno's C" in final.data.tags["mlflow.note.content"]
    trial = next(run for run in runs if run.data.tags["stage"] == "trial")
    assert "dfs_uno_c" not in trial.data.metrics

    monkeypatch.setattr(runs_in_mlflow, "log_figures", lambda *_: None)
    alone = ["train", "study.yaml", "--endpoint", "dfs", "--set", "further_endpoints=false"]
    unexplained = ["--set", "evaluation.explanations=false"]
    assert main([*alone, "--out", "dfs", *SMALL, *unexplained]) == 0
    assert list(Bundle.load(Path("dfs")).survival) == ["dfs"]


def test_of_a_response_alone(folder, capsys):
    cohort = pd.read_csv("cohort.csv")
    kept = [c for c in cohort if not c.startswith(("os_", "dfs_")) and c != "act"]
    cohort[kept].to_csv("cohort.csv", index=False)
    init = ["data", "init", "cohort.csv", "--response", "ici_response", "--centre", "centre"]
    assert main([*init, "--out", "study.yaml", "--force"]) == 0
    assert main(["data", "check", "study.yaml"]) == 0
    capsys.readouterr()
    assert main(["train", "study.yaml", "--out", "model", *SMALL]) == 0
    said = capsys.readouterr().out
    assert "positive and" in said
    assert "response: AUROC" in said
    assert "Uno C" not in said
    assert "No survival is predicted, nor a benefit" in said
    assert "TABLE --out predictions.csv" in said
    assert main(["predict", "model", "new.csv", "--out", "p.csv"]) == 0
    predicted = pd.read_csv("p.csv")
    assert list(predicted.columns) == ["patient_id", "response.response", "flags"]
    pd.testing.assert_frame_equal(predicted, answered_everywhere(None), check_dtype=False)
    (run,) = mlflow.search_runs(search_all_experiments=True, output_format="list")
    assert {"response_auroc", "response_brier_high"} <= run.data.metrics.keys()
    assert run.data.tags["endpoint"] == "response"
    assert run.data.params["response_labels"] == str(cohort["ici_response"].notna().sum())

    before = set(Path.cwd().rglob("*"))
    for argv, why in (
        (["tune", "study.yaml"], "no survival endpoint, which tune, marker, power"),
        (["marker", "study.yaml", "--marker", "IL1R1"], "no survival endpoint, which tune"),
        (["power", "study.yaml", "--marker", "IL1R1"], "no survival endpoint, which tune"),
        (["train", "study.yaml", "--endpoint", "os"], "no survival endpoint, which tune"),
        (["predict", "model", "new.csv", "--times", "12", "--out", "q.csv"], "leave them out"),
    ):
        assert main(argv) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert why in line
    cohort.assign(ici_response=cohort["ici_response"].where(cohort.index < 9)).to_csv(
        "cohort.csv", index=False
    )
    assert main(["train", "study.yaml"]) == 2
    assert "has nothing to train on: response:" in capsys.readouterr().err
    assert set(Path.cwd().rglob("*")) == before, "something was written"
