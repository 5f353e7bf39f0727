"""Study, follow-up and outcome of simulated cohorts with a treatment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from accomplice.data.arrays import Array
from accomplice.data.study import Study, parse_study

#: Months to which patients are followed, the landmark, and the Weibull shape of the hazards.
HORIZON, LANDMARK, SHAPE = 60.0, 2.0, 1.1
NUMBER: dict[str, object] = {"kind": "number"}


def study(
    modalities: Mapping[str, Mapping[str, object]],
    treatment: Mapping[str, Any] | None = None,
    **others: Any,
) -> Study:
    """Return the study of a simulated cohort.

    Args:
        modalities: modality -> feature -> its description.
        treatment: keys of the treatment beside its column and levels, or in place of the landmark.
        **others: further keys of the study.
    """
    raw = {
        "name": "simulated",
        "synthetic": True,
        "source": {"reader": "table", "files": ["simulated.csv"]},
        "endpoints": {"survival": {"os": {"time": "time", "event": "event", "horizon": HORIZON}}},
        "treatment": {
            "column": "treated",
            "treated": ["yes"],
            "untreated": ["no"],
            "landmark": LANDMARK,
            **(treatment or {}),
        },
        "modalities": {name: dict(features) for name, features in modalities.items()},
        **others,
    }
    return parse_study(raw, "simulated")


def followed(
    frame: pd.DataFrame, rate: Array, treated: Array, hr: float, rng: np.random.Generator
) -> pd.DataFrame:
    """Add treatment, time and event: Weibull hazards, and censoring that depends on nothing."""
    n = len(frame)
    time = (rng.standard_exponential(n) / (rate * np.where(treated, hr, 1.0))) ** (1 / SHAPE)
    time *= HORIZON
    left = np.minimum(rng.uniform(30, 100, n), rng.exponential(400, n))
    return frame.assign(
        treated=np.where(treated, "yes", "no"),
        time=np.maximum(np.minimum(time, left), 0.05),
        event=(time <= left).astype(int),
    )
