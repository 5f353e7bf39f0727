"""Checks of observed outcomes and predictions."""

from __future__ import annotations

import numpy as np

from accomplice.data.arrays import Array, Bools, Reals


class UndefinedMetricError(ValueError):
    """The metric is undefined for these patients, as it can be by chance in a bootstrap draw."""


def checked_outcome(event: Bools, time: Reals) -> tuple[Bools, Array]:
    """Return event and time of observed outcomes after checking them.

    Args:
        event: (n,) bool, True where the event was observed, False where the patient was censored.
        time: (n,), time of the event or of censoring.

    Returns:
        Event (n,) bool and time (n,) float64.

    Raises:
        ValueError: there are no patients, an array is not (n,), the events are not boolean, or a
            time is not finite.

    Example:
        >>> checked_outcome(np.array([True, False]), np.array([3, 5]))
        (array([ True, False]), array([3., 5.]))
    """
    event, time = np.asarray(event), np.asarray(time)
    # The dtype also shows whether a caller has swapped `event` and `time`.
    if event.dtype != np.bool_:
        raise ValueError(f"event must be boolean, got {event.dtype}: pass event.astype(bool)")
    if event.ndim != 1 or event.shape != time.shape or not event.size:
        raise ValueError(
            f"event and time must be (n,) with n > 0, got shapes {event.shape} and {time.shape}"
        )
    return event, checked_finite("time", time, event.shape)


def checked_finite(name: str, values: Reals, shape: tuple[int, ...]) -> Array:
    """Return `values` as float64 after checking that they are finite and have a shape.

    Args:
        name: name of the values in errors.
        values: numbers to check.
        shape: shape that they must have.

    Returns:
        The values, float64, of that shape.

    Raises:
        ValueError: the values have another shape, or are not all finite.

    Example:
        >>> checked_finite("risk", np.array([1, 2]), (2,))
        array([1., 2.])
    """
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {numbers.shape}")
    if bad := int(np.count_nonzero(~np.isfinite(numbers))):
        raise ValueError(f"{name} must be finite, got {bad} of {numbers.size} that are not")
    return numbers


def checked_survival(name: str, survival: Reals, shape: tuple[int, ...]) -> Array:
    """Return `survival` as float64 after checking its shape and that it lies in [0, 1].

    Args:
        name: name of the values in errors.
        survival: probabilities to check.
        shape: shape that they must have.

    Raises:
        ValueError: a value is outside [0, 1], or as :func:`checked_finite`.

    Example:
        >>> checked_survival("survival", np.array([1.0, 0.4]), (2,))
        array([1. , 0.4])
    """
    numbers = checked_finite(name, survival, shape)
    if bad := int(np.count_nonzero((numbers < 0) | (numbers > 1))):
        raise ValueError(f"{name} must lie in [0, 1], got {bad} of {numbers.size} outside")
    return numbers


def checked_times(times: Reals) -> Array:
    """Return `times` (t,), t > 0, as float64 after checking that they are finite and rise.

    Args:
        times: (t,) times to check.

    Raises:
        ValueError: there is no time, or the times are not finite or do not rise strictly.

    Example:
        >>> checked_times(np.array([12, 36]))
        array([12., 36.])
    """
    instants = checked_finite("times", times, (np.size(times),))
    if not instants.size or (np.diff(instants) <= 0).any():
        raise ValueError("times must rise strictly and hold at least one time")
    return instants
