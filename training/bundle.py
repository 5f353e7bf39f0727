"""The bundle: fitted models as a folder of JSON and tensors, without pickle."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from accomplice.data.arrays import Array
from accomplice.data.coding import ABSENT, Flagger, code
from accomplice.data.errors import InputError, expect, nearest, some
from accomplice.data.preprocessing.preprocessor import Preprocessor
from accomplice.data.preprocessing.training_range import TrainingRange
from accomplice.data.rows.identifiers import new_patient_ids, read_centre
from accomplice.data.study import Study, parse_study
from accomplice.training.models.answer import Answer
from accomplice.training.models.golden_rows import Replayable, golden, replays
from accomplice.training.models.manifest import (
    MANIFEST,
    SKETCH,
    WEIGHTS,
    Content,
    read_folder,
    readable,
    to_json,
    write_folder,
)
from accomplice.training.models.response import ResponseModel
from accomplice.training.models.shapley import attribute
from accomplice.training.models.survival import SurvivalModel, below
from accomplice.training.progress import Tick, silent

#: Text of the column ``flags`` for a patient without a flag.
OK = "ok"
#: Separator of one patient's flags.
SEPARATOR = "; "
#: Flag of an endpoint predicted at months beyond all training patients' follow-up.
BEYOND = "beyond_follow_up"
#: Default times of survival (months) up to the model's horizon; if all are later, the horizon.
USUAL_TIMES = (12.0, 36.0, 60.0)
#: Maximum number of unknown columns that a patient's flags name.
MOST_UNKNOWN = 5


@dataclass(frozen=True, repr=False)
class Bundle:
    """Fitted models, with their study, metrics and provenance."""

    study: Study
    survival: Mapping[str, SurvivalModel]
    """Survival endpoint -> model, the primary one first; none where events are too few."""
    responses: Mapping[str, ResponseModel]
    """Binary endpoint -> model; none where labels are too few."""
    config: Mapping[str, Any]
    """Settings of the run by dotted key, as :func:`config.flat` returns them."""
    metrics: Mapping[str, Any]
    """Evaluation as plain data, by section."""
    provenance: Mapping[str, Any]
    """Cohort, versions and commit of the fit."""

    def __repr__(self) -> str:
        endpoints = ", ".join((*self.survival, *self.responses))
        return f"<Bundle of study '{self.study.name}': {endpoints}>"

    @property
    def primary(self) -> SurvivalModel | None:
        """Model of the primary survival endpoint; None where there is no survival model."""
        return next(iter(self.survival.values()), None)

    @property
    def target(self) -> str:
        """Name of the first endpoint: a survival endpoint if one has a model, else a binary one."""
        return next(iter((*self.survival, *self.responses)))

    @property
    def horizon(self) -> float | None:
        """Months up to which the primary model predicts; None where there is no survival model."""
        return None if self.primary is None else self.primary.horizon

    def predict(
        self,
        frame: pd.DataFrame,
        times: Sequence[float] | float | None = None,
        rates: Mapping[str, float] | None = None,
        *,
        first: int = 1,
    ) -> pd.DataFrame:
        """Predict for the rows of a table, in their order.

        Args:
            frame: table with the columns of the study, in any order; missing columns and missing
                values are allowed and flagged.
            times: months of survival; by default :data:`USUAL_TIMES`, up to the model's horizon.
            rates: binary endpoint -> rate of positives where the model is used; by default the
                study's ``local_rate``.
            first: number of the first row; a patient without an id gets the row's number as id.

        Returns:
            Columns ``patient_id, risk, survival@T, survival_low@T, survival_high@T…, flags``; a
            higher risk (log-hazard) is worse; the ends of the 80 % interval are absent where the
            model has none. Before the flags: with a treatment, ``benefit@H, benefit_low@H,
            benefit_high@H`` (survival at month H, the model's ``benefit_horizon``, with it minus
            without, and its 80 % interval), ``rmst_gain@H`` (months), ``p_benefit`` (chance of a
            gain above 3 points) and ``advice``; for each further survival endpoint the same with
            the prefix ``NAME.``, at times within its own horizon; for each binary endpoint
            ``response.NAME``, the probability of a positive label; for each survival endpoint,
            ``rmst@H, rmst_low@H, rmst_high@H`` (restricted mean survival to H and its interval if
            there is one, months), ``risk_group`` (low, middle, high: third of the training
            patients' risks) and ``risk_centile`` (percent of the training patients at lower risk).
            Without survival, ``patient_id, response.NAME…, flags``.

        Raises:
            InputError: as :meth:`times` and :meth:`rates`; the table has no feature of the model,
                two columns of one name, or lists as identifiers or hospitals.
        """
        asked, at_rates = self.times(times), self.rates(rates)
        values, flags = self._read(frame)
        centre = self.training_range.known_centre(read_centre(self.study, frame))
        self.training_range.flag(flags, values, centre)
        self.flag_times(flags, asked)
        table: dict[str, Any] = {"patient_id": new_patient_ids(self.study, frame, first)}
        table |= self.answer(values, centre, at_rates).columns(asked)
        table["flags"] = [SEPARATOR.join(own) or OK for own in flags]
        return pd.DataFrame(table)

    def explain(self, frame: pd.DataFrame, tick: Tick = silent, *, first: int = 1) -> pd.DataFrame:
        """Attribute the risks of a table's rows to the features (Shapley values).

        Args:
            frame: table of patients, as in :meth:`predict`.
            tick: progress callback.
            first: number of the first row, as in :meth:`predict`.

        Returns:
            Columns ``patient_id, risk, base, feature.NAME…, modality.NAME…``: the primary
            endpoint's risk (log-hazard), the risk of a typical patient, and the features' terms,
            which add up to risk − base; a modality's term is the sum of its features' terms.

        Raises:
            InputError: there is no survival model, or the table is refused as by :meth:`predict`.
        """
        if self.primary is None:
            raise InputError(
                f"explanations are of a survival endpoint's risk: the model of '{self.study.name}' "
                "has none"
            )
        values, _ = self._read(frame)
        centre = self.training_range.known_centre(read_centre(self.study, frame))
        found = attribute(self.primary, values, centre, tick=tick)
        return pd.DataFrame(
            {"patient_id": new_patient_ids(self.study, frame, first), **found.columns()}
        )

    def answer(
        self,
        values: Array,
        centre: NDArray[np.str_] | None,
        rates: Mapping[str, float] | None = None,
    ) -> Answer:
        """Predict from coded features (n, p), hospitals (n,) and rates as in :meth:`rates`."""
        blind = values[:, list(self.study.prognostic_features)]
        at_rates = self.rates(rates)
        responses = {
            name: self.responses[name].probability(blind, centre, at_rates.get(name))
            if name in self.responses
            else np.full(len(values), np.nan)
            for name in self.study.endpoints.binary
        }
        survival = {name: model.answer(values, centre) for name, model in self.survival.items()}
        return Answer(survival, responses)

    def flag_times(self, flags: Sequence[list[str]], times: Sequence[float]) -> None:
        """Append a flag for each endpoint predicted beyond the training patients' follow-up.

        The month of the benefit counts too.

        Args:
            flags: (n,) flags of each patient.
            times: months of the predictions.
        """
        late = max(times, default=0.0)
        for name, model in self.survival.items():
            if max(min(late, model.horizon), model.benefit_horizon) > model.followed:
                for own in flags:
                    own.append(f"{BEYOND}:{name}")

    @cached_property
    def training_range(self) -> TrainingRange:
        """Values and hospitals of the training patients."""
        return TrainingRange.of(self.study, self.preprocessors())

    def _models(self) -> dict[str, Replayable]:
        return {**self.survival, **self.responses}

    def preprocessors(self) -> list[Preprocessor]:
        """Return the preprocessors of all models; the first is the primary model's first fold's."""
        found = [fitted for model in self.survival.values() for fitted in model.preprocessors]
        return found + [model.preprocessor for model in self.responses.values()]

    def times(self, times: Sequence[float] | float | None) -> tuple[float, ...]:
        """Return the months after checking them, or the default months where none are given.

        Raises:
            InputError: a time is no finite number from 0 to the horizon or is repeated, or times
                are given without a survival model.
        """
        horizon = self.horizon
        asked: Any = [times] if isinstance(times, Real) else times
        listed = asked if isinstance(asked, Iterable) and not isinstance(asked, bytes) else [None]
        if asked is not None and not all(isinstance(time, Real) for time in listed):
            raise InputError("times: numbers of months are expected, such as [12, 36]")
        if horizon is None:
            if asked is not None and len(asked) > 0:
                raise InputError(
                    f"times: the model of '{self.study.name}' has no survival endpoint, so that "
                    "there are no times to ask for: leave them out"
                )
            return ()
        if asked is None or len(asked) == 0:
            return tuple(t for t in USUAL_TIMES if t <= horizon) or (horizon,)
        for time in asked:
            if not math.isfinite(time) or time < 0:
                raise InputError("times: every time must be a number of months, 0 or more")
            if time > horizon:
                raise InputError(
                    f"times: {time:g} months is beyond the model's horizon of {horizon:g}: "
                    "ask for earlier times"
                )
        if len({*asked}) < len(asked):
            raise InputError("times: a time is asked for twice")
        return tuple(float(t) for t in asked)

    def rates(self, rates: Mapping[str, float] | None) -> dict[str, float]:
        """Return local rates by binary endpoint: those given, or else the study's ``local_rate``.

        Raises:
            InputError: ``rates`` is no mapping, a rate is not in (0, 1), or an endpoint is unknown.
        """
        known = self.study.endpoints.binary
        found = {name: e.local_rate for name, e in known.items() if e.local_rate is not None}
        expect("rates", rates, (Mapping, type(None)), "a mapping such as {'response': 0.2}")
        for name, rate in (rates or {}).items():
            if name not in known:
                known_ones = f"the model has {some(known)}" if known else "the model has none"
                raise InputError(f"no binary endpoint '{name}': {known_ones}")
            if not (isinstance(rate, Real) and 0 < rate < 1):
                raise InputError(f"rate of '{name}': must lie between 0 and 1")
            found[name] = float(rate)
        return found

    def _read(self, frame: pd.DataFrame) -> tuple[Array, list[list[str]]]:
        """Return coded features (n, p) and each row's flags; refuse a table without any feature."""
        study = self.study
        coded = code(study, frame)
        absent = {f.feature for f in coded.findings if f.kind == ABSENT}
        if len(absent) == len(study.features):
            first = next(iter(study.features))
            raise InputError(
                "no column is one of the model's features, for instance "
                f"'{first}'{nearest(first, map(str, frame.columns))}"
            )
        known = set(study.columns())
        extra = [str(c) for c in frame.columns if str(c) not in known]
        unknown = [f"unknown_column:{name}" for name in extra[:MOST_UNKNOWN]]
        if len(extra) > MOST_UNKNOWN:
            unknown.append(f"unknown_columns:{len(extra) - MOST_UNKNOWN} more")
        flags = self._flagger(coded)
        if unknown:
            for own in flags:
                own += unknown
        return coded.values, flags

    @cached_property
    def _flagger(self) -> Flagger:
        return Flagger(self.study)

    def save(self, path: Path, *, force: bool = False) -> None:
        """Write the bundle's folder, which appears only when it is complete.

        Args:
            path: folder to write.
            force: whether an earlier bundle is replaced.

        Raises:
            InputError: the folder is a bundle and ``force`` is false, or it has other files.
        """
        files = {"study.json": to_json(self.study.describe()), **self._files()}
        write_folder(path, self.study, files, force=force)

    def _files(self) -> dict[str, bytes]:
        survival, responses = self.survival.items(), self.responses.items()
        model = {
            "config": self.config,
            "survival": {name: each.to_json() for name, each in survival},
            "responses": {name: each.to_json() for name, each in responses},
        }
        preprocessing = {
            name: [each.to_json() for each in model.preprocessors] for name, model in survival
        }
        weights = {
            f"{name}/{key}": np.ascontiguousarray(array)
            for name, each in survival
            for key, array in each.arrays().items()
        }
        rows = {name: golden(each) for name, each in self._models().items()}
        return {
            "model.json": to_json(model),
            "preprocessing.json": to_json(preprocessing),
            "metrics.json": to_json(dict(self.metrics)),
            "provenance.json": to_json(dict(self.provenance)),
            "golden.json": to_json(rows),
            WEIGHTS: save_tensors(weights),
        }

    @classmethod
    def load(cls, path: Path) -> Bundle:
        """Read a bundle from a folder, check its digests, and replay its golden rows.

        Raises:
            InputError: as :func:`manifest.read_folder` and :meth:`of`.
        """
        return cls.of(read_folder(Path(path)))

    @classmethod
    def of(cls, content: Content) -> Bundle:
        """Rebuild a bundle from the content of its files, and replay its golden rows.

        Raises:
            InputError: the content is not that of a bundle, a learner is not registered, or a model
                predicts its golden rows differently from when it was made.
        """
        with readable(content.path):
            bundle, golden_rows = cls._rebuild(content)
            for name, each in bundle._models().items():
                if not replays(each, golden_rows[name]):
                    raise InputError(
                        f"{content.path}: the model of '{name}' answers its own test rows "
                        "differently from when it was made: install the versions named in its "
                        "provenance.json"
                    )
            bundle._try()
        return bundle

    @classmethod
    def _rebuild(cls, content: Content) -> tuple[Bundle, Mapping[str, Any]]:
        """Return the bundle in the content of its files, unchecked, and its golden rows."""
        raw = {name: content.json(name) for name in content.files if name.endswith(".json")}
        study = parse_study(raw["study.json"], f"{content.path}/study.json")
        if (study.name, study.synthetic) != (raw[MANIFEST]["study"], raw[MANIFEST]["synthetic"]):
            raise ValueError("the manifest names another study")
        model, blind = raw["model.json"], study.prognostic()
        weights, preprocessing = load_tensors(content.files[WEIGHTS]), raw["preprocessing.json"]
        bundle = cls(
            study=study,
            survival={
                name: SurvivalModel.from_json(
                    study, name, made, preprocessing[name], below(f"{name}/", weights)
                )
                for name, made in model["survival"].items()
            },
            responses={
                name: ResponseModel.from_json(blind, made)
                for name, made in model["responses"].items()
            },
            config=model["config"],
            metrics=raw["metrics.json"],
            provenance={k: v for k, v in raw["provenance.json"].items() if k != SKETCH},
        )
        return bundle, raw["golden.json"]

    def _try(self) -> None:
        """Check the parts that every use of a bundle reads, and predict patients without values.

        Raises:
            Exception: the bundle was not written by :meth:`save`.
        """
        texts = [self.provenance[key] for key in ("fit_id", "cohort_fingerprint")]
        texts += [text for m in self.survival.values() for text in (m.no_effect, m.distrust)]
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("a text is expected")
        if not all(isinstance(each, Mapping) for each in (self.config, self.metrics)):
            raise TypeError("config, metrics")
        times = self.times(None)
        blank = np.full((2, len(self.study.features)), np.nan)
        found = self.answer(blank, None).columns(times)
        self.flag_times([[], []], times)
        self.training_range.flag([[], []], blank, None)
        if not found or any(len(column) != 2 for column in found.values()):
            raise ValueError("answers")
