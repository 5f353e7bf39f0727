"""The training cohort is refused, whichever of its endpoints was loaded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
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
    others = cohort.take(np.arange(100))
    made = several_trained.bundle.provenance
    known = {made["cohort_fingerprint"], *made["endpoint_fingerprints"]}
    assert len(known) == 2 + len(cohort.further)
    assert others.fingerprint() not in known
    refuse_seen(several_trained.bundle, others, "study.yaml")
