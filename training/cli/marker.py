"""The verb ``marker``: the report on a claim about one marker."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from accomplice.data.files import check_beside
from accomplice.training.cli.arguments import (
    Adjustment,
    Endpoint,
    Names,
    Study,
    adjustment,
    names,
    ratio,
)
from accomplice.training.cli.session import ListSettings, Set, SetSeed, ctrl_c_heeded, settings
from accomplice.training.cli.terminal import relative, say_cohort, shown

MARKER = """\
judge what a cohort says of one marker, as a page

Asks of one marker what a reviewer would: is it associated with survival, does that hang on the
cut-point, is it independent of stage, clinic and stroma, is its effect the same over time, do the
centres agree, does it change what the treatment does, what else does it measure, and do predictions
gain by it. Writes one page that opens without a network, with one verdict a question, and the
numbers as JSON beside it; both are logged to mlruns/.

  accomplice marker study.yaml --marker IL1R1
  accomplice marker study.yaml --marker IL1R1 --stroma FAP,PDGFRB --out il1r1.html
  accomplice marker study.yaml --marker CD163 --adjust msi=MSI_SCORE_MANTIS --endpoint dfs

Adjusted for: each of the study file's baselines, the stroma, the features that its interactions
name, what --adjust adds, and all of these together. Patients without the marker are left out and
counted.
"""


def marker(
    study: Study,
    *,
    named: Annotated[str, typer.Option("--marker", metavar="NAME", help="a feature of the study")],
    stroma: Annotated[
        Names | None,
        typer.Option(
            parser=names,
            metavar="A,B",
            help="features whose mean is adjusted for; the modality 'stroma' if absent",
        ),
    ] = None,
    adjust: Annotated[
        list[Adjustment] | None,
        typer.Option(
            parser=adjustment,
            metavar="NAME=A,B",
            help="features to adjust for too, under a name; may be repeated",
        ),
    ] = None,
    plausible: Annotated[
        float,
        typer.Option(
            parser=ratio,
            metavar="R",
            help="ratio of the treatment's hazard ratios, high over low marker, taken as true for "
            "the power (default: 1.55)",
        ),
    ] = 1.55,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="ends in .html; marker-NAME.html if absent"),
    ] = None,
    endpoint: Endpoint = None,
    given: Set = None,
    seed: SetSeed = None,
    _settings: ListSettings = False,
) -> None:
    """Write the marker claim report."""
    with ctrl_c_heeded():
        from accomplice.data.loading import load_cohort
        from accomplice.training.config import Config, Folds, configure
        from accomplice.training.marker.claim import MarkerRequest, check_request
        from accomplice.training.tracking.marker_claim import report_marker
        from accomplice.training.tracking.store import open_store

        # One division into folds would leave too much of the added value to chance.
        config = configure(settings(given, seed, endpoint), Config(folds=Folds(repeats=3)))
        safe = re.sub(r"[^A-Za-z0-9._-]+", "_", named)
        out = check_beside(out or Path(f"marker-{safe}.html"), (".html",))
        cohort = load_cohort(study, config.endpoint)
        request = MarkerRequest(named, stroma, dict(adjust or ()), plausible)
        check_request(cohort.study, request)
    say_cohort(cohort)
    with shown("marker") as tick:
        page, run_id = report_marker(open_store(), cohort, request, config, out, tick)
    for section in page.sections:
        print(f"{section.heading}\n  {section.verdict.label}  {section.verdict.text}")
    print(f"report   {relative(out)}")
    print(f"data     {relative(out.with_suffix('.json'))}")
    print(f"run      {run_id}")
