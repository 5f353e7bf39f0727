"""What goes in and out of the endpoint, held against the bundle's study.

Requests are checked here and not by pydantic, whose errors carry the values they are about: no
text made in this module holds a submitted value.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NoReturn

import orjson

from accomplice.data.errors import nearest
from accomplice.serving.requests.patient_reader import PatientReader, shorten
from accomplice.serving.requests.schemas import MOST_PATIENTS, MOST_TIMES

#: Problems that one error lists at the most.
MOST_PROBLEMS = 20

#: Types of values that hold others.
HOLDERS = frozenset({dict, list})
#: Below this every number that was written without a point is still an integer.
LONGEST_WHOLE = 1e18
#: So many digits in a row may be an integer beyond it; what makes of every digit the same one.
LONG, DIGITS = b"0" * 19, bytes.maketrans(b"0123456789", b"0" * 10)

#: Codes of the errors.
NOT_JSON, INVALID, BEYOND = "not_json", "invalid_request", "time_beyond_horizon"
TOO_MANY = "too_many_patients"


@dataclass
class RequestError(Exception):
    """A request that cannot be answered as it is."""

    code: str
    message: str
    details: list[dict[str, Any]] = field(default_factory=list)
    status: int = 400


@dataclass(frozen=True)
class Asked:
    """A checked request."""

    patients: list[dict[str, Any]]
    """Values are null, true, false, finite numbers or texts."""
    times: tuple[float, ...] | None
    """Months, or None for the usual ones."""


def read_request(body: bytes, reader: PatientReader, horizon: float | None, batch: bool) -> Asked:
    """Parse and check a request.

    Args:
        body: as it was sent.
        reader: knows the study's features.
        horizon: months up to which times may be asked for; None where the model has no survival
            endpoint.
        batch: whether it holds ``patients``, a list, or ``patient``, one object.

    Raises:
        RequestError: value-free; lists what is wrong and where.
    """
    key = "patients" if batch else "patient"
    raw, found, sound = open_request(body, (key, "times"))
    patients = check_patients(raw, key, batch, reader, found, sound)
    times = check_times(raw.get("times"), horizon, found)
    found.refuse(INVALID, "the request cannot be read")
    check_horizon(times, horizon)
    return Asked(patients, times or None)


def open_request(body: bytes, keys: Sequence[str]) -> tuple[dict[str, Any], Problems, bool]:
    """Parse the object that a body is, and note what of it is none of the keys.

    Returns:
        The object, the problems, and whether all in it is sound, as :func:`parse_json` says.

    Raises:
        RequestError: value-free; it is no object.
    """
    raw, sound = parse_json(body)
    if not isinstance(raw, dict):
        raise RequestError(INVALID, f"the body is {kind_of(raw)}: send an object")
    found = Problems()
    for name in raw:
        if found.full:
            break  # to look up the nearest known name takes long
        if name not in keys:
            found.add(shorten(name), f"unknown key{nearest(shorten(name), keys)}")
    return raw, found, sound


class Problems:
    """What is wrong with a request, collected so that one answer names it all."""

    def __init__(self) -> None:
        self.listed: list[dict[str, Any]] = []

    @property
    def full(self) -> bool:
        """Whether as many are listed as an error says."""
        return len(self.listed) >= MOST_PROBLEMS

    def add(self, where: str, problem: str) -> None:
        """Note one problem; beyond the most that are listed it changes nothing."""
        if not self.full:
            self.listed.append({"where": where, "problem": problem})

    def refuse(self, code: str, message: str) -> None:
        """Raise if there is any."""
        if self.listed:
            first = self.listed[0]
            text = f"{message}: {first['where']}: {first['problem']}"
            raise RequestError(code, text, self.listed)


def check_patients(
    raw: dict[str, Any],
    key: str,
    batch: bool,
    reader: PatientReader,
    found: Problems,
    sound: bool = False,
) -> list[dict[str, Any]]:
    """Return the patients of a request's object, and note what is wrong with them."""
    if key not in raw:
        found.add(key, "this key is needed")
        return []
    given = raw[key]
    if not batch:
        _check_patient(given, key, reader, found)
        return [given]
    if not isinstance(given, list):
        found.add(key, f"{kind_of(given)}: send a list of objects")
        return []
    if not given:
        found.add(key, "an empty list: send at least one patient")
    if len(given) > MOST_PATIENTS:
        problem = f"more than {MOST_PATIENTS} patients: send them in several requests"
        raise RequestError(TOO_MANY, problem, [{"where": key, "problem": problem}])
    # Most lists are as they should be, which is seen in a few steps.
    if not (sound and _flat(given) and reader.names_once(given)):
        for i, patient in enumerate(given):
            _check_patient(patient, f"{key}[{i}]", reader, found)
    return given


def _flat(objects: Iterable[Any]) -> bool:
    """Whether all are objects, and hold no others and no lists."""
    if not {*map(type, objects)} <= {dict}:
        return False
    return HOLDERS.isdisjoint(map(type, chain.from_iterable(map(dict.values, objects))))


def _check_patient(patient: object, where: str, reader: PatientReader, found: Problems) -> None:
    if not isinstance(patient, dict):
        found.add(where, f"{kind_of(patient)}: send an object of feature names and values")
        return
    for name, value in patient.items():
        if isinstance(value, (dict, list)):
            found.add(f"{where}.{shorten(name)}", f"{kind_of(value)}: send a single value")
        elif isinstance(value, float) and not math.isfinite(value):
            found.add(f"{where}.{shorten(name)}", "a number too large to be read")
        elif not (readable(name) and readable(value)):
            found.add(where, "holds text that is not valid Unicode")
    for name in reader.twice(patient):
        problem = "this feature is given twice, by column and by name"
        found.add(f"{where}.{shorten(name)}", problem)
    if reader.place.keys().isdisjoint(patient):
        first = next(iter(reader.place))
        found.add(where, f"has none of the model's features, for instance '{first}'")


def check_times(given: object, horizon: float | None, found: Problems) -> tuple[float, ...]:
    """Return the months asked for, and note what is wrong with them but how far they reach."""
    if given is None:
        return ()
    if not isinstance(given, list):
        found.add("times", f"{kind_of(given)}: send a list of months")
        return ()
    if len(given) > MOST_TIMES:
        found.add("times", f"more than {MOST_TIMES} times: ask for fewer")
        return ()
    times: list[float] = []
    for i, time in enumerate(given):
        if isinstance(time, bool) or not isinstance(time, (int, float)):
            found.add(f"times[{i}]", f"{kind_of(time)}: send a number of months")
        elif not 0 <= time < math.inf:
            found.add(f"times[{i}]", "send a finite number of months, 0 or more")
        else:
            # An integer too long for a float is far beyond any horizon.
            times.append(float(min(time, 1e300)))
    if len({*times}) < len(times):
        found.add("times", "a time is asked for twice")
    if times and horizon is None:
        found.add("times", "the model has no survival endpoint: leave this key out")
    return tuple(times)


def check_horizon(times: Sequence[float], horizon: float | None) -> None:
    """Refuse months that the model does not reach.

    Raises:
        RequestError: one lies beyond the horizon.
    """
    found = Problems()
    for i, time in enumerate(times):
        if horizon is not None and time > horizon:
            found.add(f"times[{i}]", f"beyond the model's horizon of {horizon:g} months")
    found.refuse(BEYOND, f"ask for times up to the model's horizon of {horizon or 0:g} months")


def parse_json(body: bytes) -> tuple[Any, bool]:
    """Parse JSON strictly: UTF-8, no NaN or Infinity, no key twice in an object.

    Returns:
        What it says, and whether all in it is known to be sound: finite numbers, and texts that can
        be written again.

    Raises:
        RequestError: value-free.
    """
    quick = _parse_quickly(body)
    if quick is not None:
        return quick, True
    try:
        text = body.decode("utf-8-sig")
        made = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_object)
        return made, False
    except RequestError:
        raise
    except UnicodeDecodeError:
        problem = "it is not UTF-8"
    except json.JSONDecodeError as error:
        problem = f"line {error.lineno}, column {error.colno}"
    except (ValueError, RecursionError):
        # An integer of thousands of digits, or objects thousands deep.
        problem = "a number or an object in it is too large"
    raise RequestError(NOT_JSON, f"the body is not JSON: {problem}")


def _parse_quickly(body: bytes) -> Any:
    """Parse by a parser several times as fast; None where its answer may not be the strict one.

    It keeps the last of two equal keys and makes floats of very long integers. Every key is
    followed by a colon: where there are no more colons than keys that were kept, none was lost.
    """
    try:
        parsed = orjson.loads(body)
        keys = _keys(parsed)
    except (orjson.JSONDecodeError, _StrictlyError):
        return None
    if LONG in body.translate(DIGITS) and _has_long(parsed):
        return None
    return parsed if keys == body.count(b":") else None


class _StrictlyError(Exception):
    """The strict parser is to say."""


def _keys(value: Any, levels: int = 4) -> int:
    """Count the keys of an object and of those in it."""
    if type(value) not in HOLDERS:
        return 0
    count, parts = (len(value), value.values()) if isinstance(value, dict) else (0, value)
    if HOLDERS.isdisjoint(map(type, parts)):
        return count
    if _flat(parts):
        return count + sum(map(len, parts))
    if not levels:
        raise _StrictlyError
    return count + sum(_keys(part, levels - 1) for part in parts)


def _has_long(value: Any) -> bool:
    """Whether a number in what :func:`_keys` counted may have been an integer of many digits."""
    if type(value) in HOLDERS:
        return any(map(_has_long, value.values() if isinstance(value, dict) else value))
    return isinstance(value, float) and abs(value) > LONGEST_WHOLE


def _refuse_constant(_: str) -> NoReturn:
    raise RequestError(
        NOT_JSON, "NaN and Infinity are not JSON: send null, or leave out what is not known"
    )


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise RequestError(INVALID, "an object in the body names a key twice: name it once")
    return made


def kind_of(value: object) -> str:
    """Say what a JSON value is, without saying which."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    names = {dict: "an object", list: "a list", str: "a text", int: "a number", float: "a number"}
    return names[type(value)]


def readable(value: object) -> bool:
    """Whether a text can be written again: JSON's escapes can spell half a character."""
    if not isinstance(value, str) or value.isascii():
        return True
    return not any("\ud800" <= letter <= "\udfff" for letter in value)
