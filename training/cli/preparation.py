"""Steps before the work of a verb: settings, checks of the input, patients, and the store."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypeVar

import typer

from accomplice.data.escaping import say
from accomplice.training.budget import Budget
from accomplice.training.cli.arguments import integer, option
from accomplice.training.cli.terminal import say_cohort

if TYPE_CHECKING:
    from accomplice.data.cohort import Patients
    from accomplice.training.config import Config
    from accomplice.training.second_process import SecondProcess
    from accomplice.training.tracking.store import Store

    P = TypeVar("P", bound=Patients)

#: Time kept for logging a run, as a multiple of the time of imports and reading.
CLOSING = 0.5


class Request(NamedTuple):
    """Input of ``train`` and ``tune``."""

    study: Path
    """Study file."""
    settings: list[str]
    """Changed settings, each as ``key=value``."""
    out: Path | None
    """Folder of the bundle; None for the default one."""
    force: bool
    """Whether an earlier bundle may be replaced."""
    max_seconds: float | None
    """Limit of the whole command, in seconds; None for none."""
    began: float
    """Start of the command, in seconds of the monotonic clock."""


def begin(
    request: Request,
    load: Callable[..., P],
    *,
    searches: bool = False,
    storage: str | None = None,
    second: SecondProcess | None = None,
) -> tuple[P, Config, Store, Budget]:
    """Check the input of ``train`` and ``tune``, read the patients, and open the store.

    Args:
        request: input from the command line.
        load: function that reads a study file and its patients, such as ``loading.load_cohort``.
        searches: whether the verb uses an Optuna study, whose database is then checked.
        storage: address of that database; the store's own if absent.
        second: second process of the command, which is ended if the work is none for it.

    Returns:
        Patients, configuration, store, and the budget that is left for the work.

    Raises:
        InputError: the input is wrong, and nothing has been written; or the store or Optuna's
            database cannot be opened.
        KeyboardInterrupt: Ctrl-C was pressed.
    """
    budget = Budget(request.max_seconds or math.inf, began=request.began)
    with ctrl_c_heeded():
        from accomplice.training.databases import check_reachable
        from accomplice.training.tracking.store import check_stores

        check_stores()
        if storage is not None:
            check_reachable(storage)
        from accomplice.data.cohort import Cohort
        from accomplice.training.config import configure
        from accomplice.training.fitting.folds import check_folds
        from accomplice.training.models.manifest import check_place
        from accomplice.training.models.response import check_labels

        config = configure(request.settings)
        if request.out is not None:
            check_place(request.out, inputs_of(request.study), force=request.force)
        patients = load(request.study, config.endpoint, further=config.further_endpoints)
        if isinstance(patients, Cohort):
            check_folds(patients, config)
        else:
            check_labels(patients)

        if second is not None and not _is_for_two(patients, config):
            second.end()
        if second is None or not second.runs:
            import accomplice.training.learners.network.lightning
        import accomplice.training.run
        import accomplice.training.tracking.runs  # noqa: F401
        from accomplice.training.search.study import check_storage
        from accomplice.training.tracking.store import open_store

    store = open_store()
    if searches:
        check_storage(storage or store.optuna)
    say_cohort(patients)
    if budget.limited:
        budget = budget.share(keep=CLOSING * budget.spent)
    return patients, config, store, budget


def _is_for_two(patients: Patients, config: Config) -> bool:
    """Whether two processes share the fit of patients; several devices have their own."""
    from accomplice.training.second_process import MOST_PATIENTS

    return len(patients) <= MOST_PATIENTS and config.trainer.devices == 1


def inputs_of(study: Path) -> list[Path]:
    """Return a study file and the tables and folders that it names; the file alone if invalid."""
    from accomplice.data.errors import InputError
    from accomplice.data.study import load_study

    named: tuple[str, ...] = ()
    with suppress(InputError):  # raised again when the study is read
        named = load_study(study).source.files
    return [study, *(study.parent / name for name in named)]


def list_settings(asked: bool) -> None:
    """Print every setting with its default and meaning, and exit, if ``--settings`` is given.

    Raises:
        typer.Exit: the settings were printed.
    """
    if not asked:
        return
    from accomplice.training.config import Config, flat, known_keys

    defaults = flat(Config())
    for key, meaning in known_keys().items():
        say(f"{key}={defaults[key]}", f"    {meaning}")
    raise typer.Exit


# Options of the verbs that fit models.
Set = Annotated[
    list[str] | None,
    option(
        "KEY=VALUE",
        "change a setting, for instance net.members=16; --settings lists them all",
        name="--set",
    ),
]
SetSeed = Annotated[int | None, option("SEED", "short for --set seed=N", integer, name="--seed")]
ListSettings = Annotated[
    bool,
    typer.Option(
        "--settings", is_eager=True, callback=list_settings, help="list all settings and exit"
    ),
]


def settings(
    given: Sequence[str] | None,
    seed: int | None = None,
    endpoint: str | None = None,
    objective: str | None = None,
) -> list[str]:
    """Return the settings of ``--set`` and of the options short for one, each as ``key=value``.

    Args:
        given: settings of ``--set``.
        seed: ``--seed``; None if not given.
        endpoint: ``--endpoint``; None if not given.
        objective: ``--objective``; None if not given.
    """
    short = {"seed": seed, "endpoint": endpoint, "search.objective": objective}
    return [*(given or ()), *(f"{k}={v}" for k, v in short.items() if v is not None)]


@contextmanager
def ctrl_c_heeded() -> Iterator[None]:
    """Raise ``KeyboardInterrupt`` at the end of the block if a library swallowed a Ctrl-C.

    Libraries that guard an import by a bare ``except`` do so, such as mpmath, which torch imports.
    Outside the main thread, where signals cannot be handled, nothing is done.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed in the block.
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
