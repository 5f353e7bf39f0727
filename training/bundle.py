"""The bundle: the one artefact from fit to endpoint, a folder of JSON and tensors, no pickle."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from data.coding import ABSENT, MISSING, code, eligible, treated
from data.errors import InputError, nearest
from data.preprocess import Preprocessor
from data.study import Study, as_level, parse_study
from training.anchor import Anchor
from training.benefit import Benefit, abstain, advise, benefit, benefit_horizon, under
from training.boosting import Boosting
from training.effect import Effect
from training.ensemble import Ensemble, FoldModel
from training.forest import Forest
from training.hazard import TimeGrid, log_risk, survival
from training.manifest import read_folder, to_json, write_folder
from training.net import NetShape, PackedNet
from training.response import ResponseModel
from training.stack import Stack

Array = NDArray[np.float64]

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
class Answer:
    """What the model says of n patients, before it is laid out as a table or as JSON."""

    risk: Array
    """(n,) higher is worse; 0 is the average training patient."""
    survival: Array
    """(n, t) at the times asked for, under the treatment that the patient has."""
    benefit: Benefit | None
    """Of the treatment, where the study has one."""
    advice: NDArray[np.str_] | None
    """(n,) what the benefit speaks for, or why the model abstains."""
    responses: Mapping[str, Array]
    """Binary endpoint -> probability (n,) of a positive label; NaN where there is no model."""

    def columns(self, horizon: float) -> dict[str, Array | NDArray[np.str_]]:
        """Return all but risk and survival by the names that ``predict`` gives them."""
        found: dict[str, Array | NDArray[np.str_]] = {}
        if self.benefit is not None and self.advice is not None:
            names = ("benefit", "benefit_low", "benefit_high", "rmst_gain")
            found |= {f"{name}@{horizon:g}": self.benefit[i] for i, name in enumerate(names)}
            found |= {"p_benefit": self.benefit.p_benefit, "advice": self.advice}
        return found | {f"response.{name}": each for name, each in self.responses.items()}


@dataclass(frozen=True)
class Bundle:
    """A fitted model with all that is needed to use and to judge it."""

    study: Study
    endpoint: str
    ensemble: Ensemble
    """Learners that do not see the treatment."""
    effect: Effect | None
    """What the treatment changes, where it was asked for and could be estimated."""
    no_effect: str
    """Why there is none."""
    distrust: str
    """Why no advice can rest on the effect, if so."""
    responses: Mapping[str, ResponseModel]
    """By binary endpoint; one with too few labels has none."""
    risk_centre: float
    """Mean of the training patients' log cumulative hazard, taken off the risk."""
    config: Mapping[str, Any]
    metrics: Mapping[str, Any]
    provenance: Mapping[str, Any]

    @property
    def horizon(self) -> float:
        """Months up to which the model answers."""
        return self.ensemble.grid.horizon

    def predict(
        self,
        frame: pd.DataFrame,
        times: Sequence[float] | None = None,
        rates: Mapping[str, float] | None = None,
    ) -> pd.DataFrame:
        """Predict for the rows of a table, in their order.

        Args:
            frame: columns by the study's names, in any order; missing ones and missing values
                are allowed and flagged.
            times: months; 12, 36 and 60 as far as the model reaches if absent.
            rates: binary endpoint -> rate of positives where the model is used; the study's own
                ``local_rate`` if absent.

        Returns:
            ``patient_id, risk, survival@T…, flags``; risk is higher = worse. Where the study has a
            treatment, before the flags: ``benefit@H, benefit_low@H, benefit_high@H`` (survival at
            the horizon H with the treatment minus without, and its 80 % interval), ``rmst_gain@H``
            (months), ``p_benefit`` (chance of a gain above 3 points) and ``advice``; for each
            binary endpoint ``response.NAME``, the probability of a positive label.

        Raises:
            InputError: a time is negative, repeated or beyond the model's horizon, a rate is not
                between 0 and 1 or of no binary endpoint, or the table has none of the model's
                features.
        """
        asked, at_rates = self.times(times), self.rates(rates)
        values, flags = self._read(frame)
        centre = self._centre(frame)
        for i in np.flatnonzero(self.unknown_assay(values, centre)):
            flags[i].append(UNKNOWN_ASSAY)
        found = self.answer(values, centre, asked, at_rates)
        table: dict[str, Any] = {"patient_id": self._ids(frame), "risk": found.risk}
        for j, time in enumerate(asked):
            table[f"survival@{time:g}"] = found.survival[:, j]
        table |= found.columns(self.benefit_horizon)
        table["flags"] = ["; ".join(own) or OK for own in flags]
        return pd.DataFrame(table)

    @property
    def benefit_horizon(self) -> float:
        """Months at which the treatment's benefit is given."""
        return benefit_horizon(self.study, self.endpoint, self.horizon)

    def answer(
        self,
        values: Array,
        centre: NDArray[np.str_] | None,
        times: Sequence[float],
        rates: Mapping[str, float] | None = None,
    ) -> Answer:
        """Answer for coded features (n, p), the treatment among them, and centres (n,)."""
        grid, treatment = self.ensemble.grid, self.study.treatment
        at_rates = self.rates(rates)
        blind = self.ensemble.cumulative(self._blind(values), centre)
        cumulative, found, advice = blind, None, None
        if treatment is not None and self.effect is None:
            found, advice = abstain(len(values), self.no_effect)
        status = treated(self.study, values)
        if treatment is not None and self.effect is not None and status is not None:
            own = self.effect.of(self._blind(values), centre)
            cumulative = under(blind, own, status)
            found = benefit(blind, grid, self.benefit_horizon, own)
            option = eligible(self.study, values)
            advice = advise(found, own, option, treatment, self.distrust)
        responses = {
            name: self.responses[name].probability(self._blind(values), centre, at_rates.get(name))
            if name in self.responses
            else np.full(len(values), np.nan)
            for name in self.study.endpoints.binary
        }
        return Answer(
            risk=log_risk(cumulative) - self.risk_centre,
            survival=survival(grid.at(cumulative, np.array(times, dtype=float))),
            benefit=found,
            advice=advice,
            responses=responses,
        )

    def _blind(self, values: Array) -> Array:
        """Coded features (n, p) without the treatment."""
        return values[:, list(self.study.prognostic_features)]

    def interval(
        self,
        values: Array,
        centre: NDArray[np.str_] | None,
        times: Sequence[float],
        curve: Array,
    ) -> tuple[Array, Array]:
        """Return the ends (n, t) of the ensemble's interval around ``curve`` (n, t)."""
        each = self.ensemble.replicates(self._blind(values), centre)
        status = treated(self.study, values)
        if self.effect is not None and status is not None:
            own = self.effect.of(self._blind(values), centre)
            each = np.stack([under(one, own, status) for one in each])
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

    def rates(self, rates: Mapping[str, float] | None) -> dict[str, float]:
        """Check the local rates asked for, beside those of the study file."""
        known = self.study.endpoints.binary
        found = {name: e.local_rate for name, e in known.items() if e.local_rate is not None}
        for name, rate in (rates or {}).items():
            if name not in known:
                raise InputError(f"no binary endpoint '{name}'{nearest(name, known)}")
            if not 0 < rate < 1:
                raise InputError(f"rate of '{name}': must lie between 0 and 1")
            found[name] = float(rate)
        return found

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
        write_folder(
            path, self.study, {"study.json": to_json(self.study.describe()), **self._files()}
        )

    def _files(self) -> dict[str, bytes]:
        ensemble = self.ensemble
        model = {
            "endpoint": self.endpoint,
            "risk_centre": self.risk_centre,
            "config": self.config,
            "grid": ensemble.grid.edges.tolist(),
            "stack": ensemble.stack.to_json(),
            "net": ensemble.net.shape.to_json(),
            "effect": None if self.effect is None else self.effect.to_json(),
            "no_effect": self.no_effect,
            "distrust": self.distrust,
            "responses": {name: model.to_json() for name, model in self.responses.items()},
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
            "model.json": to_json(model),
            "preprocessing.json": to_json([f.preprocessor.to_json() for f in ensemble.folds]),
            "metrics.json": to_json(dict(self.metrics)),
            "provenance.json": to_json(dict(self.provenance)),
            "golden.json": to_json(self._golden()),
            WEIGHTS: save_tensors({k: np.ascontiguousarray(v) for k, v in weights.items()}),
        }

    def _golden(self, rows: int = 8) -> dict[str, Any]:
        """Made-up patients and what the model says of them; no patient's values."""
        fold = self.ensemble.folds[0].preprocessor
        values = fold.sample(rows, np.random.default_rng(0))
        written = [[None if math.isnan(v) else v for v in row] for row in values.tolist()]
        return {"values": written, "expected": self._replay(values).tolist()}

    def _replay(self, values: Array) -> Array:
        """What the model makes of features (n, p) without the treatment: curve, then effect."""
        parts = [self.ensemble.cumulative(values)]
        if self.effect is not None:
            parts.append(np.stack(self.effect.of(values), axis=1))
        parts += [model.log_odds(values)[:, None] for model in self.responses.values()]
        return np.concatenate(parts, axis=1)

    @classmethod
    def load(cls, path: Path) -> Bundle:
        """Read a bundle, check every byte of it, and replay its golden rows.

        Raises:
            InputError: there is no bundle, a file was changed, or the model answers differently
                from when it was made.
        """
        files = read_folder(Path(path))
        raw = {name: json.loads(text) for name, text in files.items() if name.endswith(".json")}
        study = parse_study(raw["study.json"], f"{path}/study.json")
        model, blind = raw["model.json"], study.prognostic()
        net = PackedNet(NetShape.from_json(model["net"]))
        weights = load_tensors(files[WEIGHTS])

        def part(prefix: str) -> dict[str, NDArray[Any]]:
            return {k.removeprefix(prefix): a for k, a in weights.items() if k.startswith(prefix)}

        net.load_arrays(part("net/"))
        folds = tuple(
            FoldModel(
                Preprocessor.from_json(blind, prepared),
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
            effect=None if model["effect"] is None else Effect.from_json(blind, model["effect"]),
            no_effect=model["no_effect"],
            distrust=model["distrust"],
            responses={
                name: ResponseModel.from_json(blind, made)
                for name, made in model["responses"].items()
            },
            risk_centre=model["risk_centre"],
            config=model["config"],
            metrics=raw["metrics.json"],
            provenance=raw["provenance.json"],
        )
        golden = raw["golden.json"]
        replayed = bundle._replay(np.array(golden["values"], dtype=float))
        if not np.allclose(replayed, np.array(golden["expected"]), rtol=DRIFT, atol=DRIFT):
            raise InputError(
                f"{path}: the model answers its own test rows differently from when it was made: "
                "install the versions named in its provenance.json"
            )
        return bundle
