"""The interface of the ensemble's learners: how they are fitted, kept and run for all folds.

A learner is one class: its instances are fitted models, its class methods fit, load and batch them.
``learners.registry`` lists the learners by name. The network, which is one model packed over all
folds, is not among them.
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

#: Columns that trees choose from at most.
TREE_COLUMNS = 256

Batched = Callable[[Array], Array]
"""From designs (k, n, p) of k folds to cumulative hazards (k, n, w + 1) at each fold's own edges.

Folds may differ in their bins: w is the most that any has, and values beyond a fold's own edges are
finite and not read.
"""


@dataclass(frozen=True)
class TrainingData:
    """The training patients of one fold, as its learners see them."""

    X: Array
    """(n, p) linear design."""
    time: Array
    """(n,) follow-up in months."""
    event: Bools
    """(n,) whether the event was seen."""
    grid: TimeGrid
    """Bins of the curves to be fitted."""
    markers: Bools
    """(p,) columns of modalities beyond the study's first."""

    @cached_property
    def tree_columns(self) -> Ints:
        """(c,) columns that trees may cut; see :func:`strongest`."""
        return strongest(self.X, self.time, self.event)


class Learner(ABC):
    """A fitted learner of one fold."""

    TIME: ClassVar[float] = 1.0
    """Part of the fold's remaining time that a fit may take."""

    @classmethod
    @abstractmethod
    def fit(cls, data: TrainingData, config: Config, budget: Budget) -> Self:
        """Fit on a fold's training patients.

        Args:
            data: of the fold.
            config: of the run, its seed included.
            budget: time that the fit may take.
        """

    @abstractmethod
    def cumulative(self, X: Array) -> Array:
        """Cumulative hazard (n, j + 1) at the edges of the fold's grid for a design X (n, p)."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Return the fitted state, but for its arrays, as plain data."""

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """Return the arrays of the fitted state by name; a small one may be all in the JSON."""
        return {}

    @classmethod
    @abstractmethod
    def from_json(cls, raw: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Rebuild from :meth:`to_json` and :meth:`arrays`."""

    @classmethod
    def batched(cls, fitted: Sequence[Self], columns: int) -> Batched:
        """Lay the fitted learners of k folds out to run in one call; here one after another.

        Args:
            fitted: one a fold.
            columns: p, of each fold's design.
        """
        del columns
        return lambda X: on_most_bins([f.cumulative(x) for f, x in zip(fitted, X, strict=True)])


def on_most_bins(curves: Sequence[Array]) -> Array:
    """Stack curves (…, j + 1) of k folds as (k, …, w + 1) on the most bins of any, 0 beyond."""
    found = np.zeros((len(curves), *curves[0].shape[:-1], max(c.shape[-1] for c in curves)))
    for own, curve in zip(found, curves, strict=True):
        own[..., : curve.shape[-1]] = curve
    return found


def strongest(X: Array, time: Array, event: Bools) -> Ints:
    """Columns (c,) of X (n, p) that trees may cut: those with the largest log-rank statistics.

    Among thousands, a tree's few draws would seldom meet one that matters (Fan and Lv, "Sure
    independence screening for ultrahigh dimensional feature space", J R Stat Soc B 2008).
    """
    spread = X.std(axis=0)
    varied = np.flatnonzero(spread > 1e-9)
    if len(varied) <= TREE_COLUMNS:
        return varied if len(varied) else np.arange(min(1, X.shape[1]))
    # At equal risks, the gradient of Cox's likelihood by a column is its log-rank statistic.
    gradient, _ = RiskSums.of(time, event).slopes(np.zeros((1, len(X))), np.ones((1, len(X))))
    statistic = np.abs(gradient[0] @ (X[:, varied] - X[:, varied].mean(axis=0)) / spread[varied])
    return np.sort(varied[np.argsort(-statistic, kind="stable")[:TREE_COLUMNS]])
