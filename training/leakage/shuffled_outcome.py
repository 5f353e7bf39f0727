"""Permutation test of the pipeline: on permuted outcomes a C above 0.5 means leakage.

Folds, preprocessing, learners and stack are those of the run, with few members, rounds and epochs,
so that they take seconds.
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

#: Most patients fitted to, and events among them that rare ones are raised to.
MOST_PATIENTS, ENOUGH_EVENTS = 1000, 300
#: Standard errors above 0.5 from which C is a leak (1 in 740 by chance), and of the interval.
NO_CHANCE, Z = 3.0, 1.96
#: Largest measured ratio of the spread of C over permutations to its error: 1.3 to 1.5 with 100,
#: 100 and 60 permutations of 150, 400 and 1000 synthetic patients. A fold's patients share one
#: model, which the error does not know (Bengio and Grandvalet, "No unbiased estimator of the
#: variance of K-fold cross-validation", JMLR 2004).
SPREAD = 1.5
#: Settings of the reduced fit.
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
    """C of a model of permuted outcomes."""

    c: float
    error: float
    """Its standard error."""
    patients: int

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval."""
        return self.c - Z * self.error, self.c + Z * self.error

    @property
    def leaks(self) -> bool:
        """Whether chance does not explain a C so far above 0.5."""
        return self.c - NO_CHANCE * self.error > 0.5


def shuffled(cohort: Cohort, config: Config) -> Shuffled:
    """Fit to outcomes permuted among the patients and judge out of fold.

    Args:
        cohort: the run's; of many patients some are taken.
        config: the run's; its seed permutes the outcomes.

    Raises:
        InputError: there are too few events.
    """
    rng = np.random.default_rng([config.seed, 29])
    permuted = _permuted(cohort.prognostic(), rng)
    small = configure(SMALL, config)
    # Centres may be small; the test is whether held-out outcomes are seen.
    small = small.model_copy(update={"folds": small.folds.model_copy(update={"by": "patient"})})
    fitted = fit(prepare(permuted, small), small)
    time, event = permuted.outcome
    risk = within(log_risk(fitted.cumulative), fitted.prepared.fold[0])
    weights = censoring(time, event)
    horizon = judged_horizon(time, event, fitted.prepared.grid.horizon)
    parts = concordance_contributions(event, time, risk, weights, horizon)
    # Harrell's, where the censoring weights of Uno's are not defined.
    each = parts.harrell if np.isnan(parts.uno).any() else parts.uno
    n = len(time)
    return Shuffled(float(each.mean()), SPREAD * float(each.std() / math.sqrt(n)), n)


def _permuted(cohort: Cohort, rng: np.random.Generator) -> Cohort:
    """Return patients with permuted outcomes; time and event stay together."""
    donor = rng.permutation(len(cohort))
    cohort = replace(cohort, time=cohort.time[donor], event=cohort.event[donor], further={})
    if len(cohort) <= MOST_PATIENTS:
        return cohort
    # Rare events would be too few among those taken; which patients have them is chance by now.
    order = rng.permutation(len(cohort))
    first = order[cohort.outcome.event[order]][:ENOUGH_EVENTS]
    rest = order[~np.isin(order, first)]
    return cohort.take(np.sort(np.concatenate([first, rest])[:MOST_PATIENTS]))
