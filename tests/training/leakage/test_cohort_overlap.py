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


def mixed(seed, known):
    """Patients of whom the first were trained on, in another order and under other names."""
    frame = draw(300, seed=seed).frame
    frame.iloc[:known] = draw(300, seed=1).frame.iloc[:known].to_numpy()
    frame = frame.sample(frac=1, random_state=seed)
    return frame.assign(patient_id=[f"Z{k}" for k in range(len(frame))])


class TestFired:
    @pytest.mark.parametrize("known", [40, 300])
    def test_patients_trained_on_are_counted(self, trained, small_cohort, known):
        found = shared(sketch(trained), build_cohort(small_cohort.study, mixed(2, known)))
        assert found.status == "fired"
        count = int(found.text.split()[1])
        assert count == pytest.approx(known, abs=12)
        assert "of the 300 patients were among the 300 of synthetic-gastric" in found.text

    def test_other_columns_and_a_renamed_identifier_do_not_hide_them(self, trained):
        raw = trained.study.describe()
        raw["id"], raw["treatment"], raw["interactions"] = "case", None, []
        raw["modalities"] = {"clinical": {k: raw["modalities"]["clinical"][k] for k in ("age",)}}
        raw["modalities"]["more"] = {"weight": {"kind": "number"}}
        raw["baselines"], raw["name"] = {}, "elsewhere"
        raw = {k: v for k, v in raw.items() if k not in ("treatment",)}
        raw["endpoints"] = {"survival": raw["endpoints"]["survival"]}
        frame = mixed(3, 300).rename(columns={"patient_id": "case"})
        frame["weight"] = np.arange(300.0)
        found = shared(sketch(trained), build_cohort(parse_study(raw, "x"), frame))
        assert found.status == "fired"

    def test_identifiers_tell_where_no_value_does(self, trained, small_cohort):
        rng = np.random.default_rng(0)
        names = [f"TCGA-{k}" for k in rng.choice(10**8, 600, replace=False)]
        first = draw(300, seed=1).frame.assign(patient_id=names[:300])
        other = draw(300, seed=2).frame.assign(patient_id=[n.lower() for n in names[250:550]])
        kept = sketch(build_cohort(small_cohort.study, first))
        found = shared(kept, build_cohort(small_cohort.study, other))
        assert found.status == "fired"
        assert "by identifier" in found.text
        assert int(found.text.split()[1]) == pytest.approx(50, abs=3)


class TestClear:
    @pytest.mark.parametrize("seed", range(10, 20))
    def test_strangers_with_the_same_running_numbers(self, trained, small_cohort, seed):
        other = build_cohort(small_cohort.study, draw(300, seed=seed).frame)
        assert set(other.ids) == set(trained.ids)
        assert shared(sketch(trained), other).status == "clear"

    def test_without_anything_in_common_it_is_not_run(self, trained, small_cohort):
        kept = sketch(trained)
        kept["ways"] = {way.replace("|", "|other_"): each for way, each in kept["ways"].items()}
        assert shared(kept, small_cohort).status == "not run"


class TestPrivacy:
    def test_the_sketch_is_plain_and_holds_no_identifier_and_no_value(self, trained):
        kept = sketch(trained)
        assert json.loads(json.dumps(kept)) == kept
        written = json.dumps(kept)
        assert not any(each in written for each in trained.ids.tolist())
        # Whole numbers below 2 to the bits, of many more values that each could stand for.
        for way in kept["ways"].values():
            assert max(way["hashes"]) < 2 ** way["bits"] <= 2 * len(trained) / 1e-3

    def test_a_stranger_meets_an_identifier_about_once_in_a_thousand(self, small_cohort):
        rng = np.random.default_rng(1)
        frame = draw(300, seed=1).frame
        kept = sketch(
            build_cohort(
                small_cohort.study,
                frame.assign(patient_id=[f"P{k}" for k in rng.choice(10**9, 300, replace=False)]),
            )
        )["ways"]["id"]
        taken = len(kept["hashes"]) / 2 ** kept["bits"]
        assert 0.0004 < taken <= 0.001
