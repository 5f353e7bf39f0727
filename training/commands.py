"""What each verb of the command line does. Imports stay inside, so that ``--help`` is quick."""

from __future__ import annotations

import argparse
import json
import math
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import InputError
from training.budget import UNLIMITED, Budget

if TYPE_CHECKING:
    import pandas as pd

    from data.cohort import Cohort
    from training.config import Config
    from training.evaluation import Evaluation
    from training.progress import Tick
    from training.registry import Logged
    from training.run import Trained
    from training.store import Store
    from training.tune import Tuned

#: What logging a run takes, in parts of what importing and reading took.
CLOSING = 0.5

SYNTHETIC = "SYNTHETIC patients: nothing here says anything about real ones"


def data_init(args: argparse.Namespace) -> None:
    """Draft a study file."""
    from data.draft import draft_study, render_study

    draft = draft_study(
        Path(args.source),
        time=args.time,
        event=args.event,
        id=args.id,
        centre=args.centre,
        unit=args.unit,
        treatment=args.treatment,
        response=args.response,
        name=args.name,
        drop_without_follow_up=args.drop_without_follow_up,
        out=Path(args.out),
    )
    write_text(Path(args.out), render_study(draft))
    for line in draft.notes:
        print(f"note: {line}")
    print(f"wrote {args.out}; look it over, then: accomplice data check {args.out}")


def data_check(args: argparse.Namespace) -> None:
    """Report on a cohort."""
    from rich.console import Console

    from data.check import check_study, render

    render(check_study(Path(args.study)), Console())
    print(f"next: accomplice train {args.study}")


def data_synth(args: argparse.Namespace) -> None:
    """Write the synthetic cohort and its study file."""
    study = synthesise(Path(args.out), args.n, args.variant, args.seed, truth=args.truth)
    print(f"wrote {study} ({SYNTHETIC})")
    print(f"next: accomplice train {study}")


def synthesise(folder: Path, n: int, variant: str, seed: int, *, truth: bool = False) -> Path:
    """Write a synthetic cohort into a folder; return its study file."""
    from importlib.resources import files

    from data.synthetic import draw

    drawn = draw(n, variant=variant, seed=seed)
    folder.mkdir(parents=True, exist_ok=True)
    drawn.frame.to_csv(folder / "cohort.csv", index=False)
    if truth:
        drawn.truth.to_csv(folder / "truth.csv", index=False)
    template = files("data.panels").joinpath("synthetic_gastric.yaml").read_text(encoding="utf-8")
    write_text(folder / "study.yaml", template)
    return folder / "study.yaml"


def train(args: argparse.Namespace) -> None:
    """Fit, judge and log one model."""
    cohort, config, out, store, budget = begin(args)
    from training.progress import shown

    with shown("train") as tick:
        done = fit_and_keep(
            store, cohort, config, out, tick, stage="train", name=args.name, budget=budget
        )
    say_result(*done)


def tune(args: argparse.Namespace) -> None:
    """Search for better settings, then fit, judge and log the final model."""
    cohort, config, out, store, budget = begin(args)
    say_result(*search(store, cohort, config, args.trials, args.storage, args.name, out, budget))


def begin(args: argparse.Namespace) -> tuple[Cohort, Config, Path | None, Store, Budget]:
    """Check all that ``train`` and ``tune`` are given, then open the store."""
    budget = Budget(args.max_seconds or math.inf, began=args.began)
    with ctrl_c_heeded():
        cohort, config, out = check(args)
        import training.module
        import training.run
        import training.tracking  # noqa: F401
        from training.store import open_store

        if getattr(args, "storage", None) is not None:
            from training.tune import check_storage

            check_storage(args.storage)
    say_cohort(cohort)
    store = open_store()
    if budget.limited:
        budget = budget.share(keep=CLOSING * budget.spent)
    return cohort, config, out, store, budget


@contextmanager
def ctrl_c_heeded() -> Iterator[None]:
    """Stop at the end for a Ctrl-C that a library swallowed while it was imported.

    Some guard an import by a bare ``except``, as mpmath does, which torch imports.
    """
    heard = False

    def stop(*_: Any) -> None:
        nonlocal heard
        heard = True
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if heard:
        raise KeyboardInterrupt


def check(args: argparse.Namespace) -> tuple[Cohort, Config, Path | None]:
    """Check what a command is given before anything is written."""
    from data.cohort import load_cohort
    from training.config import configure
    from training.fit import check_folds
    from training.manifest import check_place

    config = configure(settings(args))
    out = None if args.out is None else Path(args.out)
    if out is not None:
        check_place(out)
    cohort = load_cohort(Path(args.study), config.endpoint)
    check_folds(cohort, config)
    return cohort, config, out


def search(
    store: Store,
    cohort: Cohort,
    config: Config,
    trials: int,
    storage: str | None,
    name: str | None,
    out: Path | None,
    budget: Budget = UNLIMITED,
) -> tuple[Trained, Path, Logged]:
    """Tune with nested runs, then train the final model on other folds than chose it."""
    import optuna

    from training import tracking
    from training.fit import prepare
    from training.progress import shown
    from training.tune import judged, open_study, study_name
    from training.tune import tune as run_trials

    with shown("tune") as tick:
        began = time.monotonic()
        prepared = prepare(cohort, config, tick)
        before = time.monotonic() - began
        study = open_study(name or study_name(cohort, config), storage or store.optuna, config.seed)
        done = judged(study)
        if done:
            print(f"study    {study.study_name}: going on after {done} trials")
        parent = tracking.open_parent(store, cohort, config, study)

        def report(trial: optuna.trial.FrozenTrial, current: optuna.Study) -> None:
            tracking.log_trial(store, cohort, config, parent, trial)
            tick("trials", min(judged(current), trials), trials)

        tick("trials", min(done, trials), trials)
        try:
            tuned = run_trials(prepared, config, study, trials, report, budget, before)
            say_trials(tuned)
            # The best of many trials looks better on its own folds than it is: judge it on others.
            final = tuned.config.model_copy(update={"seed": config.seed + 1})
            made = fit_and_keep(
                store, cohort, final, out, tick, stage="final", parent=parent, budget=budget
            )
        except KeyboardInterrupt:
            tracking.close_parent(parent, "KILLED")
            print("\nstopped; the same command goes on where this one left off", file=sys.stderr)
            raise
        except BaseException:
            tracking.close_parent(parent, "FAILED")
            raise
        tracking.finish_parent(parent, study)
    return made


def fit_and_keep(
    store: Store,
    cohort: Cohort,
    config: Config,
    out: Path | None,
    tick: Tick,
    *,
    stage: str,
    name: str | None = None,
    parent: str | None = None,
    budget: Budget = UNLIMITED,
) -> tuple[Trained, Path, Logged]:
    """Fit and judge a model inside a run of its own, write its bundle, log it."""
    from training import tracking
    from training.run import default_out
    from training.run import train as fit_and_judge

    with tracking.run(store, cohort, stage, name or stage, parent) as run_id:
        trained = fit_and_judge(cohort, config, tick, budget=budget)
        path = (out or default_out(store, trained)).absolute()
        trained.bundle.save(path)
        logged = tracking.log_training(run_id, cohort, config, trained, path)
    return trained, path, logged


def predict(args: argparse.Namespace) -> None:
    """Predict for the rows of a table."""
    from data.cohort import read_patients
    from training.bundle import OK, Bundle
    from training.store import find_bundle

    bundle = Bundle.load(find_bundle(args.model))
    rates = dict(args.response_rate)
    table = bundle.predict(read_patients(Path(args.table), bundle.study), args.times, rates)
    if args.out is None:
        table.to_csv(sys.stdout, index=False)
    else:
        write_table(Path(args.out), table)
        flagged = int((table["flags"] != OK).sum())
        print(f"wrote {args.out}: {len(table)} patients, {flagged} with flags; research use only")
    if bundle.study.synthetic:
        print(f"accomplice: this model was trained on {SYNTHETIC}", file=sys.stderr)


def power(args: argparse.Namespace) -> None:
    """Simulate the power to see a treatment-by-marker interaction."""
    from rich.console import Console

    from training.power import curve, needed
    from training.power_report import LEGEND, assumptions, conclusion, record, table
    from training.power_setting import Setting, scenario_of, setting_of, sizes_of
    from training.progress import shown

    out = None if args.out is None else check_figure(Path(args.out))
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
        from training.power_plots import power_curve

        of = None if cohort is None else f"{cohort.study.name}, {args.marker}"
        synthetic = cohort is not None and cohort.study.synthetic
        found = record(scenario, points, enough, seed=args.seed, cohort=of, synthetic=synthetic)
        figure = power_curve(scenario, at, points, enough, of, synthetic=synthetic)
        with written_whole(out) as part, written_whole(out.with_suffix(".json")) as beside:
            figure.savefig(part, format=out.suffix[1:])
            beside.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
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
    from data.cohort import load_cohort

    return load_cohort(Path(args.study), args.endpoint)


def marker(args: argparse.Namespace) -> None:
    """Write the marker claim report."""
    with ctrl_c_heeded():
        from data.cohort import load_cohort
        from training.config import Config, Folds, configure
        from training.marker import MarkerRequest, check_request

        # One division into folds would leave too much of the added value to chance.
        config = configure(settings(args), Config(folds=Folds(repeats=3)))
        out = report_place(
            args.out or f"marker-{re.sub(r'[^A-Za-z0-9._-]+', '_', args.marker)}.html"
        )
        cohort = load_cohort(Path(args.study), config.endpoint)
        request = MarkerRequest(
            args.marker,
            args.stroma,
            dict(args.adjust),
            args.plausible,
        )
        check_request(cohort.study, request)
        from training import marker_report, tracking
        from training.marker import judge_marker
        from training.page import render
        from training.progress import shown
        from training.run import provenance
        from training.store import open_store
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
        with written_whole(out) as part, written_whole(out.with_suffix(".json")) as data_part:
            for place, text in zip((part, data_part), files.values(), strict=True):
                place.write_text(text, encoding="utf-8")
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


def report_place(text: str) -> Path:
    """Return where a report goes, before any work is done for it.

    Raises:
        InputError: it cannot go there.
    """
    path = Path(text)
    if path.suffix != ".html":
        raise InputError(f"--out {text}: name a file that ends in .html")
    for each in (path, path.with_suffix(".json")):
        check_file(each)
    return path


def package(args: argparse.Namespace) -> None:
    """Pack a model as a bento."""
    from serving.packaging import package as pack
    from training.manifest import digest_of
    from training.store import find_bundle, open_store

    bundle = find_bundle(args.model)
    digest_of(bundle)
    packed = pack(bundle, open_store().bentos, args.name)
    print(f"bento    {packed.tag}")
    print(f"folder   {relative(packed.path)}")
    if packed.archive is not None:
        print(f"archive  {relative(packed.archive)}")
    print(f"next     accomplice serve {relative(packed.path)}")


def serve(args: argparse.Namespace) -> None:
    """Serve a model or a bento on this machine until Ctrl-C."""
    from serving.server import serve as run_server
    from training.store import find_bundle

    path = Path(args.model)
    is_bento = (path / "bento.yaml").is_file()
    run_server(path if is_bento else find_bundle(args.model), args.port)


def ui(args: argparse.Namespace) -> None:
    """Open MLflow's pages on the store until Ctrl-C."""
    from training.store import open_store
    from training.ui import run_ui

    run_ui(open_store(), args.port)


def demo(args: argparse.Namespace) -> None:
    """Live the whole life of a model on the synthetic cohort."""
    from training.demo import run_demo

    run_demo(short=args.short)


def settings(args: argparse.Namespace) -> list[str]:
    """Return ``--set``, with the options that are short for one."""
    short = {"seed": args.seed, "endpoint": args.endpoint}
    return [*args.set, *(f"{k}={v}" for k, v in short.items() if v is not None)]


def say_cohort(cohort: Cohort) -> None:
    """Say who is trained on."""
    study = cohort.study
    left = f"; {cohort.left_out} without follow-up left out" if cohort.left_out else ""
    print(
        f"{study.name}: {len(cohort)} patients, {int(cohort.event.sum())} events "
        f"({cohort.endpoint}), {len(study.features)} features in "
        f"{len(study.blocks)} modalities{left}"
    )
    if study.synthetic:
        print(SYNTHETIC)


def say_result(trained: Trained, path: Path, logged: Logged) -> None:
    """Say how good the model is, where it is, and what to do next."""
    from training.reporting import on_responses

    evaluation = trained.evaluation
    print_scores(evaluation)
    cuts = trained.bundle.provenance.get("cut_short")
    if cuts:
        print(f"time ran out, which cut short: {'; '.join(cuts)}")
    for baseline in evaluation.gains:
        print(f"the model {evaluation.verdict(baseline)}")
    say_treatment(trained)
    for name, told in on_responses(trained).items():
        print(f"{name}: {told}")
    print(f"run      {logged.run_id}")
    print(f"bundle   {relative(path)}")
    champion = ", champion" if logged.champion else ""
    print(f"model    models:/{logged.model_name}/{logged.version}{champion}")
    print(f"next     accomplice predict {relative(path)} TABLE --times 12,36 --out predictions.csv")
    print("         accomplice ui")


def say_treatment(trained: Trained) -> None:
    """Say what the treatment seems to change, and whether to believe it."""
    from training.evidence import sentences

    study, found = trained.bundle.study, trained.evidence
    if study.treatment is None:
        return
    if found is None:
        print(f"{study.treatment.label}: no effect estimated: {trained.bundle.no_effect}")
        return
    said = sentences(found)
    for key in ("hr", "alarm", "ate", "heterogeneity"):
        print(said[key])


def say_trials(tuned: Tuned) -> None:
    """Say what the search found, against the defaults."""
    from training.tune import best_of, of_defaults

    first, best = of_defaults(tuned.study), best_of(tuned.study)
    given_up = f", {tuned.pruned} of them given up early" if tuned.pruned else ""
    line = f"{tuned.trials} trials{given_up}"
    if first is not None:
        line += f"; integrated Brier of the defaults {first.value:.4f}"
    if best is not None:
        line += f", of the best (trial {best.number}) {best.value:.4f}"
    print(line)


def print_scores(evaluation: Evaluation) -> None:
    """Print the models beside each other."""
    print(f"judged out of fold to {evaluation.horizon:.0f} months, 95 % intervals:")
    print(f"  {'':<14}{'Uno C (higher is better)':<28}integrated Brier (lower is better)")
    for name, scores in evaluation.scores.items():
        print(f"  {name:<14}{scores.uno_c!s:<28}{scores.ibs}")


def relative(path: Path) -> str:
    """Write a path as seen from here, where that is shorter."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    with written_whole(path) as part:
        part.write_text(text, encoding="utf-8")


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV or Parquet, whole or not at all."""
    with written_whole(path) as part:
        if path.suffix == ".parquet":
            table.to_parquet(part, index=False)
        else:
            table.to_csv(part, index=False)


def check_file(path: Path) -> None:
    """Refuse a place where no file can be written.

    Raises:
        InputError: the folder does not exist, or the path is one.
    """
    if not path.parent.is_dir():
        raise InputError(f"{path.parent}: no such folder: make it first")
    if path.is_dir():
        raise InputError(f"{path}: is a folder: name a file")


def check_figure(path: Path) -> Path:
    """Refuse, before long work, a place where no figure can be written with its numbers beside.

    Raises:
        InputError: not a kind of figure, or as :func:`check_file`.
    """
    if path.suffix not in (".png", ".svg", ".pdf"):
        raise InputError(f"--out {path}: name a figure, such as {path.stem or 'power'}.png")
    check_file(path)
    check_file(path.with_suffix(".json"))
    return path


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a place to write to that becomes ``path`` at the end, and goes away on failure.

    Raises:
        InputError: as :func:`check_file`.
    """
    check_file(path)
    part = path.with_name(f".{path.name}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
