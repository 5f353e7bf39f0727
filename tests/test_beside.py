"""One environment with lifelines and scanpy: they agree on estimates, and their tables are read."""

from __future__ import annotations

import numpy as np
import pytest

from accomplice.data.cohort import build_cohort
from accomplice.data.synthetic import draw
from accomplice.training.estimators.kaplan_meier import KaplanMeier
from accomplice.training.metrics.concordance import harrell_c


def test_kaplan_meier_is_that_of_lifelines(small_cohort):
    lifelines = pytest.importorskip("lifelines")
    time, event = small_cohort.time, small_cohort.event
    theirs = lifelines.KaplanMeierFitter().fit(time, event)
    ours = KaplanMeier.fit(time, event)
    expected = theirs.survival_function_at_times(ours.times)
    np.testing.assert_allclose(ours.survival, expected, rtol=0, atol=1e-12)


def test_concordance_is_that_of_lifelines(small_cohort):
    index = pytest.importorskip("lifelines.utils").concordance_index
    time, event = small_cohort.time, small_cohort.event
    risk = np.random.default_rng(0).normal(size=len(time)).round(1)
    assert harrell_c(event, time, risk) == pytest.approx(index(time, -risk, event), abs=1e-12)


# scanpy asks anndata for its version in a way that anndata is to drop.
@pytest.mark.filterwarnings("ignore:.__version__. is deprecated:FutureWarning")
def test_patients_of_an_annotated_matrix_are_those_of_the_table(small_cohort):
    scanpy = pytest.importorskip("scanpy")
    frame = draw(240, seed=11).frame
    frame.index = frame.index.astype(str)
    genes = [n for n, f in small_cohort.study.features.items() if f.kind == "expression"]
    columns = [small_cohort.study.features[name].column or name for name in genes]
    matrix = scanpy.AnnData(frame[columns], obs=frame.drop(columns=columns))
    # As writing a file does it: text becomes categories.
    matrix.strings_to_categoricals()
    cohort = build_cohort(small_cohort.study, matrix.obs.join(matrix.to_df()))
    np.testing.assert_array_equal(cohort.values, small_cohort.values)
    np.testing.assert_array_equal(cohort.ids, small_cohort.ids)
    np.testing.assert_array_equal(cohort.centre, small_cohort.centre)
    np.testing.assert_array_equal(cohort.outcome, small_cohort.outcome)
