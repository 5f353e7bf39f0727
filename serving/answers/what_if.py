"""Predictions of one patient over several values of one feature.

They are predictions for patients who differ in the feature, not effects of changing it, as the
answer's note says. Those for the treatment are effects as far as its effect is identified.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from accomplice.data.coding import code_level, code_number
from accomplice.data.errors import nearest
from accomplice.serving.answers.predictor import Predictor
from accomplice.serving.answers.training_values import Value, training_values
from accomplice.serving.requests.json_body import kind_of, readable
from accomplice.serving.requests.patient_reader import PatientReader, shorten
from accomplice.serving.requests.problems import Problems
from accomplice.serving.requests.schemas import MOST_VALUES
from accomplice.serving.requests.validation import (
    CheckedRequest,
    check_patients,
    check_times,
    open_request,
)

#: Largest integer up to which all integers are exact as floats.
WHOLE = 2**53
#: A patient may be given with up to twice as many names as the model has, and at least with
#: twice this number: each value of the feature needs a copy of the patient.
MOST_NAMES = 500
#: Maximum number of levels named in an error.
MOST_LEVELS = 12
#: First sentence of the answer's note.
NOTE = (
    "A what-if compares predictions for patients who differ in one feature; it is not the effect "
    "of changing that feature."
)


@dataclass(frozen=True)
class WhatIf:
    """A checked what-if request."""

    patient: dict[str, Any]
    """Feature or column -> value."""
    feature: str
    """The feature's name in the study."""
    values: list[Any] | None
    """Values of the feature: null, true, false, numbers or texts; None for the default ones."""
    times: tuple[float, ...] | None
    """Months at which survival is asked for; None for the default ones."""


def read_what_if(body: bytes, reader: PatientReader, horizon: float | None) -> WhatIf:
    """Parse and check a what-if request.

    Args:
        body: the JSON that was sent.
        reader: the reader of the study's patients.
        horizon: last month that may be asked for; None if the model has no survival endpoint.

    Raises:
        RequestError: the request is invalid; lists the problems and their places, without values.
    """
    raw, problems, sound = open_request(body, ("patient", "feature", "values", "times"))
    patients = check_patients(raw, "patient", reader, problems, sound)
    if patients and isinstance(patients[0], dict):
        most = 2 * max(MOST_NAMES, len(reader.positions))
        if len(patients[0]) > most:
            problems.add("patient", f"more than {most} names: leave out those that are not known")
    feature = _feature(raw, reader, problems)
    values = _values(raw.get("values"), feature, reader, problems)
    times = check_times(raw.get("times"), horizon, problems)
    if values is not None:
        # orjson writes no integers beyond 64 bits, and models read floats.
        values = [float(v) if isinstance(v, int) and abs(v) > WHOLE else v for v in values]
    return WhatIf(patients[0], feature or "", values, times)


def _feature(raw: dict[str, Any], reader: PatientReader, problems: Problems) -> str | None:
    given = raw.get("feature")
    if "feature" not in raw:
        problems.add("feature", "this key is needed")
    elif not isinstance(given, str):
        problems.add("feature", f"{kind_of(given)}: send the name of a feature")
    elif given not in reader.positions:
        hint = nearest(shorten(given), reader.positions)
        problems.add("feature", f"the model has no such feature{hint}")
    else:
        return list(reader.study.features)[reader.positions[given]]
    return None


def _values(
    given: object, feature: str | None, reader: PatientReader, problems: Problems
) -> list[Any] | None:
    if given is None:
        return None
    if not isinstance(given, list):
        problems.add("values", f"{kind_of(given)}: send a list of values")
        return None
    if not given:
        problems.add("values", "an empty list: send at least one value, or leave this key out")
    if len(given) > MOST_VALUES:
        problems.add("values", f"more than {MOST_VALUES} values: send fewer")
    elif feature is not None:
        for i, value in enumerate(given):
            problem = _problem(value, feature, reader)
            if problem:
                problems.add(f"values[{i}]", problem)
    return given


def _problem(value: object, feature: str, reader: PatientReader) -> str:
    """Return the problem of a value, empty if there is none; null means missing."""
    if value is None:
        return ""
    if not isinstance(value, (bool, int, float, str)):
        return f"{kind_of(value)}: send a single value"
    if not readable(value):
        return "holds text that is not valid Unicode"
    meaning = reader.meaning(feature)
    if meaning is None:
        # A patient's number may be a text; here it may not.
        if isinstance(value, (bool, str)):
            return f"{kind_of(value)}: send a number"
        return "a number too large to be read" if code_number(value)[1] else ""
    if code_level(value, meaning)[1]:
        levels = reader.study.features[feature].levels or ()
        listed = ", ".join(f"'{level}'" for level in levels[:MOST_LEVELS])
        return f"none of the levels: {listed}{', …' if len(levels) > MOST_LEVELS else ''}"
    return ""


def what_if(predictor: Predictor, request: WhatIf) -> dict[str, Any]:
    """Predict a patient at several values of a feature, with the other features as given.

    Args:
        predictor: predictor of the bundle in service.
        request: the checked request.

    Returns:
        The answer of ``POST /what_if`` as plain data.
    """
    reader, name = predictor.reader, request.feature
    position = list(reader.study.features).index(name)
    key = reader.study.features[name].column or name
    rest = {k: v for k, v in request.patient.items() if reader.positions.get(k) != position}
    values: list[Any] = request.values or list(_default_values(predictor, request))
    patients = [{**rest, key: value} for value in values]
    return {
        "feature": name,
        "values": values,
        "answers": predictor.answers(CheckedRequest(patients, request.times)),
        "model": predictor.model,
        "note": f"{NOTE} {predictor.note}",
    }


def _default_values(predictor: Predictor, request: WhatIf) -> tuple[Value, ...]:
    """Return the default values (k,) of the feature.

    Expression is on the scale of the patient's hospital, if the hospital has a scale of its own.
    """
    read = predictor.read(CheckedRequest([request.patient], None))
    centre = None if read.centre is None else str(read.centre[0])
    summaries = training_values(predictor.bundle, centre or None)
    # Any number, if no model uses the feature and it has no range.
    return summaries[request.feature].spread or (1.0,)
