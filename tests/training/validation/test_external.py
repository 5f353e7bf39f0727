"""The training cohort is refused, whichever of its endpoints was loaded."""

from __future__ import annotations

from dataclasses import replace

import pytest

from accomplice.data.errors import InputError
from accomplice.training.validation.external import refuse_seen


def test_the_training_cohort_is_refused_with_all_or_one_of_its_endpoints(several_trained):
    cohort = several_trained.primary.fitted.prepared.cohort
    assert cohort.further
    for seen in (cohort, replace(cohort, further={}), *cohort.further.values()):
        with pytest.raises(InputError, match="trained on this very cohort"):
            refuse_seen(several_trained.bundle, seen, "study.yaml")


def test_other_patients_are_not_refused(several_trained):
    cohort = several_trained.primary.fitted.prepared.cohort
    refuse_seen(several_trained.bundle, cohort.take(slice(0, 100)), "study.yaml")
