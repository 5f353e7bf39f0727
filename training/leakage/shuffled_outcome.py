"""Permutation test of the pipeline: a C clearly above 0.5 on permuted outcomes means leakage.

Preprocessing, learners and stack are those of the run, but with three folds of patients and few
members, rounds and epochs, so that the fit takes seconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from accomplice.data.cohort import Cohort
from accomplice.data.splits import within
from accomplice.training.config import Config, configure
from accomplice.training.estimators.hazard import log_risk
from accomplice.training.estimators.kaplan_meier import censoring, judged_horizon
from accomplice.training.fitting.fit import fit
from accomplice.training.fitting.prepare import prepare
from accomplice.training.metrics.concordance import concordance_contributions

#: Maximum number of patients in the fit.
MOST_PATIENTS = 1000
#: Minimum number of patients with the event, if there are as many, in a sample of a larger cohort.
ENOUGH_EVENTS = 300
#: Standard errors above 0.5 from which C is a sign of leakage (by chance 1 in 740).
LEAK_Z = 3.0
#: Standard errors on each side of the 95 % interval.
Z = 1.96
#: Factor of the standard error of C: patients of a fold share one model, which makes it too small
#: (Bengio and Grandvalet, "No unbiased estimator of the variance of K-fold cross-validation", JMLR
#: 2004). The standard deviation of C over permutations was 1.3 to 1.5 times the standard error with
#: 100, 100 and 60 permutations of 150, 400 and 1000 synthetic patients.
SPREAD = 1.5
#: Settings of the reduced fit, as overrides of the run configuration.
SMALL = (
    "folds.folds=3",
    "folds.repeats=1",
    "grid.bins=8",
    "anchor.folds=3",
    "forest.trees=20",
    "boosting.members=2",
    "boosting.max_rounds=40",
    "boosting.patience=10",
    "net.members=2",
    "net.max_epochs=4",
    "net.steps_per_epoch=5",
    "net.encoder_width=24",
    "net.hidden_width=24",
    "trainer.accelerator=cpu",
    "trainer.devices=1",
)


@dataclass(frozen=True)
class Shuffled:
    """C of a model that was fitted to permuted outcomes."""

    c: float
    """Uno's C, or Harrell's where the censoring weights are not defined."""
    error: float
    """Standard error of ``c``, with the factor ``SPREAD``."""
    patients: int
    """Number of patients in the fit."""

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of ``c``: c ± 1.96 error."""
        return self.c - Z * self.error, self.c + Z * self.error

    @property
    def leaks(self) -> bool:
        """Whether ``c`` is more than ``LEAK_Z`` standard errors above 0.5."""
        return self.c - LEAK_Z * self.error > 0.5


def shuffled(cohort: Cohort, config: Config) -> Shuffled:
    """Fit the pipeline to outcomes permuted among the patients, and estimate C out of fold.

    Args:
        cohort: the run's patients; of more than ``MOST_PATIENTS`` a random sample is taken, with at
            least ``ENOUGH_EVENTS`` events where there are as many.
        config: the run's configuration; its seed permutes the outcomes.

    Raises:
        InputError: there are too few events to divide the patients into folds.
    """
    rng = np.random.default_rng([config.seed, 29])
    permuted = _permuted(cohort.prognostic(), rng)
    small = configure(SMALL, config)
    # Folds of patients, since centres may be small; leakage of held-out outcomes shows as well.
    small = small.model_copy(update={"folds": small.folds.model_copy(update={"by": "patient"})})
    fitted = fit(prepare(permuted, small), small)
    time, event = permuted.outcome
    risk = within(log_risk(fitted.cumulative), fitted.prepared.fold[0])
    weights = censoring(time, event)
    horizon = judged_horizon(time, event, fitted.prepared.grid.horizon)
    parts = concordance_contributions(event, time, risk, weights, horizon)
    # Harrell's, where the censoring weights of Uno's are not defined.
    by_patient = parts.harrell if np.isnan(parts.uno).any() else parts.uno
    n, error = len(time), float(by_patient.std() / math.sqrt(len(time)))
    return Shuffled(float(by_patient.mean()), SPREAD * error, n)


def _permuted(cohort: Cohort, rng: np.random.Generator) -> Cohort:
    """Return at most ``MOST_PATIENTS`` patients with permuted outcomes, time with its event."""
    donor = rng.permutation(len(cohort))
    cohort = replace(cohort, time=cohort.time[donor], event=cohort.event[donor], further={})
    if len(cohort) <= MOST_PATIENTS:
        return cohort
    # Patients with the event are preferred, so that rare events suffice; this selects no kind of
    # patient, since the outcomes are permuted already.
    order = rng.permutation(len(cohort))
    first = order[cohort.outcome.event[order]][:ENOUGH_EVENTS]
    rest = order[~np.isin(order, first)]
    return cohort.take(np.sort(np.concatenate([first, rest])[:MOST_PATIENTS]))
