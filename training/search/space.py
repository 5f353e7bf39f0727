"""The search space: parts of the model, their settings and the ranges of these.

A trial changes one part; the others have the settings of the best trial so far (Friedman,
Hastie and Tibshirani, "Regularization paths for generalized linear models via coordinate descent",
J Stat Softw 2010, for the idea of one block at a time). Learners that a trial does not touch are
not fitted again.
"""

from __future__ import annotations

from typing import Any

from optuna.trial import Trial

from accomplice.training.config import Config, flat, with_settings

#: Part -> its settings, with their lowest and highest value. Whole numbers are drawn as such where
#: the default is one, and on a logarithmic scale where the lowest value is above 0. A list has all
#: values. None: yes or no; the settings after a no are not drawn. Lower learning rates of the
#: network took twice as long and were never best. Folds and members are not searched: more of them
#: are always better, and cost time.
SPACE: dict[str, dict[str, tuple[float, float] | list[int] | None]] = {
    "forest": {
        "forest.use": None,
        "forest.trees": (100, 400),
        "forest.leaf": (2, 40),
        "forest.oblique": [0, 2, 3, 4, 5],
    },
    "boosting": {
        "boosting.use": None,
        "boosting.depth": (1, 6),
        "boosting.learning_rate": (0.02, 0.1),
    },
    "stack": {
        "stack.equal": (1.0, 300.0),
        "stack.slope_sd": (0.03, 0.3),
    },
    "net": {
        "net.learning_rate": (1e-3, 1e-2),
        "net.weight_decay": (0.01, 3.0),
        "net.dropout": (0.0, 0.7),
        "net.modality_dropout": (0.0, 0.3),
        "net.encoder_width": (16, 96),
        "net.hidden_width": (16, 96),
        "net.embedding_bins": (2, 16),
    },
    "anchor": {
        "anchor.mixing": (0.0, 1.0),
    },
    "grid": {
        "grid.bins": (6, 24),
    },
}
#: All settings that are searched.
KEYS = tuple(key for settings in SPACE.values() for key in settings)
#: Setting -> its part.
PART = {key: part for part, settings in SPACE.items() for key in settings}


def part_of_trial(number: int) -> str:
    """Return the part that a trial changes; the trials take turns."""
    return tuple(SPACE)[number % len(SPACE)]


def defaults(config: Config) -> dict[str, Any]:
    """Return the searched settings of a configuration, as a trial's parameters."""
    settings = flat(config)
    found = {}
    for part in SPACE.values():
        for key, limits in part.items():
            found[key] = settings[key]
            if limits is None and not settings[key]:
                break
    return found


def suggest(trial: Trial, base: Config) -> Config:
    """Draw a configuration from the search space, widened to include the values of ``base``."""
    known = flat(base)
    drawn: dict[str, Any] = {}
    for part in SPACE.values():
        for key, limits in part.items():
            if limits is None:
                drawn[key] = trial.suggest_categorical(key, [True, False])
                if not drawn[key]:
                    break
                continue
            if isinstance(limits, list):
                drawn[key] = trial.suggest_categorical(key, limits)
                continue
            low, high = min(limits[0], known[key]), max(limits[1], known[key])
            if isinstance(known[key], int):
                drawn[key] = trial.suggest_int(key, int(low), int(high), log=True)
            else:
                drawn[key] = trial.suggest_float(key, low, high, log=low > 0)
    return with_settings(base, drawn)
