"""The commands that choose between models: ``compare`` and ``promote``."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accomplice.data.errors import InputError, some
from accomplice.data.files import check_file, write_text
from accomplice.training.cli.train import ctrl_c_heeded
from accomplice.training.reports.wording import SYNTHETIC

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlflow.entities.model_registry import ModelVersion
    from rich.table import Table

    from accomplice.training.estimators.intervals import Estimate
    from accomplice.training.evaluation.comparison import Comparison
    from accomplice.training.tracking.contenders import Contender
    from accomplice.training.tracking.gate import Decision, Incumbent

#: Exit code of ``promote`` where the gate refuses.
REFUSED = 3
#: Characters of a digest or fingerprint that tell models apart.
SHORT = 12
#: Characters that a reason may have.
MOST_REASON = 500


def compare(args: argparse.Namespace) -> None:
    """Print how each further model does against the first one, on the same patients."""
    with ctrl_c_heeded():
        from rich.console import Console

        from accomplice.training.evaluation.comparison import compare as judge_both
        from accomplice.training.tracking import contenders as contest

    out = None if args.json is None else Path(args.json)
    if out is not None:
        check_file(out)
    if len(args.models) < 2:
        raise InputError("compare: name two models or more")
    contenders = [contest.contender(model) for model in args.models]
    endpoint = contest.endpoint_of(contenders[0], args.endpoint)
    first, *others = contenders
    for other in others:
        other.model(endpoint)
    fresh = [other for other in others if other.digest != first.digest]
    record: dict[str, Any] = {"endpoint": endpoint, "models": [_about(c) for c in contenders]}
    found: list[dict[str, Any]] = []
    if fresh:
        cohort = contest.cohort_of([first, *fresh], args.study, endpoint)
        record["cohort"] = {"study": cohort.study.name, "fingerprint": cohort.fingerprint()}
        own = contest.answer(first, cohort, endpoint, args.study)
    for letter, other in zip("BCDEFGHIJKLMNOPQRSTUVWXYZ", others, strict=False):
        for line in _introduce({"A": first, letter: other}):
            print(line)
        if other not in fresh:
            print(f"verdict: A and {letter} are the same model (digest {first.digest[:SHORT]})\n")
            found.append({"model": other.name, "verdict": "the same model"})
            continue
        theirs = contest.answer(other, cohort, endpoint, args.study)
        made = judge_both(own.predicted, theirs.predicted)
        print(f"  A judged {own.how}")
        print(f"  {letter} judged {theirs.how}")
        Console().print(_table(made, letter))
        seen = [name for name, each in (("A", own), (letter, theirs)) if each.seen]
        verdict = made.verdict("A", letter)
        if seen:
            verdict = (
                f"none: {' and '.join(seen)} knows the outcomes of these patients; name others by "
                "--study, or run it where the run that made the model was logged"
            )
        print(f"verdict: {verdict}\n")
        found.append({"model": other.name, "verdict": verdict, **made.to_json()})
        found[-1] |= {"judged": [own.how, theirs.how]}
        found[-1]["settings"] = {key: list(two) for key, *two in _different(first, other)}
    if any(c.bundle.study.synthetic for c in contenders):
        print(SYNTHETIC)
    if out is not None:
        write_text(out, json.dumps(record | {"against_first": found}, indent=2) + "\n")
        print(f"wrote {out}")


def promote(args: argparse.Namespace) -> int:
    """Ask the gate, and move the alias ``champion`` where it, or --force, lets the model through.

    Returns:
        0 where the model is champion now, ``REFUSED`` where it is not.
    """
    if args.force is not None and not 0 < len(args.force.strip()) <= MOST_REASON:
        raise InputError(f"--force: give the reason, in 1 to {MOST_REASON} characters")
    with ctrl_c_heeded():
        from mlflow import MlflowClient

        from accomplice.training.tracking import contenders as contest
        from accomplice.training.tracking import gate, promotion, registry
        from accomplice.training.tracking.store import open_store
    challenger = contest.contender(args.model)
    name = args.name or _registered(args.model) or registry.registered_name(challenger.bundle)
    store, client = open_store(), MlflowClient()
    champion = promotion.champion_of(client, name)
    version = promotion.version_of(client, name, challenger.digest, args.model)
    if champion is not None and version == str(champion.version):
        print(f"models:/{name}/{version} is champion already")
        return 0
    decision = judge(challenger, champion, args)
    now = "there is none" if champion is None else f"now version {champion.version}"
    print(f"{args.model} for models:/{name}@champion, {now}:")
    for line in gate.lines(decision):
        print(f"  {line}")
    if challenger.bundle.study.synthetic:
        print(SYNTHETIC)
    if not decision.passed and args.force is None:
        failed = len(decision.failed)
        print(f'refused: {failed} of {len(decision.rules)} rules fail; --force "the reason"')
        return REFUSED
    if version is None:
        version = registry.register_bundle(store, name, challenger.bundle, challenger.folder)
    over = None if champion is None else str(champion.version)
    promotion.promote(store, name, version, over, decision, args.force)
    how = "" if decision.passed else " by force; the reason and the failed rules are on record"
    replaced = "" if over is None else f", in place of version {over}"
    print(f"promoted models:/{name}/{version}{replaced}{how}")
    return 0


def judge(
    challenger: Contender, champion: ModelVersion | None, args: argparse.Namespace
) -> Decision:
    """Let the gate decide on a model, against the champion where there is one.

    Raises:
        InputError: no cohort is known to compare them on, and nobody forces it.
    """
    from accomplice.training.tracking.gate import Challenger, decide

    if champion is None:
        return decide(Challenger.of(challenger.bundle))
    incumbent, opponent = _incumbent(champion)
    if isinstance(opponent, str):
        comparison, unjudged = None, opponent
    else:
        comparison, unjudged = _compared(challenger, opponent, args)
    return decide(Challenger.of(challenger.bundle), incumbent, comparison, unjudged)


def _incumbent(champion: ModelVersion) -> tuple[Incumbent, Contender | str]:
    """Load the champion; where that fails, say why, and go by what the registry knows."""
    from accomplice.training.tracking import contenders as contest
    from accomplice.training.tracking.gate import Incumbent

    try:
        found = contest.contender(f"models:/{champion.name}/{champion.version}")
    except InputError as error:
        tags = champion.tags
        known = Incumbent(
            study=champion.name.removeprefix("accomplice-"),
            endpoint=tags.get("endpoint", "unknown"),
            synthetic=tags.get("synthetic") == "true",
        )
        return known, f"the champion cannot be loaded ({error})"
    bundle = found.bundle
    return Incumbent(bundle.study.name, bundle.target, bundle.study.synthetic), found


def _compared(
    challenger: Contender, opponent: Contender, args: argparse.Namespace
) -> tuple[Comparison | None, str]:
    """Compare a model with the champion; or say why that cannot be done."""
    from accomplice.training.evaluation.comparison import compare as judge_both
    from accomplice.training.tracking import contenders as contest

    both = (challenger, opponent)
    try:
        endpoint = contest.endpoint_of(challenger, None)
        opponent.model(endpoint)
    except InputError as error:
        return None, str(error)
    try:
        cohort = contest.cohort_of(both, args.study, endpoint)
    except InputError as error:
        if args.force is None:
            raise
        return None, str(error)
    try:
        answers = [contest.answer(each, cohort, endpoint, args.study) for each in both]
        comparison = judge_both(answers[0].predicted, answers[1].predicted)
    except InputError as error:
        return None, str(error)
    for who, each in zip(("it", "the champion"), answers, strict=True):
        print(f"{who} is judged {each.how}")
    if answers[0].seen:
        # Where the champion knows them, that is to its own advantage.
        return None, "it knows the outcomes of these patients: name others by --study"
    return comparison, ""


def _registered(model: str) -> str | None:
    """The registered name that a model was called by, if it was."""
    if not model.startswith("models:/"):
        return None
    return re.split("[@/]", model.removeprefix("models:/"))[0]


def _about(contender: Contender) -> dict[str, Any]:
    """What a model was made from."""
    bundle = contender.bundle
    made = bundle.provenance
    return {
        "model": contender.name,
        "digest": contender.digest,
        "fit_id": made["fit_id"],
        "study": bundle.study.name,
        "synthetic": bundle.study.synthetic,
        "cohort_fingerprint": contender.fingerprint,
        "patients": made.get("patients"),
        "events": made.get("events"),
        "features": len(bundle.study.features),
    }


def _introduce(models: Mapping[str, Contender]) -> Iterator[str]:
    """Say what models were made from and where they differ."""
    for letter, each in models.items():
        about = _about(each)
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
    for key, a, b in _different(first, second):
        yield f"  {key}: {letters[0]} {a}, {letters[1]} {b}"
    own, theirs = (list(m.bundle.study.features) for m in (first, second))
    for letter, names in (
        (letters[0], [n for n in own if n not in theirs]),
        (letters[1], [n for n in theirs if n not in own]),
    ):
        if names:
            yield f"  features of {letter} alone: {some(names)}"


def _different(first: Contender, second: Contender) -> Iterator[tuple[str, Any, Any]]:
    """Settings in which two models' runs differ."""
    one, other = first.bundle.config, second.bundle.config
    for key in dict.fromkeys((*one, *other)):
        if one.get(key) != other.get(key):
            yield key, one.get(key), other.get(key)


def _table(made: Comparison, letter: str) -> Table:
    from rich.table import Table

    from accomplice.training.evaluation.scores import NAMES

    title = (
        f"{made.patients} patients, {made.events} events, to {made.horizon:.0f} months; "
        f"95 % intervals, {made.bootstraps} paired draws"
    )
    table = Table(title=title, title_justify="left", show_lines=True)
    table.add_column("")
    for heading in ("A", letter, f"A better by (than {letter})"):
        table.add_column(heading, no_wrap=True)

    def cell(figure: Estimate, form: str) -> str:
        # On two lines, so that the table fits a narrow terminal.
        return f"{figure.value:{form}}\n{figure.low:{form}} to {figure.high:{form}}"

    for metric, name in NAMES.items():
        cells = [cell(getattr(side, metric), ".3f") for side in (made.first, made.second)]
        table.add_row(name, *cells, cell(made.gains[metric], "+.4f"))
    for label, figure in (
        ("calibration slope", "slope"),
        ("observed/expected", "observed_expected"),
    ):
        sides = (made.first.calibration, made.second.calibration)
        cells = [cell(getattr(each, figure), ".2f") for each in sides]
        table.add_row(f"{label}\nat {made.month:.0f} months", *cells, "")
    return table
