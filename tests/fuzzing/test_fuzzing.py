"""No fuzzed table is silently misread; and the judge that says so finds those that are."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from accomplice.data.cohort import Cohort
from tests.fuzzing import judge as judging
from tests.fuzzing.cases import Case, finish, new_case
from tests.fuzzing.judge import FAULTS, alike, judge, truth_of
from tests.fuzzing.kinds import KINDS, SOUND, make
from tests.fuzzing.runs import judged, planned

#: Tables of the test; ``make fuzz`` judges twenty thousand.
TABLES = 240
#: The seeds differ from those with which ``make fuzz`` begins.
SEED = 1_000_000
#: Part of the sound tables that may be stopped by a line whose option lets them pass.
STOPPED = 0.05


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Readers log what they did to each table."""
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


def test_no_table_is_misread() -> None:
    results = [judged(each) for each in planned(TABLES, SEED)]
    faults = [f"--kind '{k}' --seed {s}: {came}" for k, s, came in results if came in FAULTS]
    assert faults == []
    counts = Counter(kind for kind, _, _ in results)
    assert counts.keys() == KINDS.keys()
    assert min(counts.values()) >= TABLES // 3 * 2 // len(KINDS)
    sound = Counter(came for kind, _, came in results if kind in SOUND)
    assert sound.keys() <= {"equal", "answered"}
    assert sound["answered"] <= STOPPED * sound.total()


def test_a_seed_tells_the_whole_table(tmp_path: Path) -> None:
    files = []
    for name in ("first", "again"):
        (tmp_path / name).mkdir()
        files.append(make("sound", 5).save(tmp_path / name)[0].read_bytes())
    assert files[0] == files[1]
    assert make("sound", 6).records != make("sound", 5).records


def _plain(kind: str = "sound") -> Case:
    """Return a sound table as text of one form, with all patients."""
    case = new_case(kind, 3)
    KINDS["sound"](case)
    case.as_text()
    finish(case)
    case.sound = kind in SOUND
    return case


def _misread(monkeypatch: pytest.MonkeyPatch, field: str) -> None:
    """Have one patient of a loaded cohort differ."""
    load = judging.load_cohort

    def wrong(path: Path) -> Cohort:
        cohort = load(path)
        array = getattr(cohort, field).copy()
        if field == "ids":
            array[0] = "X"
        else:
            array[0] = ~array[0] if field == "event" else array[0] + 1
        object.__setattr__(cohort, field, array)
        return cohort

    monkeypatch.setattr(judging, "load_cohort", wrong)


@pytest.mark.parametrize("field", ["ids", "time", "event", "values"])
@pytest.mark.parametrize(("kind", "found"), [("sound", "unequal"), ("spellings", "silent")])
def test_a_misreading_is_found(
    monkeypatch: pytest.MonkeyPatch, field: str, kind: str, found: str
) -> None:
    assert judge(_plain(kind)).outcome == "equal"
    _misread(monkeypatch, field)
    verdict = judge(_plain(kind))
    assert verdict.outcome == found
    assert verdict.differences[0].startswith({"values": "value"}.get(field, field))


def test_a_lost_row_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    load = judging.load_cohort
    monkeypatch.setattr(judging, "load_cohort", lambda p: load(p).take(np.arange(30)))
    assert judge(_plain("spellings")).differences == ("rows",)


def test_a_note_excuses_only_if_it_names_the_column(monkeypatch: pytest.MonkeyPatch) -> None:
    _misread(monkeypatch, "event")
    case = _plain("spellings")
    case.excused = [("event", "means the event: \\d+ of")]
    assert judge(case).outcome == "noted"
    case = _plain("spellings")
    case.excused = [("event", "2 category")]
    assert judge(case).outcome == "silent"


def test_another_error_is_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: Path) -> Cohort:
        raise KeyError("age")

    monkeypatch.setattr(judging, "load_cohort", broken)
    verdict = judge(_plain("spellings"))
    assert verdict.outcome == "traceback"
    assert "KeyError" in verdict.text


def test_an_identifier_in_an_error_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    case = _plain("spellings")
    case.table.role("id").cells[0] = "PATIENT-0"

    def telling(path: Path) -> Cohort:
        raise judging.InputError("row PATIENT-0 is odd")

    monkeypatch.setattr(judging, "load_cohort", telling)
    assert judge(case).outcome == "leak"


def test_readings_do_not_depend_on_what_levels_are_called() -> None:
    assert alike("category", [2.0, None, 0.0, 2.0]) == alike("category", [0.0, None, 1.0, 0.0])
    assert alike("category", [2.0, 0.0, 1.0]) != alike("category", [2.0, 0.0, 2.0])
    assert alike("ordinal", [0.0, 2.0, 3.0]) == alike("ordinal", [0.0, 1.0, 2.0])
    assert alike("ordinal", [0.0, 2.0, 3.0]) != alike("ordinal", [0.0, 3.0, 2.0])
    assert alike("number", [0.0, 2.0, 3.0]) != alike("number", [0.0, 1.0, 2.0])
    assert alike("number", [1.0, 2.0, 3.0]) != alike("ordinal", [1.0, 2.0, 3.0])


def test_the_form_leaves_the_fingerprint() -> None:
    first, second = (new_case("sound", 11) for _ in range(2))
    second.form = second.form.plain()
    assert first.table.columns == second.table.columns
    assert truth_of(first).fingerprint() == truth_of(second).fingerprint()
    second.table.role("time").values[0] = 1e3
    assert truth_of(first).fingerprint() != truth_of(second).fingerprint()
