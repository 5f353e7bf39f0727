"""Shared fits: the scores of a fit of its own, without fitting what a trial does not touch."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pytest

from accomplice.training.config import configure
from accomplice.training.fitting import network
from accomplice.training.fitting.fit import fit
from accomplice.training.fitting.folds import assign_folds
from accomplice.training.fitting.prepare import prepare
from accomplice.training.learners.registry import LEARNERS, NET
from accomplice.training.search import shared_fits
from accomplice.training.search.shared_fits import KEPT, SharedFits
from accomplice.training.tracking.experiment import on_other_folds
from tests.conftest import TINY

SMALL = ("folds.folds=2", "net.max_epochs=1", "forest.trees=10", "boosting.max_rounds=10")


@pytest.fixture(scope="module")
def config():
    return configure([*TINY, *SMALL])


@pytest.fixture(scope="module")
def cohort(small_cohort):
    return small_cohort.take(np.arange(150))


@pytest.fixture(scope="module")
def fits(cohort, config):
    """Shared by all tests that ask for scores alone, as by the trials of a search."""
    return SharedFits(cohort, config)


@dataclass
class Fitted:
    """Calls of the learners' fits, and of the network's."""

    calls: Counter = field(default_factory=Counter)

    def taken(self):
        """Return the calls since they were last taken."""
        made, self.calls = dict(self.calls), Counter()
        return made


@pytest.fixture
def fitted(monkeypatch):
    seen = Fitted()

    def counted(name, learner):
        class Counted(learner):
            @classmethod
            def fit(cls, data, config, budget):
                seen.calls[name] += 1
                return learner.fit(data, config, budget)

        return Counted

    for name, learner in [*LEARNERS.items()]:
        monkeypatch.setitem(LEARNERS, name, counted(name, learner))
    fit_net = network.fit_net

    def counted_net(*given):
        seen.calls[NET] += 1
        return fit_net(*given)

    monkeypatch.setattr(network, "fit_net", counted_net)
    return seen


def judged_alone(cohort, config):
    """Scores of a whole fit of these settings."""
    made = fit(prepare(cohort, config), config)
    prepared = made.prepared
    scores = SharedFits(cohort, config).scores
    share = np.mean(
        [dict(zip(made.ensemble.names, s.weights, strict=True))[NET] for s in made.stacks]
    )
    return scores.of(prepared.grid, made.blind, prepared.group, share, config.search.objective)


def assert_same(found, expected):
    assert found.scores.keys() == expected.scores.keys()
    for name, values in expected.scores.items():
        np.testing.assert_allclose(found.scores[name], values, rtol=0, atol=1e-12, err_msg=name)
    assert found.net_share == pytest.approx(expected.net_share, abs=1e-12)


class TestScores:
    @pytest.mark.parametrize(
        "settings",
        [
            (),
            ("forest.use=false",),
            ("boosting.use=false",),
            ("forest.use=false", "boosting.use=false"),
            ("grid.bins=4",),
            ("net.embedding_bins=3",),
            ("forest.leaf=20", "net.dropout=0.1", "boosting.depth=1", "stack.equal=100"),
            ("search.objective=several",),
        ],
        ids=lambda settings: " ".join(settings) or "defaults",
    )
    def test_are_those_of_a_fit_of_its_own(self, fits, cohort, config, settings):
        other = configure(settings, config)
        assert_same(fits.judge(other), judged_alone(cohort, other))

    @pytest.mark.parametrize("setting", ["folds.repeats=2", "seed=5", "folds.by=centre"])
    def test_are_those_on_the_folds_of_the_search(self, cohort, config, setting):
        base = configure([setting], config)
        fits = SharedFits(cohort, base)
        for settings in ((), ("grid.bins=4", "forest.use=false")):
            other = configure(settings, base)
            assert_same(fits.judge(other), judged_alone(cohort, other))

    def test_do_not_depend_on_what_was_judged_before(self, fits, cohort, config):
        others = [configure([f"grid.bins={bins}", "net.dropout=0.2"], config) for bins in (3, 5)]
        first = [fits.judge(other) for other in others]
        assert [SharedFits(cohort, config).judge(other) for other in others] == first

    def test_in_blocks_of_patients_are_the_same(self, fits, cohort, config, monkeypatch):
        expected = fits.judge(config)
        monkeypatch.setattr(shared_fits, "BLOCK", 16)
        assert_same(SharedFits(cohort, config).judge(config), expected)


class TestFits:
    def test_what_a_trial_does_not_touch_is_not_fitted_again(self, fitted, cohort, config):
        fits = SharedFits(cohort, config)
        fits.judge(config)
        first = {"anchor": 2, "forest": 2, "boosting": 2, NET: 1}
        assert fitted.taken() == first
        expected = {
            (): {},
            ("stack.equal=50", "stack.slope_sd=0.2"): {},
            ("forest.use=false",): {},
            ("boosting.use=false",): {},
            ("search.objective=uno_c",): {},
            ("forest.leaf=9",): {"forest": 2},
            ("boosting.depth=2",): {"boosting": 2},
            ("net.dropout=0.2",): {NET: 1},
            ("net.embedding_bins=3",): {NET: 1},
            ("anchor.folds=3",): {"anchor": 2, NET: 1},
            ("grid.bins=4",): first,
            # Each of these was fitted by one of the others.
            ("forest.leaf=9", "net.dropout=0.2"): {},
        }
        for settings, calls in expected.items():
            fits.judge(configure(settings, config))
            assert fitted.taken() == calls, settings

    def test_of_unused_learners_are_not_made(self, fitted, cohort, config):
        without = configure(["forest.use=false", "boosting.use=false"], config)
        SharedFits(cohort, without).judge(without)
        assert fitted.taken() == {"anchor": 2, NET: 1}

    def test_are_kept_of_the_last_settings_alone(self, fitted, cohort, config, monkeypatch):
        monkeypatch.setattr(shared_fits, "KEPT", 3)
        assert KEPT > 3
        fits = SharedFits(cohort, config)
        fits.judge(config)
        leaves = [configure([f"forest.leaf={leaf}"], config) for leaf in (6, 7, 8)]
        for other in leaves:
            fits.judge(other)
        kinds = Counter(key[0] for key in fits._kept)
        assert max(kinds.values()) == kinds["forest curves"] == 3
        fitted.taken()
        # Of the forest those of the defaults were dropped; what is asked for again stays.
        fits.judge(leaves[0])
        assert fitted.taken() == {}
        fits.judge(config)
        assert fitted.taken() == {"forest": 2}
        fits.judge(leaves[0])
        assert fitted.taken() == {}

    def test_that_a_check_stopped_are_not_kept(self, fitted, cohort, config):
        fits, checks = SharedFits(cohort, config), 0

        def stop():
            nonlocal checks
            checks += 1
            if checks == 4:  # after the second fold's forest
                raise TimeoutError

        with pytest.raises(TimeoutError):
            fits.judge(config, stop)
        assert fitted.taken() == {"anchor": 2, "forest": 2}
        fits.judge(config)
        assert fitted.taken() == {"forest": 2, "boosting": 2, NET: 1}

    def test_are_checked_at_each_fold_and_epoch(self, cohort, config):
        checks = []
        more = configure(["net.max_epochs=3", "net.patience=9"], config)
        SharedFits(cohort, more).judge(more, lambda: checks.append(1))
        assert len(checks) == 3 * 2 + 3


class TestOtherFolds:
    @pytest.mark.parametrize("repeats", [1, 2])
    def test_are_neither_those_of_the_search_nor_of_the_final_model(self, cohort, config, repeats):
        base = configure([f"folds.repeats={repeats}"], config)
        fits = SharedFits(cohort, base)
        again, outcome = fits.on_other_folds(), fits.cohort.outcome
        final = assign_folds(fits.cohort, *outcome, on_other_folds(base))
        every = [fold.tobytes() for fold in (*fits.fold, *again.fold, *final)]
        assert len({*every}) == len(every) == 3 * repeats
        assert again.fold.shape == fits.fold.shape

    def test_judge_settings_as_a_fit_on_them_does(self, fits, cohort, config):
        again = fits.on_other_folds()
        own = configure(["seed=2"], config)
        assert again.config == own
        np.testing.assert_array_equal(again.fold, SharedFits(cohort, own).fold)
        assert_same(again.judge(own), judged_alone(cohort, own))
