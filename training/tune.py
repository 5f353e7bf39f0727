"""Tune the network with Optuna: every trial is judged on the same folds, the defaults first."""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import IntegrityError, ProgrammingError

from data.errors import InputError
from training.config import Config, flat, with_settings
from training.evaluation import quick_scores
from training.fit import Prepared, fit

#: Seconds between a worker's signs of life, and without one until its trial is another's.
HEARTBEAT, GRACE = 60, 180
#: Attribute of the trial that has the default settings.
DEFAULTS = "defaults"
#: States of a trial that was or will be judged; an interrupted one was not.
ALIVE = (TrialState.COMPLETE, TrialState.RUNNING, TrialState.WAITING)
#: Trials drawn at random before the search learns from them.
STARTUP = 8

Report = Callable[[FrozenTrial, Study], None]


class SeededByTrial(BaseSampler):
    """Optuna's TPE, seeded anew for each trial by its number.

    A sampler's state is not stored. So workers that share a study, and a session that goes on with
    one, draw trials that were not drawn before.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.inner = TPESampler(seed=seed)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:  # noqa: ARG002
        """Begin anew."""
        self.inner = TPESampler(seed=self.seed + trial.number, n_startup_trials=STARTUP)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """As TPE does."""
        return self.inner.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """As TPE does."""
        return self.inner.sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """As TPE does."""
        return self.inner.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """As TPE does."""
        self.inner.after_trial(study, trial, state, values)


@dataclass(frozen=True)
class Tuned:
    """Where a study stands."""

    study: Study
    config: Config
    """The best configuration so far."""
    trials: int
    """Trials completed, earlier sessions and other workers included."""


#: What is tuned: key -> lowest and highest value; whole numbers where the ends are. All but the
#: dropouts on a logarithmic scale.
SPACE: dict[str, tuple[float, float]] = {
    "net.learning_rate": (3e-4, 1e-2),
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


def study_name(prepared: Prepared, config: Config) -> str:
    """Name a study by its cohort and configuration, so that the same command resumes it."""
    cohort = prepared.cohort
    decided = json.dumps([cohort.fingerprint(), flat(config)], sort_keys=True)
    digest = hashlib.sha256(decided.encode()).hexdigest()[:10]
    return f"{cohort.study.name}-{cohort.endpoint}-{digest}"


def open_study(name: str, storage: str, seed: int) -> Study:
    """Open a study or begin it; a lost worker's trial is run again.

    Raises:
        InputError: the storage cannot be reached.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    wait = {"connect_args": {"timeout": 60}} if storage.startswith("sqlite") else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        try:
            kept = _connect(storage, wait)
        except Exception as error:
            # Whatever the driver raises, the text may hold the password: name the kind only.
            raise InputError(
                f"--storage: cannot be opened ({type(error).__name__}): "
                "give a URL such as postgresql://host/database or sqlite:///file.db"
            ) from None
        study = optuna.create_study(
            study_name=name, storage=kept, direction="minimize", load_if_exists=True
        )
    study.sampler = SeededByTrial(seed)
    return study


def _connect(storage: str, wait: dict[str, Any]) -> RDBStorage:
    """Connect to a storage, making its tables where it has none."""
    for pause in (0.2, 1.0, 3.0, None):
        try:
            return RDBStorage(
                storage,
                engine_kwargs=wait,
                heartbeat_interval=HEARTBEAT,
                grace_period=GRACE,
                heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(max_retry=2),
            )
        except (IntegrityError, ProgrammingError):
            # Another worker made the same tables in the same moment: they are there by now.
            if pause is None:
                raise
            time.sleep(pause)
    raise AssertionError  # the last try returns or raises


def of_defaults(study: Study) -> FrozenTrial:
    """Return the completed trial of the default settings."""
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return next(t for t in done if DEFAULTS in t.user_attrs)


def completed(study: Study) -> int:
    """Return how many trials are done."""
    return len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))


def tune(prepared: Prepared, config: Config, study: Study, trials: int, report: Report) -> Tuned:
    """Run trials until the study has ``trials`` completed ones.

    A trial's score is the out-of-fold integrated Brier score of the stacked model. The defaults are
    the first trial, so the best is never worse than they are on these folds.

    Args:
        prepared: the cohort's folds, shared by all trials.
        config: defaults, and everything that is not tuned.
        study: from :func:`open_study`.
        trials: how many the study shall have, earlier ones included.
        report: told of each completed trial.
    """
    if not any(t.state in ALIVE for t in study.trials if DEFAULTS in t.user_attrs):
        settings = flat(config)
        study.enqueue_trial({key: settings[key] for key in SPACE}, user_attrs={DEFAULTS: True})

    def objective(trial: Trial) -> float:
        drawn = suggest(trial, config)
        fitted = fit(prepared, drawn)
        scores = quick_scores(fitted)
        for name, value in scores.items():
            trial.set_user_attr(name, value)
        trial.set_user_attr("net_share", fitted.ensemble.stack.weight("net"))
        return scores["ibs"]

    def enough(current: Study, trial: FrozenTrial) -> None:
        report(trial, current)
        if completed(current) >= trials:
            current.stop()

    if completed(study) < trials:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.optimize(objective, callbacks=[enough])
    return Tuned(study, with_settings(config, study.best_params), completed(study))
