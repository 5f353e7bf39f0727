"""Output of the commands, and progress bars."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accomplice.data.cells.rounding import month_text
from accomplice.data.errors import counted
from accomplice.data.escaping import say
from accomplice.training.progress import Tick, silent
from accomplice.training.reports.wording import SYNTHETIC

if TYPE_CHECKING:
    import optuna

    from accomplice.data.cohort import Patients
    from accomplice.training.bundle import Bundle
    from accomplice.training.evaluation.scores import Evaluation
    from accomplice.training.reports.page import Page
    from accomplice.training.run import Trained
    from accomplice.training.search.search import Tuned
    from accomplice.training.tracking.registry import Logged
    from accomplice.training.treatment.evidence import Evidence

#: Width of the column of models' names, in characters.
WIDTH = 24


def say_cohort(patients: Patients) -> None:
    """Print the size of a cohort and its notes."""
    from accomplice.training.models.provenance import notes_of

    study = patients.study
    left = f"; {patients.left_out} without follow-up left out" if patients.left_out else ""
    say(
        f"{study.name}: {len(patients)} patients, {patients.outcomes}, "
        f"{counted(len(study.features), 'feature')} in "
        f"{counted(len(study.blocks), 'modality', 'modalities')}{left}"
    )
    for note in notes_of(patients):
        say(f"note: {note}")
    if study.synthetic:
        say(SYNTHETIC)


def say_result(trained: Trained, path: Path, logged: Logged) -> None:
    """Print a run's results and the next commands.

    The results are scores, verdicts against baselines, the treatment's effect, findings of the
    sentinels, further endpoints, and where the model is.

    Args:
        trained: the fitted models with their evaluation.
        path: folder of the bundle.
        logged: the run as logged.
    """
    from accomplice.training.tracking.summary import not_predicted, on_further, on_responses
    from accomplice.training.tracking.views import address, run_page

    primary = trained.primary
    if primary is not None:
        print_scores(primary.evaluation)
    cuts = trained.bundle.provenance.get("cut_short")
    if cuts:
        say(f"time ran out, which cut short: {'; '.join(cuts)}")
    if primary is not None:
        for baseline in primary.evaluation.gains:
            say(f"the model {primary.evaluation.verdict(baseline)}")
        for note in primary.evaluation.notes:
            say(f"not compared with a baseline: {note}")
    for line in not_predicted(trained.bundle.study):
        say(line)
    if primary is not None:
        say_treatment(trained.bundle, primary.evidence)
        for finding in primary.findings:
            if finding.status in ("fired", "caution"):
                say(f"{finding.sentinel} {finding.status.upper()}: {finding.text}")
    for name, text in {**on_further(trained), **on_responses(trained)}.items():
        say(f"{name}: {text}")
    say(f"run      {logged.run_id}")
    say(f"bundle   {relative(path)}")
    champion = ", champion" if logged.champion else ""
    say(f"model    models:/{logged.model_name}/{logged.version}{champion}")
    say_promotion(logged)
    times = "" if primary is None else " --times 12,36"
    say(f"next     accomplice predict {quoted(path)} TABLE{times} --out predictions.csv")
    say("         accomplice ui")
    say(f"see      {address(run_page(logged.experiment_id, logged.run_id))}")


def say_promotion(logged: Logged) -> None:
    """Print, for a model that is not champion, the command that promotes it.

    If there is no champion, the rules that the model fails are printed too.
    """
    if logged.champion:
        return
    promote = f"accomplice promote models:/{logged.model_name}/{logged.version}"
    if logged.decision is None:
        say(f"         not champion; to compare it with the champion: {promote}")
        return
    say("         not champion, although there is none:")
    for rule in logged.decision.failed:
        say(f"           FAILS {rule.asks}: {rule.why}")
    say(f'         all the same: {promote} --force "the reason"')


def say_treatment(bundle: Bundle, evidence: Evidence | None) -> None:
    """Print the treatment's estimated effect with its alarm, or why there is no estimate.

    Without a treatment or a survival endpoint nothing is printed.

    Args:
        bundle: bundle of the run.
        evidence: evidence for the effect; None if none was estimated.
    """
    from accomplice.training.treatment.evidence import sentences

    treatment, model = bundle.study.treatment, bundle.primary
    if treatment is None or model is None:
        return
    if evidence is None:
        say(f"{treatment.label}: no effect estimated: {model.no_effect}")
        return
    texts = sentences(evidence)
    for key in ("hr", "alarm", "ate", "heterogeneity"):
        say(texts[key])


def say_trials(tuned: Tuned) -> None:
    """Print the best score of the search beside that of the defaults, and the expected gain."""
    from accomplice.training.search.gain import best_score, sentence

    objective = tuned.config.search.objective
    line = f"{tuned.trials} trials"
    if tuned.stopped:
        line += f", ended early: no better settings in the last {tuned.config.search.patience}"
    say(line + best_score(tuned.study, objective))
    if tuned.choice is not None:
        say(sentence(tuned.choice, objective))


def print_scores(evaluation: Evaluation) -> None:
    """Print a table of the models' scores."""
    from accomplice.training.metrics.table import deciding, heading

    say(f"judged out of fold to {month_text(evaluation.horizon)} months, 95 % intervals:")
    heads = {metric: heading(metric) for metric in deciding()}
    rows: dict[str, Mapping[str, object]] = {"": heads}
    rows |= {name: each.figures for name, each in evaluation.scores.items()}
    for name, row in rows.items():
        cells = (f"{row[metric]!s:<{max(28, len(heads[metric]) + 2)}}" for metric in heads)
        say(f"  {name:<{WIDTH}}{''.join(cells)}".rstrip())


def say_answers(page: Page, out: Path) -> None:
    """Print the answer of each section of a page, and where the page is.

    Args:
        page: the page.
        out: its path.
    """
    for section in page.sections:
        say(section.heading, f"  {section.verdict.label}  {section.verdict.text}")
    say_files(out)


def say_files(out: Path) -> None:
    """Print where a page and its numbers are."""
    say(f"report   {relative(out)}")
    say(f"data     {relative(out.with_suffix('.json'))}")


def say_replaced(paths: Iterable[Path]) -> None:
    """Print on stderr the earlier files and folders that were replaced."""
    for path in paths:
        say(f"accomplice: replaced {path}, an earlier one", error=True)


def relative(path: Path) -> str:
    """Return a path relative to the working folder; unchanged if it lies outside."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def quoted(path: str | Path) -> str:
    """Return a path, relative as by :func:`relative`, quoted for a shell."""
    return shlex.quote(relative(Path(path)))


@contextmanager
def shown(title: str) -> Iterator[Tick]:
    """Yield a progress callback that shows a bar for each stage on stderr, if it is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield silent
        return
    columns = (
        TextColumn("[progress.description]{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        tasks = {}

        def tick(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(f"{title}: {stage}", total=total)
            progress.update(tasks[stage], completed=done, total=total)

        yield tick


@contextmanager
def shown_search() -> Iterator[dict[str, Any]]:
    """Yield callbacks of ``tracking.experiment.search`` that show its progress.

    At Ctrl-C a line is printed that the same command resumes the search.
    """

    def resumed(study: optuna.Study) -> None:
        from accomplice.training.search.study import completed

        say(f"study    {study.study_name}: going on after {len(completed(study))} trials")

    def waiting(trials: int) -> None:
        say(f"waiting for {trials} trials of other workers", error=True)

    callbacks = {"resumed": resumed, "tuned": say_trials, "waiting": waiting}
    with shown("tune") as tick:
        try:
            yield {"tick": tick, **callbacks}
        except KeyboardInterrupt:
            say("", "stopped; the same command resumes", error=True)
            raise
