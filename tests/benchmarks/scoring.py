"""The same figures for every learner: discrimination, overall error and calibration."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from accomplice.data.arrays import Array
from accomplice.training.estimators.checks import UndefinedMetricError
from accomplice.training.estimators.kaplan_meier import censoring
from accomplice.training.metrics.calibration import calibration_at, d_calibration
from tests.benchmarks.cohorts import EVENT, TIME

#: Times on the grid of the scores.
GRID = 25


def eval_times(train: pd.DataFrame, test: pd.DataFrame) -> Array:
    """Return the times (t,) that predictions are scored at.

    They are evenly spaced from the 10th to the 90th percentile of the test patients' events, below
    the last follow-up of both. Six digits each, as a prediction's columns are named.
    """
    low, high = np.quantile(test[TIME][test[EVENT] == 1], [0.1, 0.9])
    high = min(high, 0.999 * min(train[TIME].max(), test[TIME].max()))
    return _six_digits(np.linspace(low, high, GRID))


def asked_times(test: pd.DataFrame, times: Array) -> Array:
    """Return all times (a,) at which learners are asked: the scores' and the patients' own.

    The latter, up to the last of ``times``, are what D-calibration is computed from.
    """
    own = test[TIME].to_numpy()
    return np.union1d(times, _six_digits(own[own <= times[-1]]))


def read_at(curve: Array, asked: Array, times: Array) -> Array:
    """Return the columns of ``curve`` (n, a), known at ``asked`` (a,), that belong to ``times``."""
    return curve[:, np.searchsorted(asked, times)]


def score(
    train: pd.DataFrame, test: pd.DataFrame, risk: Array, survival: Array, times: Array
) -> dict[str, float]:
    """Score predictions with scikit-survival's metrics, censoring estimated on the training rows.

    Args:
        train: training rows.
        test: test rows.
        risk: (n,) of the test rows, higher is worse.
        survival: (n, t) of the test rows at ``times``.
        times: (t,) from :func:`eval_times`.

    Returns:
        ``c``, Uno's concordance up to the last time, and ``ibs``, the integrated Brier score.
    """
    from sksurv.metrics import concordance_index_ipcw, integrated_brier_score
    from sksurv.util import Surv

    known = Surv.from_arrays(train[EVENT] == 1, train[TIME])
    held = Surv.from_arrays(*censored_after(train, test, float(times[-1])))
    c = concordance_index_ipcw(known, held, risk, tau=times[-1])[0]
    return {"c": float(c), "ibs": float(integrated_brier_score(known, held, survival, times))}


def censored_after(
    train: pd.DataFrame, test: pd.DataFrame, horizon: float
) -> tuple[NDArray[np.bool_], Array]:
    """Censor the test patients once they are past the horizon.

    Beyond the training rows' last follow-up the censoring distribution is not known; neither
    score looks past the horizon, so nothing is lost.
    """
    last = min(train[TIME].max(), test[TIME].max())
    event, time = test[EVENT].to_numpy() == 1, test[TIME].to_numpy()
    return event & (time <= horizon), np.where(time > horizon, np.minimum(time, last), time)


def calibration(
    train: pd.DataFrame, test: pd.DataFrame, curve: Array, asked: Array, times: Array
) -> dict[str, float]:
    """Judge whether predicted probabilities come true.

    Args:
        train: training rows.
        test: test rows.
        curve: (n, a) predicted survival of the test rows.
        asked: (a,) its times, from :func:`asked_times`.
        times: (t,) from :func:`eval_times`.

    Returns:
        ``slope`` of calibration at the middle of ``times``, NaN where it is not defined, and
        ``d_p``, the p-value of D-calibration up to the last of ``times``.
    """
    event, time = test[EVENT].to_numpy() == 1, test[TIME].to_numpy()
    known = censoring(train[TIME].to_numpy(), train[EVENT].to_numpy() == 1)
    middle = float(times[len(times) // 2])
    at_middle = read_at(curve, asked, times)[:, len(times) // 2]
    try:
        slope = calibration_at(event, time, at_middle, middle, known).slope
    except UndefinedMetricError:
        slope = math.nan
    until = np.minimum(time, times[-1])
    column = np.searchsorted(asked, np.minimum(_six_digits(until), times[-1]))
    own = curve[np.arange(len(time)), column]
    return {"slope": slope, "d_p": d_calibration(event & (time <= times[-1]), own).p_value}


def _six_digits(times: Array) -> Array:
    return np.array([float(f"{time:.6g}") for time in times])
