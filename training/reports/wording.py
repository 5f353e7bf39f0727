"""Sentences shown on pages, on the terminal, and with runs and models in MLflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from accomplice.training.metrics.smooth_calibration import SmoothCalibration

#: Shown on pages and on the terminal with results of simulated patients.
SYNTHETIC = "SYNTHETIC patients: nothing here says anything about real ones"
#: Shown on pages, in model cards, and with runs and models in MLflow.
RESEARCH_USE = "For research use only; not a medical device."
#: Shown beside scores where the model has an effect of the treatment.
BLIND = (
    "All models are compared without the treatment, which was chosen after the start; what it adds "
    "to the model's predictions stands apart. A part of that may be that patients had to live "
    "until they were treated. Calibration is that of the predictions under the treatment."
)
#: Shown beside a calibration slope of out-of-fold predictions.
STATED = (
    "The slope is stated for the served ensemble: each patient is predicted by models fitted on "
    "others, with all folds on one level, and the ensemble's own slope makes up for what averaging "
    "its folds takes off the differences between patients."
)
#: Shown before the names of the peers.
UNTUNED = "With fixed settings, which were not tuned in this run"


def ici_text(smooth: SmoothCalibration) -> str:
    """Return the ICI as text, in points of survival, with that of calibrated predictions."""
    return f"{100 * smooth.ici:.1f} (by chance to {100 * smooth.ici_by_chance:.1f})"
