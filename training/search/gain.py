"""The expected gain of a trial's settings over the defaults, on fresh patients.

The best of many trials is the best in part by chance. A trial's observed gain g, with standard
error s, is therefore shrunk: gains of other settings vary around 0 with a standard deviation t
(`scores.OBJECTIVES`), so that the gain on fresh patients has the mean g t² / (t² + s²) and the
variance t² s² / (t² + s²), whichever of the trials is looked at (Efron, "Tweedie's formula and
selection bias", J Am Stat Assoc 2011). s is that of a grouped jackknife of the paired difference
over patients. The best few trials are scored again, on other folds; how far the two observed gains
of a trial differ is the part of the error that other folds make.

The interval is of the gain that would be seen in as many fresh patients: beside the uncertainty of
the gain it has the sampling error of these patients.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from optuna import Study
from optuna.trial import FrozenTrial
from scipy.special import ndtr

from accomplice.data.arrays import Array
from accomplice.training.search.scores import OBJECTIVES, OPTIMISED
from accomplice.training.search.study import SCORES, completed, of_defaults

#: Best trials that are scored on other folds.
FINALISTS = 3
#: Chance of a gain from which on the defaults are left.
LEAVES = 0.7
#: Normal quantile of the ends of an 80 % interval.
Q80 = 1.2815515655446004
#: Prefix of the study's attribute with a trial's scores on other folds; the number follows.
OTHER_FOLDS = "other_folds:"


class Gain(NamedTuple):
    """Gain over the defaults on fresh patients, in the unit of the score."""

    mean: float
    sd: float
    """Standard deviation of what is known of the gain."""
    sampling: float = 0.0
    """Standard error of the gain seen in as many fresh patients."""

    @property
    def interval(self) -> tuple[float, float]:
        """Ends of the 80 % interval of the gain seen in as many fresh patients."""
        reach = Q80 * math.hypot(self.sd, self.sampling)
        return self.mean - reach, self.mean + reach

    @property
    def chance(self) -> float:
        """Probability that the gain is above 0."""
        return float(ndtr(self.mean / self.sd)) if self.sd > 0 else float(self.mean > 0)


#: Gain of the defaults over themselves.
NONE = Gain(0.0, 0.0)


def difference(
    score: str, defaults: Sequence[Array], others: Sequence[Array]
) -> tuple[float, float]:
    """Return the observed gain and its jackknife standard error.

    Both are averaged over the sets of folds on which the two were scored.

    Args:
        score: name of the score.
        defaults: on each set of folds, the score of the defaults on all patients, then without each
            of g groups (1 + g,).
        others: the same of the other settings.

    Returns:
        The gain, and √((g − 1) / g · Σ (d − mean of d)²) over its values d without each group; the
        error is infinite with fewer than two groups.
    """
    objective = OBJECTIVES[score]
    pairs = zip(defaults, others, strict=True)
    found = np.mean([objective.gain(a, b) for a, b in pairs], axis=0)
    without = found[1:]
    if len(without) < 2:
        return float(found[0]), math.inf
    spread = float(((without - without.mean()) ** 2).sum())
    return float(found[0]), math.sqrt((len(without) - 1) / len(without) * spread)


def shrunk(observed: float, error: float, scale: float, sampling: float = 0.0) -> Gain:
    """Return the gain on fresh patients.

    Args:
        observed: observed gain g.
        error: its standard error s.
        scale: prior standard deviation t.
        sampling: part of the error that is due to the patients.
    """
    if not (math.isfinite(observed) and math.isfinite(error)):
        return Gain(0.0, scale, sampling)
    total = scale**2 + error**2
    if total == 0.0:
        return NONE
    return Gain(observed * scale**2 / total, scale * error / math.sqrt(total), sampling)


def ranked(study: Study, objective: str) -> list[tuple[FrozenTrial, Gain]]:
    """Return the completed trials with their gains, that of the highest mean first.

    Among equal gains the first trial comes first. Of several scores, those trials alone are
    returned whose other scores are within a standard error of the best.

    Args:
        study: the study.
        objective: objective of its settings.
    """
    trials, first = completed(study), of_defaults(study)
    if first is None:
        return []
    deciding, *others = OPTIMISED[objective]
    for score in others:
        trials = _near_the_best(trials, score)
    base = _scores(first, deciding)
    scale = OBJECTIVES[deciding].scale(float(base[0]))
    found = []
    for trial in trials:
        observed, error = difference(deciding, [base], [_scores(trial, deciding)])
        gain = NONE if trial.number == first.number else shrunk(observed, error, scale)
        found.append((trial, gain))
    return sorted(found, key=lambda each: (-each[1].mean, each[0].number))


def _near_the_best(trials: list[FrozenTrial], score: str) -> list[FrozenTrial]:
    """Return the trials whose score is within a standard error of the best of them."""
    better = OBJECTIVES[score].gain
    known = [t for t in trials if not np.isnan(_scores(t, score)[0])]
    if not known:
        return trials
    best = known[0]
    for trial in known[1:]:
        if better(_scores(best, score)[:1], _scores(trial, score)[:1])[0] > 0:
            best = trial
    kept = []
    for trial in known:
        lost, error = difference(score, [_scores(trial, score)], [_scores(best, score)])
        if lost <= error:
            kept.append(trial)
    return kept


class Choice(NamedTuple):
    """The settings that a search ends with."""

    trial: FrozenTrial
    """Their trial; that of the defaults where nothing is gained for certain enough."""
    gain: Gain
    """Their gain over the defaults; 0 for the defaults."""
    runner_up: Gain | None
    """Gain of the best other settings, where the defaults are kept; None if none was tried."""
    defaults: float
    """Score of the defaults that decides."""


def choose(study: Study, objective: str) -> Choice | None:
    """Return the choice among the trials that were scored on other folds; None without defaults.

    Where none was, for want of time, the best by the search's folds is taken, with twice the
    variance.
    """
    first = of_defaults(study)
    if first is None:
        return None
    candidates = [(t, g) for t, g in ranked(study, objective) if t.number != first.number]
    again = other_folds(study)
    deciding = OPTIMISED[objective][0]
    base = _scores(first, deciding)
    of_first = float(base[0])
    scale = OBJECTIVES[deciding].scale(of_first)
    if first.number in again:
        base_again = again[first.number]
        scored = [(t, again[t.number]) for t, _ in candidates if t.number in again]
        pairs = [
            (t, difference(deciding, [base, base_again], [_scores(t, deciding), other]), other)
            for t, other in scored
        ]
        apart = [
            OBJECTIVES[deciding].gain(base, _scores(t, deciding))[0]
            - OBJECTIVES[deciding].gain(base_again, other)[0]
            for t, _, other in pairs
        ]
        # Half the difference is the error of the mean of two.
        by_folds = float(np.mean(np.square(apart))) / 4 if apart else 0.0
        made = [
            (t, shrunk(g, math.hypot(s, math.sqrt(by_folds)), scale, s)) for t, (g, s), _ in pairs
        ]
    else:
        made = []
        for trial, _ in candidates[:1]:
            g, s = difference(deciding, [base], [_scores(trial, deciding)])
            made.append((trial, shrunk(g, s * math.sqrt(2), scale, s)))
    if not made:
        return Choice(first, NONE, None, of_first)
    best, gain = max(made, key=lambda each: (each[1].mean, -each[0].number))
    if gain.mean > 0 and gain.chance >= LEAVES:
        return Choice(best, gain, None, of_first)
    return Choice(first, NONE, gain, of_first)


def finalists(study: Study, objective: str) -> list[FrozenTrial]:
    """Return the best trials that seem to gain, at most ``FINALISTS``, after the defaults.

    Empty if none seems to gain.
    """
    first = of_defaults(study)
    best = [t for t, gain in ranked(study, objective) if gain.mean > 0][:FINALISTS]
    return [] if first is None or not best else [first, *best]


def keep_other_folds(study: Study, trial: FrozenTrial, scores: Sequence[float]) -> None:
    """Keep a trial's deciding score on other folds in the study."""
    study.set_user_attr(f"{OTHER_FOLDS}{trial.number}", list(scores))


def other_folds(study: Study) -> dict[int, Array]:
    """Return trial -> its deciding score on other folds."""
    noted: Mapping[str, list[float]] = study.user_attrs
    return {
        int(key.removeprefix(OTHER_FOLDS)): np.array(value, dtype=float)
        for key, value in noted.items()
        if key.startswith(OTHER_FOLDS)
    }


def best_score(study: Study, objective: str) -> str:
    """Return in words the scores of the defaults and of the best other trial, after a semicolon.

    Args:
        study: the study; the text is empty if its defaults were not judged.
        objective: objective of its settings.
    """
    first = of_defaults(study)
    if first is None:
        return ""
    deciding = OPTIMISED[objective][0]
    text = f"; {OBJECTIVES[deciding].label} of the defaults {_scores(first, deciding)[0]:.4f}"
    others = [t for t, _ in ranked(study, objective) if t.number != first.number]
    if others:
        text += f", of the best other (trial {others[0].number}) "
        text += f"{_scores(others[0], deciding)[0]:.4f}"
    return text


def sentence(choice: Choice, objective: str) -> str:
    """Return in words what is expected of the settings that a search ends with.

    Args:
        choice: the choice.
        objective: objective of the settings.
    """
    deciding = OPTIMISED[objective][0]
    label = OBJECTIVES[deciding].label
    gain = choice.gain if choice.runner_up is None else choice.runner_up

    def share(value: float) -> str:
        return f"{100 * value / abs(choice.defaults):.1f}"

    ends = " to ".join(share(end) for end in gain.interval)
    text = f"{share(gain.mean)} % of the defaults' {label} "
    text += f"(80 % interval in as many patients {ends} %)"
    if choice.gain.mean > 0:
        return f"expected gain on fresh patients over the defaults: {text}"
    if choice.runner_up is None:
        return "the defaults are kept: no other settings scored better"
    return f"the defaults are kept: of the best other settings no gain is probable, {text}"


def _scores(trial: FrozenTrial, score: str) -> Array:
    return np.array(trial.user_attrs[SCORES][score], dtype=float)
