"""Is the treatment's effect to be believed? What a run shows beside the benefits it predicts.

All figures are out of fold: propensity, effect and curves of a patient come from other patients.
Gains of survival are judged by doubly robust scores (Robins, Rotnitzky and Zhao, JASA 1994), the
model's difference corrected by what happened, weighted by the inverse chances of the treatment had
and of being followed. Whether patients differ in what they gain is judged on the relative scale:
under one hazard ratio for everybody the absolute gains still differ, as the risks do. There the
score of a patient is the part in the derivative of the likelihood by the log-hazard ratio, with
mean zero whatever the risks; ranked by the predicted effect it gives the rank-weighted average
effect (RATE) with Qini's weights (Yadlowsky et al., "Evaluating treatment prioritization rules via
rank-weighted average treatment effects", JASA 2025).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from accomplice.data.arrays import Array, Bools
from accomplice.data.coding import eligible
from accomplice.data.splits import within
from accomplice.training.config import Config
from accomplice.training.estimators.cox import RiskSets, fit_cox
from accomplice.training.estimators.intervals import Z95, Estimate
from accomplice.training.estimators.kaplan_meier import censoring, inverse_censoring, judged_horizon
from accomplice.training.estimators.outcome import UndefinedMetricError
from accomplice.training.estimators.policy import COMMON, RARE, SURPRISE, WORTH
from accomplice.training.treatment.benefit import benefit_horizon, under
from accomplice.training.treatment.effect import (
    CrossFitted,
    Rates,
    cross_fit,
    fitted_rates,
    given,
)
from accomplice.training.treatment.immortal_time import (
    Early,
    early_events,
    fewer_by_chance,
)
from accomplice.training.treatment.rate import Ranked, Scored, cross_ranked, mean, ranked

#: Propensities are held inside these bounds where they are divided by.
BOUND = 0.05
#: Groups of predicted gain whose observed gain is shown.
GROUPS = 4


@dataclass(frozen=True)
class Arms:
    """Who was compared."""

    treated: int
    untreated: int
    events_treated: int
    events_untreated: int
    unknown: int
    """Patients whose treatment is not recorded."""
    no_option: int
    """Patients for whom it is no option, or unknown whether it is one."""
    early: int
    """Patients who had the event, or were lost, before the landmark."""


@dataclass(frozen=True)
class Evidence:
    """All that a run says of its treatment as a whole."""

    label: str
    landmark: float
    horizon: float
    """Months at which gains of survival are judged."""
    arms: Arms
    propensity: Array
    """(n,) of those compared…"""
    treated: Array
    """(n,) … 1 or 0."""
    overlap: float
    """Part of the patients with a propensity between 0.1 and 0.9."""
    hr: dict[str, Estimate]
    """Hazard ratio: ``crude``; ``adjusted``; ``landmark``, adjusted and from the landmark on."""
    expected_hr: tuple[float, float]
    early: tuple[Early, Early]
    """Events before the landmark among all the treated, and all the untreated."""
    ate: Estimate
    """Mean gain of survival at the horizon, doubly robust."""
    predicted: float
    """Mean gain that the model predicts for the same patients."""
    groups: list[tuple[float, Estimate]]
    """Predicted and observed gain of groups of rising prediction."""
    relative: Ranked
    """Patients ranked by predicted hazard ratio, scored on the relative scale."""
    absolute: Ranked
    """Ranked by predicted gain of survival, scored by gain."""
    halves: tuple[Estimate, Estimate]
    """Hazard ratio in the half with the larger predicted effect, and in the other; NaN where the
    model has one hazard ratio for everybody."""
    policy: dict[str, Estimate]
    """Survival at the horizon if treated: ``all``, ``none``, ``model`` (gain above 3 points)."""
    policy_gain: dict[str, Estimate]
    """``model`` against ``all`` and against ``none``."""
    permuted: Estimate | None
    """``relative`` after the treatment was dealt out anew at random: a control."""

    @property
    def alarms(self) -> tuple[str, ...]:
        """Why the observed effect is not to be believed, in words; none is no proof that it is."""
        low, high = self.expected_hr
        found = []
        for name, what in (("adjusted", ""), ("landmark", f" from month {self.landmark:g} on")):
            if not low <= self.hr[name].value <= high:
                who = "fitter" if self.hr[name].value < low else "sicker"
                found.append(
                    f"the hazard ratio{what}, {self.hr[name]}, is outside the {low:g} to {high:g} "
                    f"that trials have seen, as it would be if {who} patients were treated "
                    "(confounding by indication)"
                )
        if self.immortal_p < SURPRISE:
            with_it, without = self.early
            found.append(
                f"{without.events} of {without.patients} untreated and {with_it.events} of "
                f"{with_it.patients} treated patients had the event before month "
                f"{self.landmark:g}: those who do so early cannot be treated (immortal time)"
            )
        return tuple(found)

    @property
    def distrust(self) -> str:
        """Why no advice can rest on the effect, counted from the landmark on, if so.

        Chance must not explain that it is out of range; the landmark takes early deaths out.
        """
        low, high = self.expected_hr
        hr = self.hr["landmark"]
        if hr.high < low or hr.low > high:
            return f"a hazard ratio outside the {low:g} to {high:g} that trials have seen"
        return ""

    @property
    def immortal_p(self) -> float:
        """Chance of so few early events among the treated, by the strongest credible effect."""
        return fewer_by_chance(*self.early, min(self.expected_hr[0], 1.0))

    @property
    def differs(self) -> bool:
        """Whether it is shown that the treatment does more for some than for others."""
        return self.relative.rate.low > 0

    def to_json(self) -> dict[str, Any]:
        """Return the figures as plain data, undefined ones as null, with the sentences."""
        plain: dict[str, Any] = {
            "label": self.label,
            "protocol": "out of fold; 95 % intervals",
            "landmark": self.landmark,
            "horizon": self.horizon,
            "arms": asdict(self.arms),
            "overlap": self.overlap,
            "hr": {name: e.to_json() for name, e in self.hr.items()},
            "expected_hr": list(self.expected_hr),
            "alarm": bool(self.alarms),
            "distrust": self.distrust or None,
            "immortal_time_p": self.immortal_p,
            "ate": self.ate.to_json(),
            "predicted": self.predicted,
            "groups": [{"predicted": p, "observed": e.to_json()} for p, e in self.groups],
            "rate_relative": self.relative.rate.to_json(),
            "rate_absolute": self.absolute.rate.to_json(),
            "hr_halves": [e.to_json() for e in self.halves],
            "heterogeneity_shown": self.differs,
            "policy": {name: e.to_json() for name, e in self.policy.items()},
            "policy_gain": {name: e.to_json() for name, e in self.policy_gain.items()},
            "permuted": None if self.permuted is None else self.permuted.to_json(),
        }
        return plain | {"sentences": sentences(self)}


def evidence(crossed: CrossFitted | None, config: Config) -> Evidence | None:
    """Judge an effect; None where there is none, or too few were followed."""
    if crossed is None:
        return None
    try:
        return _judge(crossed, config)
    except UndefinedMetricError:
        return None


def sentences(found: Evidence) -> dict[str, str]:
    """Say what each part of the evidence means, in one sentence."""
    low, high = found.expected_hr
    label, arms, hr = found.label, found.arms, found.hr["landmark"]
    years = f"{found.horizon:.0f} months"
    larger, other = found.halves
    said = {
        "overlap": (
            f"{100 * found.overlap:.0f} % of the {arms.treated + arms.untreated} patients compared "
            f"had a chance of {label} between {100 * RARE:.0f} and {100 * COMMON:.0f} %, so that "
            "both arms hold patients like them; of the others the data say little."
        ),
        "hr": (
            f"Hazard ratio of {label}: {found.hr['crude']} crude, {found.hr['adjusted']} adjusted "
            f"for what was known beforehand, {hr} counted from month {found.landmark:g} on."
        ),
        "alarm": (
            f"ALARM: {'; '.join(found.alarms)}. {_consequence(found)}"
            if found.alarms
            else f"It lies within the {low:g} to {high:g} that trials have seen: no alarm. That "
            "does not prove it is free of confounding."
        ),
        "ate": (
            f"Mean gain of survival at {years}: {_points(found.ate)} points by what was observed, "
            f"{100 * found.predicted:.1f} by the model."
        ),
        "heterogeneity": (
            f"The model has one hazard ratio of {label} for everybody."
            if math.isnan(larger.value)
            else f"Patients differ in the hazard ratio of {label}: {larger} in the half with the "
            f"larger predicted effect, {other} in the other (RATE above 0)."
            if found.differs
            else f"It is not shown that {label} does more for some patients than for others: "
            f"hazard ratio {larger} in the half with the larger predicted effect, {other} in the "
            "other (the interval of RATE includes 0)."
        ),
        "policy": (
            f"Survival at {years} if the model chose (treat where the gain is above "
            f"{100 * WORTH:.0f} points): {_points(found.policy['model'])} %; treating all "
            f"{_points(found.policy['all'])} %, none {_points(found.policy['none'])} %; the model "
            f"against treating all {_points(found.policy_gain['all'])} points."
        ),
    }
    if found.permuted is not None:
        claims = found.permuted.low > 0
        said["permuted"] = (
            "Control: with the treatment dealt out at random, once, the same analysis "
            + ("claims a difference" if claims else "claims no difference")
            + (": the claim above may be chance too." if claims and found.differs else ".")
        )
    return said


def _consequence(found: Evidence) -> str:
    """Say what an alarm means for the benefits that are predicted."""
    if found.distrust:
        return "Read no predicted benefit as one: the model withholds its advice."
    return (
        f"Counted from month {found.landmark:g} on, which leaves early events out, the interval "
        "includes what trials have seen: chance is possible. Read predicted benefits with care."
    )


def _judge(crossed: CrossFitted, config: Config) -> Evidence:
    patients, cohort, grid, rows = crossed.patients, crossed.cohort, crossed.grid, crossed.rows
    treatment, status = given(cohort)
    a, e = status[rows], np.clip(patients.propensity[rows], BOUND, 1 - BOUND)
    blind, own = crossed.cumulative[rows], patients.take(rows)
    time, event = cohort.outcome
    time, event = time[rows], event[rows]
    horizon = judged_horizon(
        time, event, benefit_horizon(cohort.study, cohort.endpoint, grid.horizon)
    )
    # Of patients alive at the landmark, as those are who are compared.
    ends = np.array([min(treatment.landmark, horizon), horizon])
    arms = [
        np.exp(-np.diff(grid.at(under(blind, own, np.full(len(a), arm)), ends)))[:, 0]
        for arm in (1.0, 0.0)
    ]
    gain = arms[0] - arms[1]
    alive = (time > horizon).astype(float)
    seen = (time > horizon) | event
    weight = inverse_censoring(censoring(time, event), np.minimum(time, horizon), seen)
    scores = arm_scores(a, e, alive, weight, np.stack(arms))
    gained = scores[0] - scores[1]
    fold = crossed.fold[rows]
    chosen = np.where(gain > WORTH, scores[0], scores[1])
    larger = within(-own.log_hr, fold)
    return Evidence(
        label=treatment.label,
        landmark=treatment.landmark,
        horizon=horizon,
        arms=_arms(crossed),
        propensity=patients.propensity[rows],
        treated=a,
        overlap=float(((own.propensity >= RARE) & (own.propensity <= COMMON)).mean()),
        hr=_hazard_ratios(crossed),
        expected_hr=treatment.expected_hr,
        early=early_events(status, cohort.time, cohort.event, treatment.landmark),
        ate=mean(gained),
        predicted=float(gain.mean()),
        groups=_groups(gain, gained),
        relative=_relative(crossed, larger, config.seed),
        absolute=ranked(gain, gained),
        halves=_halves(crossed, larger),
        policy={"all": mean(scores[0]), "none": mean(scores[1]), "model": mean(chosen)},
        policy_gain={"all": mean(chosen - scores[0]), "none": mean(chosen - scores[1])},
        permuted=permuted(crossed, config),
    )


def permuted(crossed: CrossFitted, config: Config, seed: int = 0) -> Estimate | None:
    """Return RATE on the relative scale after a random permutation of the treatment."""
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


def arm_scores(
    treated: Array, propensity: Array, alive: Array, weight: Array, predicted: Array
) -> Array:
    """Return doubly robust scores (2, n) of survival with and without treatment.

    Their means are right where either the predictions or the propensities are, given the weights.

    Args:
        treated: (n,) 1 or 0.
        propensity: (n,) inside (0, 1).
        alive: (n,) 1 for a patient seen alive after the horizon.
        weight: (n,) inverse chance of being followed that far; 0 for those who were not.
        predicted: (2, n) survival at the horizon with and without.
    """
    chance = np.stack([propensity, 1 - propensity])
    had = np.stack([treated == 1, treated == 0])
    return np.asarray(predicted + had / chance * weight * (alive - predicted))


def _arms(crossed: CrossFitted) -> Arms:
    cohort, rows, status = crossed.cohort, crossed.rows, crossed.treated
    option = eligible(cohort.study, cohort.values) == 1
    early = option & ~np.isnan(status) & (cohort.time <= given(cohort)[0].landmark)
    event = cohort.outcome.event

    def count(where: Bools) -> int:
        return int(where.sum())

    return Arms(
        treated=count(rows & (status == 1)),
        untreated=count(rows & (status == 0)),
        events_treated=count(rows & (status == 1) & event),
        events_untreated=count(rows & (status == 0) & event),
        unknown=count(np.isnan(status)),
        no_option=count(~np.isnan(status) & ~option),
        early=count(early),
    )


def _hazard_ratios(crossed: CrossFitted) -> dict[str, Estimate]:
    cohort, status = crossed.cohort, crossed.treated
    treatment, _ = given(cohort)
    option = ~np.isnan(status) & (eligible(cohort.study, cohort.values) == 1)
    time, event = cohort.outcome
    X, sets = status[option][:, None], RiskSets(time[option], event[option])
    beta = fit_cox(X, sets, np.zeros(1))
    information = sets.evaluate(X, X @ beta)[2]
    crude = _ratio(float(beta[0]), float(information[0, 0] ** -0.5))
    update = {"treatment": treatment.model_copy(update={"landmark": 0.0})}
    from_start = replace(cohort, study=cohort.study.model_copy(update=update))
    return {
        "crude": crude,
        "adjusted": _hr(replace(crossed, cohort=from_start), option),
        "landmark": _hr(crossed, crossed.rows),
    }


def _hr(crossed: CrossFitted, rows: Bools) -> Estimate:
    """Hazard ratio of some patients (n,), adjusted by the learners' curves and the propensity."""
    found = _rates(crossed, rows)
    return _ratio(found.log_hr, found.error)


def _rates(crossed: CrossFitted, rows: Bools) -> Rates:
    chance = crossed.patients.propensity
    return fitted_rates(crossed.cohort, crossed.cumulative, crossed.grid, chance, rows)


def _halves(crossed: CrossFitted, larger: Array) -> tuple[Estimate, Estimate]:
    """Hazard ratio of the half of the compared with the larger effects, and of the other."""
    half = larger >= np.median(larger)
    if half.all():
        # Few distinct effects: the median is the least of them.
        half = larger > larger.min()
    if not half.any():
        return Estimate(math.nan), Estimate(math.nan)
    first, second = (_hr(crossed, _among(crossed.rows, part)) for part in (half, ~half))
    return first, second


def _ratio(log_hr: float, error: float) -> Estimate:
    return Estimate(*(math.exp(log_hr + z * error) for z in (0.0, -Z95, Z95)))


def _relative(crossed: CrossFitted, larger: Array, seed: int) -> Ranked:
    """Judge the ranking (m,) of those compared by predicted hazard ratio."""
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
    """Predicted and observed gain of groups of equal size, by rising prediction."""
    parts = np.array_split(np.argsort(gain, kind="stable"), GROUPS)
    return [(float(gain[part].mean()), mean(gained[part])) for part in parts if len(part)]


def _among(rows: Bools, inside: Bools) -> Bools:
    """Those of the chosen patients (n,) for whom ``inside`` holds, as a choice of all."""
    found = np.zeros_like(rows)
    found[np.flatnonzero(rows)[inside]] = True
    return found


def _points(estimate: Estimate) -> str:
    """Write a part of 1 as percentage points with its interval."""
    value, low, high = (100 * v for v in vars(estimate).values())
    return f"{value:.1f} ({low:.1f} to {high:.1f})"
