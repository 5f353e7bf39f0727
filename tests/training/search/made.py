"""Judges with scores that are made up, and studies of such scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import optuna
from optuna import Study
from optuna.trial import create_trial

from accomplice.training.config import Config
from accomplice.training.search.scores import OBJECTIVES, OPTIMISED, TrialScores
from accomplice.training.search.study import DEFAULTS, SCORES

#: Groups of patients of whom each is left out in turn.
GROUPS = 20
#: Scores of the defaults.
USUAL = {"ibs": 0.2, "uno_c": 0.6, "ici": 0.02}


def values(value: float, error: float = 0.0, groups: int = GROUPS) -> list[float]:
    """Return a score on all patients and without each group, with this jackknife error."""
    step = error / np.sqrt(groups - 1)
    return [value, *(value + step * (-1) ** k for k in range(groups))]


def made_scores(error: float = 0.0, **scores: float) -> TrialScores:
    """Return scores of a trial: the usual ones but for those given."""
    given = USUAL | scores
    return TrialScores({name: values(value, error) for name, value in given.items()}, 0.25)


class Clock:
    """Moves only as told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class MadeJudge:
    """Judge of made-up scores, each by some checks between which a clock moves on."""

    def __init__(
        self,
        score: Callable[[Config], TrialScores] = lambda _: made_scores(),
        clock: Clock | None = None,
        seconds: float = 0.0,
        checks: int = 1,
        again: Callable[[Config], TrialScores] | None = None,
    ) -> None:
        self.score, self.again = score, again or score
        self.clock, self.seconds, self.checks = clock or Clock(), seconds, checks
        self.judged: list[Config] = []
        self.judged_again: list[Config] = []

    def judge(self, config: Config, check: Callable[[], None]) -> TrialScores:
        """Score settings, after the checks."""
        for _ in range(self.checks):
            self.clock.now += self.seconds
            check()
        self.judged.append(config)
        return self.score(config)

    def on_other_folds(self) -> MadeJudge:
        """Return a judge by the scores on other folds, who notes in the same lists."""
        other = MadeJudge(self.again, self.clock, self.seconds, self.checks)
        other.judged = self.judged_again
        return other


def in_turn(*scores: TrialScores) -> Callable[[Config], TrialScores]:
    """Return scores in turn, the last for all that follow."""
    left = list(scores)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


def study_of(
    scores: Sequence[TrialScores],
    objective: str = "ibs",
    trials: Sequence[dict[str, Any]] | None = None,
) -> Study:
    """Return a study in memory with these completed trials, of which the first is the defaults.

    Args:
        scores: scores of each trial.
        objective: objective of the settings.
        trials: parameters and distributions of each trial.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    names = OPTIMISED[objective]
    directions = ["maximize" if OBJECTIVES[name].higher_is_better else "minimize" for name in names]
    study = optuna.create_study(directions=directions)
    for k, each in enumerate(scores):
        attributes: dict[str, Any] = {SCORES: each.scores, "net_share": each.net_share}
        study.add_trial(
            create_trial(
                values=[each.scores[name][0] for name in names],
                user_attrs=attributes | ({DEFAULTS: True} if k == 0 else {}),
                **({} if trials is None else trials[k]),
            )
        )
    return study
