"""Cells that begin with the name of what they hold."""

from __future__ import annotations

import pandas as pd
import pytest

from accomplice.data.cells.keys import keys_of, without_keys


@pytest.mark.parametrize(
    ("cells", "key"),
    [
        (["age: 66", "age: 71", None], "age"),
        (["OS (months): 3", "OS (months): "], "OS (months)"),
        (["stage: II", "grade: 2"], None),
        (["1:DECEASED", "1:DECEASED"], None),
        (["10:30", "10:45"], None),
        ([1, 2], None),
        (["a", "age: 3"], None),
    ],
)
def test_a_key_is_shared_by_all(cells, key):
    frame = pd.DataFrame({"c": cells})
    assert keys_of([frame]).get("c") == key
    if key is None:
        assert without_keys(frame, keys_of([frame])) is frame


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_a_key_is_that_of_all_parts(rows):
    cells = {
        "shared": [None, "age: 1", "Age: 2"],
        "late": ["age: 1", "age: 2", "old"],
        "empty": [None, None, None],
        "number": [1, 2, 3],
    }
    frame = pd.DataFrame(cells).astype({"empty": object})
    parts = [frame[start : start + rows] for start in range(0, 3, rows)]
    assert keys_of(parts).keys() == keys_of([frame]).keys() == {"shared"}


def test_values():
    frame = pd.DataFrame({"c": ["age: 66", None], "d": [1, 2]})
    plain = without_keys(frame, keys_of([frame]))["c"]
    assert plain.tolist()[0] == "66"
    assert plain.isna().tolist() == [False, True]
