"""Cohorts of several endpoints, and of labels alone."""

import copy

import numpy as np
import pandas as pd
import pytest
import yaml

from accomplice.data.cohort import Cohort, build_cohort, build_patients
from accomplice.data.errors import InputError
from accomplice.data.loading import load_cohort, load_endpoints
from accomplice.data.study import parse_study
from tests.data.test_cohort import (
    RAW,
    study,
    table,
)


def several(**dfs):
    """A study of OS and DFS, and its table: the third patient was never free of disease."""
    raw = copy.deepcopy(RAW)
    declared = {"time": "dfs", "event": "relapse", "drop_without_follow_up": True}
    raw["endpoints"]["survival"]["dfs"] = declared | dfs
    frame = table().assign(dfs=[6.0, 24.0, None, 36.0], relapse=[1, 0, None, 1])
    return parse_study(raw, "x"), frame


class TestSeveralEndpoints:
    def test_each_has_its_own_patients(self):
        cohort = build_cohort(*several(), further=True)
        assert (cohort.endpoint, len(cohort), cohort.left_out) == ("os", 4, 0)
        (dfs,) = cohort.further.values()
        assert (dfs.endpoint, dfs.left_out) == ("dfs", 1)
        assert dfs.ids.tolist() == ["007", "b", "d"]
        assert dfs.time.tolist() == [6, 24, 36]
        assert dfs.event.tolist() == [True, False, True]
        np.testing.assert_array_equal(dfs.values, cohort.values[[0, 1, 3]])
        np.testing.assert_array_equal(dfs.binary["response"], [1, 0, 1])
        assert dfs.further == {}

    def test_the_named_one_comes_first(self):
        cohort = build_cohort(*several(), "dfs", further=True)
        assert (cohort.endpoint, len(cohort), list(cohort.further)) == ("dfs", 3, ["os"])
        assert len(cohort.further["os"]) == 4

    def test_its_own_endpoint_is_the_cohort_itself(self):
        cohort = build_cohort(*several())
        assert cohort.with_endpoint("os") is cohort
        with pytest.raises(InputError, match="loaded without 'dfs'"):
            cohort.with_endpoint("dfs")

    def test_others_are_read_on_request_alone(self):
        study, frame = several(drop_without_follow_up=False)
        assert build_cohort(study, frame).further == {}
        with pytest.raises(InputError, match="'dfs', 'relapse': 1 of 4 patients have no follow-up"):
            build_cohort(study, frame, further=True)

    def test_are_in_the_order_of_identifiers_too(self):
        study, frame = several()
        cohort = build_cohort(study, frame.iloc[[2, 3, 1, 0]], further=True)
        assert cohort.ids.tolist() != sorted(cohort.ids)
        found = cohort.in_order()
        assert found.ids.tolist() == sorted(cohort.ids)
        assert found.fingerprint() == cohort.fingerprint()
        some = found.take(found.ids != "b")
        assert some.fingerprint() == cohort.take(cohort.ids != "b").fingerprint()
        assert found.in_order().further["dfs"].ids.tolist() == ["007", "b", "d"]

    def test_take_leaves_the_others(self):
        assert build_cohort(*several(), further=True).take(np.array([1, 0])).further == {}

    def test_are_counted_and_told(self):
        cohort = build_cohort(*several(), further=True)
        assert cohort.counts == {
            "patients": 4,
            "events": 2,
            "response_labels": 3,
            "dfs_patients": 3,
            "dfs_events": 2,
        }
        assert cohort.outcomes == "2 events (os), 2 of 3 patients (dfs)"

    def test_fingerprint_sees_the_others(self):
        study, frame = several()
        whole = build_cohort(study, frame, further=True).fingerprint()
        later = build_cohort(study, frame.assign(dfs=[7.0, 24.0, None, 36.0]), further=True)
        assert whole != later.fingerprint()
        assert whole != build_cohort(study, frame).fingerprint()
        assert build_cohort(study, frame).fingerprint() == (
            build_cohort(study, frame.assign(dfs=5.0, relapse=1)).fingerprint()
        )


class TestLabelsAlone:
    @staticmethod
    def alone():
        raw = copy.deepcopy(RAW)
        del raw["endpoints"]["survival"]
        return parse_study(raw, "x")

    def test_patients_need_no_follow_up(self):
        patients = build_patients(self.alone(), table().drop(columns=["months", "dead"]))
        assert not isinstance(patients, Cohort)
        assert (len(patients), patients.left_out, patients.target) == (4, 0, "response")
        np.testing.assert_array_equal(patients.binary["response"], [1, 0, np.nan, 1])
        np.testing.assert_array_equal(patients.values, build_cohort(study(), table()).values)
        assert patients.counts == {"patients": 4, "response_labels": 3}
        assert patients.outcomes == "2 positive and 1 negative (response)"

    def test_are_taken_blinded_and_fingerprinted_like_others(self):
        patients = build_patients(self.alone(), table())
        assert patients.take(np.array([2, 0])).ids.tolist() == ["c", "007"]
        assert patients.prognostic().values.shape == (4, 3)
        other = build_patients(self.alone(), table().assign(recist="CR"))
        assert patients.fingerprint() != other.fingerprint()

    def test_are_checked_like_others(self):
        with pytest.raises(InputError, match="1 rows repeat a patient"):
            build_patients(self.alone(), pd.concat([table(), table().head(1)]))
        with pytest.raises(InputError, match="'age': 1 values lie outside 0 to 120"):
            build_patients(self.alone(), table().assign(age=[61, 50, 1, 700]))

    def test_are_loaded_where_no_survival_is_named(self, tmp_path):
        path = tmp_path / "study.yaml"
        table().to_csv(tmp_path / "t.csv", index=False)
        described = self.alone().model_dump(mode="json", exclude_none=True)
        path.write_text(yaml.safe_dump(described))
        assert len(load_endpoints(path)) == 4
        for load in (load_cohort, lambda p: load_endpoints(p, "os")):
            with pytest.raises(InputError, match=r"has no survival endpoint, which tune, marker"):
                load(path)
        path.write_text(yaml.safe_dump(study().model_dump(mode="json", exclude_none=True)))
        assert isinstance(load_endpoints(path), Cohort)
