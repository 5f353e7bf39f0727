"""A model's features found in another cohort's study file: names, genes, codes, levels, scales."""

from __future__ import annotations

import numpy as np
import pytest

from accomplice.data.cohort import build_cohort
from accomplice.data.drafting.draft import draft_study, render_study
from accomplice.data.errors import InputError
from accomplice.data.loading import load_cohort
from accomplice.data.matching.equality import same_levels
from accomplice.data.matching.match import AS_TREATMENT, match_features, match_patients, translate
from accomplice.data.matching.scales import on_own_scale, outside
from accomplice.data.panels.panel import load_panel
from accomplice.data.preprocessing.preprocessor import Preprocessor
from accomplice.data.study import parse_study
from accomplice.data.study_parts import Feature
from accomplice.data.synthetic import draw


def study(features, **more):
    return parse_study(
        {
            "name": "made-up",
            "source": {"files": ["x.csv"]},
            "endpoints": {"survival": {"os": {"time": "months", "event": "died"}}},
            "modalities": {"clinical": features},
            **more,
        },
        "made-up",
    )


def category(*levels):
    return {"kind": "category", "levels": list(levels)}


def ordinal(*levels):
    return {"kind": "ordinal", "levels": list(levels)}


AGE = {"kind": "number", "unit": "years"}
EXPRESSION = {"kind": "expression"}


def sources(ours, theirs, named=None):
    return {m.feature: m.source for m in match_features(study(ours), study(theirs), named)}


def test_a_name_counts_before_all_else():
    ours = {"age": AGE, "stage": ordinal("I", "II")}
    theirs = {"Age": AGE, "stage": ordinal("I", "II"), "stage_raw": ordinal("I", "II")}
    assert sources(ours, theirs) == {"age": "Age", "stage": "stage"}


def test_a_column_counts_where_names_differ():
    theirs = {"years": {**AGE, "column": "AGE_DX"}, "other": {"kind": "number"}}
    assert sources({"mine": {**AGE, "column": "AGE_DX"}}, theirs) == {"mine": "years"}


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"CD8A": EXPRESSION}, {"CD8A_log2_tme": EXPRESSION}),
        ({"IL1R1": EXPRESSION}, {"IL-1R1": EXPRESSION}),
        ({"stage_raw": ordinal("I", "II", "III")}, {"tnm": ordinal("I", "II", "III")}),
        ({"pT": ordinal("T1", "T2")}, {"t_stage": ordinal("1", "2")}),
        ({"age": AGE}, {"age_at_diagnosis": AGE}),
        ({"gender": category("F", "M")}, {"sex": category("Female", "Male")}),
    ],
)
def test_the_panels_know_what_is_the_same(ours, theirs):
    assert list(sources(ours, theirs).values()) == list(theirs)


def test_a_gene_by_another_assay_is_another_feature():
    theirs = {"CD8_ihc": {"kind": "density"}, "age": AGE}
    assert sources({"CD8A": EXPRESSION, "age": AGE}, theirs)["CD8A"] is None


def test_what_could_be_several_is_left_missing_and_listed():
    theirs = {"CD8A_tpm": EXPRESSION, "CD8A_fpkm": EXPRESSION, "age": AGE}
    found = match_features(study({"CD8A": EXPRESSION, "age": AGE}), study(theirs))
    assert found[0].source is None
    assert found[0].candidates == ("CD8A_tpm", "CD8A_fpkm")
    assert "not certain" in found[0].how
    named = sources({"CD8A": EXPRESSION, "age": AGE}, theirs, {"CD8A": "CD8A_fpkm"})
    assert named["CD8A"] == "CD8A_fpkm"


def test_two_of_the_model_s_for_one_of_theirs_are_not_certain_either():
    ours = {"CD8A_tpm": EXPRESSION, "CD8A_fpkm": EXPRESSION, "age": AGE}
    found = match_features(study(ours), study({"CD8A": EXPRESSION, "age": AGE}))
    assert [m.source for m in found] == [None, None, "age"]


@pytest.mark.parametrize(
    ("theirs", "why"),
    [
        ({"kind": "category", "levels": ["no", "yes"]}, "of kind 'category' there, 'number'"),
        ({"kind": "number", "unit": "months"}, "in months there, in years"),
    ],
)
def test_kinds_and_units_must_agree(theirs, why):
    ours = {"age": AGE, "sex": category("F", "M")}
    found = match_features(study(ours), study({"age": theirs, "sex": category("F", "M")}))
    assert found[0].source is None
    assert why in found[0].how


@pytest.mark.parametrize(
    ("name", "ours", "theirs", "expected"),
    [
        ("sex", ["Female", "Male"], ["F", "M"], {"F": "Female", "M": "Male"}),
        ("lauren", ["diffuse", "mixed"], ["Diffuse", "Mixed"], None),
        ("stage", ["I", "II", "IV"], ["1", "IIA", "IIB", "4"], ["I", "II", "II", "IV"]),
        ("grade", ["G1", "G2", "G3"], ["WD", "signet", "PD"], {"WD": "G1", "PD": "G3"}),
        ("site", ["antrum", "body"], ["Antrum/Distal", "Fundus/Body"], ["antrum", "body"]),
        ("msi", ["MSS", "MSI-H"], ["stable", "MSI"], {"stable": "MSS", "MSI": "MSI-H"}),
        ("x", ["low", "high"], ["Low risk", "HIGH"], {"Low risk": "low", "HIGH": "high"}),
        ("x", ["I", "II"], ["III", "IV"], {}),
        ("x", ["type A", "type B"], ["type", "none"], {}),
        ("stage", ["IIA", "IIB", "III"], ["II", "III"], {"III": "III"}),
    ],
)
def test_levels_are_translated(name, ours, theirs, expected):
    pair = [(name, Feature(kind="category", levels=tuple(levels))) for levels in (ours, theirs)]
    if not isinstance(expected, dict):
        expected = dict(zip(theirs, expected or ours, strict=True))
    assert same_levels(*pair, load_panel()) == expected


def test_other_classes_under_the_same_name_are_not_the_same():
    ours = {"subtype": category("CIN", "EBV", "GS", "MSI"), "age": AGE}
    theirs = {"subtype": category("EMT", "MSI", "MSS"), "age": AGE}
    found = match_features(study(ours), study(theirs))
    assert found[0].source is None
    assert "only 'MSI'" in found[0].how


class TestRefusals:
    ours, theirs = study({"age": AGE, "CD8A": EXPRESSION}), study({"years": AGE, "n": AGE})

    def test_nothing_found(self):
        with pytest.raises(InputError, match=r"none of the model's features.*--map age="):
            match_features(self.ours, study({"weight": {"kind": "number"}}))

    def test_an_unknown_name(self):
        with pytest.raises(InputError, match="no feature 'agee'; did you mean 'age'"):
            match_features(self.ours, self.theirs, {"agee": "years"})
        with pytest.raises(InputError, match="no feature 'year'; did you mean 'years'"):
            match_features(self.ours, self.theirs, {"age": "year"})

    def test_another_kind(self):
        with pytest.raises(InputError, match="'years' is of kind 'number', 'CD8A' of kind 'exp"):
            match_features(self.ours, self.theirs, {"CD8A": "years"})

    def test_no_level_in_common(self):
        with pytest.raises(InputError, match="none of the levels of 'b'"):
            match_features(
                study({"a": category("x", "y")}), study({"b": category("p", "q")}), {"a": "b"}
            )


@pytest.fixture(scope="module")
def other(small_cohort):
    raw = small_cohort.study.model_dump(mode="json", exclude_defaults=True)
    clinical = raw["modalities"]["clinical"]
    clinical["gender"] = {"kind": "category", "levels": ["M", "F"]}
    del clinical["sex"], raw["baselines"]
    clinical["tnm"] = {"kind": "ordinal", "levels": ["1", "2", "3", "4"]}
    del clinical["stage"]
    raw["treatment"] = {
        "column": "chemo",
        "treated": [1],
        "untreated": [0],
        "label": "chemotherapy",
    }
    raw["interactions"] = []
    raw["modalities"]["il1r1"] = {"il1r1_rna": {"kind": "expression"}}
    raw["endpoints"]["binary"] = {}
    frame = draw(240, seed=11).frame
    frame = frame.assign(
        gender=frame["sex"].map({"Female": "F", "Male": "M"}),
        tnm=frame["stage"].map({"I": 1, "II": 2, "III": 3, "IV": 4}),
        chemo=frame["act"].map({"yes": 1, "no": 0}),
        il1r1_rna=frame["IL1R1"],
    )
    return build_cohort(parse_study(raw, "other"), frame)


class TestPatients:
    """A cohort with other names and spellings is read as the model's own would be."""

    def test_they_are_coded_as_the_model_s_own(self, small_cohort, other):
        found = match_features(small_cohort.study, other.study)
        assert all(m.source for m in found)
        assert found[-1].how == AS_TREATMENT
        values = translate(found, small_cohort.study, other)
        np.testing.assert_array_equal(values, small_cohort.values)

    def test_shares_are_told(self, small_cohort, other):
        blind = small_cohort.prognostic()
        fitted = Preprocessor.fit(blind.study, blind.values)
        matching = match_patients(small_cohort.study, fitted, other)
        known = (~np.isnan(small_cohort.values)).mean(axis=0)
        np.testing.assert_allclose([m.known for m in matching.matches], known)
        assert not matching.missing
        assert matching.absent_modalities == ()

    def test_a_number_of_another_unit_is_left_out(self, small_cohort, other):
        blind = small_cohort.prognostic()
        fitted = Preprocessor.fit(blind.study, blind.values)
        days = list(other.study.features).index("age")
        values = other.values.copy()
        values[:, days] *= 365
        wrong = parse_study(other.study.model_dump(mode="json"), "x")
        changed = type(other)(**{**vars(other), "values": values, "study": wrong})
        matching = match_patients(small_cohort.study, fitted, changed)
        age = matching.matches[0]
        assert (age.feature, age.source, age.candidates) == ("age", None, ("age",))
        assert "another unit" in age.how
        assert np.isnan(matching.values[:, 0]).all()
        kept = match_patients(small_cohort.study, fitted, changed, {"age": "age"})
        assert kept.matches[0].outside > 0.5


def test_expression_is_ranked_in_a_new_cohort_as_in_a_large_centre_of_training():
    rng = np.random.default_rng(3)
    features = study({"age": AGE, "A": EXPRESSION, "B": EXPRESSION})
    old, new = rng.normal(size=(300, 3)), rng.normal(size=(200, 3))
    fitted = Preprocessor.fit(features, old)
    abroad = new * [1, 5, 0.1] + [0, 40, -3]
    abroad[:170, 2] = np.nan
    moved = on_own_scale(fitted, abroad, None)
    together = Preprocessor.fit(
        features, np.concatenate([old, abroad]), np.repeat(["", "new"], [300, 200])
    )
    np.testing.assert_allclose(moved.reference[""][:, 1], together.reference["new"][:, 1])
    # Too few patients have B: the training scale stays.
    np.testing.assert_array_equal(moved.reference[""][:, 2], fitted.reference[""][:, 2])
    ranked = moved.scale(abroad)[:, 1]
    assert abs(ranked.mean()) < 0.1
    assert np.corrcoef(np.argsort(np.argsort(abroad[:, 1])), ranked)[0, 1] > 0.95


def test_outside_says_what_training_has_not_seen():
    features = study({"age": AGE, "A": EXPRESSION})
    fitted = Preprocessor.fit(features, np.random.default_rng(0).normal(60, 5, (200, 2)))
    seen = outside(fitted, np.array([[60.0, 60.0], [99.0, 99.0], [np.nan, np.nan]]))
    np.testing.assert_array_equal(seen, [[False, False], [True, False], [False, False]])


def test_tcga_and_acrg_are_matched_without_help(shared_data, tmp_path):
    drafted = []
    for name, table in (("tcga", "tcga_stad/tcga_stad.csv"), ("acrg", "acrg/acrg_gse62254.csv")):
        path = tmp_path / f"{name}.yaml"
        draft = draft_study(shared_data / table, time="os_months", event="os_event", out=path)
        path.write_text(render_study(draft), encoding="utf-8")
        drafted.append(load_cohort(path))
    tcga, acrg = drafted
    found = {m.feature: m for m in match_features(tcga.study, acrg.study)}
    assert found["sex"].levels == {"F": "Female", "M": "Male"}
    assert found["stage_raw"].source == "stage"
    assert found["CD8A"].source == "CD8A_log2_tme"
    assert found["IL1R1"].source is None
    assert found["molecular_subtype"].source is None
    assert not [m for m in found.values() if m.candidates]
