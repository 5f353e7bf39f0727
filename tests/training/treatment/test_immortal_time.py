"""Early events by arm, and Fisher's test of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accomplice.training.treatment.immortal_time import (
    Early,
    EarlyEvents,
    early_events,
    strata,
)


def test_counts_events_to_the_landmark_and_leaves_out_the_unknown():
    treated = np.array([1, 1, 1, 0, 0, np.nan, 1])
    time = np.array([1.0, 2.0, 3.0, 2.0, 2.0, 1.0, 1.0])
    event = np.array([True, True, True, True, False, True, True])
    one = early_events(treated, time, event, 2.0, np.array([0, 0, 0, 0, 0, 0, -1]))
    assert one == EarlyEvents(((Early(2, 3), Early(1, 2)),))
    two = early_events(treated, time, event, 2.0, np.array([0, 4, 4, 0, 4, 0, -1]))
    assert two.strata == ((Early(1, 1), Early(1, 1)), (Early(1, 2), Early(0, 1)))
    assert (two.treated, two.untreated) == (Early(2, 3), Early(1, 2))
    assert Early(2, 3).share == pytest.approx(2 / 3)
    assert Early(0, 0).share == 0


@given(
    a=st.integers(0, 8),
    m=st.integers(8, 40),
    b=st.integers(0, 8),
    n=st.integers(8, 40),
    odds=st.sampled_from([0.55, 1.0]),
)
def test_chance_of_few_early_events_is_the_mid_p_of_fishers(a, m, b, n, odds):
    stats = pytest.importorskip("scipy.stats")
    fisher = stats.nchypergeom_fisher(m + n, m, a + b, odds)
    expected = fisher.cdf(a) - fisher.pmf(a) / 2
    assert EarlyEvents(((Early(a, m), Early(b, n)),)).fewer_by_chance(odds) == pytest.approx(
        expected, abs=1e-7
    )


@given(
    tables=st.lists(st.tuples(*[st.integers(0, 4), st.integers(4, 9)] * 2), min_size=2, max_size=3),
    odds=st.sampled_from([0.55, 1.0]),
)
def test_strata_are_judged_together(tables, odds):
    stats = pytest.importorskip("scipy.stats")
    # All combinations of what the strata may have, each by its own distribution.
    chance = {0: 1.0}
    for a, m, b, n in tables:
        own = stats.nchypergeom_fisher(m + n, m, a + b, odds)
        counts = range(max(0, a + b - n), min(a + b, m) + 1)
        chance = {
            total: sum(chance.get(total - k, 0.0) * own.pmf(k) for k in counts)
            for total in range(max(chance) + max(counts) + 1)
        }
    seen = sum(a for a, *_ in tables)
    expected = sum(p for total, p in chance.items() if total < seen) + chance[seen] / 2
    early = EarlyEvents(tuple((Early(a, m), Early(b, n)) for a, m, b, n in tables))
    assert early.fewer_by_chance(odds) == pytest.approx(expected, abs=1e-6)


def test_a_stage_that_is_never_treated_and_dies_early_is_no_immortal_time(small_cohort):
    study = small_cohort.study
    stage = small_cohort.values[:, list(study.features).index("stage")]
    found = strata(study, small_cohort.values)
    levels = study.features["stage"].levels
    allowed = np.isin(stage, [levels.index("II"), levels.index("III")])
    assert ((found >= 0) == allowed).all()
    assert len(np.unique(found[allowed])) == 2
    # The treated are those of stage II and III; all early deaths are those of stage IV.
    treated, died = allowed.astype(float), stage == levels.index("IV")
    time = np.where(died, 1.0, 30.0)
    apart = early_events(treated, time, died, 2.0, found)
    together = early_events(treated, time, died, 2.0, np.zeros(len(found), dtype=int))
    assert apart.fewer_by_chance() == 0.5
    assert together.fewer_by_chance() < 0.05


def test_it_is_seldom_said_by_chance():
    rng = np.random.default_rng(0)
    n, alarms = 600, 0
    for _ in range(400):
        stage = rng.integers(0, 2, n)
        treated = (rng.random(n) < np.array([0.4, 0.7])[stage]).astype(float)
        early = rng.random(n) < np.array([0.02, 0.06])[stage]
        found = early_events(treated, np.where(early, 1.0, 9.0), early, 2.0, stage)
        alarms += found.fewer_by_chance() < 0.05
    assert alarms / 400 < 0.08
