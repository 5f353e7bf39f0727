"""The bundle: the one artefact from fit to endpoint, a folder of JSON and tensors, no pickle."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from data.coding import ABSENT, MISSING, code
from data.errors import InputError, nearest
from data.preprocess import Preprocessor
from data.study import Study, as_level, parse_study
from training.anchor import Anchor
from training.boosting import Boosting
from training.ensemble import Ensemble, FoldModel
from training.forest import Forest
from training.hazard import TimeGrid, survival
from training.net import NetShape, PackedNet
from training.stack import Stack

Array = NDArray[np.float64]

FORMAT = 2
MANIFEST = "manifest.json"
WEIGHTS = "weights.safetensors"
#: What ``flags`` says where there is nothing to say.
OK = "ok"
#: Flag of a patient whose centre's expression scale the model does not know.
UNKNOWN_ASSAY = "unknown_assay"
#: Months asked for where the caller names none, as far as the model reaches.
USUAL_TIMES = (12.0, 36.0, 60.0)
#: Part of the ensemble that lies between ``low`` and ``high``.
INTERVAL = 0.8
#: Relative difference of replayed golden rows that is refused as drift.
DRIFT = 1e-4
#: Names of unknown columns that one row's flags hold at the most.
MOST_UNKNOWN = 5


@dataclass(frozen=True)
class Prediction:
    """What the model says of n patients, before it is laid out as a table or an answer."""

    ids: NDArray[np.str_]
    risk: Array
    """(n,) higher is worse; 0 is the average training patient."""
    survival: Array
    """(n, t) at the times asked for."""
    flags: tuple[tuple[str, ...], ...]
    """What was odd about each patient's values."""
    times: tuple[float, ...]


@dataclass(frozen=True)
class Bundle:
    """A fitted model with all that is needed to use and to judge it."""

    study: Study
    endpoint: str
    ensemble: Ensemble
    risk_centre: float
    """Mean of the training patients' log cumulative hazard, taken off the risk."""
    config: Mapping[str, Any]
    metrics: Mapping[str, Any]
    provenance: Mapping[str, Any]

    @property
    def horizon(self) -> float:
        """Months up to which the model answers."""
        return self.ensemble.grid.horizon

    def predict(self, frame: pd.DataFrame, times: Sequence[float] | None = None) -> pd.DataFrame:
        """Predict for the rows of a table, in their order.

        Args:
            frame: columns by the study's names, in any order; missing ones and missing values
                are allowed and flagged.
            times: months; 12, 36 and 60 as far as the model reaches if absent.

        Returns:
            ``patient_id, risk, survival@T…, flags``; risk is higher = worse.

        Raises:
            InputError: a time is negative, repeated or beyond the model's horizon, or the table
                has none of the model's features.
        """
        found = self.answer(frame, times)
        table: dict[str, Any] = {"patient_id": found.ids, "risk": found.risk}
        for j, time in enumerate(found.times):
            table[f"survival@{time:g}"] = found.survival[:, j]
        table["flags"] = ["; ".join(flags) or OK for flags in found.flags]
        return pd.DataFrame(table)

    def answer(self, frame: pd.DataFrame, times: Sequence[float] | None = None) -> Prediction:
        """Predict as :meth:`predict` does, before it is laid out as a table."""
        asked = self.times(times)
        values, flags = self._read(frame)
        centre = self._centre(frame)
        for i in np.flatnonzero(self.unknown_assay(values, centre)):
            flags[i].append(UNKNOWN_ASSAY)
        risk, curve = self.curves(values, centre, asked)
        return Prediction(self._ids(frame), risk, curve, tuple(map(tuple, flags)), asked)

    def curves(
        self, values: Array, centre: NDArray[np.str_] | None, times: Sequence[float]
    ) -> tuple[Array, Array]:
        """Return risk (n,) and survival (n, t) for coded features (n, p) and centres (n,)."""
        cumulative = self.ensemble.cumulative(values, centre)
        at = self.ensemble.grid.at(cumulative, np.array(times, dtype=float))
        return log_risk(cumulative) - self.risk_centre, survival(at)

    def interval(
        self,
        values: Array,
        centre: NDArray[np.str_] | None,
        times: Sequence[float],
        curve: Array,
    ) -> tuple[Array, Array]:
        """Return the ends (n, t) of the ensemble's interval around ``curve`` (n, t)."""
        each = self.ensemble.replicates(values, centre)
        spread = survival(self.ensemble.grid.at(each, np.array(times, dtype=float)))
        low, high = np.quantile(spread, [(1 - INTERVAL) / 2, (1 + INTERVAL) / 2], axis=0)
        return np.minimum(low, curve), np.maximum(high, curve)

    def unknown_assay(self, values: Array, centre: NDArray[np.str_] | None) -> NDArray[np.bool_]:
        """Say of which patients (n,) expression is ranked on a scale that may not be theirs.

        Training ranked each large centre's expression by itself; another centre's is ranked
        against all patients'.
        """
        scales = [set(fold.preprocessor.reference) - {""} for fold in self.ensemble.folds]
        if not any(scales):
            return np.zeros(len(values), dtype=bool)
        features = self.study.features.values()
        expression = [j for j, f in enumerate(features) if f.kind == "expression"]
        measured = np.asarray(~np.isnan(values[:, expression]).all(axis=1))
        if centre is None:
            return measured
        return measured & ~np.isin(centre, list(set.intersection(*scales)))

    def times(self, times: Sequence[float] | None) -> tuple[float, ...]:
        """Check the months asked for, or choose the usual ones."""
        if times is None or len(times) == 0:
            return tuple(t for t in USUAL_TIMES if t <= self.horizon) or (self.horizon,)
        for time in times:
            if not math.isfinite(time) or time < 0:
                raise InputError("times: every time must be a number of months, 0 or more")
            if time > self.horizon:
                raise InputError(
                    f"times: {time:g} months is beyond the model's horizon of {self.horizon:g}: "
                    "ask for earlier times"
                )
        if len({f"{t:g}" for t in times}) < len(times):
            raise InputError("times: a time is asked for twice")
        return tuple(float(t) for t in times)

    def _ids(self, frame: pd.DataFrame) -> NDArray[np.str_]:
        numbered = np.arange(1, len(frame) + 1).astype(str)
        if self.study.id is None or self.study.id not in frame.columns:
            return numbered
        cells = frame[self.study.id]
        # A row without an id is answered too, under its number.
        return np.array(
            [
                number if pd.isna(c) or as_level(c).lower() in MISSING else as_level(c)
                for c, number in zip(cells, numbered, strict=True)
            ]
        )

    def _centre(self, frame: pd.DataFrame) -> NDArray[np.str_] | None:
        name = self.study.centre
        if name is None or name not in frame.columns:
            return None
        return np.array(["" if pd.isna(c) else as_level(c) for c in frame[name]], dtype=str)

    def _read(self, frame: pd.DataFrame) -> tuple[Array, list[list[str]]]:
        """Code the features and say of each row what was odd."""
        study, n = self.study, len(frame)
        coded = code(study, frame)
        absent = {f.feature for f in coded.findings if f.kind == ABSENT}
        if len(absent) == len(study.features):
            first = next(iter(study.features))
            raise InputError(
                "no column is one of the model's features, for instance "
                f"'{first}'{nearest(first, map(str, frame.columns))}"
            )
        flags: list[list[str]] = [[] for _ in range(n)]

        def add(rows: NDArray[np.bool_], flag: str) -> None:
            for i in np.flatnonzero(rows):
                flags[i].append(flag)

        unknown = np.isnan(coded.values)
        names = list(study.features)
        for modality, block in study.blocks.items():
            whole = np.asarray(unknown[:, block].all(axis=1))
            add(whole, f"missing_modality:{modality}")
            for j in block if len(block) > 1 else ():
                add(unknown[:, j] & ~whole, f"missing:{names[j]}")
        for finding in coded.findings:
            if finding.kind != ABSENT:
                add(finding.rows, f"{finding.kind}:{finding.feature}")
        known = set(study.columns())
        extra = [str(c) for c in frame.columns if str(c) not in known]
        everyone = np.ones(n, dtype=bool)
        for name in extra[:MOST_UNKNOWN]:
            add(everyone, f"unknown_column:{name}")
        if len(extra) > MOST_UNKNOWN:
            add(everyone, f"unknown_columns:{len(extra) - MOST_UNKNOWN} more")
        return coded.values, flags

    def save(self, path: Path) -> None:
        """Write the folder; it appears whole or not at all.

        Raises:
            InputError: something other than a bundle is already there.
        """
        check_place(path)
        files = {"study.json": _json(self.study.describe()), **self._files()}
        manifest = {
            "format": FORMAT,
            "study": self.study.name,
            "synthetic": self.study.synthetic,
            "files": {name: hashlib.sha256(raw).hexdigest() for name, raw in sorted(files.items())},
        }
        manifest["digest"] = _digest(manifest)
        files[MANIFEST] = _json(manifest)
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.parent / f".{path.name}.part"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir()
        for name, raw in files.items():
            (fresh / name).write_bytes(raw)
        # The old bundle goes only when the new one is in its place.
        aside = path.parent / f".{path.name}.old"
        shutil.rmtree(aside, ignore_errors=True)
        if path.exists():
            path.rename(aside)
        fresh.rename(path)
        shutil.rmtree(aside, ignore_errors=True)

    def _files(self) -> dict[str, bytes]:
        ensemble = self.ensemble
        model = {
            "endpoint": self.endpoint,
            "risk_centre": self.risk_centre,
            "config": self.config,
            "grid": ensemble.grid.edges.tolist(),
            "stack": ensemble.stack.to_json(),
            "net": ensemble.net.shape.to_json(),
            "folds": [
                {
                    "grid": fold.grid.edges.tolist(),
                    "anchor": fold.anchor.to_json(),
                    "forest": {"trees": fold.forest.trees.count},
                    "boosting": {
                        "members": fold.boosting.members,
                        "trees": fold.boosting.trees.count,
                    },
                }
                for fold in ensemble.folds
            ],
        }
        weights: dict[str, NDArray[Any]] = {
            f"net/{name}": p.detach().numpy() for name, p in ensemble.net.named_parameters()
        }
        for k, fold in enumerate(ensemble.folds):
            for learner, arrays in (("forest", fold.forest), ("boosting", fold.boosting)):
                weights |= {f"{learner}/{k}/{a}": v for a, v in arrays.arrays().items()}
        return {
            "model.json": _json(model),
            "preprocessing.json": _json([f.preprocessor.to_json() for f in ensemble.folds]),
            "metrics.json": _json(dict(self.metrics)),
            "provenance.json": _json(dict(self.provenance)),
            "golden.json": _json(self._golden()),
            WEIGHTS: save_tensors({k: np.ascontiguousarray(v) for k, v in weights.items()}),
        }

    def _golden(self, rows: int = 8) -> dict[str, Any]:
        """Made-up patients and what the model says of them; no patient's values."""
        fold = self.ensemble.folds[0].preprocessor
        values = fold.sample(rows, np.random.default_rng(0))
        expected = self.ensemble.cumulative(values)
        written = [[None if math.isnan(v) else v for v in row] for row in values.tolist()]
        return {"values": written, "cumulative": expected.tolist()}

    @classmethod
    def load(cls, path: Path) -> Bundle:
        """Read a bundle, check every byte of it, and replay its golden rows.

        Raises:
            InputError: there is no bundle, a file was changed, or the model answers differently
                from when it was made.
        """
        files = _read_checked(Path(path))
        raw = {name: json.loads(text) for name, text in files.items() if name.endswith(".json")}
        study = parse_study(raw["study.json"], f"{path}/study.json")
        model = raw["model.json"]
        net = PackedNet(NetShape.from_json(model["net"]))
        weights = load_tensors(files[WEIGHTS])

        def part(prefix: str) -> dict[str, NDArray[Any]]:
            return {k.removeprefix(prefix): a for k, a in weights.items() if k.startswith(prefix)}

        net.load_arrays(part("net/"))
        folds = tuple(
            FoldModel(
                Preprocessor.from_json(study, prepared),
                TimeGrid(np.array(fold["grid"])),
                Anchor.from_json(fold["anchor"]),
                Forest.from_arrays(arrays=part(f"forest/{k}/"), **fold["forest"]),
                Boosting.from_arrays(arrays=part(f"boosting/{k}/"), **fold["boosting"]),
            )
            for k, (fold, prepared) in enumerate(
                zip(model["folds"], raw["preprocessing.json"], strict=True)
            )
        )
        grid = TimeGrid(np.array(model["grid"]))
        bundle = cls(
            study=study,
            endpoint=model["endpoint"],
            ensemble=Ensemble(folds, net, grid, Stack.from_json(model["stack"])),
            risk_centre=model["risk_centre"],
            config=model["config"],
            metrics=raw["metrics.json"],
            provenance=raw["provenance.json"],
        )
        golden = raw["golden.json"]
        replayed = bundle.ensemble.cumulative(np.array(golden["values"], dtype=float))
        if not np.allclose(replayed, np.array(golden["cumulative"]), rtol=DRIFT, atol=DRIFT):
            raise InputError(
                f"{path}: the model answers its own test rows differently from when it was made: "
                "install the versions named in its provenance.json"
            )
        return bundle


def log_risk(cumulative: Array) -> Array:
    """Risk score (n,): logarithm of the mean cumulative hazard over the grid's edges (n, j + 1).

    For proportional hazards this is the linear predictor up to a constant; in general it is the
    ensemble mortality of Ishwaran et al., Ann Appl Stat 2008, on a log scale.
    """
    return np.asarray(np.log(np.maximum(cumulative[:, 1:].mean(axis=1), 1e-300)))


def check_place(path: Path) -> None:
    """Refuse to write a bundle over anything but a bundle.

    Raises:
        InputError: the path exists and is neither an empty folder nor a bundle.
    """
    blocked = next((p for p in path.absolute().parents if p.is_file()), None)
    if blocked is not None:
        raise InputError(f"{path}: {blocked} is a file: name another folder")
    if path.is_symlink():
        raise InputError(f"{path}: is a link: name the folder it leads to")
    if not path.exists() or (path / MANIFEST).is_file():
        return
    if not path.is_dir() or any(path.iterdir()):
        raise InputError(f"{path}: exists and is not a bundle: name another folder")


def digest_of(path: Path) -> str:
    """Return the sha256 that names a bundle's whole content."""
    return str(json.loads(_read_checked(path)[MANIFEST])["digest"])


def _read_checked(path: Path) -> dict[str, bytes]:
    if not (path / MANIFEST).is_file():
        raise InputError(f"{path}: no bundle there (a bundle is a folder with a {MANIFEST})")
    changed = InputError(
        f"{path}: the bundle was changed after it was made: fetch or train it anew"
    )
    text = (path / MANIFEST).read_bytes()
    try:
        manifest = json.loads(text)
        listed = dict(manifest["files"])
        stated = manifest.pop("digest")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise changed from None
    # Written the same way again, it must be the same bytes: a changed blank counts too.
    if stated != _digest(manifest) or text != _json(manifest | {"digest": stated}):
        raise changed
    if manifest["format"] != FORMAT:
        raise InputError(
            f"{path}: bundle format {manifest['format']}, this version reads {FORMAT}: retrain it"
        )
    files = {MANIFEST: text}
    for name, sha in listed.items():
        if not (path / name).is_file():
            raise InputError(f"{path}: the bundle lacks its file {name}: fetch it anew")
        files[name] = (path / name).read_bytes()
        if hashlib.sha256(files[name]).hexdigest() != sha:
            raise changed
    return files


def _json(data: Any) -> bytes:
    return (json.dumps(data, indent=1, allow_nan=False) + "\n").encode()


def _digest(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
