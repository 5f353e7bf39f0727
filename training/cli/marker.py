"""The commands that ask something of a cohort without a model: ``marker`` and ``power``."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from accomplice.data.errors import InputError
from accomplice.data.files import check_beside, written_beside
from accomplice.training.cli.terminal import relative, say_cohort
from accomplice.training.cli.train import ctrl_c_heeded, settings

if TYPE_CHECKING:
    from accomplice.data.cohort import Cohort

#: Kinds of figure that ``power`` draws.
FIGURES = (".png", ".svg", ".pdf")


def marker(args: argparse.Namespace) -> None:
    """Write the marker claim report."""
    with ctrl_c_heeded():
        from accomplice.data.cohort import load_cohort
        from accomplice.training.config import Config, Folds, configure
        from accomplice.training.marker.claim import MarkerRequest, check_request

        # One division into folds would leave too much of the added value to chance.
        config = configure(settings(args), Config(folds=Folds(repeats=3)))
        named = re.sub(r"[^A-Za-z0-9._-]+", "_", args.marker)
        out = check_beside(Path(args.out or f"marker-{named}.html"), (".html",))
        cohort = load_cohort(Path(args.study), config.endpoint)
        request = MarkerRequest(
            args.marker,
            args.stroma,
            dict(args.adjust),
            args.plausible,
        )
        check_request(cohort.study, request)
        from accomplice.training.cli.progress_bar import shown
        from accomplice.training.marker import report as marker_report
        from accomplice.training.marker.claim import judge_marker
        from accomplice.training.models.provenance import provenance
        from accomplice.training.reports.page import render
        from accomplice.training.tracking import runs as tracking
        from accomplice.training.tracking.store import open_store
    say_cohort(cohort)
    store = open_store()
    asked = {"marker": args.marker, "seed": config.seed, "endpoint": cohort.endpoint}
    with tracking.run(store, cohort, "marker", f"marker {args.marker}") as run_id:
        with shown("marker") as tick:
            claim = judge_marker(cohort, request, config, tick)
        made = provenance(cohort, asked)
        source = {k: made[k] for k in ("cohort_fingerprint", "git_commit")}
        source |= {"run": run_id, "seed": config.seed}
        page = marker_report.make_page(claim, source)
        files = {out.name: render(page)}
        files[out.with_suffix(".json").name] = marker_report.to_json(claim, page, source)
        with written_beside(out, files[out.with_suffix(".json").name]) as part:
            part.write_text(files[out.name], encoding="utf-8")
        tracking.log_report(
            run_id,
            cohort,
            asked,
            marker_report.headline(claim),
            marker_report.note(page),
            files,
        )
    for section in page.sections:
        print(f"{section.heading}\n  {section.verdict.label}  {section.verdict.text}")
    print(f"report   {relative(out)}")
    print(f"data     {relative(out.with_suffix('.json'))}")
    print(f"run      {run_id}")


def power(args: argparse.Namespace) -> None:
    """Simulate the power to see a treatment-by-marker interaction."""
    from rich.console import Console

    from accomplice.training.cli.progress_bar import shown
    from accomplice.training.power.report import LEGEND, assumptions, conclusion, record, table
    from accomplice.training.power.setting import Setting, scenario_of, setting_of, sizes_of
    from accomplice.training.power.simulation import curve, needed

    out = None if args.out is None else check_beside(Path(args.out), FIGURES)
    cohort = power_cohort(args)
    setting = Setting() if cohort is None else setting_of(cohort, args.marker)
    setting = setting.changed(args.n, args.events, args.treated, args.marker_known)
    scenario = scenario_of(
        setting,
        hr_low=args.hr_low,
        hr_high=args.hr_high,
        interaction=args.interaction,
        hr_marker=args.hr_marker,
        scale=args.scale,
        alpha=args.alpha,
    )
    sizes = sizes_of(scenario, setting.patients, args.sizes)
    if cohort is not None:
        say_cohort(cohort)
    said = assumptions(scenario, args.draws, None if cohort is None else args.marker)
    print("\n".join(said))
    with shown("power") as tick:
        points = curve(scenario, sizes, args.draws, args.seed, tick)
        enough = needed(scenario, args.draws, args.seed, tick)
    at = next(point for point in points if point.patients == setting.patients)
    Console().print(table(points))
    print(LEGEND)
    print("\n".join(conclusion(at, enough)))
    if out is not None:
        from accomplice.training.power.figures import power_curve

        of = None if cohort is None else f"{cohort.study.name}, {args.marker}"
        synthetic = cohort is not None and cohort.study.synthetic
        found = record(scenario, points, enough, seed=args.seed, cohort=of, synthetic=synthetic)
        figure = power_curve(scenario, at, points, enough, of, synthetic=synthetic)
        with written_beside(out, json.dumps(found, indent=2) + "\n") as part:
            figure.savefig(part, format=out.suffix[1:])
        print(f"wrote {out} and {out.with_suffix('.json')}")


def power_cohort(args: argparse.Namespace) -> Cohort | None:
    """Read the cohort that the patients of ``power`` are to be like, where one is named."""
    if args.study is None:
        for option in ("marker", "endpoint"):
            if getattr(args, option) is not None:
                raise InputError(f"--{option} is of a study: name the study file before it")
        return None
    if args.marker is None:
        raise InputError(
            "--marker: name the study's feature that may change the treatment's effect"
        )
    from accomplice.data.cohort import load_cohort

    return load_cohort(Path(args.study), args.endpoint)
