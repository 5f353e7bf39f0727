"""The benchmark's arithmetic on made-up patients; the benchmark itself is run by `make bench`."""

from __future__ import annotations

import math
from argparse import ArgumentTypeError

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("sksurv", reason="the benchmark scores with scikit-survival")

from accomplice.training.estimators.kaplan_meier import KaplanMeier
from tests.benchmarks import accuracy, cohorts, neutral, peers, response, scoring
from tests.benchmarks.__main__ import chosen
from tests.benchmarks.summary import ranks, summarise


@pytest.fixture
def frame() -> pd.DataFrame:
    """Patients whose hazard doubles with each unit of x."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=300)
    death = rng.exponential(10 / 2**x)
    end = rng.uniform(1, 40, 300)
    return pd.DataFrame(
        {
            "time": np.round(np.minimum(death, end) + 0.01, 3),
            "event": (death <= end).astype(np.int64),
            "num_x": np.where(rng.random(300) < 0.1, np.nan, x),
            "fac_arm": rng.choice(["a", "b"], 300),
        }
    )


@pytest.fixture
def split(monkeypatch: pytest.MonkeyPatch, frame: pd.DataFrame):
    monkeypatch.setattr(cohorts, "load", lambda cohort: frame)
    return cohorts.load_split("made-up", 0)


def test_a_list_of_benchmarks_is_chosen():
    assert chosen("serving, trial") == ["serving", "trial"]
    with pytest.raises(ArgumentTypeError, match="no benchmark 'trail': choose from response"):
        chosen("trial,trail")


def survival(test: pd.DataFrame, times: np.ndarray) -> np.ndarray:
    rate = 0.1 * 2 ** test["num_x"].fillna(0).to_numpy()
    return np.exp(-np.outer(rate, times))


def test_a_split_shares_the_events_and_repeats_by_its_number(split, frame):
    train, test = split
    assert len(train) + len(test) == len(frame)
    assert len(test) == 90
    assert test["event"].mean() == pytest.approx(train["event"].mean(), abs=0.01)
    pd.testing.assert_frame_equal(test, cohorts.load_split("made-up", 0)[1])
    assert not test.equals(cohorts.load_split("made-up", 1)[1])


def test_times_lie_where_both_sides_were_followed(split):
    train, test = split
    times = scoring.eval_times(train, test)
    assert np.allclose(np.diff(times), np.diff(times)[0], rtol=1e-3)
    assert times[-1] < min(train["time"].max(), test["time"].max())
    asked = scoring.asked_times(test, times)
    assert len({f"{t:g}" for t in asked}) == len(asked)
    assert set(times) <= set(asked)


def test_the_truth_scores_better_than_a_constant_and_comes_true(split):
    train, test = split
    times = scoring.eval_times(train, test)
    asked = scoring.asked_times(test, times)
    curve = survival(test, asked)
    true = scoring.score(
        train, test, test["num_x"].fillna(0), scoring.read_at(curve, asked, times), times
    )
    flat = np.full((len(test), len(times)), 0.5)
    constant = scoring.score(train, test, np.zeros(len(test)), flat, times)
    assert true["c"] > 0.6
    assert constant["c"] == 0.5
    assert true["ibs"] < constant["ibs"] == pytest.approx(0.25, abs=0.03)
    judged = scoring.calibration(train, test, curve, asked, times)
    assert 0.6 < judged["slope"] < 1.6
    assert judged["d_p"] > 0.01
    # Survival squared is half as long a life: it must be seen not to come true.
    assert scoring.calibration(train, test, curve**3, asked, times)["d_p"] < 0.01


def test_follow_up_beyond_the_training_rows_is_cut(split):
    train, test = split
    times = scoring.eval_times(train, test)
    late = test.copy()
    late.loc[late["time"].idxmax(), "time"] = 1e6
    risk, curve = np.arange(len(test), dtype=float), survival(test, times)
    known = scoring.score(train, test, risk, curve, times)
    assert scoring.score(train, late, risk, curve, times) == pytest.approx(known)


@pytest.mark.parametrize("name", ["ridge", "coxnet"])
def test_a_peer_learns_from_rows_with_holes_and_meets_new_levels(split, name):
    train, test = split
    times = scoring.eval_times(train, test)
    risk, curve = peers.PEERS[name](train)(test.assign(fac_arm="new"), times)
    assert scoring.score(train, test, risk, curve, times)["c"] > 0.6
    assert (np.diff(curve, axis=1) <= 0).all()


def test_the_partial_likelihood_puts_ties_at_risk_together():
    y = np.array([(True, 1.0), (True, 1.0), (False, 2.0)], dtype=[("event", bool), ("time", float)])
    scores = np.log([[1.0], [2.0], [3.0]])
    assert peers.partial_likelihood(scores, y) == pytest.approx(math.log(1 / 6) + math.log(2 / 6))


def test_ranks_share_ties_and_put_failures_last():
    assert ranks(np.array([[0.1, 0.3, 0.1], [math.nan, 1.0, 2.0]])).tolist() == [
        [1.5, 3.0, 1.5],
        [3.0, 1.0, 2.0],
    ]


def test_the_summary_ranks_with_and_without_pycox():
    figures = {"ours": (0.70, 0.20), "ridge": (0.72, 0.21), "pycox": (0.60, 0.19)}
    results = [
        {"cohort": "a", "learner": name, "c": c, "ibs": ibs, "d_p": 0.5, "slope": 1, "seconds": 1}
        for name, (c, ibs) in figures.items()
    ]
    failed = [{"cohort": "b", "learner": "ridge", "error": "no"}]
    failed += [{**row, "cohort": "b"} for row in results if row["learner"] != "ridge"]
    scores, all_, without, gaps, calibrated = summarise(results + failed, list(figures), ["a", "b"])
    assert scores.rows[0] == ("a", "0.700/0.2000", "0.720/0.2100", "0.600/0.1900")
    assert all_.rows == (("C", "1.50", "2.00", "2.50"), ("IBS", "2.00", "3.00", "1.00"))
    assert without.rows == (("C", "1.50", "1.50"), ("IBS", "1.00", "2.00"))
    assert gaps.rows[0] == ("C", "0.0200", "a", "-0.0400", "1/2")
    assert calibrated.rows[2] == ("both", "100%", "50%", "100%")


def test_a_stopped_run_goes_on_and_new_code_makes_only_ours_stale(monkeypatch, tmp_path):
    cache = accuracy.Cache(tmp_path / "kept.jsonl")
    for learner in ("ours", "ridge"):
        cache.add("a", 0, learner, {"c": 0.7})
    again = accuracy.Cache(cache.path)
    assert again.get("a", 0, "ours")["c"] == 0.7
    assert again.get("a", 1, "ours") is None
    monkeypatch.setattr(accuracy, "source_digest", lambda: "other")
    changed = accuracy.Cache(cache.path)
    assert changed.get("a", 0, "ours") is None
    assert changed.get("a", 0, "ridge")["c"] == 0.7


def test_a_response_is_judged_in_expectation_over_its_labels():
    rng = np.random.default_rng(0)
    log_odds = np.round(rng.normal(-1, 1, 400), 1)
    truth = 1 / (1 + np.exp(-log_odds))
    own = response.expected(truth, log_odds)
    assert own.slope == pytest.approx(1)
    assert response.expected(truth, 2 * log_odds - 1).slope == pytest.approx(0.5)
    drawn = []
    for _ in range(400):
        label = rng.random(400) < truth
        above = log_odds[label][:, None] - log_odds[~label]
        drawn.append(((above > 0) + 0.5 * (above == 0)).mean())
    assert own.auroc == pytest.approx(np.mean(drawn), abs=0.005)
    assert response.expected(truth, -log_odds).auroc == pytest.approx(1 - own.auroc)
    assert own.brier == pytest.approx((truth * (1 - truth)).mean())


def test_the_score_of_the_neutral_benchmark_by_hand():
    time = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    # At month 6 five of six, more than 80 %, have left before.
    assert neutral.isbs_times(time).tolist() == time.tolist()
    assert neutral.isbs_times(np.append(time, [7.0, 8.0, 9.0, 10.0])).tolist() == [*range(1, 11)]
    test = pd.DataFrame({"time": [1.0, 2.0, 3.0], "event": [1, 0, 1]})
    known = pd.DataFrame({"time": [1.5, 4.0], "event": [0, 1]})  # half are censored at 1.5
    survival = np.array([[0.8, 0.4, 0.2], [0.9, 0.7, 0.5], [0.9, 0.8, 0.6]])
    at_1 = (0.8**2 + 0.1**2 + 0.1**2) / 3
    at_2 = (0.4**2 + 0.2**2 / 0.5) / 3
    at_3 = (0.2**2 + 0.6**2 / 0.5) / 3
    expected = ((at_1 + at_2) / 2 + (at_2 + at_3) / 2) / 2
    found = neutral.isbs(known, test, survival, np.array([1.0, 2.0, 3.0]))
    assert found == pytest.approx(expected)


def test_our_place_in_the_neutral_benchmark():
    rows = [
        (task, learner, 1, measure, value)
        for task in ("a", "b", "c")
        for learner, c, brier in (("ours", 0.7, 0.15), ("better", 0.8, 0.1), ("worse", 0.6, 0.2))
        for measure, value in (("harrell_c", c), ("isbs", brier))
    ]
    names = ["task", "learner", "fold", "measure", "value"]
    every = pd.DataFrame(rows, columns=names)
    own, others = every[every["learner"] == "ours"], every[every["learner"] != "ours"]
    further = others.assign(fold=2, value=0.0)  # a fold that ours was not run on
    rank, by_task, *_ = neutral.summary(own, pd.concat([others, further]))
    assert [row[:3] for row in rank.rows] == [
        ("better", "1.00", "0 of 3"),
        ("ours", "2.00", ""),
        ("worse", "3.00", "3 of 3"),
    ]
    assert by_task.rows[0] == ("a", "0.7000", "2", "better", "0.8000")


@pytest.mark.skipif(not neutral.FOLDER.is_dir(), reason="the benchmark's tasks are absent")
@pytest.mark.parametrize("name", ["veteran", "lung", "uis"])
def test_one_curve_for_all_has_its_published_score(name: str):
    task, scores = neutral.read_task(neutral.FOLDER, name), neutral.published(neutral.FOLDER)
    own = scores.query("task == @name and learner == 'KM' and measure == 'isbs'")
    published = own.set_index("fold")["value"]
    for fold in task.folds:
        train, test = task.split(fold)
        times = neutral.isbs_times(test["time"].to_numpy(dtype=float))
        curve = KaplanMeier.fit(*neutral.outcome(train)).at(times)
        found = neutral.isbs(train, test, np.repeat(curve[None], len(test), axis=0), times)
        assert found == pytest.approx(published[fold], abs=2e-5)
