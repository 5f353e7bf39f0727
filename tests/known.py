"""A cohort of two modalities, of which one matters, and a model that takes both for important."""

from __future__ import annotations

import numpy as np

from accomplice.data.cohort import Cohort
from accomplice.data.study import parse_study
from accomplice.training.estimators.hazard import TimeGrid
from accomplice.training.models.predictions import EXTERNAL, MODEL, Predictions

GRID = TimeGrid(np.linspace(0, 60, 13))
RATE = 0.02

STUDY = {
    "name": "known",
    "synthetic": True,
    "source": {"files": ["cohort.csv"]},
    "centre": "centre",
    "endpoints": {"survival": {"os": {"time": "months", "event": "event", "horizon": 60}}},
    "modalities": {
        "clinical": {
            "signal": {"kind": "number"},
            "sex": {"kind": "category", "levels": ["f", "m"]},
            "stage": {"kind": "ordinal", "levels": ["I", "II", "III", "IV"]},
        },
        "molecular": {
            "noise": {"kind": "expression"},
            "msi": {"kind": "category", "levels": ["low", "high"]},
            "mutation": {"kind": "category", "levels": list("abcdefgh")},
        },
    },
    "baselines": {"simple": ["sex"]},
}


def known_cohort(n: int, seed: int = 0) -> tuple[Cohort, np.ndarray]:
    """Draw patients whose log-hazard is ``signal``; return them and their true curves."""
    rng = np.random.default_rng(seed)
    signal, noise = rng.normal(size=n), rng.normal(size=n)
    levels = [rng.integers(0, k, n).astype(float) for k in (2, 4, 2, 8)]
    values = np.column_stack([signal, levels[0], levels[1], noise, levels[2], levels[3]])
    lacks = rng.random(n) < 0.2
    values[lacks, 3:] = np.nan
    hazard = RATE * np.exp(signal)
    death, left = rng.exponential(1 / hazard), rng.uniform(5, 90, n)
    cohort = Cohort(
        study=parse_study(STUDY, "known"),
        ids=np.arange(n).astype(str),
        values=values,
        centre=np.array(["north", "south"])[rng.integers(0, 2, n)],
        binary={},
        endpoint="os",
        time=np.minimum(death, left) + 1e-3,
        event=death <= left,
    )
    return cohort, hazard[:, None] * GRID.edges


def known_curves(values: np.ndarray) -> np.ndarray:
    """What the model says of features (n, p): the signal, and a little of the noise."""
    known = np.nan_to_num(values)
    return RATE * np.exp(known[:, 0] + 0.1 * known[:, 3])[:, None] * GRID.edges


def known_predicted(n: int, seed: int = 0) -> Predictions:
    """What that model says, beside one curve for everybody and the signal's coarse rounding."""
    cohort, _ = known_cohort(n, seed)
    curves = known_curves(cohort.values)
    coarse = RATE * np.exp(np.round(cohort.values[:, 0] / 2) * 2)[:, None] * GRID.edges

    def again(values: np.ndarray, rows: np.ndarray | None = None, /) -> np.ndarray:
        assert len(values) == (n if rows is None else len(rows))
        return known_curves(values)

    return Predictions(
        cohort=cohort,
        protocol=EXTERNAL,
        group=np.zeros(n, dtype=int),
        grid=GRID,
        curves={MODEL: curves},
        baselines={"Kaplan-Meier": np.tile(0.025 * GRID.edges, (n, 1)), "coarse": coarse},
        blind=curves,
        again=again,
    )
