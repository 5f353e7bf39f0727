"""Python client of a running endpoint.

    from accomplice.serving.client import Client

    with Client("http://127.0.0.1:3000", token="…") as endpoint:
        one = endpoint.predict({"age": 61, "IL1R1": 7.2}, times=[12, 36])
        one["survival@36"], one["advice"], one.flags
        table = endpoint.predict_batch(patients).frame()

It uses httpx, as BentoML's own client does. BentoML's client cannot GET, joins code, message and
details of an error to one text, ignores Retry-After, and imports all of BentoML.
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

#: Maximum number of patients in a request; a longer list is sent in several.
AT_ONCE = 1000
#: Seconds to wait after a refusal that does not state whole seconds.
PAUSE = 1.0
#: Statuses after which a request is repeated.
BUSY = (429, 503)
#: Status of a request that is too large.
TOO_LARGE = 413

#: A patient: feature or column -> value.
Patient = Mapping[str, Any]
#: A predicted quantity, or the value of a feature; None if unknown.
Quantity = float | str | None


class EndpointError(RuntimeError):
    """Refusal or failure of a request; its text holds no patient's value.

    ``code`` is for programs, ``message`` for people, ``details`` hold place (``where``) and text
    (``problem``) of each problem; ``status`` is HTTP's, 0 for errors that the client finds.
    """

    def __init__(
        self, code: str, message: str, details: Sequence[Mapping[str, str]] = (), status: int = 0
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.details = tuple(details)
        self.status = status


@dataclass(frozen=True)
class Prediction:
    """Predictions for one patient."""

    quantities: Mapping[str, Quantity]
    """Column of ``accomplice predict``, such as ``risk`` or ``survival@12`` -> value."""
    flags: tuple[str, ...]
    """Odd values of the patient, and odd months; empty if there are none."""
    patient_id: str | None = None
    """Identifier, if the patient had one."""
    curve: tuple[Mapping[str, float], ...] = ()
    """``time`` (months), ``survival``, ``low`` and ``high`` of each point of the survival curve."""
    interval: float | None = None
    """Nominal coverage of the interval from low to high; None if there is no curve."""

    def __getitem__(self, name: str) -> Quantity:
        """Return a quantity by its name; KeyError if there is none."""
        return self.quantities[name]

    def frame(self) -> pd.DataFrame:
        """Return the survival curve, one row for each point."""
        return pd.DataFrame(list(self.curve), columns=["time", "survival", "low", "high"])


@dataclass(frozen=True)
class Predictions(Sequence[Prediction]):
    """Predictions for several patients, in their order."""

    patients: tuple[Prediction, ...]
    model: Mapping[str, Any]
    """Names and versions of the model that answered."""
    note: str
    """Limits of use."""

    @overload
    def __getitem__(self, index: int) -> Prediction: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Prediction, ...]: ...
    def __getitem__(self, index: int | slice) -> Prediction | tuple[Prediction, ...]:
        return self.patients[index]

    def __len__(self) -> int:
        return len(self.patients)

    def frame(self) -> pd.DataFrame:
        """Return the table of ``accomplice predict``, one row for each patient."""
        return _table(self.patients)


@dataclass(frozen=True)
class Explanation:
    """Shapley values of one patient's risk: base and features add up to the risk.

    Flags are those of :class:`Prediction`, model and note those of :class:`Predictions`.
    """

    risk: float
    """Log-hazard; higher is worse."""
    base: float
    """Risk of a typical training patient, untreated."""
    features: Mapping[str, float]
    """Feature -> its part of the risk."""
    modalities: Mapping[str, float]
    """Modality -> sum of its features' parts."""
    flags: tuple[str, ...]
    model: Mapping[str, Any] = field(repr=False)
    note: str = field(repr=False)

    def frame(self) -> pd.DataFrame:
        """Return a table of ``feature`` and ``part``, by falling absolute part."""
        table = pd.DataFrame({"feature": list(self.features), "part": list(self.features.values())})
        order = table["part"].abs().sort_values(ascending=False, kind="stable").index
        return table.loc[order].reset_index(drop=True)


@dataclass(frozen=True)
class WhatIf:
    """Predictions for one patient at several values; model and note as in :class:`Predictions`."""

    feature: str
    """The feature's name in the study."""
    values: tuple[Quantity, ...]
    """(k,) values of the feature."""
    answers: tuple[Prediction, ...]
    """(k,) prediction at each value."""
    model: Mapping[str, Any] = field(repr=False)
    note: str = field(repr=False)

    def frame(self) -> pd.DataFrame:
        """Return a table with one row for each value, which is in the first column."""
        table = _table(self.answers)
        table.insert(0, self.feature, list(self.values))
        return table


class Client:
    """Client of one endpoint; each request but :meth:`ready` can raise :class:`EndpointError`."""

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
            url: the server's URL, such as ``http://127.0.0.1:3000``.
            token: access token, if the endpoint needs one.
            timeout: seconds to wait for an answer.
            patience: seconds for which a request to a busy server is repeated.
            transport: httpx transport, for tests without a network.
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
        """Close the connections."""
        self._http.close()

    def predict(self, patient: Patient, times: Sequence[float] | None = None) -> Prediction:
        """Predict for one patient.

        Args:
            patient: feature or column -> value; missing ones are left out or None.
            times: months at which survival is predicted; the endpoint's default ones if absent.

        Raises:
            EndpointError: the patient is invalid, or the endpoint refuses, fails or is not reached.
        """
        body = {"patient": _plain(patient), **_months(times)}
        return _prediction(self._ask("POST", "/predict", body))

    def predict_batch(
        self, patients: Sequence[Patient] | pd.DataFrame, times: Sequence[float] | None = None
    ) -> Predictions:
        """Predict for a list or table of patients, in several requests if it is long or too large.

        Args:
            patients: list of patients as for :meth:`predict`, or a table of them.
            times: as for :meth:`predict`.

        Raises:
            EndpointError: as for :meth:`predict`; two columns have one name; an answer is not as
                long as its request; or the model changed between two requests.
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
                answer = self._ask("POST", "/predict_batch", {"patients": part, **_months(times)})
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
        """Attribute the risk of a patient, given as for :meth:`predict`, by Shapley values."""
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
        """Predict for one patient at several values of a feature.

        Args:
            patient: as for :meth:`predict`.
            feature: name or column of the feature, or column of the treatment.
            values: values of the feature; the endpoint's default ones if absent.
            times: as for :meth:`predict`.

        Raises:
            EndpointError: as for :meth:`predict`.
        """
        body = {"patient": _plain(patient), "feature": feature}
        if values is not None:
            body["values"] = [_cell(value, feature) for value in values]
        answer = self._ask("POST", "/what_if", {**body, **_months(times)})
        answers = tuple(map(_prediction, answer["answers"]))
        return WhatIf(
            answer["feature"], tuple(answer["values"]), answers, answer["model"], answer["note"]
        )

    def model(self) -> dict[str, Any]:
        """Return the model card: the model, its training cohort, performance and features."""
        return self._ask("GET", "/model")

    def ready(self) -> bool:
        """Return whether the endpoint can be reached and answers patients."""
        try:
            return self._http.get("/readyz").status_code == 200
        except httpx.HTTPError:
            return False

    def _ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """Return the content of the answer to a request, repeated while the server is busy."""
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
    return float(stated) if stated.isdecimal() else PAUSE


def _content(answer: httpx.Response) -> dict[str, Any]:
    """Return the content of an answer; raise its error."""
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
    others = ("flags", "patient_id", "curve", "interval", "model", "note")
    return Prediction(
        quantities={name: value for name, value in answer.items() if name not in others},
        flags=tuple(answer["flags"]),
        patient_id=answer.get("patient_id"),
        curve=tuple(answer.get("curve") or ()),
        interval=answer.get("interval"),
    )


def _table(patients: Sequence[Prediction]) -> pd.DataFrame:
    rows = [
        {"patient_id": p.patient_id or str(i), **p.quantities, "flags": "; ".join(p.flags) or "ok"}
        for i, p in enumerate(patients, start=1)
    ]
    return pd.DataFrame(rows)


def _months(times: Sequence[float] | None) -> dict[str, list[float]]:
    return {} if times is None else {"times": [float(month) for month in times]}


def _rows(table: pd.DataFrame) -> list[dict[Any, Any]]:
    """Return a table's rows as dictionaries; refuse two columns of one name."""
    if twice := sorted({str(name) for name in table.columns[table.columns.duplicated()]}):
        raise EndpointError("invalid_request", f"column '{twice[0]}' stands twice: keep one")
    return table.astype(object).to_dict("records")


def _plain(patient: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a patient as JSON has it; refuse one that is no mapping."""
    if not isinstance(patient, (Mapping, pd.Series)):
        kind = type(patient).__name__
        raise EndpointError(
            "invalid_request", f"a patient is of type {kind}: send a dictionary of its values"
        )
    return {str(name): _cell(value, name) for name, value in patient.items()}


def _cell(value: Any, name: object) -> Any:
    """Return a value as JSON has it: a date as text, a number that is not finite as None.

    Raises:
        EndpointError: the value is no number, text, truth value, date, time or missing value.
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
        # A subclass, such as an enumeration, becomes the plain value that JSON writes for it.
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
