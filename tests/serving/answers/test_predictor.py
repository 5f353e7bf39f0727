from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from accomplice.data.coding import code
from accomplice.serving.answers.curves import POINTS
from accomplice.serving.answers.predictor import Predictor
from accomplice.serving.requests.validation import CheckedRequest
from accomplice.training.bundle import OK, Bundle
from accomplice.training.models.manifest import digest_of
from accomplice.training.models.risk_centiles import GROUPS

BENEFIT = ["benefit@60", "benefit_low@60", "benefit_high@60", "rmst_gain@60"]


@pytest.fixture(scope="module")
def predictor(bundle_path: Path) -> Predictor:
    return Predictor.load(bundle_path)


def records(table: pd.DataFrame, rows: int) -> list[dict[str, Any]]:
    return [
        {k: None if pd.isna(v) else v for k, v in row.items()}
        for row in table.head(rows).drop(columns=["months", "dead"]).to_dict("records")
    ]


@pytest.mark.parametrize("times", [None, (0.0, 7.5, 60.0)])
def test_one_patient_gets_the_bundles_numbers(
    predictor: Predictor, bundle: Bundle, patient: dict[str, Any], times: Any
) -> None:
    answer = predictor.answers(CheckedRequest([patient], times))[0]
    expected = bundle.predict(pd.DataFrame([patient]), times).iloc[0]
    assert answer["patient_id"] == expected["patient_id"] == "X1"
    assert answer["flags"] == []
    assert expected["flags"] == "ok"
    texts = ("patient_id", "flags", "advice", "risk_group")
    named = [c for c in expected.index if c not in texts]
    assert named[-9:] == [
        *BENEFIT,
        "p_benefit",
        *("rmst@60", "rmst_low@60", "rmst_high@60"),
        "risk_centile",
    ]
    assert [key for key in answer if key in named] == named
    np.testing.assert_allclose(
        [answer[c] for c in named], expected[named].astype(float), rtol=0, atol=1e-9
    )
    assert answer["advice"] == expected["advice"]
    assert answer["risk_group"] == expected["risk_group"] in GROUPS


def test_a_batch_gets_the_bundles_numbers(
    predictor: Predictor, bundle: Bundle, table: pd.DataFrame
) -> None:
    holes = table.copy()
    holes.loc[holes.index[::3], "IL1R1"] = np.nan
    holes.loc[holes.index[1::4], ["IL1R1", "CD163", "CD8"]] = np.nan
    patients = records(holes, 40)
    answers = predictor.answers(CheckedRequest(patients, None))
    frame = holes.head(40).drop(columns=["months", "dead"])
    times = bundle.times(None)
    expected = bundle.predict(frame, times)
    values = code(bundle.study, frame).values
    centre = frame["hospital"].to_numpy(dtype=str)
    survival = expected[[f"survival@{t:g}" for t in times]].to_numpy()
    curves = bundle.answer(values, centre).survival["os"].curve(times)
    low, high = curves[..., 1], curves[..., 2]
    assert [a["patient_id"] for a in answers] == expected["patient_id"].tolist()
    assert ["; ".join(a["flags"]) or OK for a in answers] == expected["flags"].tolist()
    assert [a["advice"] for a in answers] == expected["advice"].tolist()
    for name in ("risk", *BENEFIT, "p_benefit"):
        np.testing.assert_allclose(
            [a[name] for a in answers], expected[name], rtol=0, atol=1e-9, err_msg=name
        )
    for j, time in enumerate(times):
        points = [next(p for p in a["curve"] if p["time"] == time) for a in answers]
        for key, curve in (("survival", survival), ("low", low), ("high", high)):
            np.testing.assert_allclose([p[key] for p in points], curve[:, j], rtol=0, atol=1e-8)


def test_a_curve_has_no_more_digits_than_anybody_draws(
    predictor: Predictor, table: pd.DataFrame
) -> None:
    for answer in predictor.answers(CheckedRequest(records(table, 30), (12.5,))):
        for point in answer["curve"]:
            for name in ("survival", "low", "high"):
                assert point[name] == round(point[name], 8)
    # What is asked for is as it is.
    assert answer["survival@12.5"] != round(answer["survival@12.5"], 8)


def test_a_curve_falls_from_one_within_its_interval(
    predictor: Predictor, patient: dict[str, Any]
) -> None:
    curve = predictor.answers(CheckedRequest([patient], (1.25, 59.9)))[0]["curve"]
    times = [p["time"] for p in curve]
    assert times == sorted(set(times))
    assert {0.0, 1.25, 59.9, 60.0} <= set(times)
    assert len(times) <= POINTS + 3
    survival = np.array([p["survival"] for p in curve])
    assert survival[0] == 1
    assert (np.diff(survival) <= 0).all()
    assert all(0 <= p["low"] <= p["survival"] <= p["high"] <= 1 for p in curve)


def test_a_model_without_an_interval_gives_a_curve_alone(
    bundle: Bundle, patient: dict[str, Any]
) -> None:
    survival = {name: replace(model, interval=None) for name, model in bundle.survival.items()}
    without = Predictor(replace(bundle, survival=survival), "0" * 64)
    answer = without.answers(CheckedRequest([patient], (12.0,)))[0]
    assert not any("_low@" in name and "benefit" not in name for name in answer)
    assert answer["interval"] is None
    assert all(p["low"] is p["high"] is None and 0 <= p["survival"] <= 1 for p in answer["curve"])


def test_an_answer_says_which_model_and_that_it_is_synthetic(
    predictor: Predictor, patient: dict[str, Any], bundle_path: Path
) -> None:
    answer = predictor.answers(CheckedRequest([patient], None))[0] | predictor.model_and_note
    assert answer["model"] == {
        "name": "made-up",
        "endpoint": "os",
        "digest": digest_of(bundle_path),
        "fit_id": "fit-1",
        "run_id": None,
        "version": None,
        "synthetic": True,
        "horizon": 60.0,
    }
    assert "SYNTHETIC" in answer["note"]
    assert "research use" in answer["note"]
    assert answer["interval"] == 0.8


def test_a_patient_without_an_id_gets_none(predictor: Predictor, patient: dict[str, Any]) -> None:
    nameless = {k: v for k, v in patient.items() if k != "patient"}
    assert "patient_id" not in predictor.answers(CheckedRequest([nameless], None))[0]
    assert (
        "patient_id"
        not in predictor.answers(CheckedRequest([{**patient, "patient": None}], None))[0]
    )


def test_the_centres_scale_is_used_where_it_is_known(
    predictor: Predictor, patient: dict[str, Any]
) -> None:
    risks = {
        where: predictor.answers(CheckedRequest([{**patient, "hospital": where}], None))[0]["risk"]
        for where in ("north", "south", "elsewhere", None)
    }
    assert risks["north"] != risks["south"]
    assert risks["elsewhere"] == risks[None]
