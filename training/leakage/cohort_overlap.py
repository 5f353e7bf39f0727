"""Overlap of a cohort with the patients a model was trained on, without keeping any patient.

A sketch holds hashes of each patient: of the identifier, of the outcome with a feature, of two
features. They are cut to few enough bits that about one stranger in a thousand matches one of the
sketch's identifiers, and as many match all the others at once: a hit proves nothing of one person,
many hits prove that cohorts overlap (set membership as in Bloom, Commun ACM 1970, with errors on
purpose). The rate of hits among strangers, coincidences of ages and months included, is measured on
the compared cohort itself with its columns permuted among its patients.
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

Hashes = NDArray[np.uint64]

SENTINEL = "shared_patients"
QUESTION = "Were these patients among those the model was trained on?"

#: Part of strangers whose identifier, or whose values, match by chance.
STRANGERS = 1e-3
#: Most hashes kept of each way to recognise a patient: of more, the lowest.
MOST = 5000
#: Number of features in the hashes.
FEATURES = 4
#: Permutations of the columns, and the chance below which hits are no coincidence.
PERMUTATIONS, NO_CHANCE = 10, 1e-4
#: Hits, as a multiple of those by chance, below which no overlap is claimed.
TIMES = 2.0

ID, OUTCOME, PAIR = "id", "outcome", "pair"


def sketch(cohort: Cohort) -> dict[str, Any]:
    """Return a cohort's sketch as plain data, without any identifier or value."""
    names = _telling(cohort)
    ways = [f"{OUTCOME}|{name}" for name in names]
    ways += [f"{PAIR}|{a}|{b}" for a, b in pairwise(names)]
    bits = {way: _bits(len(cohort), STRANGERS ** (1 / len(ways))) for way in ways}
    if _are_names(cohort):
        bits[ID] = _bits(len(cohort), STRANGERS)
    kept: dict[str, dict[str, Any]] = {}
    for way, size in bits.items():
        found, known = _hashes(cohort, way, None)
        lowest = np.unique(_cut(found[known], size))[:MOST]
        kept[way] = {"bits": size, "hashes": lowest.astype(int).tolist()}
    return {"cohort": cohort.study.name, "patients": len(cohort), "ways": kept}


def _bits(patients: int, rate: float) -> int:
    """Bits of a hash at which ``patients`` take a share ``rate`` of all values."""
    return max(1, math.ceil(math.log2(patients / rate)))


def shared(kept: Mapping[str, Any], cohort: Cohort) -> Finding:
    """Test whether patients of a cohort are in a :func:`sketch`; row order does not matter.

    Args:
        kept: sketch of the cohort that a model was trained on.
        cohort: to compare with it.
    """
    ways: Mapping[str, Any] = kept["ways"]
    features = set(cohort.study.features)
    askable = [w for w in ways if w == ID or features.issuperset(w.split("|")[1:])]
    groups = {
        "identifier": [w for w in askable if w == ID and _are_names(cohort)],
        "outcome and features": [w for w in askable if w.startswith(OUTCOME)],
        "features": [w for w in askable if w.startswith(PAIR)],
    }
    asked = {how: group for how, group in groups.items() if group}
    if not asked:
        return _finding(
            "not run",
            "The cohorts share neither identifiers nor features to know patients of "
            f"{kept['cohort']} by.",
        )
    met: dict[str, int] = {}
    for how, group in asked.items():
        hits, patients = _hits(ways, cohort, group, None)
        rng = np.random.default_rng(0)
        permuted = [_hits(ways, cohort, group, rng) for _ in range(PERMUTATIONS)]
        strangers = sum(hit for hit, _ in permuted) / max(sum(of for _, of in permuted), 1)
        least = STRANGERS ** (len(group) / max(len(ways) - 1, 1)) if how != "identifier" else 0
        rate = max(strangers, least, STRANGERS)
        # Values are not independent as when permuted: more than chance alone must be seen.
        unlikely = binom.sf(hits - 1, patients, rate) < NO_CHANCE / len(asked)
        if unlikely and hits >= TIMES * rate * patients:
            # Strangers are among the hits, and not all patients could be compared.
            true = (hits / patients - rate) / (1 - rate)
            met[how] = max(1, round(true * len(cohort)))
    if not met:
        how = " or ".join(asked)
        return _finding(
            "clear",
            f"No more of the {len(cohort)} patients are like one of {kept['cohort']} by {how} "
            "than chance allows.",
        )
    how, hits = max(met.items(), key=lambda item: item[1])
    return _finding(
        "fired",
        f"About {hits} of the {len(cohort)} patients were among the {kept['patients']} of "
        f"{kept['cohort']} that the model was trained on, by {how}: it has seen their outcome. "
        "Leave them out.",
    )


def _finding(status: Literal["clear", "fired", "not run"], text: str) -> Finding:
    return Finding(sentinel=SENTINEL, question=QUESTION, status=status, text=text)


def _hits(
    ways: Mapping[str, Any], cohort: Cohort, group: Sequence[str], rng: np.random.Generator | None
) -> tuple[int, int]:
    """Count the patients that match in each of some ways, and those comparable in all.

    With ``rng`` the columns are permuted first.
    """
    met, asked = np.ones(len(cohort), dtype=bool), np.ones(len(cohort), dtype=bool)
    for way in group:
        found, known = _hashes(cohort, way, rng)
        stored = np.array(ways[way]["hashes"], dtype=np.uint64)
        cut = _cut(found, int(ways[way]["bits"]))
        if len(stored) == MOST:
            known &= cut <= stored[-1]
        asked &= known
        met &= np.isin(cut, stored)
    return int((asked & met).sum()), int(asked.sum())


def _hashes(cohort: Cohort, way: str, rng: np.random.Generator | None) -> tuple[Hashes, Bools]:
    """Hash each patient (n,) in one way; return the hashes, and whether the values are known."""
    kind, *names = way.split("|")
    columns = [_texts(cohort, name) for name in names]
    if kind == ID:
        columns = [[plain_id(each) for each in cohort.ids.tolist()]]
    elif kind == OUTCOME:
        columns.append(_outcomes(cohort))
    if rng is not None:
        columns = [[column[i] for i in rng.permutation(len(column))] for column in columns]
        if kind == ID:
            # Permuted identifiers would match all the same: a stranger's is another one.
            columns = [[f"{each}?" for each in columns[0]]]
    rows = list(zip(*columns, strict=True))
    known = np.array([all(row) for row in rows])
    found = [
        hashlib.blake2b("\0".join([kind, *sorted(names), *row]).encode(), digest_size=8).digest()
        for row in rows
    ]
    return np.frombuffer(b"".join(found), dtype=">u8").astype(np.uint64), known


def _cut(found: Hashes, bits: int) -> Hashes:
    return found >> np.uint64(64 - bits)


def _outcomes(cohort: Cohort) -> list[str]:
    # A tenth of a month: the same follow-up in days, weeks or months.
    return [f"{t:.1f} {int(e)}" for t, e in zip(cohort.time, cohort.event, strict=True)]


def _texts(cohort: Cohort, name: str) -> list[str]:
    """Write a feature's values (n,) as text, so that spellings and codes do not count."""
    feature = cohort.study.features[name]
    values = cohort.values[:, list(cohort.study.features).index(name)]
    if feature.levels is not None:
        levels = feature.levels
        return ["" if np.isnan(v) else levels[int(v)].lower() for v in values]
    return ["" if np.isnan(v) else f"{v:.4g}" for v in values]


def _telling(cohort: Cohort) -> list[str]:
    """The features of most entropy: many distinct values, and few missing."""
    told = {}
    for name in cohort.study.features:
        texts = np.array(_texts(cohort, name))
        _, count = np.unique(texts[texts != ""], return_counts=True)
        part = count / len(texts)
        told[name] = float(-(part * np.log2(part)).sum()) if len(count) else 0.0
    # Features that most cohorts have come first: one of age and stage, not six genes of an assay.
    first = next(iter(cohort.study.blocks.values()))
    names = list(told)
    common = sorted((names[j] for j in first), key=lambda name: -told[name])[: FEATURES // 2]
    rest = sorted((name for name in names if name not in common), key=lambda name: -told[name])
    return [*common, *rest[: FEATURES - len(common)]]


def _are_names(cohort: Cohort) -> bool:
    """Whether identifiers are more than running numbers, which any two cohorts share."""
    if cohort.study.id is None:
        return False
    digits = [re.sub(r"\D", "", each) for each in cohort.ids.tolist()]
    numbers = [int(each) if 0 < len(each) <= 15 else -1 for each in digits]
    spread = max(numbers) - min(numbers) + 1
    return spread > 10 * len(numbers)
