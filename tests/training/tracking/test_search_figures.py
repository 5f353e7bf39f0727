from __future__ import annotations

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from accomplice.training.estimators.policy import TRIALS_TO_RANK
from accomplice.training.tracking.search_figures import (
    importances,
    parallel_coordinates,
    study_figures,
)
from accomplice.training.tune import DEFAULTS

SPACE = {
    "net.rate": FloatDistribution(1e-3, 1e-1, log=True),
    "net.dropout": FloatDistribution(0.0, 0.6),
    "net.width": IntDistribution(16, 64, log=True),
}


def study_of(n, score=lambda p: p["net.dropout"], pruned=0, seed=0):
    """A study of n completed trials, the first being the defaults, then pruned ones."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study, rng = optuna.create_study(), np.random.default_rng(seed)
    for k in range(n + pruned):
        params = {
            "net.rate": 10 ** rng.uniform(-3, -1),
            "net.dropout": rng.uniform(0, 0.6),
            "net.width": int(rng.integers(16, 65)),
        }
        done = k < n
        study.add_trial(
            create_trial(
                params=params,
                distributions=SPACE,
                value=score(params) if done else None,
                state=TrialState.COMPLETE if done else TrialState.PRUNED,
                user_attrs={DEFAULTS: True} if k == 0 else {},
            )
        )
    return study


def lines(figure):
    """Heights of the lines that go through all axes, in the order drawn."""
    (axes,) = figure.axes
    return [line.get_ydata() for line in axes.lines if len(line.get_ydata()) == len(SPACE) + 1]


def test_few_trials_have_no_importance():
    assert importances(study_of(TRIALS_TO_RANK - 1)) == {}
    names = [name for name, _ in study_figures(study_of(TRIALS_TO_RANK - 1))]
    assert names == ["history.png", "parallel.png"]
    assert [name for name, _ in study_figures(study_of(1))] == ["history.png"]
    assert [name for name, _ in study_figures(study_of(TRIALS_TO_RANK))][2:] == ["importance.png"]


def test_trials_of_one_score_have_no_importance():
    assert importances(study_of(30, score=lambda p: 0.2)) == {}


def test_what_decides_the_score_matters_most():
    found = importances(study_of(40))
    assert next(iter(found)) == "net.dropout"
    share, low, high = found["net.dropout"]
    assert share > 0.6
    assert low <= high
    assert sum(share for share, _, _ in found.values()) == pytest.approx(1)


def test_importances_are_the_same_twice():
    assert importances(study_of(25)) == importances(study_of(25))


def test_lines_end_at_their_score_and_begin_at_their_setting():
    study = study_of(9)
    drawn = lines(parallel_coordinates(study))
    scores = np.array([t.value for t in study.trials])
    ends = sorted(line[-1] for line in drawn[:9])
    assert ends == pytest.approx(sorted((scores - scores.min()) / np.ptp(scores)))
    # The first drawn is the worst. Of a logarithmic axis from 0.001 to 0.1, 0.01 is the middle.
    worst = study.trials[int(scores.argmax())]
    assert drawn[0][0] == pytest.approx((np.log10(worst.params["net.rate"]) + 3) / 2)
    assert drawn[0][1] == pytest.approx(worst.params["net.dropout"] / 0.6)


def test_best_and_defaults_are_named():
    study = study_of(9)
    (axes,) = parallel_coordinates(study).axes
    said = [text.get_text() for text in axes.get_legend().get_texts()]
    assert said[0].startswith("defaults: trial 0")
    assert said[1].startswith(f"best: trial {study.best_trial.number}")


def test_trials_given_up_early_are_counted_and_have_no_score():
    figure = parallel_coordinates(study_of(5, pruned=3))
    (axes,) = figure.axes
    assert "3 given up early" in " ".join(t.get_text() for t in axes.texts)
    short = [line for line in axes.lines if len(line.get_ydata()) == len(SPACE)]
    assert len(short) == 3


def test_one_score_for_all_is_drawn():
    assert len(lines(parallel_coordinates(study_of(3, score=lambda p: 0.2)))) == 5
