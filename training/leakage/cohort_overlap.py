"""Overlap of a cohort with the patients that a model was trained on, tested without their data.

A sketch of the training cohort holds hashes of its patients: of the identifier (a way called
``id``), of the outcome and one feature (``outcome``), and of two features (``pair``). A stranger is
a patient who is not in the training cohort. Hashes are truncated so that at most one stranger in a
thousand matches some identifier, and at most one in all the other ways at once. So a match
proves nothing about one person, but many matches prove that the cohorts overlap (set membership
with allowed errors: Bloom, "Space/time trade-offs in hash coding with allowable errors", Commun ACM
1970). The rate of matches among strangers is measured on the compared cohort with its columns
permuted among the patients.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from accomplice.data.arrays import Bools
from accomplice.data.cohort import Cohort
from accomplice.training.evaluation.record import Finding
from accomplice.training.leakage.duplicates import plain_id

#: Hashes (n,) of 64 bits, or their leading bits.
Hashes = NDArray[np.uint64]

#: Name of the sentinel.
SENTINEL = "shared_patients"
#: Question that the sentinel answers.
QUESTION = "Were these patients among those the model was trained on?"

#: Part of the strangers whose identifier, or whose values, match by chance.
STRANGERS = 1e-3
#: Maximum of hashes kept for each way to recognise a patient; of more, the lowest are kept.
MOST = 5000
#: Maximum of features in the hashes.
FEATURES = 4
#: Number of permutations of the columns.
PERMUTATIONS = 10
#: Significance level of the test that there are more matches than by chance.
LEVEL = 1e-4
#: Ratio of matches to those expected by chance, below which no overlap is reported.
RATIO = 2.0

#: Way that hashes the identifier.
ID = "id"
#: Way that hashes the outcome and one feature.
OUTCOME = "outcome"
#: Way that hashes two features.
PAIR = "pair"


def sketch(cohort: Cohort) -> dict[str, Any]:
    """Return a cohort's sketch as plain data, without any identifier or value.

    Returns:
        ``cohort`` (name of the study), ``patients`` (their number), and ``ways``: way -> ``bits``
        (length of a hash) and ``hashes`` (rising).
    """
    names = _informative(cohort)
    ways = [f"{OUTCOME}|{name}" for name in names]
    ways += [f"{PAIR}|{a}|{b}" for a, b in pairwise(names)]
    bits = {way: _bits(len(cohort), STRANGERS ** (1 / len(ways))) for way in ways}
    if _identify_patients(cohort):
        bits[ID] = _bits(len(cohort), STRANGERS)
    stored: dict[str, dict[str, Any]] = {}
    for way, size in bits.items():
        found, known = _hashes(cohort, way, None)
        lowest = np.unique(_cut(found[known], size))[:MOST]
        stored[way] = {"bits": size, "hashes": lowest.astype(int).tolist()}
    return {"cohort": cohort.study.name, "patients": len(cohort), "ways": stored}


def _bits(patients: int, rate: float) -> int:
    """Return the fewest bits of a hash by which a stranger matches one of n patients at ``rate``.

    Hashes of b bits have 2ᵇ values, of which the patients have at most n: b = ⌈log₂(n / rate)⌉, at
    least 1, makes the chance of a match at most ``rate``.
    """
    return max(1, math.ceil(math.log2(patients / rate)))


def shared(trained: Mapping[str, Any], cohort: Cohort) -> Finding:
    """Test whether patients of a cohort are in a :func:`sketch`; rows may be in another order.

    There are up to three tests: by the identifier, by all ways with the outcome at once, and by all
    pairs of features at once. In each, the number of patients who match is tested against a
    binomial distribution, whose rate is that of the permuted cohort, or a lower bound if that is
    higher.

    Args:
        trained: sketch of the cohort that a model was trained on.
        cohort: cohort that is compared with the sketch.

    Returns:
        The finding: ``fired`` if the cohorts overlap, ``clear`` if that is not shown, ``not run``
        if the cohort has neither identifiers nor features by which the sketch recognises patients.
    """
    ways: Mapping[str, Any] = trained["ways"]
    features = set(cohort.study.features)
    common = [w for w in ways if w == ID or features.issuperset(w.split("|")[1:])]
    groups = {
        "identifier": [w for w in common if w == ID and _identify_patients(cohort)],
        "outcome and features": [w for w in common if w.startswith(OUTCOME)],
        "features": [w for w in common if w.startswith(PAIR)],
    }
    compared = {how: group for how, group in groups.items() if group}
    if not compared:
        return _finding(
            "not run",
            "The cohorts share neither identifiers nor features by which patients of "
            f"{trained['cohort']} could be recognised.",
        )
    overlap: dict[str, int] = {}
    for how, group in compared.items():
        hits, patients = _hits(ways, cohort, group, None)
        rng = np.random.default_rng(0)
        permuted = [_hits(ways, cohort, group, rng) for _ in range(PERMUTATIONS)]
        strangers = sum(hit for hit, _ in permuted) / max(sum(n for _, n in permuted), 1)
        least = STRANGERS ** (len(group) / max(len(ways) - 1, 1)) if how != "identifier" else 0
        rate = max(strangers, least, STRANGERS)
        # Permuted values are independent, true ones are not: a ratio is required beside the test.
        unlikely = binom.sf(hits - 1, patients, rate) < LEVEL / len(compared)
        if unlikely and hits >= RATIO * rate * patients:
            # Matching strangers are subtracted; patients who were not comparable are added.
            true = (hits / patients - rate) / (1 - rate)
            overlap[how] = max(1, round(true * len(cohort)))
    if not overlap:
        how = " or ".join(compared)
        return _finding(
            "clear",
            f"No more of the {len(cohort)} patients are like one of {trained['cohort']} by {how} "
            "than chance allows.",
        )
    how, hits = max(overlap.items(), key=lambda item: item[1])
    return _finding(
        "fired",
        f"About {hits} of the {len(cohort)} patients were among the {trained['patients']} of "
        f"{trained['cohort']} that the model was trained on, by {how}: it has seen their "
        "outcome. Leave them out.",
    )


def _finding(status: Literal["clear", "fired", "not run"], text: str) -> Finding:
    """Return a finding of this sentinel."""
    return Finding(sentinel=SENTINEL, question=QUESTION, status=status, text=text)


def _hits(
    ways: Mapping[str, Any], cohort: Cohort, group: Sequence[str], rng: np.random.Generator | None
) -> tuple[int, int]:
    """Return the number of patients who match in all of some ways, and of those comparable in all.

    With ``rng`` the columns are permuted first.
    """
    matched, comparable = np.ones(len(cohort), dtype=bool), np.ones(len(cohort), dtype=bool)
    for way in group:
        found, known = _hashes(cohort, way, rng)
        stored = np.array(ways[way]["hashes"], dtype=np.uint64)
        cut = _cut(found, int(ways[way]["bits"]))
        if len(stored) == MOST:
            known &= cut <= stored[-1]
        comparable &= known
        matched &= np.isin(cut, stored)
    return int((comparable & matched).sum()), int(comparable.sum())


def _hashes(cohort: Cohort, way: str, rng: np.random.Generator | None) -> tuple[Hashes, Bools]:
    """Return each patient's hash (n,) in one way, and whether the hashed values are known (n,)."""
    kind, *names = way.split("|")
    columns = [_texts(cohort, name) for name in names]
    if kind == ID:
        columns = [[plain_id(identifier) for identifier in cohort.ids.tolist()]]
    elif kind == OUTCOME:
        columns.append(_outcomes(cohort))
    if rng is not None:
        columns = [[column[i] for i in rng.permutation(len(column))] for column in columns]
        if kind == ID:
            # Permuted identifiers would still match: a stranger's is made by a change of the text.
            columns = [[f"{identifier}?" for identifier in columns[0]]]
    rows = list(zip(*columns, strict=True))
    known = np.array([all(row) for row in rows])
    found = [
        hashlib.blake2b("\0".join([kind, *sorted(names), *row]).encode(), digest_size=8).digest()
        for row in rows
    ]
    return np.frombuffer(b"".join(found), dtype=">u8").astype(np.uint64), known


def _cut(found: Hashes, bits: int) -> Hashes:
    """Return the leading bits of hashes (n,)."""
    return found >> np.uint64(64 - bits)


def _outcomes(cohort: Cohort) -> list[str]:
    """Return each patient's outcome (n,) as text."""
    # To a tenth of a month, so that follow-up recorded in days, weeks or months agrees.
    return [f"{t:.1f} {int(e)}" for t, e in zip(cohort.time, cohort.event, strict=True)]


def _texts(cohort: Cohort, name: str) -> list[str]:
    """Return a feature's values (n,) as text, independent of case and codes; missing ones empty."""
    feature = cohort.study.features[name]
    values = cohort.values[:, list(cohort.study.features).index(name)]
    if feature.levels is not None:
        levels = feature.levels
        return ["" if np.isnan(v) else levels[int(v)].lower() for v in values]
    return ["" if np.isnan(v) else f"{v:.4g}" for v in values]


def _informative(cohort: Cohort) -> list[str]:
    """Return up to ``FEATURES`` features with high entropy: many distinct values, few missing.

    Half of them, if there are so many, are the best of the study's first modality, which most
    cohorts have; the others are the best of all that are left.
    """
    entropy = {}
    for name in cohort.study.features:
        texts = np.array(_texts(cohort, name))
        _, count = np.unique(texts[texts != ""], return_counts=True)
        part = count / len(texts)
        entropy[name] = float(-(part * np.log2(part)).sum()) if len(count) else 0.0
    first = next(iter(cohort.study.blocks.values()))
    names = list(entropy)
    common = sorted((names[j] for j in first), key=lambda name: -entropy[name])[: FEATURES // 2]
    rest = sorted((name for name in names if name not in common), key=lambda name: -entropy[name])
    return [*common, *rest[: FEATURES - len(common)]]


def _identify_patients(cohort: Cohort) -> bool:
    """Whether identifiers are more than running numbers, which are the same in any two cohorts.

    The numbers made of their digits must span more than ten times the number of patients. So it is
    False if no identifier has digits, and without a column of identifiers.
    """
    if cohort.study.id is None:
        return False
    digits = [re.sub(r"\D", "", identifier) for identifier in cohort.ids.tolist()]
    numbers = [int(text) if 0 < len(text) <= 15 else -1 for text in digits]
    spread = max(numbers) - min(numbers) + 1
    return spread > 10 * len(numbers)
