"""Overlap of a cohort with the patients that a model was trained on, tested without their data.

A sketch of the training cohort holds hashes of its patients' features: no identifier and no outcome
is in a hash. There are up to two ways to recognise a patient, each by features whose joint values
differ between nearly all patients: one by features of the study's first modality, which most
cohorts have, and one by the others. A way's hashes are marks in a table so small that a stranger, a
patient who is not in the training cohort, matches marks in all ways with probability
``STRANGERS``. So a match is hardly evidence about one person, but more matches than strangers would
have show that the cohorts overlap (set membership with allowed errors: Bloom, "Space/time
trade-offs in hash coding with allowable errors", Commun ACM 1970).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from scipy.stats import binom

from accomplice.data.arrays import Bools, Ints
from accomplice.data.cohort import Cohort
from accomplice.training.evaluation.record import Finding

#: Name of the sentinel.
SENTINEL = "shared_patients"
#: Question that the sentinel answers.
QUESTION = "Were these patients among those the model was trained on?"

#: Fraction of the strangers who match by chance in all ways at once.
STRANGERS = 0.3
#: Maximum number of features in a way.
FEATURES = 6
#: Fraction of the patients who share all values of a way with another one, at which no further
#: feature is added to it.
DISTINCT = 0.02
#: This fraction with all features of a way, above which the way is left out.
ALIKE = 0.3
#: Significance level of all tests together that there are more matches than by chance; half of it
#: is that of the test of all ways at once.
LEVEL = 0.02


def sketch(cohort: Cohort) -> dict[str, Any]:
    """Return a cohort's sketch as plain data, without any identifier, outcome or value.

    Returns:
        ``cohort`` (name of the study), ``patients`` (their number), and ``ways``, a list of
        ``features`` (their names), ``alike`` (fraction of the patients who share all values with
        another one), ``places`` (size of the table) and ``marks`` (the table's bits, as hex
        digits).
    """
    chosen: list[tuple[list[str], float]] = []
    rest = list(cohort.study.features)
    first = next(iter(cohort.study.blocks.values()))
    for candidates in ([rest[j] for j in first], rest):
        taken = [name for names, _ in chosen for name in names]
        names, alike = _distinctive(cohort, [n for n in candidates if n not in taken])
        if alike <= ALIKE:
            chosen.append((names, alike))
    each = STRANGERS ** (1 / max(len(chosen), 1))
    ways = []
    for names, alike in chosen:
        found, known = _hashes(cohort, names)
        # Of p places, d patients mark 1 − (1 − 1/p)ᵈ ≈ 1 − exp(−d / p).
        places = max(2, round(len({*found[known].tolist()}) / -math.log1p(-each)))
        marks = np.zeros(places, dtype=bool)
        marks[found[known] % places] = True
        packed = np.packbits(marks).tobytes().hex()
        ways.append({"features": names, "alike": alike, "places": places, "marks": packed})
    return {"cohort": cohort.study.name, "patients": len(cohort), "ways": ways}


def shared(trained: Mapping[str, Any] | None, cohort: Cohort) -> Finding:
    """Test whether patients of a cohort are in a :func:`sketch`; rows may be in another order.

    Each way is tested, and all at once: the number of patients who match against a binomial
    distribution at the strangers' rate. With m of the places marked and a part c of the patients
    with values of another, this is c + (1 − c) m, where c is the larger of both cohorts'.

    Args:
        trained: sketch of the cohort that a model was trained on; None if there is none.
        cohort: cohort that is compared with the sketch.

    Returns:
        The finding: ``fired`` if the cohorts overlap, ``clear`` if that is not shown, ``not run``
        without a sketch, or if the cohort has no features by which it recognises patients.
    """
    if trained is None:
        return _finding(
            "not run",
            "Unknown: the sketch of the training patients stays with the run that trained the "
            "model, and the store in use has no such run.",
        )
    features = set(cohort.study.features)
    common = [way for way in trained["ways"] if features.issuperset(way["features"])]
    if not common:
        return _finding(
            "not run",
            "The cohorts share no features by which patients of "
            f"{trained['cohort']} could be recognised.",
        )
    matches = [_matches(way, cohort) for way in common]
    tests = [(matches, LEVEL if len(matches) == 1 else LEVEL / 2)]
    if len(matches) > 1:
        tests += [([each], LEVEL / 2 / len(matches)) for each in matches]
    found = 0
    for group, level in tests:
        known = np.logical_and.reduce([known for _, known, _ in group])
        hit = np.logical_and.reduce([hit for hit, _, _ in group])[known]
        rate = math.prod(rate for *_, rate in group)
        if binom.sf(hit.sum() - 1, len(hit), rate) < level:
            # Matching strangers are subtracted; patients with missing values are added.
            part = (hit.mean() - rate) / (1 - rate)
            found = max(found, 1, round(part * len(cohort)))
    if not found:
        return _finding(
            "clear",
            f"No more of the {len(cohort)} patients are like one of {trained['cohort']} "
            "than chance allows.",
        )
    return _finding(
        "fired",
        f"About {found} of the {len(cohort)} patients were among the {trained['patients']} of "
        f"{trained['cohort']} that the model was trained on, by their features: it has seen their "
        f"outcome. Leave them out. (Of 100 other cohorts, at most {100 * LEVEL:.0f} look so.)",
    )


def _finding(status: Literal["clear", "fired", "not run"], text: str) -> Finding:
    """Return a finding of this sentinel."""
    return Finding(sentinel=SENTINEL, question=QUESTION, status=status, text=text)


def _matches(way: Mapping[str, Any], cohort: Cohort) -> tuple[Bools, Bools, float]:
    """Return whether each patient (n,) matches and has all values, and the rate among strangers."""
    found, known = _hashes(cohort, way["features"])
    packed = np.frombuffer(bytes.fromhex(way["marks"]), dtype=np.uint8)
    marks: Bools = np.unpackbits(packed)[: way["places"]].astype(bool)
    alike = max(float(way["alike"]), _shared_fraction(found[known]))
    return marks[found % len(marks)], known, alike + (1 - alike) * float(marks.mean())


def _hashes(cohort: Cohort, names: Sequence[str]) -> tuple[Ints, Bools]:
    """Return each patient's hash (n,) of some features, and whether all their values are known."""
    rows = list(zip(*(_texts(cohort, name) for name in names), strict=True))
    known = np.array([all(row) for row in rows])
    # One bit less than 64, so that the hash is a positive number.
    found = [
        int.from_bytes(hashlib.blake2b("\0".join(row).encode(), digest_size=8).digest()) >> 1
        for row in rows
    ]
    return np.array(found, dtype=np.int64), known


def _texts(cohort: Cohort, name: str) -> list[str]:
    """Return a feature's values (n,) as text, independent of case and codes; missing ones empty."""
    feature = cohort.study.features[name]
    values = cohort.values[:, list(cohort.study.features).index(name)]
    if feature.levels is not None:
        levels = feature.levels
        return ["" if np.isnan(v) else levels[int(v)].lower() for v in values]
    return ["" if np.isnan(v) else f"{v:.4g}" for v in values]


def _shared_fraction(found: Ints) -> float:
    """Return the fraction of hashes (n,) that occur more than once; 1 if there are none."""
    _, counts = np.unique(found, return_counts=True)
    return 1 - float((counts == 1).sum()) / len(found) if len(found) else 1.0


def _distinctive(cohort: Cohort, candidates: Iterable[str]) -> tuple[list[str], float]:
    """Return up to ``FEATURES`` features to recognise patients by, and a fraction of the patients.

    The fraction is that of the patients who share all values with another one. The features are
    those with the highest entropy (many distinct values, few missing), as many as are needed for
    this fraction to be at most ``DISTINCT``.
    """
    entropy = {}
    for name in candidates:
        texts = np.array(_texts(cohort, name))
        _, count = np.unique(texts[texts != ""], return_counts=True)
        part = count / len(texts)
        entropy[name] = float(-(part * np.log2(part)).sum()) if len(count) else 0.0
    names: list[str] = []
    alike = 1.0
    for name in sorted(entropy, key=lambda name: -entropy[name])[:FEATURES]:
        if alike > DISTINCT:
            names.append(name)
            found, known = _hashes(cohort, names)
            alike = _shared_fraction(found[known])
    return names, round(alike, 4)
