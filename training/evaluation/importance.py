"""Explanations of a model over a cohort: importance, partial effects, and a surface.

*Importance* is the mean absolute attribution of a feature (``models.shapley``). A *partial effect*
is the mean log-hazard over patients with one feature set to each of some values, all others as
they are (Friedman, "Greedy function approximation: a gradient boosting machine", Ann Stat 2001,
section 8.2); a *surface* is the mean survival with two features set. They describe the model, not
the effect of changing a patient's feature.

Intervals are those of ``models.jackknife``, over the patients trained on. A feature without effect
has attributions too, since noise is fitted, but another noise in each fold. So an attribution by a
fold's model is multiplied by the sign of the whole model's; where the folds disagree, the interval
reaches below 0.

Everything is taken over a sample of patients drawn with a fixed seed. Only means, and the values to
which features are set, are returned: levels, values that several patients share, and quantiles
between two patients.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accomplice.data.arrays import Array, Ints
from accomplice.data.cohort import Cohort
from accomplice.data.preprocessing.scaling import column_quantiles, sort_columns
from accomplice.training.budget import UNLIMITED, Budget
from accomplice.training.config import Config
from accomplice.training.estimators.hazard import log_risk, survival
from accomplice.training.estimators.intervals import Estimate
from accomplice.training.estimators.policy import PATIENTS_TO_SHOW
from accomplice.training.evaluation.record import (
    Curve,
    Importance,
    PartialEffect,
    Review,
    Surface,
)
from accomplice.training.fitting.prepare import Prepared
from accomplice.training.models.jackknife import band, versions
from accomplice.training.models.shapley import reference, shapley
from accomplice.training.models.survival import SurvivalModel
from accomplice.training.progress import Tick, silent
from accomplice.training.second_process import SecondProcess, Task

#: Hospital of each patient (n,); None if unknown.
Centre = NDArray[np.str_] | None

#: Maximum number of patients whose attributions are averaged.
MOST_EXPLAINED = 200
#: Minimum number of patients whose attributions are averaged.
FEWEST_EXPLAINED = 10
#: Maximum number of rows to predict for all attributions, unless the minimum number of patients
#: needs more.
ROWS = 14_000
#: Number of patients explained in one pass.
AT_ONCE = 16
#: Maximum number of patients over whom partial effects are averaged.
AVERAGED = 80
#: Maximum number of features with a partial effect, beside those of the study's interactions.
STRONGEST = 8
#: Probabilities of the quantiles to which a number is set for a partial effect.
ALONE = np.linspace(0.05, 0.95, 9)
#: Probabilities of the quantiles to which each of two numbers is set for a surface.
PAIRED = np.linspace(0.1, 0.9, 7)
#: Maximum number of distinct values of a number that are all used, if ``PATIENTS_TO_SHOW`` patients
#: have each; otherwise quantiles are.
FEW = 5
#: Seed of the samples of patients.
SEED = 21
#: Maximum number of features with which a model is explained.
MOST_FEATURES = 500
#: Seconds that must be left for explanations.
ENOUGH = 30.0


def explained(
    review: Review,
    model: SurvivalModel,
    cohort: Cohort,
    tick: Tick = silent,
    budget: Budget = UNLIMITED,
    repeats: int = 1,
    begun: Task[dict[str, Any]] | None = None,
) -> Review:
    """Return a review with explanations, or with a note on why they are left out.

    Args:
        review: review of the model without explanations.
        model: model fitted to the cohort.
        cohort: patients trained on, the treatment among their features.
        tick: progress callback.
        budget: time budget; with less than :data:`ENOUGH` seconds left nothing is explained.
        repeats: number of repeats of the cross-validation, each with its own folds of the model.
        begun: the explanations that the second process makes; None where it makes none.
    """
    reason = ""
    if cohort.values.shape[1] > MOST_FEATURES:
        reason = f"with more than {MOST_FEATURES} features it is not said what drives the model"
    elif budget.limited and budget.left() < ENOUGH:
        budget.cut("explanations", 0, "importance and partial effects")
        reason = "no time was left to say what drives the model"
    if reason:
        return review.model_copy(update={"notes": (*review.notes, reason)})
    made = begun.result() if begun else explanations(model, cohort, repeats, tick)
    return review.model_copy(update=made)


def begin_explanations(
    model: SurvivalModel, prepared: Prepared, config: Config, second: SecondProcess
) -> Task[dict[str, Any]] | None:
    """Begin a model's explanations in the second process; return None where it makes none.

    Args:
        model: model fitted to the patients.
        prepared: the patients and their folds.
        config: run configuration; ``evaluation.explanations`` switches them on.
        second: the second process, or none.
    """
    cohort = prepared.cohort
    wanted = config.evaluation.explanations and cohort.values.shape[1] <= MOST_FEATURES
    if not (second.runs and wanted):
        return None
    return second.submit(explanations, model, cohort, len(prepared.fold))


def explanations(
    model: SurvivalModel, cohort: Cohort, repeats: int = 1, tick: Tick = silent
) -> dict[str, Any]:
    """Return a review's fields of explanations; arguments are those of :func:`explained`."""
    values, centre = cohort.values, cohort.centre
    ranked = importance(model, values, centre, tick, repeats)
    return {
        "importance": ranked,
        "effects": partial_effects(model, values, centre, ranked, tick, repeats),
        "surface": surface(model, values, centre, ranked, repeats),
    }


def importance(
    model: SurvivalModel, values: Array, centre: Centre, tick: Tick = silent, repeats: int = 1
) -> tuple[Importance, ...]:
    """Return the features' importance, the largest first, over a sample of the patients.

    A feature that repeats another is left out: the model does not use it.

    Args:
        model: model to explain.
        values: (n, p) coded features of the patients trained on, the treatment among them.
        centre: (n,) hospital, if known.
        tick: progress callback.
        repeats: as of :func:`explained`.
    """
    study, folds = model.study, len(model.ensemble.folds)
    p = values.shape[1]
    most = max(FEWEST_EXPLAINED, min(MOST_EXPLAINED, ROWS // (2 * p)))
    rows = _sample(np.arange(len(values)), most)
    typical = reference(model, _at(centre, rows), len(rows))

    def score(values: Array, centre: Centre) -> Array:
        return _log_hz(versions(model, values, centre))

    size = np.zeros((1, p))
    for start in range(0, len(rows), AT_ONCE):
        tick("importance", start, len(rows))
        some = rows[start : start + AT_ONCE]
        references = typical[start : start + AT_ONCE]
        parts, _ = shapley(score, values[some], references, _at(centre, some), pairs=1)
        size = size + (parts * np.sign(parts[0])).sum(axis=1) / len(rows)
    tick("importance", len(rows), len(rows))
    low, high = band(size, folds, repeats)
    names = list(study.features)
    modality = {j: m for m, block in study.blocks.items() for j in block}
    read = set(model.preprocessors[0].read_for(names))
    return tuple(
        Importance(
            feature=names[j],
            modality=modality[j],
            size=Estimate(size[0, j], low[j], high[j]),
        )
        for j in np.argsort(-size[0], kind="stable").tolist()
        if names[j] in read
    )


def partial_effects(
    model: SurvivalModel,
    values: Array,
    centre: Centre,
    ranked: Sequence[Importance],
    tick: Tick = silent,
    repeats: int = 1,
) -> tuple[PartialEffect, ...]:
    """Return partial effects of the strongest features and of those in the study's interactions.

    Features without one (see :func:`partial_effect`) are left out.

    Args:
        model: model to explain.
        values: (n, p) coded features of the patients trained on, the treatment among them.
        centre: (n,) hospital, if known.
        ranked: the features from :func:`importance`.
        tick: progress callback.
        repeats: as of :func:`explained`.
    """
    strongest = [each.feature for each in ranked[:STRONGEST] if each.size.value > 0]
    pairs = model.study.interactions
    named = model.preprocessors[0].read_for(name for pair in pairs for name in pair)
    wanted = list(dict.fromkeys([*strongest, *named]))
    found = []
    for done, name in enumerate(wanted):
        tick("partial effects", done, len(wanted))
        effect = partial_effect(model, values, centre, name, repeats)
        if effect is not None:
            found.append(effect)
    tick("partial effects", len(wanted), len(wanted))
    return tuple(found)


def partial_effect(
    model: SurvivalModel, values: Array, centre: Centre, name: str, repeats: int = 1
) -> PartialEffect | None:
    """Return the partial effect of feature ``name``, averaged over a sample of patients.

    The sample is of patients with a value of the feature. None if it would be set to fewer than two
    values, because it varies too little or too few patients have it. Arguments are those of
    :func:`partial_effects`.
    """
    j = list(model.study.features).index(name)
    at = _values_to_set(model, values[:, j], j, ALONE)
    if len(at) < 2:
        return None
    rows = _sample(np.flatnonzero(~np.isnan(values[:, j])), AVERAGED)
    grid = _set(model, values[rows], _at(centre, rows), j, at)
    every = np.concatenate([values[rows][None], grid])
    mean = _means(model, every, _at(centre, rows))
    log_hz = mean[:, 1:] - mean[:, :1]
    low, high = band(log_hz, len(model.ensemble.folds), repeats)
    levels = model.study.features[name].levels or ()
    return PartialEffect(
        feature=name,
        levels=tuple(levels[int(value)] for value in at) if levels else (),
        at=tuple(at.tolist()),
        log_hz=Curve(value=tuple(log_hz[0]), low=tuple(low), high=tuple(high)),
    )


def surface(
    model: SurvivalModel,
    values: Array,
    centre: Centre,
    ranked: Sequence[Importance],
    repeats: int = 1,
) -> Surface | None:
    """Return survival over two numeric features, at the month of the model's benefits.

    The two are the study's first interaction of two numbers without the treatment; or else the
    first number that may change the treatment's effect, and the most important number of another
    modality. The surface's interaction is the mean absolute difference of its log-hazards from a
    sum of row and column effects. None if there are no two such features, if one would be set to
    fewer than two values, or if no patient has both.

    Args:
        model: model to explain.
        values: (n, p) coded features of the patients trained on, the treatment among them.
        centre: (n,) hospital, if known.
        ranked: the features from :func:`importance`.
        repeats: as of :func:`explained`.
    """
    pair = _pair(model, ranked)
    if pair is None:
        return None
    names = list(model.study.features)
    x, y = (names.index(name) for name in pair)
    at_x, at_y = (_values_to_set(model, values[:, j], j, PAIRED) for j in (x, y))
    rows = _sample(np.flatnonzero(~np.isnan(values[:, [x, y]]).any(axis=1)), AVERAGED)
    if min(len(at_x), len(at_y)) < 2 or not len(rows):
        return None
    hospital, folds = _at(centre, rows), len(model.ensemble.folds)
    with_y = _set(model, values[rows], hospital, y, at_y)
    grid = np.stack([_set(model, features, hospital, x, at_x) for features in with_y])
    shape = (len(at_y), len(at_x), len(rows))
    month = model.benefit_horizon
    repeated = _repeat(hospital, shape[0] * shape[1])
    curves = versions(model, grid.reshape(-1, grid.shape[-1]), repeated)
    alive = survival(model.ensemble.grid.at(curves[0], np.array([month]))).reshape(shape)
    log_hz = _log_hz(curves).reshape(-1, *shape).mean(axis=-1)
    beyond = log_hz - log_hz.mean(axis=1, keepdims=True) - log_hz.mean(axis=2, keepdims=True)
    beyond += log_hz.mean(axis=(1, 2), keepdims=True)
    departure = (beyond * np.sign(beyond[0])).mean(axis=(1, 2))
    low, high = band(departure, folds, repeats)
    return Surface(
        x=pair[0],
        y=pair[1],
        at_x=tuple(at_x.tolist()),
        at_y=tuple(at_y.tolist()),
        month=month,
        survival=tuple(tuple(row) for row in alive.mean(axis=-1).tolist()),
        interaction=Estimate(float(departure[0]), float(low), float(high)),
    )


def _pair(model: SurvivalModel, ranked: Sequence[Importance]) -> tuple[str, str] | None:
    """Return the names of the two features of :func:`surface`; None if there are none."""
    study = model.study.prognostic()
    numbers = [name for name, f in study.features.items() if f.levels is None]
    for first, second in study.interactions:
        if first != second and first in numbers and second in numbers:
            return first, second
    marker = next((name for name in model.study.modifiers if name in numbers), None)
    modality = {each.feature: each.modality for each in ranked}
    for each in ranked if marker is not None else ():
        if each.feature in numbers and each.modality != modality.get(str(marker)):
            return str(marker), each.feature
    return None


def _values_to_set(model: SurvivalModel, column: Array, j: int, probabilities: Array) -> Array:
    """Return the values (v,), rising, to which feature ``j`` is set.

    They are the levels that patients have, the values of a number (see :data:`FEW`), or quantiles;
    none if fewer than ``PATIENTS_TO_SHOW`` patients have the number.
    """
    known = column[~np.isnan(column)]
    distinct, count = np.unique(known, return_counts=True)
    study = model.study
    treatment = study.treatment is not None and j == study.treatment_position
    if list(study.features.values())[j].levels is not None or treatment:
        return np.asarray(distinct)
    if len(distinct) <= FEW and count.min(initial=PATIENTS_TO_SHOW) >= PATIENTS_TO_SHOW:
        return np.asarray(distinct)
    if len(known) < PATIENTS_TO_SHOW:
        return np.empty(0)
    return np.unique(column_quantiles(sort_columns(known[:, None]), probabilities)[:, 0])


def _set(model: SurvivalModel, values: Array, centre: Centre, j: int, at: Array) -> Array:
    """Return features (v, n, p) with feature ``j`` set to each of the values ``at`` (v,).

    Expression is set to the value that the patient's own centre would have measured.
    """
    study = model.study
    every = np.repeat(values[None], len(at), axis=0)
    every[:, :, j] = at[:, None]
    if list(study.features.values())[j].kind == "expression":
        blind = list(study.prognostic_features)
        for one in every:
            made = model.preprocessors[0].on_assay(one[:, blind], centre)
            one[:, j] = made[:, blind.index(j)]
    return every


def _means(model: SurvivalModel, every: Array, centre: Centre) -> Array:
    """Return each version's mean log-hazards (1 + k + 2 d, v) over n patients set v times.

    The versions are those of :func:`models.jackknife.versions`; ``every`` is (v, n, p).
    """
    v, n, p = every.shape
    log_hz = _log_hz(versions(model, every.reshape(-1, p), _repeat(centre, v)))
    return np.asarray(log_hz.reshape(-1, v, n).mean(axis=-1))


def _log_hz(curves: Array) -> Array:
    """Return the log-hazards (v, n) of v versions' cumulative hazards (v, n, j + 1)."""
    return np.stack([log_risk(curve) for curve in curves])


def _sample(rows: Ints, most: int) -> Ints:
    """Return at most ``most`` of the rows, the same at each call."""
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng(SEED).choice(rows, most, replace=False))


def _at(centre: Centre, rows: Ints) -> Centre:
    """Return the hospitals of some rows."""
    return None if centre is None else centre[rows]


def _repeat(centre: Centre, times: int) -> Centre:
    """Return the hospitals repeated as a whole."""
    return None if centre is None else np.tile(centre, times)
