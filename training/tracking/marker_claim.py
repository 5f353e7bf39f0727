"""Report on a claim about a marker, in an MLflow run of its own."""

from __future__ import annotations

from pathlib import Path

from accomplice.data.cohort import Cohort
from accomplice.training.config import Config
from accomplice.training.marker.claim import MarkerRequest, judge_marker
from accomplice.training.marker.report import headline, make_page, to_json
from accomplice.training.models.provenance import provenance
from accomplice.training.progress import Tick, silent
from accomplice.training.reports.page import Page, note
from accomplice.training.tracking import runs
from accomplice.training.tracking.store import Store


def report_marker(
    store: Store,
    cohort: Cohort,
    request: MarkerRequest,
    config: Config,
    out: Path,
    tick: Tick = silent,
) -> tuple[Page, str]:
    """Judge a marker inside a run of its own; write the page and its numbers, and log both.

    Args:
        store: the tracking store.
        cohort: the patients.
        request: the marker and its adjustments, already checked.
        config: settings of the run.
        out: path of the page; its numbers go to a .json beside it.
        tick: progress callback.

    Returns:
        The page, and the run's id.

    Raises:
        InputError: as :func:`claim.judge_marker`.
    """
    asked = {"marker": request.marker, "seed": config.seed, "endpoint": cohort.endpoint}
    with runs.run(store, cohort, "marker", f"marker {request.marker}") as run_id:
        claim = judge_marker(cohort, request, config, tick)
        made = provenance(cohort, asked)
        source = {key: made[key] for key in ("cohort_fingerprint", "git_commit")}
        source |= {"run": run_id, "seed": config.seed}
        page = make_page(claim, source)
        runs.log_report(
            *(run_id, cohort, page, to_json(claim, page, source), out),
            parameters=asked,
            metrics=headline(claim),
            words=note(page, page.lead),
        )
    return page, run_id
