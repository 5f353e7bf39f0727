"""The run of an external validation: its page and figures, and the updated model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from accomplice.data.files import written_beside
from accomplice.training.config import Config
from accomplice.training.models.manifest import digest_of
from accomplice.training.models.provenance import git_commit
from accomplice.training.reports.page import note, render
from accomplice.training.tracking import runs
from accomplice.training.tracking.store import Store
from accomplice.training.validation.page import data, make_page
from accomplice.training.validation.updated_bundle import default_name, updated_bundle
from accomplice.training.validation.validation import Validation, headline


@dataclass(frozen=True)
class Logged:
    """Where an external validation is kept."""

    run_id: str
    bundle: Path | None
    """Folder of the updated model, where it was updated."""


def log_validation(
    store: Store,
    found: Validation,
    config: Config,
    *,
    model: str,
    digest: str,
    out: Path,
    out_model: Path | None = None,
) -> Logged:
    """Write a validation's page, its figures as JSON, and the updated model, and log them as a run.

    Args:
        store: the tracking store.
        found: the validation; its model is saved where it was updated.
        config: of the validation.
        model: how the user named the model.
        digest: of its bundle.
        out: place of the page; the figures go beside it.
        out_model: place of the updated bundle; into the store if absent.
    """
    cohort, study = found.cohort, found.external.bundle.study.name
    asked = {
        "model": model,
        "endpoint": cohort.endpoint,
        "seed": config.seed,
        "bootstraps": config.evaluation.bootstraps,
        "recalibrate": found.repaired is not None,
    }
    tags = {"model_digest": digest, "model_study": study}
    named, place = f"evaluate on {cohort.study.name}", None
    with runs.run(store, cohort, "evaluate", named, experiment=study) as run_id:
        if found.repaired is not None:
            bundle = updated_bundle(found, digest, config, run_id)
            place = (out_model or store.bundles / default_name(bundle)).absolute()
            bundle.save(place)
            tags["updated_digest"] = digest_of(place)
        source = {
            "model": digest[:16],
            "cohort_fingerprint": cohort.fingerprint(),
            "git_commit": git_commit(),
            "run": run_id,
            "seed": config.seed,
        }
        page = make_page(found, source)
        html, figures = render(page), data(found, page, source)
        with written_beside(out, figures) as part:
            part.write_text(html, encoding="utf-8")
        files = {out.name: html, out.with_suffix(".json").name: figures}
        runs.log_report(
            run_id,
            cohort,
            asked,
            headline(found),
            note(page, page.about[0]),
            files,
            "external",
            tags,
        )
    return Logged(run_id, place)
