"""The evidence for a treatment's effect: figures, alarms and their meaning in words.

``treatment.judging`` computes it.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from accomplice.data.arrays import Array
from accomplice.training.estimators.intervals import Estimate
from accomplice.training.estimators.policy import COMMON, RARE, SURPRISE, WORTH
from accomplice.training.treatment.immortal_time import EarlyEvents, strongest
from accomplice.training.treatment.rate import Ranked
from accomplice.training.treatment.trial_range import TrialRange

#: Side of the trials' range on which a hazard ratio lies -> its possible causes.
MEANING = {
    "below": "fitter patients may have been treated (confounding by indication)",
    "above": "more harm than trials saw, which is confounding by indication (sicker patients were "
    "treated), or harm",
}


@dataclass(frozen=True)
class Arms:
    """Numbers of compared and of left-out patients."""

    treated: int
    untreated: int
    events_treated: int
    events_untreated: int
    unknown: int
    """Patients whose treatment is not recorded."""
    no_option: int
    """Patients without the option of treatment, or with an unknown one."""
    early: int
    """Patients who had the event, or were lost, before the landmark."""


@dataclass(frozen=True)
class Evidence:
    """The figures of a run on its treatment as a whole."""

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
    trials: TrialRange | None
    """Range of the hazard ratio in trials, if the study file gives one."""
    early: EarlyEvents
    """Events before the landmark of patients for whom the treatment is an option."""
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
    model has one hazard ratio common to all."""
    policy: dict[str, Estimate]
    """Survival at the horizon if treated: ``all``, ``none``, ``model`` (gain above 3 points)."""
    policy_gain: dict[str, Estimate]
    """``model`` against ``all`` and against ``none``."""
    permuted: Estimate | None
    """``relative`` after a random permutation of the treatment: a control."""

    @property
    def alarms(self) -> tuple[str, ...]:
        """Signs, in words, that the observed effect is biased; none is no proof of the contrary."""
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
        """Reason why nothing can be favoured by the effect, counted from the landmark on, if any.

        The landmark takes early deaths out.
        """
        side = "" if self.trials is None else self.trials.side(self.hr["landmark"])
        return f"a hazard ratio {side} {self.trials}" if side else ""

    @property
    def compared(self) -> str:
        """How a hazard ratio without an alarm compares with trials."""
        if self.trials is None:
            return "not compared with trials, of which the study file gives no range"
        return f"not outside {self.trials.cited}"

    @property
    def immortal_p(self) -> float:
        """Chance of so few early events among the treated, by the strongest credible effect.

        That is the lowest hazard ratio of trials; without a range, the lower end of the interval
        from the landmark on.
        """
        return self.early.fewer_by_chance(strongest(self.trials, self.hr["landmark"]))

    @property
    def differs(self) -> bool:
        """Whether the effect certainly differs between patients."""
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
            "expected_hr": None if self.trials is None else list(self.trials.bounds),
            "expected_hr_source": None if self.trials is None else self.trials.source,
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


def sentences(found: Evidence) -> dict[str, str]:
    """Return the meaning of each part of the evidence, in one sentence."""
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
            else f"No alarm: it is {found.compared}. That does not prove it is free of confounding."
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
            "Control: with the treatment permuted, once, the same analysis "
            + ("claims a difference" if claims else "claims no difference")
            + (": the claim above may be chance too." if claims and found.differs else ".")
        )
    return said


def _consequence(found: Evidence) -> str:
    """Return the consequence of an alarm for the predicted benefits."""
    if found.distrust:
        return "Read no predicted benefit as one: the model favours the treatment for no patient."
    return (
        f"Counted from month {found.landmark:g} on, which leaves early events out, it is "
        f"{found.compared}. Read predicted benefits with care."
    )


def _points(estimate: Estimate) -> str:
    """Write a part of 1 as percentage points with its interval."""
    value, low, high = (100 * v for v in vars(estimate).values())
    return f"{value:.1f} ({low:.1f} to {high:.1f})"
