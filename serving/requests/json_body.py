"""Strict parsing of a request's JSON; no error text made here holds a submitted value."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import chain
from typing import Any, NoReturn

import orjson

from accomplice.serving.requests.problems import INVALID, RequestError

#: Error code of a body that is not JSON.
NOT_JSON = "not_json"
#: Types of JSON values that contain other values.
CONTAINERS = frozenset({dict, list})
#: Bound below which orjson parses every number without a point as an integer.
LONGEST_WHOLE = 1e18
#: Shortest run of digits that may be an integer beyond that bound, each digit replaced by 0.
LONG = b"0" * 19
#: Translation table that turns every digit into 0.
DIGITS = bytes.maketrans(b"0123456789", b"0" * 10)


def parse_json(body: bytes) -> tuple[Any, bool]:
    """Parse JSON strictly: UTF-8, no NaN or Infinity, no key twice in an object.

    Returns:
        The value, and whether it is known to be sound: all its numbers are finite, and all its
        texts valid Unicode.

    Raises:
        RequestError: the body is not such JSON, or holds a number or an object that is too large.
    """
    quick = _parse_quickly(body)
    if quick is not None:
        return quick, True
    try:
        text = body.decode("utf-8-sig")
        parsed = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_object)
        return parsed, False
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
    """Parse by orjson, several times as fast; None if the strict parser could differ or refuse.

    orjson keeps the last of two equal keys and makes floats of very long integers. Every key is
    followed by a colon: if there are no more colons than keys, no key was lost.
    """
    try:
        parsed = orjson.loads(body)
        keys = _count_keys(parsed)
    except (orjson.JSONDecodeError, _TooDeepError):
        return None
    if LONG in body.translate(DIGITS) and _has_long(parsed):
        return None
    return parsed if keys == body.count(b":") else None


class _TooDeepError(Exception):
    """Nesting too deep for the quick parser."""


def _count_keys(value: Any, levels: int = 4) -> int:
    """Return the number of keys of all objects in a parsed value.

    Raises:
        _TooDeepError: it is nested more than ``levels`` deep.
    """
    if type(value) not in CONTAINERS:
        return 0
    count, parts = (len(value), value.values()) if isinstance(value, dict) else (0, value)
    if CONTAINERS.isdisjoint(map(type, parts)):
        return count
    if flat(parts):
        return count + sum(map(len, parts))
    if not levels:
        raise _TooDeepError
    return count + sum(_count_keys(part, levels - 1) for part in parts)


def _has_long(value: Any) -> bool:
    """Whether a number in a parsed value may have been an integer of many digits."""
    if type(value) in CONTAINERS:
        return any(map(_has_long, value.values() if isinstance(value, dict) else value))
    return isinstance(value, float) and abs(value) > LONGEST_WHOLE


def _refuse_constant(_: str) -> NoReturn:
    raise RequestError(
        NOT_JSON, "NaN and Infinity are not JSON: send null, or leave out an unknown value"
    )


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of keys and values; refuse a key that stands twice."""
    parsed = dict(pairs)
    if len(parsed) < len(pairs):
        raise RequestError(INVALID, "an object in the body names a key twice: name it once")
    return parsed


def flat(objects: Iterable[Any]) -> bool:
    """Whether all values are objects that contain no objects or lists."""
    if not {*map(type, objects)} <= {dict}:
        return False
    return CONTAINERS.isdisjoint(map(type, chain.from_iterable(map(dict.values, objects))))


def kind_of(value: object) -> str:
    """Return the kind of a JSON value in words, without the value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    names = {dict: "an object", list: "a list", str: "a text", int: "a number", float: "a number"}
    return names[type(value)]


def readable(value: object) -> bool:
    """Whether a value is no text or valid Unicode: JSON's escapes can encode half a character."""
    if not isinstance(value, str) or value.isascii():
        return True
    return not any("\ud800" <= letter <= "\udfff" for letter in value)
