"""Figures of a search: history, importances of the settings, and parallel coordinates.

They are drawn from the Optuna study, and logged to the study's MLflow run by `search_runs`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence

import matplotlib as mpl
import numpy as np
import optuna
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial

from accomplice.training.estimators.policy import TRIALS_TO_RANK
from accomplice.training.reports.figures.style import (
    BLUE,
    INK,
    ORANGE,
    house_style,
    titles,
    trial_history,
)
from accomplice.training.search.gain import ranked
from accomplice.training.search.scores import OBJECTIVES, OPTIMISED, Objective
from accomplice.training.search.study import completed, of_defaults

#: Distributions of a setting that is a number.
Numeric = FloatDistribution | IntDistribution

#: Characters of a name that fit between two axes.
NAME = 12
#: Parts of the trials, each left out in turn, for the range of the importances.
PARTS = 10


def study_figures(study: optuna.Study, objective: str) -> Iterator[tuple[str, Figure]]:
    """Yield the file name and drawing of each figure of a study with a completed trial.

    Parallel coordinates need two completed trials; for the importances see :func:`importances`.

    Args:
        study: the study.
        objective: objective of its settings; the figures are of the score that decides.
    """
    done = completed(study)
    first = of_defaults(study)
    scores = [_score(trial) for trial in done]
    deciding = OBJECTIVES[OPTIMISED[objective][0]]
    defaults = None if first is None else _score(first)
    yield "history.png", trial_history(scores, defaults, deciding.label, deciding.higher_is_better)
    if len(done) > 1:
        yield "parallel.png", parallel_coordinates(study, objective)
    shares = importances(study, objective)
    if shares:
        yield "importance.png", importance(shares, len(done))


def parallel_coordinates(study: optuna.Study, objective: str) -> Figure:
    """Draw each completed trial as a line through its numeric settings to its score, best in front.

    Settings that are no numbers are left out; those searched on a logarithmic scale are drawn on
    one. The line of a trial without a learner is broken at the learner's settings.

    Args:
        study: the study.
        objective: objective of its settings.
    """
    done = completed(study)
    space = _space(done)
    deciding = OBJECTIVES[OPTIMISED[objective][0]]
    scores = np.array([_score(trial) for trial in done])
    low, high = float(scores.min()), float(scores.max())
    first, best = of_defaults(study), next(iter(ranked(study, objective)), None)
    with house_style():
        figure = Figure(figsize=(max(7.5, 1.0 * (len(space) + 1)), 5))
        axes = figure.subplots()
        shade = mpl.colormaps["viridis"]
        heights = [_heights(trial, space) for trial in done]
        for order, trial in enumerate(_worst_first(done, deciding)):
            part = (_score(trial) - low) / (high - low) if high > low else 0.0
            line = [*_heights(trial, space), part]
            bright = 1 - part if deciding.higher_is_better else part
            axes.plot(line, color=shade(0.08 + 0.92 * bright), lw=1.2, zorder=2 + order / len(done))
        for named, colour, style, name in (
            (first, INK, (0, (4, 2)), "defaults"),
            (None if best is None else best[0], ORANGE, "solid", "highest expected gain"),
        ):
            if named is not None:
                part = (_score(named) - low) / (high - low) if high > low else 0.0
                line = [*_heights(named, space), part]
                label = f"{name}: trial {named.number}, {_score(named):.4f}"
                axes.plot(line, color=colour, lw=2.2, ls=style, zorder=4, label=label)
        for position, (name, searched) in enumerate(space.items()):
            marks = _marks(searched)
            _axis(axes, position, name, [(_height(v, searched), f"{v:g}") for v in marks])
        ticks = MaxNLocator(4).tick_values(low, high) if high > low else np.array([low])
        inside = [t for t in ticks if low <= t <= high]
        scale = high - low or 1.0
        marks_of_score = [((t - low) / scale, f"{t:.4f}") for t in inside]
        _axis(axes, len(space), deciding.label, marks_of_score)
        axes.set(xlim=(-0.55, len(space) + 0.1), ylim=(-0.04, 1.04), xticks=[], yticks=[])
        axes.grid(visible=False)
        axes.spines[["left", "bottom"]].set_visible(False)
        about = f"{len(done)} trials scored out of fold; dark is better"
        if np.isnan(heights).any():
            about += "; lines are broken where a learner is not used"
        titles(axes, "Settings of the trials and their score", about)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=2)
        return figure


def _worst_first(trials: list[FrozenTrial], deciding: Objective) -> list[FrozenTrial]:
    return sorted(trials, key=_score, reverse=not deciding.higher_is_better)


def importances(study: optuna.Study, objective: str) -> dict[str, tuple[float, float, float]]:
    """Return the importance of each setting, in falling order.

    PED-ANOVA compares the distribution of the better half of the trials with that of all; the
    shares sum to 1 (Watanabe, Bansal and Hutter, "PED-ANOVA: efficiently quantifying
    hyperparameter importance in arbitrary subspaces", IJCAI 2023).

    Args:
        study: the study.
        objective: objective of its settings; the better half is by the score that decides.

    Returns:
        Setting -> share, lowest and highest share with a tenth of the trials left out. Empty if
        fewer than :data:`TRIALS_TO_RANK` trials are completed, or all have the same score.
    """
    done = completed(study)
    if len(done) < TRIALS_TO_RANK or len({_score(trial) for trial in done}) < 2:
        return {}
    sign = -1 if OBJECTIVES[OPTIMISED[objective][0]].higher_is_better else 1
    whole = _shares(done, sign)
    without = [
        _shares([t for k, t in enumerate(done) if k % PARTS != part], sign) for part in range(PARTS)
    ]
    ends = {}
    for name, share in whole.items():
        # Without the trials that alone have a setting it has no share.
        others = [each.get(name, 0.0) for each in without]
        ends[name] = share, min(others), max(others)
    return dict(sorted(ends.items(), key=lambda item: -item[1][0]))


def importance(shares: dict[str, tuple[float, float, float]], trials: int) -> Figure:
    """Draw the shares of :func:`importances`, from a number of completed trials.

    Args:
        shares: result of :func:`importances`.
        trials: number of completed trials.
    """
    with house_style():
        figure = Figure(figsize=(7, 1.8 + 0.36 * len(shares)))
        axes = figure.subplots()
        for row, (share, low, high) in enumerate(shares.values()):
            axes.barh(row, share, color=BLUE, height=0.6)
            axes.hlines(row, low, high, color=INK, lw=1.5)
        axes.set_yticks(range(len(shares)), list(shares))
        axes.invert_yaxis()
        axes.set(xlim=(0, None), xlabel="share of the difference of the better half of the trials")
        axes.grid(visible=False, axis="y")
        about = f"{trials} trials; lines: range when a tenth of them is left out"
        titles(axes, "Importance of the settings in the search", about)
        return figure


def _shares(trials: Sequence[FrozenTrial], sign: int) -> dict[str, float]:
    """Return PED-ANOVA's importances of finished trials, for a low score times ``sign``."""
    # Slow to import: it looks for scikit-learn, which other evaluators than this one use.
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    storage = optuna.storages.InMemoryStorage()
    study = optuna.create_study(storage=storage, directions=["minimize"] * len(trials[0].values))
    study.add_trials(trials)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        evaluator = PedAnovaImportanceEvaluator(target_quantile=0.5)
        found = get_param_importances(
            study, evaluator=evaluator, target=lambda trial: sign * _score(trial)
        )
        return dict(found)


def _space(trials: Sequence[FrozenTrial]) -> dict[str, Numeric]:
    """Return the numeric settings of the search, each with the last trial's range."""
    space: dict[str, Numeric] = {}
    for trial in trials:
        for name, searched in trial.distributions.items():
            if isinstance(searched, FloatDistribution | IntDistribution):
                space[name] = searched
    return space


def _heights(trial: FrozenTrial, space: dict[str, Numeric]) -> list[float]:
    return [
        _height(float(trial.params[name]), searched) if name in trial.params else np.nan
        for name, searched in space.items()
    ]


def _height(value: float, searched: Numeric) -> float:
    """Return a value's height on its axis: 0 at the lowest searched value, 1 at the highest."""
    low, high = float(searched.low), float(searched.high)
    if searched.log:
        value, low, high = np.log(value), np.log(low), np.log(high)
    return float((value - low) / (high - low)) if high > low else 0.5


def _marks(searched: Numeric) -> list[float]:
    """Return the ends of an axis, with a few round values between them."""
    low, high = float(searched.low), float(searched.high)
    if searched.log:
        decades = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
        steps = (1,) if high / low > 100 else (1, 2, 5)
        inner = np.sort(np.outer(decades, steps).ravel())
    else:
        inner = np.asarray(MaxNLocator(4).tick_values(low, high))
    between = [v for v in inner if 0.1 <= _height(max(v, low), searched) <= 0.9]
    return [low, *between, high]


def _axis(axes: Axes, x: int, name: str, marks: list[tuple[float, str]]) -> None:
    """Draw a vertical axis at ``x``, its name below and its marks (height, text) at the left."""
    axes.vlines(x, 0, 1, color=INK, lw=0.9, zorder=3)
    backdrop = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.5}
    for height, text in marks:
        axes.plot([x - 0.03, x], [height, height], color=INK, lw=0.9, zorder=3)
        axes.text(
            x - 0.05, height, text, ha="right", va="center", fontsize=8, zorder=5, bbox=backdrop
        )
    # A name longer than the distance of two axes is broken into lines.
    words = name.replace(".", ".\n", 1).replace(" ", "\n", 1)
    if max(map(len, words.split("\n"))) > NAME:
        words = words.replace("_", "_\n")
    axes.text(x, -0.05, words, ha="center", va="top", fontsize=9)


def _score(trial: FrozenTrial) -> float:
    return float(trial.values[0])
