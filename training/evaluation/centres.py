"""Figures of each centre, their mean, and the prediction interval of a further centre's.

Each centre has its own concordance, observed over expected events and calibration slope. They are
pooled by a random-effects model (``estimators.hazard_ratios.random_effects``) on scales where they
are about normal: the log-odds of C, the logarithm of observed over expected, the slope itself.
Standard errors are those of the bootstrap draws. The prediction interval is that of one more centre
like these (Riley et al., "External validation of clinical prediction models using big datasets from
e-health records or IPD meta-analysis", BMJ 2016).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from scipy.special import expit, logit, stdtrit

from accomplice.data.arrays import Array, Bools
from accomplice.training.estimators.hazard_ratios import random_effects
from accomplice.training.estimators.intervals import Estimate
from accomplice.training.estimators.policy import EVENTS_TO_JUDGE
from accomplice.training.evaluation.bootstrap import BootstrappedOutcome
from accomplice.training.evaluation.calibration import slopes
from accomplice.training.evaluation.record import AcrossCentres, CentreFigures
from accomplice.training.evaluation.subgroups import centres
from accomplice.training.models.predictions import Predictions

#: Minimum number of centres for the interval of a further one: of three it has one degree of
#: freedom.
FEWEST_FOR_FURTHER = 4
#: Figure -> function to the scale on which it is pooled, and back.
SCALES: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    "uno_c": (logit, expit),
    "observed_expected": (np.log, np.exp),
    "slope": (np.asarray, np.asarray),
}


def across_centres(
    predicted: Predictions, followed: BootstrappedOutcome, risk: Array, alive: Array, month: float
) -> AcrossCentres | None:
    """Judge the model within each centre that has enough events, and pool the figures.

    Args:
        predicted: predictions of n patients.
        followed: outcomes of the same patients, and bootstrap draws.
        risk: (n,) log-hazard risk; higher is worse.
        alive: (n,) predicted survival at ``month``.
        month: month of the observed over expected events and of the slope.

    Returns:
        The figures of at most ``subgroups.MOST_CENTRES`` centres, the largest; None if fewer than
        two have ``EVENTS_TO_JUDGE`` events.
    """
    drawn = {}
    for name, member in _centres(predicted, followed).items():
        own, survived = followed.take(member), alive[member]
        drawn[name] = (
            own,
            {
                "uno_c": own.uno_c(risk[member])[0],
                "observed_expected": own.observed_expected(survived, month),
                "slope": slopes(own, survived, month),
            },
        )
    if len(drawn) < 2:
        return None
    pooled = {name: _pooled([each[name] for _, each in drawn.values()], name) for name in SCALES}
    return AcrossCentres(
        held_out=predicted.centres_held_out,
        month=month,
        centres=tuple(
            CentreFigures(
                centre=name,
                patients=len(own),
                events=own.events,
                **{figure: Estimate.of_draws(each) for figure, each in figures.items()},
            )
            for name, (own, figures) in drawn.items()
        ),
        mean={name: mean for name, (mean, _) in pooled.items()},
        further={name: further for name, (_, further) in pooled.items()},
    )


def _centres(predicted: Predictions, followed: BootstrappedOutcome) -> Mapping[str, Bools]:
    """Return name -> members (n,) of the largest centres with enough events, the largest first."""
    members = centres(predicted.cohort)
    return {k: m for k, m in members.items() if followed.take(m).events >= EVENTS_TO_JUDGE}


def _pooled(figures: list[Array], name: str) -> tuple[Estimate, Estimate]:
    """Return the mean over centres of a figure (1 + d,) of each, and a further centre's.

    Both have the 95 % interval; it is NaN if fewer than two have one, that of a further centre if
    fewer than ``FEWEST_FOR_FURTHER``.
    """
    unknown = Estimate(np.nan)
    known = [f for f in figures if Estimate.of_draws(f).known]
    to, back = SCALES[name]
    with np.errstate(divide="ignore"):
        scaled = to(np.array(known).reshape(len(known), -1))
    # A draw with a C of 1 or without events has no place on the scale.
    errors = np.array([each[np.isfinite(each)].std() for each in scaled[:, 1:]])
    usable = np.isfinite(scaled[:, 0]) & (errors > 0) if len(known) else np.zeros(0, dtype=bool)
    k = int(usable.sum())
    if k < 2:
        return unknown, unknown
    found = random_effects(scaled[usable, 0], errors[usable])

    def interval(se: float, degrees: int) -> Estimate:
        reach = stdtrit(degrees, 0.975) * se
        ends = back(found.mean + reach * np.array([-1.0, 1.0]))
        return Estimate(float(back(np.array(found.mean))), *map(float, ends))

    mean = interval(found.se, k - 1)
    few = k < FEWEST_FOR_FURTHER
    return mean, Estimate(mean.value) if few else interval(found.se_further, k - 2)
