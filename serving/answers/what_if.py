"""One patient over several values of one feature: what the model would say, were it another.

That is what the model says of patients who differ in this, which is what changing it would do only
for the treatment, as far as its effect is to be believed; the answer's note says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from accomplice.data.coding import code_number
from accomplice.data.errors import nearest
from accomplice.data.study_parts import as_level
from accomplice.serving.answers.predictor import Predictor
from accomplice.serving.answers.training_values import Value, usual
from accomplice.serving.requests.patient_reader import PatientReader, shorten
from accomplice.serving.requests.schemas import MOST_VALUES
from accomplice.serving.requests.validation import (
    INVALID,
    Asked,
    Problems,
    check_horizon,
    check_patients,
    check_times,
    kind_of,
    open_request,
    readable,
)

#: Integers up to this one are exact as floats.
WHOLE = 2**53
#: Levels that an error lists at the most.
MOST_LEVELS = 12
NOTE = (
    "A what-if says what the model makes of patients who differ in one feature, not what changing "
    "it would do."
)


@dataclass(frozen=True)
class WhatIf:
    """A checked request."""

    patient: dict[str, Any]
    feature: str
    """As the study names it."""
    values: list[Any] | None
    """Null, numbers or texts; None for the usual ones."""
    times: tuple[float, ...] | None


def read_what_if(body: bytes, reader: PatientReader, horizon: float | None) -> WhatIf:
    """Parse and check a request.

    Args:
        body: as it was sent.
        reader: knows the study's features.
        horizon: months up to which times may be asked for; None where the model has no survival
            endpoint.

    Raises:
        RequestError: value-free; lists what is wrong and where.
    """
    raw, found, sound = open_request(body, ("patient", "feature", "values", "times"))
    patients = check_patients(raw, "patient", False, reader, found, sound)
    feature = _feature(raw, reader, found)
    values = _values(raw.get("values"), feature, reader, found)
    times = check_times(raw.get("times"), horizon, found)
    found.refuse(INVALID, "the request cannot be read")
    check_horizon(times, horizon)
    if values is not None:
        # An integer of more digits than JSON's writers know becomes the number that it is read as.
        values = [float(v) if isinstance(v, int) and abs(v) > WHOLE else v for v in values]
    return WhatIf(patients[0], feature or "", values, times or None)


def _feature(raw: dict[str, Any], reader: PatientReader, found: Problems) -> str | None:
    given = raw.get("feature")
    if "feature" not in raw:
        found.add("feature", "this key is needed")
    elif not isinstance(given, str):
        found.add("feature", f"{kind_of(given)}: send the name of a feature")
    elif given not in reader.place:
        hint = nearest(shorten(given), reader.place)
        found.add("feature", f"the model has no such feature{hint}")
    else:
        return list(reader.study.features)[reader.place[given]]
    return None


def _values(
    given: object, feature: str | None, reader: PatientReader, found: Problems
) -> list[Any] | None:
    if given is None:
        return None
    if not isinstance(given, list):
        found.add("values", f"{kind_of(given)}: send a list of values")
        return None
    if not given:
        found.add("values", "an empty list: send at least one value, or leave this key out")
    if len(given) > MOST_VALUES:
        found.add("values", f"more than {MOST_VALUES} values: send fewer")
    elif feature is not None:
        for i, value in enumerate(given):
            problem = _problem(value, feature, reader)
            if problem:
                found.add(f"values[{i}]", problem)
    return given


def _problem(value: object, feature: str, reader: PatientReader) -> str:
    """Say what is wrong with a value, or nothing; null asks what if it were not known."""
    if value is None:
        return ""
    if not isinstance(value, (bool, int, float, str)):
        return f"{kind_of(value)}: send a single value"
    if not readable(value):
        return "holds text that is not valid Unicode"
    meaning = reader.meaning(feature)
    if meaning is None:
        # A text is no number, though a patient may have one: a what-if leaves nothing to guess.
        if isinstance(value, (bool, str)):
            return f"{kind_of(value)}: send a number"
        return "a number too large to be read" if code_number(value)[1] else ""
    if (value if isinstance(value, str) else as_level(value)) not in meaning:
        levels = reader.study.features[feature].levels or ()
        listed = ", ".join(f"'{level}'" for level in levels[:MOST_LEVELS])
        return f"none of the levels: {listed}{', …' if len(levels) > MOST_LEVELS else ''}"
    return ""


def what_if(predictor: Predictor, asked: WhatIf) -> dict[str, Any]:
    """Answer the patient at each of the values, and in all else as given."""
    reader, name = predictor.reader, asked.feature
    position = list(reader.study.features).index(name)
    key = reader.study.features[name].column or name
    rest = {k: v for k, v in asked.patient.items() if reader.place.get(k) != position}
    values: list[Any] = list(_usual(predictor, asked)) if asked.values is None else asked.values
    patients = [{**rest, key: value} for value in values]
    return {
        "feature": name,
        "values": values,
        "answers": predictor.answers(Asked(patients, asked.times)),
        "model": predictor.model,
        "note": f"{NOTE} {predictor.note}",
    }


def _usual(predictor: Predictor, asked: WhatIf) -> tuple[Value, ...]:
    """Values to look at where none are named, on the scale of the patient's hospital."""
    column = predictor.bundle.study.centre
    centre = None if column is None else asked.patient.get(column)
    known = usual(predictor.bundle, None if centre is None else as_level(centre))
    # Of a feature that no model looks at and that has no range, one value is as good as another.
    return known[asked.feature].spread or (1.0,)
