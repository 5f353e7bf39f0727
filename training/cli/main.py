"""The command ``accomplice``: its verbs, exit codes and error lines."""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Sequence
from typing import Annotated, Any

import typer

import accomplice
from accomplice.data.errors import InputError
from accomplice.data.escaping import say
from accomplice.training.cli import (
    compare,
    data,
    demo,
    deploy,
    evaluate,
    marker,
    power,
    predict,
    promote,
    report,
    train,
)
from accomplice.training.cli.arguments import group
from accomplice.training.processes import term_interrupts

#: Help of the command.
INTRODUCTION = """\
Train, tune, track and serve multimodal survival models. Research use only.

A cohort is described by a study file; a fitted model is a bundle; runs are kept in mlruns/.

  accomplice data init cohort.csv --time os_months --event os_event --out study.yaml
  accomplice train study.yaml --out model
  accomplice predict model patients.csv --times 12,36,60 --out predictions.csv
  accomplice serve model
"""
#: Environment variables, set before heavy imports where the user has not set them. One thread a
#: process: the networks are small, so that a second thread saves a third of the time on an idle
#: machine, and costs minutes of waiting on a busy one. For large cohorts:
#: OMP_NUM_THREADS=8 accomplice train …
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "BENTOML_DO_NOT_TRACK": "True",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
#: Libraries that store runs and trials; their errors are printed as one line, without a traceback.
STORES = ("mlflow", "optuna", "sqlalchemy")
#: Environment variable that a shell's completion script sets.
COMPLETE = "_ACCOMPLICE_COMPLETE"
#: Functions of the verbs, in the order of the help.
VERBS = (
    *(train.train, train.tune, predict.predict, evaluate.evaluate, report.report),
    *(power.power, marker.marker, compare.compare, promote.promote),
    *(deploy.package, deploy.serve, deploy.token, deploy.ui, demo.demo),
)


def say_version(asked: bool) -> None:
    """Print the version of the package and exit, if asked to.

    Raises:
        typer.Exit: ``asked`` is set.
    """
    if asked:
        say(f"accomplice {accomplice.__version__}")
        raise typer.Exit


def shared(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=say_version, help="print the version and exit"
        ),
    ] = False,
) -> None:
    """Take the options of the command itself, which act before this is called."""


def command() -> Any:
    """Return the command with all its verbs."""
    top = group("accomplice", INTRODUCTION, VERBS, completion=True)
    top.callback()(shared)
    top.add_typer(group("data", data.DATA, (data.init, data.check, data.synth)))
    return typer.main.get_command(top)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: arguments; those of the process if absent.

    Returns:
        The exit code. 0: done, or the reader of the output has closed it; 1: a failure of the
        system, of the store or of a server; 2: the input is wrong; 3: the gate refuses to promote;
        130: Ctrl-C or SIGTERM.

    Raises:
        SystemExit: after help, version or shell completion (0), or where the command line cannot be
            read (2).
        Exception: any other error; it is one of the program.
    """
    began = time.monotonic()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Characters that the console's encoding lacks are replaced.
        sys.stdout.reconfigure(errors="replace")
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    entry = command()
    if COMPLETE in os.environ:
        entry.main(prog_name="accomplice")
    try:
        given = list(sys.argv[1:] if argv is None else argv)
        # SIGTERM, as a scheduler sends it at its time limit, closes runs as Ctrl-C does.
        with term_interrupts(), entry.make_context("accomplice", given, obj=began) as context:
            code: int | None = entry.invoke(context)
            return code or 0
    except typer.Exit as done:
        raise SystemExit(done.exit_code) from None
    except InputError as error:
        # A column's name may hold a line break.
        say(f"accomplice: {' '.join(str(error).split())}", error=True)
        return 2
    except KeyboardInterrupt:
        say("accomplice: stopped", error=True)
        return 130
    except BrokenPipeError:
        # The reader of the output has closed it, as `head` does: not an error.
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        return 0
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        say(f"accomplice: {place}{error.strerror or error}", error=True)
        return 1
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in STORES:
            raise
        line = str(error).partition("\n")[0]
        say(f"accomplice: the store failed: {line} ({type(error).__name__})", error=True)
        return 1


if __name__ == "__main__":
    sys.exit(main())
