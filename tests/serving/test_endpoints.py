"""Bundles of several survival endpoints, or of a response alone, behind the endpoint."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from accomplice.serving.answers.predictor import Predictor
from accomplice.serving.requests.problems import RequestError
from accomplice.serving.requests.schemas import BatchAnswer, PredictAnswer
from accomplice.serving.requests.validation import CheckedRequest, read_request


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as a request has them."""
    raw = json.loads(frame.to_json(orient="records"))
    return [{k: v for k, v in row.items() if not k.startswith(("os_", "dfs_"))} for row in raw]


def same(answer: dict[str, Any], expected: pd.Series) -> None:
    """An answer has the columns of the table, in their order, and their values."""
    names = [name for name in expected.index if name != "flags"]
    assert [name for name in answer if name in names] == names
    for name in names:
        if isinstance(expected[name], str):
            assert answer[name] == expected[name], name
        elif answer[name] is None:
            assert math.isnan(expected[name]), name
        else:
            assert answer[name] == pytest.approx(expected[name], abs=1e-9), name


class TestSeveral:
    @pytest.fixture
    def predictor(self, several_trained: Any) -> Predictor:
        return Predictor(several_trained.bundle, "digest")

    def test_answers_are_the_bundle_s_under_the_same_names(
        self, predictor: Predictor, several_trained: Any, several_frame: pd.DataFrame
    ) -> None:
        patients = several_frame.head(12)
        asked = CheckedRequest(records(patients), (12.0, 48.0))
        answered = {"patients": predictor.answers(asked), **predictor.model_and_note}
        expected = several_trained.bundle.predict(patients, [12, 48])
        assert "dfs.survival@12" in expected
        assert "dfs.survival@48" not in expected
        for answer, (_, row) in zip(answered["patients"], expected.iterrows(), strict=True):
            same(answer, row)
            json.dumps(answer, allow_nan=False)
        BatchAnswer.model_validate(answered)

    def test_the_curve_is_the_primary_endpoint_s(
        self, predictor: Predictor, several_frame: pd.DataFrame
    ) -> None:
        answer = predictor.answers(CheckedRequest(records(several_frame.head(1)), (12.0,)))[0]
        at = {point["time"]: point["survival"] for point in answer["curve"]}
        assert at[12.0] == pytest.approx(answer["survival@12"], abs=1e-8)
        assert at[12.0] != pytest.approx(answer["dfs.survival@12"], abs=1e-8)
        assert max(at) == predictor.model["horizon"] == 60
        assert predictor.model["endpoint"] == "os"


class TestLabelsAlone:
    @pytest.fixture
    def predictor(self, labels_trained: Any) -> Predictor:
        return Predictor(labels_trained.bundle, "digest")

    def test_answers_have_neither_risk_nor_curve(
        self, predictor: Predictor, labels_trained: Any, several_frame: pd.DataFrame
    ) -> None:
        predictor.warm_up()
        patients = several_frame.head(12)
        answers = predictor.answers(CheckedRequest(records(patients), None))
        answered = {"patients": answers, **predictor.model_and_note}
        expected = labels_trained.bundle.predict(patients)
        for answer, (_, row) in zip(answered["patients"], expected.iterrows(), strict=True):
            same(answer, row)
            assert answer.keys() == {"patient_id", "response.ici_response", "flags"}
        assert answered["model"]["endpoint"] == "ici_response"
        assert answered["model"]["horizon"] is None
        BatchAnswer.model_validate(answered)
        one = answers[0] | predictor.model_and_note
        PredictAnswer.model_validate(one)
        np.testing.assert_allclose(
            one["response.ici_response"], expected["response.ici_response"][0], rtol=1e-12
        )

    @pytest.mark.parametrize("batch", [False, True])
    def test_times_are_refused(self, predictor: Predictor, batch: bool) -> None:
        patient = {"age": 61}
        asked = {"patients": [patient]} if batch else {"patient": patient}
        horizon = predictor.bundle.horizon
        read = read_request(json.dumps(asked).encode(), predictor.reader, horizon, batch)
        assert read.times is None
        body = json.dumps(asked | {"times": [12]}).encode()
        with pytest.raises(RequestError, match="no survival endpoint: leave this key out") as found:
            read_request(body, predictor.reader, horizon, batch)
        assert found.value.code == "invalid_request"
        assert found.value.details[0]["where"] == "times"
