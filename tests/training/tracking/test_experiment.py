"""The final run after a search is judged on other folds than those of the search."""

from __future__ import annotations

import pytest

from accomplice.training.config import configure
from accomplice.training.fitting.folds import assign_folds
from accomplice.training.tracking.experiment import on_other_folds


@pytest.mark.parametrize("repeats", [1, 3])
def test_no_division_of_the_search_judges_the_final_model(small_cohort, repeats):
    config = configure([f"folds.repeats={repeats}", "seed=4"])
    other = on_other_folds(config)
    assert other.model_copy(update={"seed": 4}) == config
    divisions = [assign_folds(small_cohort, *small_cohort.outcome, c) for c in (config, other)]
    assert divisions[0].shape == divisions[1].shape == (repeats, len(small_cohort))
    assert not any((a == b).all() for a in divisions[0] for b in divisions[1])


def test_a_single_repeat_moves_the_seed_by_one():
    assert on_other_folds(configure(["seed=4"])).seed == 5
