"""The centres' section says whether a further centre is promised anything."""

from __future__ import annotations

import math

import pytest

from accomplice.training.estimators.intervals import Estimate
from accomplice.training.evaluation.record import AcrossCentres, CentreFigures
from accomplice.training.reports.review.centres import across_centres, of_centres


def found(low: float = 0.6, *, held_out: bool = True) -> AcrossCentres:
    c, ratio, slope = (Estimate(v, v - 0.05, v + 0.05) for v in (0.7, 1.0, 0.9))
    figures = {"uno_c": c, "observed_expected": ratio, "slope": slope}
    return AcrossCentres(
        held_out=held_out,
        month=36.0,
        centres=tuple(
            CentreFigures(centre=name, patients=100, events=40, **figures) for name in "ABC"
        ),
        mean=figures,
        further=figures | {"uno_c": Estimate(0.7, low, 0.8)},
    )


@pytest.mark.parametrize(
    ("made", "tone", "said"),
    [
        (found(), "yes", "expected at 0.600 to 0.800"),
        (found(0.45), "no", "expected at 0.450 to 0.800"),
        (found(held_out=False), "no", "fitted on too"),
        (found(math.nan), "no", "do not say what to expect of a further one"),
    ],
)
def test_verdict(made, tone, said):
    verdict = of_centres(made)
    assert verdict.tone == tone
    assert said in verdict.text


def test_the_table_ends_with_the_mean_and_a_further_centre():
    (table,) = across_centres(found()).items
    assert [row[0] for row in table.rows] == [
        "A",
        "B",
        "C",
        "mean of the centres",
        "a further centre",
    ]
    assert table.rows[0][1:] == (
        "100 / 40",
        "0.700 (0.650 to 0.750)",
        "1.00 (0.95 to 1.05)",
        "0.90 (0.85 to 0.95)",
    )
    assert table.rows[-1][2] == "0.700 (0.600 to 0.800)"
