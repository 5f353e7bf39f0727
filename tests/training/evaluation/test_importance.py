"""Importance, partial effects and surfaces: of models whose truth is known, and of a fitted one."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from accomplice.data.cohort import Cohort, build_cohort
from accomplice.data.study import parse_study
from accomplice.data.synthetic import draw
from accomplice.training.config import configure
from accomplice.training.evaluation.importance import (
    AVERAGED,
    importance,
    partial_effect,
    partial_effects,
    surface,
)
from accomplice.training.models.jackknife import versions
from accomplice.training.run import train
from tests.training.models.test_shapley import anchor_alone


@pytest.fixture(scope="module")
def model(tiny_trained):
    return tiny_trained.bundle.primary


@pytest.fixture(scope="module")
def ranked(model, small_cohort):
    return importance(model, small_cohort.values, small_cohort.centre)


def noisy(n: int, seed: int) -> Cohort:
    """Patients whose survival hangs on age and N stage alone, among features that are noise."""
    rng = np.random.default_rng(seed)
    frame = draw(n, seed=seed).frame[["patient_id"]].copy()
    age, n_stage = rng.normal(62, 11, n), rng.integers(0, 4, n)
    log_hz = 0.07 * (age - 62) + 0.6 * (n_stage - 1.5)
    death = rng.exponential(40, n) * np.exp(-log_hz)
    frame["months"] = np.minimum(death, 60.0).round(1) + 0.1
    frame["dead"] = (death < 60).astype(int)
    frame["age"], frame["n_stage"] = age.round(), [f"N{k}" for k in n_stage]
    for j in range(4):
        frame[f"noise_{j}"] = rng.normal(size=n)
    frame["noise_level"] = rng.choice(["a", "b", "c"], n)
    frame.loc[rng.random(n) < 0.2, "noise_0"] = np.nan
    study = {
        "name": "noisy",
        "source": {"files": ["made-up.csv"]},
        "id": "patient_id",
        "endpoints": {"survival": {"os": {"time": "months", "event": "dead"}}},
        "modalities": {
            "clinical": {
                "age": {"kind": "number"},
                "n_stage": {"kind": "ordinal", "levels": ["N0", "N1", "N2", "N3"]},
            },
            "noise": {
                **{f"noise_{j}": {"kind": "number"} for j in range(4)},
                "noise_level": {"kind": "category", "levels": ["a", "b", "c"]},
            },
        },
        "interactions": [["noise_0", "noise_level"], ["age", "noise_1"]],
    }
    return build_cohort(parse_study(study, "noisy"), frame)


@pytest.fixture(scope="module")
def noise():
    """A cohort with features of no effect, its model and their importance."""
    cohort = noisy(500, 5)
    settings = ("net.members=2", "net.max_epochs=30", "evaluation.bootstraps=20", "forest.trees=30")
    unjudged = ("evaluation.explanations=false", "evaluation.peers=false")
    model = train(cohort, configure([*settings, *unjudged])).bundle.primary
    return cohort, model, importance(model, cohort.values, None)


class TestImportance:
    def test_features_of_no_effect_get_next_to_none_and_their_intervals_say_so(self, noise):
        _, _, ranked = noise
        assert {each.feature for each in ranked[:2]} == {"age", "n_stage"}
        least = min(each.size.value for each in ranked[:2])
        for each in ranked[:2]:
            assert each.size.low > 0
        for each in ranked[2:]:
            assert each.modality == "noise"
            assert each.size.value < 0.15 * least
            assert each.size.low <= 0

    def test_is_ordered_and_names_every_feature_once(self, ranked, small_cohort):
        sizes = [each.size.value for each in ranked]
        assert sizes == sorted(sizes, reverse=True)
        assert sorted(each.feature for each in ranked) == sorted(small_cohort.study.features)
        for each in ranked:
            assert each.size.low <= each.size.value <= each.size.high

    def test_is_the_same_again(self, model, small_cohort, ranked):
        few = small_cohort.values[:20], small_cohort.centre[:20]
        assert importance(model, *few) == importance(model, *few)

    def test_treatment_s_interval_is_that_of_its_effect(self, model, small_cohort):
        few = small_cohort.values[:30], small_cohort.centre[:30]
        found = {
            scale: next(
                each.size
                for each in importance(scaled(model, scale), *few)
                if each.modality == "treatment"
            )
            for scale in (0.25, 4.0)
        }
        widths = {scale: span.high - span.low for scale, span in found.items()}
        assert widths[4.0] > 2 * widths[0.25]

    def test_treatment_without_an_effect_has_none(self, model, small_cohort):
        without = replace(model, effect=None, no_effect="none")
        few = small_cohort.values[:10], small_cohort.centre[:10]
        (act,) = (e for e in importance(without, *few) if e.modality == "treatment")
        assert act.size.value == act.size.low == act.size.high == 0


def scaled(model, scale):
    """The same model, less or more sure of its effect."""
    effect = replace(model.effect, covariance=model.effect.covariance * scale**2)
    return replace(model, effect=effect)


class TestPartialEffects:
    def test_of_a_linear_model_is_its_line(self, tiny_trained, small_cohort):
        model = anchor_alone(tiny_trained.bundle.primary)
        cohort = small_cohort
        found = partial_effect(model, cohort.values, cohort.centre, "age")
        anchor, preprocessor = model.ensemble.folds[0].anchor, model.preprocessors[0]
        columns = preprocessor.single_columns()
        (j,) = (i for i, column in enumerate(columns) if column.features == ("age",))
        age = list(cohort.study.prognostic().features).index("age")
        slope = anchor.beta[j] / preprocessor.sd[age]
        rise = np.diff(found.log_hz.value) / np.diff(found.at)
        np.testing.assert_allclose(rise, slope, rtol=1e-6)
        # All folds are the same here, so that nothing is left to chance.
        np.testing.assert_allclose(found.log_hz.low, found.log_hz.high, atol=1e-9)

    def test_recover_what_is_true(self, noise):
        cohort, model, ranked = noise
        found = {e.feature: e for e in partial_effects(model, cohort.values, None, ranked)}
        stage = found["n_stage"]
        assert stage.levels == ("N0", "N1", "N2", "N3")
        rise = np.diff(stage.log_hz.value)
        assert (rise > 0.25).all()
        flat = found["noise_1"].log_hz
        assert max(flat.value) - min(flat.value) < 0.15 * rise.sum()
        assert flat.low[0] <= 0 <= flat.high[0]

    def test_are_of_the_strongest_and_of_the_study_s_interactions(
        self, model, small_cohort, ranked
    ):
        found = partial_effects(model, small_cohort.values, small_cohort.centre, ranked)
        named = [effect.feature for effect in found]
        assert named[:8] == [each.feature for each in ranked[:8]]
        assert {"act", "IL1R1", "msi", "CD8A", "FAP", "CD163"} <= set(named)
        assert len(named) == len(set(named))
        for effect in found:
            curve = effect.log_hz
            assert len(curve.value) == len(curve.low) == len(curve.high) == len(effect.at)
            assert (np.array(curve.low) <= curve.high).all()

    def test_of_the_treatment_is_of_having_and_not_having_it(self, model, small_cohort):
        found = partial_effect(model, small_cohort.values, small_cohort.centre, "act")
        assert found.levels == ("no", "yes")
        assert found.at == (0.0, 1.0)

    def test_of_what_does_not_vary_there_is_none(self, model, small_cohort):
        values = small_cohort.values.copy()
        names = list(small_cohort.study.features)
        values[:, names.index("age")] = 60.0
        values[:, names.index("IL1R1")] = np.nan
        for name in ("age", "IL1R1"):
            assert partial_effect(model, values, small_cohort.centre, name) is None

    def test_no_patient_s_value_is_kept(self, model, small_cohort):
        j = list(small_cohort.study.features).index("CD163_ihc")
        rng = np.random.default_rng(1)
        values = small_cohort.values.copy()
        values[:, j] = rng.lognormal(5, 1, len(values))
        found = partial_effect(model, values, small_cohort.centre, "CD163_ihc")
        assert not np.isin(found.at, values[:, j]).any()


class TestSurface:
    def test_is_of_the_pair_named_without_the_treatment(self, model, small_cohort, ranked):
        found = surface(model, small_cohort.values, small_cohort.centre, ranked)
        assert (found.x, found.y) == ("IL1R1", "CD163")
        shape = np.array(found.survival).shape
        assert shape == (len(found.at_y), len(found.at_x))
        assert found.month == 60
        assert ((np.array(found.survival) > 0) & (np.array(found.survival) < 1)).all()
        assert found.interaction.low <= found.interaction.value <= found.interaction.high

    def test_rows_are_y_and_columns_x(self, model, small_cohort, ranked):
        few = small_cohort.values[:AVERAGED], small_cohort.centre[:AVERAGED]
        study = small_cohort.study.model_copy(update={"interactions": (("age", "IL1R1"),)})
        found = surface(replace(model, study=study), *few, ranked)
        grid = np.array(found.survival)
        fall = grid[:, 0] - grid[:, -1]
        assert (found.x, found.y) == ("age", "IL1R1")
        assert (fall > 0).all()  # the old die earlier, whatever the marker

    def test_else_the_modifier_with_the_strongest_number_of_another_modality(
        self, model, small_cohort, ranked
    ):
        pairs = (("act", "msi"), ("act", "CD8A"))
        study = small_cohort.study.model_copy(update={"interactions": pairs})
        found = surface(
            replace(model, study=study), small_cohort.values, small_cohort.centre, ranked
        )
        numbers = [
            each.feature
            for each in ranked
            if study.features[each.feature].levels is None and each.modality != "t_cell"
        ]
        assert (found.x, found.y) == ("CD8A", numbers[0])

    def test_none_where_no_two_numbers_are_named(self, model, small_cohort, ranked):
        study = small_cohort.study.model_copy(update={"interactions": (("act", "msi"),)})
        assert surface(replace(model, study=study), small_cohort.values, None, ranked) is None

    def test_sum_of_two_lines_departs_from_none(self, tiny_trained, small_cohort, ranked):
        model = anchor_alone(tiny_trained.bundle.primary)
        study = small_cohort.study.model_copy(update={"interactions": (("age", "FAP"),)})
        model = replace(model, study=study)
        found = surface(model, small_cohort.values, small_cohort.centre, ranked)
        assert found.interaction.value == pytest.approx(0, abs=1e-9)


def test_what_is_kept_is_plain_json(model, small_cohort, ranked):
    some = small_cohort.values, small_cohort.centre
    parts = [*ranked, *partial_effects(model, *some, ranked), surface(model, *some, ranked)]
    for part in parts:
        again = type(part).model_validate(json.loads(part.model_dump_json()))
        assert again.model_dump_json() == part.model_dump_json()


def test_versions_of_many_patients_are_those_of_a_few(model, small_cohort):
    values = np.tile(small_cohort.values, (9, 1))
    few = versions(model, small_cohort.values, None)
    np.testing.assert_allclose(versions(model, values, None)[:, : len(few[0])], few, rtol=1e-5)
