"""The survival of the synthetic cohort: Weibull times, and quantities of the truth at 60 months.

Marks of evidence on the constants are those of ``data.synthetic``.
"""

import numpy as np
import pandas as pd

from accomplice.data.arrays import Array

HORIZON = 60.0  # months; the horizon of every quantity of the truth
SHAPE = 1.1  # of the Weibull survival [A]
SCALE = 0.00131  # [F] hazard at log_hz 0 is SCALE * SHAPE * t**(SHAPE - 1), in months


def weibull_survival(log_hz: Array, months: float | Array) -> Array:
    """Return the Weibull survival ``exp(-SCALE exp(log_hz) months**SHAPE)`` of the deaths."""
    return np.asarray(np.exp(-SCALE * np.exp(log_hz) * np.asarray(months) ** SHAPE))


def weibull_rmst(log_hz: Array, horizon: float = HORIZON) -> Array:
    """Return the mean survival time restricted to ``horizon``, in months (n,).

    The integral of the survival curve by Gauss-Legendre quadrature, 32 nodes.
    """
    nodes, weights = np.polynomial.legendre.leggauss(32)
    months = horizon * (nodes + 1.0) / 2.0
    total = np.zeros(len(log_hz))
    for month, weight in zip(months, weights, strict=True):
        total += weight * weibull_survival(log_hz, month)
    return total * horizon / 2.0


def potential_outcomes(hazards: pd.DataFrame) -> pd.DataFrame:
    """Return survival and RMST at 60 months with and without ACT, and the benefit."""
    columns: dict[str, Array] = {}
    for arm in ("treated", "untreated"):
        log_hz = hazards[f"log_hz_{arm}"].to_numpy()
        columns[f"survival60_{arm}"] = weibull_survival(log_hz, HORIZON)
        columns[f"rmst60_{arm}"] = weibull_rmst(log_hz)
    columns["benefit60"] = columns["survival60_treated"] - columns["survival60_untreated"]
    return pd.DataFrame(columns)


def draw_survival(log_hz: Array, rng: np.random.Generator, *, variant: str) -> pd.DataFrame:
    """Draw ``os_months`` and ``os_event``: Weibull death against end of study and drop-out.

    The study ends 36 to 110 months after surgery, or 10 to 39 in ``shifted`` (median follow-up 23
    months [F]); drop-out is 0.25 % a month [A]. Times are kept to a tenth of a month, as recorded.
    """
    n = len(log_hz)
    death = (rng.standard_exponential(n) / (SCALE * np.exp(log_hz))) ** (1.0 / SHAPE)
    first, last = (10.0, 39.0) if variant == "shifted" else (36.0, 110.0)
    lost = np.minimum(rng.uniform(first, last, n), rng.exponential(400.0, n))
    months = np.maximum(np.rint(np.minimum(death, lost) * 10.0) / 10.0, 0.1)
    return pd.DataFrame({"os_months": months, "os_event": (death <= lost).astype(int)})
