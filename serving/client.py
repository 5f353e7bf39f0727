"""Ask a running endpoint from Python.

    from accomplice.serving.client import Client

    with Client("http://127.0.0.1:3000", token="…") as endpoint:
        one = endpoint.predict({"age": 61, "IL1R1": 7.2}, times=[12, 36])
        one["survival@36"], one["advice"], one.flags
        table = endpoint.predict_batch(patients).frame()

It uses httpx, as BentoML's own client does. That one knows no GET, joins an error's code, message
and details to one text, ignores Retry-After, and imports all of BentoML.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from datetime import time as time_of_day
from decimal import Decimal
from fractions import Fraction
from typing import Any, Self, overload

import httpx
import numpy as np
import pandas as pd

#: Patients of a request; a longer list goes in several.
AT_ONCE = 1000
#: Seconds to wait where a refusal states none, and statuses after which to ask again.
PAUSE, BUSY = 1.0, (429, 503)
#: Status of a request that is too large.
TOO_LARGE = 413

Patient = Mapping[str, Any]
Quantity = float | str | None


class EndpointError(RuntimeError):
    """The endpoint refused, or could not be reached; the text holds no patient's value."""

    def __init__(
        self, code: str, message: str, details: Sequence[Mapping[str, str]] = (), status: int = 0
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.details = tuple(details)
        """Place and text of each problem."""
        self.status = status
        """Of HTTP; 0 where there was no answer."""


@dataclass(frozen=True)
class Prediction:
    """Predictions of one patient."""

    quantities: Mapping[str, Quantity]
    """By the names of ``predict``: ``risk, survival@12…``; None where not known."""
    flags: tuple[str, ...]
    patient_id: str | None = None
    curve: tuple[Mapping[str, float], ...] = ()
    """``time, survival, low, high`` of each point."""
    interval: float | None = None
    """Part of the ensemble between low and high."""

    def __getitem__(self, name: str) -> Quantity:
        """Return a quantity by its name."""
        return self.quantities[name]

    def frame(self) -> pd.DataFrame:
        """Return the curve, a row a point."""
        return pd.DataFrame(list(self.curve), columns=["time", "survival", "low", "high"])


@dataclass(frozen=True)
class Predictions(Sequence[Prediction]):
    """Predictions of several patients, in their order."""

    patients: tuple[Prediction, ...]
    model: Mapping[str, Any]
    note: str

    @overload
    def __getitem__(self, index: int) -> Prediction: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Prediction, ...]: ...
    def __getitem__(self, index: int | slice) -> Prediction | tuple[Prediction, ...]:
        """Return some of the patients."""
        return self.patients[index]

    def __len__(self) -> int:
        return len(self.patients)

    def frame(self) -> pd.DataFrame:
        """Return the table that ``predict`` writes: a row a patient."""
        return _table(self.patients)


@dataclass(frozen=True)
class Explanation:
    """The parts of one patient's risk: the sum of the base and all features' parts."""

    risk: float
    base: float
    features: Mapping[str, float]
    modalities: Mapping[str, float]
    flags: tuple[str, ...]
    model: Mapping[str, Any] = field(repr=False)
    note: str = field(repr=False)

    def frame(self) -> pd.DataFrame:
        """Return the features by falling absolute part."""
        table = pd.DataFrame({"feature": list(self.features), "part": list(self.features.values())})
        order = table["part"].abs().sort_values(ascending=False, kind="stable").index
        return table.loc[order].reset_index(drop=True)


@dataclass(frozen=True)
class WhatIf:
    """Predictions of one patient at several values of a feature."""

    feature: str
    values: tuple[Quantity, ...]
    answers: tuple[Prediction, ...]
    model: Mapping[str, Any] = field(repr=False)
    note: str = field(repr=False)

    def frame(self) -> pd.DataFrame:
        """Return a row a value, the value first."""
        table = _table(self.answers)
        table.insert(0, self.feature, list(self.values))
        return table


class Client:
    """A client of one endpoint."""

    def __init__(
        self,
        url: str,
        token: str | None = None,
        timeout: float = 30.0,
        patience: float = 30.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Make a client; nothing is sent yet.

        Args:
            url: of the server, such as ``http://127.0.0.1:3000``.
            token: if the endpoint needs one.
            timeout: seconds to wait for an answer.
            patience: seconds in all to repeat a request to a busy server.
            transport: in place of the network.
        """
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self.patience = patience
        # A proxy named in the environment must not see patients.
        self._http = httpx.Client(
            base_url=url, headers=headers, timeout=timeout, transport=transport, trust_env=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def predict(self, patient: Patient, times: Sequence[float] | None = None) -> Prediction:
        """Ask about one patient.

        Args:
            patient: feature or column -> value; missing ones are left out or None.
            times: months at which survival is asked for.

        Raises:
            EndpointError: as the endpoint says.
        """
        body = {"patient": _plain(patient), **_asked(times)}
        return _prediction(self._ask("POST", "/predict", body))

    def predict_batch(
        self, patients: Sequence[Patient] | pd.DataFrame, times: Sequence[float] | None = None
    ) -> Predictions:
        """Ask about a list or a table of patients; a long one goes in several requests.

        Requests that are too large for the endpoint are halved.

        Raises:
            EndpointError: as the endpoint says, or its model was changed between two requests.
        """
        rows: Sequence[Mapping[Any, Any]] = (
            _rows(patients) if isinstance(patients, pd.DataFrame) else patients
        )
        listed, at_once = list(map(_plain, rows)), AT_ONCE
        made: list[Prediction] = []
        model: Mapping[str, Any] | None = None
        # An empty list is sent too; the endpoint refuses it.
        while model is None or len(made) < len(listed):
            part = listed[len(made) : len(made) + at_once]
            try:
                answer = self._ask("POST", "/predict_batch", {"patients": part, **_asked(times)})
            except EndpointError as error:
                if error.status != TOO_LARGE or len(part) < 2:
                    raise
                at_once = len(part) // 2
                continue
            if len(answer["patients"]) != len(part):
                raise EndpointError("unexpected", "the answer is not as long as the list")
            if model not in (None, answer["model"]):
                raise EndpointError(
                    "model_changed", "another model answered a part of the list: ask again"
                )
            model, note = answer["model"], answer["note"]
            made += map(_prediction, answer["patients"])
        return Predictions(tuple(made), model, note)

    def explain(self, patient: Patient) -> Explanation:
        """Ask what each feature adds to a patient's risk.

        Raises:
            EndpointError: as the endpoint says.
        """
        answer = self._ask("POST", "/explain", {"patient": _plain(patient)})
        answer.pop("patient_id", None)
        return Explanation(**{**answer, "flags": tuple(answer["flags"])})

    def what_if(
        self,
        patient: Patient,
        feature: str,
        values: Sequence[Quantity] | None = None,
        times: Sequence[float] | None = None,
    ) -> WhatIf:
        """Ask about a patient at other values of a feature, or of the treatment.

        Args:
            patient: as for :meth:`predict`.
            feature: name or column.
            values: of the feature; the endpoint's default ones if absent.
            times: as for :meth:`predict`.

        Raises:
            EndpointError: as the endpoint says.
        """
        body = {"patient": _plain(patient), "feature": feature}
        if values is not None:
            body["values"] = [_cell(value, feature) for value in values]
        answer = self._ask("POST", "/what_if", {**body, **_asked(times)})
        answers = tuple(map(_prediction, answer["answers"]))
        return WhatIf(
            answer["feature"], tuple(answer["values"]), answers, answer["model"], answer["note"]
        )

    def model(self) -> dict[str, Any]:
        """Ask for the model card: the model, its cohort, performance and features.

        Raises:
            EndpointError: as the endpoint says.
        """
        return self._ask("GET", "/model")

    def ready(self) -> bool:
        """Return whether the endpoint can be reached and answers patients."""
        try:
            return self._http.get("/readyz").status_code == 200
        except httpx.HTTPError:
            return False

    def _ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        until = time.monotonic() + self.patience
        while True:
            try:
                answer = self._http.request(method, path, json=body)
            except httpx.HTTPError as error:
                # Not httpx's text, which might quote the request.
                problem = f"no answer ({type(error).__name__})"
                raise EndpointError("unreachable", problem) from None
            pause = _pause(answer)
            if answer.status_code not in BUSY or time.monotonic() + pause > until:
                return _content(answer)
            time.sleep(pause)


def _pause(answer: httpx.Response) -> float:
    """Return the seconds to wait before the request is repeated."""
    stated = answer.headers.get("retry-after", "")
    return float(stated) if stated.isdigit() else PAUSE


def _content(answer: httpx.Response) -> dict[str, Any]:
    """Return the content of an answer.

    Raises:
        EndpointError: it is an error.
    """
    try:
        content = answer.json()
    except ValueError:
        content = None
    if answer.status_code == 200 and isinstance(content, dict):
        return content
    error = content.get("error") if isinstance(content, dict) else None
    if not isinstance(error, dict):
        error = {"code": "unexpected", "message": "the answer is not one of accomplice's"}
    raise EndpointError(
        str(error.get("code")),
        str(error.get("message")),
        error.get("details") or (),
        answer.status_code,
    )


def _prediction(answer: Mapping[str, Any]) -> Prediction:
    own = ("flags", "patient_id", "curve", "interval", "model", "note")
    return Prediction(
        quantities={name: value for name, value in answer.items() if name not in own},
        flags=tuple(answer["flags"]),
        patient_id=answer.get("patient_id"),
        curve=tuple(answer.get("curve") or ()),
        interval=answer.get("interval"),
    )


def _table(patients: Sequence[Prediction]) -> pd.DataFrame:
    rows = [
        {"patient_id": each.patient_id or str(i), **each.quantities, "flags": _flags(each.flags)}
        for i, each in enumerate(patients, start=1)
    ]
    return pd.DataFrame(rows)


def _flags(flags: Sequence[str]) -> str:
    """Write flags as ``predict`` does."""
    return "; ".join(flags) or "ok"


def _asked(times: Sequence[float] | None) -> dict[str, list[float]]:
    return {} if times is None else {"times": [float(month) for month in times]}


def _rows(table: pd.DataFrame) -> list[dict[Any, Any]]:
    """Return a table's rows as dictionaries.

    Raises:
        EndpointError: a column stands twice.
    """
    if twice := sorted({str(name) for name in table.columns[table.columns.duplicated()]}):
        raise EndpointError("invalid_request", f"column '{twice[0]}' stands twice: keep one")
    return table.astype(object).to_dict("records")


def _plain(patient: Mapping[Any, Any]) -> dict[str, Any]:
    if not isinstance(patient, (Mapping, pd.Series)):
        kind = type(patient).__name__
        raise EndpointError(
            "invalid_request", f"a patient is of type {kind}: send a dictionary of its values"
        )
    return {str(name): _cell(value, name) for name, value in patient.items()}


def _cell(value: Any, name: object) -> Any:
    """Return a value as JSON has it; one that is not finite is missing, a date is its text.

    Raises:
        EndpointError: it is no single value.
    """
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, (np.datetime64, np.timedelta64)):
        return None if np.isnat(value) else str(value)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (bool, int, str)):
        # Of an enumeration and other kinds of text and number, what JSON knows.
        return value if type(value) in (bool, int, str) else json.loads(json.dumps(value))
    if isinstance(value, (float, Decimal, Fraction)):
        number = float(value)
        return number if math.isfinite(number) else None
    if isinstance(value, (date, time_of_day, timedelta, pd.Period, pd.Interval)):
        return str(value)
    raise EndpointError(
        "invalid_request",
        f"'{name}' is of type {type(value).__name__}: send a number, a text, a date or None",
        [{"where": str(name), "problem": f"of type {type(value).__name__}"}],
    )
