"""The command line: parsing, help, and what an error looks like."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from data.errors import InputError, nearest

INTRODUCTION = """\
Train, tune, track and serve multimodal survival models. Research use only.

A cohort is described by a study file; a fitted model is a bundle; runs are kept in mlruns/.

  accomplice data init cohort.csv --time os_months --event os_event --out study.yaml
  accomplice train study.yaml --out model
  accomplice predict model patients.csv --times 12,36,60 --out predictions.csv
  accomplice serve model
"""
MODEL_HELP = "a bundle folder, runs:/ID, or models:/NAME@champion"
SET_HELP = "change a setting, for instance net.members=16; --settings lists them all"


#: Set before anything heavy is imported, unless the user has. One thread a process: these networks
#: are small, and threads that wait for each other on a busy machine cost minutes where a second
#: thread on an idle one saves a third. For large cohorts: OMP_NUM_THREADS=8 accomplice train …
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "BENTOML_DO_NOT_TRACK": "True",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line and exits with 2."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **options
        )

    def parse_known_args(  # type: ignore[override]
        self, args: Any = None, namespace: Any = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Refuse unknown options here, where the verb's own options are known."""
        found, extra = super().parse_known_args(args, namespace)
        if extra:
            self.error(f"unrecognized arguments: {' '.join(extra)}")
        return found, extra

    def error(self, message: str) -> NoReturn:
        """Print one line, with the nearest known option or verb."""
        unknown = message.removeprefix("unrecognized arguments: ").split()[0]
        if message.startswith("unrecognized") and unknown.startswith("-"):
            known = [o for action in self._actions for o in action.option_strings]
            message += nearest(unknown, known)
        if "invalid choice: '" in message:
            given, _, choices = message.partition("invalid choice: '")[2].partition("'")
            verbs = choices.partition("(choose from ")[2].rstrip(")").replace("'", "").split(", ")
            message = f"no verb '{given}'{nearest(given, verbs)}" if "VERB" in message else message
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def parser() -> Parser:
    """Return the whole command line's parser."""
    top = Parser(prog="accomplice", description=INTRODUCTION)
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True)
    _data_verbs(verbs)
    for verb, about, text in (
        ("train", "fit, judge and log one model", TRAIN),
        ("tune", "search for better settings, then train the final model; resumable", TUNE),
    ):
        one = _verb(verbs, verb, about, text)
        one.add_argument("study", metavar="STUDY", help="study file")
        one.add_argument("--out", metavar="FOLDER", help="where the bundle goes")
        one.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=SET_HELP)
        one.add_argument("--seed", type=int, help="short for --set seed=N")
        one.add_argument("--endpoint", help="survival endpoint; the study's first if absent")
        one.add_argument(
            "--name", help="name of the run" if verb == "train" else "name of the study"
        )
        one.add_argument(
            "--max-seconds", type=_seconds, metavar="N", help="end after about N seconds"
        )
        one.add_argument("--settings", action=_ListSettings, help="list all settings and exit")
        if verb == "tune":
            one.add_argument(
                "--trials", type=_count, default=30, metavar="N", help="in all (default: 30)"
            )
            one.add_argument("--storage", metavar="URL", help="of a database shared by workers")
    one = _verb(verbs, "predict", "predict for the rows of a table", PREDICT)
    one.add_argument("model", metavar="MODEL", help=MODEL_HELP)
    one.add_argument("table", metavar="TABLE", help="a table, or a study folder")
    one.add_argument("--times", type=_times, metavar="T,T", help="months, such as 12,36,60")
    one.add_argument(
        "--response-rate",
        type=_rate,
        action="append",
        default=[],
        metavar="NAME=RATE",
        help="rate of a response where the model is used, such as ici_response=0.2: its "
        "predictions are moved to that mean",
    )
    one.add_argument("--out", metavar="FILE", help=".csv or .parquet; standard output if absent")
    _power_verb(verbs)
    _marker_verb(verbs)
    one = _verb(verbs, "package", "pack a model as a bento, ready to deploy", PACKAGE)
    one.add_argument("model", metavar="MODEL", help=MODEL_HELP)
    one.add_argument("--name", help="of the bento; accomplice-STUDY if absent")
    one = _verb(verbs, "serve", "serve a model or a bento on 127.0.0.1", SERVE)
    one.add_argument("model", metavar="MODEL", help=MODEL_HELP + ", or a bento's folder")
    one.add_argument("--port", type=_port, default=3000)
    one = _verb(verbs, "ui", "open MLflow on the project's runs", UI)
    one.add_argument("--port", type=_port, default=5000)
    one = _verb(verbs, "demo", "the whole life of a model on the synthetic cohort", DEMO)
    one.add_argument("--short", action="store_true", help="fewer patients and trials")
    return top


def _data_verbs(verbs: Any) -> None:
    data = _verb(verbs, "data", "draft or check a study file; make the synthetic cohort", "")
    inner = data.add_subparsers(dest="data_verb", metavar="VERB", required=True)
    one = _verb(inner, "init", "draft a study file from a table or a study folder", INIT)
    one.add_argument("source", metavar="SOURCE", help="a table, or a cBioPortal study folder")
    one.add_argument("--time", help="column of the follow-up time")
    one.add_argument("--event", help="column that says whether the event was seen")
    one.add_argument("--unit", default="months", choices=("days", "weeks", "months", "years"))
    one.add_argument("--id", help="column of the patient's identifier")
    one.add_argument("--centre", help="column of the hospital")
    one.add_argument("--treatment", help="column of the treatment whose effect is asked for")
    one.add_argument("--response", help="column of a drug's response")
    one.add_argument("--name", help="of the study; the source's name if absent")
    one.add_argument(
        "--drop-without-follow-up",
        action="store_true",
        help="leave out patients whose time is missing or zero or whose event is missing, "
        "however many; up to a tenth, and a study folder's, always are",
    )
    one.add_argument("--out", default="study.yaml", metavar="FILE", help="default: study.yaml")
    one = _verb(inner, "check", "report on a study's cohort", CHECK)
    one.add_argument("study", metavar="STUDY", help="study file")
    one = _verb(inner, "synth", "write the synthetic cohort and its study file", SYNTH)
    one.add_argument("--out", required=True, metavar="FOLDER", help="where it goes")
    one.add_argument("--n", type=_count, default=800, help="patients (default: 800)")
    one.add_argument(
        "--variant",
        default="default",
        choices=("default", "strong", "null", "shifted", "confounded"),
        help="of the simulated truth",
    )
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--truth", action="store_true", help="write truth.csv beside it")


def _power_verb(verbs: Any) -> None:
    one = _verb(verbs, "power", "what a treatment-by-marker interaction takes to be seen", POWER)
    one.add_argument("study", metavar="STUDY", nargs="?", help="study file of a cohort at hand")
    one.add_argument("--marker", help="the study's feature; with STUDY only")
    one.add_argument("--endpoint", help="survival endpoint; the study's first if absent")
    one.add_argument(
        "--n", type=_count, metavar="N", help="patients (default: 409, or the study's)"
    )
    one.add_argument(
        "--sizes",
        type=_counts,
        metavar="N,N",
        help="further sizes of the curve (default: 200,400,800,1600,3200)",
    )
    for option, most, about, default in (
        ("--events", 0.99, "whose event is seen", "0.45"),
        ("--treated", 0.99, "who are treated", "0.6"),
        ("--marker-known", 1.0, "with marker and treatment recorded", "1"),
    ):
        text = f"share of patients {about} (default: {default}, or the study's)"
        share = _between("a share", 0.01, most)
        one.add_argument(option, type=share, metavar="SHARE", help=text)
    for option, about in (
        ("--hr-low", "hazard ratio of the treatment where the marker is low (default: 0.48)"),
        ("--hr-high", "hazard ratio of the treatment where it is high (default: 0.76)"),
        (
            "--interaction",
            "in place of --hr-high: ratio of the treatment's hazard ratios, high half over low "
            "half, or for one SD with --scale sd",
        ),
        ("--hr-marker", "of the untreated, high half over low half or for one SD (default: 1)"),
    ):
        ratio = _between("a ratio", 0.01, 100)
        one.add_argument(option, type=ratio, metavar="HR", help=about)
    one.add_argument(
        "--scale",
        default="half",
        choices=("half", "sd"),
        help="the marker acts and is analysed by halves, or linearly per SD (default: half)",
    )
    level = _between("a level", 1e-6, 0.5)
    one.add_argument("--alpha", type=level, default=0.05, help="two-sided level (default: 0.05)")
    one.add_argument(
        "--draws", type=_count, default=1000, metavar="N", help="cohorts a size (default: 1000)"
    )
    one.add_argument("--seed", type=_seed, default=0)
    one.add_argument(
        "--out", metavar="FILE", help="figure (.png, .svg, .pdf); its numbers go to a .json beside"
    )


def _marker_verb(verbs: Any) -> None:
    one = _verb(verbs, "marker", "judge what a cohort says of one marker, as a page", MARKER)
    one.add_argument("study", metavar="STUDY", help="study file")
    one.add_argument("--marker", required=True, metavar="NAME", help="a feature of the study")
    one.add_argument(
        "--stroma",
        type=_names,
        metavar="A,B",
        help="features whose mean is adjusted for; the modality 'stroma' if absent",
    )
    one.add_argument(
        "--adjust",
        type=_named,
        action="append",
        default=[],
        metavar="NAME=A,B",
        help="features to adjust for too, under a name; may be repeated",
    )
    one.add_argument(
        "--plausible",
        type=_ratio,
        default=1.55,
        metavar="R",
        help="ratio of the treatment's hazard ratios, high over low marker, taken as true for the "
        "power (default: 1.55)",
    )
    one.add_argument("--out", metavar="FILE", help="ends in .html; marker-NAME.html if absent")
    one.add_argument("--endpoint", help="survival endpoint; the study's first if absent")
    one.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=SET_HELP)
    one.add_argument("--seed", type=int, help="short for --set seed=N")
    one.add_argument("--settings", action=_ListSettings, help="list all settings and exit")


def _verb(verbs: Any, name: str, about: str, text: str) -> Parser:
    made: Parser = verbs.add_parser(name, help=about, description=f"{about}\n\n{text}".strip())
    return made


class _ListSettings(argparse.Action):
    """Prints every setting with its default and meaning."""

    def __init__(self, **options: Any) -> None:
        super().__init__(nargs=0, **options)

    def __call__(self, caller: Any, *_: Any) -> None:
        from training.config import Config, flat, known_keys

        defaults = flat(Config())
        for key, meaning in known_keys().items():
            print(f"{key}={defaults[key]}\n    {meaning}")
        caller.exit(0)


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a whole number above 0, got {text!r}")
    return int(text)


def _counts(text: str) -> list[int]:
    try:
        return [_count(part) for part in text.split(",")]
    except argparse.ArgumentTypeError:
        message = f"whole numbers above 0, such as 200,400,800, got {text!r}"
        raise argparse.ArgumentTypeError(message) from None


def _seed(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"a whole number from 0, got {text!r}")
    return int(text)


def _between(what: str, low: float, high: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = float("nan")
        if not low <= number <= high:
            raise argparse.ArgumentTypeError(f"{what} from {low:g} to {high:g}, got {text!r}")
        return number

    return read


def _rate(text: str) -> tuple[str, float]:
    name, equals, number = text.rpartition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"NAME=RATE, such as ici_response=0.2, got {text!r}")
    return name, _between("a rate", 0.001, 0.999)(number)


def _seconds(text: str) -> float:
    return _above_zero(text, "seconds")


def _above_zero(text: str, unit: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{unit} above 0, got {text!r}")
    return number


def _names(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    if not all(names):
        raise argparse.ArgumentTypeError(f"names with commas between, got {text!r}")
    return names


def _named(text: str) -> tuple[str, tuple[str, ...]]:
    name, equals, listed = text.partition("=")
    if not equals or not name.strip():
        raise argparse.ArgumentTypeError(f"NAME=A,B, such as msi=MSI_SCORE, got {text!r}")
    return name.strip(), _names(listed)


def _ratio(text: str) -> float:
    found = _numbers(text)
    if len(found) != 1 or not 0 < found[0] < float("inf") or found[0] == 1:
        raise argparse.ArgumentTypeError(f"a number above 0 that is not 1, got {text!r}")
    return found[0]


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        return []


def _port(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"a port from 1 to 65535, got {text!r}")
    return int(text)


def _times(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"months, such as 12,36,60, got {text!r}") from None


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code.

    0: done; 2: the input is wrong, said in one line on stderr; 1: a failure of ours; 130: Ctrl-C.
    """
    began = time.monotonic()
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    args = parser().parse_args(argv)
    args.began = began
    from training import commands

    verb = f"data_{args.data_verb}" if args.verb == "data" else args.verb
    try:
        getattr(commands, verb)(args)
    except InputError as error:
        # A column's name may hold a line break.
        print(f"accomplice: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("accomplice: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output went away, as `head` does: not an error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return 0


TRAIN = """\
Fits four learners in each fold (a ridge Cox model, hazard networks, a survival forest, boosted
trees), stacks them, judges them out of fold against Kaplan-Meier and the study file's baselines,
writes a bundle, and logs the run with its figures and its registered model to mlruns/.

  accomplice train study.yaml --out model
  accomplice train study.yaml --set net.members=16 --seed 3
  accomplice train study.yaml --max-seconds 60

--max-seconds N ends the command after about N seconds, imports and logging included, with the
best model so far: trees, the network's epochs and the bootstraps behind the intervals each get a
part of the time. What was cut short is printed, and kept in the bundle and in MLflow. However small
N is there is a model. The least takes the imports, in each fold the linear model, a tenth of the
trees, a round of boosting and an epoch, then 20 bootstraps and the logging: some 15 seconds of one
processor for a few hundred patients. With trainer.devices above 1 the network's training is not
cut.
"""
TUNE = """\
Every trial is judged on the same folds; the first one is the defaults. The final model is judged
on other folds than those that chose it. Ctrl-C loses nothing: the same command goes on. Several
workers share one study when they are given the same --storage.

  accomplice tune study.yaml --trials 50
  accomplice tune study.yaml --trials 200 --storage postgresql://host/optuna
  accomplice tune study.yaml --trials 200 --max-seconds 3600

A trial that is worse than half of the others by its validation loss is given up early: it was
judged, and counts. The search ends at --trials trials in all, or after about --max-seconds, which
include the final fit, whichever is first. No trial begins that would not end in time; one that time
or Ctrl-C stops is not counted. However little time there is, the defaults are tried in full and
there is a final model. The same command with more trials or more seconds goes on.
"""
PREDICT = """\
Writes patient_id, risk (higher is worse), survival@T for each time, and flags, one row for each
row of the table, in its order. Missing columns and values, unknown columns and levels, and values
out of range are answered and flagged.

  accomplice predict model patients.csv --times 12,36,60 --out predictions.csv
"""
POWER = """\
Simulates cohorts in which a treatment works less where a marker is high, analyses each by a Cox
model, and counts how often the interaction is significant: at --n, along a curve of sizes, and how
many patients it takes for 80 %. Those cohorts that show it overstate it; by how much is shown too.

  accomplice power --n 409 --events 0.45 --treated 0.6 --hr-low 0.48 --hr-high 0.76 --out power.png
  accomplice power --n 800 --interaction 1.4 --scale sd
  accomplice power study.yaml --marker IL1R1 --out power.png
  accomplice power study.yaml --marker IL1R1 --marker-known 1

With a STUDY, patients, events, treated, who has the marker recorded and how long patients were
followed are read from its cohort, but for what an option says: the last example asks what it would
bring to measure the marker in everybody. Effects are never read from a cohort: assume them.
"""
MARKER = """\
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
PACKAGE = """\
Writes a bento with the model, its code and its requirements under mlruns/bentos.

  accomplice package models:/accomplice-NAME@champion
"""
SERVE = """\
Answers POST /predict and POST /predict_batch; /docs.json describes them.

  accomplice serve model --port 3000
  curl -s http://127.0.0.1:3000/predict -H 'Content-Type: application/json' \\
       -d '{"patient": {"age": 61}, "times": [12, 36]}'
"""
UI = """\
Serves MLflow on what mlruns/ (or MLFLOW_TRACKING_URI) holds, and prints the links that matter.
"""
DEMO = """\
Makes a synthetic cohort, tunes, trains, judges, registers and packages a model, and asks the
packaged service for one patient; prints where to look. Takes minutes on two cores.
"""
INIT = """\
Kinds of columns are inferred, known markers are sorted into modalities, and what is doubtful is
listed under ignored, with the reason. Look the file over before training.

  accomplice data init cohort.csv --time os_months --event os_event --out study.yaml
  accomplice data init study_folder --out study.yaml
"""
CHECK = "Counts patients, events, missing values; warns of what will make a model weak.\n"
SYNTH = """\
A cohort drawn from a structural model with known truth. Its patients are synthetic.

  accomplice data synth --out demo --n 800
"""

if __name__ == "__main__":
    sys.exit(main())
