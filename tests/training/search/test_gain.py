"""The expected gain: closed forms, the winner of many trials, and when the defaults are left."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accomplice.training.search.gain import (
    FINALISTS,
    LEAVES,
    NONE,
    Gain,
    best_score,
    choose,
    difference,
    finalists,
    keep_other_folds,
    other_folds,
    ranked,
    sentence,
    shrunk,
)
from accomplice.training.search.scores import OBJECTIVES, OPTIMISED
from accomplice.training.search.study import completed
from tests.training.search.made import GROUPS, USUAL, made_scores, study_of, values

#: Prior standard deviation of the gains in the integrated Brier score, and of those in the others.
SCALE = OBJECTIVES["ibs"].scale(USUAL["ibs"])
#: Observed numbers, and their errors.
NUMBERS, ERRORS = st.floats(-1, 1), st.just(0.0) | st.floats(1e-9, 1e6)


def numbers(trials):
    return [trial.number for trial, _ in trials]


def judged_again(study, error=0.0, **by_trial):
    """Note scores on other folds, of trials named as in ``t1=0.19``; the defaults' are usual."""
    for name, score in {"t0": USUAL["ibs"], **by_trial}.items():
        trial = completed(study)[int(name.removeprefix("t"))]
        keep_other_folds(study, trial, values(score, error if trial.number else 0.0))


class TestDifference:
    @pytest.mark.parametrize(("score", "sign"), [("ibs", -1), ("uno_c", 1), ("ici", -1)])
    def test_gain_is_above_0_where_the_second_is_better(self, score, sign):
        gain, error = difference(score, [np.array(values(0.5))], [np.array(values(0.7, 0.01))])
        assert gain == pytest.approx(sign * 0.2)
        assert error == pytest.approx(0.01)

    def test_error_of_a_mean_is_s_over_root_n(self):
        each = np.random.default_rng(0).normal(size=37)
        mean = each.mean()
        without = (each.sum() - each) / (len(each) - 1)
        gain, error = difference("ibs", [np.r_[mean, without]], [np.zeros(38)])
        assert gain == pytest.approx(mean)
        assert error == pytest.approx(each.std(ddof=1) / np.sqrt(len(each)), rel=1e-12)

    def test_is_paired(self):
        # The same patients are hard for both; what both lose cancels.
        shared = np.array(values(0.2, 0.05))
        assert difference("ibs", [shared], [shared - 0.01])[1] == pytest.approx(0, abs=1e-15)

    def test_is_that_of_the_mean_over_sets_of_folds(self):
        rng = np.random.default_rng(1)
        first, second = rng.normal(size=(2, 3, 1 + GROUPS))
        several = difference("uno_c", list(first), list(second))
        once = difference("uno_c", [first.mean(axis=0)], [second.mean(axis=0)])
        assert several == pytest.approx(once)

    @pytest.mark.parametrize("groups", [0, 1])
    def test_fewer_than_two_groups_leave_the_error_unknown(self, groups):
        score = np.array(values(0.2, 0.0, 20)[: 1 + groups])
        assert difference("ibs", [score], [score - 0.1]) == (pytest.approx(0.1), math.inf)


class TestShrunk:
    def test_is_the_posterior_of_a_normal_mean(self):
        # On a grid: prior N(0, t²) times the likelihood of g with error s.
        g, s, t = 0.7, 0.5, 0.3
        grid = np.linspace(-4, 4, 40_001)
        density = np.exp(-((grid / t) ** 2) / 2 - ((g - grid) / s) ** 2 / 2)
        density /= density.sum()
        mean = density @ grid
        found = shrunk(g, s, t)
        assert found.mean == pytest.approx(mean, rel=1e-9)
        assert found.sd == pytest.approx(np.sqrt(density @ (grid - mean) ** 2), rel=1e-9)
        low, high = found.interval
        assert density[(grid >= low) & (grid <= high)].sum() == pytest.approx(0.8, abs=1e-3)
        assert found.chance == pytest.approx(density[grid > 0].sum(), abs=1e-3)

    @given(NUMBERS, ERRORS, st.floats(1e-6, 1))
    def test_is_never_larger_than_the_observed_nor_of_another_sign(self, g, s, t):
        found = shrunk(g, s, t)
        assert abs(found.mean) <= abs(g) * (1 + 1e-12) + 1e-300
        assert found.mean * g >= 0
        assert 0 <= found.sd <= min(s, t) * (1 + 1e-12)

    @given(NUMBERS, st.sampled_from([math.inf, math.nan]), st.floats(1e-6, 1))
    def test_is_the_prior_where_the_error_is_unknown(self, g, error, t):
        assert shrunk(g, error, t) == shrunk(math.nan, 1.0, t) == Gain(0.0, t)
        assert shrunk(g, error, t).chance == 0.5

    @given(NUMBERS, st.floats(1e-6, 1))
    def test_without_error_it_is_the_observed(self, g, t):
        assert shrunk(g, 0.0, t) == pytest.approx(Gain(g, 0.0))

    def test_nothing_varies(self):
        assert shrunk(0.3, 0.0, 0.0) == NONE
        assert NONE.interval == (0, 0)
        assert [Gain(mean, 0.0).chance for mean in (-1.0, 0.0, 1.0)] == [0, 0, 1]

    def test_interval_in_as_many_patients_has_their_sampling_error_too(self):
        low, high = Gain(1.0, 0.3, 0.4).interval
        assert (low + high) / 2 == pytest.approx(1.0)
        assert high - low == pytest.approx(2 * 1.2815515655446004 * 0.5)
        assert Gain(1.0, 0.3, 0.4).chance == Gain(1.0, 0.3).chance

    @pytest.mark.parametrize("trials", [5, 40, 200])
    @pytest.mark.parametrize("error", [0.3, 1.0, 2.0])
    def test_interval_of_the_best_of_many_holds_its_truth(self, trials, error):
        rng = np.random.default_rng([trials, int(10 * error)])
        studies, t = 4000, 0.8
        truth = rng.normal(0, t, (studies, trials))
        observed = truth + rng.normal(0, error, truth.shape)
        best = np.arange(studies), observed.argmax(axis=1)
        found = [shrunk(g, error, t) for g in observed[best]]
        low, high = np.transpose([gain.interval for gain in found])
        held = (low <= truth[best]) & (truth[best] <= high)
        assert 0.78 < held.mean() < 0.82
        # Unshrunk, the best looks better than it is.
        assert observed[best].mean() > truth[best].mean() + 0.02
        assert np.mean([gain.mean for gain in found]) == pytest.approx(
            truth[best].mean(), abs=4 * found[0].sd / np.sqrt(studies)
        )

    def test_interval_by_the_jackknife_of_real_differences_holds_its_truth(self):
        # The error is not known but found from 20 groups of 10 patients.
        rng = np.random.default_rng(3)
        studies, trials, t, noise = 1500, 20, 0.05, 0.8
        truth = rng.normal(0, t, (studies, trials))
        groups = truth[..., None] + rng.normal(0, noise / np.sqrt(10), (studies, trials, GROUPS))
        whole = groups.mean(axis=-1, keepdims=True)
        without = (groups.sum(axis=-1, keepdims=True) - groups) / (GROUPS - 1)
        scores = np.concatenate([whole, without], axis=-1)
        best = np.arange(studies), whole[..., 0].argmax(axis=1)
        nothing = np.zeros(1 + GROUPS)
        found = [shrunk(*difference("uno_c", [nothing], [s]), t) for s in scores[best]]
        low, high = np.transpose([gain.interval for gain in found])
        assert 0.74 < np.mean((low <= truth[best]) & (truth[best] <= high)) < 0.86


class TestRanked:
    def test_the_defaults_gain_nothing_and_the_worse_come_after_them(self):
        study = study_of([made_scores(ibs=s) for s in (0.2, 0.19, 0.21, 0.18)])
        found = ranked(study, "ibs")
        assert numbers(found) == [3, 1, 0, 2]
        assert found[2][1] == NONE
        assert [gain.mean for _, gain in found] == pytest.approx([0.02, 0.01, 0, -0.01])

    def test_a_certain_gain_is_before_a_larger_one_by_chance(self):
        certain = made_scores(SCALE / 10, ibs=0.2 - SCALE)
        chance = made_scores(4 * SCALE, ibs=0.2 - 3 * SCALE)
        assert numbers(ranked(study_of([made_scores(), chance, certain]), "ibs")) == [2, 1, 0]

    def test_of_equal_gains_the_first_comes_first(self):
        study = study_of([made_scores(), made_scores(ibs=0.19), made_scores(ibs=0.19)])
        assert numbers(ranked(study, "ibs")) == [1, 2, 0]

    def test_nothing_is_ranked_without_the_defaults(self):
        study = study_of([])
        assert ranked(study, "ibs") == []
        assert finalists(study, "ibs") == []
        assert choose(study, "ibs") is None
        assert best_score(study, "ibs") == ""

    @pytest.mark.parametrize(
        ("objective", "score", "better"), [("uno_c", "uno_c", 0.62), ("calibration", "ici", 0.01)]
    )
    def test_other_objectives_rank_in_their_direction(self, objective, score, better):
        worse = 2 * USUAL[score] - better
        trials = [made_scores(), *(made_scores(**{score: s}) for s in (worse, better))]
        # The Brier scores say the opposite.
        trials[1].scores["ibs"] = values(0.1)
        study = study_of(trials, objective)
        found = ranked(study, objective)
        assert numbers(found) == [2, 0, 1]
        assert found[0][1].mean == pytest.approx(abs(better - USUAL[score]))
        assert study.directions[0].name == ("MAXIMIZE" if score == "uno_c" else "MINIMIZE")
        choice = choose(study, objective)
        assert choice.trial.number == 2

    def test_several_serves_the_best_brier_score_near_the_best_c_and_calibration(self):
        error = 0.01
        trials = [
            made_scores(error),
            made_scores(error, ibs=0.150, uno_c=0.580, ici=0.020),  # C too low
            made_scores(error, ibs=0.160, uno_c=0.599, ici=0.035),  # too badly calibrated
            made_scores(error, ibs=0.170, uno_c=0.597, ici=0.025),
            made_scores(error, ibs=0.180, uno_c=0.605, ici=0.019),
        ]
        # The errors are those of differences from these two, which do not vary.
        trials[4].scores["uno_c"], trials[4].scores["ici"] = values(0.605), values(0.019)
        found = ranked(study_of(trials, "several"), "several")
        assert numbers(found) == [3, 4, 0]
        assert numbers(ranked(study_of(trials), "ibs")) == [1, 2, 3, 4, 0]
        assert choose(study_of(trials, "several"), "several").trial.number == 3


class TestChoice:
    def test_a_certain_gain_is_served(self):
        study = study_of([made_scores(), made_scores(SCALE / 10, ibs=0.2 - SCALE)])
        judged_again(study, SCALE / 10, t1=0.2 - SCALE)
        choice = choose(study, "ibs")
        assert choice.trial.number == 1
        assert choice.gain == pytest.approx(shrunk(SCALE, SCALE / 10, SCALE, SCALE / 10))
        assert choice.runner_up is None
        assert "expected gain on fresh patients over the defaults: 0.2 % of the" in sentence(
            choice, "ibs"
        )

    def test_a_gain_by_chance_leaves_the_defaults(self):
        study = study_of([made_scores(), made_scores(9 * SCALE, ibs=0.2 - SCALE)])
        judged_again(study, 9 * SCALE, t1=0.2 - SCALE)
        choice = choose(study, "ibs")
        assert (choice.trial.number, choice.gain) == (0, NONE)
        assert 0 < choice.runner_up.mean < SCALE / 10
        assert choice.runner_up.chance < LEAVES
        said = sentence(choice, "ibs")
        assert said.startswith("the defaults are kept: of the best other settings no gain is")
        assert "80 % interval in as many patients -" in said

    def test_where_nothing_scored_better_the_defaults_are_kept(self):
        study = study_of([made_scores(), made_scores(ibs=0.21)])
        assert finalists(study, "ibs") == []
        assert choose(study, "ibs").trial.number == 0
        alone = study_of([made_scores()])
        assert choose(alone, "ibs") == (completed(alone)[0], NONE, None, 0.2)
        assert "no other settings scored better" in sentence(choose(alone, "ibs"), "ibs")

    def test_other_folds_may_take_the_gain_away(self):
        study = study_of([made_scores(), made_scores(SCALE / 10, ibs=0.2 - 2 * SCALE)])
        assert choose(study, "ibs").trial.number == 1
        judged_again(study, SCALE / 10, t1=0.2 + 2 * SCALE)
        assert choose(study, "ibs").trial.number == 0

    def test_how_far_the_folds_differ_is_part_of_the_error(self):
        study = study_of([made_scores(), made_scores(SCALE / 10, ibs=0.2 - 2 * SCALE)])
        judged_again(study, SCALE / 10, t1=0.2)
        # Gains of 2 t and none: their mean is t, and off by half their difference.
        expected = shrunk(SCALE, math.hypot(SCALE / 10, SCALE), SCALE, SCALE / 10)
        choice = choose(study, "ibs")
        assert choice.gain == pytest.approx(expected)
        assert choice.gain.chance == pytest.approx(0.76, abs=0.01)

    def test_of_finalists_the_best_on_both_sets_of_folds_is_served(self):
        trials = [made_scores(), *(made_scores(ibs=s) for s in (0.195, 0.196, 0.197))]
        study = study_of(trials)
        judged_again(study, t1=0.198, t2=0.193, t3=0.197)
        assert choose(study, "ibs").trial.number == 2

    def test_without_other_folds_the_variance_is_twice_as_large(self):
        error = SCALE / 2
        study = study_of([made_scores(), made_scores(error, ibs=0.2 - 2 * SCALE)])
        choice = choose(study, "ibs")
        assert choice.gain == pytest.approx(shrunk(2 * SCALE, error * math.sqrt(2), SCALE, error))


class TestFinalists:
    def test_are_the_best_that_seem_to_gain_after_the_defaults(self):
        scores = (0.2, 0.199, 0.21, 0.198, 0.197, 0.196)
        found = finalists(study_of([made_scores(ibs=s) for s in scores]), "ibs")
        assert [trial.number for trial in found] == [0, 5, 4, 3]
        assert len(found) == 1 + FINALISTS

    def test_scores_on_other_folds_are_kept_in_the_study(self):
        study = study_of([made_scores(), made_scores()])
        assert other_folds(study) == {}
        judged_again(study, t1=0.1)
        found = other_folds(study)
        assert found.keys() == {0, 1}
        np.testing.assert_array_equal(found[1], values(0.1))


class TestWords:
    def test_scores_of_the_defaults_and_of_the_best_other(self):
        study = study_of([made_scores(), made_scores(ibs=0.21), made_scores(ibs=0.19)])
        assert best_score(study, "ibs") == (
            "; integrated Brier score of the defaults 0.2000, of the best other (trial 2) 0.1900"
        )
        assert best_score(study_of([made_scores()], "uno_c"), "uno_c") == (
            "; Uno's C of the defaults 0.6000"
        )

    @pytest.mark.parametrize(
        ("objective", "given", "share"),
        [("uno_c", {"uno_c": 0.606}, 1), ("ibs", {"ibs": 0.18}, 10)],
    )
    def test_gain_is_a_share_of_the_defaults_score(self, objective, given, share):
        study = study_of([made_scores(), made_scores(**given)], objective)
        choice = choose(study, objective)
        label = OBJECTIVES[OPTIMISED[objective][0]].label
        said = (
            f"over the defaults: {share}.0 % of the defaults' {label} (80 % interval in as many "
            f"patients {share}.0 to"
        )
        assert said in sentence(choice, objective)
