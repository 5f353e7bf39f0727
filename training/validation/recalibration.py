"""Update a model for another centre: the level, spread and course of its predicted hazard.

Where a model still ranks other patients but is not calibrated for them, a few parameters correct it
(van Houwelingen, "Validation, calibration, revision and combination of prognostic survival models",
Stat Med 2000; Janssen et al., "Updating methods improved the performance of a clinical prediction
model in new patients", J Clin Epidemiol 2008). With L the logarithm of the model's cumulative
hazard, m its mean over the new patients, t the end of each time bin, and means of log t weighted by
the events in the bins,

    L' = m + slope (L - m) + level + course (log t - mean log t),

fitted by maximum likelihood with normal priors around no update, so that few events change little.
The likelihood is that of a piecewise-exponential model. The likelihood of held-out patients decides
how many of level, slope and course are fitted (the closed test of Vergouwe et al., Stat Med 2017,
decides by p-values). The check includes this choice: each fold is judged by an update that was
chosen and fitted on the other folds. With a slope above 0 patients keep their order at every month.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import compress
from typing import Any

import numpy as np

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.data.errors import InputError
from accomplice.training.estimators.hazard import TimeGrid, log_risk
from accomplice.training.estimators.newton import climb
from accomplice.training.estimators.policy import EVENTS_TO_UPDATE
from accomplice.training.evaluation.calibration import recentred
from accomplice.training.learners.stack import Stack
from accomplice.training.models.ensemble import Ensemble
from accomplice.training.progress import Tick, silent

#: Prior standard deviations of level, slope and course.
PRIOR_SD = np.array([1.0, 0.5, 0.5])
#: Prior means of level, slope and course, which change nothing.
NO_UPDATE = np.array([0.0, 1.0, 0.0])
#: Form -> whether level, slope and course are fitted; the simplest first.
FORMS: dict[str, tuple[bool, bool, bool]] = {
    "nothing": (False, False, False),
    "level": (True, False, False),
    "level and slope": (True, True, False),
    "level, slope and course": (True, True, True),
}
#: Folds of the check, and of each choice of a form.
FOLDS = 5
#: Random divisions into folds for each choice of a form.
REPEATS = 2


@dataclass(frozen=True, eq=False)
class Update:
    """A fitted update."""

    form: str
    """Key of ``FORMS``, which names the fitted parameters."""
    level: float
    """Added to the log cumulative hazard of all patients."""
    slope: float
    """Factor on the log cumulative hazard around its mean."""
    course: float
    """Added to the log cumulative hazard for each unit of log time."""
    centre: Array
    """(j,) mean log cumulative hazard of the new patients at the end of each bin."""
    centred_log_time: Array
    """(j,) log time at the end of each bin, less its mean weighted by the events in the bins;
    constant beyond the follow-up."""

    def apply(self, cumulative: Array) -> Array:
        """Return the updated cumulative hazards (n, j + 1) at the grid's edges.

        Args:
            cumulative: (n, j + 1) the model's cumulative hazards.
        """
        ends = self._updated(_log_ends(cumulative))
        # As in `learners.stack`: survival must never rise.
        return np.pad(np.maximum.accumulate(np.exp(ends), axis=1), ((0, 0), (1, 0)))

    def of_stack(self, stack: Stack) -> Stack:
        """Return the stack of learners with updated curves."""
        at_centre = self._updated(stack.centre + stack.level)
        return replace(stack, slope=self.slope * stack.slope, level=at_centre - stack.centre)

    def _updated(self, log_ends: Array) -> Array:
        moved = self.centre + self.slope * (log_ends - self.centre) + self.level
        return np.asarray(moved + self.course * self.centred_log_time)

    def to_json(self) -> dict[str, Any]:
        """Return form and parameters as plain data."""
        return {name: getattr(self, name) for name in ("form", "level", "slope", "course")}


@dataclass(frozen=True, eq=False)
class Recalibration:
    """An update, and its effect on held-out patients."""

    update: Update
    """Fitted to all patients."""
    blind: Array
    """(n, j + 1) cumulative hazards without the treatment, each by an update that was chosen and
    fitted without the patient."""
    held_out: Array
    """(n, j + 1) the same under the patients' treatment."""
    gains: dict[str, float]
    """Form -> log-likelihood of held-out patients, minus that of no update."""
    chosen: dict[str, int]
    """Form -> number of the check's folds in which it was chosen."""
    fold: Ints
    """(n,) fold of the check in which the patient is held out, from 0."""

    @property
    def within_folds(self) -> tuple[Array, Array]:
        """``held_out`` with the folds recentred, and each patient's weight (n,) in a slope.

        Pooled without this, the folds' different updates would make the slope too low: their levels
        are lower where the held-out outcomes are worse, and an update that leaves predictions too
        extreme would have the most information. A fold is weighted by 1 / variance of its
        log-hazards, so that the slope is the mean of the folds' slopes.
        """
        level = recentred(self.held_out, self.fold)
        risk = log_risk(level)
        size = np.bincount(self.fold)
        mean = np.bincount(self.fold, risk) / size
        spread = np.bincount(self.fold, (risk - mean[self.fold]) ** 2) / size
        weight = 1 / np.maximum(spread, 1e-9)[self.fold]
        return level, weight / weight.mean()


@dataclass(frozen=True, eq=False)
class _Patients:
    """Patients to whom an update is fitted."""

    log_ends: Array
    """(n, j) log cumulative hazard at the end of each bin, blind to the treatment."""
    shift: Array
    """(n, j) its change by the patient's treatment."""
    at_risk: Array
    """(n, j) fraction of each bin at risk, 0 to 1."""
    happened: Array
    """(n, j) 1 in the bin of the event, else 0."""
    log_time: Array
    """(j,) log of each bin's end in months, at most the longest follow-up."""

    def take(self, rows: Bools) -> _Patients:
        return replace(
            self,
            log_ends=self.log_ends[rows],
            shift=self.shift[rows],
            at_risk=self.at_risk[rows],
            happened=self.happened[rows],
        )


def recalibrate(
    blind: Array,
    with_treatment: Callable[[Array], Array],
    time: Array,
    event: Bools,
    grid: TimeGrid,
    seed: int = 0,
    tick: Tick = silent,
) -> Recalibration:
    """Choose, fit and check an update.

    Args:
        blind: (n, j + 1) the model's cumulative hazards, blind to the treatment.
        with_treatment: function from blind cumulative hazards to those under the n patients'
            treatment.
        time: (n,) follow-up in months.
        event: (n,) whether the event was observed.
        grid: time grid of the j bins.
        seed: seed of the divisions into folds.
        tick: progress callback.

    Raises:
        InputError: there are fewer than ``EVENTS_TO_UPDATE`` events.
    """
    if event.sum() < EVENTS_TO_UPDATE:
        raise InputError(
            f"--recalibrate (in Python recalibrate=True): {int(event.sum())} events before "
            f"the horizon are too few to update a model by: {EVENTS_TO_UPDATE} are the least"
        )
    log_ends = _log_ends(blind)
    patients = _Patients(
        log_ends,
        _log_ends(with_treatment(blind)) - log_ends,
        grid.exposure(time),
        grid.events(time, event),
        np.log(np.minimum(grid.edges[1:], time.max())),
    )
    held_out, chosen = np.empty_like(blind), dict.fromkeys(FORMS, 0)
    rng = np.random.default_rng(seed)
    fold = _random_folds(len(time), rng)
    for k in range(FOLDS):
        tick("recalibration", k, FOLDS + 1)
        others = patients.take(fold != k)
        update = fit_update(others, _best(_gains(others, rng)))
        chosen[update.form] += 1
        held_out[fold == k] = update.apply(blind[fold == k])
    tick("recalibration", FOLDS, FOLDS + 1)
    gains = _gains(patients, rng)
    update = fit_update(patients, _best(gains))
    tick("recalibration", FOLDS + 1, FOLDS + 1)
    return Recalibration(update, held_out, with_treatment(held_out), gains, chosen, fold)


def fit_update(patients: _Patients, form: str) -> Update:
    """Return the update of a form that maximises the penalised log-likelihood.

    With r the fraction of a bin at risk, d the event in it, and ΔL the rise of the updated
    cumulative hazard over it, the log-likelihood is Σ (d log ΔL − r ΔL). It is maximised by Fisher
    scoring.
    """
    centre = patients.log_ends.mean(axis=0)
    events = patients.happened.sum(axis=0)
    centred_log_time = patients.log_time - np.average(patients.log_time, weights=events)
    free = np.array(FORMS[form])
    around = patients.log_ends - centre

    def update(freed: Array) -> Update:
        made = NO_UPDATE.copy()
        made[free] = freed
        level, slope, course = made.tolist()
        return Update(form, level, slope, course, centre, centred_log_time)

    def value(freed: Array) -> float:
        prior = ((freed - NO_UPDATE[free]) / PRIOR_SD[free]) ** 2
        return _log_likelihood(update(freed), patients) - float(prior.sum()) / 2

    def step(freed: Array) -> Array:
        ends = np.exp(update(freed)._updated(patients.log_ends) + patients.shift)
        gathered = np.maximum(np.diff(ends, axis=1, prepend=0.0), 1e-10)
        effects = compress((np.ones_like(around), around, centred_log_time), free)
        slopes = np.stack([np.diff(ends * each, axis=1, prepend=0.0) for each in effects])
        score = (slopes * (patients.happened / gathered - patients.at_risk)).sum(axis=(1, 2))
        information = np.einsum("anj,bnj,nj->ab", slopes, slopes, patients.at_risk / gathered)
        precision = 1 / PRIOR_SD[free] ** 2
        score -= (freed - NO_UPDATE[free]) * precision
        return np.linalg.solve(information + np.diag(precision), score)

    start = NO_UPDATE[free]
    return update(climb(value, step, start) if free.any() else start)


def updated(ensemble: Ensemble, update: Update) -> Ensemble:
    """Return an ensemble with updated curves."""
    return replace(ensemble, stack=update.of_stack(ensemble.stack))


def _log_likelihood(update: Update, patients: _Patients) -> float:
    ends = np.exp(update._updated(patients.log_ends) + patients.shift)
    gathered = np.maximum(np.diff(np.maximum.accumulate(ends, axis=1), axis=1, prepend=0.0), 1e-10)
    observed = (patients.happened * np.log(gathered)).sum()
    return float(observed - (patients.at_risk * gathered).sum())


def _gains(patients: _Patients, rng: np.random.Generator) -> dict[str, float]:
    """Return form -> log-likelihood of held-out patients minus that of no update.

    It is the mean over ``REPEATS`` divisions into folds.
    """
    total = dict.fromkeys(FORMS, 0.0)
    for _ in range(REPEATS):
        fold = _random_folds(len(patients.log_ends), rng)
        for k in range(FOLDS):
            others, own = patients.take(fold != k), patients.take(fold == k)
            if not others.happened.any():
                continue
            for form in FORMS:
                total[form] += _log_likelihood(fit_update(others, form), own) / REPEATS
    return {form: found - total["nothing"] for form, found in total.items()}


def _best(gains: dict[str, float]) -> str:
    """Return the form with the largest gain, the simplest of equals."""
    return max(gains, key=gains.__getitem__)


def _random_folds(n: int, rng: np.random.Generator) -> Ints:
    return np.asarray(rng.permutation(n) % FOLDS)


def _log_ends(cumulative: Array) -> Array:
    return np.asarray(np.log(np.maximum(cumulative[:, 1:], 1e-12)))
