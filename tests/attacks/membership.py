"""The attack of those who hold a bundle: was this patient among those it was trained on?

The attacker knows of each person the features, the number in the records and the hospital, and of
half of the persons whether they took part, which is more than anybody would. The guess about the
others is that of a classifier of all that a bundle says of a person.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.numpy import load as load_tensors
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from accomplice.data.cohort import Cohort
from accomplice.training.bundle import Bundle
from accomplice.training.leakage.duplicates import plain_id

#: Hashes that a record's number might be kept by.
HASHES = ("md5", "sha1", "sha256", "sha512", "blake2b", "blake2s")


def signals(bundle: Bundle, folder: Path, cohort: Cohort, frame: pd.DataFrame) -> np.ndarray:
    """All that a bundle says of persons (n, s) whose features and number are known."""
    model = bundle.primary
    told = bundle.predict(frame)
    flags = told.pop("flags").str.count("[:;]")
    numbers = told.select_dtypes("number").fillna(-1).to_numpy()
    numbers = numbers[:, ~np.isnan(numbers).any(axis=0)]
    blind = cohort.values[:, list(bundle.study.prognostic_features)]
    _, alone = model.ensemble.by_fold(blind, cohort.centre)
    middle = alone[:, :, alone.shape[2] // 2]
    spread = np.column_stack([np.sort(middle, axis=0).T, middle.std(axis=0)])
    text, stored = contents(folder)
    values = cohort.values
    met = np.column_stack([np.isin(column, stored) for column in values.T])
    near = np.column_stack([_distance(column, stored) for column in values.T])
    recorded = [_recorded(identifier, text) for identifier in cohort.ids.tolist()]
    return np.column_stack([numbers, flags, spread, met.sum(axis=1), met, near, recorded])


def likelihoods(bundle: Bundle, cohort: Cohort) -> np.ndarray:
    """The log-likelihood (n, k + 2) of persons' outcomes by the model and by each of its folds."""
    model = bundle.primary
    blind = cohort.values[:, list(bundle.study.prognostic_features)]
    whole, alone = model.ensemble.by_fold(blind, cohort.centre)
    grid = model.ensemble.grid
    time = np.clip(cohort.time, 0, grid.horizon)
    event = cohort.event & (cohort.time <= grid.horizon)
    bins = np.clip(np.searchsorted(grid.edges, time) - 1, 0, len(grid.edges) - 2)
    found = []
    for curve in (whole, *alone):
        rows = np.arange(len(time))
        start, end = curve[rows, bins], curve[rows, bins + 1]
        width = grid.edges[bins + 1] - grid.edges[bins]
        at = start + (end - start) * (time - grid.edges[bins]) / width
        hazard = np.log(np.maximum((end - start) / width, 1e-9))
        found.append(np.where(event, hazard, 0.0) - at)
    return np.column_stack([*found, np.sort(np.array(found[1:]), axis=0).T])


def gain(signals: np.ndarray, members: np.ndarray, seed: int = 0) -> float:
    """The share of right guesses above guessing, of the better of two classifiers."""
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    kept = signals[:, signals.std(axis=0) > 0]
    linear = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    trees = ExtraTreesClassifier(100, min_samples_leaf=5, random_state=seed)
    right = [
        float((cross_val_predict(each, kept, members, cv=folds) == members).mean())
        for each in (linear, trees)
    ]
    return max(right) - 0.5


def contents(folder: Path) -> tuple[str, np.ndarray]:
    """All text of a bundle's files, and all numbers in them, sorted."""
    text, numbers = "", []
    for file in sorted(folder.iterdir()):
        if file.suffix == ".json":
            text += file.read_text(encoding="utf-8")
            numbers += _numbers(json.loads(file.read_bytes()))
        else:
            tensors = load_tensors(file.read_bytes()).values()
            numbers += [v for t in tensors if t.dtype.kind in "fiu" for v in t.ravel().tolist()]
    return text, np.unique(np.array(numbers, dtype=float))


def _numbers(value: object) -> Iterator[float]:
    if isinstance(value, dict):
        for each in value.values():
            yield from _numbers(each)
    elif isinstance(value, list):
        for each in value:
            yield from _numbers(each)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield float(value)


def _distance(column: np.ndarray, stored: np.ndarray) -> np.ndarray:
    """The distance of values to the nearest number in the bundle, relative to their spread."""
    known = np.nan_to_num(column, nan=0.0)
    place = np.clip(np.searchsorted(stored, known), 1, len(stored) - 1)
    gap = np.minimum(np.abs(known - stored[place - 1]), np.abs(stored[place] - known))
    return gap / (known.std() + 1e-9)


def _recorded(identifier: str, text: str) -> int:
    """How many forms of a record's number stand in a text: itself, and leading parts of hashes."""
    found = len(re.findall(rf"(?<![\w.]){re.escape(identifier)}(?![\w.])", text))
    for form in {identifier, plain_id(identifier)}:
        for name in HASHES:
            digest = hashlib.new(name, form.encode()).hexdigest()
            found += digest[:12] in text or str(int(digest[:16], 16)) in text
    return found
