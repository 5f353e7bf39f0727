"""Verdicts say no more than the intervals do."""

from __future__ import annotations

import math

import pytest

from accomplice.training.estimators.intervals import Estimate
from accomplice.training.metrics.joint_calibration import JointCalibration
from accomplice.training.reports.review import verdicts
from tests.training.reports.made_review import bare_review, made_review, span, unknown_review

ALL = (
    verdicts.ranking,
    verdicts.added_value,
    verdicts.calibration,
    verdicts.decisions,
    verdicts.subgroups,
    verdicts.patterns,
    verdicts.modalities,
    verdicts.instability,
    verdicts.drivers,
    verdicts.leaks,
)


def with_gain(uno_c, ibs):
    review = made_review()
    gains = review.gains | {"clinical": {"uno_c": uno_c, "ibs": ibs}}
    clear = tuple(f.model_copy(update={"status": "clear"}) for f in review.sentinels)
    return review.model_copy(update={"gains": gains, "sentinels": clear})


@pytest.mark.parametrize("verdict", ALL[:-1])
@pytest.mark.parametrize("review", [unknown_review(), bare_review()])
def test_what_is_undefined_is_not_judged(verdict, review):
    assert verdict(review).tone == "absent"


@pytest.mark.parametrize("verdict", ALL)
def test_each_is_one_line_of_whole_sentences(verdict):
    text = verdict(made_review()).text
    assert "\n" not in text
    assert text[0].isupper()
    assert text.endswith(".")
    assert "nan" not in text.split()


class TestAddedValue:
    @pytest.mark.parametrize(
        ("uno_c", "ibs", "tone"),
        [
            (span(0.02, 0.01), span(0.002, 0.003), "yes"),
            (span(0.02, 0.03), span(0.002, 0.003), "no"),
            (span(-0.02, 0.01), span(-0.002, 0.003), "alarm"),
            (span(0.02, 0.01), span(-0.004, 0.003), "caution"),
            (Estimate(0.3), Estimate(0.2), "no"),
            (Estimate(math.nan), Estimate(math.nan), "absent"),
        ],
    )
    def test_is_said_only_where_the_interval_excludes_none(self, uno_c, ibs, tone):
        assert verdicts.added_value(with_gain(uno_c, ibs)).tone == tone

    def test_a_simple_model_that_wins_is_in_the_lead(self):
        lead = verdicts.lead(with_gain(span(-0.02, 0.01), span(-0.002, 0.001)))
        assert "(clinical) is better than the model" in lead

    def test_one_that_is_ahead_without_certainty_is_named_so(self):
        lead = verdicts.lead(with_gain(span(-0.02, 0.03), span(-0.002, 0.003)))
        assert "not shown" in lead
        assert "behind" in lead

    def test_numbers_have_their_signs_and_intervals(self):
        text = verdicts.added_value(with_gain(span(0.02, 0.01), span(0.002, 0.003))).text
        assert "+0.020 (+0.010 to +0.030)" in text


class TestCalibration:
    @staticmethod
    def judged(slope, ratio, p, month=None):
        review = made_review()
        at = review.calibration[0].model_copy(update={"slope": month or slope})
        joint = JointCalibration(slope, ratio, p)
        update = {"calibration": (at,), "joint_calibration": joint}
        return verdicts.calibration(review.model_copy(update=update))

    def test_names_the_direction_by_one_test(self):
        text = verdicts.calibration(made_review()).text
        assert text.startswith("Predictions are too extreme (slope 0.81")
        assert "p = 0.03" in text
        alike = self.judged(span(1.5, 0.3), span(1.0, 0.2), 0.001).text
        assert "too alike" in alike
        assert "risks" not in alike
        both = self.judged(span(0.6, 0.2), span(0.7, 0.1), 1e-9).text
        assert "too extreme" in both
        assert "risks are predicted too high" in both

    def test_a_departure_that_neither_figure_shows_is_that_which_is_nearer_to_it(self):
        assert "too low" in self.judged(span(1.1, 0.2), span(1.3, 0.35), 0.04).text

    @pytest.mark.parametrize(
        ("slope", "half", "p", "tone"),
        [
            (1.0, 0.1, 0.6, "yes"),
            (1.0, 0.4, 0.6, "no"),
            (0.6, 0.5, 0.3, "no"),
            (0.6, 0.2, 0.01, "caution"),
        ],
    )
    def test_no_departure_is_not_yet_agreement(self, slope, half, p, tone):
        assert self.judged(span(slope, half), span(1.0, 0.1), p).tone == tone

    def test_one_month_that_departs_is_no_departure(self):
        assert self.judged(span(1.0, 0.1), span(1.0, 0.1), 0.4, span(1.2, 0.1)).tone == "yes"

    def test_a_record_without_the_test_is_not_judged(self):
        review = made_review().model_copy(update={"joint_calibration": None})
        assert verdicts.calibration(review).tone == "absent"


class TestSubgroups:
    def test_a_group_that_is_certainly_worse_is_named(self):
        review = made_review()
        first, second, *others = review.subgroups
        worse = second.model_copy(update={"ranking_p": 0.01, "gain_p": 0.02})
        found = verdicts.subgroups(review.model_copy(update={"subgroups": (first, worse, *others)}))
        assert found.tone == "caution"
        assert found.text.count("age below 67") == 2

    def test_c_below_that_of_all_says_nothing(self):
        review = made_review()
        first, second, *others = review.subgroups
        alike = second.model_copy(update={"uno_c": span(0.56, 0.05)})
        found = verdicts.subgroups(review.model_copy(update={"subgroups": (first, alike, *others)}))
        assert found.tone == "yes"

    def test_a_record_without_tests_is_not_judged(self):
        review = made_review()
        older = [
            s.model_copy(update={"ranking_p": math.nan, "level_p": math.nan})
            for s in review.subgroups
        ]
        found = verdicts.subgroups(review.model_copy(update={"subgroups": tuple(older)}))
        assert found.tone == "absent"

    def test_groups_too_small_are_not_counted_as_judged(self):
        assert "11 groups of at least 10 events" in verdicts.subgroups(made_review()).text

    def test_a_group_that_may_be_ranked_by_chance_does_not_hold_up(self):
        review = made_review()
        first, second, *others = review.subgroups
        unsure = second.model_copy(update={"uno_c": span(0.6, 0.15)})
        found = verdicts.subgroups(
            review.model_copy(update={"subgroups": (first, unsure, *others)})
        )
        assert found.tone == "no"
        assert "age below 67" in found.text


def test_patterns_are_judged_by_their_own_tests():
    review = made_review()
    whole, without, *others = review.patterns
    assert verdicts.patterns(review).tone == "absent"  # the record has no test
    tested = without.model_copy(update={"ranking_p": 0.4, "level_p": 0.5})
    found = verdicts.patterns(review.model_copy(update={"patterns": (whole, tested, *others)}))
    assert found.tone == "no"
    weak = without.model_copy(update={"ranking_p": 0.01})
    found = verdicts.patterns(review.model_copy(update={"patterns": (whole, weak, *others)}))
    assert found.tone == "caution"
    assert "ranked less well than their predicted risks promise without il1r1" in found.text


class TestLeaks:
    def test_one_that_fired_is_the_first_thing_said(self):
        found = verdicts.leaks(made_review())
        assert found.tone == "alarm"
        assert "tumor_status" in found.text
        assert verdicts.lead(made_review()).startswith("A leak is suspected")

    def test_none_run_is_not_none_found(self):
        review = made_review()
        idle = tuple(f.model_copy(update={"status": "not run"}) for f in review.sentinels)
        assert verdicts.leaks(review.model_copy(update={"sentinels": idle})).tone == "absent"

    def test_all_clear(self):
        assert verdicts.leaks(with_gain(span(0, 1), span(0, 1))).tone == "yes"


def test_modalities_that_harm_are_named():
    review = made_review()
    bad = review.modalities[1].model_copy(update={"ibs_loss": span(-0.01, 0.002)})
    found = verdicts.modalities(review.model_copy(update={"modalities": (bad,)}))
    assert found.tone == "caution"
    assert "better without molecular" in found.text


@pytest.mark.parametrize(
    ("overall", "tone"),
    [
        (span(1.5, 1.0), "yes"),
        (span(-1.5, 1.0), "caution"),
        (span(0.5, 1.0), "no"),
        (Estimate(math.nan), "absent"),
    ],
)
def test_decisions_are_judged_by_one_test_of_all_thresholds(overall, tone):
    review = made_review()
    tested = tuple(d.model_copy(update={"overall": overall}) for d in review.decisions)
    found = verdicts.decisions(review.model_copy(update={"decisions": tested}))
    assert found.tone == tone


def test_decisions_name_the_thresholds_at_which_the_gain_is_certain():
    review = made_review()
    first = review.decisions[0]
    gain = first.gain.model_copy(update={"low": tuple(0.01 for _ in first.thresholds)})
    sure = first.model_copy(update={"gain": gain, "overall": span(2.0, 1.0)})
    found = verdicts.decisions(review.model_copy(update={"decisions": (sure,)}))
    assert found.tone == "yes"
    assert "12 months (from 5 to 75 % risk)" in found.text


def test_wide_intervals_between_fits_are_a_caution():
    review = made_review()
    wide = review.instability.model_copy(update={"widest": (0.1, 0.2, 0.3, 0.4, 0.5)})
    assert verdicts.instability(review).tone == "described"
    assert verdicts.instability(review.model_copy(update={"instability": wide})).tone == "caution"
