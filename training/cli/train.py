"""The verbs ``train`` and ``tune``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from accomplice.training.cli.arguments import Endpoint, Force, Study, count, option, seconds
from accomplice.training.cli.preparation import ListSettings, Request, Set, SetSeed, begin, settings
from accomplice.training.cli.terminal import say_result, shown, shown_search

# Options of both verbs.
Out = Annotated[Path | None, option("FOLDER", "where the bundle goes")]
MaxSeconds = Annotated[float | None, option("N", "end after about N seconds", seconds)]


def train(
    context: typer.Context,
    study: Study,
    *,
    out: Out = None,
    force: Force = False,
    given: Set = None,
    seed: SetSeed = None,
    endpoint: Endpoint = None,
    name: Annotated[str | None, option("NAME", "name of the run")] = None,
    max_seconds: MaxSeconds = None,
    _settings: ListSettings = False,
) -> None:
    """Fit, judge and log one model.

    Fits four learners in each fold (a ridge Cox model, hazard networks, a survival forest, boosted
    trees), stacks them, judges them out of fold against Kaplan-Meier and the study file's
    baselines, writes a bundle, and logs the run with its figures and its registered model to
    mlruns/. A bundle that is at --out stays, unless --force replaces it when the new one is made.

    Every survival endpoint of the study file gets a model, the first (or --endpoint) being the one
    the run is known by; --set further_endpoints=false leaves it at that one. Every binary endpoint
    gets one too, with or without survival beside it. Endpoints with too few events or labels are
    named and left out.

      accomplice train study.yaml --out model
      accomplice train study.yaml --set net.members=16 --seed 3
      accomplice train study.yaml --max-seconds 60

    With two processors a second process does a part of the work, unless there is a time limit or
    ACCOMPLICE_PROCESSES=1 is set; the result is the same bit for bit.

    --max-seconds N ends the command after about N seconds, imports and logging included, with the
    best model so far: trees, the network's epochs and the bootstraps behind the intervals each get
    a part of the time. Work that was cut short is printed, and recorded in the bundle and in
    MLflow. However small N is there is a model. The least takes the imports, in each fold the
    linear model, a tenth of the trees, a round of boosting and an epoch, then 20 bootstraps and the
    logging: some 15 seconds of one processor for a few hundred patients. With trainer.devices above
    1 the network's training is not cut.
    """
    from accomplice.data.loading import load_endpoints
    from accomplice.training.second_process import second_process

    request = Request(study, settings(given, seed, endpoint), out, force, max_seconds, context.obj)
    # Within a time limit all work is done in its order, so that each part gets its share.
    with second_process(wanted=max_seconds is None) as second:
        patients, config, store, budget = begin(request, load_endpoints, second=second)
        from accomplice.training.tracking.experiment import fit_and_keep

        with shown("train") as tick:
            done = fit_and_keep(
                *(store, patients, config, out, tick),
                stage="train",
                name=name,
                budget=budget,
                study_file=study,
                second=second,
            )
    say_result(*done)


def tune(
    context: typer.Context,
    study: Study,
    *,
    out: Out = None,
    force: Force = False,
    given: Set = None,
    seed: SetSeed = None,
    endpoint: Endpoint = None,
    name: Annotated[str | None, option("NAME", "name of the study")] = None,
    max_seconds: MaxSeconds = None,
    _settings: ListSettings = False,
    trials: Annotated[int, option("N", "in all (default: 30)", count)] = 30,
    storage: Annotated[str | None, option("URL", "of a database shared by workers")] = None,
    objective: Annotated[
        str | None, option("ibs|uno_c|calibration|several", "short for --set search.objective=…")
    ] = None,
) -> None:
    """Search for better settings, then train the final model; resumable.

    A trial changes one part of the best model so far: forest, boosted trees, stack, network, linear
    model or time bins. Learners that it does not touch are not fitted again. Every trial is judged
    on the same folds; the first one is the defaults. The best three are judged on other folds too,
    and the gain that can be expected on fresh patients is printed with its 80 % interval. Where
    none is probable the defaults are kept. The final model is judged on folds that chose nothing.

    The search is judged on one survival endpoint, the study's first or --endpoint; the final model
    is of all. --objective says by which score: the integrated Brier score (ibs), Uno's C (uno_c),
    the integrated calibration index (calibration), or the Brier score of those trials whose C and
    calibration are within a standard error of the best (several).

    Ctrl-C loses nothing: the same command goes on. Several workers share one study when they are
    given the same --storage: it gets --trials trials in all, and a worker waits for the last of the
    others.

      accomplice tune study.yaml --trials 50
      accomplice tune study.yaml --trials 200 --storage postgresql://host/optuna
      accomplice tune study.yaml --trials 200 --max-seconds 3600
      accomplice tune study.yaml --objective uno_c

    The search ends at --trials trials in all, when 25 in a row were no better than one before them
    (--set search.patience=N), or after about --max-seconds, which include the final fit, whichever
    is first. No trial begins that would not end in time; one that time or Ctrl-C stops is not
    counted. However little time there is, the defaults are tried in full and there is a final
    model. The same command with more trials or more seconds goes on.
    """
    from accomplice.data.loading import load_cohort

    chosen = settings(given, seed, endpoint, objective)
    request = Request(study, chosen, out, force, max_seconds, context.obj)
    cohort, config, store, budget = begin(request, load_cohort, searches=True, storage=storage)
    from accomplice.training.tracking.experiment import search

    with shown_search() as callbacks:
        done = search(store, cohort, config, trials, storage, name, out, budget, study, **callbacks)
    say_result(*done)
