"""The run of an external validation, with its page, its numbers and the updated model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from accomplice.training.config import Config
from accomplice.training.models.manifest import digest_of
from accomplice.training.models.provenance import git_commit
from accomplice.training.reports.page import note
from accomplice.training.tracking import runs
from accomplice.training.tracking.store import Store
from accomplice.training.validation.page import data, make_page
from accomplice.training.validation.updated_bundle import default_name, updated_bundle
from accomplice.training.validation.validation import Validation, headline


@dataclass(frozen=True)
class LoggedValidation:
    """The run and the updated model of an external validation."""

    run_id: str
    bundle: Path | None
    """Folder of the updated model; None if none was made."""


def log_validation(
    store: Store,
    validation: Validation,
    config: Config,
    *,
    model: str,
    digest: str,
    out: Path,
    out_model: Path | None = None,
) -> LoggedValidation:
    """Write a validation's page, its numbers as JSON and any updated model, and log a run.

    Args:
        store: the tracking store.
        validation: the validation; its updated model, if it has one, is saved as a bundle.
        config: settings of the validation.
        model: name of the model as the user gave it.
        digest: SHA-256 that identifies the content of the model's bundle.
        out: path of the page; the numbers go to a .json beside it.
        out_model: folder for the updated bundle, already checked; by default in the store. An
            earlier bundle there is replaced.
    """
    cohort, study = validation.cohort, validation.external.bundle.study.name
    asked = {
        "model": model,
        "endpoint": cohort.endpoint,
        "seed": config.seed,
        "bootstraps": config.evaluation.bootstraps,
        "recalibrate": validation.update is not None,
    }
    tags = {"model_digest": digest, "model_study": study}
    title, folder = f"evaluate on {cohort.study.name}", None
    with runs.run(store, cohort, "evaluate", title, experiment=study) as run_id:
        if validation.update is not None:
            bundle = updated_bundle(validation, digest, config, run_id)
            folder = (out_model or store.bundles / default_name(bundle)).absolute()
            bundle.save(folder, force=True)
            tags["updated_digest"] = digest_of(folder)
        source = {
            "model": digest[:16],
            "cohort_fingerprint": cohort.fingerprint(),
            "git_commit": git_commit(),
            "run": run_id,
            "seed": config.seed,
        }
        page = make_page(validation, source)
        runs.log_report(
            *(run_id, cohort, page, data(validation, page, source), out),
            parameters=asked,
            metrics=headline(validation),
            words=note(page, page.about[0]),
            context="external",
            tags=tags,
        )
    return LoggedValidation(run_id, folder)
