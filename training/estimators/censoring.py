"""The choice of the distribution of the censoring time: one for all patients, or one by group.

Inverse probability weights from one Kaplan-Meier curve are valid if censoring is independent of the
event. If centres began at different times, or arms are followed differently, censoring is
independent only given the variables on which it depends (Robins and Finkelstein, "Correcting for
noncompliance and dependent censoring by using inverse probability of censoring weighted log-rank
tests", Biometrics 2000). A variable on which censoring depends but not the event causes no bias,
and weights by it would cost precision and follow-up; so only variables that predict the event too
are candidates.

A treatment that begins before a landmark is known only for patients who were followed until it
began, so that no treated patient is censored before. Therefore curves may differ by treatment only
from the landmark on, among the patients still followed then; before it both arms share a curve.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.data.cells.rounding import round_off
from accomplice.data.cohort import Cohort
from accomplice.data.errors import enumerated
from accomplice.data.preprocessing.missingness import WIDE
from accomplice.data.preprocessing.preprocessor import Preprocessor
from accomplice.training.estimators.censoring_forms import Comparison, Form, first_events
from accomplice.training.estimators.chi_square import ChiSquare
from accomplice.training.estimators.cox import RiskSets
from accomplice.training.estimators.kaplan_meier import (
    Censoring,
    GroupedCensoring,
    censoring,
)

#: Names of the variables that define strata.
CENTRE, TREATMENT = "centre", "treatment"
#: Name of all features together in :attr:`ChosenCensoring.by`.
FEATURES = "features"
#: Minimum probability of no censoring at a month that is judged, and fraction of each stratum's
#: patients who must reach it.
FOLLOWED, MOST = 0.2, 0.9
#: Minimum number of patients of a stratum, which is else pooled, and of censored patients of a
#: cohort for more than one curve.
STRATUM = 30
#: Maximum number of patients of a cohort in which features are candidates.
MOST_WITH_FEATURES = 100_000
#: Upper bound (exclusive) of a candidate variable's p value for the event.
PREDICTS_P = 0.2
#: Significance level, after Bonferroni's correction, of an association with censoring.
SIGNIFICANT_P = 0.05


@dataclass(frozen=True, eq=False)
class ChosenCensoring:
    """The distribution of the censoring time for weighting, and the tests behind its choice."""

    weights: Censoring
    """The distribution: one Kaplan-Meier curve, or one for each group of patients."""
    by: tuple[str, ...] = ()
    """The variables by which it differs: ``centre``, ``treatment``, ``features``; empty for one
    curve for all patients."""
    reach: float = math.inf
    """Month to which the probability of no censoring is at least ``FOLLOWED`` for ``MOST`` of each
    stratum; infinite for one curve."""
    p: Mapping[str, float] = field(default_factory=dict)
    """Variable or feature -> p value of its score test of an association with censoring."""

    @property
    def decided_by(self) -> tuple[str, ...]:
        """Variables significantly associated with censoring (p < 0.05 after Bonferroni)."""
        return tuple(name for name, p in self.p.items() if p * len(self.p) < SIGNIFICANT_P)

    @property
    def least_p(self) -> float:
        """Smallest p value after Bonferroni's correction; NaN if no variable was tested."""
        return min(1.0, min(self.p.values()) * len(self.p)) if self.p else math.nan

    @property
    def p_in_words(self) -> str:
        """``least_p`` as text."""
        return f"p {self.least_p:.2g}" if self.least_p >= 0.001 else "p < 0.001"

    def to_json(self) -> dict[str, Any]:
        """Return the choice as plain data."""
        reach = self.reach if math.isfinite(self.reach) else None
        p = None if math.isnan(self.least_p) else self.least_p
        return {"by": list(self.by), "decided_by": list(self.decided_by), "p": p, "reach": reach}

    def take(self, rows: Ints | Bools) -> ChosenCensoring:
        """Return the choice for the patients at ``rows``."""
        return ChosenCensoring(self.weights.take(rows), self.by, self.reach, self.p)


def censoring_of(cohort: Cohort, time: Array, event: Bools) -> ChosenCensoring:
    """Choose the distribution of the censoring time among patients of a cohort.

    Args:
        cohort: the n patients, with centre, treatment and features where the study has them;
            features of modalities with more than ``WIDE`` columns are no candidates.
        time: (n,) months of follow-up.
        event: (n,) whether the event was observed.

    Example:
        >>> from accomplice.data.cohort import build_cohort
        >>> from accomplice.data.panels.panel import panel_text
        >>> from accomplice.data.study import parse_study
        >>> from accomplice.data.synthetic import draw
        >>> import yaml
        >>> study = parse_study(yaml.safe_load(panel_text("synthetic_gastric")), "example")
        >>> cohort = build_cohort(study, draw(200, seed=1).frame)
        >>> censoring_of(cohort, *cohort.outcome).by
        ()
    """
    strata: dict[str, NDArray[np.generic]] = {}
    if cohort.centre is not None:
        strata[CENTRE] = cohort.centre
    if cohort.treated is not None:
        strata[TREATMENT] = np.nan_to_num(cohort.treated, nan=-1.0)
    in_range = STRATUM <= len(cohort) <= MOST_WITH_FEATURES
    features = _columns(cohort.prognostic()) if in_range else {}
    treatment = cohort.study.treatment
    landmark = 0.0 if treatment is None else treatment.landmark
    return choose_censoring(time, event, strata, features, landmark)


def on_follow_up(cohort: Cohort) -> tuple[str, ...]:
    """Return a warning if follow-up depends on recorded variables; else an empty tuple.

    Args:
        cohort: the patients, with their follow-up.

    Example:
        >>> from accomplice.data.cohort import build_cohort
        >>> from accomplice.data.panels.panel import panel_text
        >>> from accomplice.data.study import parse_study
        >>> from accomplice.data.synthetic import draw
        >>> import yaml
        >>> study = parse_study(yaml.safe_load(panel_text("synthetic_gastric")), "example")
        >>> on_follow_up(build_cohort(study, draw(200, seed=1).frame))
        ()
    """
    chosen = censoring_of(cohort, *cohort.outcome)
    if not chosen.decided_by:
        return ()
    consequence = (
        f"patients will be weighed for censoring among those alike in {enumerated(chosen.by)}"
        if chosen.by
        else "what predicts the event does not clearly decide it, and one distribution is used"
    )
    decided = f"{enumerated(chosen.decided_by)} ({chosen.p_in_words})"
    return (f"follow-up ({cohort.endpoint}) depends on {decided}: {consequence}",)


def _columns(blind: Cohort) -> dict[str, Array]:
    """Return feature -> its columns (n, c) in the linear design, without wide modalities."""
    narrow = {name for name, block in blind.study.blocks.items() if len(block) <= WIDE}
    kept = [j for name in narrow for j in blind.study.blocks[name]]
    if not kept:
        return {}
    modalities = {m: f for m, f in blind.study.modalities.items() if m in narrow}
    update = {"modalities": modalities, "interactions": (), "baselines": {}}
    study, values = blind.study.model_copy(update=update), blind.values[:, sorted(kept)]
    made = Preprocessor.fit(study, values, blind.centre, bins=1)
    X, found = made.linear(values, blind.centre), dict[str, Array]()
    for j, column in enumerate(made.linear_columns()):
        if len(column.features) == 1:
            name = column.features[0]
            found[name] = np.column_stack([found.get(name, X[:, :0]), X[:, j]])
    return found


def choose_censoring(
    time: Array,
    event: Bools,
    strata: Mapping[str, NDArray[np.generic]],
    features: Mapping[str, Array],
    landmark: float = 0.0,
) -> ChosenCensoring:
    """Choose the distribution of the censoring time by its likelihood in held-out patients.

    The forms are compared in this order, and one is chosen only if it is clearly better than the
    one chosen before: one curve for all; curves by centre; by treatment; by both; and, within the
    chosen strata, the likelier of a Cox model of the features and of curves by fifth of its linear
    predictor, which need no proportional hazards.

    Args:
        time: (n,) months of follow-up.
        event: (n,) whether the event was observed.
        strata: ``centre`` and ``treatment``, both, one or none -> label of each patient (n,).
        features: feature -> its columns (n, c), standardised.
        landmark: month from which the treatment is known; curves by treatment differ only after it.

    Example:
        >>> centre = np.repeat(["early", "late"], 200)
        >>> time = np.tile(np.linspace(1.0, 10.0, 200), 2) * np.repeat([1.0, 0.4], 200)
        >>> event = np.tile([True, False], 200)
        >>> choose_censoring(time, event, {"centre": centre}, {}).by
        ('centre',)
    """
    one = ChosenCensoring(censoring(time, event))
    # At the end of all follow-up every remaining patient is censored, whatever the features.
    censored = ~event & (time < time.max())
    if censored.sum() < STRATUM:
        return one
    always, later = np.ones(len(time), dtype=bool), time > landmark
    labels = {
        name: _label(raw, later if name == TREATMENT else always) for name, raw in strata.items()
    }
    labels = {name: label for name, label in labels.items() if label.any()}
    blocks = {name: indicators(label) for name, label in labels.items()} | dict(features)
    left = first_events(time, event)
    p = _score_tests(left, censored, blocks, later)
    of_event = _score_tests(time, event, blocks, later)
    related = {name for name in blocks if name == TREATMENT or of_event[name] < PREDICTS_P}
    kept = {name: label for name, label in labels.items() if name in related}
    none = np.zeros(len(time), dtype=int)
    forms = [Form((), none, none)]
    forms += [
        Form((name,), none if name == TREATMENT else label, label) for name, label in kept.items()
    ]
    if len(kept) > 1:
        both = np.array([*kept.values()]).T @ (1, len(time))
        forms.append(Form((*kept,), kept[CENTRE], _label(both, later)))
    comparison = Comparison.of(time, censored, landmark if TREATMENT in kept else 0.0)
    best, reached = comparison.best([(form, comparison.held_out(form)) for form in forms])
    # The Cox model applies from time 0, at which the treatment is not known.
    columns = [
        X for name, X in blocks.items() if name in related and name not in (*best.by, TREATMENT)
    ]
    if any(name in related for name in features):
        X = np.column_stack(columns)
        cox = [replace(best, X=X, fifths=fifths) for fifths in (False, True)]
        tried = [(form, comparison.held_out(form)) for form in cox]
        best, _ = comparison.best([(best, reached), max(tried, key=lambda found: found[1].sum())])
    by = best.by if best.X is None else (*best.by, FEATURES)
    if not by:
        return replace(one, p=p)
    since = landmark if TREATMENT in by else 0.0
    reach = math.inf
    # Refitted to the judged months, so that hazards need not be proportional beyond them.
    for _ in range(3 if best.X is not None else 1):
        groups = best.fit(left, censored & (time <= reach), since, always)
        weights = groups.curves(time, event, since)
        reach = _reach(weights, groups.late, time > since)
    return ChosenCensoring(weights, by, reach, p)


def _score_tests(
    time: Array, observed: Bools, blocks: Mapping[str, Array], later: Bools
) -> dict[str, float]:
    """Return name -> p value of the score test for ``observed`` (n,) events.

    The treatment is tested among the patients ``later`` (n,) alone.
    """
    whole = RiskSets(time, observed)
    return {
        name: score_test(RiskSets(time[later], observed[later]), X[later])
        if name == TREATMENT
        else score_test(whole, X)
        for name, X in blocks.items()
    }


def _label(labels: NDArray[np.generic], known: Bools) -> Ints:
    """Return the stratum (n,) of each label, small ones pooled; 0 for patients not ``known``."""
    found = np.zeros(len(labels), dtype=int)
    if known.any():
        found[known] = pooled(labels[known])
    return found


def pooled(labels: NDArray[np.generic]) -> Ints:
    """Return the stratum (n,) of each label, from 0; labels of few patients are pooled.

    Example:
        >>> pooled(np.array(["a"] * 40 + ["b"] * 30 + ["c"] * 5))[[0, 40, 70]]
        array([0, 1, 0])
    """
    _, found, count = np.unique(labels, return_inverse=True, return_counts=True)
    if (count < STRATUM).any():
        found = np.where(count[found] < STRATUM, len(count), found)
        _, found, count = np.unique(found, return_inverse=True, return_counts=True)
        # The pool itself, which is last, may be too small.
        if count[-1] < STRATUM and len(count) > 1:
            found = np.where(found == len(count) - 1, count[:-1].argmax(), found)
    return np.asarray(found)


def indicators(label: Ints) -> Array:
    """Return indicators (n, s − 1) of the labels 1 … s − 1.

    Example:
        >>> indicators(np.array([0, 1])).tolist()
        [[0.0], [1.0]]
    """
    return np.asarray((label[:, None] == np.arange(1, label.max() + 1)).astype(float))


def score_test(sets: RiskSets, X: Array) -> float:
    """Return the p value of the score test of all columns of a design in a Cox model.

    For indicators of strata it is the log-rank test. The statistic is gᵀ I⁻¹ g, with the gradient g
    and the information I of the partial likelihood at 0, on as many degrees of freedom as the rank
    of I; p is 1 at rank 0.

    Args:
        sets: risk sets of the n patients.
        X: (n, c) design.

    Example:
        >>> time = np.arange(1.0, 41.0)
        >>> sets = RiskSets(time, np.ones(40, dtype=bool))
        >>> score_test(sets, (time[:, None] <= 20).astype(float)) < 1e-6
        True
    """
    _, gradient, information = sets.evaluate(X, np.zeros(len(X)))
    rank = int(np.linalg.matrix_rank(information, hermitian=True)) if len(gradient) else 0
    if not rank:
        return 1.0
    inverse = np.linalg.pinv(information, hermitian=True)
    return ChiSquare.of(float(gradient @ inverse @ gradient), rank).p_value


def _reach(weights: GroupedCensoring, stratum: Ints, rows: Bools) -> float:
    """Return the month to which ``MOST`` of each stratum have G of at least ``FOLLOWED``.

    It is rounded down to three digits, and infinite if there is no such limit.

    Args:
        weights: distribution of the n patients' censoring time.
        stratum: (n,) stratum of each patient.
        rows: (n,) patients whose strata count.
    """
    short = np.zeros(len(weights.times), dtype=bool)
    for s in np.unique(stratum[rows]):
        own = weights.group[rows & (stratum == s)]
        size = np.bincount(own, minlength=len(weights.survival))
        short |= size @ (weights.survival[:, 1:] >= FOLLOWED) < MOST * size.sum()
    return round_off(float(weights.times[short.argmax()]), up=False) if short.any() else math.inf
