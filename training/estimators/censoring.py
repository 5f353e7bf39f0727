"""The choice of the distribution of the censoring time: alike for all patients, or by group.

Inverse weights by one Kaplan-Meier curve are right if censoring is independent of the event. Where
centres began at other times, or arms are followed differently, it is independent only among
patients alike in what decides it (Robins and Finkelstein, "Correcting for noncompliance and
dependent censoring by using inverse probability of censoring weighted log-rank tests", Biometrics
2000). A variable that decides the censoring but not the event biases nothing, and weights by it
would cost precision and follow-up; only those that predict the event too are candidates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.data.cells.rounding import round_off
from accomplice.data.cohort import Cohort
from accomplice.data.preprocessing.missingness import WIDE
from accomplice.data.preprocessing.preprocessor import Preprocessor
from accomplice.training.estimators.chi_square import ChiSquare
from accomplice.training.estimators.cox import RiskSets
from accomplice.training.estimators.hazard import TimeGrid
from accomplice.training.estimators.kaplan_meier import (
    Censoring,
    GroupedCensoring,
    censoring,
    power_curves,
)
from accomplice.training.estimators.newton import climb

#: Names of the variables that make strata.
CENTRE, TREATMENT = "centre", "treatment"
#: Name of the features together, in :attr:`ChosenCensoring.by`.
FEATURES = "features"
#: Least chance not to be censored at a month that is judged, and part of each stratum's patients
#: who have it.
FOLLOWED, MOST = 0.2, 0.9
#: Least patients of a stratum, and least censored patients of a cohort, for a distribution of their
#: own. Smaller strata are pooled.
STRATUM = 30
#: Maximum of patients by whom a distribution is chosen; of more, an even sample over time.
MOST_PATIENTS = 5000
#: Maximum of patients whose features are looked at; of more, only centre and treatment are.
MOST_WITH_FEATURES = 100_000
#: Inner folds by which a distribution is chosen.
FOLDS = 5
#: Standard errors, and log-likelihood, by which a distribution must be better than a simpler one.
CLEAR_Z, CLEAR_GAIN = 1.5, 3.0
#: p value for the event above which a variable is no candidate.
PREDICTS_P = 0.2
#: Size of z for censoring above which a column enters Cox's model.
DECIDES_Z = 2.0
#: p value below which a variable is said to decide the censoring, corrected for their number.
SAID = 0.05
#: Precision of the normal prior of a log-hazard ratio of the censoring.
PENALTY = 1.0
#: Probabilities of the inner ends of fifths.
FIFTHS = (0.2, 0.4, 0.6, 0.8)
#: Maximum of bins of follow-up by which likelihoods are compared, and censored patients for each.
BINS, LOST_A_BIN = 20, 10
#: Largest size of a predicted log-hazard ratio of the censoring.
LARGEST = 3.0


@dataclass(frozen=True, eq=False)
class ChosenCensoring:
    """The distribution of the censoring time by which patients are weighed, and why."""

    weights: Censoring
    """The distribution: one Kaplan-Meier curve, or one for each group of patients."""
    by: tuple[str, ...] = ()
    """The variables by which it differs: ``centre``, ``treatment``, ``features``; empty for one
    curve for all patients."""
    reach: float = math.inf
    """Month to which a fifth of each group would still be followed without the event."""
    p: Mapping[str, float] = field(default_factory=dict)
    """Variable -> p value of the score test that it decides no censoring; features by name."""

    @property
    def decided_by(self) -> tuple[str, ...]:
        """Variables that certainly decide the censoring (p < 0.05, by Bonferroni)."""
        return tuple(name for name, p in self.p.items() if p * len(self.p) < SAID)

    @property
    def least_p(self) -> float:
        """Bonferroni's p that the censoring depends on no variable; NaN if none was tested."""
        return min(1.0, min(self.p.values()) * len(self.p)) if self.p else math.nan

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
        cohort: the n patients, with centre, treatment and features where the study has them. Of
            features, those of wide modalities are left out.
        time: (n,) months of follow-up.
        event: (n,) whether the event was seen.

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
    few = STRATUM <= len(cohort) <= MOST_WITH_FEATURES
    return choose_censoring(time, event, strata, _columns(cohort.prognostic()) if few else {})


def _columns(blind: Cohort) -> dict[str, Array]:
    """Return feature -> its columns (n, c) of the linear design, without wide modalities."""
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
) -> ChosenCensoring:
    """Choose the distribution of the censoring time by its likelihood in held-out patients.

    In this order, each must be clearly better than the best one before: one curve for all; curves
    by centre; by treatment; by both; and within these strata the likelier of Cox's model of the
    features and curves by fifth of its linear predictor, which need no proportional hazards.

    Args:
        time: (n,) months of follow-up.
        event: (n,) whether the event was seen.
        strata: ``centre`` and ``treatment``, or one or none of them -> label of each patient (n,).
        features: feature -> its columns (n, c), standardised.

    Example:
        >>> centre = np.repeat(["early", "late"], 200)
        >>> time = np.tile(np.linspace(1.0, 10.0, 200), 2) * np.repeat([1.0, 0.4], 200)
        >>> event = np.tile([True, False], 200)
        >>> choose_censoring(time, event, {"centre": centre}, {}).by
        ('centre',)
    """
    one = ChosenCensoring(censoring(time, event))
    # At the end of all follow-up every patient left is censored, whatever the features.
    lost = ~event & (time < time.max())
    if lost.sum() < STRATUM:
        return one
    labels = {name: label for name, raw in strata.items() if (label := pooled(raw)).any()}
    blocks = {name: indicators(label) for name, label in labels.items()} | dict(features)
    of_event, of_loss = RiskSets(time, event), RiskSets(_first_events(time, event), lost)
    p = {name: score_test(of_loss, X) for name, X in blocks.items()}
    related = {
        name
        for name, X in blocks.items()
        if name == TREATMENT or score_test(of_event, X) < PREDICTS_P
    }
    kept = {name: label for name, label in labels.items() if name in related}
    forms = [_Form((), np.zeros(len(time), dtype=int))]
    forms += [_Form((name,), label) for name, label in kept.items()]
    if len(kept) > 1:
        forms.append(_Form((*kept,), pooled(np.array([*kept.values()]).T @ (1, len(time)))))
    process = _Process.of(time, lost)
    best = process.best(forms)
    columns = [X for name, X in blocks.items() if name in related and name not in best.by]
    if any(name in related for name in features):
        X = np.column_stack(columns)
        cox = [replace(best, X=X, fifths=fifths) for fifths in (False, True)]
        best = process.best([best, max(cox, key=lambda form: process.held_out(form).sum())])
    by = best.by if best.X is None else (*best.by, FEATURES)
    if not by:
        return replace(one, p=p)
    reach, every = math.inf, np.ones(len(time), dtype=bool)
    # Hazards need be proportional only up to the last month that is judged.
    for _ in range(3 if best.X is not None else 1):
        stratum, ratio = best.placed(_first_events(time, event), lost & (time <= reach), every)
        weights = power_curves(time, event, stratum, ratio)
        reach = _reach(weights, stratum)
    return ChosenCensoring(weights, by, reach, p)


def pooled(labels: NDArray[np.generic]) -> Ints:
    """Return the stratum (n,) of each label, from 0; labels of few patients share one.

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
    """Return indicators (n, s − 1) of the labels 0 … s − 1 but for the first.

    Example:
        >>> indicators(np.array([0, 1])).tolist()
        [[0.0], [1.0]]
    """
    return np.asarray((label[:, None] == np.arange(1, label.max() + 1)).astype(float))


def score_test(sets: RiskSets, X: Array) -> float:
    """Return the p value of Cox's score test that no column of a design (n, c) matters.

    Of indicators of strata it is the log-rank test. The statistic is gᵀ I⁻¹ g, with the gradient g
    and the information I of the partial likelihood at 0, on as many degrees of freedom as the rank
    of I; p is 1 at rank 0.

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


@dataclass(frozen=True, eq=False)
class _Form:
    """A form of the distribution: strata, and Cox's model of the features within them."""

    by: tuple[str, ...]
    stratum: Ints
    """(n,) stratum of each patient, from 0."""
    X: Array | None = None
    """(n, c) columns of the features."""
    fifths: bool = False
    """Whether fifths of the linear predictor are strata too, so that hazards need not be
    proportional."""

    def take(self, rows: Ints) -> _Form:
        X = None if self.X is None else self.X[rows]
        return replace(self, stratum=self.stratum[rows], X=X)

    def placed(self, time: Array, lost: Bools, rows: Bools) -> tuple[Ints, Array]:
        """Return the stratum (n,) and hazard ratio (n,) of all patients, fitted to some (n,)."""
        if self.X is None:
            return self.stratum, np.ones(len(time))
        stratum, outcome = self.stratum, (time[rows], lost[rows])
        log_ratio = self.X @ _cox(self.X[rows], *outcome, stratum[rows])
        if self.fifths:
            fifth = np.searchsorted(np.quantile(log_ratio[rows], FIFTHS), log_ratio)
            stratum = 5 * stratum + fifth
            log_ratio = self.X @ _cox(self.X[rows], *outcome, stratum[rows])
        log_ratio = log_ratio - log_ratio[rows].mean()
        return stratum, np.exp(np.clip(log_ratio, -LARGEST, LARGEST))


def _cox(X: Array, time: Array, lost: Bools, stratum: Ints) -> Array:
    """Return the coefficients (c,) of a ridge Cox model of the censoring, stratified.

    Columns whose z by themselves is below ``DECIDES_Z`` in size get 0.
    """
    within = [np.flatnonzero(stratum == s) for s in np.unique(stratum)]
    sets = [(rows, RiskSets(time[rows], lost[rows])) for rows in within]

    def evaluate(Z: Array, beta: Array) -> tuple[float, Array, Array]:
        parts = [each.evaluate(Z[rows], Z[rows] @ beta) for rows, each in sets]
        value, gradient, information = (sum(part[i] for part in parts) for i in range(3))
        return value, gradient, information  # type: ignore[return-value]

    beta = np.zeros(X.shape[1])
    _, gradient, information = evaluate(X, beta)
    spread = np.sqrt(np.maximum(np.diag(information), 1e-12))
    used = np.abs(gradient / spread) > DECIDES_Z
    if not used.any():
        return beta
    Z = X[:, used]

    def step(at: Array) -> Array:
        _, slope, curvature = evaluate(Z, at)
        penalised = curvature + PENALTY * np.eye(Z.shape[1])
        return np.asarray(np.linalg.solve(penalised, slope - PENALTY * at))

    def value(at: Array) -> float:
        return evaluate(Z, at)[0] - PENALTY * float(at @ at) / 2

    beta[used] = climb(value, step, np.zeros(Z.shape[1]))
    return beta


@dataclass(frozen=True, eq=False)
class _Process:
    """The censoring of patients, by which forms of its distribution are compared."""

    rows: Ints
    """(m,) the patients compared."""
    time: Array
    """(m,) their follow-up."""
    lost: Bools
    """(m,) whether they were censored before the end of all follow-up."""
    fold: Ints
    """(m,) fold of each, which follows the time, so that the order of rows does not matter."""
    months: Array
    """(m, b) months at risk in each bin of time."""
    marks: Array
    """(m, b) 1 in the bin of the censoring, else 0."""

    @classmethod
    def of(cls, time: Array, lost: Bools) -> _Process:
        """Divide follow-up into bins, and patients into folds."""
        order = np.lexsort((lost, time))
        rows = order[:: 1 + (len(order) - 1) // MOST_PATIENTS]
        time, lost = time[rows], lost[rows]
        grid = TimeGrid.fit(time, lost, float(time.max()), BINS, LOST_A_BIN)
        months = grid.exposure(time) * np.diff(grid.edges)
        return cls(rows, time, lost, np.arange(len(rows)) % FOLDS, months, grid.events(time, lost))

    def best(self, forms: Sequence[_Form]) -> _Form:
        """Return the form that is clearly better than the best one before it."""
        best, reached = forms[0], self.held_out(forms[0])
        for form in forms[1:]:
            found = self.held_out(form)
            gain = found - reached
            if gain.sum() > max(CLEAR_Z * gain.std() * math.sqrt(len(gain)), CLEAR_GAIN):
                best, reached = form, found
        return best

    def held_out(self, form: _Form) -> Array:
        """Return the log-likelihood (m,) of each patient's censoring, fitted to other folds.

        Within a stratum the hazard is constant in each bin of time, and drawn by one censoring to
        that of all strata together.
        """
        form, found = form.take(self.rows), np.empty(len(self.rows))
        for k in range(FOLDS):
            inside = self.fold != k
            stratum, ratio = form.placed(self.time, self.lost, inside)
            months, marks = ratio[:, None] * self.months, self.marks
            own = stratum[inside, None] == np.arange(stratum.max() + 1)
            seen, at_risk = own.T @ marks[inside], own.T @ months[inside]
            common = (seen.sum(axis=0) + 0.5) / (at_risk.sum(axis=0) + 1e-9)
            rate = ((seen + 1) / (at_risk + 1 / common))[stratum[~inside]]
            happened = marks[~inside] * np.log(ratio[~inside, None] * rate)
            found[~inside] = (happened - months[~inside] * rate).sum(axis=1)
        return found


def _first_events(time: Array, event: Bools) -> Array:
    """Return times (n,) at which those with an event leave just before those censored then."""
    return np.where(event, np.nextafter(time, 0), time)


def _reach(weights: GroupedCensoring, stratum: Ints) -> float:
    """Return the month, to three digits, to which ``MOST`` of each stratum reach ``FOLLOWED``."""
    short = np.zeros(len(weights.times), dtype=bool)
    for s in np.unique(stratum):
        size = np.bincount(weights.group[stratum == s], minlength=len(weights.survival))
        short |= size @ (weights.survival[:, 1:] >= FOLLOWED) < MOST * size.sum()
    return round_off(float(weights.times[short.argmax()]), up=False) if short.any() else math.inf
