"""The whole life of a model: table, study, run, registered model, predictions, endpoint."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest

from accomplice.serving.answers.predictor import Predictor
from accomplice.serving.deployment.packaging import package
from accomplice.serving.deployment.server import running, serve_command
from accomplice.serving.requests.validation import CheckedRequest
from accomplice.training.bundle import Bundle
from accomplice.training.cli.main import main
from accomplice.training.models.survival import CURVE, RMST
from accomplice.training.processes import free_port
from accomplice.training.tracking.store import find_bundle, open_store
from tests.conftest import TINY_OPTIONS

#: A run in seconds, with all that is judged but the peers.
SMALL = [*TINY_OPTIONS, "--set", "net.max_epochs=3", "--set", "evaluation.explanations=true"]


def made_up(n: int, seed: int) -> pd.DataFrame:
    """Patients of no particular disease, with gaps, odd names, effects of age, dose and a drug."""
    rng = np.random.default_rng(seed)
    age, dose, drug = rng.normal(50, 12, n), rng.gamma(2, 10, n), rng.random(n) < 0.5
    hazard = np.exp(0.04 * (age - 50) - 0.02 * (dose - 20) - 0.5 * (drug - 0.5))
    time, lost = rng.exponential(40 / hazard), rng.uniform(5, 80, n)
    frame = pd.DataFrame(
        {
            "case no.": np.arange(1000, 1000 + n),
            "weeks": np.minimum(time, lost).round(3) + 0.01,
            "relapse": time <= lost,
            "age (y)": age.round(1),
            "dose": dose.round(2),
            "drug": np.where(drug, "yes", "no"),
            "pump": rng.choice(["A", "B", "C"], n),
            "smoker": rng.choice(["yes", "no"], n),
        }
    )
    for name in ("dose", "drug", "pump", "smoker"):
        frame[name] = frame[name].mask(rng.random(n) < 0.15)
    return frame


def test_the_whole_life_of_a_model(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    made_up(200, seed=1).to_csv("cohort.csv", index=False)
    init = ["data", "init", "cohort.csv", "--time", "weeks", "--event", "relapse"]
    assert main([*init, "--unit", "weeks", "--treatment", "drug", "--out", "study.yaml"]) == 0
    assert main(["data", "check", "study.yaml"]) == 0
    assert main(["tune", "study.yaml", "--trials", "2", "--out", "model", *SMALL]) == 0
    said = capsys.readouterr().out
    assert "champion" in said

    fresh = made_up(30, seed=2).drop(columns=["weeks", "relapse"])
    fresh["pump"] = fresh["pump"].fillna("Z")  # a level the model has never met
    fresh = fresh[["smoker", "pump", "drug", "case no.", "dose", "age (y)"]].assign(further=1.5)
    fresh.to_csv("new.csv", index=False)
    assert main(["predict", "model", "new.csv", "--times", "6,12", "--out", "p.csv"]) == 0
    predicted = pd.read_csv("p.csv")
    at = f"@{Bundle.load(Path('model')).horizon:g}"
    benefit = [f"benefit{at}", f"benefit_low{at}", f"benefit_high{at}", f"rmst_gain{at}"]
    curve = [f"{name}@{month}" for month in (6, 12) for name in CURVE]
    numbers = ["risk", *curve, *benefit, "p_benefit"]
    summaries = [*(f"{name}{at}" for name in RMST), "risk_group", "risk_centile"]
    assert list(predicted.columns) == ["patient_id", *numbers, "advice", *summaries, "flags"]
    assert predicted["patient_id"].tolist() == fresh["case no."].tolist()
    assert not predicted.isna().any().any()
    assert (predicted["survival@6"] >= predicted["survival@12"]).all()
    assert predicted["survival@12"].between(0, 1).all()
    low, gain, high = (
        predicted[f"{name}{at}"] for name in ("benefit_low", "benefit", "benefit_high")
    )
    assert ((low <= gain) & (gain <= high)).all()
    assert (high > low).all()
    assert predicted["p_benefit"].between(0, 1).all()
    assert (
        predicted["advice"].str.match("favours (treatment|none)|no clear benefit|abstains: ").all()
    )
    assert (
        predicted["flags"].str.contains("unknown_level:pump").sum() == (fresh["pump"] == "Z").sum()
    )

    # What the run left in MLflow: a study with its trials and final run, and the champion.
    store = open_store()
    runs = mlflow.search_runs(search_all_experiments=True)
    stages = runs["tags.stage"].value_counts().to_dict()
    assert stages == {"trial": 2, "study": 1, "final": 1}
    study_run = runs.loc[runs["tags.stage"] == "study", "run_id"].item()
    nested = runs.loc[runs["tags.stage"] == "trial", "tags.mlflow.parentRunId"]
    assert (nested == study_run).all()
    assert (runs["status"] == "FINISHED").all()
    names = [m.name for m in mlflow.MlflowClient().search_registered_models()]
    champion = find_bundle(f"models:/{names[0]}@champion")
    final_run = runs.loc[runs["tags.stage"] == "final", "run_id"].item()
    assert find_bundle(f"runs:/{final_run}").digest == champion.digest

    # The same answer by the bundle, the registered model and over HTTP from the packed service.
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    expected = Bundle.of(champion).predict(pd.read_csv("new.csv"), [6, 12])
    registered = mlflow.pyfunc.load_model(f"models:/{names[0]}@champion")
    again = registered.predict(pd.read_csv("new.csv"), params={"times": [6.0, 12.0]})
    for column in numbers:
        np.testing.assert_allclose(again[column], expected[column], atol=1e-9)
        np.testing.assert_allclose(predicted[column], expected[column], atol=1e-9)
    assert again["advice"].tolist() == expected["advice"].tolist()
    packed = package(champion, store.bentos)
    port = free_port()
    argv, environment = serve_command(packed.path, port)
    patients = json.loads(fresh.to_json(orient="records"))
    with running(argv, environment, port) as url:
        request = urllib.request.Request(
            f"{url}/predict_batch",
            json.dumps({"patients": patients, "times": [6, 12]}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            answered = pd.DataFrame(json.loads(response.read())["patients"])
    for column in numbers:
        np.testing.assert_allclose(answered[column], expected[column], atol=1e-6)
    assert answered["advice"].tolist() == expected["advice"].tolist()

    assert not [p for p in Path.cwd().rglob("*") if p.suffix in (".pkl", ".pickle", ".cloudpickle")]


def test_a_treatment_recorded_for_too_few_is_no_failure(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cohort = made_up(150, seed=5)
    cohort.loc[cohort.index[cohort["drug"] == "yes"][12:], "drug"] = np.nan
    cohort.to_csv("cohort.csv", index=False)
    init = ["data", "init", "cohort.csv", "--time", "weeks", "--event", "relapse"]
    assert main([*init, "--unit", "weeks", "--treatment", "drug"]) == 0
    assert main(["train", "study.yaml", "--out", "model", *SMALL]) == 0
    made_up(20, seed=6).to_csv("new.csv", index=False)
    assert main(["predict", "model", "new.csv", "--times", "6", "--out", "p.csv"]) == 0
    predicted = pd.read_csv("p.csv")
    gains = [c for c in predicted if "benefit" in c or c.startswith("rmst_gain")]
    assert len(gains) == 5
    assert predicted[gains].isna().all(axis=None)
    reason = r"\d+ treated patients with \d+ events are too few: 20 and 8 are needed in each arm"
    assert predicted["advice"].str.fullmatch(f"abstains: {reason}").all()
    assert predicted["survival@6"].between(0, 1).all()

    # JSON knows no NaN.
    answered = Predictor.load(Path("model")).answers(
        CheckedRequest([{"age (y)": 61.0, "drug": "yes"}], None)
    )
    assert [answered[0][name] for name in gains] == [None] * 5
    assert answered[0]["advice"] == predicted["advice"][0]
    json.dumps(answered, allow_nan=False)


@pytest.mark.usefixtures("no_figures")
def test_training_twice_gives_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made_up(120, seed=3).to_csv("cohort.csv", index=False)
    assert main(["data", "init", "cohort.csv", "--time", "weeks", "--event", "relapse"]) == 0
    for name in ("first", "second"):
        assert main(["train", "study.yaml", "--out", name, "--seed", "4", *SMALL]) == 0
    files = sorted(p.name for p in Path("first").iterdir())
    assert files == sorted(p.name for p in Path("second").iterdir())
    for name in files:
        assert Path("first", name).read_bytes() == Path("second", name).read_bytes(), name
