"""Attributions: they add up, and keep the axioms that make them Shapley values."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accomplice.data.errors import InputError
from accomplice.training.models.shapley import attribute, by_modality, reference, shapley
from accomplice.training.models.survival import SurvivalModel


def drawn(n, p, seed, missing=0.0):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n, p))
    values[rng.random((n, p)) < missing] = np.nan
    return values


def by_definition(score, own, typical):
    """Shapley values (p,) over all orders."""
    p = len(own)
    found = np.zeros(p)
    orders = list(permutations(range(p)))
    for order in orders:
        row = typical.copy()
        before = score(row[None], None)[0]
        for j in order:
            row[j] = own[j]
            after = score(row[None], None)[0]
            found[j] += (after - before) / len(orders)
            before = after
    return found


def rough(X, centre):
    """A score with interactions of every order and a value for not knowing."""
    known = np.nan_to_num(X, nan=0.7)
    return np.tanh(known.sum(axis=1)) + known[:, 0] * known[:, 1] * known[:, 2] - X.shape[1]


class TestShapley:
    @given(seed=st.integers(0, 10**6), n=st.integers(1, 4), p=st.integers(1, 9))
    def test_parts_add_up_whatever_the_score(self, seed, n, p):
        def score(X, centre):
            return np.sin(np.nan_to_num(X, nan=2.0) @ np.arange(1, p + 1)) ** 3

        own, typical = drawn(n, p, seed, 0.3), drawn(n, p, seed + 1, 0.2)
        parts, base = shapley(score, own, typical, None, pairs=1)
        np.testing.assert_allclose(base, score(typical, None), atol=1e-12)
        np.testing.assert_allclose(base + parts.sum(axis=1), score(own, None), atol=1e-12)

    @given(seed=st.integers(0, 10**6))
    def test_one_pair_of_orders_is_exact_for_sums_of_single_features_and_pairs(self, seed):
        rng = np.random.default_rng(seed)
        between = rng.normal(size=(5, 5))

        def score(X, centre):
            X = np.where(np.isnan(X), 0.4, X)
            return (X**3).sum(axis=1) + np.einsum("ni,ij,nj->n", X, between, np.sin(X))

        own, typical = drawn(2, 5, seed, 0.2), drawn(2, 5, seed + 1)
        parts, _ = shapley(score, own, typical, None, pairs=1)
        for i in range(2):
            np.testing.assert_allclose(
                parts[i], by_definition(score, own[i], typical[i]), atol=1e-10
            )

    def test_more_pairs_come_nearer_to_the_definition(self):
        own, typical = drawn(12, 6, 3, 0.2), drawn(12, 6, 4)
        exact = np.stack([by_definition(rough, *row) for row in zip(own, typical, strict=True)])
        few, many = (
            np.sqrt(((shapley(rough, own, typical, None, pairs)[0] - exact) ** 2).mean())
            for pairs in (1, 80)
        )
        assert few > 0.01
        assert many < few / 3

    def test_feature_that_is_not_looked_at_gets_exactly_nothing(self):
        def score(X, centre):
            return rough(X[:, :4], centre)

        own, typical = drawn(3, 6, 5, 0.2), drawn(3, 6, 6)
        parts, _ = shapley(score, own, typical, None, pairs=2)
        assert (parts[:, 4:] == 0).all()
        assert (parts[:, :4] != 0).any(axis=0).all()

    def test_value_like_the_typical_one_gets_nothing(self):
        own, typical = drawn(2, 5, 7, 0.4), drawn(2, 5, 8, 0.4)
        own[:, 1], own[0, 2], typical[0, 2] = typical[:, 1], np.nan, np.nan
        parts, _ = shapley(rough, own, typical, None)
        assert (parts[:, 1] == 0).all()
        assert parts[0, 2] == 0

    def test_nobody_differs_from_himself(self):
        typical = drawn(2, 3, 9, 0.3)
        parts, base = shapley(rough, typical, typical, None)
        assert (parts == 0).all()
        np.testing.assert_array_equal(base, rough(typical, None))

    def test_features_that_do_the_same_get_the_same(self):
        def score(X, centre):
            return np.exp(X[:, 0] + X[:, 1]) * X[:, 2]

        own, typical = np.array([[0.8, 0.8, -1.1]]), np.array([[0.1, 0.1, 0.6]])
        parts, _ = shapley(score, own, typical, None, pairs=200)
        assert parts[0, 0] == pytest.approx(parts[0, 1], rel=0.02)

    def test_several_scores_at_once_are_each_its_own(self):
        def both(X, centre):
            return np.stack([rough(X, centre), X[:, 0] ** 2])

        own, typical = drawn(3, 5, 10), drawn(3, 5, 11)
        parts, base = shapley(both, own, typical, None)
        alone, start = shapley(rough, own, typical, None)
        np.testing.assert_array_equal(parts[0], alone)
        np.testing.assert_array_equal(base[0], start)
        assert (parts[1][:, 1:] == 0).all()

    def test_each_row_goes_with_its_own_centre(self):
        def score(X, centre):
            return X[:, 0] * np.where(centre == "b", 10.0, 1.0)

        own, typical = np.array([[2.0, 1.0]] * 2), np.zeros((2, 2))
        parts, _ = shapley(score, own, typical, np.array(["a", "b"]))
        np.testing.assert_allclose(parts[:, 0], [2.0, 20.0])


@pytest.fixture(scope="module")
def model(tiny_trained):
    return tiny_trained.bundle.primary


@pytest.fixture(scope="module")
def some(small_cohort):
    """Patients of whom some lack values, a modality, or the treatment."""
    rows = np.arange(12)
    values = small_cohort.values[rows].copy()
    study = small_cohort.study
    values[0, study.treatment_position] = np.nan
    values[1] = np.nan
    values[2, list(study.blocks["macrophage"])] = np.nan
    assert np.isnan(values[3:]).any()
    return values, small_cohort.centre[rows]


class TestOfAModel:
    def test_parts_add_up_to_the_risk_that_predict_gives(self, model, some):
        found = attribute(model, *some)
        own = model.risk(*some)
        np.testing.assert_array_equal(own, model.answer(*some).risk)
        # The network's matrix products are in single precision, and are summed as their size wants.
        np.testing.assert_allclose(found.risk, own, atol=1e-6)
        for i in range(3):
            alone = shapley(
                model.risk,
                some[0][i : i + 1],
                reference(model, some[1][i : i + 1], 1),
                some[1][i : i + 1],
            )
            total = alone[1] + alone[0].sum(axis=1)
            np.testing.assert_allclose(found.risk[i : i + 1], total, atol=1e-9)

    def test_modalities_add_up_too(self, model, some):
        found = attribute(model, *some, pairs=1)
        total = found.base + found.modalities.sum(axis=1)
        np.testing.assert_allclose(total, found.risk, atol=1e-12)
        blocks = model.study.blocks
        place = list(blocks).index("stroma")
        stroma = found.features[:, list(blocks["stroma"])].sum(axis=1)
        np.testing.assert_allclose(found.modalities[:, place], stroma)

    def test_patient_is_explained_alone_as_among_others_and_always_the_same(self, model, some):
        values, centre = some
        together = attribute(model, values, centre)
        np.testing.assert_array_equal(attribute(model, values, centre).features, together.features)
        for i in (0, 2, 7):
            alone = attribute(model, values[i : i + 1], centre[i : i + 1])
            np.testing.assert_allclose(alone.features[0], together.features[i], atol=1e-9, rtol=0)
            np.testing.assert_allclose(alone.base[0], together.base[i], atol=1e-9, rtol=0)

    def test_linear_model_gives_each_feature_its_term(self, tiny_trained, some):
        model = anchor_alone(tiny_trained.bundle.primary)
        values, centre = some
        found = attribute(model, values, centre, pairs=1)
        anchor, preprocessor = model.ensemble.folds[0].anchor, model.preprocessors[0]
        single = preprocessor.single_columns()
        typical = reference(model, centre, len(values))
        age = list(model.study.features).index("age")
        (column,) = (i for i, c in enumerate(single) if c.features == ("age",))
        z = [preprocessor.singles(model.blind(v), centre)[:, column] for v in (values, typical)]
        known = ~np.isnan(values[:, age])
        term = anchor.beta[column] * (z[0] - z[1])[known]
        assert np.abs(term).max() > 1e-3
        np.testing.assert_allclose(found.features[known, age], term, atol=1e-9)

    def test_treatment_gets_nothing_where_it_has_no_effect_or_is_not_given(self, model, some):
        values, centre = some
        j = model.study.treatment_position
        found = attribute(model, values, centre, pairs=1).features[:, j]
        given = values[:, j] == 1
        assert given.any()
        assert (found[given] != 0).all()
        assert found[0] != 0  # not known
        assert (found[values[:, j] == 0] == 0).all()
        without = replace(model, effect=None, no_effect="none")
        assert (attribute(without, values, centre, pairs=1).features[:, j] == 0).all()

    def test_missing_value_gets_what_not_knowing_it_changes(self, model, some):
        _, centre = some
        typical = reference(model, centre[:1], 1)
        without = typical.copy()
        j = list(model.study.features).index("IL1R1")
        without[0, j] = np.nan
        found = attribute(model, without, centre[:1])
        expected = model.risk(without, centre[:1]) - model.risk(typical, centre[:1])
        np.testing.assert_allclose(found.features[0, j], expected[0], atol=1e-6)
        assert np.count_nonzero(found.features) <= 1

    def test_tells_of_its_progress(self, model, some):
        told = []
        attribute(model, some[0][:2], some[1][:2], 1, lambda *t: told.append(t))
        assert told == [("patients", 0, 2), ("patients", 1, 2), ("patients", 2, 2)]

    def test_nobody_is_explained_without_rows(self, model, some):
        found = attribute(model, some[0][:0], some[1][:0])
        assert found.features.shape == (0, some[0].shape[1])


def anchor_alone(model: SurvivalModel) -> SurvivalModel:
    """The first fold's ridge Cox alone: linear on the scale of the log-hazard."""
    ensemble = model.ensemble
    weights = np.array([1.0, 0.0, 0.0, 0.0])
    fold = ensemble.folds[0]  # on the common grid its hazards stay proportional
    stack = replace(ensemble.stack, weights=weights, slope=1.0, level=0.0)
    folds = tuple(fold for _ in ensemble.folds)
    alone = replace(ensemble, folds=folds, stack=stack)
    return replace(model, ensemble=alone, effect=None, no_effect="left out")


class TestReference:
    def test_is_typical_untreated_and_known(self, model, small_cohort):
        typical = reference(model, None, 1)[0]
        assert not np.isnan(typical).any()
        found = dict(zip(model.study.features, typical, strict=True))
        assert found["act"] == 0
        assert found["lauren"] == 0  # intestinal, the most frequent
        assert found["stage"] in (1.0, 2.0)
        names = list(model.study.features)
        median = np.nanmedian(small_cohort.values, axis=0)
        for name in ("age", "IL1R1", "CD8A", "CD163_ihc"):
            j = names.index(name)
            spread = np.nanstd(small_cohort.values[:, j])
            assert abs(typical[j] - median[j]) < 0.4 * spread

    def test_all_numbers_are_where_models_have_their_zero(self, model):
        typical = reference(model, None, 1)
        z = model.preprocessors[0].scale(model.blind(typical))
        features = model.study.prognostic().features.values()
        numbers = [j for j, f in enumerate(features) if f.levels is None]
        np.testing.assert_allclose(z[0, numbers], 0, atol=1e-9)

    def test_expression_is_that_of_the_patient_s_own_assay(self, model):
        preprocessor = model.preprocessors[0]
        j = list(model.study.features).index("IL1R1")
        shifted = preprocessor.reference[""] + 3.0
        own = replace(preprocessor, reference={**preprocessor.reference, "far": shifted})
        folds = tuple(replace(f, preprocessor=own) for f in model.ensemble.folds)
        model = replace(model, ensemble=replace(model.ensemble, folds=folds))
        found = reference(model, np.array(["far", "nowhere"]), 2)
        assert found[0, j] == pytest.approx(found[1, j] + 3.0)
        z = own.scale(model.blind(found), np.array(["far", "nowhere"]))
        np.testing.assert_allclose(z[0], z[1], atol=1e-9)


class TestExplain:
    def test_columns_are_those_of_the_contract(self, tiny_trained, small_frame):
        bundle = tiny_trained.bundle
        found = bundle.explain(small_frame.head(4))
        features = [f"feature.{name}" for name in bundle.study.features]
        modalities = [f"modality.{name}" for name in bundle.study.blocks]
        assert list(found.columns) == ["patient_id", "risk", "base", *features, *modalities]
        total = found["base"] + found[features].sum(axis=1)
        np.testing.assert_allclose(total, found["risk"], atol=1e-12)
        np.testing.assert_allclose(found["base"] + found[modalities].sum(axis=1), found["risk"])
        predicted = bundle.predict(small_frame.head(4))
        assert list(found["patient_id"]) == list(predicted["patient_id"])
        np.testing.assert_allclose(found["risk"], predicted["risk"], atol=1e-6)

    def test_model_without_survival_says_so(self, labels_trained, several_frame):
        with pytest.raises(InputError, match="has none"):
            labels_trained.bundle.explain(several_frame.head(2))


@pytest.fixture(scope="module")
def small_frame():
    from accomplice.data.synthetic import draw

    frame: pd.DataFrame = draw(240, seed=11).frame
    return frame


def test_modalities_sum_over_the_last_axis(small_cohort):
    ones = np.ones((3, 2, small_cohort.values.shape[1]))
    found = by_modality(small_cohort.study, ones)
    sizes = [len(block) for block in small_cohort.study.blocks.values()]
    np.testing.assert_array_equal(found, np.broadcast_to(sizes, (3, 2, len(sizes))))
