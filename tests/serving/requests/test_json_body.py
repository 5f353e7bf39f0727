"""What is taken for JSON, and what is not."""

from __future__ import annotations

import pytest

from accomplice.serving.requests.json_body import parse_json
from accomplice.serving.requests.problems import RequestError


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{'a': 1}",
        b'{"a": NaN}',
        b'{"a": [-Infinity]}',
        b'{"a": 1}x',
        b"\xff\xfe{}",
        b"[" * 100_000,
        b'{"a": ' + b"9" * 5000 + b"}",
    ],
)
def test_what_is_not_json_is_said_to_be_so(body: bytes) -> None:
    with pytest.raises(RequestError) as caught:
        parse_json(body)
    assert caught.value.code == "not_json"


def test_a_key_given_twice_is_refused() -> None:
    with pytest.raises(RequestError, match="twice"):
        parse_json(b'{"patient": {"age": 61, "age": 16}}')


def test_a_byte_order_mark_is_skipped() -> None:
    assert parse_json(b"\xef\xbb\xbf{}") == ({}, False)


@pytest.mark.parametrize("text", ["12345678901234567890123", "-9223372036854775809", "1" * 400])
def test_an_integer_of_many_digits_stays_what_it_is(text: str) -> None:
    assert parse_json(b'{"a": [{"b": %b}]}' % text.encode()) == ({"a": [{"b": int(text)}]}, False)


def test_a_number_of_many_digits_behind_the_point_is_as_any_other() -> None:
    assert parse_json(b'{"a": 0.0012345678901234567}') == ({"a": 0.0012345678901234567}, True)
