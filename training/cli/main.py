"""The command ``accomplice``: its verbs, exit codes, and the look of an error."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import typer

from accomplice.data.errors import InputError
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
from accomplice.training.cli.arguments import add, group
from accomplice.training.processes import term_interrupts

INTRODUCTION = """\
Train, tune, track and serve multimodal survival models. Research use only.

A cohort is described by a study file; a fitted model is a bundle; runs are kept in mlruns/.

  accomplice data init cohort.csv --time os_months --event os_event --out study.yaml
  accomplice train study.yaml --out model
  accomplice predict model patients.csv --times 12,36,60 --out predictions.csv
  accomplice serve model
"""
#: Set before anything heavy is imported, unless the user has. One thread a process: these networks
#: are small, and threads that wait for each other on a busy machine cost minutes where a second
#: thread on an idle one saves a third. For large cohorts: OMP_NUM_THREADS=8 accomplice train …
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "BENTOML_DO_NOT_TRACK": "True",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
#: Set by the script of a shell that asks for completions.
COMPLETE = "_ACCOMPLICE_COMPLETE"


#: Each verb with its help, in the order of the command's own help.
VERBS: tuple[tuple[Callable[..., int | None], str], ...] = (
    (train.train, train.TRAIN),
    (train.tune, train.TUNE),
    (predict.predict, predict.PREDICT),
    (evaluate.evaluate, evaluate.EVALUATE),
    (report.report, report.REPORT),
    (power.power, power.POWER),
    (marker.marker, marker.MARKER),
    (compare.compare, compare.COMPARE),
    (promote.promote, promote.PROMOTE),
    (deploy.package, deploy.PACKAGE),
    (deploy.serve, deploy.SERVE),
    (deploy.token, deploy.TOKEN),
    (deploy.ui, deploy.UI),
    (demo.demo, demo.DEMO),
)
DATA_VERBS: tuple[tuple[Callable[..., int | None], str], ...] = (
    (data.init, data.INIT),
    (data.check, data.CHECK),
    (data.synth, data.SYNTH),
)


def command() -> Any:
    """Return the whole command."""
    top, studies = group("accomplice", INTRODUCTION, completion=True), group("data", data.DATA)
    for app, verbs in ((top, VERBS), (studies, DATA_VERBS)):
        for verb, text in verbs:
            add(app, verb, text)
    top.add_typer(studies)
    return typer.main.get_command(top)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code.

    0: done; 2: the input is wrong, said in one line on stderr; 3: the gate refuses to promote;
    1: a failure of ours; 130: Ctrl-C.

    Raises:
        SystemExit: after help (0), or where the command line cannot be read (2).
    """
    began = time.monotonic()
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    entry = command()
    if COMPLETE in os.environ:
        entry.main(prog_name="accomplice")
    try:
        given = list(sys.argv[1:] if argv is None else argv)
        # SIGTERM, as of a scheduler whose time is up, closes runs as Ctrl-C does.
        with term_interrupts(), entry.make_context("accomplice", given, obj=began) as context:
            code: int | None = entry.invoke(context)
            return code or 0
    except typer.Exit as done:
        raise SystemExit(done.exit_code) from None
    except InputError as error:
        # A column's name may hold a line break.
        print(f"accomplice: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("accomplice: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output went away, as `head` does: not an error.
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        return 0


if __name__ == "__main__":
    sys.exit(main())
