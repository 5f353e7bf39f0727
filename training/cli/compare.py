"""The verb ``compare``: models judged on the same patients."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from string import ascii_uppercase
from typing import TYPE_CHECKING, Annotated, Any

import typer

from accomplice.data.cells.rounding import month_text
from accomplice.data.errors import InputError, some
from accomplice.data.escaping import say
from accomplice.data.files import GENERATOR, check_file, write_text
from accomplice.training.cli.arguments import MODEL_HELP, JudgedOn, option
from accomplice.training.cli.preparation import ctrl_c_heeded
from accomplice.training.cli.terminal import say_replaced
from accomplice.training.reports.wording import SYNTHETIC

if TYPE_CHECKING:
    from rich.table import Table

    from accomplice.training.estimators.intervals import Estimate
    from accomplice.training.evaluation.comparison import Comparison
    from accomplice.training.tracking.contenders import Contender

#: Names of the models after the first in the output: B to Z, AA to ZZ.
LETTERS = [*ascii_uppercase, *map("".join, product(ascii_uppercase, repeat=2))][1:]
#: Number of characters of a digest or fingerprint that are printed.
SHORT = 12


def compare(
    models: Annotated[list[str], typer.Argument(metavar="MODEL", help=MODEL_HELP)],
    *,
    study: JudgedOn = None,
    endpoint: Annotated[
        str | None, option("ENDPOINT", "survival endpoint; the first model's own if absent")
    ] = None,
    figures: Annotated[
        Path | None, option("FILE", "write the figures there too", name="--json")
    ] = None,
) -> None:
    """Compare models on the same patients.

    Judges two models, or each further one against the first, on the same patients and the same
    bootstrap draws: Uno's C, Harrell's C and the integrated Brier score with their paired
    differences and 95 % intervals, calibration of each, what each was trained on, and which
    settings differ.

      accomplice compare runs:/ID models:/accomplice-NAME@champion
      accomplice compare model other_model --study study.yaml --json compared.json

    A model keeps no patients, so their study file is needed again: the one that --study names, or
    the one that the model's run recorded (in mlruns/ of this machine). For patients a model was
    trained on, its out-of-fold predictions are made anew; for others it predicts as for new
    patients. The output says how each was judged. Models are judged to the smaller of the horizons,
    on the patients that both can be judged on.
    """
    with ctrl_c_heeded():
        from rich.console import Console

        from accomplice.training.evaluation.comparison import compare as judge_both
        from accomplice.training.tracking import contenders as contest

    replaced = figures is not None and check_file(figures, [Path(model) for model in models])
    if len(models) < 2:
        raise InputError("compare: name two models or more")
    if len(models) > len(LETTERS):
        raise InputError(f"compare: name {len(LETTERS)} models or fewer")
    contenders = [contest.contender(model) for model in models]
    judged_on = contest.endpoint_of(contenders[0], endpoint)
    first, *others = contenders
    for other in others:
        other.model(judged_on)
    fresh = [other for other in others if other.digest != first.digest]
    record: dict[str, Any] = {
        "endpoint": judged_on,
        "models": [each.made_from() for each in contenders],
    }
    found: list[dict[str, Any]] = []
    if fresh:
        cohort = contest.cohort_of([first, *fresh], study, judged_on)
        record["cohort"] = {"study": cohort.study.name, "fingerprint": cohort.fingerprint()}
        own = contest.predict(first, cohort, judged_on, study)
    for letter, other in zip(LETTERS, others, strict=False):
        for line in _introduce({"A": first, letter: other}):
            say(line)
        if other not in fresh:
            say(f"verdict: A and {letter} are the same model (digest {first.digest[:SHORT]})", "")
            found.append({"model": other.name, "verdict": "the same model"})
            continue
        theirs = contest.predict(other, cohort, judged_on, study)
        made = judge_both(own.predicted, theirs.predicted)
        say(f"  A judged {own.how}")
        say(f"  {letter} judged {theirs.how}")
        Console().print(_table(made, letter))
        seen = [name for name, each in (("A", own), (letter, theirs)) if each.seen]
        verdict = made.verdict("A", letter)
        if seen:
            verdict = (
                f"none: {' and '.join(seen)} was fitted to outcomes of these patients; name others "
                "by --study, or run it where the run that made the model was logged"
            )
        say(f"verdict: {verdict}", "")
        found.append({"model": other.name, "verdict": verdict, **made.to_json()})
        found[-1] |= {"judged": [own.how, theirs.how]}
        differing = contest.different_settings(first, other)
        found[-1]["settings"] = {key: list(two) for key, two in differing.items()}
    if any(each.bundle.study.synthetic for each in contenders):
        say(SYNTHETIC)
    if figures is not None:
        write_text(
            figures, json.dumps(GENERATOR | record | {"against_first": found}, indent=2) + "\n"
        )
        say_replaced([figures] if replaced else [])
        say(f"wrote {figures}")


def _introduce(models: Mapping[str, Contender]) -> Iterator[str]:
    """Yield lines on the origin of two models, by letter, and on their differences."""
    from accomplice.training.tracking.contenders import different_settings

    for letter, each in models.items():
        about = each.made_from()
        kind = "SYNTHETIC" if about["synthetic"] else "real"
        yield (
            f"{letter}  {each.name}: {about['study']}, {about['patients']} {kind} patients with "
            f"{about['events']} events, {about['features']} features"
        )
        yield (
            f"   digest {each.digest[:SHORT]}, fit {about['fit_id']}, "
            f"cohort {each.fingerprint[:SHORT]}"
        )
    first, second = models.values()
    letters = list(models)
    for key, (a, b) in different_settings(first, second).items():
        yield f"  {key}: {letters[0]} {a}, {letters[1]} {b}"
    own, theirs = (list(m.bundle.study.features) for m in (first, second))
    for letter, names in (
        (letters[0], [n for n in own if n not in theirs]),
        (letters[1], [n for n in theirs if n not in own]),
    ):
        if names:
            yield f"  features of {letter} alone: {some(names)}"


def _table(made: Comparison, letter: str) -> Table:
    """Return the table of both models' scores, paired differences and calibration.

    Args:
        made: comparison of model A with another one.
        letter: letter of the other model.
    """
    from rich.table import Table

    from accomplice.training.metrics.table import METRICS

    title = (
        f"{made.patients} patients, {made.events} events, to {month_text(made.horizon)} months; "
        f"95 % intervals, {made.bootstraps} paired draws"
    )
    table = Table(title=title, title_justify="left", show_lines=True)
    table.add_column("")
    for heading in ("A", letter, f"A better by (than {letter})"):
        table.add_column(heading, no_wrap=True)

    def cell(estimate: Estimate, form: str) -> str:
        # On two lines, so that the table fits a narrow terminal.
        return f"{estimate.value:{form}}\n{estimate.low:{form}} to {estimate.high:{form}}"

    for name, metric in METRICS.items():
        cells = [cell(side.figures[name], ".3f") for side in (made.first, made.second)]
        table.add_row(metric.label, *cells, cell(made.gains[name], "+.4f"))
    for label, name in (
        ("calibration slope", "slope"),
        ("observed/expected", "observed_expected"),
    ):
        sides = (made.first.calibration, made.second.calibration)
        cells = [cell(getattr(each, name), ".2f") for each in sides]
        table.add_row(f"{label}\nat {month_text(made.month)} months", *cells, "")
    return table
