"""Leakage by a single feature: its association with the event, and with censoring.

A feature known at the start may predict the event, but hardly the time of censoring, which the
study's end determines: centre and calendar year do (see `estimators.censoring`). A feature
recorded at the end predicts both. So the patients are grouped by each feature (levels, tenths of
numbers, "not recorded"), and a patient's score is the log ratio of observed to expected events of
their group, out of fold. It is tested against the events *and* the censoring: if that is
independent, its slope in a Cox model of the censoring is 0 (Kalbfleisch and Prentice, "The
Statistical Analysis of Failure Time Data", 2002, chapter 6).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.data.cohort import Cohort
from accomplice.data.drafting.leaks import correlation_with, ranks
from accomplice.data.preprocessing.preprocessor import Preprocessor
from accomplice.training.estimators.checks import UndefinedMetricError
from accomplice.training.estimators.cox import RiskSets, fit_cox, ridge_path
from accomplice.training.estimators.kaplan_meier import censoring, nelson_aalen
from accomplice.training.estimators.policy import TOO_GOOD
from accomplice.training.metrics.concordance import concordance_contributions, harrell_c

#: Maximum number of patients; of more, a random sample is judged.
MOST_PATIENTS = 5000
#: Maximum number of features: categories first, then those that most predict event or censoring.
MOST_FEATURES = 150
#: Folds of the out-of-fold scores.
FOLDS = 5
#: Maximum number of groups into which the values of a number are divided.
GROUPS = 10
#: Prior events, observed and expected, of each group.
PRIOR = 2.0
#: Maximum number of features that are compared with all others together.
MOST_SUSPECTS = 3
#: Maximum number of other features in that comparison.
MOST_OTHERS = 100
#: Ridge penalties of the other features, of which the best is taken; as multiples of the number of
#: events, times the number of columns for each training patient where that is above 1.
PENALTIES = (10.0, 1.0, 0.1, 0.01)
#: Minimum number of patients in a group and outside it, and of events and of censorings, for a
#: test.
FEWEST = 10

# The thresholds below were set on public cohorts, two of them of gastric cancer, with and without
# columns known to be written after the outcome (tumour status, therapy outcome, relapse).

#: Gain of log partial likelihood below which a feature is no leak, unless its C alone is too good.
GAIN_MIN = 10.0
#: The same for each event.
GAIN_PER_EVENT_MIN = 0.1
#: Largest slope of the censoring for a leak: a high score then prevents censoring.
CENSORING_SLOPE_MAX = -0.25
#: Largest z of this slope for a leak.
CENSORING_Z_MAX = -3.5
#: Minimum gain per event for which ``CENSORING_Z_MAX_LARGE_GAIN`` applies instead.
LARGE_GAIN_PER_EVENT = 0.25
#: Largest z of this slope for a leak by a feature of such a gain.
CENSORING_Z_MAX_LARGE_GAIN = -2.8
#: Minimum C for events of a score that predicts the length of follow-up itself, which is a leak;
#: and minimum ``c_low`` of a feature whose C alone is too good.
FOLLOW_UP_C_MIN = 0.7
#: Minimum C for censoring of such a score.
FOLLOW_UP_CENSORING_C_MIN = 0.62
#: Minimum z of the censoring's slope for such a score.
FOLLOW_UP_Z_MIN = 3.5
#: Largest ``log10_p`` for a leak.
LOG10_P_MAX = -5.0
#: Minimum gain per event of a feature that is reported as unusually strong.
STRONG_GAIN_PER_EVENT = 0.3
#: Minimum ratio of its gain to that of all other features together.
STRONG_GAIN_RATIO = 1.8


@dataclass(frozen=True)
class SingleFeature:
    """Out-of-fold statistics of one feature, or of the indicator that it is recorded."""

    feature: str
    """Name of the feature."""
    recorded: bool
    """Whether the indicator of being recorded is judged, not the values."""
    c: float
    """Harrell's C of the feature's score."""
    c_low: float
    """Lower bound of C: c − SE · sqrt(−2 ln level), level = 0.005 / (2 · features)."""
    gain: float
    """Gain of log partial likelihood by the score over a model without covariates."""
    c_censored: float
    """Harrell's C of the score for the time of censoring; 0.5 under independent censoring."""
    slope: float
    """Log-hazard of censoring for one unit of the score; 0 under independent censoring."""
    z: float
    """Signed root of twice the gain of log-likelihood by the slope."""
    log10_p: float
    """Log10 of p / level: p is the minimum, over the groups, of the probability that the shortest
    follow-up of a group is so long or its longest so short; level as in ``c_low``. 0 for values of
    a number."""
    gain_per_event: float
    """``gain`` divided by the number of events."""
    others: float = math.nan
    """Gain of log partial likelihood by all other features together; NaN if not compared."""

    def leak_by(self, too_good: float = TOO_GOOD) -> str:
        """Return how the feature leaks the outcome, as a clause; empty if it does not.

        Args:
            too_good: minimum C of a feature whose C alone is a leak, if ``c_low`` is at least
                ``FOLLOW_UP_C_MIN``.
        """
        if self.c >= too_good and self.c_low >= FOLLOW_UP_C_MIN:
            return f"alone it reaches C {self.c:.2f}"
        if self.gain < GAIN_MIN or self.gain_per_event < GAIN_PER_EVENT_MIN:
            return ""
        large = self.gain_per_event >= LARGE_GAIN_PER_EVENT
        z_max = CENSORING_Z_MAX_LARGE_GAIN if large else CENSORING_Z_MAX
        if self.slope <= CENSORING_SLOPE_MAX and self.z <= z_max:
            return (
                "it tells patients with the event from others whatever the time "
                f"(z {self.z:.1f} for being censored, which of what is known at the start only the "
                "calendar year, the centre and the like decide)"
            )
        ranks_censored = self.c_censored >= FOLLOW_UP_CENSORING_C_MIN and self.z >= FOLLOW_UP_Z_MIN
        if self.c >= FOLLOW_UP_C_MIN and ranks_censored:
            return (
                f"it runs with the length of follow-up, also of the censored (C {self.c:.2f} for "
                f"events, {self.c_censored:.2f} for censoring)"
            )
        if self.log10_p <= LOG10_P_MAX:
            return (
                "all patients with one of its levels, or with any value, are followed past, or "
                "only up to, one month"
            )
        return ""

    @property
    def stands_out(self) -> str:
        """Clause about the strength of an unusually strong feature; empty for any other."""
        strong = self.gain_per_event >= STRONG_GAIN_PER_EVENT
        if not strong or not self.gain >= STRONG_GAIN_RATIO * self.others:
            return ""
        if self.others < 1:
            return f"it tells much (C {self.c:.2f}), all other features together nothing"
        return (
            f"alone it tells {self.gain / self.others:.1f} times as much as all other features "
            f"together (C {self.c:.2f})"
        )


def single_features(cohort: Cohort, seed: int) -> list[SingleFeature]:
    """Judge each feature by itself.

    Args:
        cohort: patients with their features, without the treatment.
        seed: seed of the folds and of the choice of patients.

    Returns:
        The statistics of each judged feature, and of the indicator of each that is missing in at
        least ``FEWEST`` patients and recorded in as many.
    """
    rng = np.random.default_rng([seed, 17])
    if len(cohort) > MOST_PATIENTS:
        cohort = cohort.take(np.sort(rng.permutation(len(cohort))[:MOST_PATIENTS]))
    outcome = _Outcome.of(cohort.time, cohort.event, rng)
    names, features = list(cohort.study.features), list(cohort.study.features.values())
    found = []
    chosen = _screened(cohort, outcome)
    # Each feature is judged twice, by its values and by whether they are recorded.
    level = 0.005 / (2 * len(names))
    for j in chosen:
        values, has_levels = cohort.values[:, j], features[j].levels is not None
        known = ~np.isnan(values)
        groups = group(values, has_levels)
        found.append(outcome.judge(names[j], groups, level, has_levels=has_levels))
        if FEWEST <= known.sum() <= len(known) - FEWEST:
            found.append(outcome.judge(names[j], known.astype(int), level, recorded=True))
    strong = [
        one for one in found if one.gain_per_event >= STRONG_GAIN_PER_EVENT and one.gain >= GAIN_MIN
    ]
    strongest = sorted(strong, key=lambda one: -one.gain)[:MOST_SUSPECTS]
    compared = {id(one): _others(cohort, outcome, one.feature, chosen) for one in strongest}
    return [replace(one, others=compared.get(id(one), math.nan)) for one in found]


def group(values: Array, has_levels: bool) -> Ints:
    """Return the group (n,) of each value, from 0: levels, or tenths of numbers; missing is last.

    Args:
        values: (n,) coded values, NaN where missing.
        has_levels: whether each distinct value is a group, as it is of at most ``GROUPS`` numbers.
    """
    known = ~np.isnan(values)
    found = np.zeros(len(values), dtype=int)
    distinct = np.unique(values[known])
    if has_levels or len(distinct) <= GROUPS:
        found[known] = np.searchsorted(distinct, values[known])
    else:
        edges = np.unique(np.quantile(values[known], np.linspace(0, 1, GROUPS + 1)[1:-1]))
        found[known] = np.searchsorted(edges, values[known], side="right")
    found[~known] = found.max(initial=0) + 1
    return found


@dataclass(frozen=True)
class _Outcome:
    """Outcomes with the folds and risk sets by which scores are made and judged."""

    time: Array
    """(n,) follow-up in months."""
    event: Bools
    """(n,) whether the event was observed."""
    fold: Ints
    """(n,) fold of the out-of-fold scores."""
    expected: Array
    """(n,) Nelson–Aalen cumulative hazard at each patient's time: their expected events."""
    at_event: RiskSets
    """Risk sets of the events."""
    at_censoring: RiskSets
    """Risk sets of the censorings."""
    null: tuple[float, float]
    """Log partial likelihoods without covariates, of the events and of the censorings."""

    @classmethod
    def of(cls, time: Array, event: Bools, rng: np.random.Generator) -> _Outcome:
        """Draw the folds and make the risk sets."""
        fold = rng.permutation(np.arange(len(time)) % FOLDS)
        sets, flat = (RiskSets(time, event), RiskSets(time, ~event)), np.zeros(len(time))
        null = (sets[0].value(flat), sets[1].value(flat))
        return cls(time, event, fold, nelson_aalen(time, event), *sets, null)

    def judge(
        self,
        feature: str,
        groups: Ints,
        level: float,
        *,
        has_levels: bool = True,
        recorded: bool = False,
    ) -> SingleFeature:
        """Return the statistics of a feature.

        Args:
            feature: name of the feature.
            groups: (n,) group of each patient.
            level: significance level, corrected for the number of features.
            has_levels: whether the groups are levels or indicators, whose follow-up is tested too.
            recorded: whether the groups are the indicator of being recorded.
        """
        score = self.score(groups)
        c, error = _concordance(self.event, self.time, score)
        slope, z = self.of_censoring(score)
        gain = self.gain(score)
        return SingleFeature(
            feature=feature,
            recorded=recorded,
            c=c,
            c_low=c - error * math.sqrt(-2 * math.log(level)),
            gain=gain,
            c_censored=_concordance(~self.event, self.time, score)[0],
            slope=slope,
            z=z,
            log10_p=self.log10_p(groups) - math.log10(level) if has_levels else 0.0,
            gain_per_event=gain / max(int(self.event.sum()), 1),
        )

    def score(self, groups: Ints) -> Array:
        """Return the log ratio (n,) of observed to expected events of each patient's group.

        It is log((O + PRIOR) / (E + PRIOR)), of the group's patients in the other folds.
        """
        score, size = np.zeros(len(groups)), int(groups.max()) + 1
        for k in range(FOLDS):
            inside = self.fold != k
            observed = np.bincount(groups[inside], self.event[inside], size)
            expected = np.bincount(groups[inside], self.expected[inside], size)
            score[~inside] = np.log((observed + PRIOR) / (expected + PRIOR))[groups[~inside]]
        return score

    def gain(self, score: Array) -> float:
        """Return the gain of log partial likelihood by a score (n,); 0 for a slope of at most 0."""
        beta = _slope(score, self.at_event)
        return max(0.0, self.at_event.value(beta * score) - self.null[0]) if beta > 0 else 0.0

    def of_censoring(self, score: Array) -> tuple[float, float]:
        """Return the slope of a score (n,) in a Cox model of the censoring, and its z.

        Both are 0 with fewer than ``FEWEST`` events or censorings.
        """
        if min(self.event.sum(), (~self.event).sum()) < FEWEST:
            return 0.0, 0.0
        beta = _slope(score, self.at_censoring)
        gained = max(0.0, self.at_censoring.value(beta * score) - self.null[1])
        return beta, math.copysign(math.sqrt(2 * gained), beta)

    def log10_p(self, groups: Ints) -> float:
        """Return log10 of the minimum, over groups (n,), of the p value of a range of follow-up.

        The probability that all m patients of a group are followed past a month by which the
        follow-up of a fraction q of the others has ended is (1 − q / 2)ᵐ, if the group's follow-up
        ends at about half the others' rate. The probability that the follow-up of all has ended by
        a month past which a fraction s of the others is followed is (1 − s⁵)ᵐ, at five times their
        rate.
        """
        least = 0.0
        for g in np.unique(groups):
            inside = groups == g
            size = int(inside.sum())
            if size < FEWEST or size > len(groups) - FEWEST:
                continue
            own, others = self.time[inside], self.time[~inside]
            left, stay = (others < own.min()).mean(), (others > own.max()).mean()
            late = size * math.log10(1 - left / 2)
            early = size * math.log10(max(1 - stay**5, 1e-12))
            least = min(least, late, early)
        return least


def _slope(score: Array, sets: RiskSets) -> float:
    """Return the slope of a score (n,) in a Cox model; 0 if the score is constant."""
    if score.std() < 1e-9:
        return 0.0
    # A small penalty, since a group without censoring has no finite slope.
    return float(fit_cox((score - score.mean())[:, None], sets, np.full(1, 0.5))[0])


def _concordance(event: Bools, time: Array, score: Array) -> tuple[float, float]:
    """Return Harrell's C and its standard error; 0.5 and 0 without comparable pairs."""
    try:
        c = harrell_c(event, time, score)
    except UndefinedMetricError:
        return 0.5, 0.0
    parts = concordance_contributions(event, time, score, censoring(time, event)).harrell
    return c, float(parts.std() / math.sqrt(len(parts)))


def _screened(cohort: Cohort, outcome: _Outcome) -> Ints:
    """Return the positions of the features to judge, at most ``MOST_FEATURES``.

    Of more, all categories come first, then the features with the largest |correlation| of
    their ranks or missingness with the martingale residuals of the events or of the censoring.
    """
    p = cohort.values.shape[1]
    if p <= MOST_FEATURES:
        return np.arange(p)
    of_event = outcome.event - outcome.expected
    of_censoring = ~outcome.event - nelson_aalen(outcome.time, ~outcome.event)
    ranked = ranks(cohort.values)
    missing = np.isnan(cohort.values).astype(float)
    residuals = (of_event, of_censoring)
    size = np.max(
        [np.abs(correlation_with(x, y)) for x in (ranked, missing) for y in residuals], axis=0
    )
    categories = [f.kind == "category" for f in cohort.study.features.values()]
    # The codes of a category have no order, so no correlation.
    size[categories] = np.inf
    return np.sort(np.argsort(-size, kind="stable")[:MOST_FEATURES])


def _others(cohort: Cohort, outcome: _Outcome, feature: str, chosen: Ints) -> float:
    """Return the gain of log partial likelihood by a ridge Cox model of the other features.

    It is out of fold, at the best of ``PENALTIES``; NaN without other features.
    """
    names = list(cohort.study.features)
    kept = [int(j) for j in chosen if names[j] != feature]
    if not kept:
        return math.nan
    events = float(outcome.event.sum())
    scores = np.zeros((len(PENALTIES), len(cohort)))
    for k, X in enumerate(_designs(cohort, kept[:MOST_OTHERS], outcome.fold)):
        inside = outcome.fold != k
        sets = RiskSets(outcome.time[inside], outcome.event[inside])
        weight = np.full(X.shape[1], events * max(1.0, X.shape[1] / inside.sum()))
        for i, beta in enumerate(ridge_path(X[inside], sets, weight, PENALTIES)):
            scores[i, ~inside] = X[~inside] @ beta
    return max(outcome.gain(score) for score in scores)


def _designs(cohort: Cohort, kept: Sequence[int], fold: Ints) -> Iterator[Array]:
    """Yield each fold's linear design (n, c) of some features, fitted to the other folds."""
    names = list(cohort.study.features)
    wanted = {names[j] for j in kept}
    modalities = {
        m: {n: f for n, f in features.items() if n in wanted}
        for m, features in cohort.study.modalities.items()
    }
    update = {
        "modalities": {m: features for m, features in modalities.items() if features},
        "interactions": (),
        "baselines": {},
    }
    study, values = cohort.study.model_copy(update=update), cohort.values[:, list(kept)]
    for k in range(FOLDS):
        yield Preprocessor.fit(study, values[fold != k], None, bins=1).linear(values)
