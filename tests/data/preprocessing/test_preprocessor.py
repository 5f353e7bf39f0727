"""Preprocessing: what it makes of values, and that only training patients shape it."""

from __future__ import annotations

import json
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accomplice.data.preprocessing import scaling
from accomplice.data.preprocessing.preprocessor import MISSING_COUNT, Preprocessor
from accomplice.data.preprocessing.scaling import CENTRE_SIZE
from accomplice.data.study import parse_study

untimed = settings(deadline=None, max_examples=40)

STUDY = parse_study(
    {
        "name": "s",
        "source": {"files": ["t.csv"]},
        "endpoints": {"survival": {"os": {"time": "months", "event": "dead"}}},
        "treatment": {"column": "act", "treated": ["yes"], "untreated": ["no"]},
        "modalities": {
            "clinical": {
                "age": {"kind": "number"},
                "ca199": {"kind": "number"},
                "stage": {"kind": "ordinal", "levels": ["I", "II", "III", "IV"]},
                "sex": {"kind": "category", "levels": ["F", "M"]},
                "lauren": {"kind": "category", "levels": ["intestinal", "diffuse", "mixed"]},
            },
            "rna": {"IL1R1": {"kind": "expression"}, "CD163": {"kind": "expression"}},
            "ihc": {"CD8_ihc": {"kind": "density"}},
        },
        "interactions": [["act", "IL1R1"], ["age", "lauren"], ["IL1R1", "CD163"]],
    },
    "s",
)
STUDY_OF_ONE = {
    "name": "s",
    "source": {"files": ["t.csv"]},
    "endpoints": {"survival": {"os": {"time": "months", "event": "dead"}}},
}
NAMES = list(STUDY.features)
P = len(NAMES)
CATEGORIES = [j for j, f in enumerate(STUDY.features.values()) if f.kind == "category"]
NUMERIC = [j for j in range(P) if j not in CATEGORIES]
CONTINUOUS = [NAMES.index(n) for n in ("age", "ca199", "IL1R1", "CD163", "CD8_ihc")]


def at(name):
    return NAMES.index(name)


def draw(n, seed=0, missing=0.15):
    """Coded features of made-up patients and their centres; RNA goes missing together."""
    rng = np.random.default_rng(seed)
    values = np.empty((n, P))
    values[:, at("age")] = rng.normal(62, 11, n)
    values[:, at("ca199")] = np.exp(rng.normal(3, 1.4, n))
    for name, levels in (("stage", 4), ("sex", 2), ("lauren", 3), ("act", 2)):
        values[:, at(name)] = rng.integers(0, levels, n)
    centre = np.where(np.arange(n) % 5 < 3, "north", "south")
    values[:, at("IL1R1")] = rng.normal(7, 1, n)
    values[:, at("CD163")] = 0.6 * values[:, at("IL1R1")] + rng.normal(5, 1, n)
    values[:, at("CD8_ihc")] = rng.gamma(0.8, 200, n)
    values[rng.random(n) < missing, at("IL1R1") : at("CD163") + 1] = np.nan
    for name in ("ca199", "sex", "lauren", "CD8_ihc", "act"):
        values[rng.random(n) < missing, at(name)] = np.nan
    return values, centre


def labels(fitted):
    return [column.label for column in fitted.linear_columns()]


def same(a, b):
    """Whether two fits hold the same state, bit for bit."""
    for field in fields(Preprocessor):
        left, right = getattr(a, field.name), getattr(b, field.name)
        if field.name == "study":
            continue
        if field.name == "reference":
            assert left.keys() == right.keys()
            left, right = (np.array(list(table.values())) for table in (left, right))
        np.testing.assert_array_equal(left, right, strict=True, err_msg=field.name)
    return True


def numbers():
    """Any finite number a table can hold, or a missing one."""
    return st.one_of(st.just(np.nan), st.floats(allow_nan=False, allow_infinity=False))


@st.composite
def any_rows(draw_):
    """Coded rows as a prediction may meet them: any numbers, any known level, anything missing."""
    n = draw_(st.integers(1, 5))
    rows = np.empty((n, P))
    for j, feature in enumerate(STUDY.features.values()):
        if feature.levels is None:
            one = numbers()
        else:
            one = st.sampled_from([np.nan, *map(float, range(len(feature.levels)))])
        rows[:, j] = draw_(st.lists(one, min_size=n, max_size=n))
    return rows


@pytest.fixture(scope="module")
def training():
    return draw(300)


@pytest.fixture(scope="module")
def fitted(training):
    return Preprocessor.fit(STUDY, *training)


class TestScale:
    def test_training_features_have_mean_zero_and_sd_one(self, training, fitted):
        z = fitted.scale(*training)[:, NUMERIC]
        np.testing.assert_allclose(np.nanmean(z, axis=0), 0, atol=1e-12)
        np.testing.assert_allclose(np.nanstd(z, axis=0), 1, atol=1e-12)

    def test_training_indicators_have_mean_zero_where_nothing_is_missing(self):
        values, centre = draw(200, missing=0)
        fitted = Preprocessor.fit(STUDY, values, centre)
        linear = fitted.transform(values, centre).linear
        shown = [i for i, name in enumerate(labels(fitted)) if "=" in name and " x " not in name]
        assert len(shown) == len(fitted.indicators) == 5
        np.testing.assert_allclose(linear[:, shown].mean(axis=0), 0, atol=1e-12)
        np.testing.assert_allclose(linear[:, shown].std(axis=0), 1, atol=1e-12)

    def test_logarithm_is_taken_only_of_skewed_non_negative_numbers(self, fitted):
        logged = {NAMES[j] for j in np.flatnonzero(~np.isnan(fitted.log_offset))}
        assert logged == {"ca199", "CD8_ihc"}

    def test_no_logarithm_of_a_skewed_number_that_can_be_negative(self, training):
        values = training[0].copy()
        values[0, at("ca199")] = -1.0
        fitted = Preprocessor.fit(STUDY, values, training[1])
        assert np.isnan(fitted.log_offset[at("ca199")])

    def test_zero_has_a_logarithm_by_a_power_of_ten_below_the_smallest_value(self, training):
        values = training[0].copy()
        values[:20, at("ca199")] = 0.0
        positive = values[:, at("ca199")]
        smallest = np.nanmin(positive[positive > 0])
        fitted = Preprocessor.fit(STUDY, values, training[1])
        assert fitted.log_offset[at("ca199")] == 10.0 ** np.floor(np.log10(smallest))

    def test_order_of_values_is_kept(self, training, fitted):
        z = fitted.scale(*training)
        for j in (at("age"), at("ca199"), at("CD8_ihc")):
            order = np.argsort(training[0][:, j])
            known = order[~np.isnan(training[0][order, j])]
            assert (np.diff(z[known, j]) >= 0).all()
            assert len(np.unique(z[known, j])) > 0.95 * len(known)

    def test_constant_feature_is_zero(self, training):
        values = training[0].copy()
        values[:, at("age")] = 50.0
        fitted = Preprocessor.fit(STUDY, values, training[1])
        other = values.copy()
        other[:, at("age")] = 99.0
        for rows in (values, other):
            assert (fitted.transform(rows, training[1]).linear[:, 0] == 0).all()


class TestExpression:
    def test_another_scale_in_one_centre_changes_nothing(self, training, fitted):
        values, centre = training
        assert (centre == "south").sum() > CENTRE_SIZE
        assay = values.copy()
        for gene in ("IL1R1", "CD163"):
            assay[centre == "south", at(gene)] = 3 + 0.5 * values[centre == "south", at(gene)]
        other = Preprocessor.fit(STUDY, assay, centre)
        # Only the table for unknown centres, over all patients, knows of the other scale.
        np.testing.assert_allclose(
            other.scale(assay, centre), fitted.scale(values, centre), atol=1e-9
        )

    def test_without_centres_another_scale_does_change_the_ranks(self, training):
        values, centre = training
        assay = values.copy()
        assay[centre == "south", at("IL1R1")] += 4
        z = [Preprocessor.fit(STUDY, v).scale(v)[:, at("IL1R1")] for v in (values, assay)]
        assert np.nanmax(np.abs(z[0] - z[1])) > 0.5

    def test_small_and_unknown_centres_use_the_reference_of_all(self, training):
        values, centre = training
        renamed = centre.astype("<U8")
        renamed[: CENTRE_SIZE - 1] = "small"
        fitted = Preprocessor.fit(STUDY, values, renamed)
        assert set(fitted.reference) == {"", "north", "south"}
        rows = values[: CENTRE_SIZE - 1]
        small = fitted.scale(rows, renamed[: CENTRE_SIZE - 1])
        unknown = fitted.scale(rows, np.full(len(rows), "elsewhere"))
        np.testing.assert_array_equal(small, fitted.scale(rows))
        np.testing.assert_array_equal(unknown, fitted.scale(rows))

    def test_many_equal_values_score_as_the_middle_of_their_ranks(self, training):
        values = training[0].copy()
        values[:, at("IL1R1")] = np.random.default_rng(1).normal(5, 1, len(values))
        values[:150, at("IL1R1")] = 0.0
        fitted = Preprocessor.fit(STUDY, values)
        z = fitted.scale(values)[:, at("IL1R1")]
        score = z[0] * fitted.sd[at("IL1R1")] + fitted.mean[at("IL1R1")]
        # The lower half of the patients shares ranks 0 to 0.5: the score of a quarter.
        assert score == pytest.approx(-0.6745 * 1.9, abs=0.7)
        assert (z[150:] > z[0]).all()


class TestDesign:
    def test_missing_value_is_zero_everywhere(self, training):
        values, centre = draw(300, missing=0)
        fitted = Preprocessor.fit(STUDY, values, centre)  # nothing missing: no indicator of it
        made = fitted.transform(np.full((2, P), np.nan))
        assert (made.linear == 0).all()
        assert (made.embedded == 0).all()
        assert (made.present == 0).all()

    def test_each_missing_value_is_the_training_mean_of_its_column(self, training, fitted):
        made = fitted.transform(*training)
        for i, column in enumerate(fitted.linear_columns()):
            if len(column.features) == 1 and "missing" not in column.label:
                unknown = np.isnan(training[0][:, at(column.features[0])])
                assert (made.linear[unknown, i] == 0).all()
        np.testing.assert_allclose(made.embedded.mean(axis=0), 0, atol=1e-12)

    def test_missingness_is_an_input_where_it_is_common(self, training, fitted):
        made = fitted.transform(*training).linear
        names = labels(fitted)
        common = made[:, names.index("CD8_ihc missing")]
        never = made[:, names.index("age missing")]
        unknown = np.isnan(training[0][:, at("CD8_ihc")])
        assert unknown.sum() >= MISSING_COUNT
        np.testing.assert_allclose(common, unknown - unknown.mean())
        assert (never == 0).all()

    def test_whole_missing_modality_is_not_counted_feature_by_feature(self, training, fitted):
        made, names = fitted.transform(*training).linear, labels(fitted)
        gone = np.isnan(training[0][:, at("IL1R1")])
        assert (made[gone, names.index("rna missing")] > 0).all()
        assert (made[:, names.index("IL1R1 missing")] == 0).all()

    def test_present_says_which_modalities_are_known(self, training, fitted):
        present = fitted.transform(*training).present
        for m, block in enumerate(STUDY.blocks.values()):
            known = ~np.isnan(training[0][:, list(block)]).all(axis=1)
            np.testing.assert_array_equal(present[:, m], known)

    def test_interactions_are_products_of_their_columns(self, training, fitted):
        made, names = fitted.transform(*training).linear, labels(fitted)
        products = [name for name in names if " x " in name]
        assert products == [
            "act=yes x IL1R1",
            "age x lauren=intestinal",
            "age x lauren=diffuse",
            "age x lauren=mixed",
            "IL1R1 x CD163",
        ]
        for name in products:
            a, b = (names.index(part) for part in name.split(" x "))
            np.testing.assert_array_equal(made[:, names.index(name)], made[:, a] * made[:, b])

    def test_single_columns_begin_the_design_and_know_their_gaps(self, training, fitted):
        made, design = fitted.singles(*training), fitted.linear(*training)
        columns = fitted.single_columns()
        assert columns == fitted.linear_columns()[: made.shape[1]]
        np.testing.assert_array_equal(np.nan_to_num(made), design[:, : made.shape[1]])
        for j, column in enumerate(columns):
            (name,) = column.features
            np.testing.assert_array_equal(np.isnan(made[:, j]), np.isnan(training[0][:, at(name)]))
        np.testing.assert_allclose(np.nanmean(made, axis=0), 0, atol=1e-9)

    def test_labels_modalities_and_widths_agree(self, training, fitted):
        made = fitted.transform(*training)
        columns = fitted.linear_columns()
        assert made.linear.shape[1] == len(columns) == len(set(labels(fitted)))
        assert made.embedded.shape[1] == len(fitted.embedded_columns())
        assert {c.modality for c in columns} == set(STUDY.blocks)

    def test_layout_depends_on_the_study_alone(self, fitted):
        complete, centre = draw(120, seed=3, missing=0)
        gone = complete.copy()
        gone[:, at("sex")] = 1.0
        gone[:, at("ca199")] = 7.0
        gone[: len(gone) - 3, at("CD8_ihc")] = np.nan
        for values in (complete, gone, complete[:8]):
            other = Preprocessor.fit(STUDY, values, centre[: len(values)])
            assert other.linear_columns() == fitted.linear_columns()
            assert other.embedded_columns() == fitted.embedded_columns()
            assert other.edges.shape == fitted.edges.shape


class TestEmbedding:
    @untimed
    @given(feature=st.sampled_from(NUMERIC), pair=st.tuples(numbers(), numbers()))
    def test_rises_with_the_value_from_zero_to_one(self, fitted, feature, pair):
        low, high = sorted(0.0 if np.isnan(v) else v for v in pair)
        rows = np.full((2, P), np.nan)
        rows[:, feature] = low, high
        bins = len(fitted.edges) - 1
        mean = fitted.embedded_mean[:, NUMERIC].T  # (features, bins), as the embedding is laid out
        made = fitted.transform(rows).embedded.reshape(2, len(NUMERIC), bins)
        way = (made + mean)[:, NUMERIC.index(feature)]
        assert (way >= -1e-12).all()
        assert (way <= 1 + 1e-12).all()
        assert (way[1] >= way[0]).all()
        # A bin is entered once the one before it is full; an ordinal leaves some without width.
        way = way[:, np.diff(fitted.edges[:, feature]) > 0]
        assert ((way[:, 1:] <= 1e-9) | (way[:, :-1] >= 1 - 1e-9)).all()

    def test_spans_zero_to_one_over_the_training_range(self, fitted, training):
        made = fitted.transform(*training).embedded
        bins = len(fitted.edges) - 1
        way = made.reshape(len(made), len(NUMERIC), bins) + fitted.embedded_mean[:, NUMERIC].T
        age = way[:, NUMERIC.index(at("age"))]
        np.testing.assert_allclose(age.min(axis=0), 0, atol=1e-12)
        np.testing.assert_allclose(age.max(axis=0), 1, atol=1e-12)


class TestUnseen:
    @untimed
    @given(rows=any_rows(), place=st.sampled_from(["", "north", "never heard of"]))
    def test_any_value_gives_finite_inputs(self, fitted, rows, place):
        made = fitted.transform(rows, np.full(len(rows), place))
        for part in made:
            assert np.isfinite(part).all()
        assert (np.abs(made.embedded) <= 1).all()

    @untimed
    @given(rows=any_rows())
    def test_rows_do_not_look_at_each_other(self, fitted, rows):
        together = fitted.transform(rows)
        for i in range(len(rows)):
            alone = fitted.transform(rows[i : i + 1])
            for whole, part in zip(together, alone, strict=True):
                np.testing.assert_array_equal(whole[i], part[0])

    def test_value_beyond_the_training_range_counts_as_its_end(self, fitted, training):
        rows = np.repeat(training[0][:1], 2, axis=0)
        rows[:, at("age")] = 150.0, 1e9
        made = fitted.transform(rows)
        np.testing.assert_array_equal(made.linear[0], made.linear[1])


class TestBlocks:
    """Patients are worked on in blocks to save memory; no digit may depend on it."""

    @pytest.mark.parametrize("block", [1, 7, 299, 300])
    def test_size_of_a_block_changes_no_bit(self, training, fitted, block, monkeypatch):
        values, centre = training
        whole = fitted.transform(values, centre)
        monkeypatch.setattr(scaling, "BLOCK", block)
        assert same(Preprocessor.fit(STUDY, values, centre), fitted)
        for part, expected in zip(fitted.transform(values, centre), whole, strict=True):
            np.testing.assert_array_equal(part, expected, strict=True)

    def test_a_lone_feature_is_added_up_as_a_whole(self, monkeypatch):
        raw = {"clinical": {"age": {"kind": "number"}}}
        alone = parse_study({**STUDY_OF_ONE, "modalities": raw}, "alone")
        values = np.random.default_rng(0).normal(60, 11, (1000, 1))
        whole = Preprocessor.fit(alone, values)
        monkeypatch.setattr(scaling, "BLOCK", 7)
        assert same(Preprocessor.fit(alone, values), whole)

    def test_nobody_gives_empty_inputs_of_the_same_width(self, fitted):
        made, some = fitted.transform(np.empty((0, P))), fitted.transform(np.full((1, P), np.nan))
        assert [part.shape[1:] for part in made] == [part.shape[1:] for part in some]

    def test_what_is_given_is_left_as_it_was(self, training, fitted):
        values, centre = training
        kept = values.copy()
        Preprocessor.fit(STUDY, values, centre)
        fitted.transform(values, centre)
        np.testing.assert_array_equal(values, kept)
        columns = np.asfortranarray(values)
        assert same(Preprocessor.fit(STUDY, columns, centre), fitted)
        np.testing.assert_array_equal(columns, kept)

    def test_centres_hold_their_own_patients(self):
        centre = np.array(["b", "", "zz", "a", "b", "c"])
        found = dict(scaling.of_centres(centre, np.array(["a", "b"])))
        assert {name: rows.tolist() for name, rows in found.items()} == {
            "a": [3],
            "b": [0, 4],
            "": [1, 2, 5],
        }


class TestLeak:
    def test_held_out_patients_change_nothing_that_is_fitted(self, training, fitted):
        values, centre = training[0].copy(), training[1].copy()
        train = np.arange(len(values)) % 4 != 0
        before = Preprocessor.fit(STUDY, values[train], centre[train])
        inputs = before.transform(values[train], centre[train])
        values[~train] = np.where(np.isnan(values[~train]), 1.0, values[~train] * 10)
        centre[~train] = "north"
        after = Preprocessor.fit(STUDY, values[train], centre[train])
        after.transform(values, centre)  # looking at them must not either
        assert same(before, after)
        for a, b in zip(inputs, after.transform(values, centre), strict=True):
            np.testing.assert_array_equal(a, b[train])

    def test_a_training_patient_does_change_it(self, training, fitted):
        values = training[0].copy()
        values[0, at("age")] += 1.0
        with pytest.raises(AssertionError):
            same(fitted, Preprocessor.fit(STUDY, values, training[1]))

    def test_fitting_and_transforming_leave_the_values_alone(self, training):
        values = training[0].copy()
        Preprocessor.fit(STUDY, values, training[1]).transform(values, training[1])
        np.testing.assert_array_equal(values, training[0])


class TestKeeping:
    def test_json_round_trip_is_exact(self, training, fitted):
        text = json.dumps(fitted.to_json(), allow_nan=False)
        again = Preprocessor.from_json(STUDY, json.loads(text))
        assert same(fitted, again)
        for a, b in zip(fitted.transform(*training), again.transform(*training), strict=True):
            np.testing.assert_array_equal(a, b)

    def test_no_extreme_of_the_training_patients_is_kept(self, training, fitted):
        kept = np.concatenate([np.ravel(v) for v in flattened(fitted.to_json())])
        for j in CONTINUOUS:
            column = training[0][:, j]
            assert not np.isin([np.nanmin(column), np.nanmax(column)], kept).any()

    @untimed
    @given(seed=st.integers(0, 10_000))
    def test_sample_is_nobody(self, training, fitted, seed):
        rows = fitted.sample(20, np.random.default_rng(seed))
        assert rows.shape == (20, P)
        for j in CONTINUOUS:
            assert not np.isin(rows[~np.isnan(rows[:, j]), j], training[0][:, j]).any()
        for j, feature in enumerate(STUDY.features.values()):
            if feature.levels is not None:
                known = rows[~np.isnan(rows[:, j]), j]
                assert np.isin(known, range(len(feature.levels))).all()

    def test_sample_lies_in_the_training_range_with_values_missing(self, training, fitted):
        rows = fitted.sample(500, np.random.default_rng(0))
        assert 0.15 < np.isnan(rows).mean() < 0.25
        for j in CONTINUOUS:
            assert np.nanmin(rows[:, j]) > np.nanmin(training[0][:, j])
            assert np.nanmax(rows[:, j]) < np.nanmax(training[0][:, j])


def flattened(state):
    """Every list of numbers in plain data."""
    if isinstance(state, dict):
        return [part for value in state.values() for part in flattened(value)]
    if isinstance(state, list) and state and isinstance(state[0], list):
        return [part for value in state for part in flattened(value)]
    return [[np.nan if v is None else v for v in state]]


class TestTypical:
    def test_is_the_mean_of_numbers_and_the_most_usual_level(self):
        values, centre = draw(400, seed=4)
        values[:, at("lauren")] = np.where(np.arange(400) % 3 > 0, 2.0, 0.0)
        values[:, at("sex")] = np.where(np.arange(400) % 4 > 0, 1.0, 0.0)
        values[:, at("stage")] = np.where(np.arange(400) % 10 > 0, 2.0, 0.0)
        fitted = Preprocessor.fit(STUDY, values, centre)
        typical = fitted.typical()
        assert typical[[at("lauren"), at("sex"), at("stage")]].tolist() == [2, 1, 2]
        assert typical[at("age")] == pytest.approx(np.nanmean(values[:, at("age")]), abs=0.2)
        # A geometric mean, where the logarithm was taken; a median rank, for expression.
        logged = np.exp(np.nanmean(np.log(values[:, at("ca199")])))
        assert typical[at("ca199")] == pytest.approx(logged, rel=0.05)
        median = np.nanmedian(values[:, at("IL1R1")])
        assert typical[at("IL1R1")] == pytest.approx(median, abs=0.1)
        z = fitted.scale(typical[None])[0]
        wide = [at(n) for n in ("age", "ca199", "IL1R1", "CD163", "CD8_ihc")]
        np.testing.assert_allclose(z[wide], 0, atol=1e-9)

    def test_is_nobody_and_known_even_of_what_nobody_has(self):
        values, centre = draw(60, seed=6)
        values[:, at("CD163")] = np.nan
        values[:, at("lauren")] = np.nan
        typical = Preprocessor.fit(STUDY, values, centre).typical()
        assert np.isfinite(typical).all()
        assert not np.isin(typical[at("age")], values[:, at("age")])


class TestOnAssay:
    def test_expression_keeps_its_rank_and_all_else_its_value(self):
        values, centre = draw(600, seed=7)
        values[centre == "south", at("IL1R1")] += 2.0
        fitted = Preprocessor.fit(STUDY, values, centre)
        assert {"north", "south"} <= fitted.reference.keys()
        rows = np.tile(fitted.typical(), (3, 1))
        moved = fitted.on_assay(rows, np.array(["south", "north", "elsewhere"]))
        assert moved[0, at("IL1R1")] == pytest.approx(moved[1, at("IL1R1")] + 2.0, abs=0.3)
        np.testing.assert_array_equal(moved[2], rows[2])
        others = [j for j in range(P) if j not in (at("IL1R1"), at("CD163"))]
        np.testing.assert_array_equal(moved[:, others], rows[:, others])
        z = fitted.scale(moved, np.array(["south", "north", "elsewhere"]))
        np.testing.assert_allclose(z[:, at("IL1R1")], 0, atol=1e-9)
        np.testing.assert_array_equal(fitted.on_assay(rows, None), rows)
