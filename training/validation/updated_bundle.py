"""The bundle of a model that was updated for another cohort."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

from accomplice.training.bundle import Bundle
from accomplice.training.config import Config
from accomplice.training.estimators.hazard import log_risk
from accomplice.training.evaluation.record import Finding
from accomplice.training.evaluation.review import review
from accomplice.training.models.predictions import MODEL
from accomplice.training.models.provenance import TRAINED, git_commit, trained_fit
from accomplice.training.validation.recalibration import updated
from accomplice.training.validation.validation import Validation, after_update, external_json
from accomplice.training.validation.verdicts import of_update


def updated_bundle(validation: Validation, digest: str, config: Config, run_id: str) -> Bundle:
    """Return the bundle with the updated model, and a record of the update in its provenance.

    The updated bundle ranks expression among the new cohort's patients where at least
    `scaling.CENTRE_SIZE` of them have the feature, else as in training. A risk of 0 is the new
    cohort's mean.

    Args:
        validation: the validation with the update.
        digest: SHA-256 that identifies the content of the judged bundle.
        config: settings of the validation.
        run_id: id of the run that logs the updated bundle.

    Raises:
        ValueError: the validation has no update.
    """
    if validation.update is None:
        raise ValueError("nothing was updated")
    external, cohort, checked = validation.external, validation.cohort, validation.update
    made, name = checked.recalibration, external.model.endpoint
    curves = external.with_treatment(made.update.apply(external.predicted.curves[MODEL]))
    model = replace(
        external.model,
        ensemble=updated(external.model.ensemble, made.update),
        risk_centre=float(log_risk(curves).mean()),
    )
    time, event = external.predicted.outcome
    origin = {
        "endpoint": name,
        "model": digest,
        "study": cohort.study.name,
        "study_endpoint": cohort.endpoint,
        "cohort_fingerprint": cohort.fingerprint(),
        "synthetic": cohort.study.synthetic,
        "patients": len(time),
        "events": int(event.sum()),
        "expression_ranked_in_cohort": list(external.ranked),
        **made.update.to_json(),
        "seed": config.seed,
        "git_commit": git_commit(),
        "run": run_id,
    }
    bundle = external.bundle
    whole = json.dumps(
        [bundle.provenance.get("fit_id"), {k: v for k, v in origin.items() if k != "run"}]
    )
    history = [*bundle.provenance.get("updates", ()), origin]
    provenance = {
        **bundle.provenance,
        TRAINED: trained_fit(bundle.provenance),
        "fit_id": hashlib.sha256(whole.encode()).hexdigest()[:16],
        "synthetic": validation.synthetic,
        "updates": history,
    }
    judged = external_json(checked.evaluation) | {
        "protocol": "updated for another cohort; each patient held out of the update",
        "verdict": of_update(checked).text,
    }
    predicted = after_update(external.predicted, checked.recalibration)
    in_training = bundle.metrics["review"]["sentinels"]
    sentinels = (*map(Finding.model_validate, in_training), validation.overlap)
    reviewed = review(predicted, checked.evaluation, model.ensemble, config)
    reviewed = reviewed.model_copy(update={"sentinels": sentinels})
    judged["review"] = reviewed.model_dump(mode="json")
    metrics = {k: v for k, v in bundle.metrics.items() if k not in ("review", "treatment")}
    if name == bundle.target:
        metrics |= judged
    else:
        metrics["further"] = {**metrics.get("further", {}), name: judged}
    return replace(
        bundle,
        study=bundle.study.model_copy(update={"synthetic": validation.synthetic}),
        survival={**bundle.survival, name: model},
        metrics=metrics,
        provenance=provenance,
    )


def default_name(bundle: Bundle) -> str:
    """Return the default name of an updated bundle's folder."""
    update = bundle.provenance["updates"][-1]
    return f"{bundle.study.name}-{bundle.provenance['fit_id']}-for-{update['study']}"
