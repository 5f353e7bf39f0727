"""Tune the network with Optuna: every trial is judged on the same folds, the defaults first.

A trial that falls behind is pruned, and counts as judged. A trial interrupted by Ctrl-C or by the
time budget counts as failed, and never as the best.
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

#: Seconds between a worker's heartbeats, and without one until its trial is marked failed.
HEARTBEAT, GRACE = 60, 180
#: Seconds between two looks at the trials of other workers.
LOOK = 1.0
#: Attribute of a trial with its number and the process that runs it.
PROCESS = "process"
#: Attribute of the trial that has the default settings.
DEFAULTS = "defaults"
#: States of a trial that was judged, and of one that was or will be; an interrupted one was not.
JUDGED = (TrialState.COMPLETE, TrialState.PRUNED)
ALIVE = (*JUDGED, TrialState.RUNNING, TrialState.WAITING)
#: Trials drawn at random before the search learns from them.
STARTUP = 8
#: Epochs that no trial is pruned in. Replayed on the whole histories of 36 trials of two synthetic
#: cohorts, this and the median spared 31 % and 15 % of the epochs, and gave up the trial that would
#: have been best in 2 % and none of the orders.
WARM_UP = 5
#: Quantile of the finished trials' durations that the next one is expected to take.
USUAL = 0.75
#: Times that the final fit may take longer than preparing and its trial did; it is judged too.
FINAL = 1.5


class OutOfTimeError(Exception):
    """A trial was stopped by the clock."""


class SecondDefaultsError(Exception):
    """Another worker's trial of the defaults is the one that counts."""


class OneTooManyError(Exception):
    """Other workers' trials are as many as were asked for."""


Report = Callable[[FrozenTrial, Study], None]


def do_nothing(_: object) -> None:
    """Default callback: do nothing."""


class SeededByTrial(TPESampler):
    """Optuna's TPE, seeded for each trial by its number.

    A sampler's state is not stored. So workers that share a study, and a session that goes on with
    one, draw trials that were not drawn before.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(seed=seed)
        self.seed = seed

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:  # noqa: ARG002
        """Seed it for the trial."""
        super().__init__(seed=self.seed + trial.number, n_startup_trials=STARTUP)


@dataclass(frozen=True)
class Tuned:
    """State of an Optuna study: best configuration, trials judged, trials pruned."""

    study: Study
    config: Config
    """The best configuration so far."""
    trials: int
    """Trials judged, earlier sessions and other workers included."""
    pruned: int
    """Trials among them that were pruned."""


#: Search space: key -> lowest and highest value; whole numbers where the ends are. All but the
#: dropouts on a logarithmic scale. Lower learning rates took twice as long and were never best.
#: The part held out for early stopping is not tuned: trials would be pruned by the losses of
#: different patients.
SPACE: dict[str, tuple[float, float]] = {
    "net.learning_rate": (1e-3, 1e-2),
    "net.weight_decay": (0.01, 3.0),
    "net.dropout": (0.0, 0.6),
    "net.modality_dropout": (0.0, 0.3),
    "net.encoder_width": (16, 96),
    "net.hidden_width": (16, 96),
}


def suggest(trial: Trial, base: Config) -> Config:
    """Draw a configuration; the space reaches as far as ``base`` does, where that is further."""
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
    """Name a study by its cohort and configuration, so that the same command resumes it."""
    decided = json.dumps([cohort.fingerprint(), flat(config)], sort_keys=True)
    digest = hashlib.sha256(decided.encode()).hexdigest()[:10]
    return f"{cohort.study.name}-{cohort.endpoint}-{digest}"


def check_storage(storage: str) -> None:
    """Refuse a storage that cannot be opened.

    Raises:
        InputError: the storage cannot be reached, or another Optuna wrote it.
    """
    open_storage(storage, HEARTBEAT, GRACE)


def open_study(name: str, storage: str, seed: int) -> Study:
    """Open a study or begin it.

    Raises:
        InputError: the storage cannot be reached.
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
    """Return the completed trial of the default settings, if there is one."""
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return next((t for t in done if DEFAULTS in t.user_attrs), None)


def best_of(study: Study) -> FrozenTrial | None:
    """Return the best of the completed trials, if there is one."""
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return min(done, key=lambda t: (t.value, t.number), default=None)


def judged(study: Study) -> int:
    """Return the number of completed or pruned trials."""
    return len(study.get_trials(deepcopy=False, states=JUDGED))


def propose_defaults(
    study: Study, config: Config, attributes: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Have the defaults tried, unless they were or will be; return the first such trial's notes.

    Workers that begin together may each propose them. The trials' numbers say whose proposal was
    first: it alone is run, and what it carries holds for all.

    Args:
        study: from :func:`open_study`.
        config: the defaults.
        attributes: what the proposal carries.
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
    """Run trials until the study has ``trials`` judged ones, or the time is over.

    It waits for trials that run in other workers, unless their worker has ended.

    A trial's score is the out-of-fold integrated Brier score of the stacked model. The defaults are
    the first trial, neither pruned nor cut short, so the best is never worse than they are on these
    folds.

    Args:
        prepared: the cohort's folds, shared by all trials.
        config: defaults, and everything that is not tuned.
        study: from :func:`open_study`.
        trials: how many the study shall have, earlier ones included.
        report: called with each judged trial.
        budget: of all, the final fit too. No trial begins that would not leave time for that.
        before: seconds that the final fit takes before its network.
        models: survival endpoints that the final fit is of; the trials are of the first alone.
        waiting: called once with the number of trials that it waits for.
    """

    def objective(trial: Trial) -> float:
        trial.set_user_attr(PROCESS, [trial.number, this_process()])
        first, keep = DEFAULTS in trial.user_attrs, kept_back(study, before, models)
        if first and any(t.number < trial.number for t in _proposals(study) if t.state in ALIVE):
            raise SecondDefaultsError
        # Of workers that begin one each at the same moment, the first numbers count.
        if not first and _others(study, trial.number) + 1 >= trials:
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

    def told(current: Study, trial: FrozenTrial) -> None:
        if trial.state in JUDGED:
            report(trial, current)

    waits = False
    while True:
        end_lost_trials(study)
        propose_defaults(study, config)
        if not _goes_on(study, trials, budget, kept_back(study, before, models)):
            break
        if _is_full(study, trials):
            if not waits:
                waiting(len(study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))))
            waits = True
            time.sleep(LOOK)
            continue
        with warnings.catch_warnings(), _slept():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.optimize(
                objective,
                n_trials=1,
                callbacks=[told],
                catch=(OutOfTimeError, SecondDefaultsError, OneTooManyError),
            )
    if judged(study) < trials:
        budget.cut("search", judged(study), f"{trials} trials")
    best = best_of(study)
    # There is none where time is over before another worker completes the defaults.
    drawn = {} if best is None else best.params
    pruned = len(study.get_trials(deepcopy=False, states=(TrialState.PRUNED,)))
    return Tuned(study, with_settings(config, drawn), judged(study), pruned)


@contextmanager
def _slept() -> Iterator[None]:
    """Go on where another worker took this one, which was stopped for a while, for lost."""
    try:
        yield
    except ValueError as error:
        if not str(error).startswith("Cannot tell a FAIL trial"):
            raise


def end_lost_trials(study: Study) -> None:
    """Have the trials fail whose worker has ended.

    On this machine that is seen by its process; of others by its signs of life, and by a mark that
    each trial gets when it begins.
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


def _others(study: Study, before: float = math.inf) -> int:
    """Count the trials, but for the defaults', that are judged or run, with numbers below one."""
    trials = study.get_trials(deepcopy=False, states=(*JUDGED, TrialState.RUNNING))
    return sum(t.number < before and DEFAULTS not in t.user_attrs for t in trials)


def _is_full(study: Study, trials: int) -> bool:
    """Whether the trials that are judged or run are as many as were asked for."""
    waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
    return _others(study) + 1 >= trials and not any(DEFAULTS in t.user_attrs for t in waiting)


def _goes_on(study: Study, trials: int, budget: Budget, keep: float) -> bool:
    """Whether to run more trials, with ``keep`` seconds kept back."""
    waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
    if any(DEFAULTS in t.user_attrs for t in waiting):
        return True
    if judged(study) >= trials and of_defaults(study) is not None:
        return False
    return budget.left() > usual_duration(study) + keep


def kept_back(study: Study, before: float, models: int) -> float:
    """Seconds that trials leave to the final fit: 1.5 models (before + usual duration)."""
    return FINAL * models * (before + usual_duration(study))


def usual_duration(study: Study) -> float:
    """Seconds within which three of four completed trials ended; 0 where there is none."""
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    taken = [t.duration.total_seconds() for t in done if t.duration is not None]
    return float(np.quantile(taken, USUAL)) if taken else 0.0


def quick_scores(fitted: Fitted) -> dict[str, float]:
    """Return the out-of-fold ``ibs`` and ``uno_c`` of a fit to its judged horizon, no intervals.

    ``ibs`` is the integrated Brier score with IPCW weights (Graf et al., Stat Med 1999), ``uno_c``
    the concordance of Uno et al. (Stat Med 2011); see ``training.metrics``.
    """
    time, event = fitted.prepared.cohort.outcome
    grid = fitted.prepared.grid
    horizon = judged_horizon(time, event, grid.horizon)
    judged = BootstrappedOutcome.of(time, event, horizon, 0, 0)
    risk = within(log_risk(fitted.cumulative), fitted.prepared.fold[0])
    (found,) = judged.figures([judged.output(risk, grid, fitted.cumulative)[0]])
    return {name: float(found[name][0]) for name in ("ibs", "uno_c")}
