"""One row of a patient's several."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from accomplice.data.errors import InputError
from accomplice.data.rows.barcodes import read_barcode
from accomplice.data.rows.one_per_patient import one_per_patient
from accomplice.data.study_parts import FromDates, Rows

nan = float("nan")
TABLE = pd.DataFrame(
    {
        "id": ["b", "a", "b", "a", "c"],
        "x": [1.0, 2.0, nan, 4.0, 5.0],
        "stage": ["I", "NA", "II", "III", "IV"],
        "day": [-10, -3, 0, 7, 2],
        "taken": ["2020-01-01", "2020-01-05", "2020-02-01", "2020-03-01", "2020-01-02"],
        "start": ["2020-01-10", "2020-01-10", "2020-01-10", "2020-01-10", "2020-01-10"],
        "tissue_type": ["Normal", "Primary", "Primary", "Recurrence", "Primary"],
    }
)
DATES = FromDates.model_validate({"from": "start", "to": ["x"]})


@pytest.mark.parametrize(
    ("rows", "x", "stage"),
    [
        ({"one_per_patient": "first"}, [1, 2, 5], ["I", "NA", "IV"]),
        ({"one_per_patient": "last"}, [nan, 4, 5], ["II", "III", "IV"]),
        ({"one_per_patient": "last", "prefer": "filled"}, [1, 4, 5], ["II", "III", "IV"]),
        ({"one_per_patient": "first", "prefer": "filled"}, [1, 2, 5], ["I", "III", "IV"]),
        ({"one_per_patient": "mean"}, [1, 3, 5], ["I", "III", "IV"]),
        ({"one_per_patient": "primary"}, [nan, 2, 5], ["II", "NA", "IV"]),
        ({"one_per_patient": {"latest_before": "day"}}, [nan, 2], ["II", "NA"]),
        ({"one_per_patient": {"latest_before": "taken"}}, [1, 2, 5], ["I", "NA", "IV"]),
    ],
)
def test_ways(rows, x, stage):
    asked = Rows.model_validate(rows)
    merged = one_per_patient(TABLE, "id", asked, DATES, {"na"})
    assert merged.frame["id"].tolist() == ["b", "a", "c"][: len(x)]
    np.testing.assert_array_equal(merged.frame["x"], x)
    assert merged.frame["stage"].tolist() == stage
    assert f"5 rows of {len(x)} patients" in merged.note(asked)
    assert list(merged.frame.columns) == list(TABLE.columns)


@pytest.mark.parametrize("missing", [None, nan])
@pytest.mark.parametrize("how", ["first", "mean", "primary", {"latest_before": "day"}])
def test_rows_without_an_identifier_are_no_patient(missing, how):
    table = TABLE.assign(id=["b", missing, "b", missing, "c"])
    with pytest.raises(InputError, match="column 'id': 2 rows have no id"):
        one_per_patient(table, "id", Rows(one_per_patient=how))


def test_dates_need_a_start():
    rows = Rows.model_validate({"one_per_patient": {"latest_before": "taken"}})
    with pytest.raises(InputError, match="column 'taken' holds no numbers"):
        one_per_patient(TABLE, "id", rows)


def test_rows_that_are_all_from_after_the_start_are_refused():
    rows = Rows.model_validate({"one_per_patient": {"latest_before": "x"}})
    with pytest.raises(InputError, match="by column 'x' no row is from before follow-up"):
        one_per_patient(TABLE, "id", rows)


def test_barcodes():
    samples = ["TCGA-A0-A000-11A", "TCGA-A0-A000-01B", "TCGA.A0.A000.01A", "TCGA-A1-A078-06A"]
    frame = pd.DataFrame({"s": samples, "x": [1, 2, 3, 4]})
    merged = one_per_patient(frame, "s", Rows(one_per_patient="primary"))
    assert merged.frame["s"].tolist() == ["TCGA-A0-A000", "TCGA-A1-A078"]
    assert merged.frame["x"].tolist() == [3, 4]
    assert (merged.rows, merged.normal) == (4, 1)


def test_a_recurrent_blood_cancer_is_a_tumour_but_a_control_or_cell_line_is_not():
    kinds = {"PAAAAA": "40A", "PBBBBB": "50A", "PCCCCC": "09A", "PDDDDD": "20A", "PEEEEE": "61A"}
    samples = [f"TARGET-20-{patient}-{kind}-01D" for patient, kind in kinds.items()]
    samples += ["TARGET-20-PCCCCC-40A-01D", "TARGET-20-PAAAAA-14A-01D"]
    frame = pd.DataFrame({"s": samples, "x": np.arange(7)})
    merged = one_per_patient(frame, "s", Rows(one_per_patient="primary"))
    assert merged.frame["s"].tolist() == ["TARGET-20-PAAAAA", "TARGET-20-PCCCCC"]
    assert merged.frame["x"].tolist() == [0, 2]
    assert (merged.rows, merged.normal) == (7, 4)


@pytest.mark.parametrize("text", ["P0001", "TCGA-A0", "TCGA-A0-A0001-01A", "01A"])
def test_no_barcode(text):
    assert read_barcode(text) is None
