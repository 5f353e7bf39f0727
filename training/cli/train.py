"""What each verb of the command line does. Imports stay inside, so that ``--help`` is quick."""

from __future__ import annotations

import argparse
import math
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from accomplice.data.errors import InputError
from accomplice.data.files import write_text
from accomplice.training.budget import Budget
from accomplice.training.cli.terminal import relative, say_cohort, say_result, say_trials
from accomplice.training.reports.wording import SYNTHETIC

if TYPE_CHECKING:
    import optuna

    from accomplice.data.cohort import Cohort, Patients
    from accomplice.serving.deployment.server import Access
    from accomplice.training.config import Config
    from accomplice.training.run import Trained
    from accomplice.training.tracking.registry import Logged
    from accomplice.training.tracking.store import Store

    P = TypeVar("P", bound=Patients)

#: What logging a run takes, in parts of what importing and reading took.
CLOSING = 0.5


def data_init(args: argparse.Namespace) -> None:
    """Draft a study file."""
    from accomplice.data.drafting.draft import draft_study, render_study

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

    from accomplice.data.check import check_study, render

    render(check_study(Path(args.study)), Console())
    print(f"next: accomplice train {args.study}")


def data_synth(args: argparse.Namespace) -> None:
    """Write the synthetic cohort and its study file."""
    from accomplice.data.synthetic_study import synthesise

    study = synthesise(Path(args.out), args.n, args.variant, args.seed, truth=args.truth)
    print(f"wrote {study} ({SYNTHETIC})")
    print(f"next: accomplice train {study}")


def train(args: argparse.Namespace) -> None:
    """Fit, judge and log a model of each endpoint."""
    from accomplice.data.cohort import load_endpoints

    patients, config, out, store, budget = begin(args, load_endpoints)
    from accomplice.training.cli.progress_bar import shown
    from accomplice.training.tracking.experiment import fit_and_keep

    with shown("train") as tick:
        done = fit_and_keep(
            store,
            patients,
            config,
            out,
            tick,
            stage="train",
            name=args.name,
            budget=budget,
            study_file=Path(args.study),
        )
    say_result(*done)


def tune(args: argparse.Namespace) -> None:
    """Search for better settings, then fit, judge and log the final model."""
    from accomplice.data.cohort import load_cohort

    cohort, config, out, store, budget = begin(args, load_cohort)
    asked = (config, args.trials, args.storage, args.name, out, budget, Path(args.study))
    say_result(*shown_search(store, cohort, *asked))


def shown_search(store: Store, cohort: Cohort, *asked: Any) -> tuple[Trained, Path, Logged]:
    """Search as ``tracking.experiment.search`` does, and show how far it is."""
    from accomplice.training.cli.progress_bar import shown
    from accomplice.training.tracking.experiment import search
    from accomplice.training.tune import judged

    def resumed(study: optuna.Study) -> None:
        print(f"study    {study.study_name}: going on after {judged(study)} trials")

    with shown("tune") as tick:
        callbacks: Any = {"tick": tick, "resumed": resumed, "tuned": say_trials}
        try:
            return search(store, cohort, *asked, **callbacks)
        except KeyboardInterrupt:
            print("\nstopped; the same command goes on where this one left off", file=sys.stderr)
            raise


def begin(
    args: argparse.Namespace, load: Callable[..., P]
) -> tuple[P, Config, Path | None, Store, Budget]:
    """Check all that ``train`` and ``tune`` are given, then open the store.

    Args:
        args: of the command line.
        load: reads a study file and its patients, such as ``cohort.load_cohort``.
    """
    budget = Budget(args.max_seconds or math.inf, began=args.began)
    with ctrl_c_heeded():
        patients, config, out = check(args, load)
        import accomplice.training.learners.network.lightning
        import accomplice.training.run
        import accomplice.training.tracking.experiment  # noqa: F401
        from accomplice.training.tracking.store import open_store

        storage = getattr(args, "storage", None)
        if storage is not None:
            from accomplice.training.tune import check_storage

            check_storage(storage)
    store = open_store()
    if "storage" in args and storage is None:
        from accomplice.training.tune import check_storage

        check_storage(store.optuna)
    say_cohort(patients)
    if budget.limited:
        budget = budget.share(keep=CLOSING * budget.spent)
    return patients, config, out, store, budget


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


def check(args: argparse.Namespace, load: Callable[..., P]) -> tuple[P, Config, Path | None]:
    """Check what a command is given before anything is written; see :func:`begin`."""
    from accomplice.data.cohort import Cohort
    from accomplice.training.config import configure
    from accomplice.training.fitting.folds import check_folds
    from accomplice.training.models.manifest import check_place
    from accomplice.training.models.response import check_labels

    config = configure(settings(args))
    out = None if args.out is None else Path(args.out)
    if out is not None:
        check_place(out)
    patients = load(Path(args.study), config.endpoint, further=config.further_endpoints)
    if isinstance(patients, Cohort):
        check_folds(patients, config)
    else:
        check_labels(patients)
    return patients, config, out


def package(args: argparse.Namespace) -> None:
    """Pack a model as a bento."""
    from accomplice.serving.deployment.container import commands
    from accomplice.serving.deployment.origin import written
    from accomplice.serving.deployment.packaging import package as pack
    from accomplice.training.models.manifest import digest_of
    from accomplice.training.tracking.store import find_bundle, find_source, open_store

    source = find_source(args.model)
    bundle = find_bundle(source.model)
    digest_of(bundle)
    store = open_store().bentos
    packed = pack(bundle, store, args.name, written(source.run_id, source.version))
    print(f"bento    {packed.tag}")
    print(f"folder   {relative(packed.path)}")
    if packed.archive is not None:
        print(f"archive  {relative(packed.archive)}")
    print(f"image    {relative(packed.context)}, to be built where there is a container engine:")
    for command in commands(packed.tag, str(relative(packed.context))):
        print(f"         {command}")
    print(f"next     accomplice serve {relative(packed.path)}")
    home = f"BENTOML_HOME={relative(store)} bentoml"
    print(f"all      {home} list; {home} delete TAG removes one")


def serve(args: argparse.Namespace) -> int:
    """Serve a model or a bento on this machine until Ctrl-C."""
    from accomplice.serving.deployment.server import Access, ServerError
    from accomplice.serving.deployment.server import serve as run_server
    from accomplice.training.tracking.store import find_bundle, is_stored

    tokens = None if args.tokens is None else Path(args.tokens)
    access = Access(args.host, tokens, args.concurrency)
    access.environment()
    try:
        if args.reload_champion or is_stored(args.model):
            serve_stored(args, access)
        else:
            run_server(find_bundle(args.model), args.port, access)
    except ServerError as error:
        print(f"accomplice: {error}", file=sys.stderr)
        return 1
    return 0


def serve_stored(args: argparse.Namespace, access: Access) -> None:
    """Serve a model of the store, or whichever version its alias names."""
    from tempfile import TemporaryDirectory

    from accomplice.serving.deployment.server import Supply
    from accomplice.serving.deployment.server import serve as run_server
    from accomplice.training.cli.served_model import Champion, Registered
    from accomplice.training.processes import term_interrupts

    # SIGTERM by itself would leave the folder behind.
    with term_interrupts(), TemporaryDirectory(prefix="accomplice-model-") as folder:
        place = Path(folder)
        supply: Supply = (
            Champion(args.model, place, args.every)
            if args.reload_champion
            else Registered(args.model, place)
        )
        run_server(None, args.port, access, supply)


def token(args: argparse.Namespace) -> None:
    """Make a token for a program that asks the endpoint."""
    from accomplice.serving.api.tokens import new_token

    made, line = new_token(args.name)
    path = Path(args.tokens)
    try:
        before = path.read_text(encoding="utf-8") if path.is_file() else ""
        with path.open("a", encoding="utf-8") as file:
            # A line that somebody left without its end must not swallow this one.
            file.write("\n" if before and not before.endswith("\n") else "")
            file.write(f"{line}\n")
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None
    print(made)
    print(
        f"accomplice: shown this once; {args.tokens} keeps its hash, and serve --tokens reads it",
        file=sys.stderr,
    )


def ui(args: argparse.Namespace) -> None:
    """Open MLflow's pages on the store, or Optuna's on its studies, until Ctrl-C."""
    from accomplice.training.tracking.store import open_store
    from accomplice.training.tracking.ui import run_dashboard, run_ui

    store = open_store()
    if args.optuna or args.storage is not None:
        run_dashboard(args.storage or store.optuna, args.port)
    else:
        run_ui(store, args.port)


def settings(args: argparse.Namespace) -> list[str]:
    """Return ``--set``, with the options that are short for one."""
    short = {"seed": args.seed, "endpoint": args.endpoint}
    return [*args.set, *(f"{k}={v}" for k, v in short.items() if v is not None)]
