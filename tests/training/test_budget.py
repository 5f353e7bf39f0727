"""A deadline: its arithmetic on a clock of its own, and that every part of a fit keeps to it."""

from __future__ import annotations

import numpy as np
import pytest

from accomplice.training.budget import UNLIMITED, Budget
from accomplice.training.config import configure
from accomplice.training.evaluation.scores import FEWEST_DRAWS
from accomplice.training.learners.forest import TIME_CHECKS
from accomplice.training.run import train


class Clock:
    """Moves only as told, or by a step at each look."""

    def __init__(self, step: float = 0.0) -> None:
        self.now, self.step = 100.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


class TestBudget:
    def test_counts_from_its_beginning(self):
        clock = Clock()
        budget = Budget(10, clock, began=97)
        clock.now += 2
        assert (budget.spent, budget.left()) == (5, 5)
        clock.now += 7
        assert budget.left() == -2

    def test_without_end_is_never_over(self):
        assert not UNLIMITED.limited
        assert not UNLIMITED.share(0.3, keep=5).limited
        pace = Budget(clock=Clock(1e9)).pace()
        assert all(pace.another() for _ in range(3))

    def test_share_is_of_what_is_left_and_what_it_leaves_is_its_parent_s(self):
        clock = Clock()
        budget = Budget(20, clock)
        clock.now += 4
        part = budget.share(0.5, keep=6)
        assert part.left() == 5
        clock.now += 2
        assert budget.left() == 14
        assert part.left() == 3
        clock.now += 50
        assert budget.share().left() == 0

    def test_pace_begins_no_step_that_would_end_late(self):
        clock = Clock()
        pace = Budget(10, clock).pace()
        clock.now += 3
        assert pace.another()  # 3 of 10 are gone, the next would end at 6
        clock.now += 4
        assert not pace.another()  # the next would end at 11

    def test_keeps_the_least_of_what_was_cut_wherever_it_was_noted(self):
        budget = Budget(10, Clock())
        for done in (7, 5, 6):
            budget.share(0.1).cut("forest", done, "100 trees")
        assert budget.cuts == ["forest 5 of 100 trees"]


@pytest.fixture(scope="module")
def least(small_cohort, tiny_config):
    """A fit for which there was no time at all."""
    config = configure(["evaluation.bootstraps=60"], tiny_config)
    return train(small_cohort, config, budget=Budget(1.0, Clock(step=10.0)))


class TestTrain:
    def test_does_the_least_where_there_is_no_time(self, least, tiny_config):
        trees = -(-tiny_config.forest.trees // TIME_CHECKS)
        assert least.bundle.provenance["cut_short"] == [
            f"forest {trees} of {tiny_config.forest.trees} trees",
            f"boosting 1 of at most {tiny_config.boosting.max_rounds} rounds",
            "network 1 of at most 2 epochs",
            f"evaluation {FEWEST_DRAWS} of 60 bootstraps",
            "review 1 of 7 parts",
        ]
        assert all(
            m.learners["forest"].trees.count == trees for m in least.primary.fitted.prepared.models
        )
        assert len(least.primary.fitted.history) == 1
        assert np.isfinite(least.primary.fitted.cumulative).all()

    def test_reports_the_bootstraps_it_made(self, least, tiny_trained, tiny_config):
        assert least.primary.evaluation.to_json()["bootstraps"] == FEWEST_DRAWS
        made = tiny_trained.primary.evaluation.to_json()["bootstraps"]
        assert made == tiny_config.evaluation.bootstraps

    def test_a_cut_fit_has_a_name_of_its_own(self, least, tiny_trained):
        assert "cut_short" not in tiny_trained.bundle.provenance
        names = [t.bundle.provenance["fit_id"] for t in (least, tiny_trained)]
        assert names[0] != names[1]

    def test_ample_time_changes_nothing(self, small_cohort, tiny_config, tiny_trained):
        ample = train(small_cohort, tiny_config, budget=Budget(1e9, Clock(step=1e-3)))
        assert ample.bundle.provenance == tiny_trained.bundle.provenance
        assert ample.primary.fitted.history == tiny_trained.primary.fitted.history
        assert ample.primary.evaluation.bootstraps == tiny_config.evaluation.bootstraps
