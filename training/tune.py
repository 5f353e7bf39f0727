"""Tuning of the network with Optuna: all trials are judged on the same folds, the defaults first.

A trial that falls behind is pruned, and counts as judged. A trial interrupted by Ctrl-C or by the
time limit counts as failed.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import optuna
from optuna import Study
from optuna.pruners import MedianPruner
from optuna.samplers import TPESampler
from optuna.storages import fail_stale_trials
from optuna.trial import FrozenTrial, Trial, TrialState

from accomplice.data.cohort import Cohort
from accomplice.data.splits import within
from accomplice.training.budget import UNLIMITED, Budget
from accomplice.training.config import Config, flat, with_settings
from accomplice.training.databases import open_storage
from accomplice.training.estimators.hazard import log_risk
from accomplice.training.estimators.kaplan_meier import judged_horizon
from accomplice.training.evaluation.bootstrap import BootstrappedOutcome
from accomplice.training.fitting.fit import Fitted, fit
from accomplice.training.fitting.prepare import Prepared
from accomplice.training.processes import has_ended, this_process

#: Seconds between a worker's heartbeats.
HEARTBEAT = 60
#: Seconds without a heartbeat until a worker's trial is marked failed.
GRACE = 180
#: Seconds between two checks for the end of other workers' trials.
POLL = 1.0
#: Attribute of a trial that holds its number and the process that runs it.
PROCESS = "process"
#: Attribute that marks a trial of the default settings.
DEFAULTS = "defaults"
#: States of a trial that was judged.
JUDGED = (TrialState.COMPLETE, TrialState.PRUNED)
#: States of a trial that was judged or still can be; a failed one cannot.
ALIVE = (*JUDGED, TrialState.RUNNING, TrialState.WAITING)
#: Trials drawn at random before the search learns from them.
STARTUP = 8
#: First epochs of a trial, in which it is never pruned. Replayed in many orders on the full
#: histories of 36 trials of two synthetic cohorts, median pruning after these epochs saved 31 % and
#: 15 % of the epochs, and pruned the trial that would have been best in 2 % and none of the orders.
WARM_UP = 5
#: Quantile of the completed trials' durations that is expected for the next trial.
USUAL = 0.75
#: Factor on the expected duration of the final fit, which is evaluated more fully than a trial.
FINAL = 1.5


class OutOfTimeError(Exception):
    """A trial was stopped since the time left is needed for the final fit."""


class SecondDefaultsError(Exception):
    """An earlier trial of the defaults counts in place of this one."""


class OneTooManyError(Exception):
    """Trials with lower numbers already make up the number asked for."""


#: Callback for a judged trial of a study.
Report = Callable[[FrozenTrial, Study], None]


def do_nothing(_: object) -> None:
    """Default callback: do nothing."""


class SeededByTrial(TPESampler):
    """Optuna's TPE, seeded for each trial by the sum of ``seed`` and the trial's number.

    Optuna does not store a sampler's state. With a seed for each trial, workers that share a study,
    and sessions that resume one, do not draw the same trials again.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(seed=seed)
        self.seed = seed

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:  # noqa: ARG002
        """Seed the sampler for a trial."""
        super().__init__(seed=self.seed + trial.number, n_startup_trials=STARTUP)


@dataclass(frozen=True)
class Tuned:
    """State of an Optuna study after a search."""

    study: Study
    config: Config
    """The best configuration so far."""
    trials: int
    """Number of judged trials, those of earlier sessions and other workers included."""
    pruned: int
    """Number of pruned trials among them."""


#: Search space: key -> lowest and highest value, of whole numbers if the default is one. Settings
#: except the dropouts are drawn on a logarithmic scale. Lower learning rates took twice as long and
#: were never best. The share held out for early stopping is not tuned: pruning would compare losses
#: of different patients.
SPACE: dict[str, tuple[float, float]] = {
    "net.learning_rate": (1e-3, 1e-2),
    "net.weight_decay": (0.01, 3.0),
    "net.dropout": (0.0, 0.6),
    "net.modality_dropout": (0.0, 0.3),
    "net.encoder_width": (16, 96),
    "net.hidden_width": (16, 96),
}


def suggest(trial: Trial, base: Config) -> Config:
    """Draw a configuration from the search space, widened to include the values of ``base``."""
    defaults = flat(base)
    drawn: dict[str, float] = {}
    for key, (low, high) in SPACE.items():
        low, high = min(low, defaults[key]), max(high, defaults[key])
        if isinstance(defaults[key], int):
            drawn[key] = trial.suggest_int(key, int(low), int(high), log=True)
        else:
            drawn[key] = trial.suggest_float(key, low, high, log=low > 0)
    return with_settings(base, drawn)


def study_name(cohort: Cohort, config: Config) -> str:
    """Return a study's name by cohort and configuration, so that the same command resumes it."""
    decided = json.dumps([cohort.fingerprint(), flat(config)], sort_keys=True)
    digest = hashlib.sha256(decided.encode()).hexdigest()[:10]
    return f"{cohort.study.name}-{cohort.endpoint}-{digest}"


def check_storage(storage: str) -> None:
    """Refuse a storage that cannot be opened.

    Raises:
        InputError: as :func:`open_storage`.
    """
    open_storage(storage, HEARTBEAT, GRACE)


def open_study(name: str, storage: str, seed: int) -> Study:
    """Open a study, which is created if it does not exist.

    Args:
        name: name of the study.
        storage: address of the database.
        seed: seed of the sampler.

    Raises:
        InputError: as :func:`open_storage`.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    opened = open_storage(storage, HEARTBEAT, GRACE)
    study = optuna.create_study(
        study_name=name, storage=opened, direction="minimize", load_if_exists=True
    )
    study.sampler = SeededByTrial(seed)
    study.pruner = MedianPruner(n_startup_trials=STARTUP, n_warmup_steps=WARM_UP)
    return study


def of_defaults(study: Study) -> FrozenTrial | None:
    """Return the completed trial of the default settings; None if there is none."""
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return next((t for t in done if DEFAULTS in t.user_attrs), None)


def best_of(study: Study) -> FrozenTrial | None:
    """Return the completed trial with the lowest score; None if there is none."""
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return min(done, key=lambda t: (t.value, t.number), default=None)


def count_judged(study: Study) -> int:
    """Return the number of completed or pruned trials."""
    return len(study.get_trials(deepcopy=False, states=JUDGED))


def propose_defaults(
    study: Study, config: Config, attributes: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Enqueue a trial of the defaults, unless one was or will be run.

    Workers that begin at the same moment may each enqueue one. Of those that have not failed, only
    the trial with the lowest number is run. All workers use the attributes of the first one.

    Args:
        study: the study, from :func:`open_study`.
        config: the defaults.
        attributes: attributes of a trial that is enqueued.

    Returns:
        The attributes of the trial of the defaults with the lowest number, even if it failed.
    """
    proposed = _proposals(study)
    if not any(t.state in ALIVE for t in proposed):
        settings = flat(config)
        study.enqueue_trial(
            {key: settings[key] for key in SPACE},
            user_attrs={DEFAULTS: True, **(attributes or {})},
        )
        proposed = _proposals(study)
    return dict(proposed[0].user_attrs)


def _proposals(study: Study) -> list[FrozenTrial]:
    found = study.get_trials(deepcopy=False)
    return sorted((t for t in found if DEFAULTS in t.user_attrs), key=lambda t: t.number)


def tune(
    prepared: Prepared,
    config: Config,
    study: Study,
    trials: int,
    report: Report,
    budget: Budget = UNLIMITED,
    before: float = 0.0,
    models: int = 1,
    waiting: Callable[[int], None] = do_nothing,
) -> Tuned:
    """Run trials until the study has ``trials`` judged ones and the defaults, or time runs out.

    Trials that run in other workers are waited for, unless their worker has ended.

    A trial's score is the out-of-fold integrated Brier score of the stacked model. The defaults are
    the first trial, neither pruned nor cut short, so the best is never worse than they are on these
    folds.

    Args:
        prepared: the cohort's folds, shared by all trials.
        config: the defaults, and the settings that are not tuned.
        study: the study, from :func:`open_study`.
        trials: number of judged trials to reach, earlier ones included.
        report: called with each trial judged here, not in other workers, and the study.
        budget: time limit of search and final fit; no trial but that of the defaults begins that
            would leave the final fit too little time.
        before: seconds that the final fit takes before its network.
        models: number of survival endpoints of the final fit; trials fit the first only.
        waiting: called once with the number of trials in other workers that are waited for.

    Returns:
        The state of the study at the end.
    """

    def objective(trial: Trial) -> float:
        trial.set_user_attr(PROCESS, [trial.number, this_process()])
        first, keep = DEFAULTS in trial.user_attrs, kept_back(study, before, models)
        if first and any(t.number < trial.number for t in _proposals(study) if t.state in ALIVE):
            raise SecondDefaultsError
        # Of trials that workers begin at the same moment, those with the lowest numbers count.
        if not first and _count_others(study, trial.number) + 1 >= trials:
            raise OneTooManyError

        def watch(epoch: int, loss: float) -> None:
            trial.report(loss, epoch)
            if first:
                return
            if budget.left() < keep:
                raise OutOfTimeError
            if trial.should_prune():
                raise optuna.TrialPruned

        fitted = fit(prepared, suggest(trial, config), report=watch)
        scores = quick_scores(fitted)
        for name, value in scores.items():
            trial.set_user_attr(name, value)
        trial.set_user_attr("net_share", fitted.ensemble.stack.weight("net"))
        return scores["ibs"]

    def report_judged(current: Study, trial: FrozenTrial) -> None:
        if trial.state in JUDGED:
            report(trial, current)

    waits = False
    while True:
        end_lost_trials(study)
        propose_defaults(study, config)
        if not _needs_trials(study, trials, budget, kept_back(study, before, models)):
            break
        if _is_full(study, trials):
            if not waits:
                waiting(len(study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))))
            waits = True
            time.sleep(POLL)
            continue
        with warnings.catch_warnings(), _ignoring_lost_trial():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.optimize(
                objective,
                n_trials=1,
                callbacks=[report_judged],
                catch=(OutOfTimeError, SecondDefaultsError, OneTooManyError),
            )
    if count_judged(study) < trials:
        budget.cut("search", count_judged(study), f"{trials} trials")
    best = best_of(study)
    # None if time ran out before another worker completed the defaults.
    drawn = {} if best is None else best.params
    pruned = len(study.get_trials(deepcopy=False, states=(TrialState.PRUNED,)))
    return Tuned(study, with_settings(config, drawn), count_judged(study), pruned)


@contextmanager
def _ignoring_lost_trial() -> Iterator[None]:
    """Ignore the error of a trial that others marked failed while this process was suspended."""
    try:
        yield
    except ValueError as error:
        if not str(error).startswith("Cannot tell a FAIL trial"):
            raise


def end_lost_trials(study: Study) -> None:
    """Mark trials as failed whose worker has ended.

    A worker has ended if its heartbeat stopped or, on this machine, if its process has ended; and
    also if the trial does not name its process within ``GRACE`` seconds.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        fail_stale_trials(study)
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        number, process = trial.user_attrs.get(PROCESS, (None, ""))
        if number == trial.number:
            lost = has_ended(process)
        else:
            began = trial.datetime_start
            lost = began is not None and (datetime.now() - began).total_seconds() > GRACE
        if lost:
            study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)


def _count_others(study: Study, before: float = math.inf) -> int:
    """Count judged and running trials, except of the defaults, with numbers below ``before``."""
    trials = study.get_trials(deepcopy=False, states=(*JUDGED, TrialState.RUNNING))
    return sum(t.number < before and DEFAULTS not in t.user_attrs for t in trials)


def _is_full(study: Study, trials: int) -> bool:
    """Whether judged and running trials, that of the defaults included, reach ``trials``."""
    waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
    return _count_others(study) + 1 >= trials and not any(DEFAULTS in t.user_attrs for t in waiting)


def _needs_trials(study: Study, trials: int, budget: Budget, keep: float) -> bool:
    """Whether to go on with trials, with ``keep`` seconds left for the final fit."""
    waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
    if any(DEFAULTS in t.user_attrs for t in waiting):
        return True
    if count_judged(study) >= trials and of_defaults(study) is not None:
        return False
    return budget.left() > usual_duration(study) + keep


def kept_back(study: Study, before: float, models: int) -> float:
    """Return the seconds left to the final fit: 1.5 · models · (before + usual duration).

    ``models`` and ``before`` are those of :func:`tune`.
    """
    return FINAL * models * (before + usual_duration(study))


def usual_duration(study: Study) -> float:
    """Return the upper quartile of the completed trials' seconds; 0 if there is none."""
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    taken = [t.duration.total_seconds() for t in done if t.duration is not None]
    return float(np.quantile(taken, USUAL)) if taken else 0.0


def quick_scores(fitted: Fitted) -> dict[str, float]:
    """Return the out-of-fold ``ibs`` and ``uno_c`` (`metrics.table`) up to the judged horizon."""
    prepared, chosen = fitted.prepared, fitted.prepared.censoring
    (time, event), grid = prepared.cohort.outcome, prepared.grid
    horizon = judged_horizon(time, event, grid.horizon, chosen.reach)
    judged = BootstrappedOutcome.of(time, event, horizon, 0, 0, chosen.weights)
    risk = within(log_risk(fitted.blind), prepared.group)
    (found,) = judged.figures([judged.output(risk, grid, fitted.blind)[0]])
    return {name: float(found[name][0]) for name in ("ibs", "uno_c")}
