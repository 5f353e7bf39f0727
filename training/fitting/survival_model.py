"""The model that predicts new patients, made from a fit."""

from __future__ import annotations

import numpy as np

from accomplice.training.estimators.hazard import log_risk
from accomplice.training.fitting.fit import Fitted
from accomplice.training.models.baselines import Baseline
from accomplice.training.models.risk_centiles import quantiles
from accomplice.training.models.survival import SurvivalModel
from accomplice.training.models.survival_interval import SurvivalInterval


def survival_model(
    fitted: Fitted,
    baselines: tuple[Baseline, ...] = (),
    distrust: str = "",
    interval: SurvivalInterval | None = None,
) -> SurvivalModel:
    """Return the model that predicts new patients.

    Args:
        fitted: the fit to the training cohort.
        baselines: reference models fitted on the same folds.
        distrust: reason why no advice can rest on the treatment's effect; empty if there is none.
        interval: model of a patient's survival interval; None if the model gives no interval.
    """
    cohort, risk = fitted.prepared.cohort, log_risk(fitted.cumulative)
    centre = float(np.mean(risk))
    return SurvivalModel(
        study=cohort.study,
        endpoint=cohort.endpoint,
        ensemble=fitted.ensemble,
        effect=None if fitted.effect is None else fitted.effect.effect,
        no_effect=fitted.no_effect,
        distrust=distrust,
        risk_centre=centre,
        risk_reference=quantiles(risk - centre),
        baselines=baselines,
        followed=cohort.followed,
        interval=interval,
    )
