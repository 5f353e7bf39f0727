"""Advice for a patient by the gain of the treatment."""

from __future__ import annotations

import numpy as np
import pytest

from accomplice.data.study_parts import Treatment
from accomplice.training.estimators.policy import COMMON, LIKELY, RARE, UNLIKELY, WORTH
from accomplice.training.treatment.benefit import (
    Benefit,
    abstain,
    advise,
)
from tests.training.treatment.test_benefit import (
    effects,
)

TREATMENT = Treatment(
    column="act",
    treated=("yes",),
    untreated=("no",),
    label="chemotherapy",
    eligible={"stage": ("II", "III")},
)


UNCERTAIN = "abstains: a gain above 3 points is neither likely nor unlikely"


CLEAR = {"gain": 0.1, "low": 0.05, "high": 0.15, "p_benefit": 0.95}


def said(found, propensity=0.5, option=1.0, treatment=TREATMENT):
    one = Benefit(
        *(
            np.array([v])
            for v in (found["gain"], found["low"], found["high"], 2.0, found["p_benefit"])
        )
    )
    return str(advise(one, effects([-0.4], 0.1, propensity), np.array([option]), treatment)[0])


class TestAdvice:
    @pytest.mark.parametrize(
        ("changed", "wording"),
        [
            ({}, "favours chemotherapy"),
            ({"p_benefit": LIKELY}, "favours chemotherapy"),
            ({"p_benefit": LIKELY - 1e-6}, UNCERTAIN),
            ({"p_benefit": UNLIKELY}, UNCERTAIN),
            ({"p_benefit": UNLIKELY - 1e-6}, "no clear benefit"),
            ({"gain": 0.01, "low": -0.01, "high": 0.02, "p_benefit": 0.02}, "no clear benefit"),
            ({"gain": -0.05, "low": -0.09, "high": -0.01, "p_benefit": 0.0}, "favours none"),
            ({"gain": -0.05, "low": -0.09, "high": 0.0, "p_benefit": 0.0}, "no clear benefit"),
            (
                {"gain": 0.0, "low": -WORTH - 1e-6, "high": WORTH + 1e-6, "p_benefit": 0.5},
                "abstains: the interval spans a loss and a gain of 3 points",
            ),
            ({"gain": 0.0, "low": -WORTH, "high": 0.2, "p_benefit": 0.4}, UNCERTAIN),
        ],
    )
    def test_follows_the_benefit(self, changed, wording):
        assert said(CLEAR | changed) == wording

    @pytest.mark.parametrize(
        ("propensity", "option", "wording"),
        [
            (RARE, 1.0, "favours chemotherapy"),
            (COMMON, 1.0, "favours chemotherapy"),
            (RARE - 1e-6, 1.0, "abstains: few patients like this one were treated"),
            (COMMON + 1e-6, 1.0, "abstains: few patients like this one were left untreated"),
            (0.5, np.nan, "abstains: stage unknown, which decides whether it is an option"),
            (0.5, 0.0, "abstains: chemotherapy is no option at this stage"),
            # Where several hold, the one that decides without the model is said.
            (0.01, 0.0, "abstains: chemotherapy is no option at this stage"),
            (0.99, np.nan, "abstains: stage unknown, which decides whether it is an option"),
        ],
    )
    def test_abstains_where_it_does_not_know(self, propensity, option, wording):
        assert said(CLEAR, propensity, option) == wording

    def test_an_effect_that_is_not_credible_favours_nothing_but_harm_is_said(self):
        likely, harm = (0.1, 0.05, 0.15, 2.0, 0.95), (-0.1, -0.15, -0.05, -2.0, 0.0)
        none = (0.0, -0.02, 0.02, 0.0, 0.05)
        advice = advise(
            Benefit(*np.array([likely, likely, harm, none]).T),
            effects([-0.4, -0.4, 0.4, 0.0], 0.1),
            np.array([1.0, 0.0, 1.0, 1.0]),
            TREATMENT,
            "immortal time",
        )
        assert advice.tolist() == [
            "abstains: the effect seen in training is not credible (immortal time)",
            "abstains: chemotherapy is no option at this stage",
            "favours none",
            "no clear benefit",
        ]

    def test_values_unlike_those_of_training_get_no_advice(self):
        advice = advise(
            Benefit(*np.tile([[0.1], [0.05], [0.15], [2.0], [0.95]], 3)),
            effects([-0.4] * 3, 0.1),
            np.array([1.0, 1.0, 0.0]),
            TREATMENT,
            outside=np.array([False, True, True]),
        )
        assert advice.tolist() == [
            "favours chemotherapy",
            "abstains: values are far outside those of the training patients",
            "abstains: chemotherapy is no option at this stage",
        ]

    def test_spanning_interval_gives_way_to_the_other_reasons(self):
        wide = CLEAR | {"gain": 0.0, "low": -0.2, "high": 0.2}
        assert said(wide, 0.01) == "abstains: few patients like this one were treated"
        assert said(wide, 0.5, 0.0) == "abstains: chemotherapy is no option at this stage"

    def test_names_the_study_s_own_treatment_and_features(self):
        other = TREATMENT.model_copy(
            update={"label": "radiotherapy", "eligible": {"t": ("3",), "grade": ("b",)}}
        )
        assert said(CLEAR, treatment=other) == "favours radiotherapy"
        assert said(CLEAR, option=0.0, treatment=other) == (
            "abstains: radiotherapy is no option at this t and grade"
        )

    def test_is_said_to_each_patient_alone(self):
        found = Benefit(
            *np.array([[0.1, -0.05], [0.05, -0.09], [0.15, -0.01], [2.0, -1.0], [0.95, 0.0]])
        )
        advice = advise(found, effects([-0.4, 0.4], 0.1), np.ones(2), TREATMENT)
        assert advice.tolist() == ["favours chemotherapy", "favours none"]
        assert advice.dtype.kind == "U"

    def test_model_without_an_effect_abstains_from_everything(self):
        found, advice = abstain(3, "no reason")
        assert all(np.isnan(part).all() and part.shape == (3,) for part in found)
        assert advice.tolist() == ["abstains: no reason"] * 3
