"""Section of a review's page on the model's figures within each centre, and in a further one."""

from __future__ import annotations

import math

from accomplice.data.cells.rounding import month_text
from accomplice.training.evaluation.record import AcrossCentres
from accomplice.training.metrics.table import label
from accomplice.training.reports.page import Section, Verdict
from accomplice.training.reports.review import rows
from accomplice.training.reports.section_builders import section, table


def across_centres(found: AcrossCentres) -> Section:
    """Return the section on centres."""
    head = ("centre", "patients / events", label("uno_c"), "observed/expected", "slope")
    at = f"Within each centre; calibration at {month_text(found.month)} months"
    return section("review", "centres", of_centres(found), table(at, head, rows.centres(found)))


def of_centres(found: AcrossCentres) -> Verdict:
    """Return the verdict on C within centres and on that of a further centre.

    The tone is ``yes`` if the prediction interval of a further centre's C is above 0.5 and no
    centre's patients were among those that its predictions were fitted on, else ``no``.
    """
    mean, further = found.mean["uno_c"], found.further["uno_c"]
    if not math.isfinite(mean.value):
        return Verdict("absent", "The centres have too few events to be judged.")
    whose = (
        f"In {len(found.centres)} centres, each predicted by models fitted on none of its patients"
        if found.held_out
        else f"In {len(found.centres)} centres, whose patients the models were fitted on too"
    )
    text = f"{whose}, C within a centre is {mean} in the mean"
    if not math.isfinite(further.low):
        return Verdict("no", f"{text}; so few do not say what to expect of a further one.")
    text += f"; a further centre is to be expected at {further.low:.3f} to {further.high:.3f}."
    return Verdict("yes" if found.held_out and further.low > 0.5 else "no", text)
