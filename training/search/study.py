"""An Optuna study as the search uses it: opened by several workers, resumed, and counted."""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np
import optuna
from optuna import Study
from optuna.storages import fail_stale_trials
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from accomplice.data.cohort import Cohort
from accomplice.data.errors import InputError
from accomplice.training.config import Config, flat
from accomplice.training.databases import open_storage
from accomplice.training.processes import has_ended
from accomplice.training.search import space
from accomplice.training.search.scores import OBJECTIVES, OPTIMISED

#: Seconds between a worker's heartbeats.
HEARTBEAT = 60
#: Seconds without a heartbeat until a worker's trial is marked failed.
GRACE = 180
#: Attribute of a trial that holds its number and the process that runs it.
PROCESS = "process"
#: Attribute that marks a trial of the default settings.
DEFAULTS = "defaults"
#: Attribute of a trial with its scores; see `scores.TrialScores`.
SCORES = "scores"
#: Attribute of a study with the objective of its settings.
OBJECTIVE = "objective"
#: States of a trial that was judged or still can be; a failed one cannot.
ALIVE = (TrialState.COMPLETE, TrialState.RUNNING, TrialState.WAITING)
#: Trials drawn at random before the sampler learns from them.
STARTUP = 12
#: Quantile of the completed trials' durations that is expected for the next trial.
USUAL = 0.75
#: Factor on the expected duration of the final fit, which is evaluated more fully than a trial.
FINAL = 1.5


def study_name(cohort: Cohort, config: Config) -> str:
    """Return a study's name by cohort and configuration, so that the same command resumes it.

    ``search.patience`` is no part of it: a search that ended can go on with more.
    """
    settings = flat(config)
    del settings["search.patience"]
    decided = json.dumps([cohort.fingerprint(), settings], sort_keys=True)
    digest = hashlib.sha256(decided.encode()).hexdigest()[:10]
    return f"{cohort.study.name}-{cohort.endpoint}-{digest}"


def check_storage(storage: str) -> None:
    """Refuse a storage that cannot be opened.

    Raises:
        InputError: as :func:`open_storage`.
    """
    open_storage(storage, HEARTBEAT, GRACE)


def open_study(name: str, storage: str, objective: str = "ibs") -> Study:
    """Open a study, which is created if it does not exist.

    Args:
        name: name of the study.
        storage: address of the database.
        objective: objective of the settings.

    Raises:
        InputError: as :func:`open_storage`; or there is a study of this name whose trials were
            ranked by another objective.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    opened = open_storage(storage, HEARTBEAT, GRACE)
    directions = [
        StudyDirection.MAXIMIZE if OBJECTIVES[score].higher_is_better else StudyDirection.MINIMIZE
        for score in OPTIMISED[objective]
    ]
    study = optuna.create_study(
        study_name=name, storage=opened, directions=directions, load_if_exists=True
    )
    if OBJECTIVE not in study.user_attrs and not study.get_trials(deepcopy=False):
        study.set_user_attr(OBJECTIVE, objective)
    if study.user_attrs.get(OBJECTIVE) != objective:
        raise InputError(
            f"the study '{name}' ranks its trials by another objective than {objective}, or is of "
            "an older version: give another --name"
        )
    return study


def completed(study: Study) -> list[FrozenTrial]:
    """Return the completed trials, by number."""
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def of_defaults(study: Study) -> FrozenTrial | None:
    """Return the completed trial of the default settings; None if there is none."""
    return next((t for t in completed(study) if DEFAULTS in t.user_attrs), None)


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
    proposed = proposals(study)
    if not any(t.state in ALIVE for t in proposed):
        study.enqueue_trial(
            space.defaults(config), user_attrs={DEFAULTS: True, **(attributes or {})}
        )
        proposed = proposals(study)
    return dict(proposed[0].user_attrs)


def proposals(study: Study) -> list[FrozenTrial]:
    """Return all trials of the defaults, by number."""
    found = study.get_trials(deepcopy=False)
    return sorted((t for t in found if DEFAULTS in t.user_attrs), key=lambda t: t.number)


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


def count_others(study: Study, before: float = math.inf) -> int:
    """Count judged and running trials, except of the defaults, with numbers below ``before``."""
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.RUNNING))
    return sum(t.number < before and DEFAULTS not in t.user_attrs for t in trials)


def is_full(study: Study, trials: int) -> bool:
    """Whether judged and running trials, that of the defaults included, reach ``trials``."""
    waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
    return count_others(study) + 1 >= trials and not any(DEFAULTS in t.user_attrs for t in waiting)


def usual_duration(study: Study) -> float:
    """Return the upper quartile of the completed trials' seconds; 0 if there is none."""
    taken = _durations(study)
    return float(np.quantile(taken, USUAL)) if taken else 0.0


def whole_duration(study: Study) -> float:
    """Return the longest of the completed trials' seconds, as of one that fits every learner."""
    return max(_durations(study), default=0.0)


def _durations(study: Study) -> list[float]:
    taken = (trial.duration for trial in completed(study))
    return [each.total_seconds() for each in taken if each is not None]


def kept_back(study: Study, models: int) -> float:
    """Return the seconds left to the final fit: 1.5 · models · :func:`whole_duration`.

    Args:
        study: the study.
        models: number of survival endpoints of the final fit; trials fit the first only.
    """
    return FINAL * models * whole_duration(study)
