"""Judgement of a treatment's effect: hazard ratios, gains of survival, ranking and policies.

All predictions that are judged are out of fold: propensity, effect and curves of a patient are from
fits without the patient's fold. Gains of survival are judged by doubly robust scores; see
:func:`arm_scores`.

Differences between patients are judged on the relative scale, since under a common hazard ratio the
gains of survival still differ, as the baseline risks do. The score of a patient is the derivative
of the log-likelihood by the log-hazard ratio, which has mean 0 under a common ratio, whatever the
baseline risks. Ranked by the predicted effect, the scores give the rank-weighted average treatment
effect (RATE) with Qini's weights (Yadlowsky et al., "Evaluating treatment prioritization rules via
rank-weighted average treatment effects", JASA 2025).
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from accomplice.data.arrays import Array, Bools
from accomplice.data.rows.treatment import is_option
from accomplice.data.splits import within
from accomplice.training.config import Config
from accomplice.training.estimators.censoring import censoring_of
from accomplice.training.estimators.checks import UndefinedMetricError
from accomplice.training.estimators.hazard_ratios import fit_effects
from accomplice.training.estimators.intervals import Estimate
from accomplice.training.estimators.kaplan_meier import Censoring, censoring, judged_horizon
from accomplice.training.estimators.logistic import logit
from accomplice.training.estimators.policy import COMMON, RARE, WORTH
from accomplice.training.estimators.proportional_hazards import zph_test
from accomplice.training.treatment.arm_scores import arm_scores
from accomplice.training.treatment.balance import Balance, balance
from accomplice.training.treatment.benefit import benefit_horizon, under
from accomplice.training.treatment.compared import at_landmark, too_few, treatment_and_status
from accomplice.training.treatment.cross_fitted import CrossFitted, cross_fit
from accomplice.training.treatment.evidence import ArmCounts, Evidence
from accomplice.training.treatment.expected_events import Rates, fitted_rates
from accomplice.training.treatment.immortal_time import early_events, strata
from accomplice.training.treatment.missing_confounders import MissingConfounders
from accomplice.training.treatment.propensity.fit import large_centres
from accomplice.training.treatment.propensity.rare_regions import rare_regions
from accomplice.training.treatment.rate import Ranked, Scored, cross_ranked, mean, ranked
from accomplice.training.treatment.sensitivity import INTERVALS, OverTime, Unrecorded, rmst_gain
from accomplice.training.treatment.trial_range import TrialRange

#: Least distance of a propensity from 0 and 1 where it is divided by.
BOUND = 0.05
#: Standard deviation below which a column is constant.
CONSTANT = 1e-9
#: Months after the landmark that are later landmarks of the hazard ratio.
LATER = (3.0, 6.0, 12.0, 24.0)
#: Number of groups by predicted gain whose observed gain is shown.
GROUPS = 4


def evidence(crossed: CrossFitted | None, config: Config) -> Evidence | None:
    """Return the evidence for an effect.

    None without an effect, or if too few patients were followed for censoring weights.

    Args:
        crossed: the cross-fitted effect; None if there is none.
        config: settings, of which those of the effect and the seed are used.
    """
    if crossed is None:
        return None
    try:
        return _judge(crossed, config)
    except UndefinedMetricError:
        return None


def _judge(crossed: CrossFitted, config: Config) -> Evidence:
    patients, cohort, grid, rows = crossed.patients, crossed.cohort, crossed.grid, crossed.rows
    treatment, status = treatment_and_status(cohort)
    a, e = status[rows], np.clip(patients.propensity[rows], BOUND, 1 - BOUND)
    blind, own = crossed.cumulative[rows], patients.take(rows)
    time, event = cohort.outcome
    time, event = time[rows], event[rows]
    chosen = censoring_of(cohort.take(rows), time, event)
    most = benefit_horizon(cohort.study, cohort.endpoint, grid.horizon)
    horizon = judged_horizon(time, event, most, chosen.reach)
    # Survival of patients event-free at the landmark, as the compared ones are.
    start = min(treatment.landmark, horizon)
    curves = [under(blind, own, np.full(len(a), arm)) for arm in (1.0, 0.0)]
    arms = [np.exp(-np.diff(grid.at(c, np.array([start, horizon]))))[:, 0] for c in curves]
    gain = arms[0] - arms[1]
    months = np.linspace(start, horizon, INTERVALS + 1)[1:]

    def scored(weights: Censoring) -> Array:
        return arm_scores(a, e, time, event, weights, grid, curves, start, months)

    by_month = scored(chosen.weights)
    scores = by_month[-1]
    gained = scores[0] - scores[1]
    one_distribution = scored(censoring(time, event))[-1] if chosen.by else None
    fold = crossed.fold[rows]
    by_model = np.where(gain > WORTH, scores[0], scores[1])
    larger = within(-own.log_hr, fold)
    inside = (own.propensity >= RARE) & (own.propensity <= COMMON)
    one_armed = _one_armed(crossed)
    missing = MissingConfounders.of(crossed, config.seed)
    hr = _hazard_ratios(crossed, missing)
    return Evidence(
        label=treatment.label,
        landmark=treatment.landmark,
        horizon=horizon,
        arms=_arms(crossed),
        propensity=patients.propensity[rows],
        treated=a,
        overlap=float((inside & ~np.any([*one_armed.values()], axis=0)).mean()),
        one_armed=tuple(one_armed),
        balance=_balance(crossed),
        hr=hr,
        imputed=missing.names,
        unrecorded=Unrecorded.of(hr["landmark"]),
        over_time=_over_time(crossed, missing, hr["landmark"]),
        rmst=rmst_gain(by_month[:, 0] - by_month[:, 1], (horizon - start) / INTERVALS),
        trials=TrialRange.of(treatment),
        early=early_events(
            status,
            cohort.time,
            cohort.event,
            treatment.landmark,
            strata(cohort.study, cohort.values),
        ),
        ate=mean(gained),
        predicted=float(gain.mean()),
        groups=_groups(gain, gained),
        relative=_relative(crossed, larger, config.seed),
        absolute=ranked(gain, gained),
        halves=_halves(crossed, larger, missing),
        policy={"all": mean(scores[0]), "none": mean(scores[1]), "model": mean(by_model)},
        policy_gain={"all": mean(by_model - scores[0]), "none": mean(by_model - scores[1])},
        permuted=permuted(crossed, config),
        censoring=chosen.by,
        ate_one_distribution=None
        if one_distribution is None
        else mean(one_distribution[0] - one_distribution[1]),
    )


def permuted(crossed: CrossFitted, config: Config, seed: int = 0) -> Estimate | None:
    """Return RATE on the relative scale after a random permutation of the treatment.

    The treatment is permuted among the patients in whom it is known. None if no effect can be
    fitted then.

    Args:
        crossed: the cross-fitted effect.
        config: settings, of which those of the effect and the seed are used.
        seed: number of the permutation.
    """
    cohort = crossed.cohort
    known = np.flatnonzero(~np.isnan(crossed.treated))
    values = np.array(cohort.values)
    column = cohort.study.treatment_position
    rng = np.random.default_rng([config.seed, seed])
    values[known, column] = values[rng.permutation(known), column]
    found = cross_fit(
        replace(cohort, values=values),
        crossed.preprocessors,
        crossed.fold,
        crossed.cumulative,
        crossed.grid,
        config.effect,
        config.seed,
    )
    if isinstance(found, str):
        return None
    larger = within(-found.patients.log_hr[found.rows], found.fold[found.rows])
    return _relative(found, larger, config.seed).rate


def _arms(crossed: CrossFitted) -> ArmCounts:
    cohort, rows, status = crossed.cohort, crossed.rows, crossed.treated
    option = is_option(cohort.study, cohort.values)
    early = option & ~np.isnan(status) & (cohort.time <= treatment_and_status(cohort)[0].landmark)
    event = cohort.outcome.event

    def count(where: Bools) -> int:
        return int(where.sum())

    return ArmCounts(
        treated=count(rows & (status == 1)),
        untreated=count(rows & (status == 0)),
        events_treated=count(rows & (status == 1) & event),
        events_untreated=count(rows & (status == 0) & event),
        unknown=count(np.isnan(status)),
        no_option=count(~np.isnan(status) & ~option),
        early=count(early),
    )


def _balance(crossed: CrossFitted) -> Balance:
    """Return the balance of the compared patients' single columns; missing values are the mean."""
    rows, blind = crossed.rows, crossed.cohort.prognostic().take(crossed.rows)
    preprocessor, columns = crossed.effect.preprocessor, crossed.effect.propensity.columns
    names = [column.label for column in preprocessor.linear_columns()]
    X = preprocessor.linear(blind.values, blind.centre)[:, columns]
    chance = crossed.patients.propensity[rows]
    centres = _centres(crossed)
    X = np.column_stack([X, *centres.values()])
    labels = *(names[j] for j in columns), *(_label(name) for name in centres)
    return balance(X, labels, crossed.treated[rows], chance)


def _centres(crossed: CrossFitted) -> dict[str, Bools]:
    """Return name -> members (m,) of the centres of compared patients; empty if there is one."""
    centre = crossed.cohort.centre
    if centre is None:
        return {}
    own = centre[crossed.rows]
    return {name: own == name for name in large_centres(own)}


def _label(centre: str) -> str:
    """Return the name of a centre's indicator, with the word centre once."""
    return centre if centre.lower().startswith("centre") else f"centre {centre}"


def _one_armed(crossed: CrossFitted) -> dict[str, Bools]:
    """Return name -> members (m,) of the centres in which an arm is rare beyond chance."""
    centres = _centres(crossed)
    if not centres:
        return {}
    X = np.column_stack([*centres.values()]).astype(float)
    regions, names = rare_regions(X, crossed.treated[crossed.rows] == 1), [*centres]
    found = {}
    for column, low, high in zip(regions.column, regions.low, regions.high, strict=True):
        above = np.isfinite(low)
        # The value 1 of one indicator is a centre; the value 0 is all other centres.
        if above.sum() == 1 and not np.isfinite(high).any():
            name = names[column[above][0]]
            found[name] = centres[name]
    return found


def _hazard_ratios(crossed: CrossFitted, missing: MissingConfounders) -> dict[str, Estimate]:
    cohort, status = crossed.cohort, crossed.treated
    option = ~np.isnan(status) & is_option(cohort.study, cohort.values)
    time, event = cohort.outcome
    return {
        "crude": fit_effects(status[option], time[option], event[option]).ratio(1),
        "adjusted": missing.ratio(crossed, option, landmark=0.0),
        "landmark": missing.ratio(crossed, crossed.rows),
    }


def _over_time(crossed: CrossFitted, missing: MissingConfounders, hr: Estimate) -> OverTime:
    """Return the change of the compared patients' hazard ratio over follow-up.

    The test is of the treatment in a Cox model that also has the prognosis (log of the last
    cumulative hazard) and the log-odds of the propensity.

    Args:
        crossed: the cross-fitted effect.
        missing: the imputed confounders.
        hr: hazard ratio from the study's landmark on.
    """
    rows, cohort = crossed.rows, crossed.cohort
    time, event = cohort.outcome
    prognosis = np.log(np.maximum(crossed.cumulative[rows, -1], 1e-12))
    beside = np.stack([prognosis, logit(crossed.patients.propensity[rows])], axis=1)
    X = np.column_stack([crossed.treated[rows], beside[:, beside.std(axis=0) > CONSTANT]])
    start = treatment_and_status(cohort)[0].landmark
    ratios = [(start, hr)]
    for month in (start + later for later in LATER):
        left = rows & (time > month)
        if too_few(at_landmark(cohort, month)) is not None:
            break
        ratios.append((month, missing.ratio(crossed, left, landmark=month)))
    return OverTime(zph_test(X, time[rows], event[rows])[0].p_value, tuple(ratios))


def _rates(crossed: CrossFitted, rows: Bools) -> Rates:
    chance, terms = crossed.patients.propensity, crossed.terms
    return fitted_rates(crossed.cohort, crossed.cumulative, crossed.grid, chance, rows, terms)


def _halves(
    crossed: CrossFitted, larger: Array, missing: MissingConfounders
) -> tuple[Estimate, Estimate]:
    """Return the hazard ratios of the halves with the larger and the smaller effects.

    NaN if all patients have the same effect.

    Args:
        crossed: the cross-fitted effect, of m compared patients.
        larger: (m,) predicted effect, larger for a smaller hazard ratio.
        missing: the imputed confounders.
    """
    half = larger >= np.median(larger)
    if half.all():
        # With few distinct effects the median can be the smallest of them.
        half = larger > larger.min()
    if not half.any():
        return Estimate(math.nan), Estimate(math.nan)
    first, second = (missing.ratio(crossed, _among(crossed.rows, part)) for part in (half, ~half))
    return first, second


def _relative(crossed: CrossFitted, larger: Array, seed: int) -> Ranked:
    """Return RATE of the ranking of the compared patients by predicted hazard ratio.

    Args:
        crossed: the cross-fitted effect, of m compared patients.
        larger: (m,) predicted effect, larger for a smaller hazard ratio.
        seed: seed of the random signs.
    """
    rows, blind = crossed.rows, crossed.cohort.prognostic()
    rates = _rates(crossed, rows)
    difference = (crossed.treated - crossed.patients.propensity)[rows]
    centre = None if blind.centre is None else blind.centre[rows]
    scored = Scored(
        design=crossed.effect.design(blind.values[rows], centre),
        score=difference * (rates.event - rates.rate),
        information=difference**2 * rates.rate,
        fold=crossed.fold[rows],
        prior_sd=crossed.effect.prior_sd,
    )
    return cross_ranked(larger, scored, seed)


def _groups(gain: Array, gained: Array) -> list[tuple[float, Estimate]]:
    """Return mean predicted and observed gain of ``GROUPS`` groups, by rising prediction.

    The groups have equal sizes, or sizes that differ by 1.

    Args:
        gain: (n,) predicted gain of survival.
        gained: (n,) doubly robust score of the gain.
    """
    parts = np.array_split(np.argsort(gain, kind="stable"), GROUPS)
    return [(float(gain[part].mean()), mean(gained[part])) for part in parts if len(part)]


def _among(rows: Bools, inside: Bools) -> Bools:
    """Return the mask ``rows`` (n,) restricted by ``inside``, a value for each of its patients."""
    found = np.zeros_like(rows)
    found[np.flatnonzero(rows)[inside]] = True
    return found
