"""Analyses that test a claim about one marker in one cohort, as numbers.

Texts and figures are made from them in :mod:`marker.verdicts` and :mod:`marker.figures`. Every
number is of a group of patients, none of a single one.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from accomplice.data.arrays import Array, Bools
from accomplice.data.cohort import Cohort
from accomplice.data.errors import InputError, nearest, some
from accomplice.data.study import Study
from accomplice.training.config import Config
from accomplice.training.estimators.hazard_ratios import HazardRatio, Pooled, fit_effects, pool
from accomplice.training.estimators.imputation.multiple import pooled
from accomplice.training.estimators.policy import EVENTS_TO_JUDGE
from accomplice.training.estimators.proportional_hazards import (
    EffectOverTime,
    effect_over_time,
    zph_test,
)
from accomplice.training.marker.added_value import AddedValue, added_value
from accomplice.training.marker.association import Association, associate
from accomplice.training.marker.correlation import Correlation, correlations
from accomplice.training.marker.covariates import Adjustments, Covariates, Designs
from accomplice.training.marker.cutpoints import CutScan, cut_sizes, scan_cuts
from accomplice.training.marker.treatment import (
    Modification,
    TreatmentEffect,
    modification,
    treatment_effect,
)
from accomplice.training.progress import Tick, silent

#: Modality whose mean is adjusted for, if the request names no other features; also the name of
#: that adjustment.
STROMA = "stroma"
#: Baseline of the study file whose features are the clinical ones; also the name of the adjustment
#: for them.
CLINICAL = "clinical"
#: Name of the adjustment for all sets of features together.
ALL = "all together"


@dataclass(frozen=True)
class MarkerRequest:
    """A marker and the settings of its analyses."""

    marker: str
    """Name of the feature."""
    stroma: tuple[str, ...] | None = None
    """Features whose mean is adjusted for as one score; the modality ``stroma`` if None."""
    adjust: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Further sets of features that are adjusted for: name -> features."""
    plausible: float = 1.55
    """Assumed ratio of the treatment's hazard ratios, high over low marker, for the power."""


@dataclass(frozen=True)
class Adjusted:
    """The marker's hazard ratio, adjusted for a set of features."""

    label: str
    """Name of the set."""
    features: tuple[str, ...]
    """Features of the set."""
    columns: int
    """Number of columns of their design."""
    ratio: HazardRatio
    """Hazard ratio for one standard deviation of the marker."""


@dataclass(frozen=True)
class Centres:
    """The marker's hazard ratio by centre."""

    ratios: dict[str, HazardRatio]
    """Centre -> hazard ratio for one standard deviation of the marker."""
    too_small: int
    """Number of centres left out: fewer than ``EVENTS_TO_JUDGE`` events, or one marker value. Those
    whose hazard ratio is undetermined are left out too, but not counted."""
    pooled: Pooled | None
    """Random-effects summary; None with fewer than two hazard ratios."""


@dataclass(frozen=True)
class MarkerClaim:
    """All results on a marker."""

    request: MarkerRequest
    """The marker and the settings of its analyses."""
    study: str
    """Name of the study."""
    endpoint: str
    """Name of the endpoint."""
    synthetic: bool
    """Whether the patients are synthetic."""
    patients: int
    """Number of patients with a value of the marker, who are analysed."""
    events: int
    """Number of their events."""
    unmeasured: int
    """Number of patients without a value of the marker, who are left out."""
    horizon: float
    """Horizon of the endpoint, in months."""
    modality: str
    """Modality of the marker."""
    association: Association
    """Unadjusted association with survival."""
    cuts: CutScan
    """Hazard ratios at all cut-points."""
    adjusted: tuple[Adjusted, ...]
    """Without adjustment, for each set of features, and, if there are several, for all together."""
    imputed: tuple[str, ...]
    """Features that are adjusted for and were imputed; without those of the stroma's score."""
    proportional_p: float
    """p value of Grambsch and Therneau's test of proportional hazards."""
    over_time: EffectOverTime
    """Unadjusted log hazard ratio over follow-up."""
    centres: Centres | None
    """Hazard ratios by centre; None if the study has no centre column."""
    modification: Modification | str
    """Change of the treatment's effect by the marker, or the reason why it cannot be judged."""
    treatment: TreatmentEffect | str
    """The treatment's own effect, or the reason why it cannot be judged."""
    correlations: tuple[Correlation, ...]
    """Correlations with the other features but categories, the strongest first; see
    :func:`correlations`."""
    added: AddedValue
    """Gain of predictions by the marker, beside the clinical features."""


def judge_marker(
    cohort: Cohort, request: MarkerRequest, config: Config, tick: Tick = silent
) -> MarkerClaim:
    """Run all analyses of a marker.

    Args:
        cohort: patients with their outcomes.
        request: the marker and the settings of its analyses.
        config: run configuration; its folds, inner folds of the anchor, grid, bootstraps and seed
            are used.
        tick: progress callback.

    Raises:
        InputError: the request does not fit the study (see :func:`check_request`), there are too
            few events, no cut-point divides the patients, no patient has a value of the stroma, or
            the folds cannot be made.
    """
    check_request(cohort.study, request)
    names = list(cohort.study.features)
    j = names.index(request.marker)
    measured = ~np.isnan(cohort.values[:, j])
    known = cohort.take(measured)
    time, event = known.outcome
    if event.sum() < EVENTS_TO_JUDGE:
        raise InputError(
            f"'{request.marker}': {int(event.sum())} events among {len(known)} patients with a "
            f"value are too few to judge it: {EVENTS_TO_JUDGE} are needed, and a hundred to say "
            "much"
        )
    tick("questions", 0, 7)
    given = Covariates.of(known)
    x = given.z[:, j]
    if not len(cut_sizes(np.sort(x))):
        raise InputError(
            f"'{request.marker}': nine in ten patients or more have the same value: no cut-point "
            "parts them"
        )
    association = associate(x, time, event)
    tick("questions", 1, 7)
    cuts = scan_cuts(x, time, event, config.seed)
    tick("questions", 2, 7)
    sets = adjustments(cohort.study, request)
    clinical = clinical_features(cohort.study, request.marker)
    beside = _adjustments(given, {**sets, CLINICAL: clinical}, config.seed, x)
    adjusted = _adjusted(beside, x, time, event, sets)
    tick("questions", 3, 7)
    proportional_p = zph_test(x[:, None], time, event)[0].p_value
    over_time = effect_over_time(x, time, event)
    tick("questions", 4, 7)
    centres = None if known.centre is None else _centres(known.centre, x, time, event)
    tick("questions", 5, 7)
    changed = modification(known, x, beside.columns(clinical), request.plausible)
    # The treatment's own effect needs no marker: all patients count.
    references = {k: v for k, v in sets.items() if k in cohort.study.baselines}
    references[CLINICAL] = references.pop(CLINICAL, clinical)
    of_all = _adjustments(Covariates.of(cohort), references, config.seed)
    treatment = treatment_effect(
        cohort, {name: of_all.columns(listed) for name, listed in references.items()}
    )
    tick("questions", 6, 7)
    related = correlations(cohort.study, given.z, request.marker)
    tick("questions", 7, 7)
    added = added_value(known, request.marker, clinical, config, tick)
    return MarkerClaim(
        request=request,
        study=cohort.study.name,
        endpoint=cohort.endpoint,
        synthetic=cohort.study.synthetic,
        patients=len(known),
        events=int(event.sum()),
        unmeasured=len(cohort) - len(known),
        horizon=cohort.horizon,
        modality=next(m for m, block in cohort.study.blocks.items() if j in block),
        association=association,
        cuts=cuts,
        adjusted=adjusted,
        imputed=beside.imputed,
        proportional_p=proportional_p,
        over_time=over_time,
        centres=centres,
        modification=changed,
        treatment=treatment,
        correlations=tuple(related),
        added=added,
    )


def check_request(study: Study, request: MarkerRequest) -> None:
    """Check that a study has the features of a request.

    Raises:
        InputError: a feature is unknown, the marker or a feature of the stroma is a category, or
            the marker is adjusted for itself.
    """
    marker = request.marker
    if marker not in study.features:
        alike = difflib.get_close_matches(marker, study.features, n=5, cutoff=0.6)
        others = [n for m in list(study.modalities)[1:] for n in study.modalities[m]]
        hint = f"the most alike: {some(alike)}" if alike else f"it has {some(others)}"
        raise InputError(f"study '{study.name}' has no feature '{marker}' to report on; {hint}")
    if study.features[marker].kind == "category":
        raise InputError(f"'{marker}' is a category: a marker needs values with an order")
    for option, listed in (("--stroma", request.stroma or ()), *request.adjust.items()):
        for name in listed:
            if name not in study.features:
                near = nearest(name, study.features)
                raise InputError(f"{option}: study '{study.name}' has no feature '{name}'{near}")
            if name == marker:
                raise InputError(f"{option}: '{name}' is the marker itself")
    for name in request.stroma or ():
        if study.features[name].kind == "category":
            raise InputError(f"--stroma: '{name}' is a category and has no mean")


def clinical_features(study: Study, marker: str) -> tuple[str, ...]:
    """Return the features of the clinical baseline, or of the first modality if there is none.

    The marker and the treatment are left out.
    """
    listed = study.baselines.get(CLINICAL) or tuple(next(iter(study.modalities.values())))
    left_out = {marker, study.treatment.column if study.treatment else None}
    return tuple(name for name in listed if name not in left_out)


def adjustments(study: Study, request: MarkerRequest) -> dict[str, tuple[str, ...]]:
    """Return the sets of features that are adjusted for: name -> features.

    They are the study file's baselines, the clinical features, the stroma, each feature of the
    study file's interactions that is not of the stroma, and the sets of the request, which replace
    others of their name. The marker, the treatment and empty sets are left out.
    """
    found = {name: tuple(listed) for name, listed in study.baselines.items()}
    found[CLINICAL] = clinical_features(study, request.marker)
    stroma = tuple(study.modalities.get(STROMA, ())) if request.stroma is None else request.stroma
    found[STROMA] = stroma
    for pair in study.interactions:
        found |= {name: (name,) for name in pair if name not in stroma and name not in found}
    found |= request.adjust
    left_out = {request.marker, study.treatment.column if study.treatment else None}
    kept = {k: tuple(n for n in listed if n not in left_out) for k, listed in found.items()}
    return {label: listed for label, listed in kept.items() if listed}


def _adjustments(
    given: Covariates, sets: Mapping[str, tuple[str, ...]], seed: int, x: Array | None = None
) -> Adjustments:
    """Impute the features of all sets (the stroma's score, not its features), given the marker.

    Args:
        given: covariates of n patients.
        sets: name of a set -> its features.
        seed: seed of the imputation.
        x: (n,) marker; None where the features are imputed without one.
    """
    score = given.score(sets[STROMA]) if STROMA in sets else None
    features = [name for label, listed in sets.items() if label != STROMA for name in listed]
    with_it = np.empty((len(given.cohort), 0)) if x is None else x[:, None]
    return Adjustments.of(given, features, score, with_it, seed)


def _adjusted(
    beside: Adjustments, x: Array, time: Array, event: Bools, sets: dict[str, tuple[str, ...]]
) -> tuple[Adjusted, ...]:
    """Return the marker's crude hazard ratio, that adjusted for each set, and that for all sets."""

    def adjusted(label: str, features: tuple[str, ...], designs: Designs) -> Adjusted:
        ratio = pooled([fit_effects(x, time, event, X).ratio(1) for X in designs])
        return Adjusted(label, features, designs[0].shape[1], ratio)

    found = [Adjusted("nothing", (), 0, fit_effects(x, time, event).ratio(1))]
    for label, features in sets.items():
        stroma = label == STROMA
        designs = beside.columns(() if stroma else features, score=stroma)
        found.append(adjusted(label, features, designs))
    if len(sets) > 1:
        # A feature in several sets counts once; the stroma counts as its score.
        single = dict.fromkeys(n for k, v in sets.items() if k != STROMA for n in v)
        features = tuple(dict.fromkeys(n for v in sets.values() for n in v))
        designs = beside.columns(single, score=STROMA in sets)
        found.append(adjusted(ALL, features, designs))
    return tuple(found)


def _centres(centre: NDArray[np.str_], x: Array, time: Array, event: Bools) -> Centres:
    """Estimate the hazard ratio of the marker x (n,) in each named centre, and pool the ratios."""
    ratios: dict[str, HazardRatio] = {}
    too_small = 0
    for name in np.unique(centre[centre != ""]).tolist():
        rows = centre == name
        if event[rows].sum() < EVENTS_TO_JUDGE or x[rows].std() < 1e-9:
            too_small += 1
            continue
        ratio = fit_effects(x[rows], time[rows], event[rows]).ratio(1)
        if ratio.known:
            ratios[name] = ratio
    return Centres(ratios, too_small, pool(list(ratios.values())) if len(ratios) > 1 else None)
