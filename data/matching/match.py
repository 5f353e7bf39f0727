"""Match a model's features to another cohort's, which have their own names and levels.

A feature is searched by its name, its column, and then by the panels: the same gene under an alias,
the same ordered code, the same quantity, the same set of labels. The first of these that finds
exactly one feature of an agreeing kind decides. Where several fit, nothing is guessed: the feature
is left missing, and its candidates are listed, for the caller to choose.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from accomplice.data.arrays import Array
from accomplice.data.coding import treated
from accomplice.data.cohort import Patients
from accomplice.data.errors import InputError, nearest, some
from accomplice.data.matching.equality import Key, keys, same_levels, why_not
from accomplice.data.matching.scales import outside
from accomplice.data.panels.panel import Panel, load_panel
from accomplice.data.preprocessing.preprocessor import Preprocessor
from accomplice.data.study import Study
from accomplice.data.study_parts import Feature

#: Part of the known values outside the model's range, from which on a number does not match.
OTHER_SCALE = 0.5
#: Evidence of a match that the caller named.
NAMED = "named by --map"
#: The argument that names matches.
MAP = "--map (in Python features)"
AS_TREATMENT = "the study's treatment"


@dataclass(frozen=True)
class Match:
    """Where one of the model's features is found."""

    feature: str
    """The model's name for it."""
    source: str | None
    """The cohort's name for it; None where it is missing."""
    how: str
    """Evidence that they are the same; or the reason why it is missing."""
    levels: Mapping[str, str] = field(default_factory=dict)
    """The cohort's level -> the model's, of a levelled feature."""
    candidates: tuple[str, ...] = ()
    """Candidates for a missing feature, where none is certain."""
    known: float = 0.0
    """Part of the patients with a value that the model can use."""
    unknown: float = 0.0
    """Part whose level the model does not know; they count as missing."""
    outside: float = 0.0
    """Part whose number lies outside the training range; clipped to it."""


@dataclass(frozen=True, eq=False)
class Matching:
    """The matches of all of a model's features, and the cohort's patients coded for the model."""

    matches: tuple[Match, ...]
    """One a feature of the model, in its order."""
    values: Array
    """(n, p) coded features of the model's study; NaN is missing."""
    absent_modalities: tuple[str, ...]
    """Modalities of which no feature was found."""
    unused: tuple[str, ...]
    """The cohort's features that the model does not use."""

    @property
    def found(self) -> tuple[Match, ...]:
        """The features that were found."""
        return tuple(m for m in self.matches if m.source is not None)

    @property
    def missing(self) -> tuple[Match, ...]:
        """The features that were not."""
        return tuple(m for m in self.matches if m.source is None)

    @property
    def doubtful(self) -> tuple[Match, ...]:
        """The missing features that have candidates."""
        return tuple(m for m in self.missing if m.candidates)


def match_patients(
    model: Study,
    preprocessor: Preprocessor,
    patients: Patients,
    named: Mapping[str, str] | None = None,
) -> Matching:
    """Find the model's features among those of other patients, and code these by them.

    Args:
        model: study that the model was trained on.
        preprocessor: of one of its fold models, which knows the range of each number.
        patients: of another study.
        named: the model's feature -> the study's, as the caller decides.

    Raises:
        InputError: a name is unknown, two features paired in ``named`` cannot be the same, or no
            feature was found.
    """
    found = match_features(model, patients.study, named)
    blind = list(model.prognostic_features)
    values = translate(found, model, patients)
    far = np.zeros(values.shape, dtype=bool)
    far[:, blind] = outside(preprocessor, values[:, blind])
    seen = ~np.isnan(values)
    shares = far.sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
    known_there = _known_there(found, patients)
    done = []
    for j, match in enumerate(found):
        if match.source is None:
            done.append(match)
        elif shares[j] > OTHER_SCALE and match.how != NAMED:
            values[:, j] = np.nan
            why = f"{shares[j]:.0%} of its values lie outside the model's range: another unit?"
            done.append(replace(match, source=None, how=why, candidates=(match.source,)))
        else:
            known = float(seen[:, j].mean())
            lost = known_there[j] - known
            done.append(replace(match, known=known, unknown=lost, outside=float(far[:, j].mean())))
    used = {match.source for match in done}
    have = {m.feature for m in done if m.source is not None}
    names = list(model.features)
    gone = [m for m, block in model.blocks.items() if not have & {names[j] for j in block}]
    unused = tuple(name for name in patients.study.features if name not in used)
    return Matching(tuple(done), values, tuple(gone), unused)


def match_features(
    model: Study, other: Study, named: Mapping[str, str] | None = None
) -> tuple[Match, ...]:
    """Find each of a model's features in another study; see the module.

    Args:
        model: whose features are looked for, in its order.
        other: in which they are looked for.
        named: the model's feature -> the other study's.

    Raises:
        InputError: a name is unknown, two features so named cannot be the same, or nothing at all
            was found.
    """
    panel, ours, theirs = load_panel(), model.features, other.features
    found = _named(model, other, named or {}, panel)
    missing: dict[str, Match] = {}
    course = _treatments(model, other)
    if course is not None and course.feature not in found:
        (missing if course.source is None else found)[course.feature] = course
    for how, key_for in keys(panel):
        taken = {match.source for match in found.values()}
        open_ours = [n for n in ours if n not in found and _open(missing.get(n), model)]
        groups = _by_key(((n, ours[n]) for n in open_ours), key_for)
        there = _by_key(((n, f) for n, f in theirs.items() if n not in taken), key_for)
        for key in groups.keys() & there.keys():
            for match in _pair(groups[key], there[key], model, other, how, panel):
                if match.source is None:
                    missing.setdefault(match.feature, match)
                else:
                    found[match.feature] = match
    if not any(name != _treatment_of(model) for name in found):
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
    """Code n patients by the p features of the model's study: (n, p), NaN where missing.

    Args:
        found: one match a feature of the model, in the study's order.
        model: study that the model was trained on.
        patients: of another study.

    Raises:
        ValueError: the matches are not as many as the features.
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
    groups: dict[Hashable, list[str]] = defaultdict(list)
    for name, feature in features:
        key = key_for(name, feature)
        if key is not None:
            groups[key].append(name)
    return groups


def _pair(
    ours: Iterable[str], theirs: Iterable[str], model: Study, other: Study, how: str, panel: Panel
) -> list[Match]:
    """Match features of one key: one of ours to one of theirs, or return why not."""
    reasons = {
        (one, there): why_not((one, model.features[one]), (there, other.features[there]), panel)
        for one in ours
        for there in theirs
    }
    able = {one: [t for t in theirs if not reasons[one, t]] for one in ours}
    wanted = [t for each in able.values() for t in each]
    made = []
    for one, candidates in able.items():
        if not candidates:
            why = next(reasons[one, there] for there in theirs)
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


def _made(one: str, there: str, model: Study, other: Study, how: str, panel: Panel) -> Match:
    pair = (one, model.features[one]), (there, other.features[there])
    return Match(one, there, how, same_levels(*pair, panel) if pair[0][1].levels else {})


def _named(model: Study, other: Study, named: Mapping[str, str], panel: Panel) -> dict[str, Match]:
    """Check and take the caller's own matches."""
    found: dict[str, Match] = {}
    for one, there in named.items():
        if one not in model.features:
            raise InputError(
                f"{MAP}: the model has no feature '{one}'{nearest(one, model.features)}"
            )
        if there not in other.features:
            raise InputError(
                f"{MAP}: study '{other.name}' has no feature '{there}'"
                f"{nearest(there, other.features)}"
            )
        ours, theirs = model.features[one], other.features[there]
        if (ours.levels is None) != (theirs.levels is None) or (
            ours.levels is None and ours.kind != theirs.kind
        ):
            raise InputError(
                f"{MAP}: '{there}' is of kind '{theirs.kind}', '{one}' of kind '{ours.kind}': "
                "change the kind in the study file"
            )
        match = _made(one, there, model, other, NAMED, panel)
        if ours.levels is not None and not match.levels:
            raise InputError(
                f"{MAP}: none of the levels of '{there}' ({some(theirs.levels or ())}) is one of "
                f"'{one}' ({some(ours.levels)}): map them in the study file"
            )
        found[one] = match
    return found


def _treatments(model: Study, other: Study) -> Match | None:
    """Match the two studies' treatments by their label."""
    ours, theirs = model.treatment, other.treatment
    if ours is None:
        return None
    one = _treatment_of(model)
    if theirs is None:
        return Match(one, None, "the study names no treatment")
    if ours.label != theirs.label:
        why = f"the treatment there is called '{theirs.label}', in the model '{ours.label}'"
        return Match(one, None, why, candidates=(_treatment_of(other),))
    return Match(one, _treatment_of(other), AS_TREATMENT)


def _treatment_of(study: Study) -> str:
    return "" if study.treatment is None else list(study.features)[study.treatment_position]


def _as_treated(model: Study, feature: Feature, patients: Patients) -> Array:
    """Code the patients' treatment (n,) as the model does."""
    status, course = treated(patients.study, patients.values), model.treatment
    if status is None or course is None:
        return np.full(len(patients), np.nan)
    arms = course.untreated, course.treated
    known = feature.levels
    no, yes = (
        float(arm[0]) if known is None else next(float(known.index(a)) for a in arm if a in known)
        for arm in arms
    )
    return np.where(np.isnan(status), np.nan, np.where(status == 1, yes, no))


def _open(match: Match | None, model: Study) -> bool:
    """Whether a feature is not matched yet."""
    return match is None or not (match.candidates or match.feature == _treatment_of(model))


def _known_there(found: Iterable[Match], patients: Patients) -> list[float]:
    """Part of the patients who have any value of each match's source."""
    names = list(patients.study.features)
    known = (~np.isnan(patients.values)).mean(axis=0)
    return [0.0 if m.source is None else float(known[names.index(m.source)]) for m in found]
