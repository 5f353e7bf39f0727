"""What a monitor is told: bounded, of nobody in particular, and true."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from prometheus_client.parser import text_string_to_metric_families

from accomplice.serving.answers.predictor import Predictor
from accomplice.serving.monitoring import FEWEST, WINDOW, Metrics, stability
from accomplice.serving.requests.validation import CheckedRequest
from accomplice.training.bundle import Bundle

ROOT = Path(__file__).resolve().parents[2]
CANARY = "canary-71"
FRACTION = 86420.97531
Samples = dict[tuple[str, str], float]


def samples(text: str) -> Samples:
    """Name and label values, joined in the order of the labels -> value."""
    return {
        (sample.name, "/".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


class Watching:
    """A predictor that is watched, and what is said of it."""

    def __init__(self, bundle: Bundle) -> None:
        self.predictor = Predictor(bundle, "digest-of-the-bundle")
        self.metrics = Metrics(("/predict",))
        self.predictor.watch = self.metrics.watch(self.predictor)

    def ask(self, *patients: dict[str, Any]) -> None:
        self.predictor.answers_json(CheckedRequest(list(patients), None))

    @property
    def said(self) -> Samples:
        return samples(self.metrics.exposition().decode())


@pytest.fixture
def watching(bundle: Bundle) -> Watching:
    return Watching(bundle)


def cohort(table: pd.DataFrame, **change: Any) -> list[dict[str, Any]]:
    frame = table.drop(columns=["months", "dead"]).assign(**change)
    return [dict(json.loads(line)) for line in frame.to_json(orient="records", lines=True).split()]


def test_patients_and_what_was_odd_about_them_are_counted(
    watching: Watching, patient: dict[str, Any]
) -> None:
    blind = {**patient, "IL1R1": None, "CD163": None, "CD8": None}
    odd = {**patient, "age_years": 150, "stage": "V", "CD8": "many", CANARY: 1, "foo": 2}
    watching.ask(patient, blind, odd)
    watching.ask({**patient, "age_years": "old", "hospital": "nowhere"})
    said = watching.said
    assert said["accomplice_patients_total", ""] == 4
    assert said["accomplice_missing_modalities_total", "expression"] == 1
    assert said["accomplice_missing_modalities_total", "density"] == 2
    assert said["accomplice_missing_modalities_total", "clinical"] == 0
    assert said["accomplice_odd_values_total", "age/out_of_range"] == 1
    assert said["accomplice_odd_values_total", "age/not_a_number"] == 1
    assert said["accomplice_odd_values_total", "stage/unknown_level"] == 1
    assert said["accomplice_odd_values_total", "CD8/not_a_number"] == 1
    assert said["accomplice_unknown_columns_total", ""] == 1
    assert said["accomplice_unknown_assays_total", ""] == 1
    assert said["accomplice_model", "digest-of-th/made-up/true/"] == 1


def test_abstentions_are_counted_by_reason(
    watching: Watching, table: pd.DataFrame, patient: dict[str, Any]
) -> None:
    people = cohort(table)
    watching.ask(*people)
    advice = [a["advice"] for a in watching.predictor.answers(CheckedRequest(people, None))]
    abstained = [text for text in advice if text.startswith("abstains: ")]
    assert abstained
    counted = {k[1]: v for k, v in watching.said.items() if k[0] == "accomplice_abstentions_total"}
    assert sum(counted.values()) == len(abstained)
    assert counted["other"] == 0
    spans = sum("the interval spans" in text for text in abstained)
    assert counted["wide_interval"] == spans


def test_a_model_without_an_effect_abstains_for_that_reason(bundle: Bundle, patient: Any) -> None:
    model = bundle.survival["os"]
    blind = replace(model, effect=None, no_effect="nobody was treated")
    watching = Watching(replace(bundle, survival={"os": blind}))
    watching.ask(patient)
    assert watching.said["accomplice_abstentions_total", "no_effect"] == 1


def test_labels_are_the_study_s_however_odd_the_requests(
    watching: Watching, patient: dict[str, Any]
) -> None:
    watching.ask(patient)
    before = set(watching.said)
    rng = np.random.default_rng(0)
    for k in range(200):
        name = f"{CANARY}-{rng.integers(10**9)}"
        watching.ask({**patient, name: FRACTION, "stage": name, "hospital": name, "patient": name})
        watching.metrics.request(f"/{name}", 200 + k, 0.1)
    watching.metrics.request("/predict", 200, 0.1)
    found = set(watching.said)
    new = {labels for name, labels in found - before if name == "accomplice_requests_total"}
    assert {name for name, _ in found - before} <= {
        "accomplice_requests_total",
        *(f"accomplice_request_seconds_{part}" for part in ("bucket", "count", "sum")),
    }
    assert new <= {"/predict/200", "other/other", *(f"other/{s}" for s in range(200, 600))}
    assert len(new) < 20
    assert not [key for key in found if CANARY in "".join(key)]


def test_drift_is_unknown_until_enough_patients_have_come(
    watching: Watching, table: pd.DataFrame
) -> None:
    people = cohort(table)
    watching.ask(*people[: FEWEST - 1])
    assert np.isnan(watching.said["accomplice_feature_shift", "age"])
    watching.ask(people[FEWEST])
    first = watching.said
    assert abs(first["accomplice_feature_shift", "age"]) < 0.5
    # One more says nothing: the difference would be that patient.
    watching.ask({**people[0], "age_years": 110})
    after = watching.said
    drift = ("accomplice_feature_shift", "accomplice_risk_share", "accomplice_risk_psi")
    for key in (key for key in first if key[0] in drift):
        assert after[key] == first[key]
    assert after["accomplice_patients_total", ""] == FEWEST + 1


def test_training_patients_do_not_drift_and_others_do(
    watching: Watching, table: pd.DataFrame
) -> None:
    watching.ask(*cohort(table))
    said = watching.said
    names = ("age", "stage", "sex", "IL1R1", "CD163", "CD8")
    assert max(abs(said["accomplice_feature_shift", name]) for name in names) < 0.2
    assert said["accomplice_risk_psi", ""] < 0.25
    shares = [said["accomplice_risk_share", name] for name in ("low", "middle", "high")]
    assert sum(shares) == pytest.approx(1, abs=0.02)

    older = cohort(table, age_years=85, sex="female", stage="III")
    for _ in range(1 + WINDOW // len(older)):
        watching.ask(*older)
    said = watching.said
    sd = table["age_years"].std()
    expected = (85 - table["age_years"].mean()) / sd
    assert said["accomplice_feature_shift", "age"] == pytest.approx(expected, abs=0.2)
    assert said["accomplice_feature_shift", "sex"] == pytest.approx(
        (0 - 0.6) / np.sqrt(0.24), abs=0.2
    )
    assert said["accomplice_feature_shift", "IL1R1"] == pytest.approx(0, abs=0.1)

    answers = watching.predictor.answers(CheckedRequest(cohort(table), None))
    people = zip(cohort(table), answers, strict=True)
    high = [each for each, answer in people if answer["risk_group"] == "high"]
    for _ in range(1 + WINDOW // len(high)):
        watching.ask(*high)
    said = watching.said
    assert [said["accomplice_risk_share", name] for name in ("low", "middle", "high")] == [0, 0, 1]
    assert said["accomplice_risk_psi", ""] > 1


def test_a_batch_larger_than_the_window_is_kept_by_its_end(
    watching: Watching, table: pd.DataFrame
) -> None:
    young, old = cohort(table, age_years=40), cohort(table, age_years=80)
    watching.ask(*young, *(old * 5)[:WINDOW])
    sd = table["age_years"].std()
    expected = (80 - table["age_years"].mean()) / sd
    assert watching.said["accomplice_feature_shift", "age"] == pytest.approx(expected, abs=0.15)


def test_the_stability_index() -> None:
    assert stability(np.full(10, 100)) == pytest.approx(0)
    # Half of the patients in each of two bins of four: 2 * (.5 - .25) ln 2 + 2 * .25 ln(…).
    large = 10**9
    assert stability(np.array([large, large, 1, 1])) > 4
    mild = np.array([30, 30, 20, 20]) * 10**6
    expected = 2 * (0.3 - 0.25) * np.log(0.3 / 0.25) + 2 * (0.2 - 0.25) * np.log(0.2 / 0.25)
    assert stability(mild) == pytest.approx(expected, rel=1e-4)


def test_models_of_several_endpoints_and_of_labels_alone(
    several_trained: Any, labels_trained: Any
) -> None:
    for trained in (several_trained, labels_trained):
        watching = Watching(trained.bundle)
        watching.ask(*[{"age": 61}, {"age": None}] * FEWEST)
        said = watching.said
        assert said["accomplice_patients_total", ""] == 2 * FEWEST
        assert np.isnan(said["accomplice_risk_psi", ""]) == (trained is labels_trained)


def test_over_http_with_nothing_of_a_patient(
    client: Any, patient: dict[str, Any], logged: list[str]
) -> None:
    before = samples(client.request("GET", "/metrics").text)
    odd = {**patient, "age_years": FRACTION, "stage": CANARY, CANARY: 1}
    assert client.post("/predict", {"patient": odd}).status_code == 200
    assert client.post("/predict_batch", {"patients": [patient, odd]}).status_code == 200
    assert client.post("/what_if", {"patient": odd, "feature": "age"}).status_code == 200
    assert client.post("/explain", {"patient": odd}).status_code == 200
    assert client.post(f"/predict/{CANARY}", {"patient": odd}).status_code == 404
    response = client.request("GET", "/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    after = samples(response.text)

    def rise(name: str, labels: str = "") -> float:
        return after[name, labels] - before.get((name, labels), 0)

    assert rise("accomplice_patients_total") == 3
    assert rise("accomplice_odd_values_total", "age/out_of_range") == 2
    assert rise("accomplice_requests_total", "/predict/200") == 1
    assert rise("accomplice_requests_total", "/what_if/200") == 1
    assert rise("accomplice_requests_total", "other/404") == 1
    assert rise("accomplice_request_seconds_count", "/predict") == 1
    assert CANARY not in response.text + "".join(logged)
    assert str(FRACTION) not in response.text + "".join(logged)


def test_processes_that_share_a_folder_are_added_up(bundle_path: Path, tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from accomplice.serving.monitoring import Metrics\n"
        "from accomplice.serving.answers.predictor import Predictor\n"
        "from accomplice.serving.requests.validation import CheckedRequest\n"
        f"predictor = Predictor.load(Path({str(bundle_path)!r}))\n"
        "metrics = Metrics(('/predict',)); predictor.watch = metrics.watch(predictor)\n"
        f"predictor.answers_json(CheckedRequest([{{'age': 61}}] * {FEWEST}, None))\n"
        "metrics.request('/predict', 200, 0.1)\n"
        "print(metrics.exposition().decode())"
    )
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
    said = samples(done.stdout)
    assert said["accomplice_patients_total", ""] == 2 * FEWEST
    assert said["accomplice_requests_total", "/predict/200"] == 2
    assert not np.isnan(said["accomplice_feature_shift", "age"])
