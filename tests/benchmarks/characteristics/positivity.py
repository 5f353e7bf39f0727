"""The treatment's effect under recorded confounding, and advice where an arm is missing.

Prints the bias of the landmark hazard ratio and the coverage of its 95 % interval where recorded
features decide on treatment and outcome, by a product, a square or a step beside the linear terms;
and, where nobody of stage I or over 75 was treated, how often these patients get advice, and how
often the others get none. The learners' place is taken by a ridge Cox model alone, which sees
nothing of the product: the whole pipeline sees part of it.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import expit

from accomplice.data.arrays import Array
from accomplice.data.cohort import Cohort, build_cohort
from accomplice.data.preprocessing.preprocessor import Preprocessor
from accomplice.data.splits import stratified_folds
from accomplice.data.study import Study
from accomplice.training.config import EffectConfig
from accomplice.training.estimators.hazard import TimeGrid, from_survival
from accomplice.training.learners.anchor import Anchor, fit_anchor
from accomplice.training.models.ensemble import on_grid
from accomplice.training.treatment.benefit import ABSTAINS, advise, benefit
from accomplice.training.treatment.cross_fitted import CrossFitted, cross_fit
from accomplice.training.treatment.expected_events import fitted_rates
from tests.benchmarks.characteristics.simulated import HORIZON, NUMBER, followed, study

FOLDS, FRESH = 5, 1500
#: Name -> what the linear terms of three standard normal columns leave out, of variance 1.
BENDS = {
    "none": lambda Z: 0.0 * Z[:, 0],
    "product": lambda Z: Z[:, 0] * Z[:, 1],
    "square": lambda Z: (Z[:, 0] ** 2 - 1) / np.sqrt(2),
    "step": lambda Z: (Z[:, 0] > 0.8) / 0.41,
}
CLINICAL = ("age", "nodes", "fitness")


class Quick(NamedTuple):
    """The effect beside a ridge Cox model."""

    crossed: CrossFitted
    folds: tuple[tuple[Preprocessor, TimeGrid, Anchor], ...]

    def blind(self, cohort: Cohort) -> Array:
        """Return the blind cumulative hazard (n, j + 1) of fresh patients."""
        grid, values = self.crossed.grid, cohort.prognostic().values
        curves = [on_grid(g, a.cumulative(p.linear(values)), grid) for p, g, a in self.folds]
        return from_survival(np.exp(-np.array(curves)).mean(axis=0))


def _study(clinical: Mapping[str, object], markers: Sequence[str]) -> Study:
    """Return the study with these clinical features, and markers that are numbers."""
    modalities = {"clinical": clinical, "markers": dict.fromkeys(markers, NUMBER)}
    return study(modalities, interactions=[["treated", markers[0]]])


def confounded(n: int, bend: str, hr: float, rng: np.random.Generator) -> Cohort:
    """Draw patients whose treatment and hazard share linear terms and a bend."""
    Z, G = rng.standard_normal((n, 3)), rng.standard_normal((n, 6))
    beyond = 0.5 * BENDS[bend](Z)
    rate = 0.8 * np.exp(Z @ [0.5, 0.6, 0.4] + 0.2 * G[:, 0] + beyond)
    treated = rng.random(n) < expit(0.3 + Z @ [-0.5, 0.4, -0.4] + beyond)
    markers = [f"marker{i}" for i in range(6)]
    frame = pd.DataFrame(np.column_stack([Z, G]), columns=[*CLINICAL, *markers])
    described = _study(dict.fromkeys(CLINICAL, NUMBER), markers)
    return build_cohort(described, followed(frame, rate, treated, hr, rng))


class Edged(NamedTuple):
    """A cohort in which some are never treated."""

    cohort: Cohort
    never: Array
    """(n,) whether the patient's like is never treated."""


def edged(n: int, hr: float, rng: np.random.Generator, markers: int = 10) -> Edged:
    """Draw patients of whom none of stage I and none over 75 is treated."""
    age, stage = rng.normal(62, 10, n), rng.choice(3, n, p=[0.2, 0.4, 0.4])
    never = (stage == 0) | (age > 75)
    treated = rng.random(n) < np.where(never, 0.0, np.where(stage == 1, 0.55, 0.75))
    G = rng.standard_normal((n, markers))
    rate = 0.6 * np.exp(0.6 * (stage - 1) + 0.02 * (age - 62) + 0.2 * G[:, 0])
    names = [f"marker{i}" for i in range(markers)]
    levels = ["I", "II", "III"]
    frame = pd.DataFrame(G, columns=names).assign(
        age=age, stage=np.array(levels)[stage], sex=rng.choice(["F", "M"], n)
    )
    clinical: dict[str, object] = {
        "age": {"kind": "number"},
        "stage": {"kind": "ordinal", "levels": levels},
        "sex": {"kind": "category", "levels": ["F", "M"]},
    }
    described = _study(clinical, names)
    return Edged(build_cohort(described, followed(frame, rate, treated, hr, rng)), never)


def quick(cohort: Cohort, seed: int) -> Quick:
    """Fit a ridge Cox model in each fold, and the effect beside it."""
    time, event = cohort.outcome
    fold = stratified_folds(event, time, FOLDS, seed)
    grid, blind = TimeGrid.fit(time, event, HORIZON), cohort.prognostic()
    cumulative, fitted = np.zeros((len(cohort), grid.bins + 1)), []
    for k in range(FOLDS):
        inside = fold != k
        preprocessor = Preprocessor.fit(blind.study, blind.values[inside], bins=1)
        X = preprocessor.linear(blind.values)
        markers = np.array([c.modality != "clinical" for c in preprocessor.linear_columns()])
        own = TimeGrid.fit(time[inside], event[inside], HORIZON)
        anchor = fit_anchor(X[inside], time[inside], event[inside], own, markers, seed=seed)
        cumulative[~inside] = on_grid(own, anchor.cumulative(X[~inside]), grid)
        fitted.append((preprocessor, own, anchor))
    made = [preprocessor for preprocessor, _, _ in fitted]
    found = cross_fit(cohort, made, fold, cumulative, grid, EffectConfig(), seed)
    assert isinstance(found, CrossFitted), found
    return Quick(found, tuple(fitted))


def effect(n: int, bend: str, hr: float, seed: int) -> dict[str, float]:
    """Return bias, standard error and coverage of one cohort's landmark log-hazard ratio."""
    found = quick(confounded(n, bend, hr, np.random.default_rng([n, seed])), seed).crossed
    chance, rows = found.patients.propensity, found.rows
    rates = fitted_rates(found.cohort, found.cumulative, found.grid, chance, rows, found.terms)
    bias = rates.log_hr - np.log(hr)
    return {"bias": bias, "error": rates.error, "covers": float(abs(bias) < 1.96 * rates.error)}


def advice(n: int, hr: float, seed: int) -> dict[str, float]:
    """Return how often fresh patients get advice, by whether their like is ever treated."""
    rng = np.random.default_rng([n, seed])
    found = quick(edged(n, hr, rng).cohort, seed)
    fresh = edged(FRESH, hr, rng)
    own = found.crossed.effect.of(fresh.cohort.prognostic().values)
    gain = benefit(found.blind(fresh.cohort), found.crossed.grid, HORIZON, own)
    treatment = fresh.cohort.study.treatment
    assert treatment is not None
    abstains = np.char.startswith(advise(gain, own, np.ones(FRESH), treatment), ABSTAINS)
    return {
        "never treated, advised": float(1 - abstains[fresh.never].mean()),
        "others, abstained": float(abstains[~fresh.never].mean()),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cohorts", type=int, default=100, help="simulated a line (100)")
    parser.add_argument("--patients", type=int, nargs="*", default=[200, 400, 1000])
    given = parser.parse_args(arguments)
    print(f"landmark hazard ratio under recorded confounding, {given.cohorts} cohorts of 1000")
    for bend in BENDS:
        for hr in (1.0, 0.7):
            rows = [effect(1000, bend, hr, seed) for seed in range(given.cohorts)]
            means = pd.DataFrame(rows).mean()
            said = "; ".join(f"{k} {v:.3f}" for k, v in means.items())
            print(f"  {bend}, HR {hr:g}: {said}", flush=True)
    print(f"nobody of stage I or over 75 treated, {given.cohorts} cohorts; HR 0.6")
    for n in given.patients:
        means = pd.DataFrame([advice(n, 0.6, seed) for seed in range(given.cohorts)]).mean()
        print(f"  {n}: " + "; ".join(f"{k} {v:.3f}" for k, v in means.items()), flush=True)


if __name__ == "__main__":
    main()
