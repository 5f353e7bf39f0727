from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from accomplice.data.coding import code
from accomplice.data.rows.treatment import eligible, treated, untreated
from accomplice.data.study import parse_study
from tests.fixtures.studies import study_of

nan = np.nan


def treating(treatment, modalities):
    raw = {
        "name": "s",
        "source": {"files": ["t.csv"]},
        "endpoints": {"survival": {"os": {"time": "t", "event": "e"}}},
        "treatment": treatment,
        "modalities": modalities,
    }
    return parse_study(raw, "x")


CLINICAL = {
    "age": {"kind": "number"},
    "stage": {"kind": "ordinal", "levels": ["I", "II", "III", "IV"]},
    "site": {"kind": "category", "levels": ["body", "cardia"]},
}
WORDS = {"column": "act", "treated": ["yes", "partly"], "untreated": ["no", "refused"]}
NUMBERS = {"column": "act", "treated": ["1", 2], "untreated": [0]}


class TestTreated:
    @pytest.mark.parametrize(
        ("treatment", "feature", "cells"),
        [
            (WORDS, None, ["yes", "no", None, "refused", "partly", "perhaps"]),
            (NUMBERS, None, [1, 0, None, 0, 2, 7]),
            (NUMBERS, None, ["1", "0.0", "", "0", "2", "x"]),
            (NUMBERS, {"kind": "number"}, [1, 0, None, 0, 2, 7]),
            (
                WORDS,
                {"kind": "category", "levels": ["partly", "refused", "yes", "no"]},
                ["yes", "no", None, "refused", "partly", "perhaps"],
            ),
            (
                WORDS,
                {"kind": "category", "levels": ["yes", "no"], "map": {"x": "yes", "y": "no"}},
                ["yes", "no", None, "y", "x", "perhaps"],
            ),
            (
                WORDS,
                {"kind": "ordinal", "levels": ["no", "refused", "partly", "yes", "later"]},
                ["yes", "no", None, "refused", "partly", "later"],
            ),
        ],
    )
    @pytest.mark.parametrize("first", [False, True])
    def test_however_it_is_listed(self, treatment, feature, cells, first):
        listed = {} if feature is None else {"therapy": {"act": feature}}
        clinical = {"clinical": CLINICAL}
        study = treating(treatment, listed | clinical if first else clinical | listed)
        frame = pd.DataFrame({"act": pd.Series(cells, dtype=object), "age": 60.0})
        values = code(study, frame).values
        np.testing.assert_array_equal(treated(study, values), [1, 0, nan, 0, 1, nan])
        np.testing.assert_array_equal(values[:, study.prognostic_features[0]], 60.0)
        without = values[:1].copy()
        without[0, study.treatment_position] = untreated(study)
        assert treated(study, without).tolist() == [0]

    def test_no_treatment_is_nobodys(self):
        assert treated(study_of(age={"kind": "number"}), np.zeros((3, 1))) is None

    def test_being_untreated_is_of_studies_with_a_treatment(self):
        with pytest.raises(ValueError, match="names no treatment"):
            untreated(study_of(age={"kind": "number"}))

    def test_nobody(self):
        assert treated(treating(WORDS, {"clinical": CLINICAL}), np.empty((0, 4))).shape == (0,)

    def test_a_panel_of_thousands_is_no_matter(self):
        genes = {f"g{i}": {"kind": "number"} for i in range(3000)}
        study = treating(WORDS, {"clinical": CLINICAL, "genes": genes})
        values = np.zeros((2, 3004))
        values[0, -1] = 1
        assert treated(study, values).tolist() == [1, 0]


class TestEligible:
    def values(self, *rows):
        """Coded stage and site of some patients."""
        return np.array([[60.0, stage, site, 0.0] for stage, site in rows])

    def test_everybody_without_a_word_on_it(self):
        study = treating(WORDS, {"clinical": CLINICAL})
        assert eligible(study, self.values((0, 0), (nan, nan))).tolist() == [1, 1]
        assert eligible(study_of(age={"kind": "number"}), np.zeros((2, 1))).tolist() == [1, 1]

    def test_one_feature(self):
        study = treating(WORDS | {"eligible": {"stage": ["III", "II"]}}, {"clinical": CLINICAL})
        found = eligible(study, self.values((0, 0), (1, 0), (2, 0), (3, 0), (nan, 0)))
        np.testing.assert_array_equal(found, [0, 1, 1, 0, nan])

    @pytest.mark.parametrize("order", [("stage", "site"), ("site", "stage")])
    def test_all_of_several_features(self, order):
        wanted = {"stage": ["II"], "site": ["cardia"]}
        treatment = WORDS | {"eligible": {name: wanted[name] for name in order}}
        study = treating(treatment, {"clinical": CLINICAL})
        rows = [(1, 1), (1, 0), (0, 1), (nan, 1), (1, nan), (nan, nan), (nan, 0), (0, nan)]
        # One feature that rules it out is enough, whatever the other would say.
        np.testing.assert_array_equal(
            eligible(study, self.values(*rows)), [1, 0, 0, nan, nan, nan, 0, 0]
        )
