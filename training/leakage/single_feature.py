"""Leakage by a single feature: its association with the event, and with censoring.

A feature known at the start may predict the event, but hardly the time of censoring, which the
study's end decides. A feature recorded at the end predicts both. So each feature is turned into
groups (levels, tenths of its numbers, "not recorded"), each group into the log ratio of its events
to those expected, and this out-of-fold score is tested against the events *and* the censoring.
Under independent censoring (Kalbfleisch & Prentice, The Statistical Analysis of Failure Time Data,
2002, chapter 6) its slope in a Cox model of the censoring is 0.
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
from accomplice.training.estimators.cox import RiskSets, fit_cox, ridge_path
from accomplice.training.estimators.kaplan_meier import censoring, nelson_aalen
from accomplice.training.estimators.outcome import UndefinedMetricError
from accomplice.training.estimators.policy import TOO_GOOD
from accomplice.training.metrics.concordance import concordance_contributions, harrell_c

#: Most patients and features; of more features, those that correlate with the event or the
#: censoring, or whose missingness does.
MOST_PATIENTS, MOST_FEATURES = 5000, 150
#: Folds of the scores, groups of a number's values, and events beforehand in each group.
FOLDS, GROUPS, PRIOR = 5, 10, 2.0
#: Most features compared with all others together, most of those, and their penalties.
SUSPECTS, OTHERS, PENALTIES = 3, 100, (10.0, 1.0, 0.1, 0.01)
#: Fewest patients of a group whose start or end of follow-up is tested.
FEWEST = 10

# The thresholds below were set on public cohorts, two of them of gastric cancer, with and without
# columns known to be written after the outcome (tumour status, therapy outcome, relapse).

#: Gain of log partial likelihood, in all and for each event, below which a feature is no leak.
LEAST_GAIN, LEAST_EACH = 10.0, 0.1
#: Slope and z of the censoring below which a high score prevents it, which is a leak, and a less
#: strict z for features with a large gain for each event...
KEPT, KEPT_Z, VERY_MUCH, KEPT_NEARER = -0.25, -3.5, 0.25, -2.8
#: ... and C for events, C for censoring, and z above which a score predicts the follow-up itself.
RUNS, RUNS_CENSORED, RUNS_Z = 0.7, 0.62, 3.5
#: Log10 of the probability of a group's follow-up, below which it is no chance.
NO_CHANCE = -5.0
#: Gain for each event, and as a multiple of all others' gain, that is worth a second look.
MUCH_EACH, MUCH = 0.3, 1.8


@dataclass(frozen=True)
class Single:
    """Out-of-fold figures of one feature, or of whether it is recorded."""

    feature: str
    recorded: bool
    """Whether the indicator of being recorded is judged, not the values."""
    c: float
    """Harrell's C of the feature alone."""
    c_low: float
    """Its lower bound, at a level that allows for the number of features."""
    gain: float
    """Log partial likelihood gained over none."""
    c_censored: float
    """C of the same score for the time of censoring; 0.5 if it is independent of it."""
    slope: float
    """Log-hazard of being censored for one unit of the score; 0 under independent censoring."""
    z: float
    """Signed root of twice the log-likelihood that the slope gains."""
    surprise: float
    """Log10 of the chance that some level's follow-up begins so late, or ends so early."""
    each: float
    """Log partial likelihood gained for each event."""
    others: float = math.nan
    """Log partial likelihood that all other features together gain; NaN where not compared."""

    def gives_away(self, too_good: float = TOO_GOOD) -> str:
        """Return how the feature leaks the outcome; empty if it does not.

        Args:
            too_good: C of a single feature above which it is taken for a leak.
        """
        if self.c >= too_good and self.c_low >= RUNS:
            return f"alone it reaches C {self.c:.2f}"
        if self.gain < LEAST_GAIN or self.each < LEAST_EACH:
            return ""
        least = KEPT_NEARER if self.each >= VERY_MUCH else KEPT_Z
        if self.slope <= KEPT and self.z <= least:
            return (
                f"it tells who had the event whatever the time (z {self.z:.1f} for being "
                "censored, which nothing known at the start decides)"
            )
        if self.c >= RUNS and self.c_censored >= RUNS_CENSORED and self.z >= RUNS_Z:
            return (
                f"it runs with the length of follow-up, also of the censored (C {self.c:.2f} for "
                f"events, {self.c_censored:.2f} for censoring)"
            )
        if self.surprise <= NO_CHANCE:
            return (
                "patients with one of its levels, or with any, all stay or leave until some month"
            )
        return ""

    @property
    def stands_out(self) -> str:
        """Return how the feature is unusually strong, though not surely leaked; else empty."""
        if self.each < MUCH_EACH or not self.gain >= MUCH * self.others:
            return ""
        if self.others < 1:
            return f"it tells much (C {self.c:.2f}), all other features together nothing"
        return (
            f"alone it tells {self.gain / self.others:.1f} times as much as all other features "
            f"together (C {self.c:.2f})"
        )


def single_features(cohort: Cohort, seed: int) -> list[Single]:
    """Judge each feature by itself.

    Args:
        cohort: patients with their features, the treatment not among them.
        seed: of the folds and of the choice of patients.

    Returns:
        One for each feature, and one for each with missing values.
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
        values, leveled = cohort.values[:, j], features[j].levels is not None
        there = ~np.isnan(values)
        found.append(outcome.judge(names[j], group(values, leveled), level, leveled=leveled))
        if FEWEST <= there.sum() <= len(there) - FEWEST:
            found.append(outcome.judge(names[j], there.astype(int), level, recorded=True))
    strong = [one for one in found if one.each >= MUCH_EACH and one.gain >= LEAST_GAIN]
    strongest = sorted(strong, key=lambda one: -one.gain)[:SUSPECTS]
    compared = {id(one): _others(cohort, outcome, one.feature, chosen) for one in strongest}
    return [replace(one, others=compared.get(id(one), math.nan)) for one in found]


def group(values: Array, leveled: bool) -> Ints:
    """Put values (n,) into groups: levels or tenths, and those that are missing."""
    known = ~np.isnan(values)
    found = np.zeros(len(values), dtype=int)
    distinct = np.unique(values[known])
    if leveled or len(distinct) <= GROUPS:
        found[known] = np.searchsorted(distinct, values[known])
    else:
        edges = np.unique(np.quantile(values[known], np.linspace(0, 1, GROUPS + 1)[1:-1]))
        found[known] = np.searchsorted(edges, values[known], side="right")
    found[~known] = found.max(initial=0) + 1
    return found


@dataclass(frozen=True)
class _Outcome:
    """Outcomes, with the folds and risk sets that scores are made and judged by."""

    time: Array
    event: Bools
    fold: Ints
    expected: Array
    """(n,) events expected of each patient by their time."""
    at_event: RiskSets
    at_censoring: RiskSets
    none: tuple[float, float]
    """Log partial likelihoods of no score, for the event and for the censoring."""

    @classmethod
    def of(cls, time: Array, event: Bools, rng: np.random.Generator) -> _Outcome:
        fold = rng.permutation(np.arange(len(time)) % FOLDS)
        sets, flat = (RiskSets(time, event), RiskSets(time, ~event)), np.zeros(len(time))
        none = (sets[0].value(flat), sets[1].value(flat))
        return cls(time, event, fold, nelson_aalen(time, event), *sets, none)

    def judge(
        self,
        feature: str,
        groups: Ints,
        level: float,
        *,
        leveled: bool = True,
        recorded: bool = False,
    ) -> Single:
        """Judge a feature's groups (n,) against events and censoring."""
        score = self.score(groups)
        c, error = _concordance(self.event, self.time, score)
        slope, z = self.of_censoring(score)
        gain = self.gain(score)
        return Single(
            feature=feature,
            recorded=recorded,
            c=c,
            c_low=c - error * math.sqrt(-2 * math.log(level)),
            gain=gain,
            c_censored=_concordance(~self.event, self.time, score)[0],
            slope=slope,
            z=z,
            surprise=self.surprise(groups) - math.log10(level) if leveled else 0.0,
            each=gain / max(int(self.event.sum()), 1),
        )

    def score(self, groups: Ints) -> Array:
        """Log ratio (n,) of observed to expected events of each patient's group, out of fold."""
        made, size = np.zeros(len(groups)), int(groups.max()) + 1
        for k in range(FOLDS):
            inside = self.fold != k
            seen = np.bincount(groups[inside], self.event[inside], size)
            due = np.bincount(groups[inside], self.expected[inside], size)
            made[~inside] = np.log((seen + PRIOR) / (due + PRIOR))[groups[~inside]]
        return made

    def gain(self, score: Array) -> float:
        """Log partial likelihood that a score (n,) gains, at its best scale."""
        beta = _slope(score, self.at_event)
        return max(0.0, self.at_event.value(beta * score) - self.none[0]) if beta > 0 else 0.0

    def of_censoring(self, score: Array) -> tuple[float, float]:
        """Return the slope of a score (n,) in a Cox model of the censoring, and its z."""
        if min(self.event.sum(), (~self.event).sum()) < FEWEST:
            return 0.0, 0.0
        beta = _slope(score, self.at_censoring)
        gained = max(0.0, self.at_censoring.value(beta * score) - self.none[1])
        return beta, math.copysign(math.sqrt(2 * gained), beta)

    def surprise(self, groups: Ints) -> float:
        """Log10 of the chance that a group's follow-up begins so late, or ends so early.

        The former allows for half the others' rate of leaving, the latter for five times it.
        """
        least = 0.0
        for g in np.unique(groups):
            inside = groups == g
            size = int(inside.sum())
            if size < FEWEST or size > len(groups) - FEWEST:
                continue
            own, other = self.time[inside], self.time[~inside]
            before, after = (other < own.min()).mean(), (other > own.max()).mean()
            late = size * math.log10(1 - before / 2)
            early = size * math.log10(max(1 - after**5, 1e-12))
            least = min(least, late, early)
        return least


def _slope(score: Array, sets: RiskSets) -> float:
    if score.std() < 1e-9:
        return 0.0
    # A little penalty: a group without censoring has no finite slope.
    return float(fit_cox((score - score.mean())[:, None], sets, np.full(1, 0.5))[0])


def _concordance(event: Bools, time: Array, score: Array) -> tuple[float, float]:
    """Harrell's C and its standard error; 0.5 and 0 without comparable pairs."""
    try:
        c = harrell_c(event, time, score)
    except UndefinedMetricError:
        return 0.5, 0.0
    parts = concordance_contributions(event, time, score, censoring(time, event)).harrell
    return c, float(parts.std() / math.sqrt(len(parts)))


def _screened(cohort: Cohort, outcome: _Outcome) -> Ints:
    """Positions of the features to judge: all, or those most correlated with the outcome."""
    p = cohort.values.shape[1]
    if p <= MOST_FEATURES:
        return np.arange(p)
    surplus = outcome.event - outcome.expected
    left = ~outcome.event - nelson_aalen(outcome.time, ~outcome.event)
    ranked = ranks(cohort.values)
    missing = np.isnan(cohort.values).astype(float)
    size = np.max(
        [np.abs(correlation_with(x, y)) for x in (ranked, missing) for y in (surplus, left)], axis=0
    )
    kinds = [f.kind == "category" for f in cohort.study.features.values()]
    # The codes of a category have no order, so no correlation.
    size[kinds] = np.inf
    return np.sort(np.argsort(-size, kind="stable")[:MOST_FEATURES])


def _others(cohort: Cohort, outcome: _Outcome, feature: str, chosen: Ints) -> float:
    """Log partial likelihood that a ridge Cox of the other features gains, out of fold."""
    names = list(cohort.study.features)
    kept = [int(j) for j in chosen if names[j] != feature]
    if not kept:
        return math.nan
    events = float(outcome.event.sum())
    scores = np.zeros((len(PENALTIES), len(cohort)))
    for k, X in enumerate(_designs(cohort, kept[:OTHERS], outcome.fold)):
        inside = outcome.fold != k
        sets = RiskSets(outcome.time[inside], outcome.event[inside])
        weight = np.full(X.shape[1], events * max(1.0, X.shape[1] / inside.sum()))
        for i, beta in enumerate(ridge_path(X[inside], sets, weight, PENALTIES)):
            scores[i, ~inside] = X[~inside] @ beta
    return max(outcome.gain(score) for score in scores)


def _designs(cohort: Cohort, kept: Sequence[int], fold: Ints) -> Iterator[Array]:
    """Yield each fold's linear design (n, c) of some features, fitted to the others."""
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
