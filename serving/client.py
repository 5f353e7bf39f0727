"""Ask a running endpoint from Python.

    from accomplice.serving.client import Client

    with Client("http://127.0.0.1:3000", token="…") as endpoint:
        one = endpoint.predict({"age": 61, "IL1R1": 7.2}, times=[12, 36])
        one["survival@36"], one["advice"], one.flags
        table = endpoint.predict_batch(patients).frame()

It goes over httpx, as BentoML's own client does, and not through that one: BentoML's knows no GET,
makes one text of an error's code, message and details, throws the Retry-After away, and imports all
of BentoML to send a dictionary.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, overload

import httpx
import numpy as np
import pandas as pd

#: Patients that one request holds; a longer list goes in several.
AT_ONCE = 1000
#: Seconds to wait where a refusal does not say how many, and statuses after which to ask again.
PAUSE, BUSY = 1.0, (429, 503)
#: Status where a request holds more than the endpoint takes.
TOO_LARGE = 413

Patient = Mapping[str, Any]
Quantity = float | str | None


class EndpointError(RuntimeError):
    """The endpoint refused, or could not be reached; no text of it repeats a patient's value."""

    def __init__(
        self, code: str, message: str, details: Sequence[Mapping[str, str]] = (), status: int = 0
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.details = tuple(details)
        """Where and what each problem is."""
        self.status = status
        """Of HTTP; 0 where there was no answer."""


@dataclass(frozen=True)
class Prediction:
    """What the model says of one patient."""

    quantities: Mapping[str, Quantity]
    """By the names that ``predict`` has: ``risk, survival@12…``; None is not known."""
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
    """What the model says of several patients, in their order."""

    patients: tuple[Prediction, ...]
    model: Mapping[str, Any]
    note: str

    @overload
    def __getitem__(self, place: int) -> Prediction: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Prediction, ...]: ...
    def __getitem__(self, place: int | slice) -> Prediction | tuple[Prediction, ...]:
        """Return some of the patients."""
        return self.patients[place]

    def __len__(self) -> int:
        return len(self.patients)

    def frame(self) -> pd.DataFrame:
        """Return the table that ``predict`` writes: a row a patient."""
        return _table(self.patients)


@dataclass(frozen=True)
class Explanation:
    """The parts of one patient's risk; the base and all features' parts add up to it."""

    risk: float
    base: float
    features: Mapping[str, float]
    modalities: Mapping[str, float]
    flags: tuple[str, ...]
    model: Mapping[str, Any] = field(repr=False)
    note: str = field(repr=False)

    def frame(self) -> pd.DataFrame:
        """Return the features, the one that adds or takes away most first."""
        table = pd.DataFrame({"feature": list(self.features), "part": list(self.features.values())})
        order = table["part"].abs().sort_values(ascending=False, kind="stable").index
        return table.loc[order].reset_index(drop=True)


@dataclass(frozen=True)
class WhatIf:
    """What the model says of one patient at several values of a feature."""

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
    """Asks one endpoint."""

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
            token: that it knows, if it asks for one.
            timeout: seconds to wait for an answer.
            patience: seconds in all to go on asking a server that says it is busy.
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
            patient: feature or column -> value; what is not known is left out or None.
            times: months at which survival is asked for.

        Raises:
            EndpointError: as the endpoint says.
        """
        body = {"patient": _plain(patient), **_asked(times=times)}
        return _prediction(self._ask("POST", "/predict", body))

    def predict_batch(
        self, patients: Sequence[Patient] | pd.DataFrame, times: Sequence[float] | None = None
    ) -> Predictions:
        """Ask about a list or a table of patients; a long one goes in several requests.

        Where these are larger than the endpoint takes, they go in smaller ones.

        Raises:
            EndpointError: as the endpoint says, or its model was changed between two requests.
        """
        listed, at_once = [_plain(each) for each in _listed(patients)], AT_ONCE
        found: list[Prediction] = []
        model: Mapping[str, Any] = {}
        note = ""
        # An empty list is a request too, which the endpoint refuses.
        while True:
            part = listed[len(found) : len(found) + at_once]
            try:
                body = {"patients": part, **_asked(times=times)}
                answer = self._ask("POST", "/predict_batch", body)
            except EndpointError as error:
                if error.status != TOO_LARGE or len(part) < 2:
                    raise
                at_once = len(part) // 2
                continue
            if len(answer["patients"]) != len(part):
                raise EndpointError("unexpected", "the answer is not as long as the list")
            if found and answer["model"] != model:
                raise EndpointError(
                    "model_changed", "another model answered a part of the list: ask again"
                )
            model, note = answer["model"], answer["note"]
            found += [_prediction(each) for each in answer["patients"]]
            if len(found) >= len(listed):
                break
        return Predictions(tuple(found), model, note)

    def explain(self, patient: Patient) -> Explanation:
        """Ask what each feature adds to a patient's risk.

        Raises:
            EndpointError: as the endpoint says.
        """
        found = self._ask("POST", "/explain", {"patient": _plain(patient)})
        found.pop("patient_id", None)
        return Explanation(**{**found, "flags": tuple(found["flags"])})

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
            values: to look at; the usual ones if absent.
            times: as for :meth:`predict`.

        Raises:
            EndpointError: as the endpoint says.
        """
        body = {"patient": _plain(patient), "feature": feature}
        if values is not None:
            body["values"] = [_cell(value) for value in values]
        found = self._ask("POST", "/what_if", {**body, **_asked(times=times)})
        answers = tuple(_prediction(each) for each in found["answers"])
        return WhatIf(
            found["feature"], tuple(found["values"]), answers, found["model"], found["note"]
        )

    def model(self) -> dict[str, Any]:
        """Ask which model answers, of whom it learned, how it did and what it asks for.

        Raises:
            EndpointError: as the endpoint says.
        """
        return self._ask("GET", "/model")

    def ready(self) -> bool:
        """Say whether the endpoint can be reached and answers patients."""
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
                # Its own text names the address alone, but nothing promises that.
                problem = f"no answer ({type(error).__name__})"
                raise EndpointError("unreachable", problem) from None
            pause = _pause(answer)
            if answer.status_code not in BUSY or time.monotonic() + pause > until:
                return _content(answer)
            time.sleep(pause)


def _pause(answer: httpx.Response) -> float:
    """Seconds that a busy server asks to wait."""
    stated = answer.headers.get("retry-after", "")
    return float(stated) if stated.isdigit() else PAUSE


def _content(answer: httpx.Response) -> dict[str, Any]:
    """Return what a good answer holds.

    Raises:
        EndpointError: it is none.
    """
    try:
        found = answer.json()
    except ValueError:
        found = None
    if answer.status_code == 200 and isinstance(found, dict):
        return found
    error = found.get("error") if isinstance(found, dict) else None
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


def _listed(patients: Sequence[Patient] | pd.DataFrame) -> Sequence[Patient]:
    if not isinstance(patients, pd.DataFrame):
        return patients
    rows = patients.astype(object).to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in rows]


def _asked(times: Sequence[float] | None) -> dict[str, list[float]]:
    return {} if times is None else {"times": [float(month) for month in times]}


def _plain(patient: Patient) -> dict[str, Any]:
    return {str(name): _cell(value) for name, value in patient.items()}


def _cell(value: Any) -> Any:
    """A value as JSON has it: tables hold NumPy's numbers, and NaN or NA for what is missing."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is pd.NA or value is pd.NaT or (isinstance(value, float) and math.isnan(value)):
        return None
    return value
