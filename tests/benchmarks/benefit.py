"""The treatment's benefit against the truth of synthetic cohorts, beside two simpler models.

Prints, for cohorts of 2000 and a fresh 5000 patients each: the error of the mean and of the
individual gains in survival at 60 months (PEHE), against a T-learner (a ridge Cox in each arm) and
one hazard ratio for everybody; the coverage of the 80 % intervals; whether claims are made where
there is nothing to claim. ``recorded`` patients have the gaps of a hospital's table, ``complete``
ones none.
"""

from __future__ import annotations

import argparse
import logging
import warnings
from typing import Any

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

from accomplice.data.arrays import Array
from accomplice.data.cohort import Cohort, build_cohort
from accomplice.data.panels.panel import panel_text
from accomplice.data.preprocessing.preprocessor import Preprocessor
from accomplice.data.study import Study, parse_study
from accomplice.data.synthetic import draw
from accomplice.training.config import configure
from accomplice.training.estimators.hazard import TimeGrid
from accomplice.training.learners.anchor import fit_anchor
from accomplice.training.run import Judged, Trained, begin_fit, judge_fit, make_bundle
from accomplice.training.treatment.compared import treatment_and_status
from accomplice.training.treatment.judging import permuted

FRESH = 5000
SEEDS = 5


def study() -> Study:
    """Return the synthetic cohort's study."""
    text = panel_text("synthetic_gastric")
    return parse_study(yaml.safe_load(text), "synthetic")


def trained(n: int, variant: str, seed: int) -> Trained:
    """Train on a drawn cohort as the command line does, with few bootstraps."""
    cohort = build_cohort(study(), draw(n, variant=variant, seed=seed).frame)
    config = configure([f"seed={seed}", "evaluation.bootstraps=1"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        survival = {"os": judge_fit(begin_fit(cohort, config))}
    return Trained(make_bundle(cohort, survival, {}, config), survival, {}, {})


def fit_of(model: Trained) -> Judged:
    """Return the survival fit of a model that has one."""
    assert model.primary is not None
    return model.primary


def simpler(cohort: Cohort, fresh: Cohort, grid: TimeGrid) -> dict[str, Array]:
    """Gains (n,) of fresh patients by a T-learner and by one hazard ratio for everybody."""
    blind, asked = cohort.prognostic(), fresh.prognostic()
    _, treated = treatment_and_status(cohort)
    time, event = cohort.outcome
    prepared = Preprocessor.fit(blind.study, blind.values, blind.centre)
    X, F = (prepared.linear(c.values, c.centre) for c in (blind, asked))
    first = next(iter(blind.study.blocks))
    markers = np.array([c.modality != first for c in prepared.linear_columns()])

    def alive(rows: NDArray[np.bool_], design: Array, at: Array, extra: int = 0) -> Array:
        which = np.append(markers, np.zeros(extra, dtype=bool))
        model = fit_anchor(design[rows], time[rows], event[rows], grid, which)
        return np.exp(-model.cumulative(at)[:, -1])

    arms = [alive(treated == arm, X, F) for arm in (1.0, 0.0)]
    known = ~np.isnan(treated)
    with_arm = np.column_stack([X, np.nan_to_num(treated)])
    one = [
        alive(known, with_arm, np.column_stack([F, np.full(len(F), arm)]), 1) for arm in (1.0, 0.0)
    ]
    return {"T-learner": arms[0] - arms[1], "one ratio": one[0] - one[1]}


def against_truth(model: Trained, seed: int, missing: bool) -> dict[str, float]:
    """Compare the gains of fresh patients, stage II-III, with the truth."""
    fresh = draw(FRESH, seed=seed + 1000, missing=missing)
    found = model.bundle.predict(fresh.frame)
    truth = fresh.truth["benefit60"].to_numpy()
    gain = found["benefit@60"].to_numpy()
    option = fresh.frame["stage"].isin(["II", "III"]).to_numpy()
    given_advice = ~found["advice"].str.startswith("abstains").to_numpy()
    covered = (truth >= found["benefit_low@60"]) & (truth <= found["benefit_high@60"])
    low = (fresh.truth["il1r1"] < fresh.truth["il1r1"].median()).to_numpy()
    prepared = fit_of(model).fitted.prepared
    asked = build_cohort(prepared.cohort.study, fresh.frame)
    others = simpler(prepared.cohort, asked, prepared.grid)

    def error(values: Array) -> float:
        return float(np.sqrt(((values - truth)[option] ** 2).mean()))

    return {
        "ATE error": float(gain[option].mean() - truth[option].mean()),
        "PEHE": error(gain),
        **{f"{name}": error(values) for name, values in others.items()},
        "constant": error(np.full(FRESH, truth[option].mean())),
        "covered": float(covered[given_advice].mean()),
        "abstains": float(1 - given_advice[option].mean()),
        "low-high": float(gain[option & low].mean() - gain[option & ~low].mean()),
        **_policy(fresh.truth, found, option & given_advice),
    }


def _policy(truth: pd.DataFrame, found: pd.DataFrame, rows: NDArray[np.bool_]) -> dict[str, float]:
    """True survival under the advice, where there is one, less under treating all; and its SE."""
    treat = (
        found["advice"].str.startswith("favours ").to_numpy()
        & (found["advice"] != "favours none").to_numpy()
    )
    arms = [truth[f"survival60_{arm}"].to_numpy() for arm in ("treated", "untreated")]
    less = np.where(treat, *arms)[rows] - arms[0][rows]
    if not rows.any():
        return {"policy-all": 0.0, "policy SE": 0.0}
    alive = arms[0][rows]
    error = float(np.sqrt((alive * (1 - alive)).mean() / rows.sum()))
    return {"policy-all": float(less.mean()), "policy SE": error}


def main(argv: list[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.benefit", description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS, help="cohorts of each kind")
    parser.add_argument("--first", type=int, default=1, help="seed of the first")
    parser.add_argument("--parts", default="truth,small,null,confounded")
    asked = parser.parse_args(argv or [])
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    seeds = range(asked.first, asked.first + asked.seeds)
    parts = asked.parts.split(",")
    for n, part in ((2000, "truth"), (400, "small")):
        if part in parts:
            _truth(n, seeds)
    if "null" in parts:
        _claims("null", range(asked.first, asked.first + 2 * asked.seeds))
    if "confounded" in parts:
        _confounded(range(asked.first, asked.first + 2 * asked.seeds))


def _truth(n: int, seeds: range) -> None:
    rows: list[dict[str, Any]] = []
    for seed in seeds:
        model = trained(n, "default", seed)
        judged = fit_of(model)
        found, config = judged.evidence, configure([f"seed={seed}"])
        controls = [permuted(judged.fitted.effect, config, k) for k in range(2)]
        for missing in (True, False):
            compared = against_truth(model, seed, missing)
            rows.append({"seed": seed, "fresh": "recorded" if missing else "complete"} | compared)
        assert found is not None
        rows[-1] |= {
            "claim": found.differs,
            "alarm": bool(found.alarms),
            "permuted claims": sum(c is not None and c.low > 0 for c in controls),
        }
        print(pd.DataFrame(rows[-2:]).round(3).to_string(), flush=True)
    table = pd.DataFrame(rows)
    print(f"benefit against the truth, n={n}:")
    print(table.round(3).to_string(index=False))
    numbers = table.drop(columns=["seed", "claim", "alarm"]).groupby("fresh").mean()
    for name in ("T-learner", "one ratio", "constant"):
        numbers[f"PEHE / {name}"] = numbers["PEHE"] / numbers[name]
    print(numbers.round(3).T.to_string(), flush=True)


def _claims(variant: str, seeds: range) -> None:
    claims = []
    for seed in seeds:
        found = fit_of(trained(2000, variant, seed)).evidence
        assert found is not None
        claims.append(found.differs)
        print(f"{variant} {seed}: RATE {found.relative.rate}", flush=True)
    print(f"{variant}: a difference is claimed in {sum(claims)} of {len(claims)}", flush=True)


def _confounded(seeds: range) -> None:
    noticed = []
    for seed in seeds:
        found = fit_of(trained(2000, "confounded", seed)).evidence
        drawn = draw(2000, variant="confounded", seed=seed)
        assert found is not None
        option = drawn.frame["stage"].isin(["II", "III"])
        truth = float(drawn.truth.loc[option, "benefit60"].mean())
        covered = found.ate.low <= truth <= found.ate.high
        noticed.append(bool(found.alarms) or covered)
        print(
            f"confounded {seed}: HR {found.hr['landmark']}, alarm {bool(found.alarms)}, "
            f"ATE {found.ate} of {truth:.3f}",
            flush=True,
        )
    print(f"confounded: noticed or covered in {sum(noticed)} of {len(noticed)}", flush=True)


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
