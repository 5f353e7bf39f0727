"""The table of metrics by which survival models are judged and compared.

A further metric is a `Score` in a file of its own and an entry here: scores, gains, comparison,
record, model card, gate, report and MLflow list the metrics of this table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from accomplice.data.arrays import Array
from accomplice.training.metrics.auc_and_concordance_draws import ConcordanceScore
from accomplice.training.metrics.brier import BrierScore
from accomplice.training.metrics.score import Score


@dataclass(frozen=True)
class Metric:
    """A metric: its name, computation and direction, and its part in comparisons."""

    label: str
    """Name in texts and tables."""
    score: Score
    """Computes the metric, alone or with others."""
    part: int = 0
    """Index of the metric among those that ``score`` computes."""
    higher_is_better: bool = True
    margin: float | None = None
    """Largest tolerated loss, in the metric's unit: a model that loses more counts as worse even if
    the interval of the difference includes 0. None: the metric is only reported."""
    limits: tuple[float, float] = (0.0, 1.0)
    """Lowest and highest value that the metric can have."""

    def gain(self, first: Array, second: Array) -> Array:
        """Return the gain of the first model over the second, elementwise for arrays of one shape.

        Above 0 the first model is better.
        """
        return first - second if self.higher_is_better else second - first


_CONCORDANCE = ConcordanceScore()

#: Name in JSON -> metric. Two trainings of one model on the same 240 to 800 patients, with
#: different seeds, hardly ever differ by as much as a margin.
METRICS: dict[str, Metric] = {
    "uno_c": Metric("Uno's C", _CONCORDANCE, part=1, margin=0.03),
    "harrell_c": Metric("Harrell's C", _CONCORDANCE, part=0),
    "ibs": Metric("integrated Brier score", BrierScore(), higher_is_better=False, margin=0.01),
}


def deciding() -> tuple[str, ...]:
    """Return the names of the metrics that decide which model is better.

    Example:
        >>> deciding()
        ('uno_c', 'ibs')
    """
    return tuple(name for name, metric in METRICS.items() if metric.margin is not None)


def listed() -> tuple[str, ...]:
    """Return the names of all metrics in the order of tables: deciding ones first.

    Example:
        >>> listed()
        ('uno_c', 'ibs', 'harrell_c')
    """
    return tuple(sorted(METRICS, key=lambda name: METRICS[name].margin is None))


def label(name: str) -> str:
    """Return a metric's name in texts; ``name`` itself if the table lacks it.

    Example:
        >>> label("ibs"), label("of another version")
        ('integrated Brier score', 'of another version')
    """
    return METRICS[name].label if name in METRICS else name


def heading(name: str) -> str:
    """Return a metric's name and direction at the head of a table.

    Raises:
        KeyError: the table lacks the metric.

    Example:
        >>> heading("ibs")
        'integrated Brier score (lower is better)'
    """
    direction = "higher" if METRICS[name].higher_is_better else "lower"
    return f"{label(name)} ({direction} is better)"


def gains(
    first: Mapping[str, Array], second: Mapping[str, Array], names: tuple[str, ...]
) -> dict[str, Array]:
    """Return the gains of the first model over the second by metric, above 0 where it is better.

    Args:
        first: metric -> values of the first model, of any shape.
        second: metric -> values of the second model, of the same shapes.
        names: the metrics to compare.

    Raises:
        KeyError: the table or a model lacks one of the metrics.

    Example:
        >>> import numpy as np
        >>> gains({"ibs": np.array([0.1])}, {"ibs": np.array([0.3])}, ("ibs",))
        {'ibs': array([0.2])}
    """
    return {name: METRICS[name].gain(first[name], second[name]) for name in names}
