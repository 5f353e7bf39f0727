"""Predictions for another cohort, which has its own study file, and evaluation of responses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from accomplice.data.arrays import Array, Ints
from accomplice.data.cohort import Cohort, Patients
from accomplice.data.errors import InputError, nearest
from accomplice.data.matching.match import Matching, match_patients
from accomplice.data.matching.scales import on_own_scale, rankable
from accomplice.data.preprocessing.preprocessor import Preprocessor
from accomplice.data.rows.treatment import treated
from accomplice.data.study import Study
from accomplice.training.bundle import Bundle
from accomplice.training.config import Config
from accomplice.training.evaluation.response import ResponseEvaluation, judge_response
from accomplice.training.models.predictions import EXTERNAL, MODEL, Predictions
from accomplice.training.models.provenance import updates_of
from accomplice.training.models.response import ResponseModel
from accomplice.training.models.survival import SurvivalModel
from accomplice.training.treatment.benefit import under
from accomplice.training.treatment.effect import PatientEffect


@dataclass(frozen=True, eq=False)
class External:
    """A bundle's predictions for a cohort that it was not trained on."""

    bundle: Bundle
    """The bundle; expression is scaled by the cohort's own patients where enough have it."""
    model: SurvivalModel
    """The bundle's model of the judged endpoint."""
    cohort: Cohort
    """The patients with the features of their own study file."""
    matching: Matching
    """The model's features, with the cohort's features that match them."""
    ranked: tuple[str, ...]
    """Expression features that are ranked among the cohort's patients."""
    unranked: tuple[str, ...]
    """Expression features on the training cohort's scale, since too few patients have them."""
    predicted: Predictions
    """The patients with the model's features, and the model's curves for them."""
    with_treatment: Callable[[Array], Array]
    """Function from the cumulative hazards (n, j + 1) predicted without the treatment to those
    under the patients' treatment."""


def choose_endpoint(bundle: Bundle, study: Study, asked: str | None) -> tuple[str, str]:
    """Return the model's endpoint, and the study's endpoint on which it is judged.

    Args:
        bundle: the model.
        study: study of the patients to judge on.
        asked: endpoint of the study that the user gave; None: the model's if the study has it,
            else the study's first.

    Raises:
        InputError: the model predicts no survival, or the study has no such endpoint.
    """
    if bundle.primary is None:
        raise InputError(
            f"the model of '{bundle.study.name}' predicts no survival: evaluate needs a model of a "
            "survival endpoint"
        )
    primary = bundle.primary.endpoint
    known = study.endpoints.survival
    if asked is not None:
        study.survival_endpoint(asked)
        return (asked if asked in bundle.survival else primary), asked
    return primary, primary if primary in known else study.survival_endpoint(None)[0]


def refuse_seen(bundle: Bundle, cohort: Cohort, path: str) -> None:
    """Refuse a cohort that a model was trained or updated on, by its fingerprint.

    The training cohort is refused with any one of its survival endpoints, and with all of them.

    Args:
        bundle: the model.
        cohort: cohort to judge the model on.
        path: name of the cohort in errors.

    Raises:
        InputError: the cohort's fingerprint is that of the training cohort or of an update's.
    """
    own, made = cohort.fingerprint(), bundle.provenance
    if own in (made.get("cohort_fingerprint"), *made.get("endpoint_fingerprints", ())):
        raise InputError(
            f"{path}: the model was trained on this very cohort: evaluate takes another one; how "
            "the model did on its own, out of fold, is in its run"
        )
    if own in [update["cohort_fingerprint"] for update in updates_of(made)]:
        raise InputError(
            f"{path}: the model was updated by this very cohort: evaluate takes another one; how "
            "its patients fared when held out of the update is in the bundle's metrics"
        )


def predict_cohort(
    bundle: Bundle, endpoint: str, cohort: Cohort, named: Mapping[str, str] | None = None
) -> External:
    """Match a cohort's features and predict for its patients.

    Args:
        bundle: the model, trained on other patients.
        endpoint: survival endpoint of the bundle to judge.
        cohort: the patients by their own study file, with one survival endpoint.
        named: feature of the model -> feature of the cohort, for matches that the user gives.

    Raises:
        InputError: as :func:`matching.match.match_patients`.
    """
    first = bundle.survival[endpoint].preprocessors[0]
    matching = match_patients(bundle.study, first, cohort, named)
    own = on_cohort_scale(bundle, matching.values, cohort.centre)
    model = own.survival[endpoint]
    blind_values = matching.values[:, list(bundle.study.prognostic_features)]
    features = model.preprocessors[0].study.features
    able = dict(zip(features, rankable(first, blind_values), strict=True))
    have = {m.feature for m in matching.found}
    expression = [name for name, feature in features.items() if feature.kind == "expression"]
    ranked = tuple(name for name in expression if able[name])
    unranked = tuple(name for name in expression if name in have and not able[name])
    judged = _with_model_features(bundle.study, cohort, matching.values)
    with_treatment = _with_treatment(model, matching.values, cohort.centre)
    learners = model.ensemble.learners(blind_values, cohort.centre)
    blind = model.ensemble.stack.cumulative(learners)
    curves = {MODEL: blind} | dict(zip(model.ensemble.names, learners, strict=True))

    def again(values: Array, rows: Ints | None = None, /) -> Array:
        own = cohort.centre if cohort.centre is None or rows is None else cohort.centre[rows]
        return model.ensemble.cumulative(values, own)

    predicted = Predictions(
        cohort=judged,
        protocol=EXTERNAL,
        group=np.zeros(len(cohort), dtype=int),
        grid=model.ensemble.grid,
        curves=curves,
        baselines=model.baseline_curves(blind_values, cohort.centre),
        served=with_treatment(blind),
        again=again,
    )
    return External(own, model, cohort, matching, ranked, unranked, predicted, with_treatment)


def on_cohort_scale(bundle: Bundle, values: Array, centre: NDArray[np.str_] | None) -> Bundle:
    """Return a bundle that scales expression by new patients; see `matching.scales`.

    Args:
        bundle: the model.
        values: (n, p) features coded by the bundle's study, the treatment included.
        centre: (n,) centre of each patient, empty where unknown; None without a column of centres.
    """
    names = [list(bundle.study.features)[j] for j in bundle.study.prognostic_features]
    blind = values[:, list(bundle.study.prognostic_features)]

    def rescaled(preprocessor: Preprocessor) -> Preprocessor:
        read = [names.index(name) for name in preprocessor.study.features]
        return on_own_scale(preprocessor, blind[:, read], centre)

    def of_survival(model: SurvivalModel) -> SurvivalModel:
        folds = tuple(
            replace(fold, preprocessor=rescaled(fold.preprocessor)) for fold in model.ensemble.folds
        )
        effect = model.effect
        if effect is not None:
            effect = replace(effect, preprocessor=rescaled(effect.preprocessor))
        return replace(model, ensemble=replace(model.ensemble, folds=folds), effect=effect)

    def of_response(model: ResponseModel) -> ResponseModel:
        return replace(model, preprocessor=rescaled(model.preprocessor))

    return replace(
        bundle,
        survival={name: of_survival(each) for name, each in bundle.survival.items()},
        responses={name: of_response(each) for name, each in bundle.responses.items()},
    )


def judge_labels(
    external: External, patients: Patients, config: Config
) -> tuple[dict[str, ResponseEvaluation], dict[str, str]]:
    """Evaluate the model's predictions of binary endpoints that the study has too.

    Args:
        external: the model's predictions for the cohort.
        patients: the cohort's patients with their labels, in the same order.
        config: settings, of which seed and bootstraps are used.

    Returns:
        Judged endpoint -> its evaluation, and other endpoint of the model -> the reason why it is
        not judged.
    """
    found, unjudged = {}, {}
    bundle, study = external.bundle, patients.study
    values = external.matching.values[:, list(bundle.study.prognostic_features)]
    for name, model in bundle.responses.items():
        if name not in study.endpoints.binary:
            hint = nearest(name, study.endpoints.binary)
            unjudged[name] = f"the study has no binary endpoint of that name{hint}"
            continue
        label = patients.binary[name]
        positive, negative = int((label == 1).sum()), int((label == 0).sum())
        if not positive or not negative:
            unjudged[name] = f"{positive} positive and {negative} negative labels: both are needed"
            continue
        found[name] = judge_response(
            label,
            model.probability(values, patients.centre),
            local_rate=study.endpoints.binary[name].local_rate,
            bootstraps=config.evaluation.bootstraps,
            seed=config.seed,
        )
    return found, unjudged


def _with_treatment(
    model: SurvivalModel, values: Array, centre: NDArray[np.str_] | None
) -> Callable[[Array], Array]:
    """Return the function :attr:`External.with_treatment` of n patients.

    Args:
        model: the model.
        values: (n, p) coded features, the treatment among them.
        centre: (n,) hospital; None where no hospital is known.
    """
    status = treated(model.study, values)
    if model.effect is None or status is None:
        return lambda blind: blind
    blind_values = values[:, list(model.study.prognostic_features)]
    effect: PatientEffect = model.effect.of(blind_values, centre)
    return lambda blind: under(blind, effect, status)


def _with_model_features(model: Study, cohort: Cohort, values: Array) -> Cohort:
    """Return the patients with the model's features and the endpoints of their own study."""
    own = cohort.study
    binary = {
        name: endpoint.model_copy(update={"features": None})
        for name, endpoint in own.endpoints.binary.items()
    }
    kept = ("name", "description", "synthetic", "source", "id", "centre")
    update = {name: getattr(own, name) for name in kept}
    update["endpoints"] = own.endpoints.model_copy(update={"binary": binary})
    study = model.model_copy(update=update)
    return replace(cohort, study=study, values=values, further={})


def why_few(cohort: Cohort, horizon: float, fewest: int) -> str:
    """Return an error text if a cohort has too few events to judge a model; empty otherwise.

    Args:
        cohort: the patients.
        horizon: month up to which events count.
        fewest: minimum number of events.
    """
    events = int((cohort.event & (cohort.time <= horizon)).sum())
    if events >= fewest:
        return ""
    return (
        f"study '{cohort.study.name}' has {events} events of '{cohort.endpoint}' within the "
        f"model's {horizon:g} months: {fewest} are the least to judge a model by"
    )
