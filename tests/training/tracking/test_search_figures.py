from __future__ import annotations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FixedTrial

from accomplice.training.config import configure
from accomplice.training.estimators.policy import TRIALS_TO_RANK
from accomplice.training.search.scores import OBJECTIVES, OPTIMISED
from accomplice.training.search.space import KEYS, PART, defaults, suggest
from accomplice.training.search.space import SPACE as SEARCHED
from accomplice.training.tracking.search_figures import (
    PARTS,
    importances,
    parallel_coordinates,
    study_figures,
)
from tests.training.search.made import made_scores, study_of

SPACE = {
    "net.rate": FloatDistribution(1e-3, 1e-1, log=True),
    "net.dropout": FloatDistribution(0.0, 0.6),
    "net.width": IntDistribution(16, 64, log=True),
}
#: Settings of a search that are numbers within limits.
NUMERIC = [key for key in KEYS if isinstance(SEARCHED[PART[key]][key], tuple)]
#: The same, with a learner whose setting is drawn where it is used.
CONDITIONAL = {
    "forest.use": CategoricalDistribution([True, False]),
    "forest.leaf": IntDistribution(2, 40, log=True),
    **SPACE,
}


def by_dropout(params):
    return made_scores(ibs=params["net.dropout"])


def draw(rng):
    return {
        "net.rate": 10 ** rng.uniform(-3, -1),
        "net.dropout": rng.uniform(0, 0.6),
        "net.width": int(rng.integers(16, 65)),
    }


def study_made(n, score=by_dropout, objective="ibs", seed=0, without=None):
    """A study of n completed trials, the first being the defaults.

    Where ``without`` is given, trials have a forest but for these, which have no leaf either.
    """
    rng, trials = np.random.default_rng(seed), []
    for k in range(n):
        params, space = draw(rng), SPACE
        if without is not None:
            space = CONDITIONAL
            params["forest.use"] = k not in without
            if params["forest.use"]:
                params["forest.leaf"] = int(rng.integers(2, 41))
        trials.append({"params": params, "distributions": {name: space[name] for name in params}})
    return study_of([score(each["params"]) for each in trials], objective, trials)


def lines(figure, settings=("net.rate", "net.dropout", "net.width")):
    """Heights of the lines that go through all axes, in the order drawn."""
    (axes,) = figure.axes
    return [line.get_ydata() for line in axes.lines if len(line.get_ydata()) == len(settings) + 1]


def texts(figure):
    (axes,) = figure.axes
    return [text.get_text() for text in axes.texts]


def test_few_trials_have_no_importance():
    assert importances(study_made(TRIALS_TO_RANK - 1), "ibs") == {}
    names = [name for name, _ in study_figures(study_made(TRIALS_TO_RANK - 1), "ibs")]
    assert names == ["history.png", "parallel.png"]
    assert [name for name, _ in study_figures(study_made(1), "ibs")] == ["history.png"]
    found = [name for name, _ in study_figures(study_made(TRIALS_TO_RANK), "ibs")]
    assert found[2:] == ["importance.png"]


def test_trials_of_one_score_have_no_importance():
    assert importances(study_made(30, score=lambda p: made_scores()), "ibs") == {}


@pytest.mark.parametrize("objective", OPTIMISED)
def test_what_decides_the_score_matters_most(objective):
    deciding = OPTIMISED[objective][0]
    study = study_made(
        40, score=lambda p: made_scores(**{deciding: p["net.dropout"]}), objective=objective
    )
    found = importances(study, objective)
    assert next(iter(found)) == "net.dropout"
    share, low, high = found["net.dropout"]
    assert share > 0.6
    assert low <= high
    assert sum(share for share, _, _ in found.values()) == pytest.approx(1)


def test_importances_are_of_the_better_half_in_either_direction():
    # Fewer than half of an odd number are worse than the median: the halves are not the same.
    study = study_made(41)
    mirrored = study_made(41, lambda p: made_scores(uno_c=1 - p["net.dropout"]), "uno_c")
    found, other = importances(study, "ibs"), importances(mirrored, "uno_c")
    assert found.keys() == other.keys()
    for name, shares in found.items():
        assert shares == pytest.approx(other[name]), name


def test_importances_are_the_same_twice():
    assert importances(study_made(25), "ibs") == importances(study_made(25), "ibs")


def test_settings_of_a_learner_that_few_trials_use_have_an_importance():
    # One trial alone has a forest: a tenth of the trials is left out with it.
    study = study_made(TRIALS_TO_RANK, without={*range(TRIALS_TO_RANK)} - {PARTS - 1})
    found = importances(study, "ibs")
    assert found.keys() == CONDITIONAL.keys()
    assert found["forest.leaf"][1] == 0
    some = importances(study_made(40, without={3, 8, 21, 30}), "ibs")
    assert some.keys() == CONDITIONAL.keys()
    assert next(iter(some)) == "net.dropout"


def test_lines_end_at_their_score_and_begin_at_their_setting():
    study = study_made(9)
    drawn = lines(parallel_coordinates(study, "ibs"))
    scores = np.array([t.value for t in study.trials])
    ends = sorted(line[-1] for line in drawn[:9])
    assert ends == pytest.approx(sorted((scores - scores.min()) / np.ptp(scores)))
    # The first drawn is the worst. Of a logarithmic axis from 0.001 to 0.1, 0.01 is the middle.
    worst = study.trials[int(scores.argmax())]
    assert drawn[0][0] == pytest.approx((np.log10(worst.params["net.rate"]) + 3) / 2)
    assert drawn[0][1] == pytest.approx(worst.params["net.dropout"] / 0.6)


def test_lines_are_broken_where_a_learner_is_not_used():
    study = study_made(9, without={2, 5})
    figure = parallel_coordinates(study, "ibs")
    drawn = lines(figure, ("forest.leaf", *SPACE))
    assert len(drawn) == 9 + 2
    leaf = next(
        place
        for place, name in enumerate(t for t in texts(figure) if ".\n" in t)
        if name == "forest.\nleaf"
    )
    assert "lines are broken where a learner is not used" in " ".join(texts(figure))
    assert "broken" not in " ".join(texts(parallel_coordinates(study_made(9), "ibs")))
    gaps = [np.isnan(line[leaf]) for line in drawn[:9]]
    assert sum(gaps) == 2
    for line in drawn:
        assert np.isfinite(np.delete(line, leaf)).all()


@pytest.mark.parametrize("objective", OPTIMISED)
def test_the_best_is_dark_in_front_and_named(objective):
    deciding = OPTIMISED[objective][0]
    better = -1 if OBJECTIVES[deciding].higher_is_better else 1
    study = study_made(
        9, lambda p: made_scores(**{deciding: 0.5 + better * p["net.dropout"] / 2}), objective
    )
    figure = parallel_coordinates(study, objective)
    (axes,) = figure.axes
    dropouts = [t.params["net.dropout"] for t in study.trials]
    drawn = [line for line in axes.lines if len(line.get_ydata()) == len(SPACE) + 1]
    assert [line.get_ydata()[1] * 0.6 for line in drawn[:9]] == pytest.approx(
        sorted(dropouts, reverse=True)
    )
    worst, best = (sum(drawn[k].get_color()[:3]) for k in (0, 8))
    assert best < worst
    assert drawn[0].get_zorder() < drawn[8].get_zorder()
    said = [text.get_text() for text in axes.get_legend().get_texts()]
    assert said[0].startswith("defaults: trial 0")
    assert said[1].startswith(f"highest expected gain: trial {int(np.argmin(dropouts))}")
    assert OBJECTIVES[deciding].label.replace(" ", "\n", 1) in texts(figure)


@pytest.mark.parametrize("objective", OPTIMISED)
def test_history_says_which_way_is_better(objective):
    deciding = OBJECTIVES[OPTIMISED[objective][0]]
    study = study_made(
        9, lambda p: made_scores(**{OPTIMISED[objective][0]: p["net.dropout"]}), objective
    )
    _, figure = next(study_figures(study, objective))
    (axes,) = figure.axes
    best = next(line for line in axes.lines if line.get_label() == "best so far").get_ydata()
    scores = [trial.params["net.dropout"] for trial in study.trials]
    assert best[-1] == (max(scores) if deciding.higher_is_better else min(scores))
    assert (np.sign(np.diff(best)) != (-1 if deciding.higher_is_better else 1)).all()
    way = "higher" if deciding.higher_is_better else "lower"
    assert axes.get_ylabel() == f"{deciding.label} ({way} is better)"
    (defaults,) = (line for line in axes.lines if line.get_label() == "defaults")
    assert set(defaults.get_ydata()) == {scores[0]}


def test_names_and_titles_do_not_overlap():
    drawn = configure()
    trials = []
    for _ in range(TRIALS_TO_RANK):
        trial = FixedTrial(defaults(drawn))
        suggest(trial, drawn)
        trials.append({"params": trial.params, "distributions": trial.distributions})
    scores = [made_scores(ibs=0.2 - 0.001 * k) for k in range(len(trials))]
    for name, figure in study_figures(study_of(scores, trials=trials), "ibs"):
        FigureCanvasAgg(figure).draw()
        (axes,) = figure.axes
        said = [t for t in axes.texts if ".\n" in t.get_text() or len(t.get_text()) > 15]
        (title,) = (
            each
            for each in axes.get_children()
            if isinstance(each, Text) and each.get_text().endswith("\n")
        )
        boxes = [text.get_window_extent() for text in (*said, title)]
        assert len(boxes) == (3 + len(NUMERIC) if name == "parallel.png" else 2)
        # The title ends with an empty line, in which the subtitle stands.
        boxes[-1].y0 += boxes[-1].height / 2
        for k, box in enumerate(boxes):
            assert not box.count_overlaps(boxes[:k]), (name, [*said, title][k].get_text())


def test_one_score_for_all_is_drawn():
    study = study_made(3, score=lambda p: made_scores())
    assert len(lines(parallel_coordinates(study, "ibs"))) == 5
