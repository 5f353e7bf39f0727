"""The interface of the ensemble's learners: how they are fitted, saved and run for all folds.

A learner is one class: its instances are models fitted on one fold, its class methods fit and load
them and run those of several folds at once. ``learners.registry`` lists the learners by name. The
network is not among them, since one network is fitted for all folds.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.training.budget import Budget
from accomplice.training.config import Config
from accomplice.training.estimators.cox import RiskSums
from accomplice.training.estimators.hazard import TimeGrid

#: Maximum number of columns that trees may split on.
TREE_COLUMNS = 256

Batched = Callable[[Array], Array]
"""Function from designs (k, n, p) of k folds to cumulative hazards (k, n, w + 1) at their edges.

Folds may differ in their number of bins: w is the largest, and values beyond a fold's own edges are
finite and not used.
"""


@dataclass(frozen=True)
class TrainingData:
    """The training patients of one fold, in the form that its learners are fitted to."""

    X: Array
    """(n, p) linear design."""
    time: Array
    """(n,) follow-up in months."""
    event: Bools
    """(n,) whether the event was observed."""
    grid: TimeGrid
    """Bins of the curves to be fitted."""
    markers: Bools
    """(p,) whether the column is of another modality than the study's first."""

    @cached_property
    def tree_columns(self) -> Ints:
        """(c,) columns that trees may split on; see :func:`strongest_columns`."""
        return strongest_columns(self.X, self.time, self.event)


class Learner(ABC):
    """A learner fitted on the training patients of one fold."""

    TIME: ClassVar[float] = 1.0
    """Fraction of the fold's remaining time that a fit may take."""

    @classmethod
    def used(cls, config: Config) -> bool:  # noqa: ARG003
        """Whether the configuration uses the learner; by default it does."""
        return True

    @classmethod
    @abstractmethod
    def fit(cls, data: TrainingData, config: Config, budget: Budget) -> Self:
        """Fit on a fold's training patients.

        Args:
            data: training patients of the fold.
            config: run configuration, with the seed.
            budget: time that the fit may take.
        """

    @abstractmethod
    def cumulative(self, X: Array) -> Array:
        """Return the cumulative hazard (n, j + 1) at the edges of the fold's grid.

        Args:
            X: (n, p) linear design.
        """

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Return the fitted state, except that of :meth:`arrays`, as plain data."""

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """Return the large arrays of the fitted state by name; none by default."""
        return {}

    @classmethod
    @abstractmethod
    def from_json(cls, raw: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Rebuild from :meth:`to_json` and :meth:`arrays`.

        Args:
            raw: result of :meth:`to_json`.
            arrays: result of :meth:`arrays`.
        """

    @classmethod
    def batched(cls, fitted: Sequence[Self], columns: int) -> Batched:
        """Return a function that predicts for k folds at once; by default, one after the other.

        Args:
            fitted: the fitted learner of each fold.
            columns: p, the number of columns of each fold's design.
        """
        del columns
        return lambda X: on_most_bins([f.cumulative(x) for f, x in zip(fitted, X, strict=True)])


def on_most_bins(curves: Sequence[Array]) -> Array:
    """Stack curves (…, j + 1) of k folds as (k, …, w + 1), padded with 0 to the most bins w."""
    found = np.zeros((len(curves), *curves[0].shape[:-1], max(c.shape[-1] for c in curves)))
    for own, curve in zip(found, curves, strict=True):
        own[..., : curve.shape[-1]] = curve
    return found


def strongest_columns(X: Array, time: Array, event: Bools) -> Ints:
    """Return the columns (c,), rising, with the largest log-rank statistics: trees split on these.

    Of thousands of columns, the few candidates of a split would seldom include a prognostic one
    (Fan and Lv, "Sure independence screening for ultrahigh dimensional feature space", J R Stat Soc
    B 2008). All columns that vary are returned if they are at most ``TREE_COLUMNS``; if none
    varies, the first column is returned.

    Args:
        X: (n, p) design.
        time: (n,) follow-up in months.
        event: (n,) whether the event was observed.
    """
    spread = X.std(axis=0)
    varied = np.flatnonzero(spread > 1e-9)
    if len(varied) <= TREE_COLUMNS:
        return varied if len(varied) else np.arange(min(1, X.shape[1]))
    # The gradient of Cox's likelihood by a column's coefficient, at 0, is its log-rank statistic.
    gradient, _ = RiskSums.of(time, event).slopes(np.zeros((1, len(X))), np.ones((1, len(X))))
    statistic = np.abs(gradient[0] @ (X[:, varied] - X[:, varied].mean(axis=0)) / spread[varied])
    return np.sort(varied[np.argsort(-statistic, kind="stable")[:TREE_COLUMNS]])
