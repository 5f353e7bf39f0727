"""Codings of events."""

from __future__ import annotations

import pytest

from accomplice.data.cells.events import event_meaning, meanings
from accomplice.data.cells.missing import MISSING


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        *((t, True) for t in ("1", "Y", "TRUE", "Dead", "DOD", "Died of Disease", "1:DECEASED")),
        *((t, True) for t in ("Dead of other causes", "uncensored", "Death", "DEAD WITH TUMOR")),
        *((t, False) for t in ("0", "N", "NED", "AWD", "LIVING", "Alive with disease", "Censored")),
        *((t, False) for t in ("0:LIVING", "Lost to follow-up")),
        *((t, None) for t in ("1:LIVING", "0:DECEASED", "1: Alive", "0:dead")),
        *((t, False) for t in ("0:Dead of other causes", "0:DiseaseFree", "0:ALIVE OR DEAD")),
        *((t, None) for t in ("2", "ALIVE OR DEAD TUMOR FREE", "dead or alive tumor free", "x")),
    ],
)
def test_words(text, meaning):
    assert event_meaning(text) is meaning


def test_named_values_win():
    assert meanings(["1", "2", "NA"], MISSING, ("2",)) == [False, True, None]
    assert meanings(["1", "2", None], MISSING) == [True, "2", "None"]


def test_named_values_are_met_in_any_case():
    cells = ["DOD", "dod", "Dead  of disease", "NED"]
    assert meanings(cells, MISSING, ("DOD", "dead of disease")) == [True, True, True, False]
