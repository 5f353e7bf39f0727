"""The survival of the synthetic cohort: Weibull times, and true quantities at 60 months.

The survival function is S(t) = exp(-SCALE · exp(log_hz) · t**SHAPE), t in months. Marks of evidence
on constants are those of ``data.synthetic``.
"""

import numpy as np
import pandas as pd

from accomplice.data.arrays import Array

#: Horizon of all true quantities, in months.
HORIZON = 60.0
#: Shape of the Weibull survival [A].
SHAPE = 1.1
#: Scale of the Weibull survival [F]: the hazard at log_hz 0 is SCALE · SHAPE · t**(SHAPE - 1).
SCALE = 0.00131


def weibull_survival(log_hz: Array, months: float | Array) -> Array:
    """Return the Weibull survival (n,) at a time; see the module's formula.

    Args:
        log_hz: (n,) log-hazard relative to the baseline.
        months: time in months, one for all patients or (n,).
    """
    return np.asarray(np.exp(-SCALE * np.exp(log_hz) * np.asarray(months) ** SHAPE))


def weibull_rmst(log_hz: Array, horizon: float = HORIZON) -> Array:
    """Return the restricted mean survival time up to ``horizon``, in months (n,).

    RMST is the integral of the survival curve from 0 to ``horizon``, here by Gauss-Legendre
    quadrature with 32 nodes.

    Args:
        log_hz: (n,) log-hazard relative to the baseline.
        horizon: upper limit of the integral, in months.
    """
    nodes, weights = np.polynomial.legendre.leggauss(32)
    months = horizon * (nodes + 1.0) / 2.0
    total = np.zeros(len(log_hz))
    for month, weight in zip(months, weights, strict=True):
        total += weight * weibull_survival(log_hz, month)
    return total * horizon / 2.0


def potential_outcomes(hazards: pd.DataFrame) -> pd.DataFrame:
    """Return each patient's survival and RMST at 60 months with and without ACT.

    Args:
        hazards: columns ``log_hz_treated`` and ``log_hz_untreated``.

    Returns:
        Columns ``survival60_*`` and ``rmst60_*`` (months) of both arms, and ``benefit60``: survival
        with ACT minus survival without.
    """
    columns: dict[str, Array] = {}
    for arm in ("treated", "untreated"):
        log_hz = hazards[f"log_hz_{arm}"].to_numpy()
        columns[f"survival60_{arm}"] = weibull_survival(log_hz, HORIZON)
        columns[f"rmst60_{arm}"] = weibull_rmst(log_hz)
    columns["benefit60"] = columns["survival60_treated"] - columns["survival60_untreated"]
    return pd.DataFrame(columns)


def draw_survival(log_hz: Array, rng: np.random.Generator, *, variant: str) -> pd.DataFrame:
    """Draw times of death, censored by the end of the study and by drop-out.

    The study ends 36 to 110 months after surgery, or 10 to 39 in ``shifted`` (median follow-up 23
    months [F]); drop-out is 0.25 % a month [A]. Times are rounded to a tenth of a month, at least
    0.1.

    Args:
        log_hz: (n,) log-hazard relative to the baseline.
        rng: source of the random numbers.
        variant: variant of the structural model; see :func:`synthetic.draw`.

    Returns:
        Columns ``os_months`` and ``os_event`` (1 death, 0 censored).
    """
    n = len(log_hz)
    death = (rng.standard_exponential(n) / (SCALE * np.exp(log_hz))) ** (1.0 / SHAPE)
    first, last = (10.0, 39.0) if variant == "shifted" else (36.0, 110.0)
    lost = np.minimum(rng.uniform(first, last, n), rng.exponential(400.0, n))
    months = np.maximum(np.rint(np.minimum(death, lost) * 10.0) / 10.0, 0.1)
    return pd.DataFrame({"os_months": months, "os_event": (death <= lost).astype(int)})
