"""One type for a value with its interval: how it is made, written, and kept in JSON."""

from __future__ import annotations

import json
import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from accomplice.training.estimators.hazard_ratios import HazardRatio
from accomplice.training.estimators.intervals import (
    Z95,
    Estimate,
    determined,
    percentile_interval,
    plain,
    wilson,
)


class Holder(BaseModel):
    figure: Estimate


def ends(figure):
    return figure.value, figure.low, figure.high


class TestOfDraws:
    def test_is_the_value_and_the_percentiles(self):
        figures = np.append(0.3, np.random.default_rng(0).normal(size=200))
        assert ends(Estimate.of_draws(figures)) == (0.3, *percentile_interval(figures[1:]))

    @pytest.mark.parametrize("draws", [[], [math.nan] * 10])
    def test_without_an_interval_the_value_is_kept_where_asked(self, draws):
        figures = np.array([0.3, *draws])
        assert np.isnan(ends(Estimate.of_draws(figures))).all()
        assert Estimate.of_draws(figures, open_ended=True).value == 0.3

    def test_of_an_undefined_value_is_undefined(self):
        figures = np.array([math.nan, 0.1, 0.2, 0.3])
        assert not Estimate.of_draws(figures, open_ended=True).known


class TestJson:
    @pytest.mark.parametrize(
        ("figure", "raw"),
        [
            (Estimate(0.5, 0.25, 0.75), {"value": 0.5, "low": 0.25, "high": 0.75}),
            (Estimate(0.5), {"value": 0.5, "low": None, "high": None}),
            (Estimate(math.nan), {"value": None, "low": None, "high": None}),
        ],
    )
    def test_is_one_form_alone_and_in_a_model(self, figure, raw):
        assert figure.to_json() == raw
        assert json.loads(Holder(figure=figure).model_dump_json()) == {"figure": raw}
        for read in (Estimate.from_json(raw), Holder.model_validate({"figure": raw}).figure):
            np.testing.assert_equal(ends(read), ends(figure))

    def test_is_read_where_ends_or_all_are_absent(self):
        np.testing.assert_equal(ends(Estimate.from_json({"value": 1})), (1, math.nan, math.nan))
        assert not Estimate.from_json(None).known

    def test_of_other_keys_is_refused(self):
        with pytest.raises(ValidationError, match=r"figure\.p"):
            Holder.model_validate({"figure": {"value": 1, "p": 0.5}})
        with pytest.raises(TypeError, match="'p'"):
            Estimate.from_json({"value": 1, "p": 0.5})


def test_plain_values_are_what_json_knows():
    found = plain({1: (np.float64(0.5), math.nan), "e": Estimate(0.5), "a": np.arange(2) > 0})
    assert found == {
        "1": [0.5, None],
        "e": {"value": 0.5, "low": None, "high": None},
        "a": [False, True],
    }
    json.dumps(found, allow_nan=False)


def test_determined_figures_are_the_finite_ones():
    estimates = {"c": Estimate(0.7, 0.6, math.inf), "ibs": Estimate(math.nan)}
    assert determined(estimates, {"p": math.nan, "n": 3.0}) == {"c": 0.7, "c_low": 0.6, "n": 3.0}


def test_is_written_in_one_format_and_in_words_where_undefined():
    assert str(Estimate(0.5, 0.25, 0.75)) == "0.500 (0.250 to 0.750)"
    assert f"{Estimate(0.5, -0.25, 0.75):+.1f}" == "+0.5 (-0.2 to +0.8)"
    assert f"{Estimate(0.5):.2f}" == "0.50 (no interval)"
    assert str(Estimate(math.nan)) == "not determined"
    assert str(HazardRatio.of(0.0, 0.1, 9, 5)) == "1.00 (0.82 to 1.22)"


def test_without_an_end_is_certain_of_nothing():
    assert (Estimate(0.5).above, Estimate(0.5).below) == (-math.inf, math.inf)
    assert (Estimate(0.5, 0.25, 0.75).above, Estimate(0.5, 0.25, 0.75).below) == (0.25, 0.75)


def test_normal_is_symmetric():
    assert ends(Estimate.normal(1.0, 0.5)) == (1.0, 1.0 - Z95 / 2, 1.0 + Z95 / 2)


class TestWilson:
    @given(draws=st.integers(1, 3000), share=st.floats(0, 1))
    def test_holds_the_share_and_solves_its_equation(self, draws, share):
        seen = round(share * draws)
        low, high = wilson(seen, draws)
        assert 0 <= low <= seen / draws <= high <= 1
        z = NormalDist().inv_cdf(0.975)
        for end in (low, high):
            if 1e-9 < end < 1 - 1e-9:
                error = math.sqrt(end * (1 - end) / draws)
                assert abs(seen / draws - end) == pytest.approx(z * error, rel=1e-6)

    def test_covers_the_truth_as_often_as_it_says(self):
        truth, draws = 0.3, 100
        seen = np.random.default_rng(0).binomial(draws, truth, 4000)
        low, high = wilson(seen, np.full(seen.shape, draws))
        covered = np.mean((low <= truth) & (truth <= high))
        assert 0.93 < covered < 0.97

    def test_equals_the_published_example(self):
        # Newcombe, Stat Med 1998, table I: 81 of 263 and 0 of 20.
        low, high = wilson(np.array([81.0, 0.0]), np.array([263, 20]))
        np.testing.assert_allclose(low, [0.2553, 0.0], atol=5e-5)
        np.testing.assert_allclose(high, [0.3662, 0.1611], atol=5e-5)
