"""The evidence for a treatment's effect: figures, alarms and their meaning in words.

The figures are computed by ``treatment.judging``.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from accomplice.data.arrays import Array
from accomplice.data.cells.rounding import month_text
from accomplice.data.errors import enumerated, some
from accomplice.training.estimators.intervals import Estimate
from accomplice.training.estimators.policy import (
    BALANCED,
    COMMON,
    RARE,
    SIGNIFICANT,
    SURPRISE,
    WORTH,
)
from accomplice.training.treatment.balance import Balance
from accomplice.training.treatment.immortal_time import EarlyEvents, lowest_credible_hr
from accomplice.training.treatment.rate import Ranked
from accomplice.training.treatment.sensitivity import DIFFERENCES, OverTime, Unrecorded
from accomplice.training.treatment.trial_range import TrialRange

#: Side of the trials' range on which a hazard ratio lies -> its possible causes.
MEANING = {
    "below": "fitter patients may have been treated (confounding by indication)",
    "above": "more harm than trials saw, which is confounding by indication (sicker patients were "
    "treated), or harm",
}

#: Difference of prevalence, one of ``DIFFERENCES``, at which the tipping point is reported.
SHOWN = 0.3
#: E-value below which no unrecorded trait is described: the hazard ratio is 1 already.
LEAST_E_VALUE = 1.05


@dataclass(frozen=True)
class ArmCounts:
    """Numbers of compared patients and of their events in both arms, and of patients left out."""

    treated: int
    untreated: int
    events_treated: int
    events_untreated: int
    unknown: int
    """Patients whose treatment is not recorded."""
    no_option: int
    """Patients with a recorded treatment for whom it is no option, or not known to be one."""
    early: int
    """Patients with a recorded treatment, for whom it is an option, who had the event or were lost
    up to the landmark."""


@dataclass(frozen=True)
class Evidence:
    """Figures on the treatment's effect in a cohort."""

    label: str
    """Name of the treatment."""
    landmark: float
    """Landmark in months: patients followed beyond it are compared."""
    horizon: float
    """Month at which the gain of survival is judged."""
    arms: ArmCounts
    propensity: Array
    """(n,) propensity of the compared patients."""
    treated: Array
    """(n,) their treatment: 1 or 0."""
    overlap: float
    """Fraction of the compared patients who have a propensity from 0.1 to 0.9 and are in none of
    the ``one_armed`` centres."""
    one_armed: tuple[str, ...]
    """Centres in which an arm is rare beyond chance."""
    balance: Balance
    """Differences of the compared patients' features between the arms."""
    hr: dict[str, Estimate]
    """Hazard ratio: ``crude``; ``adjusted``; ``landmark``, adjusted and from the landmark on."""
    imputed: tuple[str, ...]
    """Confounders with missing values, which are imputed for all ratios but the crude one."""
    unrecorded: Unrecorded | None
    """Strength of an unrecorded confounder that would explain the ratio at the landmark; None if
    that is undetermined."""
    over_time: OverTime
    """Change of the hazard ratio over follow-up."""
    rmst: Estimate
    """Mean gain in restricted mean survival, in months from the landmark to the horizon."""
    trials: TrialRange | None
    """Range of the hazard ratio in trials; None if the study file gives none."""
    early: EarlyEvents
    """Events up to the landmark of patients for whom the treatment is an option."""
    ate: Estimate
    """Average treatment effect: mean gain of survival at the horizon, by doubly robust scores."""
    predicted: float
    """Mean gain that the model predicts for the same patients."""
    groups: list[tuple[float, Estimate]]
    """Mean predicted and observed gain of each group of patients, by rising prediction."""
    relative: Ranked
    """RATE of patients ranked by predicted hazard ratio, on the relative scale."""
    absolute: Ranked
    """RATE of patients ranked by predicted gain of survival, on the scale of that gain."""
    halves: tuple[Estimate, Estimate]
    """Hazard ratio in the half with the larger predicted effect, and in the other; NaN where the
    model has one hazard ratio common to all."""
    policy: dict[str, Estimate]
    """Mean survival at the horizon if ``all`` or ``none`` were treated, or by the ``model``: those
    with a predicted gain above 3 percentage points."""
    policy_gain: dict[str, Estimate]
    """Difference of ``model`` in ``policy`` to ``all`` and to ``none``."""
    permuted: Estimate | None
    """RATE as in ``relative`` after a random permutation of the treatment, a negative control; None
    if no effect could be fitted then."""
    censoring: tuple[str, ...] = ()
    """Variables by which the weights for censoring differ; empty for one curve for all."""
    ate_one_distribution: Estimate | None = None
    """``ate`` with one curve of censoring for all patients; None where that is ``ate`` itself."""

    @property
    def alarms(self) -> tuple[str, ...]:
        """Signs of bias in the observed effect, in words. Without any, bias is not excluded."""
        found = []
        for name, start in (("adjusted", ""), ("landmark", f" from month {self.landmark:g} on")):
            if self.trials is not None and (side := self.trials.side(self.hr[name])):
                found.append(
                    f"the hazard ratio{start}, {self.hr[name]}, is {side} {self.trials.cited}: "
                    f"{MEANING[side]}"
                )
        if self.immortal_p < SURPRISE:
            with_it, without = self.early.treated, self.early.untreated
            found.append(
                f"{without.events} of {without.patients} untreated and {with_it.events} of "
                f"{with_it.patients} treated patients had the event before month "
                f"{self.landmark:g}: patients with an early event cannot be treated (immortal time)"
            )
        return tuple(found)

    @property
    def distrust(self) -> str:
        """Reason why the model must not favour the treatment; empty if there is none.

        It is a hazard ratio outside the trials' range although events before the landmark are left
        out.
        """
        side = "" if self.trials is None else self.trials.side(self.hr["landmark"])
        return f"a hazard ratio {side} {self.trials}" if side else ""

    @property
    def compared(self) -> str:
        """Comparison of a hazard ratio without an alarm with trials, in words."""
        if self.trials is None:
            return "not compared with trials, of which the study file gives no range"
        return f"not outside {self.trials.cited}"

    @property
    def immortal_p(self) -> float:
        """Mid p value of so few early events among the treated, at the strongest credible effect.

        See :meth:`EarlyEvents.fewer_by_chance` and :func:`lowest_credible_hr`.
        """
        return self.early.fewer_by_chance(lowest_credible_hr(self.trials, self.hr["landmark"]))

    @property
    def differs(self) -> bool:
        """Whether the effect certainly differs between patients."""
        return self.relative.rate.low > 0

    def to_json(self) -> dict[str, Any]:
        """Return the figures, undefined ones as null, and the sentences as plain data."""
        plain: dict[str, Any] = {
            "label": self.label,
            "protocol": "out of fold; 95 % intervals",
            "landmark": self.landmark,
            "horizon": self.horizon,
            "arms": asdict(self.arms),
            "overlap": self.overlap,
            "one_armed_centres": list(self.one_armed),
            "balance": self.balance.to_json(),
            "hr": {name: e.to_json() for name, e in self.hr.items()},
            "imputed": list(self.imputed),
            "unrecorded_confounder": None if self.unrecorded is None else self.unrecorded.to_json(),
            **self.over_time.to_json(),
            "rmst_gain": self.rmst.to_json(),
            "expected_hr": None if self.trials is None else list(self.trials.bounds),
            "expected_hr_source": None if self.trials is None else self.trials.source,
            "alarm": bool(self.alarms),
            "distrust": self.distrust or None,
            "immortal_time_p": self.immortal_p,
            "ate": self.ate.to_json(),
            "censoring": {
                "by": list(self.censoring),
                "ate_alike": None
                if self.ate_one_distribution is None
                else self.ate_one_distribution.to_json(),
            },
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


def sentences(evidence: Evidence) -> dict[str, str]:
    """Return key -> a sentence on the meaning of this part of the evidence."""
    label, arms, hr = evidence.label, evidence.arms, evidence.hr["landmark"]
    horizon = f"{month_text(evidence.horizon)} months"
    larger, other = evidence.halves
    texts = {
        "overlap": (
            f"{100 * evidence.overlap:.0f} % of the {arms.treated + arms.untreated} patients "
            f"compared had a chance of {label} between {100 * RARE:.0f} and {100 * COMMON:.0f} %, "
            "so that both arms hold patients like them; of the others the data say little."
            + (
                f" In some centres nearly all patients, or nearly none, had {label}: "
                f"{some(evidence.one_armed)}. Differences of centres are mixed with the effect."
                if evidence.one_armed
                else ""
            )
        ),
        "balance": _balance(evidence),
        "hr": (
            f"Hazard ratio of {label}: {evidence.hr['crude']} crude, {evidence.hr['adjusted']} "
            f"adjusted for what was known beforehand, {hr} counted from month "
            f"{evidence.landmark:g} on."
            + (
                f" Missing values of {some(evidence.imputed)} were imputed."
                * bool(evidence.imputed)
            )
        ),
        "unrecorded": _unrecorded(evidence),
        "over_time": _over_time(evidence),
        "alarm": (
            f"ALARM: {'; '.join(evidence.alarms)}. {_consequence(evidence)}"
            if evidence.alarms
            else f"No alarm: it is {evidence.compared}. That does not prove it is free of "
            "confounding."
        ),
        "ate": (
            f"Mean gain of survival at {horizon}: {_points(evidence.ate)} points by what was "
            f"observed, {100 * evidence.predicted:.1f} by the model." + _on_censoring(evidence)
        ),
        "heterogeneity": (
            f"The model has one hazard ratio of {label} for everybody."
            if math.isnan(larger.value)
            else f"Patients differ in the hazard ratio of {label}: {larger} in the half with the "
            f"larger predicted effect, {other} in the other (RATE above 0)."
            if evidence.differs
            else f"It is not shown that {label} does more for some patients than for others: "
            f"hazard ratio {larger} in the half with the larger predicted effect, {other} in the "
            "other (the interval of RATE includes 0)."
        ),
        "policy": (
            f"Survival at {horizon} if the model chose (treat where the gain is above "
            f"{100 * WORTH:.0f} points): {_points(evidence.policy['model'])} %; treating all "
            f"{_points(evidence.policy['all'])} %, none {_points(evidence.policy['none'])} %; the "
            f"model against treating all {_points(evidence.policy_gain['all'])} points."
        ),
    }
    if evidence.permuted is not None:
        claims = evidence.permuted.low > 0
        texts["permuted"] = (
            "Control: with the treatment permuted, once, the same analysis "
            + ("claims a difference" if claims else "claims no difference")
            + (": the claim above may be chance too." if claims and evidence.differs else ".")
        )
    return texts


def _balance(evidence: Evidence) -> str:
    """Return a sentence on the balance of the arms after weighting."""
    found = evidence.balance
    if not found.names:
        return "No recorded feature varies, by which the arms could differ."
    largest = f"{found.largest:.2f} standard deviations ({found.names[found.worst]})"
    before = f"{abs(found.before).max():.2f} before weighting"
    if found.off:
        return (
            f"Weighted by overlap, the arms still differ by up to {largest}; {before}. Chance does "
            "not explain it: the chance of treatment is not described well, and the effect may "
            "hold what is left."
        )
    return f"Weighted by overlap, the arms differ by at most {largest}; {before}. " + (
        f"Up to {BALANCED:g} counts as alike."
        if found.largest <= BALANCED
        else f"That is above {BALANCED:g}, and the patients are too few to tell if it is chance."
    )


def _unrecorded(evidence: Evidence) -> str:
    """Return a sentence on the strength of an unrecorded confounder to explain the ratio."""
    found, hr = evidence.unrecorded, evidence.hr["landmark"]
    if found is None:
        return "Without a hazard ratio nothing can be said of what is not recorded."
    if found.e_value_limit == 1:
        text = (
            "The interval of the hazard ratio includes 1, so that nothing unrecorded is needed to "
            "explain it"
        )
        if found.e_value < LEAST_E_VALUE:
            return f"{text}."
        return (
            f"{text}; to move {hr.value:.2f} itself to 1, a trait would have to go with both "
            f"treatment and event by a risk ratio of {found.e_value:.1f} (E-value)."
        )
    place = DIFFERENCES.index(SHOWN)
    strength = found.tipping_limit[place]
    one = (
        f"would need a hazard ratio of {strength:.1f} to do the latter"
        if math.isfinite(strength)
        else "could not do the latter, however strong"
    )
    return (
        "To move the hazard ratio to 1, something unrecorded would have to go with both treatment "
        f"and event by a risk ratio of {found.e_value:.1f} each, beyond what is recorded; to move "
        f"its interval there, {found.e_value_limit:.1f} (E-values). A trait {100 * SHOWN:.0f} "
        f"points more frequent in one arm {one}."
    )


def _over_time(evidence: Evidence) -> str:
    """Return a sentence on the change of the hazard ratio over time, and the gain in months."""
    found = evidence.over_time
    p = f"p = {found.p:.2g}" if found.p >= 0.001 else "p < 0.001"
    later = [f"{hr} from month {month:g}" for month, hr in found.ratios[1:]]
    series = f" Counted from later on it is {', '.join(later)}." if later else ""
    return (
        (
            f"The effect changes with time ({p}): one hazard ratio is an average over it."
            if found.p < SIGNIFICANT
            else f"No sign that the effect changes with time ({p})."
        )
        + series
        + f" From month {evidence.landmark:g} to {month_text(evidence.horizon)} the treated gain "
        f"{evidence.rmst:.1f} months on average."
    )


def _consequence(evidence: Evidence) -> str:
    """Return a sentence on the consequence of an alarm for the predicted benefits."""
    if evidence.distrust:
        return "Read no predicted benefit as one: the model favours the treatment for no patient."
    return (
        f"Counted from month {evidence.landmark:g} on, which leaves early events out, it is "
        f"{evidence.compared}. Read predicted benefits with care."
    )


def _on_censoring(evidence: Evidence) -> str:
    """Return a sentence on the weights for censoring where they differ between patients."""
    other = evidence.ate_one_distribution
    if other is None:
        return ""
    return (
        f" Follow-up differs by {enumerated(evidence.censoring)}, and patients are weighed for it; "
        f"by one distribution of censoring for all it would be {_points(other)}."
    )


def _points(estimate: Estimate) -> str:
    """Return a probability in percentage points, with its interval."""
    value, low, high = (100 * v for v in vars(estimate).values())
    return f"{value:.1f} ({low:.1f} to {high:.1f})"
