"""The search with Optuna: all trials are judged on the same folds, the defaults first.

A trial interrupted by Ctrl-C or by the time limit counts as failed.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import optuna
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, Trial, TrialState

from accomplice.data.errors import InputError
from accomplice.training.budget import UNLIMITED, Budget
from accomplice.training.config import Config, with_settings
from accomplice.training.processes import this_process
from accomplice.training.search import gain as gains
from accomplice.training.search.gain import Choice, choose, ranked
from accomplice.training.search.scores import OBJECTIVES, OPTIMISED, TrialScores
from accomplice.training.search.space import PART, part_of_trial, suggest
from accomplice.training.search.study import (
    ALIVE,
    DEFAULTS,
    PROCESS,
    SCORES,
    STARTUP,
    completed,
    count_others,
    end_lost_trials,
    is_full,
    kept_back,
    of_defaults,
    proposals,
    propose_defaults,
    usual_duration,
    whole_duration,
)

#: Seconds between two checks for the end of other workers' trials.
POLL = 1.0


class OutOfTimeError(Exception):
    """A trial was stopped since the time left is needed for the final fit."""


class SecondDefaultsError(Exception):
    """An earlier trial of the defaults counts in place of this one."""


class OneTooManyError(Exception):
    """Trials with lower numbers already make up the number asked for."""


#: Callback for a judged trial of a study.
Report = Callable[[FrozenTrial, Study], None]


class Judge(Protocol):
    """Scores of settings on the folds of a search; see :class:`SharedFits`."""

    def judge(self, config: Config, check: Callable[[], None], /) -> TrialScores:
        """Score settings; ``check`` is called now and then, and may raise."""

    def on_other_folds(self) -> Judge:
        """Return the same on other folds."""


def do_nothing(_: object) -> None:
    """Default callback: do nothing."""


class PartSampler(TPESampler):
    """Optuna's TPE for one part of the model a trial; the others are those of the best trial.

    It is seeded for each trial by the sum of ``seed`` and the trial's number. Optuna does not store
    a sampler's state: with a seed for each trial, workers that share a study, and sessions that
    resume one, do not draw the same trials again.
    """

    def __init__(self, seed: int, objective: str) -> None:
        super().__init__(seed=seed)
        self.seed, self.objective = seed, objective
        self.best: dict[str, Any] = {}

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Seed the sampler for a trial, and look up the best trial."""
        super().__init__(seed=self.seed + trial.number, n_startup_trials=STARTUP)
        best = next(iter(ranked(study, self.objective)), None)
        self.best = {} if best is None else best[0].params

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the settings of the trial's part, which are drawn together."""
        found = super().infer_relative_search_space(study, trial)
        part = part_of_trial(trial.number)
        return {
            key: each for key, each in found.items() if PART[key] == part or key not in self.best
        }

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Draw a setting of the trial's part; return the best trial's of the others."""
        if PART[param_name] != part_of_trial(trial.number) and param_name in self.best:
            return self.best[param_name]
        return super().sample_independent(study, trial, param_name, param_distribution)


@dataclass(frozen=True)
class Tuned:
    """State of an Optuna study after a search."""

    study: Study
    config: Config
    """The settings that the search ends with."""
    choice: Choice | None
    """Their trial and gain; None if time ran out before the defaults were judged."""
    trials: int
    """Number of judged trials, those of earlier sessions and other workers included."""
    stopped: bool
    """Whether the search ended early, since trials no longer found better settings."""


def tune(
    judge: Judge,
    config: Config,
    study: Study,
    trials: int,
    report: Report,
    budget: Budget = UNLIMITED,
    models: int = 1,
    waiting: Callable[[int], None] = do_nothing,
) -> Tuned:
    """Run trials until the study has ``trials`` judged ones and the defaults, or time runs out.

    The search also ends when the last ``search.patience`` trials were no better than one before
    them. Trials that run in other workers are waited for, unless their worker has ended. The
    defaults are the first trial, never cut short. The best trials are then scored on other folds,
    and the defaults are left only for a gain that is probable; see :mod:`gain`.

    Args:
        judge: scores of settings, with fits that all trials share.
        config: the defaults, and the settings that are not searched.
        study: the study, from :func:`study.open_study`.
        trials: number of judged trials to reach, earlier ones included.
        report: called with each trial judged here, not in other workers, and the study.
        budget: time limit of search and final fit; no trial but that of the defaults begins that
            would leave the final fit too little time.
        models: number of survival endpoints of the final fit; trials fit the first only.
        waiting: called once with the number of trials in other workers that are waited for.

    Returns:
        The state of the study at the end.

    Raises:
        InputError: a score of the objective is not defined for the defaults.
    """
    objective = config.search.objective
    study.sampler = PartSampler(config.seed, objective)

    def score(trial: Trial) -> list[float]:
        trial.set_user_attr(PROCESS, [trial.number, this_process()])
        first, keep = DEFAULTS in trial.user_attrs, kept_back(study, models)
        if first and any(t.number < trial.number for t in proposals(study) if t.state in ALIVE):
            raise SecondDefaultsError
        # Of trials that workers begin at the same moment, those with the lowest numbers count.
        if not first and count_others(study, trial.number) + 1 >= trials:
            raise OneTooManyError

        def check() -> None:
            if not first and budget.left() < keep:
                raise OutOfTimeError

        made = judge.judge(suggest(trial, config), check)
        trial.set_user_attr(SCORES, made.scores)
        trial.set_user_attr("net_share", made.net_share)
        if first:
            _refuse_undefined(made, objective)
        return [made.scores[name][0] for name in OPTIMISED[objective]]

    def report_judged(current: Study, trial: FrozenTrial) -> None:
        if trial.state == TrialState.COMPLETE:
            report(trial, current)

    waits = stopped = False
    while True:
        end_lost_trials(study)
        propose_defaults(study, config)
        if not _needs_trials(study, trials, budget, kept_back(study, models)):
            break
        if _stands_still(study, config):
            stopped = True
            break
        if is_full(study, trials):
            if not waits:
                waiting(len(study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))))
            waits = True
            time.sleep(POLL)
            continue
        with warnings.catch_warnings(), _ignoring_lost_trial():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.optimize(
                score,
                n_trials=1,
                callbacks=[report_judged],
                catch=(OutOfTimeError, SecondDefaultsError, OneTooManyError),
            )
    if len(completed(study)) < trials and not stopped:
        budget.cut("search", len(completed(study)), f"{trials} trials")
    _score_finalists(judge, config, study, budget, kept_back(study, models))
    choice = choose(study, objective)
    drawn = {} if choice is None else choice.trial.params
    return Tuned(study, with_settings(config, drawn), choice, len(completed(study)), stopped)


def _refuse_undefined(made: TrialScores, objective: str) -> None:
    """Refuse an objective of which a score of the defaults is not defined."""
    for name in OPTIMISED[objective]:
        if math.isnan(made.scores[name][0]):
            raise InputError(
                f"the {OBJECTIVES[name].label} of the defaults cannot be computed with so few "
                "events: give another --objective (in Python the setting search.objective)"
            )


def _score_finalists(
    judge: Judge, config: Config, study: Study, budget: Budget, keep: float
) -> None:
    """Score the best trials and the defaults on other folds, where there is time.

    With folds by centre there are no other folds.
    """
    wanted = gains.finalists(study, config.search.objective)
    missing = [t for t in wanted if t.number not in gains.other_folds(study)]
    if not missing or config.folds.by == "centre":
        return
    if budget.left() < keep + len(missing) * whole_duration(study):
        budget.cut("finalists", 0, f"{len(missing)}")
        return
    deciding, again = OPTIMISED[config.search.objective][0], judge.on_other_folds()
    for trial in missing:
        made = again.judge(with_settings(config, trial.params), lambda: None)
        gains.keep_other_folds(study, trial, made.scores[deciding])


@contextmanager
def _ignoring_lost_trial() -> Iterator[None]:
    """Ignore the error of a trial that others marked failed while this process was suspended."""
    try:
        yield
    except ValueError as error:
        if not str(error).startswith("Cannot tell a FAIL trial"):
            raise


def _stands_still(study: Study, config: Config) -> bool:
    """Whether the last ``search.patience`` judged trials are no better than one before them."""
    best = next(iter(ranked(study, config.search.objective)), None)
    if best is None:
        return False
    return sum(t.number > best[0].number for t in completed(study)) >= config.search.patience


def _needs_trials(study: Study, trials: int, budget: Budget, keep: float) -> bool:
    """Whether to go on with trials, with ``keep`` seconds left for the final fit."""
    waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
    if any(DEFAULTS in t.user_attrs for t in waiting):
        return True
    if len(completed(study)) >= trials and of_defaults(study) is not None:
        return False
    return budget.left() > usual_duration(study) + keep
