"""scikit-learn's own checks of an estimator, with the outcomes that they draw made structured."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from accomplice import SurvivalEstimator
from tests.api.conftest import LEAST, as_parameters, structured

#: Check -> why it does not apply. None fails.
NOT_APPLICABLE: dict[str, str] = {}


class Drawn(SurvivalEstimator):
    """The estimator, whose outcomes are drawn in place of those that the checks hand in."""

    def fit(self, X: Any, y: Any = None) -> Drawn:
        return super().fit(X, None if y is None else drawn(len(y)))

    def score(self, X: Any, y: Any = None) -> float:
        return super().score(X, None if y is None else drawn(len(y)))


def drawn(n: int) -> np.ndarray:
    """Follow-up of n patients; some are censored where there are events to spare."""
    rng = np.random.default_rng(0)
    event = rng.random(n) < (0.8 if n > 20 else 2)
    return structured(event, rng.exponential(20, n) + 0.1)


@parametrize_with_checks(
    [Drawn(**as_parameters(LEAST))], expected_failed_checks=lambda _: NOT_APPLICABLE
)
# Frames of names that are not all text, arrays where there were names: scikit-learn warns.
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_scikit_learns_check(estimator, check):
    check(estimator)
