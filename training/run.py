"""One training run: cohort -> fit -> evaluation -> bundle."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from accomplice.data.arrays import Array
from accomplice.data.cohort import Cohort, Patients
from accomplice.data.errors import InputError
from accomplice.training.budget import UNLIMITED, Budget
from accomplice.training.bundle import Bundle
from accomplice.training.config import Config, flat
from accomplice.training.evaluation.importance import begin_explanations, explained
from accomplice.training.evaluation.record import Finding, Review
from accomplice.training.evaluation.response import ResponseEvaluation, judge_response
from accomplice.training.evaluation.review import review
from accomplice.training.evaluation.scores import Evaluation, judge_predicted
from accomplice.training.fitting.baselines import fit_baselines
from accomplice.training.fitting.fit import Fitted, assemble, trained_networks
from accomplice.training.fitting.folds import check_folds
from accomplice.training.fitting.out_of_fold import from_fit
from accomplice.training.fitting.peers import begin_peers
from accomplice.training.fitting.prepare import Prepared, prepare
from accomplice.training.fitting.survival_interval import fit_survival_interval
from accomplice.training.fitting.survival_model import survival_model
from accomplice.training.leakage.sentinels import begin_sentinels, run_sentinels
from accomplice.training.learners.network.inference import Networks
from accomplice.training.models.provenance import provenance
from accomplice.training.models.response import (
    ResponseModel,
    check_labels,
    fit_response,
    out_of_fold,
    why_no_model,
)
from accomplice.training.models.survival import SurvivalModel
from accomplice.training.progress import Tick, silent, within
from accomplice.training.second_process import ALONE, SecondProcess, Task
from accomplice.training.treatment.evidence import Evidence
from accomplice.training.treatment.judging import evidence

#: Share of an endpoint's time for fitting all learners but the network.
FOLDS_TIME = 0.35
#: Share of the time then left for the fit of the network.
NET_TIME = 0.7
#: Share of the time then left for the scores; the review has the rest.
JUDGING_TIME = 0.5
#: Share of a run's time for the primary endpoint where there are further ones.
PRIMARY_TIME = 0.6


@dataclass(frozen=True)
class Begun:
    """The fit of a survival endpoint's model, with the work that a second process may have."""

    prepared: Prepared
    """Patients, folds and the learners fitted before the network."""
    networks: Task[tuple[Networks, list[list[float]]]]
    """Training of the networks."""
    peers: Mapping[tuple[str, int], Task[Array]]
    """Peers of the second process; see :func:`fitting.peers.begin_peers`."""
    sentinels: Mapping[str, Task[Finding]]
    """Leak sentinels of the second process, those of the primary endpoint only."""
    config: Config
    """Settings of the run."""
    tick: Tick
    """Progress callback."""
    budget: Budget
    """Time limit of the endpoint."""
    second: SecondProcess
    """The second process, or none."""


@dataclass(frozen=True)
class Judged:
    """A fitted model of a survival endpoint, and its evaluation."""

    model: SurvivalModel
    """Model that predicts new patients."""
    fitted: Fitted
    """Fits of the folds, with out-of-fold predictions of the cohort."""
    evaluation: Evaluation
    """Scores of the model and its baselines, out of fold."""
    evidence: Evidence | None
    """Evidence for the treatment's effect; None where none was estimated."""
    review: Review
    """Record of the evaluation, without patients' values."""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Findings of the leak sentinels, which run on the primary endpoint only."""
        return self.review.sentinels

    def to_json(self) -> dict[str, Any]:
        """Return the metrics, the treatment's evidence and the review as plain data."""
        treatment = {} if self.evidence is None else {"treatment": self.evidence.to_json()}
        reviewed = {"review": self.review.model_dump(mode="json")}
        return self.evaluation.to_json() | treatment | reviewed


@dataclass(frozen=True)
class Response:
    """A fitted model of a binary endpoint, and its evaluation."""

    model: ResponseModel
    """Model that predicts new patients."""
    evaluation: ResponseEvaluation
    """Scores of the model, out of fold."""
    label: Array
    """(n,) 1, 0, or NaN for unlabelled patients, in the order of their identifiers."""
    probability: Array
    """(n,) out-of-fold probability of label 1; NaN for unlabelled patients."""


@dataclass(frozen=True)
class Trained:
    """All fitted models of a run, with their evaluation."""

    bundle: Bundle
    """All models that predict new patients, with their metrics and provenance."""
    survival: dict[str, Judged]
    """Survival endpoint with enough events -> its fit; the primary endpoint first."""
    responses: dict[str, Response]
    """Binary endpoint with enough labels -> its fit."""
    without: dict[str, str]
    """Endpoint without a model -> the reason."""

    @property
    def primary(self) -> Judged | None:
        """The primary endpoint's fit; None where the study has binary endpoints only."""
        return next(iter(self.survival.values()), None)

    @property
    def further(self) -> dict[str, Judged]:
        """Further survival endpoint -> its fit."""
        return dict(list(self.survival.items())[1:])


def train(
    patients: Patients,
    config: Config,
    tick: Tick = silent,
    budget: Budget = UNLIMITED,
    second: SecondProcess = ALONE,
) -> Trained:
    """Fit and judge a model of each endpoint; nothing is written.

    Args:
        patients: training patients: a cohort with the primary survival endpoint, or patients with
            binary labels only.
        config: settings of the run, the same for all survival endpoints.
        tick: progress callback.
        budget: time limit, of which each survival endpoint has its share; none with a second
            process.
        second: process that does a part of the work; the result is the same.

    Raises:
        InputError: the patients cannot be divided into folds by the primary endpoint (see
            :func:`folds.assign_folds`), for example for too few events; or there is no survival
            endpoint, and no binary endpoint has enough labels.
    """
    survival: dict[str, Judged] = {}
    without: dict[str, str] = {}
    if isinstance(patients, Cohort):
        further, without = _split_by_events(patients.further, config)
        survival = _fit_endpoints(patients, further, config, tick, budget, second)
    else:
        check_labels(patients)
    responses = fit_responses(patients, config)
    for name, label in patients.binary.items():
        reason = why_no_model(label)
        if reason is not None:
            without[name] = reason
    bundle = make_bundle(patients, survival, responses, config, budget.cuts)
    return Trained(bundle, survival, responses, without)


def _fit_endpoints(
    primary: Cohort,
    further: Mapping[str, Cohort],
    config: Config,
    tick: Tick,
    budget: Budget,
    second: SecondProcess,
) -> dict[str, Judged]:
    """Fit and judge a model of each survival endpoint, the primary one with the leak sentinels.

    Arguments and errors are those of :func:`train`.
    """
    cohorts = {primary.endpoint: primary, **further}
    names, last = list(cohorts), len(cohorts) - 1

    def begun_at(place: int) -> Begun:
        name, cohort = names[place], cohorts[names[place]]
        if place:
            share = budget.share(1 / (len(names) - place))
            return begin_fit(cohort, config, within(name, tick), share, second)
        share = budget.share(PRIMARY_TIME) if further else budget
        return begin_fit(cohort, config, tick, share, second, sentinels=True)

    found: dict[str, Judged] = {}
    begun = begun_at(0)
    for place, name in enumerate(names):
        # The second process has work of the next endpoint before this one waits for it.
        ahead = begun_at(place + 1) if second.runs and place < last else None
        judged = judge_fit(begun)
        found[name] = judged if place else with_sentinels(judged, begun)
        if place < last:
            begun = ahead or begun_at(place + 1)
    return found


def begin_fit(
    cohort: Cohort,
    config: Config,
    tick: Tick = silent,
    budget: Budget = UNLIMITED,
    second: SecondProcess = ALONE,
    *,
    sentinels: bool = False,
) -> Begun:
    """Fit the learners of one survival endpoint but the network, and begin the rest.

    Args:
        cohort: training patients of the endpoint.
        config: settings of the run.
        tick: progress callback.
        budget: time limit.
        second: process that does a part of the work.
        sentinels: whether the leak sentinels will be run.

    Raises:
        InputError: the cohort cannot be divided into folds; see :func:`folds.assign_folds`.
    """
    looked = begin_sentinels(cohort.in_order(), config, second) if sentinels else {}
    prepared = prepare(cohort, config, tick, budget.share(FOLDS_TIME), second)
    networks = second.submit(
        *(trained_networks, prepared, config),
        here=lambda: trained_networks(prepared, config, tick, budget.share(NET_TIME)),
        keeps=True,
    )
    peers = begin_peers(prepared, config, second)
    return Begun(prepared, networks, peers, looked, config, tick, budget, second)


def judge_fit(begun: Begun) -> Judged:
    """Complete and judge the fit of one survival endpoint.

    Args:
        begun: the fit.

    Raises:
        InputError: the configured device does not exist.
    """
    prepared, config, tick, budget = begun.prepared, begun.config, begun.tick, begun.budget
    networks, history = begun.networks.result()
    fitted = assemble(prepared, networks, config, history)
    baselines = fit_baselines(prepared, config)
    found = evidence(fitted.effect, config)
    interval = fit_survival_interval(prepared, config) if config.survival_interval else None
    model = survival_model(fitted, baselines, "" if found is None else found.distrust, interval)
    explaining = begin_explanations(model, prepared, config, begun.second)
    tick("evaluation", 0, 1)
    predicted = from_fit(fitted, config, baselines, budget, begun.peers)
    share = budget.share(JUDGING_TIME)
    evaluation = judge_predicted(predicted, config, share, prepared.censoring)
    tick("evaluation", 1, 1)
    reviewed = review(predicted, evaluation, fitted.ensemble, config, tick, budget)
    if config.evaluation.explanations:
        repeats = len(prepared.fold)
        reviewed = explained(reviewed, model, prepared.cohort, tick, budget, repeats, explaining)
    return Judged(model, fitted, evaluation, found, reviewed)


def with_sentinels(judged: Judged, begun: Begun) -> Judged:
    """Run the leak sentinels, and return the fit with their findings in its review.

    Args:
        judged: the fit.
        begun: the same fit as it was begun.
    """
    prepared = judged.fitted.prepared
    found = run_sentinels(
        prepared.cohort,
        prepared.fold[0],
        judged.evaluation,
        judged.evidence,
        begun.config,
        begun.tick,
        begun.budget,
        begun.sentinels,
    )
    return replace(judged, review=judged.review.model_copy(update={"sentinels": found}))


def _split_by_events(
    further: Mapping[str, Cohort], config: Config
) -> tuple[dict[str, Cohort], dict[str, str]]:
    """Return the further endpoints whose patients can be divided into folds, and the others.

    The others come with the reason: too few events, for example.
    """
    able, unable = {}, {}
    for name, cohort in further.items():
        try:
            check_folds(cohort, config)
        except InputError as error:
            unable[name] = str(error)
        else:
            able[name] = cohort
    return able, unable


def fit_responses(patients: Patients, config: Config) -> dict[str, Response]:
    """Fit and judge a model of each binary endpoint with enough labels.

    Args:
        patients: training patients, with their labels.
        config: settings of the run.
    """
    patients, found = patients.in_order(), dict[str, Response]()
    blind = patients.prognostic()
    for name, endpoint in patients.study.endpoints.binary.items():
        label = patients.binary[name]
        if why_no_model(label) is not None:
            continue
        table = (blind.study, blind.values, blind.centre, label)
        inputs = (*table, endpoint.features, config.seed)
        probability = out_of_fold(*inputs)
        judged = judge_response(
            label,
            probability,
            local_rate=endpoint.local_rate,
            bootstraps=config.evaluation.bootstraps,
            seed=config.seed,
        )
        found[name] = Response(fit_response(*inputs), judged, label, probability)
    return found


def make_bundle(
    patients: Patients,
    survival: Mapping[str, Judged],
    responses: Mapping[str, Response],
    config: Config,
    cuts: Sequence[str] = (),
) -> Bundle:
    """Return the bundle of all fits, with their metrics and their provenance.

    Args:
        patients: training patients.
        survival: survival endpoint -> its fit, the primary endpoint first.
        responses: binary endpoint -> its fit.
        config: settings of the run.
        cuts: notes of the work that was cut short; see :attr:`Budget.cuts`.
    """
    settings = json.loads(json.dumps(flat(config)))
    # The table's path on the training machine has no meaning elsewhere.
    source = patients.study.source.model_copy(update={"files": ("cohort",)})
    study = patients.study.model_copy(update={"source": source})
    figures = [each.to_json() for each in survival.values()]
    metrics = figures[0] if figures else {"patients": len(patients)}
    metrics |= {"further": dict(zip(list(survival)[1:], figures[1:], strict=True))}
    metrics |= {"responses": {name: each.evaluation.to_json() for name, each in responses.items()}}
    predicted = b"".join(each.fitted.cumulative.tobytes() for each in survival.values())
    return Bundle(
        study=study,
        survival={name: replace(each.model, study=study) for name, each in survival.items()},
        responses={name: each.model for name, each in responses.items()},
        config=settings,
        metrics=metrics,
        provenance=provenance(patients, settings, cuts, predicted),
    )
