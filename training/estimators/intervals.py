"""Values with their intervals, and bootstrap percentile intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from pydantic import BeforeValidator, ConfigDict, PlainSerializer

from accomplice.data.arrays import Array, Ints
from accomplice.training.estimators.checks import UndefinedMetricError

#: 97.5 % quantile of the standard normal distribution, for 95 % intervals.
Z95 = NormalDist().inv_cdf(0.975)

#: A number that is NaN where it is undefined, and null in JSON.
Number = Annotated[
    float,
    BeforeValidator(lambda value: math.nan if value is None else value),
    PlainSerializer(lambda value: value if math.isfinite(value) else None, when_used="json"),
]


def resamples(n: int, draws: int, seed: int) -> Iterator[Ints]:
    """Yield the rows (n,) of each bootstrap draw (Efron, Ann Stat 1979), fixed by the seed.

    Args:
        n: number of rows.
        draws: number of draws.
        seed: seed of the draws.

    Example:
        >>> [rows.tolist() for rows in resamples(3, 2, seed=0)]
        [[2, 1, 1], [0, 0, 0]]
    """
    generator = np.random.default_rng(seed)
    for _ in range(draws):
        yield generator.integers(0, n, n)


def percentile_interval(values: Array, level: float = 0.95) -> tuple[float, float]:
    """Return the percentile interval of a statistic from its bootstrap draws.

    Args:
        values: (draws,) values of the statistic, at least one; NaN, where it is undefined, is left
            out.
        level: confidence level.

    Returns:
        Low and high: the values of rank (draws + 1) p at p = (1 ± level) / 2, interpolated between
        two ranks (Davison & Hinkley, Bootstrap Methods and their Application, 1997, 5.2.1). A rank
        below 1 or above the number of draws becomes the first or the last one.

    Raises:
        UndefinedMetricError: the statistic is undefined in more than a tenth of the draws.

    Example:
        >>> low, high = percentile_interval(np.arange(1.0, 40.0))
        >>> round(low, 6), round(high, 6)
        (1.0, 39.0)
    """
    defined = values[~np.isnan(values)]
    if defined.size < 0.9 * values.size:
        raise UndefinedMetricError(
            f"the statistic is undefined in {values.size - defined.size} of {values.size} "
            "bootstrap draws: too few patients or events for an interval"
        )
    # The k-th of b ordered draws estimates the quantile k / (b + 1); NumPy's default quantiles
    # would make the 95 % interval of 200 draws a 94 % interval.
    ends = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(defined, ends, method="weibull")
    return float(low), float(high)


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval; NaN, in JSON null, where the patients do not determine it.

    Attributes:
        value: the point estimate.
        low: lower end of the interval.
        high: upper end of the interval.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")
    #: Default format of numbers.
    form: ClassVar[str] = ".3f"

    value: Number
    low: Number = math.nan
    high: Number = math.nan

    @classmethod
    def of_draws(cls, figures: Array, *, open_ended: bool = False) -> Self:
        """Return a statistic with the percentile interval of its d bootstrap draws.

        Args:
            figures: (1 + d,) the statistic of all patients, then of each draw.
            open_ended: whether the value is kept where the draws do not determine an interval;
                otherwise value, low and high are all NaN.
        """
        value = float(figures[0])
        try:
            if len(figures) < 2 or math.isnan(value):
                raise UndefinedMetricError("no draws, or no value")
            return cls(value, *percentile_interval(figures[1:]))
        except UndefinedMetricError:
            return cls(value if open_ended else math.nan)

    @classmethod
    def normal(cls, value: float, se: float) -> Self:
        """Return value ± z se, with z the 97.5 % quantile of the standard normal distribution.

        Args:
            value: the point estimate.
            se: its standard error.
        """
        return cls(value, value - Z95 * se, value + Z95 * se)

    @classmethod
    def from_json(cls, raw: Mapping[str, float | None] | None) -> Self:
        """Return the estimate that :meth:`to_json` described; all NaN for None."""
        found = {"value": None} if raw is None else raw
        return cls(**{key: math.nan if v is None else float(v) for key, v in found.items()})

    def to_json(self) -> dict[str, float | None]:
        """Return value, low and high as plain data, undefined ones as null."""
        return {key: finite_or_none(getattr(self, key)) for key in ("value", "low", "high")}

    def __str__(self) -> str:
        return format(self)

    def __format__(self, spec: str) -> str:
        """Return value and interval as text in one format, in words where they are undefined."""
        if not self.known:
            return "not determined"
        value, low, high = (format(v, spec or self.form) for v in (self.value, self.low, self.high))
        bounded = math.isfinite(self.low) and math.isfinite(self.high)
        return f"{value} ({low} to {high})" if bounded else f"{value} (no interval)"

    @property
    def known(self) -> bool:
        """Whether the patients determine the value."""
        return math.isfinite(self.value)

    @property
    def above(self) -> float:
        """Lower end, -inf where there is none: ``above > x`` if the interval lies above x."""
        return self.low if math.isfinite(self.low) else -math.inf

    @property
    def below(self) -> float:
        """Upper end, inf where there is none: ``below < x`` if the interval lies below x."""
        return self.high if math.isfinite(self.high) else math.inf


def determined(estimates: Mapping[str, Estimate], figures: Mapping[str, float]) -> dict[str, float]:
    """Return the numbers of absolute value below 1e300 among estimates and figures, by name.

    An estimate ``c`` gives ``c``, ``c_low`` and ``c_high``. NaN and infinity are left out.

    Args:
        estimates: name -> estimate with its interval.
        figures: name -> single figure.

    Example:
        >>> determined({"c": Estimate(0.7, 0.6, float("nan"))}, {"slope": 1.1})
        {'c': 0.7, 'c_low': 0.6, 'slope': 1.1}
    """
    ends = {
        f"{name}{end}": getattr(estimate, part)
        for name, estimate in estimates.items()
        for end, part in (("", "value"), ("_low", "low"), ("_high", "high"))
    }
    # Databases cannot store larger numbers.
    return {name: v for name, v in (ends | {**figures}).items() if abs(v) < 1e300}


def or_nan(compute: Callable[[], float]) -> float:
    """Return the result of ``compute``, or NaN where it raises :class:`UndefinedMetricError`.

    Example:
        >>> or_nan(lambda: percentile_interval(np.full(20, math.nan))[0])
        nan
    """
    try:
        return compute()
    except UndefinedMetricError:
        return math.nan


def finite_or_none(value: float) -> float | None:
    """Return a finite number as it is, None for NaN and infinity.

    Example:
        >>> print(finite_or_none(0.5), finite_or_none(math.nan))
        0.5 None
    """
    return float(value) if math.isfinite(value) else None


def plain(value: Any) -> Any:
    """Return nested values as plain data for JSON.

    Objects with a method ``to_json`` are replaced by its result, arrays and tuples by lists, keys
    of dictionaries by text, NaN and infinity by None.

    Example:
        >>> plain({"slope": float("nan"), "times": np.array([12, 36])})
        {'slope': None, 'times': [12, 36]}
    """
    if hasattr(value, "to_json"):
        return plain(value.to_json())
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return finite_or_none(value) if isinstance(value, float) else value


def wilson(cases: ArrayLike, size: ArrayLike, level: float = 0.95) -> tuple[Array, Array]:
    """Return Wilson's score intervals of proportions, which are valid at 0 and 1 too (JASA 1927).

    Args:
        cases: number of cases, of any shape.
        size: number of patients, > 0, of the same shape.
        level: confidence level.

    Returns:
        Low and high, (p + z²/2n ∓ z √(p (1 − p)/n + z²/4n²)) / (1 + z²/n) with p = cases / n of n
        patients, within [0, 1].

    Example:
        >>> low, high = wilson(5, 10)
        >>> round(float(low), 3), round(float(high), 3)
        (0.237, 0.763)
    """
    cases, size = np.asarray(cases, dtype=float), np.asarray(size, dtype=float)
    share, z = cases / size, NormalDist().inv_cdf(0.5 + level / 2)
    middle = (share + z**2 / (2 * size)) / (1 + z**2 / size)
    spread = np.sqrt(share * (1 - share) / size + z**2 / (4 * size**2))
    half = z * spread / (1 + z**2 / size)
    # Rounding must not leave a share of exactly 0 or 1 outside its interval.
    low = np.maximum(0.0, np.minimum(middle - half, share))
    high = np.minimum(1.0, np.maximum(middle + half, share))
    return np.asarray(low), np.asarray(high)
