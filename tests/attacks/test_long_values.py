"""Long values of a patient, of any shape: reading them takes time in proportion to their length."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from accomplice.data.escaping import markdown, printable, quote_cells, unquote_cells
from accomplice.data.readers.footer import is_remark, is_summary
from accomplice.serving.answers.predictor import Predictor
from accomplice.serving.requests.validation import RequestError, read_request
from tests.serving.conftest import bundle_path, study, table  # noqa: F401

#: Seconds that a value may take; one whose time grows with the square of the length takes minutes.
TIME = 4.0
#: Characters of a value.
LENGTH = 100_000
#: Texts that are repeated.
PARTS = (
    *("9", "0", "9.", "9,", "9 ", "1e", "-9", ">", "x", "a ", "a: ", "a-", " ", "\t", "'"),
    *("=", "_", "\\", "\u0660", "\uff19", "\u0130", "\u0301", "<", "|", "://", "@"),
)
#: Ends of such a text.
ENDS = ("", "x", "!", " ", "9", "\n")
VALUES = [(part * LENGTH)[:LENGTH] + end for part in PARTS for end in ENDS]


@contextmanager
def soon(what: str) -> Iterator[None]:
    def late(*_: object) -> None:
        raise AssertionError(f"{what[:6]!r}…{what[-1:]!r} takes too long")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, TIME)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def predictor(bundle_path: Path) -> Predictor:  # noqa: F811
    return Predictor.load(bundle_path, {"run_id": None, "version": None}, None)


@pytest.mark.parametrize("name", ["age", "stage", "IL1R1", "patient", "hospital", "act"])
def test_a_value_is_read_soon(predictor: Predictor, name: str) -> None:
    horizon = predictor.bundle.horizon
    for value in VALUES:
        body = json.dumps({"patient": {"sex": "male", name: value}}).encode()
        with soon(value):
            assert predictor.answers_json(read_request(body, predictor.reader, horizon))


def test_a_name_is_read_soon(predictor: Predictor) -> None:
    for value in VALUES:
        body = json.dumps({"patient": {"sex": "male", value: 1}, value: 1}).encode()
        with soon(value), pytest.raises(RequestError):
            read_request(body, predictor.reader, predictor.bundle.horizon)


def test_a_cell_is_written_soon() -> None:
    for value in VALUES:
        for start in ("", "-", "+"):
            with soon(value):
                assert unquote_cells(quote_cells([start + value])) == [start + value]
        for write in (printable, markdown):
            with soon(value):
                write(value)


def test_a_row_is_told_from_a_footer_soon() -> None:
    for value in VALUES:
        with soon(value):
            is_remark([value, "", "", ""])
            is_summary([value, "1", "", ""])
