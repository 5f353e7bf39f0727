from __future__ import annotations

import json

import numpy as np
import pytest

from accomplice.data.cohort import build_cohort
from accomplice.data.study import parse_study
from accomplice.data.synthetic import draw
from accomplice.training.leakage.cohort_overlap import shared, sketch


@pytest.fixture(scope="module")
def trained(small_cohort):
    return build_cohort(small_cohort.study, draw(300, seed=1).frame)


@pytest.fixture(scope="module")
def many(small_cohort):
    """Patients of whom cohorts are drawn."""
    return build_cohort(small_cohort.study, draw(4000, seed=8).frame)


def mixed(seed, known):
    """Patients of whom the first were trained on, in another order and under other names."""
    frame = draw(300, seed=seed).frame
    frame.iloc[:known] = draw(300, seed=1).frame.iloc[:known].to_numpy()
    frame = frame.sample(frac=1, random_state=seed)
    return frame.assign(patient_id=[f"Z{k}" for k in range(len(frame))])


class TestFired:
    @pytest.mark.parametrize("known", [80, 300])
    def test_patients_trained_on_are_counted(self, trained, small_cohort, known):
        found = shared(sketch(trained), build_cohort(small_cohort.study, mixed(2, known)))
        assert found.status == "fired"
        count = int(found.text.split()[1])
        assert count == pytest.approx(known, abs=25)
        assert "of the 300 patients were among the 300 of synthetic-gastric" in found.text

    def test_other_columns_and_later_outcomes_do_not_hide_them(self, trained):
        raw = trained.study.describe()
        raw["id"], raw["treatment"], raw["interactions"] = "case", None, []
        clinical = raw["modalities"]["clinical"]
        raw["modalities"] = {"clinical": clinical, "more": {"weight": {"kind": "number"}}}
        raw["baselines"], raw["name"] = {}, "elsewhere"
        raw["endpoints"] = {"survival": raw["endpoints"]["survival"]}
        del raw["treatment"]
        frame = mixed(3, 300).rename(columns={"patient_id": "case"})
        frame = frame.assign(weight=np.arange(300.0), os_months=frame["os_months"] + 7)
        found = shared(sketch(trained), build_cohort(parse_study(raw, "x"), frame))
        assert found.status == "fired"

    def test_fifty_of_four_hundred_show_and_strangers_seldom(self, many):
        rng, missed, false = np.random.default_rng(4), 0, 0
        for _ in range(8):
            order = rng.permutation(len(many))
            kept = sketch(many.take(order[:400]))
            for others in np.split(order[400:2000], 4):
                mix = np.r_[rng.choice(order[:400], 50, replace=False), others[:350]]
                false += shared(kept, many.take(others)).status == "fired"
                missed += shared(kept, many.take(mix)).status != "fired"
        # Of 100 rounds with other patients 2 and 14.
        assert false <= 2
        assert missed <= 11


class TestClear:
    @pytest.mark.parametrize("seed", range(10, 20))
    def test_strangers_with_the_same_running_numbers(self, trained, small_cohort, seed):
        other = build_cohort(small_cohort.study, draw(300, seed=seed).frame)
        assert set(other.ids) == set(trained.ids)
        assert shared(sketch(trained), other).status == "clear"

    def test_without_anything_in_common_it_is_not_run(self, trained, small_cohort):
        kept = sketch(trained)
        for way in kept["ways"]:
            way["features"] = [f"other_{name}" for name in way["features"]]
        assert shared(kept, small_cohort).status == "not run"

    def test_without_a_sketch_it_is_said_to_be_unknown(self, small_cohort):
        found = shared(None, small_cohort)
        assert (found.status, found.text.split(":")[0]) == ("not run", "Unknown")


class TestPrivacy:
    def test_the_sketch_is_plain_and_holds_no_identifier_and_no_value(self, trained):
        kept = sketch(trained)
        assert json.loads(json.dumps(kept)) == kept
        assert not any(each in json.dumps(kept) for each in trained.ids.tolist())

    def test_neither_identifier_nor_outcome_is_in_a_hash(self, trained, small_cohort):
        frame = draw(300, seed=1).frame
        other = frame.assign(
            patient_id=[f"Q{k}" for k in range(300)],
            os_months=frame["os_months"][::-1].to_numpy(),
            os_event=1 - frame["os_event"],
        )
        assert sketch(build_cohort(small_cohort.study, other))["ways"] == sketch(trained)["ways"]

    def test_about_a_third_of_strangers_match(self, many):
        rng = np.random.default_rng(2)
        order = rng.permutation(len(many))
        kept = sketch(many.take(order[:400]))
        part = matched(kept, many.take(order[400:]))
        assert 0.25 < part < 0.4
        assert matched(kept, many.take(order[:400])) == 1


def matched(kept, cohort):
    """The part of the patients, of those with all values, who match in all ways."""
    from accomplice.training.leakage.cohort_overlap import _matches

    each = [_matches(way, cohort) for way in kept["ways"]]
    known = np.logical_and.reduce([known for _, known, _ in each])
    return np.logical_and.reduce([hit for hit, *_ in each])[known].mean()
