"""Brier scores of censored outcomes, weighted by inverse probability of censoring.

Ranks are judged in `metrics.concordance`, calibration in `metrics.calibration`. Arrays of patients
share one order; `time` and `times` share one unit.
The censoring distribution is an argument, so that a whole evaluation, its bootstrap draws
included, uses the same weights.
"""

from __future__ import annotations

import numpy as np

from accomplice.data.arrays import Array, Bools, Reals
from accomplice.training.estimators.checks import checked_outcome, checked_survival, checked_times
from accomplice.training.estimators.hazard import TimeGrid, survival
from accomplice.training.estimators.kaplan_meier import Censoring, inverse_censoring
from accomplice.training.metrics.score import ModelOutput, Outcome, Score

#: Number of times at which the Brier score is taken.
POINTS = 50
#: Patients scored at a time.
CHUNK = 8192


def brier_contributions(
    event: Bools, time: Reals, survival: Reals, times: Reals, censoring: Censoring
) -> Array:
    """Return each patient's contribution to the Brier score at each time, by IPCW.

    The mean over patients is the Brier score, the mean over resampled rows a bootstrap draw of it.
    Differences between two models' contributions are paired.

    Args:
        event: (n,) bool, True where the event was observed, False where censored.
        time: (n,), time of the event or of censoring.
        survival: (n, t), predicted probability to be event-free after each of `times`.
        times: (t,), rising.
        censoring: distribution of the censoring time, as for `inverse_censoring`.

    Returns:
        Contributions (n, t): S(t)² / G(time) with an event by t, (1 − S(t))² / G(t) where
        followed beyond t, 0 where censored by t (Graf et al., "Assessment and comparison of
        prognostic classification schemes for survival data", Stat Med 1999).

    Raises:
        UndefinedMetricError: as `inverse_censoring`.
        ValueError: as `checked_outcome`; survival outside [0, 1] or of another shape; times
            that do not rise.

    Example:
        >>> from accomplice.training.estimators.kaplan_meier import censoring
        >>> event, time = np.array([True, False]), np.array([1.0, 4.0])
        >>> survival, times = np.array([[0.3], [0.8]]), np.array([2.0])
        >>> weights = censoring(time, event)
        >>> brier_contributions(event, time, survival, times, weights).round(4)
        array([[0.09],
               [0.04]])
    """
    event, time = checked_outcome(event, time)
    times = checked_times(times)
    survival = checked_survival("survival", survival, (event.size, times.size))
    case_weight = inverse_censoring(censoring, time, event & (time <= times[-1]))
    contributions = np.empty(survival.shape)
    # One time after the other, so that no second array (n, t) is held.
    for column, instant in enumerate(times):
        predicted, control = survival[:, column], time > instant
        weight = inverse_censoring(censoring, instant, control)
        contributions[:, column] = np.where(
            control, (1 - predicted) ** 2 * weight, predicted**2 * case_weight
        )
    return contributions


def time_average(values: Reals, times: Reals) -> Array:
    """Average over time by the trapezoid rule.

    Args:
        values: (…, t); of `brier_contributions` the average is each patient's integrated score.
        times: (t,), rising, at least two.

    Returns:
        Average (…): ∫ values dt / (times[-1] − times[0]).

    Raises:
        ValueError: fewer than two times, or times that do not rise.

    Example:
        >>> float(time_average(np.array([0.0, 1.0, 0.0]), np.array([0.0, 1.0, 2.0])))
        0.5
    """
    times = checked_times(times)
    if times.size < 2:
        raise ValueError("an average over time needs two times or more, got one")
    return np.asarray(np.trapezoid(values, times, axis=-1) / (times[-1] - times[0]))


def brier_times(horizon: float) -> Array:
    """Return the months (t,) at which the Brier score is taken, evenly up to the horizon.

    Example:
        >>> brier_times(50.0)[[0, 1, -1]]
        array([ 1.,  2., 50.])
    """
    return np.linspace(0, horizon, POINTS + 1)[1:]


def brier_by_patient(outcome: Outcome, grid: TimeGrid, cumulative: Array) -> tuple[Array, Array]:
    """Return Brier scores of predicted cumulative hazards, from survival at `brier_times`.

    Args:
        outcome: observed outcomes of the n patients, with the horizon.
        grid: time grid of j bins.
        cumulative: (n, j + 1) cumulative hazards at the grid's edges.

    Returns:
        The Brier score of each patient (n,), averaged over time to the horizon, and that of all
        patients at each time (t,).

    Raises:
        UndefinedMetricError: as `inverse_censoring`.
        ValueError: as `checked_outcome`.

    Example:
        >>> from accomplice.training.estimators.kaplan_meier import censoring
        >>> event, time = np.array([True, False]), np.array([1.0, 4.0])
        >>> outcome = Outcome(time, event, censoring(time, event), horizon=2.0)
        >>> grid, hazards = TimeGrid(np.array([0.0, 2.0])), np.array([[0.0, 1.0], [0.0, 0.0]])
        >>> brier_by_patient(outcome, grid, hazards)[0].round(4)
        array([0.1506, 0.    ])
    """
    n, times = len(outcome.time), brier_times(outcome.horizon)
    averages, total = np.empty(n), np.zeros(len(times))
    # Survival of all patients at all times would take several times the memory of a fit.
    for start in range(0, n, CHUNK):
        rows = np.arange(start, min(start + CHUNK, n))
        curves = survival(grid.at(cumulative[rows], times))
        contributions = brier_contributions(
            outcome.event[rows], outcome.time[rows], curves, times, outcome.weights.take(rows)
        )
        averages[rows] = time_average(contributions, times)
        total += contributions.sum(axis=0)
    return averages, total / n


class BrierScore(Score):
    """The Brier score, averaged over time to the horizon."""

    # The outcome is in the patients' scores already.
    def whole(self, outcome: Outcome, model: ModelOutput) -> Array:  # noqa: ARG002
        """Return the mean of the patients' scores (1,)."""
        return np.array([model.brier.mean()])

    def contributions(self, outcome: Outcome, model: ModelOutput) -> Array:  # noqa: ARG002
        """Return each patient's score (1, n)."""
        return model.brier[None]
