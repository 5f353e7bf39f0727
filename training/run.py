"""One training run: cohort -> fit -> evaluation -> bundle, and the same written to MLflow."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.cohort import Cohort
from training.budget import UNLIMITED, Budget
from training.bundle import Bundle
from training.config import Config, flat
from training.evaluation import Evaluation, evaluate
from training.evidence import Evidence, evidence
from training.fit import Fitted, Prepared, fit, prepare
from training.hazard import log_risk
from training.progress import Tick, silent
from training.response import ResponseModel, fit_response, out_of_fold, why_no_model
from training.response_evaluation import ResponseEvaluation, judge_response
from training.store import Store

Array = NDArray[np.float64]

#: Parts of the time left that the folds' learners, and then the network, may take.
FOLDS_TIME, NET_TIME = 0.35, 0.7

VERSIONS = ("accomplice", "numpy", "pandas", "torch", "pytorch-lightning")


@dataclass(frozen=True)
class Trained:
    """What a run made."""

    bundle: Bundle
    evaluation: Evaluation
    evidence: Evidence | None
    """Whether the treatment's effect is to be believed, where one was estimated."""
    responses: dict[str, Response]
    """By binary endpoint with labels enough."""
    fitted: Fitted


@dataclass(frozen=True)
class Response:
    """A model of a binary endpoint, and how it did."""

    model: ResponseModel
    evaluation: ResponseEvaluation
    label: Array
    """(n,) 1, 0, or NaN for unlabelled patients."""
    probability: Array
    """(n,) out of fold, NaN for unlabelled patients."""


def train(
    cohort: Cohort,
    config: Config,
    tick: Tick = silent,
    prepared: Prepared | None = None,
    budget: Budget = UNLIMITED,
) -> Trained:
    """Fit and judge a model; nothing is written.

    Args:
        cohort: patients to train on.
        config: of the run.
        tick: told how far the work is.
        prepared: the cohort's folds, where they are at hand already.
        budget: within which each part does what it can, at least once.
    """
    if prepared is None:
        prepared = prepare(cohort, config, tick, budget.share(FOLDS_TIME))
    fitted = fit(prepared, config, tick, budget.share(NET_TIME))
    evaluation = evaluate(fitted, config, tick, budget)
    found = evidence(fitted, config)
    responses = respond(fitted.prepared.cohort, config)
    bundle = make_bundle(fitted, evaluation, found, responses, config, budget.cuts)
    return Trained(bundle, evaluation, found, responses, fitted)


def respond(cohort: Cohort, config: Config) -> dict[str, Response]:
    """Fit and judge a model of each binary endpoint that has labels enough."""
    blind, found = cohort.prognostic(), {}
    for name, endpoint in cohort.study.endpoints.binary.items():
        label = cohort.binary[name]
        if why_no_model(label) is not None:
            continue
        given = (blind.study, blind.values, blind.centre, label, endpoint.features, config.seed)
        probability = out_of_fold(*given)
        judged = judge_response(
            label,
            probability,
            local_rate=endpoint.local_rate,
            bootstraps=config.evaluation.bootstraps,
            seed=config.seed,
        )
        found[name] = Response(fit_response(*given), judged, label, probability)
    return found


def make_bundle(
    fitted: Fitted,
    evaluation: Evaluation,
    found: Evidence | None,
    responses: Mapping[str, Response],
    config: Config,
    cuts: Sequence[str] = (),
) -> Bundle:
    """Put a fit, its figures and where it came from into a bundle."""
    cohort = fitted.prepared.cohort
    settings = json.loads(json.dumps(flat(config)))
    return Bundle(
        # The table's place on the training machine is of no use elsewhere.
        study=cohort.study.model_copy(
            update={"source": cohort.study.source.model_copy(update={"files": ("cohort",)})}
        ),
        endpoint=cohort.endpoint,
        ensemble=fitted.ensemble,
        effect=None if fitted.effect is None else fitted.effect.effect,
        no_effect=fitted.no_effect,
        distrust="" if found is None else found.distrust,
        responses={name: each.model for name, each in responses.items()},
        risk_centre=float(np.mean(log_risk(fitted.cumulative))),
        config=settings,
        metrics=evaluation.to_json()
        | ({} if found is None else {"treatment": found.to_json()})
        | {"responses": {name: each.evaluation.to_json() for name, each in responses.items()}},
        provenance=provenance(cohort, settings, cuts, fitted.cumulative.tobytes()),
    )


def provenance(
    cohort: Cohort, settings: Mapping[str, Any], cuts: Sequence[str] = (), cumulative: bytes = b""
) -> dict[str, Any]:
    """Say what a fit was made from.

    ``fit_id`` names the fit by all that decides it, so the same run made twice has the same one;
    MLflow's run carries it as a tag. Where a deadline cut it short the clock decided too, and the
    out-of-fold predictions are part of the name.
    """
    made_from = {
        "cohort_fingerprint": cohort.fingerprint(),
        "patients": len(cohort),
        "events": int(cohort.event.sum()),
        "left_out": cohort.left_out,
        "synthetic": cohort.study.synthetic,
        "git_commit": git_commit(),
        "versions": {name: version(name) for name in VERSIONS},
    }
    decided = json.dumps([made_from, dict(settings)], sort_keys=True).encode()
    if cuts:
        made_from["cut_short"] = list(cuts)
        decided += cumulative
    return {"fit_id": hashlib.sha256(decided).hexdigest()[:16], **made_from}


def git_commit() -> str | None:
    """Return the commit of this source tree, or None where it is not one."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def default_out(store: Store, trained: Trained) -> Path:
    """Return where a bundle goes that no one gave a place."""
    fit_id = trained.bundle.provenance["fit_id"]
    return store.bundles / f"{trained.bundle.study.name}-{fit_id}"
