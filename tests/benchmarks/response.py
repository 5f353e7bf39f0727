"""How near a response model of 150 labels comes to the truth, on synthetic cohorts.

Each seed draws 2000 patients of whom 150 have a label, fits the study's response endpoint and
judges it on 5000 fresh patients, whose true probability is known: so the AUROC, the calibration
slope and the Brier score are expectations over every response that could be drawn. The fresh
patients are asked once with values missing as a hospital records them, and once with all values.

The oracle knows the true probability. From the values that are recorded nobody can: what can be
known is estimated by the same model, fitted to 100,000 labelled patients.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import yaml

from accomplice.data.arrays import Array
from accomplice.data.cohort import Cohort, build_cohort
from accomplice.data.panels.panel import panel_text
from accomplice.data.study import Study, parse_study
from accomplice.data.synthetic import draw
from accomplice.training.estimators.logistic import expit
from accomplice.training.evaluation.response import auroc
from accomplice.training.models.response import ResponseModel, fit_response, out_of_fold

PATIENTS, FRACTION, FRESH, MANY = 2000, 0.075, 5000, 100_000
SEEDS = range(5)
RATES = (0.1, 0.3)
ENDPOINT = "ici_response"


class Judged(NamedTuple):
    """How predicted log-odds do against true probabilities."""

    auroc: float
    slope: float
    brier: float


def expected(truth: Array, log_odds: Array) -> Judged:
    """Judge log-odds (n,) against true probabilities (n,), in expectation over their labels."""
    order = np.argsort(log_odds)
    _, tie = np.unique(log_odds[order], return_inverse=True)
    positive, negative = (np.bincount(tie, p[order]) for p in (truth, 1 - truth))
    below = np.cumsum(negative) - negative
    # A patient is not compared with themselves.
    own = float((truth * (1 - truth)).sum())
    won = float((positive * (below + negative / 2)).sum()) - own / 2
    area = won / (float(positive.sum() * negative.sum()) - own)
    mean, sd = log_odds.mean(), max(float(log_odds.std()), 1e-12)
    X, theta = np.column_stack([np.ones(len(log_odds)), (log_odds - mean) / sd]), np.zeros(2)
    for _ in range(30):
        chance = expit(X @ theta)
        information = (X * (chance * (1 - chance))[:, None]).T @ X
        theta = theta + np.linalg.solve(information, X.T @ (truth - chance))
    chance = expit(log_odds)
    brier = float((truth * (1 - chance) ** 2 + (1 - truth) * chance**2).mean())
    return Judged(area, float(theta[1]) / sd, brier)


def cohort(study: Study, n: int, seed: int, fraction: float, missing: bool) -> tuple[Cohort, Array]:
    """Draw a cohort; return it with the true probabilities (n,)."""
    drawn = draw(n, seed=seed, ici_fraction=fraction, missing=missing)
    return build_cohort(study, drawn.frame), drawn.truth["p_response"].to_numpy()


def fitted(made: Cohort, features: tuple[str, ...] | None) -> ResponseModel:
    """Fit the endpoint."""
    return fit_response(made.study, made.values, made.centre, made.binary[ENDPOINT], features)


def main() -> None:
    """Print a line a seed, and their mean."""
    panel = panel_text("synthetic_gastric")
    study = parse_study(yaml.safe_load(panel), "synthetic_gastric.yaml")
    features = study.endpoints.binary[ENDPOINT].features
    ceiling = fitted(cohort(study, MANY, 999, 1.0, True)[0], features)
    print(
        f"response: {PATIENTS} synthetic patients, {round(PATIENTS * FRACTION)} labelled, inputs "
        f"{', '.join(features or study.features)}; {FRESH} fresh patients. Expected AUROC of the "
        "oracle, of the ceiling (the model on 100,000 labels), of the model; its calibration slope "
        "and Brier score; its AUROC out of fold; mean prediction at local rates "
        f"{' and '.join(map(str, RATES))}"
    )
    print(
        "fresh     seed  positive  oracle  ceiling  model  slope  Brier  out of fold  local rates"
    )
    rows: dict[str, list[list[float]]] = {"recorded": [], "complete": []}
    for seed in SEEDS:
        made, _ = cohort(study, PATIENTS, seed, FRACTION, True)
        model = fitted(made, features)
        label = made.binary[ENDPOINT]
        held = out_of_fold(study, made.values, made.centre, label, features)
        known = ~np.isnan(label)
        honest = auroc(label[known] == 1, held[known])
        for name, missing in (("recorded", True), ("complete", False)):
            fresh, truth = cohort(study, FRESH, 1000 + seed, FRACTION, missing)
            ours = expected(truth, model.log_odds(fresh.values, fresh.centre))
            best = expected(truth, np.log(truth / (1 - truth))).auroc
            attainable = expected(truth, ceiling.log_odds(fresh.values, fresh.centre)).auroc
            local = [model.probability(fresh.values, fresh.centre, r).mean() for r in RATES]
            rows[name].append([model.positive, best, attainable, *ours, honest, *local])
    for name, of_seeds in rows.items():
        for seed, row in enumerate(of_seeds):
            print(_line(name, str(seed), row))
        print(_line(name, "mean", np.mean(of_seeds, axis=0).tolist()))


def _line(name: str, seed: str, row: list[float]) -> str:
    positive, best, attainable, area, slope, brier, honest, low, high = row
    return (
        f"{name}  {seed:>4}  {positive:8.0f}  {best:6.3f}  {attainable:7.3f}  {area:5.3f}  "
        f"{slope:5.2f}  {brier:.3f}  {honest:11.3f}  {low:.3f} {high:.3f}"
    )


if __name__ == "__main__":
    main()
