"""Folds: every patient once, alike in outcome, groups together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accomplice.data.errors import InputError
from accomplice.data.splits import centre_folds, stratified_folds

untimed = settings(deadline=None)


@st.composite
def outcomes(draw, most=80):
    """Event and time of patients with ties, a number of folds that they can fill, and a seed."""
    rows = draw(
        st.lists(st.tuples(st.booleans(), st.integers(1, 30)), min_size=4, max_size=most).filter(
            lambda rows: sum(event for event, _ in rows) >= 2
        )
    )
    event = np.array([event for event, _ in rows])
    time = np.array([time for _, time in rows], dtype=float)
    folds = draw(st.integers(2, int(min(event.sum(), 8))))
    return event, time, folds, draw(st.integers(0, 1000))


class TestStratified:
    @untimed
    @given(case=outcomes())
    def test_every_fold_gets_its_share_of_patients_and_of_events(self, case):
        event, time, folds, seed = case
        fold = stratified_folds(event, time, folds, seed)
        assert fold.shape == time.shape
        size = np.bincount(fold, minlength=folds)
        assert len(size) == folds
        assert size.max() - size.min() <= 1
        events = np.bincount(fold[event], minlength=folds)
        # A run of neighbours at the border of censored and events holds both.
        assert events.max() - events.min() <= 2

    @untimed
    @given(case=outcomes())
    def test_every_fold_gets_short_and_long_follow_up(self, case):
        event, time, folds, seed = case
        fold = stratified_folds(event, time, folds, seed)
        # Of any number of shortest-followed patients with the same outcome, each fold has its part.
        for outcome in (False, True):
            rows = np.flatnonzero(event == outcome)
            for longest in np.unique(time[rows]):
                early = np.bincount(fold[rows[time[rows] <= longest]], minlength=folds)
                assert early.max() - early.min() <= 2

    @untimed
    @given(case=outcomes())
    def test_same_seed_same_folds(self, case):
        event, time, folds, seed = case
        first = stratified_folds(event, time, folds, seed)
        np.testing.assert_array_equal(first, stratified_folds(event, time, folds, seed))

    def test_another_seed_makes_other_folds(self):
        event, time = np.tile([True, False], 50), np.arange(100.0)
        fold = [stratified_folds(event, time, 5, seed) for seed in (0, 1)]
        assert (fold[0] != fold[1]).any()

    def test_ties_are_broken_at_random_and_not_by_row(self):
        event, time = np.ones(40, dtype=bool), np.full(40, 3.0)
        partners = [
            frozenset(np.flatnonzero(stratified_folds(event, time, 20, seed) == 0).tolist())
            for seed in range(20)
        ]
        assert len(set(partners)) > 10

    @untimed
    @given(case=outcomes(most=40), data=st.data())
    def test_groups_stay_together(self, case, data):
        event, time, folds, seed = case
        names = st.sampled_from([f"family {i}" for i in range(12)])
        groups = np.array(data.draw(st.lists(names, min_size=len(time), max_size=len(time))))
        if len(np.unique(groups)) < folds:
            with pytest.raises(InputError, match=f"cannot fill {folds} folds"):
                stratified_folds(event, time, folds, seed, groups)
            return
        if len(np.unique(groups[event])) < folds:
            with pytest.raises(InputError, match="events cannot be spread"):
                stratified_folds(event, time, folds, seed, groups)
            return
        fold = stratified_folds(event, time, folds, seed, groups)
        for name in np.unique(groups):
            assert len(set(fold[groups == name].tolist())) == 1
        sizes = np.bincount(fold[np.unique(groups, return_index=True)[1]], minlength=folds)
        assert sizes.max() - sizes.min() <= 1

    def test_groups_with_an_event_are_spread(self):
        groups = np.repeat([f"g{i}" for i in range(20)], 3)
        event = np.tile([False, False, True], 20) & (np.arange(60) < 30)
        fold = stratified_folds(event, np.arange(60.0), 5, 0, groups)
        assert np.bincount(fold[event]).tolist() == [2] * 5

    @pytest.mark.parametrize(
        ("event", "folds", "said"),
        [
            ([True, True], 3, r"2 patients cannot fill 3 folds: set fewer folds"),
            ([True, False, False, False], 2, r"1 events cannot be spread over 2 folds"),
        ],
    )
    def test_too_few_patients_or_events_are_refused(self, event, folds, said):
        with pytest.raises(InputError, match=said):
            stratified_folds(np.array(event), np.arange(1.0, len(event) + 1), folds, 0)


class TestCentres:
    @untimed
    @given(
        names=st.lists(st.sampled_from("ABCDEFG"), min_size=2, max_size=120).filter(
            lambda names: len(set(names)) > 1
        ),
        smallest=st.integers(1, 40),
    )
    def test_a_large_centre_is_a_fold_and_the_small_ones_share_one(self, names, smallest):
        centre = np.array(names)
        kinds = {n: names.count(n) >= smallest for n in names}
        expected = sum(kinds.values()) + (not all(kinds.values()))
        if expected < 2:
            with pytest.raises(InputError, match="needs two centres"):
                centre_folds(centre, smallest)
            return
        fold = centre_folds(centre, smallest)
        assert set(fold.tolist()) == set(range(expected))
        for name, large in kinds.items():
            own = set(fold[centre == name].tolist())
            assert len(own) == 1
            if large:
                assert set(centre[fold == own.pop()].tolist()) == {name}
        small = [n for n, large in kinds.items() if not large]
        assert len(set(fold[np.isin(centre, small)].tolist())) <= 1

    def test_one_centre_cannot_be_left_out(self):
        with pytest.raises(InputError, match="needs two centres; 1 found"):
            centre_folds(np.full(50, "A"))
