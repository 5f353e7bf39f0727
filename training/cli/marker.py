"""The verb ``marker``: the report on a claim about one marker."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from accomplice.data.escaping import say
from accomplice.data.files import check_beside
from accomplice.training.cli.arguments import (
    Adjustment,
    Endpoint,
    Study,
    adjustment,
    names,
    option,
    ratio,
)
from accomplice.training.cli.preparation import (
    ListSettings,
    Set,
    SetSeed,
    ctrl_c_heeded,
    inputs_of,
    settings,
)
from accomplice.training.cli.terminal import say_answers, say_cohort, say_replaced, shown


def marker(
    study: Study,
    *,
    named: Annotated[str, option("NAME", "a feature of the study", name="--marker")],
    stroma: Annotated[
        Sequence[str] | None,
        option(
            "A,B", "features whose mean is adjusted for; the modality 'stroma' if absent", names
        ),
    ] = None,
    adjust: Annotated[
        list[Adjustment] | None,
        option("NAME=A,B", "features to adjust for too, under a name; may be repeated", adjustment),
    ] = None,
    plausible: Annotated[
        float,
        option(
            "R",
            "ratio of the treatment's hazard ratios, high over low marker, taken as true for the "
            "power (default: 1.55)",
            ratio,
        ),
    ] = 1.55,
    out: Annotated[Path | None, option("FILE", "ends in .html; marker-NAME.html if absent")] = None,
    endpoint: Endpoint = None,
    given: Set = None,
    seed: SetSeed = None,
    _settings: ListSettings = False,
) -> None:
    """Judge one marker in a cohort, as a page.

    Answers a reviewer's questions: is it associated with survival, does that depend on
    the cut-point, is it independent of stage, clinic and stroma, is its effect the same over time,
    do the centres agree, does it change the treatment's effect, what else does it measure, and do
    predictions gain by it. Writes one page that opens without a network, with one verdict a
    question, and the numbers as JSON beside it; both are logged to mlruns/.

      accomplice marker study.yaml --marker IL1R1
      accomplice marker study.yaml --marker IL1R1 --stroma FAP,PDGFRB --out il1r1.html
      accomplice marker study.yaml --marker CD163 --adjust msi=MSI_SCORE_MANTIS --endpoint dfs

    Adjusted for: each of the study file's baselines, the stroma, the features that its interactions
    name, what --adjust adds, and all of these together. Patients without the marker are left out
    and counted.
    """
    with ctrl_c_heeded():
        from accomplice.training.tracking.store import check_stores

        check_stores()
        from accomplice.data.loading import load_cohort
        from accomplice.training.config import Config, Folds, configure
        from accomplice.training.marker.claim import MarkerRequest, check_request
        from accomplice.training.tracking.marker_claim import report_marker
        from accomplice.training.tracking.store import open_store

        # One division into folds would leave too much of the added value to chance.
        config = configure(settings(given, seed, endpoint), Config(folds=Folds(repeats=3)))
        safe = re.sub(r"[^A-Za-z0-9._-]+", "_", named)
        out = out or Path(f"marker-{safe}.html")
        replaced = check_beside(out, (".html",), inputs_of(study))
        cohort = load_cohort(study, config.endpoint)
        request = MarkerRequest(
            named, None if stroma is None else tuple(stroma), dict(adjust or ()), plausible
        )
        check_request(cohort.study, request)
    say_cohort(cohort)
    with shown("marker") as tick:
        page, run_id = report_marker(open_store(), cohort, request, config, out, tick)
    say_replaced(replaced)
    say_answers(page, out)
    say(f"run      {run_id}")
