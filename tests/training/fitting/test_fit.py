"""Fitting: nothing of a held-out patient reaches the fold that holds them out, by a single bit."""

from __future__ import annotations

import json
import pickle
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
import yaml

from accomplice.data.cohort import build_cohort
from accomplice.data.errors import InputError
from accomplice.data.panels.panel import panel_text
from accomplice.data.splits import within
from accomplice.data.study import parse_study
from accomplice.data.synthetic import draw
from accomplice.training.config import configure
from accomplice.training.estimators.hazard import log_risk, survival
from accomplice.training.evaluation.scores import judge_predicted
from accomplice.training.fitting import folds as dividing
from accomplice.training.fitting.fit import each_fold, effects_variance, fit, spread_ratio
from accomplice.training.fitting.network import for_patients, pack
from accomplice.training.fitting.out_of_fold import from_fit
from accomplice.training.fitting.prepare import prepare
from accomplice.training.learners.network.batches import TRAINS, VALIDATES
from accomplice.training.learners.network.inference import fold_axis
from accomplice.training.learners.network.inputs import net_columns
from accomplice.training.learners.registry import LEARNERS, stack_order
from accomplice.training.learners.stack import fit_stack
from accomplice.training.treatment.benefit import under
from accomplice.training.treatment.compared import compared

FOLDS, REPEATS = 3, 2


@pytest.fixture(scope="module")
def config():
    return configure(
        [
            f"folds.folds={FOLDS}",
            f"folds.repeats={REPEATS}",
            "anchor.folds=2",
            "net.members=2",
            "net.max_epochs=3",
            "net.steps_per_epoch=2",
            "net.patience=2",
            "net.dropout=0.3",
            "net.modality_dropout=0.2",
            "forest.trees=10",
            "boosting.members=2",
            "boosting.max_rounds=12",
            "boosting.patience=4",
        ]
    )


@pytest.fixture(scope="module")
def cohort(small_cohort):
    return small_cohort.take(np.arange(150))


@pytest.fixture(scope="module")
def fitted(cohort, config):
    return fit(prepare(cohort, config), config)


def refit(monkeypatch, cohort, config, fold):
    """Fit on a changed cohort with the folds that the unchanged one had."""
    outer = iter(fold)
    own = dividing.stratified_folds

    def given_folds(event, time, folds, seed, groups=None):
        # Only the outer division is of all patients; the others see training patients alone.
        if len(time) == len(cohort):
            return next(outer)
        return own(event, time, folds, seed, groups)

    monkeypatch.setattr(dividing, "stratified_folds", given_folds)
    return fit(prepare(cohort, config), config)


def changed_features(cohort, rows, seed=0):
    """The cohort with every value of some patients replaced, missing ones made known too."""
    values = cohort.values.copy()
    rng = np.random.default_rng(seed)
    for j, feature in enumerate(cohort.study.features.values()):
        if feature.levels is not None:
            values[rows, j] = rng.integers(0, len(feature.levels), len(rows))
        else:
            values[rows, j] = rng.uniform(0, 5000, len(rows))
    assert not np.isnan(values[rows]).any()
    return replace(cohort, values=values)


def same_state(a, b):
    """Whether two fitted objects hold the same numbers, bit for bit."""
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same_state(a[k], b[k]) for k in a)
    if hasattr(a, "__dataclass_fields__"):
        return all(same_state(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    return a == b


def weights_of(net, k):
    """Parameters of one fold model's share of the packed network."""
    return {
        name: np.split(w, net.shape.folds, axis=fold_axis(name))[k]
        for name, w in net.weights.items()
    }


def same_fold_model(a, b, k):
    """Whether fold model k of two fits is the same: preprocessing, bins and each learner."""
    left, right = a.ensemble.folds[k], b.ensemble.folds[k]
    parts = {
        "preprocessor": same_state(left.preprocessor, right.preprocessor),
        "grid": same_state(left.grid, right.grid),
        **{name: same_state(left.learners[name], right.learners[name]) for name in LEARNERS},
    }
    first, second = weights_of(a.ensemble.net, k), weights_of(b.ensemble.net, k)
    parts |= {name: np.array_equal(first[name], second[name]) for name in first}
    return parts


class TestLeak:
    @pytest.mark.parametrize("k", range(FOLDS * REPEATS))
    def test_features_of_held_out_patients_change_nothing_of_their_fold(
        self, monkeypatch, cohort, config, fitted, k
    ):
        rows = np.flatnonzero(fitted.prepared.held_out[k])
        assert len(rows) == len(cohort) // FOLDS
        other = changed_features(cohort, rows)
        again = refit(monkeypatch, other, config, fitted.prepared.fold)
        same = same_fold_model(fitted, again, k)
        assert all(same.values()), [name for name, equal in same.items() if not equal]

    @pytest.mark.parametrize("k", [0, FOLDS * REPEATS - 1])
    def test_outcomes_of_held_out_patients_change_nothing_of_their_fold(
        self, monkeypatch, cohort, config, fitted, k
    ):
        rows = fitted.prepared.held_out[k]
        time, event = cohort.time.copy(), cohort.event.copy()
        time[rows] = np.random.default_rng(0).uniform(1, 100, rows.sum())
        event[rows] = ~event[rows]
        other = replace(cohort, time=time, event=event)
        again = refit(monkeypatch, other, config, fitted.prepared.fold)
        same = same_fold_model(fitted, again, k)
        assert all(same.values()), [name for name, equal in same.items() if not equal]

    def test_the_other_folds_do_learn_from_them(self, monkeypatch, cohort, config, fitted):
        rows = np.flatnonzero(fitted.prepared.held_out[0])
        again = refit(monkeypatch, changed_features(cohort, rows), config, fitted.prepared.fold)
        for k in range(1, FOLDS):
            same = same_fold_model(fitted, again, k)
            for part in ("preprocessor", "anchor", "forest", "boosting", "hazard", "skip"):
                assert not same[part], (k, part)

    def test_prediction_of_a_patient_does_not_depend_on_their_own_outcome(
        self, monkeypatch, cohort, config, fitted
    ):
        grid = fitted.prepared.grid
        # Someone who had the event, someone censored: both get another outcome.
        for i in (np.flatnonzero(cohort.event)[3], np.flatnonzero(~cohort.event)[5]):
            time, event = cohort.time.copy(), cohort.event.copy()
            time[i], event[i] = 1.5, not event[i]
            other = replace(cohort, time=time, event=event)
            again = refit(monkeypatch, other, config, fitted.prepared.fold)
            own = [out_of_fold_curves(made, i, grid) for made in (fitted, again)]
            np.testing.assert_array_equal(*own)
            assert not np.array_equal(fitted.learners, again.learners)

    def test_members_stop_early_by_training_patients_alone(self, cohort, config, fitted):
        data, _ = pack(fitted.prepared, config)
        held_out = torch.from_numpy(fitted.prepared.held_out)[:, None]
        assert torch.equal(data.role == 0, held_out.expand_as(data.role))
        for role in (TRAINS, VALIDATES):
            assert ((data.role == role).sum(-1) > 0).all()

    def test_of_more_patients_than_a_batch_one_batch_is_held_out(self, config, fitted):
        few = config.model_copy(update={"net": config.net.model_copy(update={"batch_size": 50})})
        (data, _), (whole, _) = (pack(fitted.prepared, each) for each in (few, config))
        assert torch.equal(data.role != 0, whole.role != 0)
        held_out = data.role == VALIDATES
        assert (whole.role[held_out] == VALIDATES).all()
        assert (held_out.any(1).sum(-1) <= 50).all()
        assert (held_out.sum(-1) > 0).all()

    def test_with_many_patients_the_network_has_fewer_members_and_less_dropout(self, config):
        config = configure(["net.members=8", "net.dropout=0.4", "net.batch_size=100"])
        assert for_patients(config, 100) == config
        made = [for_patients(config, n).net for n in (121, 400, 40_000)]
        assert [net.members for net in made] == [8, 4, 4]
        assert [net.dropout for net in made] == pytest.approx([0.4 / 1.1, 0.2, 0.02])

    def test_what_makes_the_inputs_can_be_sent_to_another_process(self, config, fitted):
        data, _ = pack(fitted.prepared, config)
        rows = np.tile(np.arange(5), (len(fitted.prepared.models), 1))
        sent = pickle.loads(pickle.dumps(data.encode))
        for ours, theirs in zip(data.encode(rows), sent(rows), strict=True):
            assert torch.equal(ours, theirs)


def listed(cohort, feature, place):
    """The cohort as it is where the study lists the treatment among its features."""
    raw = json.loads(json.dumps(cohort.study.describe()))
    clinical = raw["modalities"]["clinical"]
    names = list(clinical)
    names.insert(place, "act")
    raw["modalities"]["clinical"] = {n: feature if n == "act" else clinical[n] for n in names}
    study = parse_study(raw, "x")
    place = list(study.features).index("act")
    # All cohorts have the treatment last, as 0 or 1.
    own = cohort.values[:, -1]
    if feature.get("levels") == ["yes", "no"]:
        own = 1 - own
    return replace(cohort, study=study, values=np.insert(cohort.values[:, :-1], place, own, axis=1))


@pytest.fixture(scope="module")
def everybody(small_cohort):
    """Patients of whom enough tell of the treatment: it is an option at every stage."""
    study = small_cohort.study
    treatment = study.treatment.model_copy(update={"eligible": {}})
    values = small_cohort.values.copy()
    values[::12, -1] = np.nan
    study = study.model_copy(update={"treatment": treatment})
    return replace(small_cohort, study=study, values=values)


@pytest.fixture(scope="module")
def estimated(everybody, config):
    made = fit(prepare(everybody, config), config)
    assert made.effect is not None, made.no_effect
    return made


class TestTreatment:
    def test_learners_do_not_see_it(self, monkeypatch, everybody, config, estimated):
        order = np.random.default_rng(0).permutation(len(everybody))
        values = everybody.values.copy()
        values[:, -1] = values[order, -1]
        again = refit(
            monkeypatch, replace(everybody, values=values), config, estimated.prepared.fold
        )
        for k in range(FOLDS * REPEATS):
            assert all(same_fold_model(estimated, again, k).values())
        assert same_state(again.ensemble.stack, estimated.ensemble.stack)
        np.testing.assert_array_equal(again.learners, estimated.learners)
        np.testing.assert_array_equal(again.blind, estimated.blind)
        assert again.effect.effect.to_json() != estimated.effect.effect.to_json()
        assert not np.array_equal(again.cumulative, estimated.cumulative)

    def test_no_column_of_theirs_is_made_from_it(self, estimated):
        assert estimated.prepared.cohort.study.treatment.column == "act"
        for model in estimated.ensemble.folds:
            preprocessor = model.preprocessor
            columns = [*preprocessor.linear_columns(), *preprocessor.embedded_columns()]
            assert "act" not in {name for column in columns for name in column.features}

    @pytest.mark.parametrize(
        ("feature", "place"),
        [
            ({"kind": "number"}, 0),
            ({"kind": "category", "levels": ["yes", "no"]}, 2),
            ({"kind": "category", "levels": ["no", "yes"]}, 1),
        ],
    )
    def test_listed_among_the_features_it_is_the_same(
        self, everybody, config, estimated, feature, place
    ):
        other = listed(everybody, feature, place)
        if feature["kind"] == "number":
            treatment = {"treated": ("1",), "untreated": ("0",)}
            update = {"treatment": everybody.study.treatment.model_copy(update=treatment)}
            other = replace(other, study=other.study.model_copy(update=update))
        np.testing.assert_array_equal(other.treated, everybody.treated)
        again = fit(prepare(other, config), config)
        for k in range(FOLDS * REPEATS):
            left, right = again.ensemble.folds[k], estimated.ensemble.folds[k]
            assert same_state(left.anchor, right.anchor)
            assert same_state(left.learners["boosting"], right.learners["boosting"])
        np.testing.assert_array_equal(again.blind, estimated.blind)
        np.testing.assert_array_equal(again.cumulative, estimated.cumulative)
        assert again.effect.effect.to_json() == estimated.effect.effect.to_json()

    def test_curves_are_the_blind_ones_under_the_treatment_had(self, everybody, estimated):
        expected = under(estimated.blind, estimated.effect.patients, everybody.treated)
        np.testing.assert_array_equal(estimated.cumulative, expected)
        unknown = np.isnan(everybody.treated)
        assert unknown.any()
        np.testing.assert_array_equal(estimated.cumulative[unknown], estimated.blind[unknown])
        assert (estimated.cumulative[~unknown, -1] != estimated.blind[~unknown, -1]).all()
        assert estimated.no_effect == ""

    def test_patients_of_unknown_treatment_still_teach_the_learners(
        self, monkeypatch, everybody, config, estimated
    ):
        values = everybody.values.copy()
        values[20:60, -1] = np.nan
        unknown = replace(everybody, values=values)
        again = refit(monkeypatch, unknown, config, estimated.prepared.fold)
        np.testing.assert_array_equal(again.blind, estimated.blind)
        assert not compared(unknown)[20:60].any()

    @pytest.mark.parametrize("treated", [0, 9])
    def test_known_of_too_few_there_is_no_effect_and_the_reason(self, everybody, config, treated):
        values = everybody.values.copy()
        values[np.flatnonzero(everybody.treated == 1)[treated:], -1] = np.nan
        made = fit(prepare(replace(everybody, values=values), config), config)
        assert made.effect is None
        assert "treated patients with" in made.no_effect
        assert "are too few: 20 and 8 are needed in each arm" in made.no_effect
        np.testing.assert_array_equal(made.cumulative, made.blind)

    def test_study_without_one_has_the_same_learners(self, everybody, config, estimated):
        made = fit(prepare(everybody.prognostic(), config), config)
        assert made.effect is None
        assert made.no_effect == "the study names no treatment"
        np.testing.assert_array_equal(made.cumulative, estimated.blind)


def with_events(cohort, count):
    """The cohort with all but so many of its events before the horizon censored."""
    event = cohort.event & (cohort.time <= cohort.horizon)
    event[np.flatnonzero(event)[count:]] = False
    return replace(cohort, event=event)


def out_of_fold_curves(made, i, grid):
    """Curves of patient i by the fold models that have not seen them, on a given grid."""
    prepared, found = made.prepared, []
    rows = np.arange(len(prepared.cohort))
    for k in np.flatnonzero(prepared.held_out[:, i]):
        alone = replace(made.ensemble.alone[k], grid=grid)
        curves = alone.of_inputs(prepared.inputs(k, rows))
        found.extend(curves.learners[0, :, i])
        found.extend(curves.members[0, :, i])
    assert len(found) == REPEATS * (len(stack_order()) + 2)
    return np.stack(found)


class TestDeterminism:
    def test_same_seed_gives_the_same_everything_bit_for_bit(self, cohort, config, fitted):
        again = fit(prepare(cohort, config), config)
        for k in range(FOLDS * REPEATS):
            assert all(same_fold_model(fitted, again, k).values())
        assert same_state(again.ensemble.stack, fitted.ensemble.stack)
        np.testing.assert_array_equal(again.learners, fitted.learners)
        np.testing.assert_array_equal(again.cumulative, fitted.cumulative)
        assert again.history == fitted.history

    def test_fitting_leaves_what_was_prepared_alone(self, cohort, config, fitted):
        prepared = prepare(cohort, config)
        first = fit(prepared, config)
        second = fit(prepared, config)
        np.testing.assert_array_equal(first.cumulative, second.cumulative)

    def test_another_seed_gives_another_model(self, cohort, config, fitted):
        other = config.model_copy(update={"seed": 1})
        again = fit(prepare(cohort, other), other)
        assert not np.array_equal(again.cumulative, fitted.cumulative)

    def test_state_of_the_global_generators_is_no_matter(self, cohort, config, fitted):
        torch.manual_seed(123)
        np.random.seed(123)  # noqa: NPY002
        again = fit(prepare(cohort, config), config)
        np.testing.assert_array_equal(again.cumulative, fitted.cumulative)


class TestFolds:
    def test_every_patient_is_held_out_once_a_repeat(self, cohort, fitted):
        held_out = fitted.prepared.held_out
        assert held_out.shape == (FOLDS * REPEATS, len(cohort))
        for repeat in held_out.reshape(REPEATS, FOLDS, -1):
            assert (repeat.sum(axis=0) == 1).all()
        assert not np.array_equal(held_out[:FOLDS], held_out[FOLDS:])

    def test_few_events_make_fewer_folds(self, cohort, config):
        prepared = prepare(with_events(cohort, 10), configure(["folds.folds=8"], config))
        assert len(prepared.models) == 5 * REPEATS

    def test_too_few_events_are_refused(self, cohort, config):
        with pytest.raises(InputError, match="9 events before the horizon are too few"):
            prepare(with_events(cohort, 9), config)

    @pytest.mark.parametrize("count", [10, 11])
    def test_fewest_events_that_are_taken_do_fit(self, cohort, config, count):
        made = fit(prepare(with_events(cohort, count), config), config)
        assert np.isfinite(made.cumulative).all()

    def test_events_after_the_horizon_are_censored_there(self, cohort):
        long = replace(cohort, time=cohort.time + 40)
        time, event = long.outcome
        assert cohort.horizon == 60
        assert time.max() == 60
        assert (event == (long.event & (long.time <= 60))).all()
        assert event.sum() < long.event.sum()


class TestResult:
    def test_out_of_fold_curves_are_curves(self, cohort, fitted):
        for curve in (fitted.cumulative, *fitted.learners):
            assert curve.shape == (len(cohort), fitted.prepared.grid.bins + 1)
            assert np.isfinite(curve).all()
            assert (curve[:, 0] == 0).all()
            assert (np.diff(curve, axis=1) >= 0).all()

    def test_prediction_is_the_mean_of_the_folds_survivals(self, cohort, fitted):
        ensemble, grid = fitted.ensemble, fitted.ensemble.grid
        rows = cohort.prognostic().values[:9]
        inputs = [f.preprocessor.transform(rows, cohort.centre[:9]) for f in ensemble.folds]
        x = []
        for fold, made in zip(ensemble.folds, inputs, strict=True):
            order, scale = net_columns(fold.preprocessor, fold.anchor.beta)
            both = np.concatenate([made.linear, made.embedded], axis=1)
            x.append(both[:, order].T * scale[:, None])
        present = np.stack([made.present.T for made in inputs])
        logits = ensemble.net.logits(*(np.float32(a) for a in (x, present))).astype(float)
        lived = {name: [] for name in stack_order()}
        for fold, made in zip(ensemble.folds, inputs, strict=True):
            for name, learner in fold.learners.items():
                curve = learner.cumulative(made.linear)
                lived[name].append(survival(fold.grid.at(curve, grid.edges)))
        for fold, each in zip(ensemble.folds, logits, strict=True):
            for member in each:
                # Discrete hazards: survival past a bin is the product of what is left in each.
                left = np.cumprod(1 - 1 / (1 + np.exp(-member[:, : fold.grid.bins])), axis=1)
                curve = -np.log(np.pad(left, ((0, 0), (1, 0)), constant_values=1.0))
                lived["net"].append(survival(fold.grid.at(curve, grid.edges)))
        learners = -np.log([np.mean(curves, axis=0) for curves in lived.values()])
        np.testing.assert_allclose(
            ensemble.cumulative(rows, cohort.centre[:9]),
            ensemble.stack.cumulative(learners),
            rtol=1e-5,
        )

    def test_replicates_are_one_curve_a_fold_and_member(self, cohort, fitted):
        # A network that gained nothing has no part in the stack: give it one to tell members apart.
        weights = np.full(len(stack_order()), 1 / len(stack_order()))
        stack = replace(fitted.ensemble.stack, weights=weights)
        ensemble = replace(fitted.ensemble, stack=stack)
        found = ensemble.replicates(cohort.prognostic().values[:4], cohort.centre[:4])
        assert found.shape == (FOLDS * REPEATS * 2, 4, fitted.ensemble.grid.bins + 1)
        assert (np.diff(found, axis=-1) >= 0).all()
        assert len(np.unique(found[:, 0, -1])) == len(found)

    def test_patients_are_predicted_alone_as_together(self, cohort, fitted):
        ensemble, values = fitted.ensemble, cohort.prognostic().values
        together = ensemble.cumulative(values[:20], cohort.centre[:20])
        for i in range(20):
            alone = ensemble.cumulative(values[[i]], cohort.centre[[i]])
            np.testing.assert_allclose(alone[0], together[i], rtol=1e-12)


def test_leaving_one_centre_out(small_cohort, tiny_config):
    config = configure(["folds.by=centre"], tiny_config)
    prepared = prepare(small_cohort, config)
    for out in prepared.held_out:
        inside = set(small_cohort.centre[~out].tolist())
        assert not inside & set(small_cohort.centre[out].tolist())
    # Centres are compared with each other, patients of random folds are not.
    assert not prepared.group.any()
    random = prepare(small_cohort, tiny_config)
    np.testing.assert_array_equal(random.group, random.fold[0])
    assert np.isfinite(fit(prepared, config).cumulative).all()


def test_leaving_one_centre_out_needs_centres(small_cohort, tiny_config):
    alone = replace(small_cohort, centre=None)
    with pytest.raises(InputError, match="names no centre column"):
        prepare(alone, configure(["folds.by=centre"], tiny_config))


def test_neither_order_nor_a_repeated_feature_changes_anything(small_cohort, tiny_config):
    frame, raw = draw(240, seed=11).frame, yaml.safe_load(panel_text("synthetic_gastric"))
    raw["interactions"].append(["act", "age"])
    plain = build_cohort(parse_study(raw, "x"), frame)
    clinical = raw["modalities"]["clinical"]
    clinical |= {"years": clinical["age"] | {"column": "age"}}
    clinical |= {"gender": clinical["sex"] | {"column": "sex"}}
    raw["modalities"]["again"] = {"repeated": {"kind": "expression", "column": "IL1R1"}}
    raw["interactions"] += [["act", "years"], ["act", "repeated"]]
    order = np.random.default_rng(3).permutation(len(frame))
    again = build_cohort(parse_study(raw, "x"), frame.iloc[order])
    one, other = (fit(prepare(each, tiny_config), tiny_config) for each in (plain, again))
    np.testing.assert_array_equal(one.prepared.cohort.ids, other.prepared.cohort.ids)
    np.testing.assert_array_equal(one.prepared.fold, other.prepared.fold)
    np.testing.assert_allclose(one.blind, other.blind, rtol=1e-6)
    for first, second in zip(one.effect.patients, other.effect.patients, strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-6)
    served = [
        made.ensemble.cumulative(each.prognostic().values, each.centre)
        for made, each in ((one, plain), (other, again.in_order()))
    ]
    np.testing.assert_allclose(*served, rtol=1e-6)
    judged = [
        judge_predicted(from_fit(made, tiny_config), tiny_config).to_json() for made in (one, other)
    ]
    assert rounded(judged[0]) == rounded(judged[1])


def rounded(figures):
    """Plain data with numbers to 9 digits."""
    return json.loads(json.dumps(figures), parse_float=lambda text: float(f"{float(text):.9g}"))


def test_a_level_that_nobody_has_changes_nothing(small_cohort, tiny_config):
    study = small_cohort.study
    clinical = study.modalities["clinical"]
    assert clinical["sex"].kind == "category"
    sex = clinical["sex"].model_copy(update={"levels": (*clinical["sex"].levels, "Other")})
    more = study.model_copy(
        update={"modalities": {**study.modalities, "clinical": {**clinical, "sex": sex}}}
    )
    made = [
        fit(prepare(each, tiny_config), tiny_config).blind
        for each in (small_cohort, replace(small_cohort, study=more))
    ]
    np.testing.assert_array_equal(*made)


def test_the_effects_variance_is_that_of_a_calibration_slope(fitted):
    prepared, blind = fitted.prepared, fitted.blind
    expected = prepared.grid.at_own(blind, prepared.cohort.outcome[0])
    log_hz = within(log_risk(blind), prepared.group)
    around = log_hz - np.average(log_hz, weights=expected)
    found = effects_variance(prepared, blind)
    assert found == pytest.approx(min(1 / (expected @ around**2), 0.1))
    # Twice the differences between patients are known a quarter as badly; none are not known.
    twice = blind * np.exp(log_risk(blind) - log_risk(blind).mean())[:, None]
    assert effects_variance(prepared, twice) < found or found == 0.1
    assert effects_variance(prepared, np.tile(blind[:1], (len(blind), 1))) == 0.1


def test_the_served_slope_makes_up_for_what_is_not_seen_out_of_fold(fitted, config):
    prepared, served = fitted.prepared, fitted.ensemble.stack
    time, event = prepared.cohort.outcome
    whole = fit_stack(fitted.learners, time, event, prepared.grid, config.stack)
    ratio = spread_ratio(each_fold(prepared, fitted.ensemble.alone), REPEATS, whole)
    assert ratio >= 1
    expected = whole.slope * ratio * (1 + effects_variance(prepared, fitted.blind))
    assert served.slope == pytest.approx(expected)
