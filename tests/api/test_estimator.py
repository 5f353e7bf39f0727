"""``SurvivalEstimator`` fits what ``train`` fits, and scikit-learn's tools take it as it is."""

from __future__ import annotations

import inspect
import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from accomplice import SurvivalEstimator
from accomplice.curves import Curve
from accomplice.data.errors import InputError
from accomplice.training.config import Config, flat, known_keys
from accomplice.training.metrics.concordance import harrell_c
from tests.api.conftest import as_parameters, structured


@pytest.fixture(scope="module")
def parameters(tiny_settings):
    """The parameters that are the settings of ``tiny_trained``."""
    fitting = {k: v for k, v in tiny_settings.items() if not k.startswith("evaluation.")}
    return as_parameters(fitting)


@pytest.fixture(scope="module")
def fitted(small_cohort, small_frame, small_y, parameters):
    return SurvivalEstimator(study=small_cohort.study, **parameters).fit(small_frame, small_y)


@pytest.fixture(scope="module")
def inferring(features, small_y, least):
    """An estimator that was given no study."""
    return SurvivalEstimator(**least).fit(features, small_y)


class TestWhatItFits:
    """It is what ``train`` fits on the same patients with the same settings."""

    def test_gives_the_risks_of_the_bundle(self, fitted, tiny_trained, small_frame):
        expected = tiny_trained.bundle.predict(small_frame)["risk"]
        np.testing.assert_allclose(fitted.predict(small_frame), expected, rtol=0, atol=1e-12)

    def test_gives_the_survival_of_the_bundle_at_any_time(self, fitted, tiny_trained, small_frame):
        months = [6.0, 11.3, 36.0, 60.0]
        table = tiny_trained.bundle.predict(small_frame, months)
        expected = table[[f"survival@{month:g}" for month in months]]
        curves = fitted.predict_survival_function(small_frame)
        found = np.array([curve(months) for curve in curves])
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)

    def test_does_not_depend_on_the_columns_of_other_roles(
        self, fitted, small_cohort, features, small_y, parameters
    ):
        estimator = SurvivalEstimator(study=small_cohort.study, **parameters)
        found = estimator.fit(features.drop(columns="patient_id"), small_y)
        expected = fitted.predict(
            features.assign(os_months=0.0, os_event=0, ici_response=None)[
                list(fitted.feature_names_in_)
            ]
        )
        assert np.array_equal(found.predict(features.drop(columns="patient_id")), expected)

    def test_takes_the_path_of_a_study_and_one_of_its_endpoints(
        self, several_raw, several_frame, tmp_path, least
    ):
        import yaml

        (tmp_path / "study.yaml").write_text(yaml.safe_dump(several_raw))
        kept = several_frame[several_frame["dfs_months"].notna()]
        y = structured(kept["dfs_event"] == 1, kept["dfs_months"])
        estimator = SurvivalEstimator(study=tmp_path / "study.yaml", endpoint="dfs", **least)
        assert estimator.fit(kept, y).model_.horizon == 36.0
        assert estimator.model_.endpoint == "dfs"

    def test_random_state_is_the_seed(self, features, small_y, least):
        def risk(state: object) -> np.ndarray:
            return (
                SurvivalEstimator(random_state=state, **least)
                .fit(features, small_y)
                .predict(features)
            )

        assert np.array_equal(risk(None), risk(0))
        assert not np.array_equal(risk(0), risk(1))
        assert np.array_equal(risk(np.random.RandomState(3)), risk(np.random.RandomState(3)))


class TestInference:
    """Without a study, columns are read as ``accomplice data init`` reads them."""

    def test_finds_kinds_and_leaves_out_what_is_no_feature(self, inferring):
        kinds = {name: each.kind for name, each in inferring.study_.features.items()}
        assert kinds["age"] == "number"
        assert kinds["stage"] == "ordinal"
        assert kinds["lauren"] == "category"
        assert kinds["IL1R1"] == "expression"
        assert {"patient_id", "centre"} <= {*inferring.study_.ignored}

    def test_leaves_out_a_column_that_gives_the_outcome_away(self, features, small_y, least):
        leaking = features.assign(months_alive=small_y["time"])
        found = SurvivalEstimator(**least).fit(leaking, small_y)
        assert "months_alive" in found.study_.ignored

    def test_calls_an_arrays_columns_by_their_number(self, small_y, least):
        X = np.random.default_rng(0).normal(size=(240, 2))
        found = SurvivalEstimator(**least).fit(X, small_y)
        assert list(found.study_.features) == ["x0", "x1"]
        assert found.n_features_in_ == 2
        assert not hasattr(found, "feature_names_in_")

    def test_reads_a_frame_without_names_as_an_array(self, small_y, least):
        X = np.random.default_rng(0).normal(size=(240, 2))
        found = SurvivalEstimator(**least).fit(X, small_y)
        again = SurvivalEstimator(**least).fit(pd.DataFrame(X), small_y)
        assert np.array_equal(found.predict(X), again.predict(pd.DataFrame(X)))

    def test_missing_values_and_unknown_levels_are_answered(self, inferring, features):
        odd = features.head(3).assign(age=[np.nan, 60.0, 60.0], lauren=["?", "none such", None])
        assert np.isfinite(inferring.predict(odd)).all()

    def test_a_column_of_other_codes_is_refused(self, inferring, features):
        with pytest.raises(InputError, match="column 'lauren': none of its 6 cells"):
            inferring.predict(features.head(6).assign(lauren=list("ABCABC")))


class TestCurves:
    def test_have_the_shapes_of_scikit_survivals(self, inferring, features, small_y):
        seen = small_y["time"][small_y["event"]]
        assert np.array_equal(inferring.unique_times_, np.unique(seen))
        arrays = inferring.predict_survival_function(features, return_array=True)
        assert arrays.shape == (240, len(inferring.unique_times_))
        curves = inferring.predict_survival_function(features)
        assert curves.shape == (240,)
        assert curves.dtype == object
        for row, curve in zip(arrays, curves, strict=True):
            assert np.array_equal(curve.x, inferring.unique_times_)
            assert np.array_equal(curve.y, row)

    def test_fall_from_1_and_are_the_exponential_of_the_hazard(self, inferring, features):
        survival = inferring.predict_survival_function(features)
        hazard = inferring.predict_cumulative_hazard_function(features)
        times = np.linspace(0, inferring.model_.horizon, 50)
        for s, h in zip(survival, hazard, strict=True):
            assert s(0) == 1.0
            assert (np.diff(s(times)) <= 0).all()
            np.testing.assert_allclose(s(times), np.exp(-h(times)), rtol=1e-12)

    def test_are_called_with_one_time_or_an_array(self, inferring, features):
        curve = inferring.predict_survival_function(features.head(1))[0]
        assert isinstance(curve, Curve)
        assert isinstance(curve(12), float)
        assert curve([[12, 24], [36, 48]]).shape == (2, 2)
        assert curve([12])[0] == curve(12)

    @pytest.mark.parametrize("time", [-1.0, 1e6, np.nan])
    def test_refuse_times_outside_of_their_domain(self, inferring, features, time):
        curve = inferring.predict_survival_function(features.head(1))[0]
        with pytest.raises(InputError, match="between 0 and the model's horizon"):
            curve([12.0, time])

    def test_higher_risks_have_lower_survival(self, inferring, features):
        """The risk orders patients as the mean of the log cumulative hazard does."""
        survival = inferring.predict_survival_function(features, return_array=True).mean(axis=1)
        assert np.corrcoef(inferring.predict(features), survival)[0, 1] < -0.9


class TestParameters:
    def test_are_the_settings_that_decide_a_fit(self):
        names = set(SurvivalEstimator().get_params())
        judging = {key for key in known_keys() if key.startswith("evaluation.")}
        settings = known_keys().keys() - judging - {"seed", "further_endpoints"}
        assert names == {key.replace(".", "__") for key in settings} | {"study", "random_state"}
        signature = inspect.signature(SurvivalEstimator)
        assert set(signature.parameters) == names
        assert all(p.default is None for p in signature.parameters.values())

    def test_reach_the_configuration(self):
        estimator = SurvivalEstimator(net__members=3, random_state=7)
        expected = {"net.members": 3, "seed": 7}
        assert flat(estimator._config()) == flat(Config()) | expected

    def test_are_cloned_and_set(self, least):
        estimator = SurvivalEstimator(**least)
        copy = clone(estimator).set_params(net__members=2, random_state=4)
        assert copy.get_params() == estimator.get_params() | {"net__members": 2, "random_state": 4}
        assert clone(SurvivalEstimator(study="study.yaml")).study == "study.yaml"

    def test_of_an_unknown_name_are_refused(self):
        with pytest.raises(TypeError, match="'net__membrs'; did you mean 'net__members'"):
            SurvivalEstimator(net__membrs=1)
        with pytest.raises(ValueError, match=r"Invalid parameter 'net__membrs'.*'net__members'"):
            SurvivalEstimator().set_params(net__membrs=1)

    def test_of_a_wrong_value_are_refused_by_fit(self, features, small_y):
        with pytest.raises(InputError, match=r"setting net.members: .*greater than or equal to 1"):
            SurvivalEstimator(net__members=0).fit(features, small_y)


class TestErrors:
    def test_before_it_is_fitted(self, features):
        with pytest.raises(NotFittedError):
            SurvivalEstimator().predict(features)

    @pytest.mark.parametrize(
        ("y", "text"),
        [
            (np.ones(240), "structured array of two fields"),
            (np.zeros(240, dtype=[("event", int), ("time", float)]), "'event', must be bool"),
            (np.zeros(240, dtype=[("event", bool), ("time", "U3")]), "'time', must hold numbers"),
            (np.zeros(240, dtype=[("event", bool), ("time", float)]), "240 of 240 times"),
            (structured(np.ones(9, dtype=bool), np.ones(9)), "9 outcomes of 240 rows"),
            (None, "requires y"),
        ],
    )
    def test_of_an_outcome_say_what_is_expected(self, features, y, text):
        with pytest.raises(InputError, match=text):
            SurvivalEstimator().fit(features, y)

    def test_of_columns(self, small_cohort, features, small_y, inferring):
        study = small_cohort.study
        with pytest.raises(InputError, match="column 'centre'"):
            SurvivalEstimator(study=study).fit(features.drop(columns="centre"), small_y)
        with pytest.raises(InputError, match="no column can be a feature"):
            SurvivalEstimator().fit(features[["patient_id"]], small_y)
        twice = pd.concat([features[["age"]], features[["age"]]], axis=1)
        with pytest.raises(InputError, match="two columns have the same name"):
            SurvivalEstimator().fit(twice, small_y)
        with pytest.raises(ValueError, match="feature names should match"):
            inferring.predict(features.drop(columns="age"))

    def test_of_too_few_events(self, features, small_y):
        few = np.flatnonzero(~small_y["event"])[:40]
        with pytest.raises(InputError, match=r"^y: no event among 40 patients"):
            SurvivalEstimator().fit(features.iloc[few], small_y[few])

    @pytest.mark.parametrize("dtype", [float, object, "Float64"])
    @pytest.mark.parametrize("declared", [False, True])
    def test_of_infinities(self, small_cohort, features, small_y, dtype, declared):
        age = features["age"].mask(features.index == features.index[3], np.inf).astype(dtype)
        study = small_cohort.study if declared else None
        with pytest.raises(InputError, match="X: column 'age': 1 values are infinite"):
            SurvivalEstimator(study=study).fit(features.assign(age=age), small_y)

    def test_of_a_study(self, features, small_y):
        with pytest.raises(InputError, match=r"study: a study or the path .* got a dict"):
            SurvivalEstimator(study={}).fit(features, small_y)


class TestTools:
    """scikit-learn's own tools."""

    def test_score_is_harrells_concordance(self, inferring, features, small_y):
        expected = harrell_c(small_y["event"], small_y["time"], inferring.predict(features))
        assert inferring.score(features, small_y) == expected
        assert expected > 0.6

    def test_cross_val_score_equals_folds_by_hand(self, features, small_y, least):
        estimator, folds = SurvivalEstimator(**least), KFold(3, shuffle=True, random_state=0)
        by_hand = []
        for train, test in folds.split(features):
            made = clone(estimator).fit(features.iloc[train], small_y[train])
            risk = made.predict(features.iloc[test])
            by_hand.append(harrell_c(small_y["event"][test], small_y["time"][test], risk))
        found = cross_val_score(estimator, features, small_y, cv=folds)
        assert found.tolist() == by_hand

    def test_a_grid_search_in_two_processes(self, features, small_y, least):
        search = GridSearchCV(
            SurvivalEstimator(**least), {"net__members": [1, 2]}, cv=2, n_jobs=2
        ).fit(features, small_y)
        assert len(search.cv_results_["mean_test_score"]) == 2
        assert search.best_estimator_.net__members == search.best_params_["net__members"]
        shape = search.best_estimator_.model_.ensemble.net.shape
        assert shape.members == search.best_params_["net__members"]

    def test_a_pipeline_keeps_frames_and_passes_parameters(self, features, small_y, least):
        scaled = ColumnTransformer(
            [("scaled", StandardScaler(), ["age"])],
            remainder="passthrough",
            verbose_feature_names_out=False,
        ).set_output(transform="pandas")
        pipeline = Pipeline([("scaled", scaled), ("model", SurvivalEstimator(**least))])
        pipeline.set_params(model__net__members=2).fit(features, small_y)
        model = pipeline.named_steps["model"]
        assert model.net__members == 2
        assert model.study_.features["stage"].kind == "ordinal"
        assert pipeline.score(features, small_y) > 0.6
        assert make_pipeline("passthrough", clone(model)).fit(features, small_y)

    def test_it_is_pickled_as_it_is(self, inferring, features):
        again = pickle.loads(pickle.dumps(inferring))
        assert np.array_equal(again.predict(features), inferring.predict(features))


class TestScikitSurvival:
    """Its metrics take the estimator as they take its own."""

    @pytest.fixture
    def metrics(self):
        return pytest.importorskip("sksurv.metrics")

    def test_concordances_agree(self, metrics, inferring, features, small_y):
        risk = inferring.predict(features)
        own = metrics.concordance_index_censored(small_y["event"], small_y["time"], risk)[0]
        assert inferring.score(features, small_y) == pytest.approx(own, abs=1e-9)
        weighted = metrics.concordance_index_ipcw(small_y, small_y, risk, tau=48.0)[0]
        assert 0.6 < weighted < 1

    def test_scorers_take_it_as_it_is(self, metrics, features, small_y, least):
        times = np.linspace(6, 48, 8)
        scorer = metrics.as_integrated_brier_score_scorer(SurvivalEstimator(**least), times)
        scorer.fit(features, small_y)
        curves = scorer.predict_survival_function(features)
        values = np.array([curve(times) for curve in curves])
        brier = metrics.integrated_brier_score(small_y, small_y, values, times)
        assert scorer.score(features, small_y) == pytest.approx(-brier)
        ranked = metrics.as_concordance_index_ipcw_scorer(SurvivalEstimator(**least), tau=48.0)
        assert ranked.fit(features, small_y).score(features, small_y) > 0.6

    def test_a_search_takes_its_scorer(self, metrics, features, small_y, least):
        times = np.linspace(6, 40, 5)
        scorer = metrics.as_integrated_brier_score_scorer(SurvivalEstimator(**least), times)
        grid = {"estimator__net__members": [1, 2]}
        search = GridSearchCV(scorer, grid, cv=2).fit(features, small_y)
        assert -0.3 < search.best_score_ < 0
