"""The patients who are compared: treatment known and an option, event-free at the landmark."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from accomplice.data.arrays import Array, Bools
from accomplice.data.cohort import Cohort
from accomplice.data.rows.treatment import is_option
from accomplice.data.study_parts import Treatment
from accomplice.training.estimators.policy import ARM_EVENTS, ARM_PATIENTS


def treatment_and_status(cohort: Cohort) -> tuple[Treatment, Array]:
    """Return a cohort's treatment, and the status (n,): 1, 0, or NaN where not recorded.

    Raises:
        ValueError: the study names no treatment.
    """
    treatment, treated = cohort.study.treatment, cohort.treated
    if treatment is None or treated is None:
        raise ValueError("the study names no treatment")
    return treatment, treated


def too_few(cohort: Cohort) -> str | None:
    """Return the reason why the effect cannot be estimated from a cohort; None if it can."""
    if cohort.study.treatment is None:
        return "the study names no treatment"
    _, treated = treatment_and_status(cohort)
    used, observed = compared(cohort), cohort.event & (cohort.time <= cohort.horizon)
    for arm, name in ((1.0, "treated"), (0.0, "untreated")):
        rows = used & (treated == arm)
        if rows.sum() < ARM_PATIENTS or observed[rows].sum() < ARM_EVENTS:
            return (
                f"{int(rows.sum())} {name} patients with {int(observed[rows].sum())} events "
                f"are too few: {ARM_PATIENTS} and {ARM_EVENTS} are needed in each arm"
            )
    return None


def compared(cohort: Cohort) -> Bools:
    """Return whether each patient (n,) is compared.

    The treatment is known and an option, and the patient is followed beyond the landmark.
    """
    treatment, treated = treatment_and_status(cohort)
    option = is_option(cohort.study, cohort.values)
    return np.asarray(~np.isnan(treated) & option & (cohort.time > treatment.landmark))


def at_landmark(cohort: Cohort, landmark: float) -> Cohort:
    """Return a cohort whose study has another landmark of the treatment, in months.

    Raises:
        ValueError: the study names no treatment.
    """
    treatment, _ = treatment_and_status(cohort)
    update = {"treatment": treatment.model_copy(update={"landmark": landmark})}
    return replace(cohort, study=cohort.study.model_copy(update=update))
