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
from optuna.trial import FrozenTrial, TrialState

from accomplice.training.estimators.policy import TRIALS_TO_RANK
from accomplice.training.reports.figures.style import (
    BLUE,
    INK,
    ORANGE,
    house_style,
    titles,
    trial_history,
)
from accomplice.training.tune import best_of, of_defaults

#: Distributions of a setting that is a number.
Numeric = FloatDistribution | IntDistribution

#: Parts of the trials, each left out in turn, for the range of the importances.
PARTS = 10
#: Name of a trial's score in the figures.
SCORE = "integrated Brier score"


def study_figures(study: optuna.Study) -> Iterator[tuple[str, Figure]]:
    """Yield the file name and drawing of each figure of a study with a completed trial.

    Parallel coordinates need two completed trials; for the importances see :func:`importances`.
    """
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    first = of_defaults(study)
    scores = [_score(trial) for trial in done]
    yield "history.png", trial_history(scores, None if first is None else _score(first))
    if len(done) > 1:
        yield "parallel.png", parallel_coordinates(study)
    shares = importances(study)
    if shares:
        yield "importance.png", importance(shares, len(done))


def parallel_coordinates(study: optuna.Study) -> Figure:
    """Draw each completed trial as a line through its numeric settings to its score, best in front.

    Settings that are no numbers are left out; those searched on a logarithmic scale are drawn on
    one. Lines of pruned trials, which have no score, end before it.
    """
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    pruned = study.get_trials(deepcopy=False, states=(TrialState.PRUNED,))
    space = _space([*done, *pruned])
    scores = np.array([_score(trial) for trial in done])
    low, high = float(scores.min()), float(scores.max())
    first, best = of_defaults(study), best_of(study)
    with house_style():
        figure = Figure(figsize=(max(7.5, 1.15 * (len(space) + 1)), 5))
        axes = figure.subplots()
        for trial in pruned:
            axes.plot(_heights(trial, space), color="#cccccc", lw=0.7, zorder=1)
        shade = mpl.colormaps["viridis"]
        for order, trial in enumerate(sorted(done, key=_score, reverse=True)):
            part = (_score(trial) - low) / (high - low) if high > low else 0.0
            line = [*_heights(trial, space), part]
            axes.plot(
                line, color=shade(1 - 0.92 * (1 - part)), lw=1.2, zorder=2 + order / len(done)
            )
        for named, colour, style, name in (
            (first, INK, (0, (4, 2)), "defaults"),
            (best, ORANGE, "solid", "best"),
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
        _axis(axes, len(space), SCORE, [((t - low) / scale, f"{t:.4f}") for t in inside])
        axes.set(xlim=(-0.55, len(space) + 0.1), ylim=(-0.04, 1.04), xticks=[], yticks=[])
        axes.grid(visible=False)
        axes.spines[["left", "bottom"]].set_visible(False)
        about = f"{len(done)} trials scored out of fold; dark is better"
        if pruned:
            about += f"; {len(pruned)} given up early (grey)"
        titles(axes, "Settings of the trials and their score", about)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2)
        return figure


def importances(study: optuna.Study) -> dict[str, tuple[float, float, float]]:
    """Return the importance of each setting, in falling order.

    PED-ANOVA compares the distribution of the better half of the trials with that of all; the
    shares sum to 1 (Watanabe, Bansal and Hutter, "PED-ANOVA: efficiently quantifying
    hyperparameter importance in arbitrary subspaces", IJCAI 2023).

    Returns:
        Setting -> share, lowest and highest share with a tenth of the trials left out. Empty if
        fewer than :data:`TRIALS_TO_RANK` trials are completed, or all have the same score.
    """
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(done) < TRIALS_TO_RANK or len({_score(trial) for trial in done}) < 2:
        return {}
    whole = _shares(done)
    without = [
        _shares([t for k, t in enumerate(done) if k % PARTS != part]) for part in range(PARTS)
    ]
    ends = {
        name: (share, min(each[name] for each in without), max(each[name] for each in without))
        for name, share in whole.items()
    }
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


def _shares(trials: Sequence[FrozenTrial]) -> dict[str, float]:
    """Return PED-ANOVA's importances of finished trials."""
    # Slow to import: it looks for scikit-learn, which other evaluators than this one use.
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    study = optuna.create_study(storage=optuna.storages.InMemoryStorage())
    study.add_trials(trials)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        evaluator = PedAnovaImportanceEvaluator(target_quantile=0.5)
        return dict(get_param_importances(study, evaluator=evaluator))


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
    # A long name is broken into lines.
    words = name.replace(".", ".\n", 1).replace(" ", "\n", 1)
    axes.text(x, -0.05, words, ha="center", va="top", fontsize=9)


def _score(trial: FrozenTrial) -> float:
    assert trial.value is not None  # it is completed
    return float(trial.value)
