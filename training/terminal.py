"""What the commands print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from data.cohort import Cohort
    from training.evaluation import Evaluation
    from training.registry import Logged
    from training.run import Trained
    from training.tune import Tuned

SYNTHETIC = "SYNTHETIC patients: nothing here says anything about real ones"


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
    from training.reporting import unanswered

    study, found = trained.bundle.study, trained.evidence
    for line in unanswered(study):
        print(line)
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
