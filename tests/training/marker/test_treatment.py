"""A treatment that was not randomised: the alarm, immortal time, and the marker's interaction."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from accomplice.data.cohort import build_cohort
from accomplice.data.study import parse_study
from accomplice.training.marker.treatment import (
    Modification,
    TreatmentEffect,
    modification,
    treatment_effect,
)

STUDY = {
    "name": "made-up",
    "source": {"files": ["x.csv"]},
    "endpoints": {"survival": {"os": {"time": "months", "event": "died", "horizon": 120}}},
    "treatment": {
        "column": "drug",
        "treated": ["yes"],
        "untreated": ["no"],
        "expected_hr": [0.55, 1.0],
        "expected_hr_source": "made-up trials",
    },
    "modalities": {"clinical": {"age": {"kind": "number"}}, "m": {"x": {"kind": "number"}}},
}


def made_up(n, effect, *, interaction=0.0, immortal=False, seed=0):
    """Patients whose treatment has a log hazard ratio ``effect`` + ``interaction`` x."""
    rng = np.random.default_rng(seed)
    age, x, treated = rng.normal(size=n), rng.normal(size=n), rng.integers(0, 2, n)
    death = rng.exponential(25 * np.exp(-0.3 * age - treated * (effect + interaction * x)))
    if immortal:
        treated[death < 3] = 0
    left = rng.uniform(10, 120, n)
    frame = pd.DataFrame(
        {
            "age": age,
            "x": x,
            "drug": pd.Series(np.where(treated, "yes", "no")).mask(rng.random(n) < 0.1),
            "months": np.minimum(death, left) + 0.01,
            "died": (death <= left).astype(int),
        }
    )
    return build_cohort(parse_study(STUDY, "made-up"), frame)


def effect_of(cohort, **treatment):
    described = cohort.study.treatment.model_copy(update=treatment)
    cohort = replace(cohort, study=cohort.study.model_copy(update={"treatment": described}))
    return treatment_effect(cohort, {"clinical": (cohort.values[:, [0]],)})


def modified(cohort):
    return modification(cohort, cohort.values[:, 1], (cohort.values[:, [0]],), 1.55)


def test_a_randomised_effect_within_the_range_raises_no_alarm():
    found = effect_of(made_up(1500, np.log(0.75)))
    assert isinstance(found, TreatmentEffect)
    assert found.ratios["clinical"].value == pytest.approx(0.75, rel=0.15)
    assert not found.alarm
    assert list(found.ratios) == ["nothing", "clinical", "clinical (landmark 2 months)"]


def test_an_effect_out_of_range_raises_it():
    found = effect_of(made_up(1500, np.log(0.3)))
    assert found.alarm
    assert "clinical" in found.outside
    without = effect_of(made_up(1500, np.log(0.3)), expected_hr=None)
    assert not without.alarm
    assert without.trials is None


def test_immortal_time_raises_it_though_the_effect_is_credible():
    found = effect_of(made_up(1500, 0, immortal=True))
    assert found.early.treated.events == 0
    assert found.immortal_p < 0.001
    assert found.alarm
    crude, landmark = found.ratios["nothing"], found.ratios["clinical (landmark 2 months)"]
    assert crude.value < landmark.value


def test_a_landmark_that_nobody_reaches_is_not_determined():
    cohort = made_up(300, 0)
    found = effect_of(cohort, expected_hr=(0.1, 9.0), landmark=500.0)
    assert not found.ratios["clinical (landmark 500 months)"].known
    assert not found.outside


def test_the_interaction_is_recovered():
    found = modified(made_up(3000, -0.5, interaction=0.4))
    assert isinstance(found, Modification)
    assert found.interaction.low < np.exp(0.4) < found.interaction.high
    assert found.low.value < found.high.value
    assert found.contrast.log == pytest.approx(found.high.log - found.low.log)
    assert found.design.power > 0.8
    assert found.design.se == found.interaction.se
    # The halves' means of a normal marker are 1.6 SD apart.
    assert found.design.plausible == pytest.approx(1.55 ** (1 / 1.6), rel=0.02)


def test_the_interaction_counts_from_the_landmark_on_and_where_the_treatment_is_an_option():
    cohort = made_up(800, -0.5)
    late = cohort.take(cohort.time > 2)
    assert modified(cohort) == modified(late)
    assert modified(cohort).treated < int((cohort.treated == 1).sum())
    levels = [str(level) for level in (0, 1)]
    raw = {**STUDY, "treatment": {**STUDY["treatment"], "eligible": {"grade": ["1"]}}}
    raw["modalities"] = {
        **STUDY["modalities"], "grade": {"grade": {"kind": "ordinal", "levels": levels}}
    }  # fmt: skip
    study = parse_study(raw, "made-up")
    grade = np.arange(800) % 2
    place = list(study.features).index("grade")
    graded = replace(cohort, study=study, values=np.insert(cohort.values, place, grade, axis=1))
    found, alone = modified(graded), modified(cohort.take(grade == 1))
    assert found == alone
    assert effect_of(graded).no_option == int((~np.isnan(cohort.treated[grade == 0])).sum())


def test_an_effect_that_differs_by_age_is_not_taken_for_the_markers():
    rng = np.random.default_rng(0)
    cohort = made_up(4000, -0.5, interaction=0.5)
    # A marker that only follows x, by which the effect differs.
    follows = 0.8 * cohort.values[:, 1] + 0.6 * rng.normal(size=len(cohort))
    both = (cohort.values[:, :2],)
    found = modification(cohort, follows, both, 1.55)
    assert not found.interaction.certain
    assert modification(cohort, follows, (cohort.values[:, [0]],), 1.55).interaction.certain


def test_too_few_events_in_an_arm_are_said_to_be():
    cohort = made_up(40, 0)
    few = cohort.take(np.flatnonzero((cohort.treated == 0) | ~cohort.event))
    assert "too few" in effect_of(few)
    assert "too few" in modified(few)


def test_a_treatment_that_works_from_the_first_day_is_no_immortal_time():
    found = effect_of(made_up(6000, np.log(0.65), seed=3))
    assert found.early.treated.share < found.early.untreated.share
    assert found.immortal_p > 0.05
