"""Variance over training sets, for the intervals of cross-fitted predictions' metrics.

A bootstrap of out-of-fold predictions takes the models as given. But a patient who is judged in one
fold also trained the models of the others. To first order, a figure of the model fitted to some
patients j, judged in patients i, is that of the best such model plus the mean over pairs of
h(j, i), the change that j makes in the contribution of i. In cross-validation each pair occurs
twice, as h(j, i) and h(i, j). Where training and evaluation use the same criterion, both are the
same number, so that their sum has twice the variance of independent terms; it never has more
(Cauchy–Schwarz). The bootstrap's variance has one half of it, since it draws i alone:

    variance = variance of the bootstrap + τ² / n,    τ² = Σ_k Var_i(ψ_ki − ψ_i),

where ψ_ki is the contribution of patient i under the models of fold k, and ψ_i its mean over folds.
By the delete-a-group jackknife the sum over the folds estimates the variance over training sets of
a fold's size. That no estimate of the variance from the folds' figures alone can be unbiased was
shown by Bengio and Grandvalet, "No unbiased estimator of the variance of k-fold cross-validation",
JMLR 2004; that intervals which leave the dependence out are too short, by Bates, Hastie and
Tibshirani, "Cross-validation: what does it estimate and how well does it do it?", JASA 2024.

Also, out-of-fold predictions are those of one fold's models, while the served ones are the mean of
all folds, which is better. In patients whom all these models predict, the difference of a metric
between the mean and a single fold's models estimates the gain by averaging (for a Brier score it is
the variance between the models, whatever the outcomes: Krogh and Vedelsby, "Neural network
ensembles, cross validation, and active learning", NIPS 1995).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.special import expit, logit

from accomplice.data.arrays import Array, Ints
from accomplice.data.splits import within
from accomplice.training.estimators.hazard import TimeGrid, log_risk
from accomplice.training.estimators.intervals import Estimate
from accomplice.training.evaluation.bootstrap import BootstrappedOutcome
from accomplice.training.metrics.score import ModelOutput, Outcome
from accomplice.training.metrics.table import METRICS, Metric
from accomplice.training.models.ensemble import mean_curve
from accomplice.training.models.predictions import FoldCurves

#: Largest factor of an interval, where τ² is as large as the variance of the contributions.
WIDEST = math.sqrt(2)
#: Distance from a metric's limits within which its logit is that of this distance.
EDGE = 1e-9


@dataclass(frozen=True)
class Allowance:
    """Adjustment of the bootstrap interval of one metric, or of a difference in it."""

    widened: float = 1.0
    """Factor by which both ends are moved away from the value."""
    averaging: float = 0.0
    """Gain of the folds' mean model over a single fold's; the better end is moved by it."""

    def of_difference(self, plain: Estimate) -> Estimate:
        """Return a difference between two models, its bootstrap's interval changed."""
        value = plain.value
        low, high = (value + self.widened * (end - value) for end in (plain.low, plain.high))
        return Estimate(value, low, high)

    def of_metric(self, plain: Estimate, metric: Metric) -> Estimate:
        """Return a metric, its bootstrap's interval reflected and widened on the logit scale.

        A C that is too high by chance, or a Brier score that is too low, varies less between draws
        than the true one. On the logit scale it does not, if the upper end is as far from the value
        as the lower one of the draws, and conversely (the basic bootstrap of a transformed
        statistic: Davison & Hinkley, Bootstrap Methods and their Application, 1997, 5.2.1).
        """
        if not math.isfinite(plain.low + plain.high):
            return plain
        least, most = metric.limits
        parts = (np.array([plain.low, plain.value, plain.high]) - least) / (most - least)
        start, middle, stop = logit(np.clip(parts, EDGE, 1 - EDGE))
        reach = np.array([min(middle - stop, 0.0), max(middle - start, 0.0)])
        low, high = least + (most - least) * expit(middle + self.widened * reach)
        if metric.higher_is_better:
            high += self.averaging
        else:
            low -= self.averaging
        return Estimate(plain.value, max(float(low), least), min(float(high), most))


@dataclass(frozen=True, eq=False)
class Contributions:
    """Contributions of patients to the metrics of cross-fitted predictions, by metric."""

    own: Mapping[str, Array]
    """(n,) contributions out of fold."""
    alone: Mapping[str, Array]
    """(k, m) contributions of some patients under the models of each fold."""
    mean: Mapping[str, float]
    """The metric of the folds' mean curve in the m patients."""
    fold: Ints
    """(m,) fold that each of the m patients is held out of."""

    @classmethod
    def of(
        cls,
        judged: BootstrappedOutcome,
        out_of_fold: ModelOutput,
        by_fold: FoldCurves,
        curves: Array,
        grid: TimeGrid,
    ) -> Self:
        """Score the predictions of each fold's models alone, and their mean.

        Args:
            judged: outcomes of n patients.
            out_of_fold: the model's predictions of the n patients.
            by_fold: the m patients whom each fold's models predict.
            curves: (k, m, j + 1) their cumulative hazards by these models.
            grid: the j bins of the curves.
        """
        some = judged.take(by_fold.rows)
        same = np.zeros(len(some), dtype=int)
        *alone, mean = (
            _contributions(some, some.output(within(log_risk(curve), same), grid, curve)[0])
            for curve in (*curves, mean_curve(curves))
        )
        return cls(
            _contributions(judged, out_of_fold),
            {name: np.stack([one[name] for one in alone]) for name in METRICS},
            {name: float(mean[name].mean()) for name in METRICS},
            by_fold.fold,
        )

    def allowances(self) -> dict[str, Allowance]:
        """Return the adjustment of each metric's interval, by metric.

        The interval is widened by √(1 + τ² / s²), with s² the variance of the contributions, and by
        at most `WIDEST`; not at all where s² is 0 or undefined.
        """
        found = {}
        for name, metric in METRICS.items():
            alone = self.alone[name]
            averaging = metric.gain(np.array(self.mean[name]), alone.mean())
            found[name] = Allowance(
                self._widened(name), max(0.0, float(averaging)) if np.isfinite(averaging) else 0.0
            )
        return found

    def allowances_of_gains(self, other: Contributions) -> dict[str, Allowance]:
        """Return the adjustment of the interval of each gain over another model, by metric.

        The interval is widened as in :meth:`allowances`; by `WIDEST` if the folds differ, since the
        variance over training sets is then not known. The gain by averaging is left out: both
        models have one.
        """
        if not np.array_equal(self.fold, other.fold):
            return dict.fromkeys(METRICS, Allowance(WIDEST))
        both = Contributions(
            {name: values - other.own[name] for name, values in self.own.items()},
            {name: values - other.alone[name] for name, values in self.alone.items()},
            {},
            self.fold,
        )
        return {name: Allowance(both._widened(name)) for name in METRICS}

    def _widened(self, name: str) -> float:
        total, part = self.own[name].var(), training_variance(self.alone[name])
        ratio = part / total if total > 0 else 0.0
        return min(float(np.sqrt(1 + ratio)), WIDEST) if np.isfinite(ratio) else 1.0


def training_variance(contributions: Array) -> float:
    """Return τ², the variance over training sets of a patient's contribution.

    Args:
        contributions: (k, m) contribution of each patient under each fold's models.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> groups, each = rng.normal(size=(5, 400)), rng.normal(size=(400, 4000))
        >>> fold_means = (groups.sum(axis=0) - groups) / 4  # each is a mean of 4
        >>> round(training_variance(fold_means @ each) / 400, 2)
        0.25
    """
    away = contributions - contributions.mean(axis=0)
    return float(away.var(axis=1).sum())


def _contributions(outcome: Outcome, model: ModelOutput) -> dict[str, Array]:
    """Return the contributions (n,) of patients to each metric."""
    scores = dict.fromkeys(metric.score for metric in METRICS.values())
    made = {score: score.contributions(outcome, model) for score in scores}
    return {name: made[metric.score][metric.part] for name, metric in METRICS.items()}
