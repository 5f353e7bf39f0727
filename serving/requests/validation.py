"""Validation of requests against the bundle's study.

Pydantic does not validate them, since its errors quote values: no error text made in this module
holds a submitted value.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from accomplice.data.errors import nearest
from accomplice.serving.requests.json_body import flat, kind_of, parse_json, readable
from accomplice.serving.requests.patient_reader import PatientReader, renamed, shorten
from accomplice.serving.requests.problems import INVALID, Problems, RequestError
from accomplice.serving.requests.schemas import MOST_CELLS, MOST_PATIENTS, MOST_TIMES

#: Decimals of the months that may be asked for, finer than days, and the error of a computed one.
MONTH_DECIMALS, MONTH_ERROR = 2, 1e-6
#: Largest number that is read, whether it is written with a point or without.
LARGEST = sys.float_info.max

#: Error code of months beyond the model's horizon.
BEYOND = "time_beyond_horizon"
#: Error code of a request whose answer would be too large.
TOO_LARGE = "too_large"
#: Error code of too long a list of patients.
TOO_MANY = "too_many_patients"


@dataclass(frozen=True)
class CheckedRequest:
    """A checked request for predictions."""

    patients: Sequence[dict[str, Any]]
    """Feature or column -> null, true, false, finite number or text, of each patient."""
    times: tuple[float, ...] | None
    """Months at which survival is asked for; None for the default ones."""


def read_request(
    body: bytes,
    reader: PatientReader,
    horizon: float | None,
    batch: bool = False,
    timed: bool = True,
) -> CheckedRequest:
    """Parse and check a request for predictions.

    Args:
        body: the JSON that was sent.
        reader: the reader of the study's patients.
        horizon: last month that may be asked for; None if the model has no survival endpoint.
        batch: whether the request has a list ``patients``; else it has one ``patient``.
        timed: whether the request may have ``times``.

    Raises:
        RequestError: the request is invalid. Its details list the problems and their places, if the
            body is a JSON object without repeated keys.
    """
    key = "patients" if batch else "patient"
    raw, problems, sound = open_request(body, (key, "times") if timed else (key,))
    patients = check_patients(raw, key, reader, problems, sound)
    times = check_times(raw.get("times"), horizon, problems, len(patients))
    return CheckedRequest(patients, times)


def open_request(body: bytes, keys: Sequence[str]) -> tuple[dict[str, Any], Problems, bool]:
    """Parse a body and collect its unknown keys as problems.

    Args:
        body: the JSON that was sent.
        keys: the known keys.

    Returns:
        The body's object, the problems, and whether the object is known to be sound (see
        :func:`parse_json`).

    Raises:
        RequestError: the body is not JSON or no object, or an object in it names a key twice.
    """
    raw, sound = parse_json(body)
    if not isinstance(raw, dict):
        raise RequestError(INVALID, f"the body is {kind_of(raw)}: send an object")
    problems = Problems()
    for name in raw:
        if problems.full:
            break  # finding the nearest known name takes long
        if name not in keys:
            problems.add(shorten(name), f"unknown key{nearest(shorten(name), keys)}")
    return raw, problems, sound


def check_patients(
    raw: dict[str, Any], key: str, reader: PatientReader, problems: Problems, sound: bool
) -> list[dict[str, Any]]:
    """Return the patients of a request, and add their problems to the collection.

    Args:
        raw: the request's object.
        key: ``patient`` for one patient, or ``patients`` for a list.
        reader: the reader of the study's patients.
        problems: the collection of problems.
        sound: whether the object is known to be sound (see :func:`parse_json`).

    Raises:
        RequestError: there are too many patients.
    """
    if key not in raw:
        problems.add(key, "this key is needed")
        return []
    given = raw[key]
    if key == "patient":
        given = _renamed(given, reader)
        _check_patient(given, key, reader, problems)
        return [given]
    if not isinstance(given, list):
        problems.add(key, f"{kind_of(given)}: send a list of objects")
        return []
    if not given:
        problems.add(key, "an empty list: send at least one patient")
    if len(given) > MOST_PATIENTS:
        raise too_many(key)
    given = [_renamed(each, reader) for each in given]
    check_listed(given, 0, reader, problems, sound)
    return given


def check_listed(
    given: list[Any], first: int, reader: PatientReader, problems: Problems, sound: bool
) -> None:
    """Add the problems of a list of patients, or of a piece of it, to the collection.

    Args:
        given: the patients under the study's names.
        first: place of the first of them in the list.
        reader: the reader of the study's patients.
        problems: the collection of problems.
        sound: whether the patients are known to be sound (see :func:`parse_json`).
    """
    # Most lists are valid, and these quick checks suffice.
    if not (sound and flat(given) and reader.names_once(given)):
        for i, patient in enumerate(given, first):
            _check_patient(patient, f"patients[{i}]", reader, problems)


def _renamed(given: Any, reader: PatientReader) -> Any:
    """Return a value given as a patient; an object gets the study's names as its keys."""
    return renamed(given, reader.renames(given)) if isinstance(given, dict) else given


def too_many(key: str) -> RequestError:
    """Return the error of a list, under a key, of too many patients."""
    problem = f"more than {MOST_PATIENTS} patients: send them in several requests"
    return RequestError(TOO_MANY, problem, [{"where": key, "problem": problem}])


def _check_patient(patient: object, where: str, reader: PatientReader, problems: Problems) -> None:
    if not isinstance(patient, dict):
        problems.add(where, f"{kind_of(patient)}: send an object of feature names and values")
        return
    for name, value in patient.items():
        if isinstance(value, (dict, list)):
            problems.add(f"{where}.{shorten(name)}", f"{kind_of(value)}: send a single value")
        elif isinstance(value, (int, float)) and not abs(value) <= LARGEST:
            problems.add(f"{where}.{shorten(name)}", "a number too large to be read")
        elif not (readable(name) and readable(value)):
            problems.add(where, "holds text that is not valid Unicode")
    for name in reader.repeated_keys(patient):
        problem = "this feature is given twice, by column and by name"
        problems.add(f"{where}.{shorten(name)}", problem)
    if reader.positions.keys().isdisjoint(patient):
        first = next(iter(reader.positions))
        problems.add(where, f"has none of the model's features, for instance '{first}'")


def check_times(
    given: object, horizon: float | None, problems: Problems, rows: int = 1
) -> tuple[float, ...] | None:
    """Return the months of a request (t,), None for the default ones; the last check of a request.

    Args:
        given: value of ``times``; None if absent.
        horizon: last month that may be asked for; None if the model has no survival endpoint.
        problems: the problems of all checks so far.
        rows: number of patients for which the months are asked for.

    Raises:
        RequestError: there are problems in any part of the request, a month lies beyond the
            horizon, or the answer would be too large.
    """
    times = _read_times(given, horizon, problems)
    problems.raise_any(INVALID, "the request cannot be read")
    for i, time in enumerate(times):
        if horizon is not None and time > horizon:
            problems.add(f"times[{i}]", f"beyond the model's horizon of {horizon:g} months")
    message = f"ask for times up to the model's horizon of {horizon or 0:g} months"
    problems.raise_any(BEYOND, message)
    if rows * len(times) > MOST_CELLS:
        problem = f"patients times months are more than {MOST_CELLS}: send fewer patients a request"
        raise RequestError(TOO_LARGE, problem, [{"where": "times", "problem": problem}], 413)
    return times or None


def _read_times(given: object, horizon: float | None, problems: Problems) -> tuple[float, ...]:
    if given is None:
        return ()
    if not isinstance(given, list):
        problems.add("times", f"{kind_of(given)}: send a list of months")
        return ()
    if len(given) > MOST_TIMES:
        problems.add("times", f"more than {MOST_TIMES} times: ask for fewer")
        return ()
    times: list[float] = []
    for i, time in enumerate(given):
        if isinstance(time, bool) or not isinstance(time, (int, float)):
            problems.add(f"times[{i}]", f"{kind_of(time)}: send a number of months")
        elif not 0 <= time < math.inf:
            problems.add(f"times[{i}]", "send a finite number of months, 0 or more")
        else:
            # An integer too large for a float is beyond any horizon.
            month = float(min(time, 1e300))
            near = round(month, MONTH_DECIMALS)
            if month != horizon and abs(near - month) > MONTH_ERROR:
                problems.add(f"times[{i}]", f"send a month of {MONTH_DECIMALS} decimals at most")
            times.append(month if month == horizon else near)
    if len({*times}) < len(times):
        problems.add("times", "a time is asked for twice")
    if times and horizon is None:
        problems.add("times", "the model has no survival endpoint: leave this key out")
    return tuple(times)
