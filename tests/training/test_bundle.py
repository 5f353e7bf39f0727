"""The bundle: kept exactly, refused when touched, answering every row, nobody's values inside."""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from accomplice.data.cohort import build_cohort
from accomplice.data.errors import InputError
from accomplice.data.study import parse_study
from accomplice.data.synthetic import draw
from accomplice.training.bundle import OK, WEIGHTS, Bundle
from accomplice.training.estimators.hazard import log_risk
from accomplice.training.learners.registry import stack_order
from accomplice.training.models.manifest import MANIFEST, digest_of
from accomplice.training.models.survival import CURVE, as_months
from accomplice.training.run import train

untimed = settings(deadline=None, max_examples=40)
FEATURES = {
    "age": "number",
    "sex": "level",
    "stage": "level",
    "msi": "level",
    "pdl1": "level",
    "act": "level",
    "IL1R1": "number",
    "CD163": "number",
    "CD8_ihc": "number",
}
STANDING = ("rmst@60", "rmst_low@60", "rmst_high@60", "risk_group", "risk_centile")
BENEFIT = [
    "benefit@60",
    "benefit_low@60",
    "benefit_high@60",
    "rmst_gain@60",
    "p_benefit",
    "advice",
    "response.ici_response",
]
CANARY_ID, CANARY_AGE = "Zq7-canary-PX", 61.123456789


@pytest.fixture(scope="module")
def path(tiny_trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles") / "small"
    tiny_trained.bundle.save(folder)
    return folder


@pytest.fixture(scope="module")
def bundle(path):
    return Bundle.load(path)


@pytest.fixture(scope="module")
def table():
    """New patients as a hospital's table has them, values missing."""
    return draw(25, seed=77).frame


@pytest.fixture(scope="module")
def canaries(tiny_config, small_cohort, tmp_path_factory):
    """A bundle whose training patients have values that are told apart, and their cohort."""
    drawn = draw(200, seed=21).frame
    rng = np.random.default_rng(0)
    # Digits enough for a value to be found again.
    for name in ("age", "os_months", *(c for c in drawn if c.endswith("_ihc") or c.isupper())):
        drawn[name] = drawn[name] * (1 + 1e-6 * rng.random(len(drawn)))
    drawn.loc[17, "age"] = CANARY_AGE
    drawn.loc[17, "patient_id"] = CANARY_ID
    cohort = build_cohort(small_cohort.study, drawn)
    folder = tmp_path_factory.mktemp("canary") / "b"
    train(cohort, tiny_config).bundle.save(folder)
    return folder, cohort


def numbers_in(plain):
    """Every number in plain data."""
    if isinstance(plain, dict):
        return [n for part in plain.values() for n in numbers_in(part)]
    if isinstance(plain, list):
        return [n for part in plain for n in numbers_in(part)]
    return [plain] if isinstance(plain, float) else []


def kept_numbers(folder):
    """Every number with a fraction in a bundle's JSON files."""
    found = [numbers_in(json.loads(file.read_text())) for file in folder.glob("*.json")]
    return np.concatenate(found)


def rewrite(folder, name, content):
    """Change a file of a bundle and mend every checksum, as a careful forger would."""
    (folder / name).write_bytes(content)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"][name] = hashlib.sha256(content).hexdigest()
    manifest.pop("digest")
    text = json.dumps(manifest, sort_keys=True).encode()
    manifest["digest"] = hashlib.sha256(text).hexdigest()
    (folder / MANIFEST).write_bytes((json.dumps(manifest, indent=1) + "\n").encode())


class TestKeeping:
    def test_loaded_bundle_predicts_exactly_the_same(self, tiny_trained, bundle, table):
        times = [1.0, 12.0, 59.9]
        pd.testing.assert_frame_equal(
            bundle.predict(table, times),
            tiny_trained.bundle.predict(table, times),
            check_exact=True,
        )

    def test_everything_else_is_kept_too(self, tiny_trained, bundle):
        made = tiny_trained.bundle
        for name in ("study", "config", "metrics", "provenance", "target", "horizon"):
            assert getattr(bundle, name) == getattr(made, name), name
        assert list(bundle.survival) == list(made.survival) == ["os"]
        for name in ("endpoint", "risk_centre", "no_effect", "distrust", "benefit_horizon"):
            assert getattr(bundle.primary, name) == getattr(made.primary, name), name

    def test_same_seed_twice_gives_byte_identical_folders(
        self, small_cohort, tiny_config, path, tmp_path
    ):
        train(small_cohort, tiny_config).bundle.save(tmp_path / "again")
        names = sorted(p.name for p in path.iterdir())
        assert names == sorted(p.name for p in (tmp_path / "again").iterdir())
        for name in names:
            assert (path / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name
        assert digest_of(path) == digest_of(tmp_path / "again")

    def test_saving_what_was_loaded_gives_the_same_bytes(self, bundle, path, tmp_path):
        bundle.save(tmp_path / "again")
        for file in path.iterdir():
            assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes(), file.name

    def test_holds_json_and_tensors_only(self, path):
        for file in path.iterdir():
            assert file.suffix in (".json", ".safetensors"), file.name
            if file.suffix == ".json":
                json.loads(file.read_text(), parse_constant=pytest.fail)  # NaN is no JSON


class TestTampering:
    def test_any_touched_file_is_refused(self, path, tmp_path):
        for file in sorted(path.iterdir()):
            folder = tmp_path / file.name
            shutil.copytree(path, folder)
            raw = bytearray(file.read_bytes())
            raw[len(raw) // 2] ^= 1
            (folder / file.name).write_bytes(bytes(raw))
            with pytest.raises(InputError, match="changed after it was made"):
                Bundle.load(folder)

    def test_no_bundle_is_said_so(self, tmp_path):
        with pytest.raises(InputError, match="no bundle there"):
            Bundle.load(tmp_path)

    def test_nothing_but_a_bundle_is_overwritten(self, bundle, tmp_path):
        (tmp_path / "thesis").mkdir()
        (tmp_path / "thesis" / "chapter1.tex").write_text("years of work")
        with pytest.raises(InputError, match="exists and is not a bundle"):
            bundle.save(tmp_path / "thesis")

    def test_mended_checksums_alone_are_no_offence(self, path, tmp_path):
        # So that the next tests are refused for what they change.
        shutil.copytree(path, tmp_path / "b")
        rewrite(tmp_path / "b", WEIGHTS, (path / WEIGHTS).read_bytes())
        assert Bundle.load(tmp_path / "b").study == Bundle.load(path).study

    @pytest.mark.parametrize(
        "name", ["os/net/hazard_bias", "os/forest/0/survival", "os/boosting/0/baseline"]
    )
    def test_altered_weights_fail_the_replay_of_golden_rows(self, bundle, tmp_path, name):
        # A learner must have a part in the answers for its weights to matter.
        equal = np.full(len(stack_order()), 1 / len(stack_order()))
        ensemble = bundle.primary.ensemble
        ensemble = replace(ensemble, stack=replace(ensemble.stack, weights=equal))
        model = replace(bundle.primary, ensemble=ensemble)
        replace(bundle, survival={"os": model}).save(tmp_path / "b")
        Bundle.load(tmp_path / "b")
        weights = load((tmp_path / "b" / WEIGHTS).read_bytes())
        weights[name] = weights[name] * 0.9 + np.float32(0.1)
        rewrite(tmp_path / "b", WEIGHTS, save(weights))
        with pytest.raises(InputError, match="answers its own test rows differently"):
            Bundle.load(tmp_path / "b")

    def test_altered_coefficients_fail_the_replay_too(self, path, tmp_path):
        shutil.copytree(path, tmp_path / "b")
        model = json.loads((path / "model.json").read_text())
        for fold in model["survival"]["os"]["folds"]:
            fold["anchor"]["beta"] = [b + 0.05 for b in fold["anchor"]["beta"]]
        rewrite(tmp_path / "b", "model.json", (json.dumps(model, indent=1) + "\n").encode())
        with pytest.raises(InputError, match="answers its own test rows differently"):
            Bundle.load(tmp_path / "b")


@st.composite
def patients(draw_):
    """Rows of any table that might be handed in: odd values, odd columns, anything missing."""
    cell = {
        "number": st.one_of(
            st.none(),
            st.floats(allow_nan=True, allow_infinity=True),
            st.integers(-10, 5000),
            st.sampled_from(["", "n/a", "7,2", "abc", "61"]),
        ),
        "level": st.one_of(
            st.none(),
            st.sampled_from(["I", "IV", "Male", "Female", "MSI-H", "yes", "no", "low", "??", ""]),
            st.integers(0, 3),
        ),
    }
    names = draw_(st.lists(st.sampled_from(list(FEATURES)), min_size=1, unique=True))
    n = draw_(st.integers(1, 4))
    frame = {name: draw_(st.lists(cell[FEATURES[name]], min_size=n, max_size=n)) for name in names}
    if draw_(st.booleans()):
        frame["centre"] = draw_(
            st.lists(st.sampled_from(["centre A", "elsewhere", None]), min_size=n, max_size=n)
        )
    if draw_(st.booleans()):
        frame["shoe size"] = [42] * n
    return pd.DataFrame(frame).astype(dict.fromkeys(names, object))


class TestPredict:
    @untimed
    @given(
        frame=patients(),
        times=st.lists(st.floats(0, 60), min_size=1, max_size=6, unique=True),
    )
    def test_any_row_is_answered_by_a_curve_that_never_rises(self, bundle, frame, times):
        found = bundle.predict(frame, times)
        assert list(found["patient_id"]) == [str(i + 1) for i in range(len(frame))]
        assert np.isfinite(found["risk"]).all()
        curve = found[[f"survival@{as_months(t)}" for t in sorted(times)]].to_numpy()
        assert ((curve >= 0) & (curve <= 1)).all()
        assert (np.diff(curve, axis=1) <= 0).all()
        assert (found["flags"] != "").all()

    @untimed
    @given(order=st.permutations(range(25)), columns=st.randoms(use_true_random=False))
    def test_order_of_rows_and_columns_is_no_matter(self, bundle, table, order, columns):
        names = list(table.columns)
        columns.shuffle(names)
        before = bundle.predict(table, [36.0])
        after = bundle.predict(table.iloc[list(order)][names], [36.0])
        expected = before.iloc[list(order)].reset_index(drop=True)
        pd.testing.assert_frame_equal(after, expected, rtol=1e-4)
        assert list(after["patient_id"]) == list(table["patient_id"].iloc[list(order)])

    def test_columns_are_those_of_the_contract(self, bundle, table):
        found = bundle.predict(table, [12, 36.5, 60])
        assert list(found.columns) == [
            "patient_id",
            "risk",
            *(f"{name}@{t}" for t in ("12", "36.5", "60") for name in CURVE),
            *BENEFIT,
            *STANDING,
            "flags",
        ]

    def test_row_numbers_of_the_table_are_no_matter(self, bundle, table):
        other = table.set_index(np.full(len(table), 7))
        pd.testing.assert_frame_equal(bundle.predict(other), bundle.predict(table))

    def test_missing_column_is_a_missing_value_of_everybody(self, bundle, table):
        gone = bundle.predict(table.drop(columns=["IL1R1"]))
        empty = bundle.predict(table.assign(IL1R1=np.nan))
        pd.testing.assert_frame_equal(gone, empty)

    def test_extra_columns_change_no_number(self, bundle, table):
        extra = table.assign(shoe=43, zodiac="crab")
        before, after = bundle.predict(table), bundle.predict(extra)
        pd.testing.assert_frame_equal(
            after.drop(columns="flags"), before.drop(columns="flags"), check_exact=True
        )
        assert after["flags"].str.contains("unknown_column:shoe").all()
        assert after["flags"].str.contains("unknown_column:zodiac").all()

    def test_outcomes_in_the_table_are_not_looked_at(self, bundle, table):
        wrong = table.assign(os_months=-5, os_event="perhaps")
        pd.testing.assert_frame_equal(bundle.predict(wrong), bundle.predict(table))

    def test_higher_risk_is_worse_survival(self, bundle, table):
        found = bundle.predict(table, [60.0])
        rank = found[["risk", "survival@60"]].corr("spearman").iloc[0, 1]
        assert rank < -0.9

    def test_worse_stage_is_worse(self, bundle):
        whole = draw(1, seed=3, missing=False).frame
        best = whole.assign(stage="I", t_stage="T1", n_stage="N0", m_stage="M0")
        worst = whole.assign(stage="IV", t_stage="T4", n_stage="N3", m_stage="M1")
        found = bundle.predict(pd.concat([best, worst]), [60.0])
        assert found["risk"][1] > found["risk"][0]
        assert found["survival@60"][1] < found["survival@60"][0]

    def test_average_training_patient_has_risk_zero(self, bundle, tiny_trained):
        assert log_risk(tiny_trained.primary.fitted.cumulative).mean() == pytest.approx(
            bundle.primary.risk_centre
        )

    def test_value_out_of_range_counts_as_the_end_of_the_training_range(self, bundle, table):
        one = table.iloc[:1]
        found = [bundle.predict(one.assign(age=float(a))) for a in (120, 1e6)]
        pd.testing.assert_frame_equal(*found)

    def test_no_rows_give_an_empty_table(self, bundle, table):
        found = bundle.predict(table.iloc[:0], [12.0])
        assert list(found.columns) == [
            *("patient_id", "risk", *(f"{name}@12" for name in CURVE)),
            *BENEFIT,
            *STANDING,
            "flags",
        ]
        assert len(found) == 0

    @pytest.mark.parametrize(
        ("rates", "said"),
        [
            ({"ici": 0.2}, "no binary endpoint 'ici': the model has 'ici_response'"),
            ({"ici_response": 1.0}, "rate of 'ici_response': must lie between 0 and 1"),
        ],
    )
    def test_a_rate_that_cannot_be_is_refused(self, bundle, table, rates, said):
        with pytest.raises(InputError, match=said):
            bundle.predict(table, [12.0], rates)

    def test_interval_holds_the_curve(self, bundle, small_cohort):
        values, times = small_cohort.values, (12.0, 60.0)
        answer = bundle.answer(values, small_cohort.centre).survival["os"]
        curve, low, high = np.moveaxis(answer.curve(times), -1, 0)
        np.testing.assert_array_equal(curve, answer.survival(times))
        assert (low <= curve).all()
        assert (curve <= high).all()
        assert ((low >= 0) & (high <= 1)).all()
        assert (high - low).max() > 0.001

    def test_expression_of_an_unknown_centre_is_flagged(self, small_cohort, tiny_config):
        cohort = build_cohort(small_cohort.study, draw(400, seed=12).frame)
        centre = np.where(np.arange(len(cohort)) % 2, "north", "south")
        two = train(replace(cohort, centre=centre), tiny_config).bundle
        assert set(two.primary.ensemble.folds[0].preprocessor.reference) == {"", "north", "south"}
        frame = pd.DataFrame({"IL1R1": [7.0, 7.0, np.nan], "age": 61.0})
        frame["centre"] = ["north", "west", "west"]
        flagged = two.predict(frame)["flags"].str.contains("unknown_assay")
        assert flagged.tolist() == [False, True, False]
        other = frame.assign(centre=[" NORTH", "South ", "west"])
        assert not two.predict(other)["flags"][:2].str.contains("unknown_assay").any()
        plain = two.predict(frame.assign(centre=["north", "south", "west"]))
        pd.testing.assert_frame_equal(two.predict(other), plain)
        flagged = two.predict(frame.drop(columns="centre"))["flags"].str.contains("unknown_assay")
        assert flagged.tolist() == [True, True, False]


class TestTimes:
    @pytest.mark.parametrize(
        ("times", "said"),
        [
            ([60.5], r"60\.5 months is beyond the model's horizon of 60: ask for earlier times"),
            ([12.0, 1e9], "beyond the model's horizon"),
            ([-1.0], "0 or more"),
            ([math.nan], "must be a number of months"),
            ([math.inf], "must be a number of months"),
            ([12.0, 36.0, 12], "asked for twice"),
        ],
    )
    def test_wrong_times_are_refused(self, bundle, table, times, said):
        with pytest.raises(InputError, match=said):
            bundle.predict(table, times)

    def test_times_that_hardly_differ_have_columns_of_their_own(self, bundle, table):
        found = bundle.predict(table, [12.0, 12.0 + 1e-9])
        assert [c for c in found if c.startswith("survival@")] == [
            "survival@12",
            "survival@12.000000001",
        ]

    def test_usual_times_where_none_are_asked_for(self, bundle, table):
        for nothing in (None, []):
            found = bundle.predict(table, nothing)
            assert [c for c in found if c.startswith("survival@")] == [
                "survival@12",
                "survival@36",
                "survival@60",
            ]

    def test_survival_at_zero_is_one_and_order_is_kept(self, bundle, table):
        found = bundle.predict(table, [60.0, 0.0])
        assert [c for c in found if c.startswith("survival@")] == ["survival@60", "survival@0"]
        assert (found["survival@0"] == 1).all()


class TestFlags:
    @pytest.fixture
    def whole(self, table):
        """One patient of whom everything is known and in order."""
        return draw(1, seed=3, missing=False).frame

    @pytest.mark.parametrize(
        ("changed", "flags"),
        [
            ({}, OK),
            ({"age": 17.0}, "out_of_range:age"),
            ({"age": "sixty"}, "not_a_number:age"),
            ({"age": math.inf}, "not_a_number:age; missing:age"),
            ({"age": None}, "missing:age"),
            ({"sex": "other"}, "unknown_level:sex; missing:sex"),
            ({"CD163_ihc": -3.0}, "out_of_range:CD163_ihc"),
            ({"IL1R1": None}, "missing_modality:il1r1"),
            ({"act": None}, "missing_modality:treatment"),
            ({"FAP": None, "PDGFRB": None}, "missing_modality:stroma"),
            ({"FAP": None}, "missing:FAP"),
            ({"shoe": 43}, "unknown_column:shoe"),
        ],
    )
    def test_say_what_was_odd(self, bundle, whole, changed, flags):
        row = whole.astype({name: object for name in changed if name in whole})
        said = bundle.predict(row.assign(**changed))["flags"][0].split("; ")
        if flags != "not_a_number:age":
            assert set(said) == set(flags.split("; "))
        else:
            assert set(said) == {"not_a_number:age", "missing:age"}

    @pytest.mark.parametrize("name", ["patient_id", "centre"])
    def test_lists_that_name_patients_or_hospitals_are_refused(self, bundle, whole, name):
        with pytest.raises(InputError, match=f"column '{name}' has lists in its cells"):
            bundle.predict(whole.assign(**{name: [["a", "b"]]}))

    def test_belong_to_their_row_alone(self, bundle, whole):
        both = pd.concat([whole, whole.assign(age=150.0)])
        assert list(bundle.predict(both)["flags"]) == [OK, "out_of_range:age"]

    @pytest.mark.parametrize(
        ("followed", "times", "flags"),
        [(90.0, [60.0], OK), (59.0, [12.0], "beyond_follow_up:os"), (60.0, [60.0], OK)],
    )
    def test_say_which_months_are_extrapolated(self, bundle, whole, followed, times, flags):
        known = replace(bundle.survival["os"], followed=followed)
        made = replace(bundle, survival={**bundle.survival, "os": known})
        assert made.predict(whole, times)["flags"].tolist() == [flags]

    def test_the_follow_up_is_kept(self, bundle, path, small_cohort, whole):
        model = bundle.survival["os"]
        assert model.followed == Bundle.load(path).survival["os"].followed
        assert 0 <= model.followed - small_cohort.time.max() < 0.01 * model.followed
        raw = model.to_json()
        assert raw.pop("followed") == model.followed
        rebuilt = type(model).from_json(
            bundle.study,
            "os",
            raw,
            [each.to_json() for each in model.preprocessors],
            model.arrays(),
        )
        assert rebuilt.followed == math.inf

    def test_name_a_few_of_many_unknown_columns(self, bundle, whole):
        many = whole.assign(**{f"extra{i}": 0 for i in range(40)})
        said = bundle.predict(many)["flags"][0].split("; ")
        assert len(said) == 6
        assert said[-1] == "unknown_columns:35 more"

    def test_hold_no_value(self, bundle, whole):
        row = whole.astype({"age": object, "sex": object}).assign(age=7431.25, sex="CANARY")
        said = bundle.predict(row)["flags"][0]
        assert "7431" not in said
        assert "CANARY" not in said

    def test_table_without_any_known_column_is_refused(self, bundle):
        with pytest.raises(InputError, match=r"no column is one of the model's features.*'age'"):
            bundle.predict(pd.DataFrame({"Agee": [3], "x": [1]}))


class TestPrivacy:
    def test_no_canary_is_in_any_file(self, canaries):
        folder, cohort = canaries
        assert CANARY_ID in cohort.ids
        assert CANARY_AGE in cohort.values
        for file in folder.iterdir():
            raw = file.read_bytes()
            assert CANARY_ID.encode() not in raw, file.name
            assert b"61.12345678" not in raw, file.name

    def test_no_identifier_is_in_any_file(self, canaries):
        folder, cohort = canaries
        texts = [file.read_text() for file in folder.glob("*.json")]
        words = {word for text in texts for word in re.findall(r'"([^"]*)"', text)}
        assert not words & set(cohort.ids.tolist())

    def test_no_measured_value_is_among_the_numbers(self, canaries):
        folder, cohort = canaries
        kept = kept_numbers(folder)
        for j, (name, feature) in enumerate(cohort.study.features.items()):
            if feature.levels is None:
                column = cohort.values[:, j]
                assert not np.isin(column[~np.isnan(column)], kept).any(), name

    def test_no_follow_up_is_among_the_numbers(self, canaries):
        folder, cohort = canaries
        assert not np.isin(cohort.time, kept_numbers(folder)).any()

    def test_no_place_on_the_training_machine_is_kept(self, path, small_cohort):
        study = parse_study(json.loads((path / "study.json").read_text()), "study.json")
        assert study.source.files == ("cohort",)
        assert study.features == small_cohort.study.features


BLOCKED = ("pytorch_lightning", "lightning", "mlflow", "optuna", "matplotlib", "sksurv")
PREDICT_ALONE = f"""
import sys


class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {BLOCKED!r}:
            raise ImportError(name)


sys.meta_path.insert(0, Refuse())
from pathlib import Path

import pandas as pd

from accomplice.training.bundle import Bundle

found = Bundle.load(Path(sys.argv[1])).predict(pd.read_csv(sys.argv[2]), [12.0, 60.0])
found.to_csv(sys.argv[3], index=False)
"""


def test_predicts_where_only_torch_and_numpy_are_installed(bundle, path, table, tmp_path):
    table.to_csv(tmp_path / "in.csv", index=False)
    subprocess.run(
        [sys.executable, "-c", PREDICT_ALONE, path, tmp_path / "in.csv", tmp_path / "out.csv"],
        check=True,
    )
    found = pd.read_csv(tmp_path / "out.csv")
    expected = bundle.predict(table, [12.0, 60.0])
    np.testing.assert_allclose(found["survival@60"], expected["survival@60"], rtol=1e-4)
    assert list(found["patient_id"]) == list(expected["patient_id"])
