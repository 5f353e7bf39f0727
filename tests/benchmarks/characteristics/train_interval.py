"""How often the 95 % intervals that a run prints hold the truth of the model that it serves.

Ridge Cox models of all features and of a few are cross-fitted as a run does, and judged by
`evaluation.scores.judge`. The truth is that of the served models, the mean survival of the folds'
models, on fresh patients. Unlike in `metrics`, the models are fitted anew in each cohort, so that
the intervals have to hold what the training patients add. Printed for each world and figure are the
coverage, how often the interval lies below the truth (too modest) and above it (it flatters), the
coverage of a bootstrap that takes the predictions as given, and how often the model is said to add
value over the few features.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.data.splits import stratified_folds
from accomplice.training.estimators.hazard import TimeGrid, log_risk
from accomplice.training.estimators.intervals import Estimate
from accomplice.training.estimators.kaplan_meier import censoring
from accomplice.training.evaluation.scores import Evaluation, judge
from accomplice.training.learners.anchor import fit_anchor
from accomplice.training.metrics.brier import brier_by_patient
from accomplice.training.metrics.concordance import concordances
from accomplice.training.metrics.score import Outcome
from accomplice.training.models.ensemble import mean_curve, on_grid
from accomplice.training.models.predictions import MODEL, FoldCurves

FEATURES, FOLDS, DRAWS, FRESH, HORIZON = 12, 5, 200, 20_000, 60.0
#: Name of the model of a few features.
SIMPLE = "simple"


class World(NamedTuple):
    """A population, and what is fitted to its patients."""

    patients: int
    """Of a cohort."""
    log_hr: tuple[float, ...]
    """Log-hazard ratios of the first features; the others do not matter."""
    simple: int = 3
    """Number of the first features that the simple model has."""


WORLDS: dict[str, World] = {
    "9 features more, none of which matters": World(150, (0.6, -0.4, 0.3)),
    "the same, 400 patients": World(400, (0.6, -0.4, 0.3)),
    "9 features more, 2 of which matter": World(150, (0.5, -0.4, 0.3, 0.25, 0.25)),
    "nothing matters": World(150, (), simple=1),
}


class Drawn(NamedTuple):
    """Patients: features (n, p), months of follow-up (n,) and events (n,)."""

    X: Array
    time: Array
    event: Bools


def draw(world: World, n: int, rng: np.random.Generator) -> Drawn:
    """Draw patients with Weibull times, censored between months 30 and 100 and at the horizon."""
    X = rng.standard_normal((n, FEATURES))
    rate = 0.9 * np.exp(X[:, : len(world.log_hr)] @ np.array(world.log_hr))
    death = (rng.standard_exponential(n) / rate) ** (1 / 1.1) * HORIZON
    left = rng.uniform(30, 100, n)
    time = np.minimum(np.minimum(death, left), HORIZON)
    return Drawn(X, time, (death <= left) & (death <= HORIZON))


def cross_fit(
    own: Drawn, fresh: Array, columns: int, fold: Ints, grid: TimeGrid, seed: int
) -> tuple[Array, Array]:
    """Return cumulative hazards (k, n, j + 1) of a cohort and (k, f, j + 1) of fresh patients."""
    found, served = [], []
    for k in range(FOLDS):
        inside = fold != k
        time, event = own.time[inside], own.event[inside]
        bins = TimeGrid.fit(time, event, HORIZON)
        markers = np.zeros(columns, dtype=bool)
        X = own.X[:, :columns]
        anchor = fit_anchor(X[inside], time, event, bins, markers, seed=seed)
        found.append(on_grid(bins, anchor.cumulative(X), grid))
        served.append(on_grid(bins, anchor.cumulative(fresh[:, :columns]), grid))
    return np.stack(found), np.stack(served)


class Judged(NamedTuple):
    """One cohort's evaluations, and the truth."""

    corrected: Evaluation
    """As a run judges."""
    plain: Evaluation
    """The same, of these very predictions."""
    truth: dict[str, float]
    """By the names of :func:`intervals`."""


def judged(world: World, fresh: Drawn, seed: int, draws: int = DRAWS) -> Judged:
    """Fit both models to one cohort, judge them, and look their truth up in fresh patients."""
    n = world.patients
    own = draw(world, n, np.random.default_rng([n, seed]))
    fold = stratified_folds(own.event, own.time, FOLDS, seed)
    grid = TimeGrid.fit(own.time, own.event, HORIZON)
    columns = {MODEL: FEATURES, SIMPLE: world.simple}
    alone, served = {}, {}
    for name, p in columns.items():
        alone[name], served[name] = cross_fit(own, fresh.X, p, fold, grid, seed)
    out = {name: each[fold, np.arange(n)] for name, each in alone.items()}
    by_fold = FoldCurves(np.arange(n), fold, alone)
    inputs = (own.time, own.event, fold, grid, {MODEL: out[MODEL]}, {SIMPLE: out[SIMPLE]})
    corrected = judge(*inputs, draws, seed, by_fold=by_fold)
    plain = judge(*inputs, draws, seed)
    true = Outcome(*fresh[1:], censoring(*fresh[1:]), corrected.horizon)
    c, ibs = {}, {}
    for name, each in served.items():
        curve = mean_curve(each)
        risk = np.round(log_risk(curve), 12)
        c[name] = concordances(true.event, true.time, risk, true.weights, true.horizon).uno
        ibs[name] = float(brier_by_patient(true, grid, curve)[0].mean())
    truth = {
        "C": c[MODEL],
        "IBS": ibs[MODEL],
        "gain in C": c[MODEL] - c[SIMPLE],
        "gain in IBS": ibs[SIMPLE] - ibs[MODEL],
    }
    return Judged(corrected, plain, truth)


def intervals(found: Evaluation) -> dict[str, Estimate]:
    """Return the model's figures, and its gains over the simple model."""
    scores, gains = found.scores[MODEL], found.gains[SIMPLE]
    return {
        "C": scores.uno_c,
        "IBS": scores.ibs,
        "gain in C": gains["uno_c"],
        "gain in IBS": gains["ibs"],
    }


def coverage(world: World, seeds: Sequence[int]) -> list[str]:
    """Return a line for each figure, and one for the verdict."""
    fresh = draw(world, FRESH, np.random.default_rng(99))
    cohorts = [judged(world, fresh, seed) for seed in seeds]
    lines = []
    for name in intervals(cohorts[0].corrected):
        truth = np.array([each.truth[name] for each in cohorts])
        now = [intervals(each.corrected)[name] for each in cohorts]
        before = [intervals(each.plain)[name] for each in cohorts]
        low, high = np.array([(e.low, e.high) for e in now]).T
        old_low, old_high = np.array([(e.low, e.high) for e in before]).T
        # A figure of which less is better flatters where it lies below the truth.
        beneath, above = (high < truth).mean(), (low > truth).mean()
        modest, flatters = (above, beneath) if name == "IBS" else (beneath, above)
        value = np.array([e.value for e in now])
        lines.append(
            f"{name:12s} covers {1 - modest - flatters:6.1%}, modest {modest:5.1%}, flatters "
            f"{flatters:5.1%}; of these predictions "
            f"{((old_low <= truth) & (truth <= old_high)).mean():6.1%}; true {truth.mean():+.4f}, "
            f"off by {(value - truth).mean():+.4f}"
        )
    words = {"said": [e.corrected.verdict(SIMPLE) for e in cohorts]}
    words["before"] = [e.plain.verdict(SIMPLE) for e in cohorts]
    shares = {
        f"{kind} {when}": np.mean([text.startswith(kind) for text in texts])
        for when, texts in words.items()
        for kind in ("adds value", "is worse")
    }
    return [*lines, "; ".join(f"{name} {share:.1%}" for name, share in shares.items())]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cohorts", type=int, default=300, help="of each world (300)")
    parser.add_argument("--world", nargs="*", choices=WORLDS, default=list(WORLDS))
    given = parser.parse_args(arguments)
    for name in given.world:
        world = WORLDS[name]
        print(f"{name}: {given.cohorts} cohorts of {world.patients}", flush=True)
        for line in coverage(world, range(given.cohorts)):
            print(f"  {line}", flush=True)


if __name__ == "__main__":
    main()
