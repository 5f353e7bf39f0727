"""The update of a model for another centre: known shifts recovered, no harm where none is."""

from __future__ import annotations

import numpy as np
import pytest

from accomplice.data.errors import InputError
from accomplice.training.estimators.hazard import TimeGrid, survival
from accomplice.training.evaluation.bootstrap import BootstrappedOutcome
from accomplice.training.evaluation.calibration import calibrated, slopes
from accomplice.training.learners.stack import Stack
from accomplice.training.validation.recalibration import NO_UPDATE, Update, recalibrate

GRID = TimeGrid(np.array([0.0, 3, 8, 15, 24, 36, 60]))


def drawn(n, level=0.0, slope=1.0, course=0.0, seed=0, spread=0.8):
    """A model's cumulative hazards, and outcomes by the same ones updated."""
    rng = np.random.default_rng(seed)
    risk = rng.normal(0, spread, n)
    curves = (0.012 * GRID.edges)[None, :] * np.exp(risk)[:, None]
    log_ends = np.log(curves[:, 1:])
    centre, pace = log_ends.mean(axis=0), np.log(GRID.edges[1:]) - np.log(15)
    truth = Update("", level, slope, course, centre, pace).apply(curves)
    # Exact draws from a hazard that is constant within each bin.
    wanted = rng.exponential(size=n)
    time = np.array([np.interp(w, h, GRID.edges) for w, h in zip(wanted, truth, strict=True)])
    censored = rng.uniform(6, 90, n).clip(max=59.9)
    event = (time < censored) & (wanted < truth[:, -1])
    return curves, np.where(event, np.maximum(time, 0.01), censored), event


def asis(curves):
    return curves


class TestRecovery:
    @pytest.mark.parametrize(
        ("level", "slope", "course"),
        [(0.7, 1.0, 0.0), (-0.5, 0.6, 0.0), (0.3, 1.5, 0.0), (0.0, 0.7, 0.4)],
    )
    def test_of_a_known_update(self, level, slope, course):
        curves, time, event = drawn(3000, level, slope, course)
        update = recalibrate(curves, asis, time, event, GRID).update
        assert update.slope == pytest.approx(slope, abs=0.09)
        assert update.course == pytest.approx(course, abs=0.1)
        # The mean of log time is weighted by events, so that level and course trade places.
        again = Update("", level, slope, course, update.centre, np.log(GRID.edges[1:] / 15))
        np.testing.assert_allclose(
            update.level + update.course * update.centred_log_time,
            again.level + again.course * again.centred_log_time,
            atol=0.15,
        )

    def test_of_a_shift_among_few_patients_with_its_check(self):
        curves, time, event = drawn(300, 0.7, 0.6, seed=4)
        found = recalibrate(curves, asis, time, event, GRID)
        before, after = (
            calibrated(
                BootstrappedOutcome.of(time, event, GRID.horizon, 200, 0), GRID, each, (24.0,)
            )[0]
            for each in (curves, found.held_out)
        )
        assert not before.slope.low <= 1 <= before.slope.high
        assert after.slope.low <= 1 <= after.slope.high
        assert sum(found.chosen.values()) == 5
        assert found.gains[found.update.form] == max(found.gains.values())


def test_the_check_s_slope_is_that_of_patients_to_come():
    held, fresh = [], []
    for seed in range(12):
        curves, time, event = drawn(110, slope=0.6, seed=seed)
        found = recalibrate(curves, asis, time, event, GRID, seed)
        followed = BootstrappedOutcome.of(time, event, GRID.horizon, 0, 0)
        level, share = found.within_folds
        parts = [
            slopes(followed, survival(GRID.at(h, np.array([36.0])))[:, 0], 36.0, w)[0]
            for h, w in ((found.held_out, None), (level, share))
        ]
        held.append(parts)
        # An update's slope among patients to come is 0.6 over its own.
        fresh.append(0.6 / found.update.slope)
    pooled, within = np.mean(held, axis=0)
    assert pooled < np.mean(fresh) - 0.1
    assert within == pytest.approx(np.mean(fresh), abs=0.15)


@pytest.mark.parametrize("seed", range(3))
def test_no_harm_where_nothing_is_off(seed):
    curves, time, event = drawn(500, seed=seed)
    found = recalibrate(curves, asis, time, event, GRID)
    assert abs(found.update.level) < 0.2
    assert found.update.slope == pytest.approx(1, abs=0.25)
    risk_before, risk_after = (1 - np.exp(-c) for c in (curves, found.held_out))
    assert np.abs(risk_after - risk_before).mean() < 0.03


def test_few_events_move_less_than_many():
    levels = []
    for n in (60, 3000):
        curves, time, event = drawn(n, level=1.2, seed=1)
        levels.append(recalibrate(curves, asis, time, event, GRID).update.level)
    assert levels[0] > 0.4
    assert levels[1] == pytest.approx(1.2, abs=0.1)


def test_too_few_events_are_refused():
    curves, time, event = drawn(40)
    event[:] = False
    event[:19] = True
    with pytest.raises(InputError, match=r"19 events before the horizon are too few.*20 are"):
        recalibrate(curves, asis, time, event, GRID)


def test_patients_keep_their_order_at_every_month():
    curves, time, event = drawn(400, 0.4, 0.5, 0.3, seed=2)
    update = recalibrate(curves, asis, time, event, GRID).update
    after = update.apply(curves)
    assert (np.diff(after, axis=1) >= 0).all()
    for month in range(1, GRID.bins + 1):
        np.testing.assert_array_equal(np.argsort(curves[:, month]), np.argsort(after[:, month]))


def test_a_patient_s_outcome_does_not_touch_their_held_out_curve():
    curves, time, event = drawn(200, 0.5, seed=3)
    found = recalibrate(curves, asis, time, event, GRID, seed=7)
    other = event.copy()
    other[0] = not other[0]
    again = recalibrate(curves, asis, time, other, GRID, seed=7)
    np.testing.assert_array_equal(found.held_out[0], again.held_out[0])
    assert (found.held_out != again.held_out).any()


def test_the_effect_of_a_treatment_is_kept():
    curves, time, event = drawn(3000, 0.5, 0.8, seed=5)
    treated = np.where(np.arange(3000) % 2 == 0, 0.6, 1.0)[:, None]
    found = recalibrate(curves / treated, lambda c: c * treated, time, event, GRID)
    assert found.update.slope == pytest.approx(0.8, abs=0.1)
    ratio = (found.held_out / np.maximum(found.update.apply(curves / treated), 1e-9))[:, 1:]
    np.testing.assert_allclose(ratio / treated, 1, rtol=0.15)


def test_an_updated_stack_gives_the_updated_curves():
    curves = drawn(50)[0]
    learners = np.stack([curves, curves * 1.2, curves * 0.7, curves])
    stack = Stack(np.full(4, 0.25), 1.2, -0.1, np.log(curves[:, 1:]).mean(axis=0))
    now = stack.cumulative(learners)
    centre = np.log(now[:, 1:]).mean(axis=0)
    update = Update("", 0.3, 0.8, 0.2, centre, np.linspace(-1, 1, GRID.bins))
    again = update.of_stack(stack)
    np.testing.assert_allclose(again.cumulative(learners), update.apply(now), rtol=1e-10)
    kept = Stack.from_json(again.to_json())
    np.testing.assert_array_equal(kept.cumulative(learners), again.cumulative(learners))
    nothing = Update("nothing", *NO_UPDATE.tolist(), centre, update.centred_log_time).of_stack(
        stack
    )
    np.testing.assert_allclose(nothing.cumulative(learners), now, rtol=1e-12)
