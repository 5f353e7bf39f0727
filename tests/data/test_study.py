from __future__ import annotations

import copy

import pytest
import yaml

from accomplice.data.errors import InputError, nearest, some
from accomplice.data.study import load_study, parse_study
from accomplice.data.study_parts import Feature, as_level

RAW = {
    "name": "demo",
    "source": {"files": ["table.csv"]},
    "id": "pid",
    "endpoints": {"survival": {"os": {"time": "t", "event": "e"}}},
    "treatment": {"column": "act", "treated": ["yes", "1"], "untreated": ["no"]},
    "modalities": {
        "clinical": {"age": {"kind": "number"}, "sex": {"kind": "category", "levels": ["F", "M"]}},
        "markers": {"IL1R1": {"kind": "expression", "column": "il1r1_log2"}},
    },
    "baselines": {"clinical": ["age", "sex"]},
    "interactions": [["act", "IL1R1"]],
    "ignored": {"note": "free text"},
}


def edited(path: str, value: object) -> dict:
    raw = copy.deepcopy(RAW)
    here = raw
    *parents, last = path.split(".")
    for key in parents:
        here = here[key]
    here[last] = value
    return raw


def test_features_are_in_order_and_the_treatment_is_last():
    study = parse_study(RAW, "x")
    assert list(study.features) == ["age", "sex", "IL1R1", "act"]
    assert study.blocks == {"clinical": (0, 1), "markers": (2,), "treatment": (3,)}
    act = study.features["act"]
    assert act.levels == ("no", "yes")
    assert act.map == {"no": "no", "yes": "yes", "1": "yes"}


def test_columns_names_everything_the_study_speaks_of():
    assert set(parse_study(RAW, "x").columns()) == {
        "age", "sex", "il1r1_log2", "act", "pid", "t", "e", "note"
    }  # fmt: skip


def test_describe_round_trips():
    study = parse_study(RAW, "x")
    assert parse_study(study.describe(), "x") == study


@pytest.mark.parametrize(
    ("value", "level"),
    [(1, "1"), (1.0, "1"), ("1", "1"), ("1.0", "1"), (" x ", "x"), (-2.0, "-2"), (1.5, "1.5")],
)
def test_one_level_however_it_is_written(value, level):
    assert as_level(value) == level
    assert as_level(as_level(value)) == level


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("modalities.clinical.age", {"kind": "numbr"}, "modalities.clinical.age.kind"),
        ("modalities.clinical.age", {"kind": "number", "unt": "y"}, "did you mean 'unit'"),
        ("modalities.clinical.sex", {"kind": "category"}, "needs at least two levels"),
        ("modalities.clinical.age", {"kind": "number", "levels": ["a", "b"]}, "neither levels"),
        (
            "modalities.clinical.sex",
            {"kind": "category", "levels": ["F", "M", "F"]},
            "a level is listed twice",
        ),
        (
            "modalities.clinical.sex",
            {"kind": "category", "levels": ["F", "M"], "map": {"w": "W"}},
            "map leads to 'W'",
        ),
        ("modalities.clinical.age", {"kind": "number", "range": [5, 5]}, "range must be"),
        ("modalities.clinical.sex", {"kind": "category", "levels": [True, False]}, "in quotes"),
        ("modalities.clinical.t", {"kind": "number"}, "read from an endpoint's column"),
        ("modalities.markers.age", {"kind": "number"}, "'age' is listed twice"),
        ("modalities.treatment", {"x": {"kind": "number"}}, "is made from the treatment key"),
        ("modalities", {}, "at least one feature"),
        ("baselines", {"clinical": ["agee"]}, "did you mean 'age'"),
        ("interactions", [["act", "IL1R2"]], "did you mean 'IL1R1'"),
        ("endpoints", {}, "at least one endpoint"),
        ("endpoints.survival.a b", {"time": "t", "event": "e"}, "'a b' is no name for an endpoint"),
        ("endpoints.survival.response", {"time": "t", "event": "e"}, "begins the columns of"),
        (
            "endpoints.binary",
            {"os": {"column": "r", "positive": ["1"], "negative": ["0"]}},
            "'os' is both a survival and a binary endpoint",
        ),
        ("endpoints.survival.os", {"time": "t"}, "endpoints.survival.os.event: this key is needed"),
        ("endpoints.survival.os.horizn", 60, "did you mean 'horizon'"),
        ("treatment.treated", [], "at least one level each"),
        ("treatment.untreated", ["no", "yes"], "level 'yes' is both treated and untreated"),
        ("treatment.landmark", -1, "treatment.landmark"),
        ("treatment.expected_hr", [1.0, 0.5], "expected_hr must be [lowest, highest]"),
        ("treatment.expected_hr", [0, 1], "expected_hr must be [lowest, highest]"),
        ("treatment.expected_hr_source", "a trial", "without expected_hr, the range itself"),
        ("treatment.eligible", {"agee": ["1"]}, "treatment.eligible: no feature 'agee'; did you"),
        ("treatment.eligible", {"sex": ["F", "W"]}, "treatment.eligible.sex: 'W' is not one of"),
        ("treatment.eligible", {"age": ["60"]}, "treatment.eligible.age: '60' is not one of"),
        ("treatment.lable", "x", "did you mean 'label'"),
        (
            "modalities.clinical.act",
            {"kind": "category", "levels": ["no", "y"]},
            "treatment.treated: none is a level",
        ),
        (
            "modalities.clinical.act",
            {"kind": "category", "levels": ["none", "yes"]},
            "treatment.untreated: none is a level",
        ),
        ("modalities.clinical.act", {"kind": "number", "column": "x"}, "is read from another"),
        ("name", "a b", "name: write letters, digits"),
        ("centr", "c", "did you mean 'centre'"),
    ],
)
def test_a_wrong_key_is_one_line_that_names_it(path, value, expected):
    with pytest.raises(InputError, match=r"study\.yaml: ") as caught:
        parse_study(edited(path, value), "study.yaml")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_endpoint_names_the_nearest():
    study = parse_study(RAW, "x")
    assert study.survival_endpoint()[0] == "os"
    with pytest.raises(InputError, match="no survival endpoint 'oss'; did you mean 'os'"):
        study.survival_endpoint("oss")


def test_a_study_without_survival_has_none_to_tune_on():
    binary = {"r": {"column": "r", "positive": ["1"], "negative": ["0"]}}
    study = parse_study(edited("endpoints", {"binary": binary}), "x")
    for name in (None, "os"):
        with pytest.raises(InputError, match="no survival endpoint, which tune, marker, power"):
            study.survival_endpoint(name)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"features": ["IL1R2"]}, "endpoints.binary.r.features: no feature 'IL1R2'; did you mean"),
        ({"features": ["r"]}, "endpoints.binary.r.features: no feature 'r'"),
        ({"features": []}, "endpoints.binary.r.features"),
        ({"features": ["act"]}, "'act' is the treatment, no input"),
        ({"local_rate": 0}, "endpoints.binary.r.local_rate"),
        ({"local_rate": 1.0}, "endpoints.binary.r.local_rate"),
    ],
)
def test_inputs_and_rate_of_a_response_are_checked(changes, expected):
    binary = {"column": "r", "positive": ["1"], "negative": ["0"]}
    raw = {**RAW, "endpoints": {**RAW["endpoints"], "binary": {"r": {**binary, **changes}}}}
    with pytest.raises(InputError) as caught:
        parse_study(raw, "x")
    assert expected in str(caught.value)
    given = {"features": ["IL1R1"], "local_rate": 0.2}
    raw = {**RAW, "endpoints": {**RAW["endpoints"], "binary": {"r": {**binary, **given}}}}
    found = parse_study(raw, "x").endpoints.binary["r"]
    assert (found.features, found.local_rate) == (("IL1R1",), 0.2)


def test_bounds_come_from_the_range_or_the_kind():
    assert Feature(kind="density").bounds == (0.0, float("inf"))
    assert Feature(kind="number").bounds == (float("-inf"), float("inf"))
    assert Feature(kind="density", range=(1, 9)).bounds == (1, 9)


ORDERS = {
    "from the treatment key": None,
    "category": {"kind": "category", "levels": ["no", "yes"]},
    "category, other order": {"kind": "category", "levels": ["yes", "no"]},
    "number": {"kind": "number"},
}


class TestTreatment:
    @pytest.mark.parametrize("act", ORDERS.values(), ids=ORDERS)
    def test_prognostic_study_has_everything_but_the_treatment(self, act):
        raw = copy.deepcopy(RAW)
        if act is not None:
            raw["modalities"] = {"therapy": {"act": act}, **raw["modalities"]}
        raw["baselines"] = {"clinical": ["age", "sex"], "arm": ["act"], "both": ["act", "age"]}
        raw["interactions"] = [["act", "IL1R1"], ["age", "IL1R1"]]
        study = parse_study(raw, "x")
        blind = study.prognostic()
        assert blind.treatment is None
        assert list(blind.features) == ["age", "sex", "IL1R1"]
        assert blind.blocks == {"clinical": (0, 1), "markers": (2,)}
        assert blind.interactions == (("age", "IL1R1"),)
        assert blind.baselines == {"clinical": ("age", "sex"), "both": ("age",)}
        assert blind.modifiers == ()
        names = list(study.features)
        assert [names[i] for i in study.prognostic_features] == list(blind.features)
        assert study.modifiers == ("IL1R1",)
        # As a study of its own it is valid, and has nothing more to lose.
        assert blind.prognostic() is blind
        again = parse_study(blind.describe(), "x")
        assert list(again.features) == list(blind.features)

    def test_is_found_by_its_column_whatever_the_feature_is_called(self):
        raw = edited("modalities.clinical.chemo", {"kind": "number", "column": "act"})
        raw["interactions"] = [["IL1R1", "chemo"]]
        study = parse_study(raw, "x")
        assert list(study.prognostic().features) == ["age", "sex", "IL1R1"]
        assert study.modifiers == ("IL1R1",)

    @pytest.mark.parametrize(
        ("pairs", "modifiers"),
        [
            ([], ()),
            ([["age", "IL1R1"]], ()),
            ([["act", "IL1R1"], ["act", "age"]], ("IL1R1", "age")),
            ([["age", "act"], ["act", "IL1R1"]], ("age", "IL1R1")),
            ([["age", "sex"], ["sex", "act"], ["act", "age"]], ("sex", "age")),
            ([["act", "age"], ["age", "act"]], ("age",)),
            ([["act", "act"]], ()),
        ],
    )
    def test_modifiers_are_in_the_order_of_the_interactions(self, pairs, modifiers):
        assert parse_study(edited("interactions", pairs), "x").modifiers == modifiers

    def test_study_without_one_is_its_own_prognostic_study(self):
        raw = {k: v for k, v in RAW.items() if k not in ("treatment", "interactions")}
        study = parse_study(raw, "x")
        assert study.prognostic() is study
        assert study.modifiers == ()
        assert study.prognostic_features == (0, 1, 2)

    def test_a_treatment_alone_is_no_study(self):
        raw = {k: v for k, v in RAW.items() if k not in ("baselines", "interactions")}
        raw["modalities"] = {"clinical": {"act": {"kind": "number"}}}
        with pytest.raises(InputError, match="name a feature beside the treatment"):
            parse_study(raw, "x")

    def test_keys_have_their_defaults(self):
        treatment = parse_study(RAW, "x").treatment
        assert treatment.label == "treatment"
        assert treatment.eligible == {}
        assert treatment.landmark == 2
        assert treatment.expected_hr is None
        assert treatment.expected_hr_source == ""


class TestLoad:
    def test_reads_a_file(self, tmp_path):
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump(RAW), encoding="utf-8")
        assert load_study(path) == parse_study(RAW, "x")

    def test_missing_file(self, tmp_path):
        with pytest.raises(InputError, match="no such study file; draft one with"):
            load_study(tmp_path / "no.yaml")

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("a: 1\nb: {c: 1}\nb: {d: 1}\n", r"study.yaml: line 3: key 'b' stands twice"),
            ("a:\n  x: 1\n  y: 2\n  x: 3\n", r"study.yaml: line 4: key 'x' stands twice"),
            ("a: !!python/name:os.getcwd\n", r"study.yaml: line 1: could not determine"),
            ("a: [1,\n", "not a YAML file"),
            ("just text", "not a study file"),
            ("", "not a study"),
        ],
    )
    def test_not_a_study(self, tmp_path, text, expected):
        path = tmp_path / "study.yaml"
        path.write_text(text)
        with pytest.raises(InputError, match=expected):
            load_study(path)


def test_nearest_and_some():
    assert nearest("Agee", ["age", "sex"]) == "; did you mean 'age'?"
    assert nearest("zzz", ["age"]) == ""
    assert nearest("eval", ["predict", "evaluate"]) == "; did you mean 'evaluate'?"
    for far, known in (("gender", "grade"), ("run", "tune"), ("tumour_size", "tumor_grade")):
        assert nearest(far, [known]) == ""
    assert some("abcdefg") == "'a', 'b', 'c', 'd', 'e' and 2 more"


class TestEmptiedByHand:
    @pytest.mark.parametrize(
        ("key", "left"),
        [
            ("ignored", {}),
            ("baselines", {}),
            ("interactions", ()),
            ("trusted", ()),
            ("missing", ()),
            ("description", ""),
            ("treatment", None),
            ("centre", None),
        ],
    )
    def test_a_key_is_as_if_absent(self, key: str, left: object):
        raw = edited(key, None) | ({"interactions": None} if key == "treatment" else {})
        study = parse_study(raw, "x")
        assert getattr(study, key) == left
        assert study == parse_study({k: v for k, v in raw.items() if v is not None}, "x")

    @pytest.mark.parametrize(
        ("path", "where"),
        [
            ("endpoints.binary", "endpoints"),
            ("endpoints.survival.os.unit", "endpoints"),
            ("modalities.clinical.sex.map", "modalities"),
            ("source.sheet", "source"),
        ],
    )
    def test_a_key_of_a_part_too(self, path: str, where: str):
        study = parse_study(edited(path, None), "x")
        assert getattr(study, where) == getattr(parse_study(RAW, "x"), where)

    def test_a_modality_without_features_is_left_out(self):
        raw = edited("modalities.markers", None) | {"interactions": None}
        assert list(parse_study(raw, "x").modalities) == ["clinical"]

    def test_a_column_that_is_ignored_needs_no_reason(self):
        assert parse_study(edited("ignored", {"note": None}), "x").ignored == {"note": ""}

    @pytest.mark.parametrize(
        "path", ["name", "modalities", "endpoints", "source.files", "endpoints.survival.os.time"]
    )
    def test_a_key_that_is_needed_is_named(self, path: str):
        with pytest.raises(InputError, match=path.replace(".", r"\.")):
            parse_study(edited(path, None), "x")

    def test_an_unknown_key_stays_unknown(self):
        with pytest.raises(InputError, match="ignoredd"):
            parse_study(edited("ignoredd", None), "x")
