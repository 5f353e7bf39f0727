"""The command line: parsing, help, and what an error looks like."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from accomplice.data.errors import InputError, nearest
from accomplice.training.cli.help_texts import (
    CHECK,
    COMPARE,
    DEMO,
    EVALUATE,
    INIT,
    INTRODUCTION,
    MARKER,
    PACKAGE,
    POWER,
    PREDICT,
    PROMOTE,
    REPORT,
    SERVE,
    SYNTH,
    TOKEN,
    TRAIN,
    TUNE,
    UI,
)

#: Verbs that ask something of a cohort without a model.
QUESTIONS = ("marker", "power")
#: Verbs that choose between models.
CHOICES = ("compare", "promote")
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
    one.add_argument(
        "--explain", metavar="FILE", help=".csv or .parquet: what each feature adds to the risk"
    )
    _evaluate_verb(verbs)
    one = _verb(verbs, "report", "the whole evaluation of a model as one page", REPORT)
    one.add_argument("model", metavar="MODEL", help=MODEL_HELP)
    one.add_argument("--out", metavar="FILE", help="ends in .html; STUDY-report.html if absent")
    one.add_argument("--card", metavar="FILE", help="write the model card too, in Markdown")
    _power_verb(verbs)
    _marker_verb(verbs)
    _choosing_verbs(verbs)
    one = _verb(verbs, "package", "pack a model as a bento, ready to deploy", PACKAGE)
    one.add_argument("model", metavar="MODEL", help=MODEL_HELP)
    one.add_argument("--name", help="of the bento; accomplice-STUDY if absent")
    one = _verb(verbs, "serve", "serve a model or a bento on 127.0.0.1", SERVE)
    one.add_argument("model", metavar="MODEL", help=MODEL_HELP + ", or a bento's folder")
    one.add_argument("--port", type=_port, default=3000)
    one.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="address to listen on (default: 127.0.0.1); any other needs --tokens",
    )
    one.add_argument("--tokens", metavar="FILE", help="who may ask; see accomplice token")
    one.add_argument(
        "--concurrency", type=_count, metavar="N", help="requests under way at once (default: 128)"
    )
    one.add_argument(
        "--reload-champion",
        action="store_true",
        help="move to whatever version models:/NAME@champion names, without a pause",
    )
    one.add_argument(
        "--every",
        type=_seconds,
        default=10.0,
        metavar="SECONDS",
        help="between two looks at the registry for --reload-champion (default: 10)",
    )
    one = _verb(verbs, "token", "make a token for a program that asks the endpoint", TOKEN)
    one.add_argument("name", metavar="NAME", help="of the program or the people who get it")
    one.add_argument("--tokens", required=True, metavar="FILE", help="its hash is added here")
    one = _verb(verbs, "ui", "open MLflow on the project's runs", UI)
    one.add_argument("--port", type=_port, default=5000)
    one.add_argument("--optuna", action="store_true", help="Optuna's dashboard on the studies")
    one.add_argument("--storage", metavar="URL", help="of the studies, as in tune")
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


def _evaluate_verb(verbs: Any) -> None:
    one = _verb(verbs, "evaluate", "judge a model on another cohort; update it for it", EVALUATE)
    one.add_argument("model", metavar="MODEL", help=MODEL_HELP)
    one.add_argument("study", metavar="STUDY", help="study file of the other cohort")
    one.add_argument(
        "--endpoint",
        help="survival endpoint of STUDY; the model's own if STUDY has it, else STUDY's first",
    )
    one.add_argument(
        "--map",
        type=_pair,
        action="append",
        default=[],
        metavar="A=B",
        help="the model's feature A is STUDY's feature B; may be repeated",
    )
    one.add_argument(
        "--recalibrate", action="store_true", help="update level and slope; write the new model"
    )
    one.add_argument(
        "--out-model",
        metavar="FOLDER",
        help="where the updated model goes; under mlruns/bundles if absent",
    )
    one.add_argument(
        "--out", metavar="FILE", help="ends in .html; evaluate-MODEL-STUDY.html if absent"
    )
    one.add_argument("--seed", type=_seed, help="of bootstraps and folds; the model's if absent")
    one.add_argument(
        "--bootstraps",
        type=_count,
        metavar="N",
        help="draws behind each interval; as many as in training if absent",
    )


def _choosing_verbs(verbs: Any) -> None:
    cohort = "study file of the patients to judge on; that of the model's run if absent"
    one = _verb(verbs, "compare", "hold models against each other on the same patients", COMPARE)
    one.add_argument("models", metavar="MODEL", nargs="+", help=MODEL_HELP)
    one.add_argument("--study", metavar="STUDY", help=cohort)
    one.add_argument("--endpoint", help="survival endpoint; the first model's own if absent")
    one.add_argument("--json", metavar="FILE", help="write the figures there too")
    one = _verb(verbs, "promote", "make a model champion, if the gate lets it", PROMOTE)
    one.add_argument("model", metavar="MODEL", help=MODEL_HELP)
    one.add_argument(
        "--name", metavar="REGISTERED", help="registered model; accomplice-STUDY if absent"
    )
    one.add_argument("--study", metavar="STUDY", help=cohort)
    one.add_argument(
        "--force", metavar="REASON", help="promote whatever the gate says; the reason is recorded"
    )


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
        from accomplice.training.config import Config, flat, known_keys

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


def _pair(text: str) -> tuple[str, str]:
    one, equals, other = (part.strip() for part in text.partition("="))
    if not one or not equals or not other:
        raise argparse.ArgumentTypeError(f"A=B, such as stage_raw=stage, got {text!r}")
    return one, other


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

    0: done; 2: the input is wrong, said in one line on stderr; 3: the gate refuses to promote;
    1: a failure of ours; 130: Ctrl-C.
    """
    began = time.monotonic()
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    args = parser().parse_args(argv)
    args.began = began
    from accomplice.training.cli import compare as choosing
    from accomplice.training.cli import evaluate as evaluating
    from accomplice.training.cli import marker as questions
    from accomplice.training.cli import predict as predicting
    from accomplice.training.cli import report
    from accomplice.training.cli import train as commands

    verb = f"data_{args.data_verb}" if args.verb == "data" else args.verb
    places = dict.fromkeys(QUESTIONS, questions) | dict.fromkeys(CHOICES, choosing)
    places |= {"evaluate": evaluating, "predict": predicting, "report": report}
    code: int | None = 0
    try:
        if verb == "demo":  # it imports what all verbs need
            from accomplice.training.cli import demo

            places[verb] = demo
        code = getattr(places.get(verb, commands), verb)(args)
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
    return code or 0


if __name__ == "__main__":
    sys.exit(main())
