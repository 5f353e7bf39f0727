"""Long lists of patients, read in pieces: other requests wait while the parser holds the GIL.

The parser takes some 10 ms for a MB, in which no other request proceeds. A long body is therefore
cut at the ends of its patients, which are objects of single values and are recognised by a pattern.
Each piece is parsed and checked by itself, and again when it is answered, so that the values of a
long list are never all in memory.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, overload

from accomplice.serving.requests.json_body import NOT_JSON, parse_json
from accomplice.serving.requests.patient_reader import PatientReader, renamed
from accomplice.serving.requests.problems import INVALID, RequestError
from accomplice.serving.requests.schemas import MOST_PATIENTS
from accomplice.serving.requests.validation import (
    CheckedRequest,
    check_listed,
    check_times,
    open_request,
    too_many,
)

#: Minimum size in bytes of the body of a long list.
LONG_LIST = 2**20
#: Bytes of a piece that is parsed at once.
PIECE = 2**16
#: Maximum size in bytes of one patient of a long list, and of all else in its body.
LONGEST_PATIENT, LONGEST_REST = 2**21, 2**16

#: Blanks of JSON.
BLANK = rb"[ \t\n\r]*+"
#: Beginning of a body: all until the list's first patient. Months may come before it.
BEGINNING = re.compile(
    rb'%b\{%b(?:"times"%b:%b(?:null|\[[^\[\]{}"]*+\])%b,%b)?+"patients"%b:%b\[%b'.replace(
        b"%b", BLANK
    )
)
#: A patient: an object whose values are single ones.
PATIENT = re.compile(rb'\{[^{}\[\]"]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^{}\[\]"]*+)*+\}', re.DOTALL)
#: All between two patients, or before the end of the list.
NEXT = re.compile(rb"%b(?:,%b(?=\{)|(?=\]))".replace(b"%b", BLANK))

#: Message about a body of another form.
OTHER_FORM = (
    'the body of a long list cannot be read: send {"patients": [{…}, …], "times": […]} in this '
    "order, with single values in each patient"
)


class ListedPatients(Sequence[dict[str, Any]]):
    """Patients of a long list, parsed when they are asked for.

    Args:
        body: the JSON of the request.
        places: beginning and end of each patient in it.
        names: key -> the study's name, of each patient's keys that are other spellings of one.
    """

    def __init__(
        self,
        body: bytes,
        places: Sequence[tuple[int, int]],
        names: Sequence[Mapping[str, str]],
    ):
        self._body, self._places, self._names = body, places, names

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, place: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, place: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, place: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        if isinstance(place, int):
            return self[place : place + 1 or None][0]
        parsed: list[dict[str, Any]] = []
        for _, begin, end in _pieces(self._places[place]):
            parsed += parse_json(b"[%b]" % self._body[begin:end])[0]
        return [*map(renamed, parsed, self._names[place])]


def read_long_list(body: bytes, reader: PatientReader, horizon: float | None) -> CheckedRequest:
    """Parse and check a request for predictions of many patients.

    Args:
        body: the JSON that was sent.
        reader: the reader of the study's patients.
        horizon: last month that may be asked for; None if the model has no survival endpoint.

    Raises:
        RequestError: the request is invalid, or of another form than `OTHER_FORM` says.
    """
    places, rest = split(body)
    raw, problems, _ = open_request(rest, ("patients", "times"))
    if not places:
        problems.add("patients", "an empty list: send at least one patient")
    names: list[Mapping[str, str]] = []
    for first, begin, end in _pieces(places):
        if problems.full:
            break
        patients, sound = _parse(body[begin:end], first)
        names += map(reader.renames, patients)
        patients = [*map(renamed, patients, names[first:])]
        check_listed(patients, first, reader, problems, sound)
        # The interpreter's lock is free for a moment.
        time.sleep(0)
    times = check_times(raw.get("times"), horizon, problems, len(places))
    return CheckedRequest(ListedPatients(body, places, names), times)


def split(body: bytes) -> tuple[list[tuple[int, int]], bytes]:
    """Return beginning and end of each patient in a body, and the JSON of all but the patients.

    Args:
        body: the JSON that was sent.

    Raises:
        RequestError: the body is of another form, or has too many patients.
    """
    match = BEGINNING.match(body, 0, LONGEST_REST)
    if match is None:
        raise RequestError(INVALID, OTHER_FORM)
    begin = place = match.end()
    places: list[tuple[int, int]] = []
    while body[place : place + 1] != b"]":
        if len(places) == MOST_PATIENTS:
            raise too_many("patients")
        patient = PATIENT.match(body, place, place + LONGEST_PATIENT)
        after = patient and NEXT.match(body, patient.end(), patient.end() + LONGEST_REST)
        if patient is None or after is None:
            where = f"patients[{len(places)}]"
            problem = f"no object of single values, or longer than {LONGEST_PATIENT} bytes"
            details = [{"where": where, "problem": problem}]
            raise RequestError(INVALID, f"{OTHER_FORM}: {where}: {problem}", details)
        places.append(patient.span())
        place = after.end()
    rest = body[:begin] + body[place:]
    if len(rest) > LONGEST_REST:
        raise RequestError(INVALID, OTHER_FORM)
    return places, rest


def _parse(piece: bytes, first: int) -> tuple[list[dict[str, Any]], bool]:
    """Return the patients of a piece of a list, and whether they are known to be sound.

    Args:
        piece: their JSON, without brackets.
        first: place of the first of them in the list.

    Raises:
        RequestError: the piece is not JSON, or a patient has a key twice.
    """
    try:
        return parse_json(b"[%b]" % piece)
    except RequestError as error:
        if error.code != NOT_JSON:
            raise
        raise RequestError(NOT_JSON, f"{error.message}, from patients[{first}] on") from None


def _pieces(places: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """Yield the number of the first patient, the beginning and the end of each piece."""
    first = 0
    for i, (_, end) in enumerate(places):
        if end - places[first][0] >= PIECE or i == len(places) - 1:
            yield first, places[first][0], end
            first = i + 1
