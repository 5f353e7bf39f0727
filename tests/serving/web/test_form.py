"""The form that a study makes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import ndtr

from accomplice.data.study import parse_study
from accomplice.serving.web.form import FOLDED, LISTED, WIDE, Form, Span, form_of, label_of
from accomplice.training.bundle import Bundle
from accomplice.training.run import Trained


@pytest.fixture(scope="module")
def form(bundle: Bundle) -> Form:
    return form_of(bundle)


def field(form: Form, name: str) -> Any:
    return next(f for group in form.groups for f in group.fields if f.name == name)


def test_asks_by_the_columns_of_the_study(form: Form):
    assert field(form, "age").key == "age_years"
    assert field(form, "age").help == "18 to 110"
    assert field(form, "stage").levels == ("I", "II", "III")
    assert field(form, "sex").help == ""
    assert field(form, "IL1R1").help.startswith("usually ")


def test_the_treatment_is_left_to_be_decided(form: Form):
    treatment = field(form, "act")
    assert treatment.levels == ("no", "yes")
    assert treatment.example == ""
    assert form.config["treatment"] == {
        "key": "act",
        "name": "act",
        "label": "treatment",
        "with": "yes",
        "without": "no",
    }
    assert "act" not in {f.name for f in form.sliders}


def test_the_example_is_within_what_can_be(form: Form, bundle: Bundle):
    for group in form.groups:
        for each in group.fields:
            feature = bundle.study.features[each.name]
            if each.key == "act":
                continue
            if feature.levels is not None:
                assert each.example in feature.levels
            else:
                low, high = feature.bounds
                assert low <= float(each.example) <= high
                assert each.span is not None
                assert each.span.low <= each.span.typical <= each.span.high


def test_modifiers_come_first_among_what_may_be_changed(several_trained: Trained):
    study = several_trained.bundle.study
    names = [f.name for f in form_of(several_trained.bundle).sliders]
    assert names[:3] == list(study.modifiers)[:3]
    assert len(names) == len(set(names)) == 6
    assert form_of(several_trained.bundle).config["modifier"]["name"] == "IL1R1"


def test_the_chance_that_a_modifier_adds_to_the_effect_is_the_posterior_s(several_trained: Trained):
    model = several_trained.bundle.primary
    i = 1 + model.effect.labels.index("IL1R1")
    theta, sd = model.effect.theta[i], np.sqrt(model.effect.covariance[i, i])
    more = form_of(several_trained.bundle).config["modifier"]["more"]
    assert more == pytest.approx(float(ndtr(-theta / sd)), abs=6e-4)
    # A higher value is a higher column, so that a negative slope means more effect.
    names = list(model.preprocessors[0].study.features)
    values = np.full((2, len(names)), np.nan)
    values[:, names.index("IL1R1")] = [4.0, 9.0]
    low, high = model.effect.of(values).log_hr
    assert np.sign(high - low) == np.sign(theta)


def test_labels_alone_have_a_form(labels_trained: Trained):
    form = form_of(labels_trained.bundle)
    assert form.config["endpoints"] == []
    assert form.config["times"] == []
    assert form.config["treatment"] is None
    assert [r["name"] for r in form.config["responses"]] == ["ici_response"]
    assert form.config["responses"][0]["rate"] == 0.2
    assert form.sliders


def test_a_wide_modality_is_folded_and_mostly_pasted(bundle: Bundle):
    raw = bundle.study.describe()
    raw["modalities"]["expression"] |= {f"G{i}": {"kind": "expression"} for i in range(WIDE)}
    raw["interactions"] = [["act", "G7"]]
    wide = parse_study(raw, "wide")
    made = Bundle(wide, bundle.survival, {}, bundle.config, {}, bundle.provenance)
    group = next(g for g in form_of(made).groups if g.label == "Expression")
    assert not group.open
    assert len(group.fields) == LISTED
    assert group.fields[0].name == "G7"
    assert len(group.fields) + len(group.pasted) == WIDE + 2
    assert not {f.key for f in group.fields} & set(group.pasted)
    assert FOLDED < LISTED < WIDE


@pytest.mark.parametrize(
    ("low", "high", "step"), [(0, 1, 0.02), (18, 100, 2), (5.31, 8.62, 0.05), (0, 2e-6, 5e-8)]
)
def test_sliders_have_round_steps_that_reach_both_ends(low: float, high: float, step: float):
    span = Span(low, (low + high) / 2, high)
    assert span.step == pytest.approx(step)
    ends = span.ends()
    assert ends[0] <= low < high <= ends[1]
    assert (ends[1] - ends[0]) / span.step == pytest.approx(
        round((ends[1] - ends[0]) / span.step), abs=1e-6
    )


def test_names_are_written_for_readers():
    assert label_of("t_stage") == "T stage"
    assert label_of("IL1R1") == "IL1R1"
    assert label_of("_") == "_"
