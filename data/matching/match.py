"""Match a model's features to those of another cohort, which has other names and levels.

A match that the caller names is taken; a treatment is matched by its label. Any other feature is
looked for by its name, by its column, and then by the panels: the same gene under an alias, the
same ordered code, the same quantity, the same labels. The first of these rules that finds exactly
one feature that agrees in kind, unit and levels decides. Where several agree, the feature is left
missing and the candidates are listed for the caller to choose from.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from accomplice.data.arrays import Array
from accomplice.data.cohort import Patients
from accomplice.data.errors import InputError, nearest, some
from accomplice.data.matching.equality import Key, matching_rules, same_levels, why_not
from accomplice.data.matching.scales import outside
from accomplice.data.panels.panel import Panel, load_panel
from accomplice.data.preprocessing.preprocessor import Preprocessor
from accomplice.data.rows.treatment import treated
from accomplice.data.study import Study
from accomplice.data.study_parts import Feature

#: Share of a feature's known values outside the training range above which it does not match,
#: unless the caller named it.
OTHER_SCALE = 0.5
#: Evidence of a match that the caller named.
NAMED = "named by --map"
#: The argument that names matches.
MAP = "--map (in Python features)"
#: Evidence of a match of the two studies' treatments.
AS_TREATMENT = "the study's treatment"


@dataclass(frozen=True)
class Match:
    """One of the model's features, and the cohort's feature that is the same."""

    feature: str
    """Name of the model's feature."""
    source: str | None
    """Name of the cohort's feature; None where it is missing."""
    how: str
    """Evidence that the two are the same; or the reason why the feature is missing."""
    levels: Mapping[str, str] = field(default_factory=dict)
    """Level of the cohort's feature -> level of the model's."""
    candidates: tuple[str, ...] = ()
    """The cohort's features that may be a missing feature, where none is certain."""
    known: float = 0.0
    """Share of the patients with a value that the model can use."""
    unknown: float = 0.0
    """Share of the patients with a level that the model does not know, which counts as missing."""
    outside: float = 0.0
    """Share of the patients with a number outside the training range, to which it is clipped."""


@dataclass(frozen=True, eq=False)
class Matching:
    """The matches of all of a model's features, and a cohort's patients coded for the model."""

    matches: tuple[Match, ...]
    """One a feature of the model, in its order."""
    values: Array
    """(n, p) coded features of the model's study; NaN is missing."""
    absent_modalities: tuple[str, ...]
    """The model's modalities of which no feature was found."""
    unused: tuple[str, ...]
    """The cohort's features that the model does not use."""

    @property
    def found(self) -> tuple[Match, ...]:
        """The matches of features that were found."""
        return tuple(m for m in self.matches if m.source is not None)

    @property
    def missing(self) -> tuple[Match, ...]:
        """The matches of features that were not found."""
        return tuple(m for m in self.matches if m.source is None)

    @property
    def doubtful(self) -> tuple[Match, ...]:
        """The matches of missing features that have candidates."""
        return tuple(m for m in self.missing if m.candidates)


def match_patients(
    model: Study,
    preprocessor: Preprocessor,
    patients: Patients,
    named: Mapping[str, str] | None = None,
) -> Matching:
    """Find the model's features among those of other patients, and code the patients by them.

    Args:
        model: study that the model was trained on.
        preprocessor: preprocessor of one of the model's folds, with the training ranges.
        patients: n patients of another study.
        named: model's feature -> the other study's feature, as the caller decides.

    Raises:
        InputError: as :func:`match_features`.
    """
    found = match_features(model, patients.study, named)
    blind = list(model.prognostic_features)
    values = translate(found, model, patients)
    far = np.zeros(values.shape, dtype=bool)
    far[:, blind] = outside(preprocessor, values[:, blind])
    known_values = ~np.isnan(values)
    shares = far.sum(axis=0) / np.maximum(known_values.sum(axis=0), 1)
    with_value = _with_value(found, patients)
    done = []
    for j, match in enumerate(found):
        if match.source is None:
            done.append(match)
        elif shares[j] > OTHER_SCALE and match.how != NAMED:
            values[:, j] = np.nan
            why = f"{shares[j]:.0%} of its values lie outside the model's range: another unit?"
            done.append(replace(match, source=None, how=why, candidates=(match.source,)))
        else:
            known = float(known_values[:, j].mean())
            lost = with_value[j] - known
            done.append(replace(match, known=known, unknown=lost, outside=float(far[:, j].mean())))
    used = {match.source for match in done}
    have = {m.feature for m in done if m.source is not None}
    names = list(model.features)
    absent = [m for m, block in model.blocks.items() if not have & {names[j] for j in block}]
    unused = tuple(name for name in patients.study.features if name not in used)
    return Matching(tuple(done), values, tuple(absent), unused)


def match_features(
    model: Study, other: Study, named: Mapping[str, str] | None = None
) -> tuple[Match, ...]:
    """Find each of a model's features in another study; see the module.

    Args:
        model: study that the model was trained on.
        other: study in which its features are looked for.
        named: model's feature -> the other study's feature, as the caller decides.

    Returns:
        One match for each of the model's features, in its order.

    Raises:
        InputError: a name in ``named`` is unknown, two features named together cannot be the same,
            or no feature but the treatment was found.
    """
    panel, ours, theirs = load_panel(), model.features, other.features
    found = _named(model, other, named or {}, panel)
    missing: dict[str, Match] = {}
    of_treatment = _treatments(model, other)
    if of_treatment is not None and of_treatment.feature not in found:
        (missing if of_treatment.source is None else found)[of_treatment.feature] = of_treatment
    for how, key_for in matching_rules(panel):
        taken = {match.source for match in found.values()}
        open_ours = [n for n in ours if n not in found and _open(missing.get(n), model)]
        groups = _by_key(((n, ours[n]) for n in open_ours), key_for)
        others = _by_key(((n, f) for n, f in theirs.items() if n not in taken), key_for)
        for key in groups.keys() & others.keys():
            for match in _pair(groups[key], others[key], model, other, how, panel):
                if match.source is None:
                    missing.setdefault(match.feature, match)
                else:
                    found[match.feature] = match
    if not any(name != model.treatment_feature for name in found):
        first = next(iter(ours))
        raise InputError(
            f"study '{other.name}' has none of the model's features, for instance "
            f"'{first}'{nearest(first, theirs)}: name them with --map {first}=… "
            f"(in Python features={{'{first}': …}})"
        )
    nothing = "no such feature there"
    return tuple(
        found.get(name) or missing.get(name) or Match(name, None, nothing) for name in ours
    )


def translate(found: Iterable[Match], model: Study, patients: Patients) -> Array:
    """Return n patients coded by the p features of the model's study: (n, p), NaN where missing.

    Args:
        found: one match for each of the model's features, in its order.
        model: study that the model was trained on.
        patients: n patients of another study.

    Raises:
        ValueError: the number of matches is not that of the features.
    """
    names = list(patients.study.features)
    values = np.full((len(patients), len(model.features)), np.nan)
    for j, (match, feature) in enumerate(zip(found, model.features.values(), strict=True)):
        if match.source is None:
            continue
        if match.how == AS_TREATMENT:
            values[:, j] = _as_treated(model, feature, patients)
            continue
        column = patients.values[:, names.index(match.source)]
        if feature.levels is None:
            values[:, j] = column
            continue
        theirs = patients.study.features[match.source].levels or ()
        for place, level in enumerate(theirs):
            if level in match.levels:
                values[column == place, j] = feature.levels.index(match.levels[level])
    return values


def _by_key(features: Iterable[tuple[str, Feature]], key_for: Key) -> dict[Hashable, list[str]]:
    """Return key -> names of the features that have it."""
    groups: dict[Hashable, list[str]] = defaultdict(list)
    for name, feature in features:
        key = key_for(name, feature)
        if key is not None:
            groups[key].append(name)
    return groups


def _pair(
    ours: Iterable[str], theirs: Iterable[str], model: Study, other: Study, how: str, panel: Panel
) -> list[Match]:
    """Return a match for each feature of ``ours``, found or missing; all features have one key."""
    reasons = {
        (one, their): why_not((one, model.features[one]), (their, other.features[their]), panel)
        for one in ours
        for their in theirs
    }
    able = {one: [t for t in theirs if not reasons[one, t]] for one in ours}
    wanted = [t for candidates in able.values() for t in candidates]
    made = []
    for one, candidates in able.items():
        if not candidates:
            why = next(reasons[one, their] for their in theirs)
            made.append(Match(one, None, why))
        elif len(candidates) > 1 or wanted.count(candidates[0]) > 1:
            rivals = [o for o in able if o != one and set(able[o]) & set(candidates)]
            why = f"{how} as {some(candidates)}"
            if rivals:
                why += f", and so has {some(rivals)}"
            made.append(Match(one, None, f"not certain: {why}", candidates=tuple(candidates)))
        else:
            made.append(_made(one, candidates[0], model, other, how, panel))
    return made


def _made(one: str, their: str, model: Study, other: Study, how: str, panel: Panel) -> Match:
    """Return the match of the model's feature ``one`` with the other study's ``their``."""
    pair = (one, model.features[one]), (their, other.features[their])
    return Match(one, their, how, same_levels(*pair, panel) if pair[0][1].levels else {})


def _named(model: Study, other: Study, named: Mapping[str, str], panel: Panel) -> dict[str, Match]:
    """Return the model's feature -> the match that the caller named.

    Raises:
        InputError: a feature is unknown, or the two cannot be the same.
    """
    found: dict[str, Match] = {}
    for one, their in named.items():
        if one not in model.features:
            raise InputError(
                f"{MAP}: the model has no feature '{one}'{nearest(one, model.features)}"
            )
        if their not in other.features:
            raise InputError(
                f"{MAP}: study '{other.name}' has no feature '{their}'"
                f"{nearest(their, other.features)}"
            )
        ours, theirs = model.features[one], other.features[their]
        if (ours.levels is None) != (theirs.levels is None) or (
            ours.levels is None and ours.kind != theirs.kind
        ):
            raise InputError(
                f"{MAP}: '{their}' is of kind '{theirs.kind}', '{one}' of kind '{ours.kind}': "
                "change the kind in the study file"
            )
        match = _made(one, their, model, other, NAMED, panel)
        if ours.levels is not None and not match.levels:
            raise InputError(
                f"{MAP}: none of the levels of '{their}' ({some(theirs.levels or ())}) is one of "
                f"'{one}' ({some(ours.levels)}): map them in the study file"
            )
        found[one] = match
    return found


def _treatments(model: Study, other: Study) -> Match | None:
    """Return the match, found or missing, of the model's treatment; None if it has none.

    The two treatments are the same if their labels are equal.
    """
    ours, theirs = model.treatment, other.treatment
    if ours is None:
        return None
    one = model.treatment_feature
    if theirs is None:
        return Match(one, None, "the study names no treatment")
    if ours.label != theirs.label:
        why = f"the treatment there is called '{theirs.label}', in the model '{ours.label}'"
        return Match(one, None, why, candidates=(other.treatment_feature,))
    return Match(one, other.treatment_feature, AS_TREATMENT)


def _as_treated(model: Study, feature: Feature, patients: Patients) -> Array:
    """Return the patients' treatment (n,), coded as the model's feature; NaN where unknown."""
    status, treatment = treated(patients.study, patients.values), model.treatment
    if status is None or treatment is None:
        return np.full(len(patients), np.nan)
    arms = treatment.untreated, treatment.treated
    known = feature.levels
    no, yes = (
        float(arm[0]) if known is None else next(float(known.index(a)) for a in arm if a in known)
        for arm in arms
    )
    return np.where(np.isnan(status), np.nan, np.where(status == 1, yes, no))


def _open(match: Match | None, model: Study) -> bool:
    """Whether further rules may match a feature that no rule so far has found.

    Args:
        match: missing match by an earlier rule; None: no rule met the feature.
        model: the model's study.
    """
    return match is None or not (match.candidates or match.feature == model.treatment_feature)


def _with_value(found: Iterable[Match], patients: Patients) -> list[float]:
    """Return for each match the share of the patients with a value of the cohort's feature."""
    names = list(patients.study.features)
    known = (~np.isnan(patients.values)).mean(axis=0)
    return [0.0 if m.source is None else float(known[names.index(m.source)]) for m in found]
