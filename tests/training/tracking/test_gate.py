"""The gate: each rule holds or fails by its own figures, and all must hold."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accomplice.training.bundle import Bundle
from accomplice.training.estimators.intervals import Estimate
from accomplice.training.evaluation.comparison import Calibrated, Comparison, Side
from accomplice.training.evaluation.record import Finding
from accomplice.training.metrics.table import METRICS
from accomplice.training.tracking.gate import Challenger, Task, decide, is_sound, lines, tolerated

NAN = float("nan")
FINE = Estimate(1.0, 0.8, 1.25)
CALIBRATION = Calibrated(30.0, FINE, FINE)
CHALLENGER = Challenger(
    study="gastric",
    endpoint="os",
    synthetic=False,
    score=Estimate(0.65, 0.60, 0.70),
    scored_by="Uno's C",
    gains={"uno_c": Estimate(0.15, 0.10, 0.20), "ibs": Estimate(0.01, -0.001, 0.02)},
    calibration=CALIBRATION,
    sentinels=(),
)
INCUMBENT = Task("gastric", "os", synthetic=False)
UNCERTAIN = Estimate(0.0, -0.01, 0.01)
SIDE = Side(dict.fromkeys(METRICS, FINE), CALIBRATION)


def comparison(uno_c, ibs=UNCERTAIN):
    gains = {"uno_c": uno_c, "harrell_c": uno_c, "ibs": ibs}
    return Comparison(300, 120, 60.0, SIDE, SIDE, gains, 1000)


LEVEL = comparison(Estimate(0.0, -0.02, 0.02))


def failed(challenger=CHALLENGER, incumbent=INCUMBENT, compared=LEVEL, unjudged=""):
    decision = decide(challenger, incumbent, compared, unjudged)
    assert decision.passed == (not decision.failed)
    assert len(lines(decision)) == len(decision.rules)
    return [rule.name for rule in decision.failed]


def finding(status):
    return Finding(sentinel="ceiling", question="?", status=status, text="C of 0.93 is too good")


class TestRules:
    def test_a_sound_model_that_is_level_passes(self):
        assert failed() == []

    def test_without_a_champion_nothing_is_asked_of_one(self):
        decision = decide(CHALLENGER)
        assert decision.passed
        assert {r.name for r in decision.rules} == {"learnt", "calibrated", "no_leak"}

    @pytest.mark.parametrize("metric", ["uno_c", "ibs"])
    @pytest.mark.parametrize(
        ("gain", "bars"),
        [
            (Estimate(0.005, 0.001, 0.009), False),
            (Estimate(-0.002, -0.02, 0.001), False),
            (Estimate(-0.002, -0.003, -0.001), True),  # small, but certain
            (Estimate(-0.05, -0.2, 0.1), True),  # uncertain, but too much
            (Estimate(NAN), True),
        ],
    )
    def test_worse_than_the_champion(self, metric, gain, bars):
        level = Estimate(0.0, -0.01, 0.01)
        gains = (gain, level) if metric == "uno_c" else (level, gain)
        assert failed(compared=comparison(*gains)) == (["not_worse"] if bars else [])

    def test_the_loss_that_is_not_excluded_is_said(self):
        level = Estimate(0.0, -0.004, 0.004)
        rules = decide(
            CHALLENGER, INCUMBENT, comparison(Estimate(0.001, -0.0234, 0.02), level)
        ).rules
        (rule,) = [each for each in rules if each.name == "not_worse"]
        assert rule.holds
        assert "not excluded is a loss of 0.023 in Uno's C or 0.004 in" in rule.why

    def test_a_loss_in_c_need_not_be_certain(self):
        # 1.6 standard errors; in the Brier score a loss must be certain.
        loss = Estimate(-0.016, -0.0356, 0.0036)
        assert failed(compared=comparison(loss)) == ["not_worse"]
        small = Estimate(-0.0016, -0.00356, 0.00036)
        assert failed(compared=comparison(small)) == ["not_worse"]
        assert failed(compared=comparison(Estimate(0.0, -0.02, 0.02), small)) == []

    def test_many_events_narrow_what_is_tolerated(self):
        wide = Estimate(-0.025, -0.08, 0.03)
        assert tolerated("uno_c", comparison(wide)) == pytest.approx(0.03)
        more = replace(comparison(wide), events=400)
        assert tolerated("uno_c", more) == pytest.approx(0.37 / 20)
        assert failed(compared=more) == ["not_worse"]

    def test_the_more_were_tried_the_less_is_tolerated(self):
        compared = comparison(Estimate(-0.004, -0.024, 0.016))
        margins = [tolerated("uno_c", compared, tries) for tries in (1, 2, 3, 4, 1000)]
        assert margins[0] == pytest.approx(1.4 * 0.04 / 3.919928)
        assert margins[1] == pytest.approx(0.3732 * margins[0], rel=1e-3)
        assert margins[2] < margins[1]
        assert margins[3:] == [0.0, 0.0]
        assert decide(CHALLENGER, INCUMBENT, compared, tries=2).passed
        (rule,) = decide(CHALLENGER, INCUMBENT, compared, tries=3).failed
        assert "3 models were compared on these patients" in rule.why

    def test_small_losses_do_not_add_up(self):
        below = comparison(Estimate(-0.02, -0.03, -0.01))
        (rule,) = decide(CHALLENGER, INCUMBENT, LEVEL, best=below).failed
        assert rule.name == "not_below_best"
        assert decide(CHALLENGER, INCUMBENT, LEVEL, best=LEVEL).passed

    def test_only_a_certain_gain_over_the_best_makes_a_new_best(self):
        above = comparison(Estimate(0.02, 0.01, 0.03))
        assert decide(CHALLENGER).better
        assert decide(CHALLENGER, INCUMBENT, above).better
        assert not decide(CHALLENGER, INCUMBENT, LEVEL).better
        assert not decide(CHALLENGER, INCUMBENT, above, best=LEVEL).better

    def test_not_compared(self):
        decision = decide(CHALLENGER, INCUMBENT, None, "its artefacts are gone")
        (rule,) = decision.failed
        assert rule.name == "not_worse"
        assert "its artefacts are gone" in rule.why

    def test_another_task(self):
        assert failed(replace(CHALLENGER, endpoint="dfs")) == ["same_task"]
        assert failed(replace(CHALLENGER, study="colon")) == ["same_task"]

    @pytest.mark.parametrize(
        ("own", "theirs", "bars"),
        [(True, False, True), (True, True, False), (False, True, False), (False, False, False)],
    )
    def test_synthetic_over_real(self, own, theirs, bars):
        challenger = replace(CHALLENGER, synthetic=own)
        found = failed(challenger, replace(INCUMBENT, synthetic=theirs))
        assert found == (["real_patients"] if bars else [])

    @pytest.mark.parametrize(
        ("score", "uno", "ibs", "learnt"),
        [
            (0.51, 0.01, 0.001, True),
            (0.51, 0.01, -0.001, True),
            (0.49, -0.01, -0.001, False),  # chance
            (0.49, -0.01, 0.001, False),
            (NAN, NAN, NAN, False),
        ],
    )
    def test_learnt(self, score, uno, ibs, learnt):
        challenger = replace(
            CHALLENGER,
            score=Estimate(0.6, score, 0.7),
            gains={"uno_c": Estimate(0.1, uno, 0.2), "ibs": Estimate(0.0, ibs, 0.02)},
        )
        assert failed(challenger) == ([] if learnt else ["learnt"])

    def test_certainly_worse_than_one_curve_for_all_is_not_learnt(self):
        gains = {"uno_c": Estimate(0.1, 0.05, 0.2), "ibs": Estimate(-0.02, -0.03, -0.01)}
        assert failed(replace(CHALLENGER, gains=gains)) == ["learnt"]

    def test_without_a_gain_on_record_the_score_decides(self):
        assert failed(replace(CHALLENGER, gains={})) == []
        chance = Estimate(0.55, 0.49, 0.61)
        assert failed(replace(CHALLENGER, gains={}, score=chance)) == ["learnt"]

    @pytest.mark.parametrize(
        ("what", "figure", "holds"),
        [
            ("slope", Estimate(1.2, 0.85, 1.6), True),
            ("slope", Estimate(0.7, 0.5, 0.9), True),
            ("slope", Estimate(0.7, 0.62, 0.78), False),  # certainly too extreme
            ("slope", Estimate(0.5, 0.1, 0.9), False),  # few patients excuse not everything
            ("slope", Estimate(2.0, 1.1, 3.0), False),
            ("slope", Estimate(NAN), False),
            ("observed/expected", Estimate(1.1, 0.9, 1.3), True),
            ("observed/expected", Estimate(0.75, 0.65, 0.85), False),
            ("observed/expected", Estimate(1.4, 1.2, 1.6), False),
        ],
    )
    def test_calibrated(self, what, figure, holds):
        assert is_sound(what, figure) == holds
        slope, ratio = (figure, FINE) if what == "slope" else (FINE, figure)
        challenger = replace(CHALLENGER, calibration=Calibrated(30.0, slope, ratio))
        assert failed(challenger) == ([] if holds else ["calibrated"])

    def test_calibration_that_nobody_knows(self):
        assert failed(replace(CHALLENGER, calibration=None)) == ["calibrated"]

    def test_only_a_sentinel_that_fired_bars(self):
        for status in ("clear", "caution", "not run"):
            assert failed(replace(CHALLENGER, sentinels=(finding(status),))) == []
        fired = replace(CHALLENGER, sentinels=(finding("clear"), finding("fired")))
        assert failed(fired) == ["no_leak"]
        (rule,) = decide(fired).failed
        assert rule.why == "C of 0.93 is too good"

    def test_no_sentinel_at_all_is_said(self):
        (rule,) = [r for r in decide(replace(CHALLENGER, sentinels=None)).rules if "leak" in r.name]
        assert (rule.holds, rule.why) == (False, "none was run")


@st.composite
def estimates(draw, low, high):
    return Estimate(*(sorted(draw(st.floats(low, high)) for _ in range(3))[i] for i in (1, 0, 2)))


@given(
    uno=estimates(-0.1, 0.1),
    ibs=estimates(-0.1, 0.1),
    slope=estimates(0.0, 3.0),
    statuses=st.lists(st.sampled_from(["clear", "caution", "fired", "not run"]), max_size=3),
    synthetic=st.tuples(st.booleans(), st.booleans()),
)
def test_passes_where_every_rule_holds_and_nowhere_else(uno, ibs, slope, statuses, synthetic):
    own, theirs = synthetic
    challenger = replace(
        CHALLENGER,
        synthetic=own,
        calibration=Calibrated(30.0, slope, FINE),
        sentinels=tuple(finding(s) for s in statuses),
    )
    decision = decide(challenger, replace(INCUMBENT, synthetic=theirs), comparison(uno, ibs))
    no_worse = all(
        gain.value >= -min(most, z * (gain.high - gain.low) / 3.919927969)
        for gain, most, z in ((uno, 0.03, 1.4), (ibs, 0.01, 1.9599639845))
    )
    straight = 0.6 <= slope.value <= 1.67 and slope.low <= 1.25 and slope.high >= 0.8
    real = theirs or not own
    assert decision.passed == (no_worse and straight and real and "fired" not in statuses)
    # A better model is never refused for being better.
    if decision.passed:
        up = Estimate(*(v + 0.01 for v in vars(uno).values()))
        assert decide(challenger, replace(INCUMBENT, synthetic=theirs), comparison(up, ibs)).passed


class TestRecord:
    def test_of_a_run_is_read(self, tiny_trained):
        found = Challenger.of(tiny_trained.bundle)
        scores = tiny_trained.primary.evaluation.scores["model"]
        assert found.score == scores.uno_c
        assert found.gains == tiny_trained.primary.evaluation.gains["Kaplan-Meier"]
        assert (found.synthetic, found.endpoint) == (True, "os")
        (at,) = [
            each
            for each in tiny_trained.primary.review.calibration
            if each.month == found.calibration.month
        ]
        assert found.calibration.slope == at.slope
        assert [f.status for f in found.sentinels] == [
            f.status for f in tiny_trained.primary.findings
        ]

    def test_calibration_is_that_of_the_middle_month(self, tiny_trained):
        def at(month, slope):
            span = {"value": slope, "low": slope - 0.1, "high": None}
            none = dict.fromkeys(("predicted", "observed", "low", "high", "size"), ())
            return {"month": month, "slope": span, "observed_expected": span, **none}

        bundle = tiny_trained.bundle
        review = {
            "calibration": [at(12, 0.2), at(bundle.metrics["horizon"] / 2 + 1, 1.1), at(60, 0.3)],
            "sentinels": [finding("fired").model_dump(mode="json")],
        }
        reviewed = with_metrics(bundle, {**bundle.metrics, "review": review})
        found = Challenger.of(reviewed)
        assert found.calibration.slope.value == 1.1
        assert [rule.name for rule in decide(found).failed][-1] == "no_leak"

    def test_of_labels_alone_is_judged_by_its_response(self, labels_trained):
        found = Challenger.of(labels_trained.bundle)
        (made,) = labels_trained.responses.values()
        assert found.score == made.evaluation.estimates["auroc"]
        assert found.gains == {}
        slope = made.evaluation.estimates["calibration_slope"]
        assert found.calibration.slope.value == slope.value
        assert [rule for rule in decide(found).failed if rule.name == "no_leak"] == []


def with_metrics(bundle: Bundle, metrics) -> Bundle:
    return replace(bundle, metrics=metrics)
