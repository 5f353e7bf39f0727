"""Answers to checked requests: the bundle's predictions as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import repeat
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import orjson

from accomplice.data.example_patient import example_patient
from accomplice.serving.answers.curves import curves_json, grid
from accomplice.serving.requests.patient_reader import CodedPatients, PatientReader
from accomplice.serving.requests.schemas import RESEARCH, SYNTHETIC
from accomplice.serving.requests.validation import CheckedRequest
from accomplice.training.bundle import Bundle
from accomplice.training.models.answer import Answer
from accomplice.training.models.manifest import read_folder
from accomplice.training.models.survival import Column
from accomplice.training.models.survival_interval import LEVEL

#: Default of ``made_by``: neither run nor version is known.
UNKNOWN: Mapping[str, str | None] = MappingProxyType({})
#: Number of predictions after which later ones are no faster.
WARM_UP = 3


class Watch(Protocol):
    """Callback for answered patients."""

    def __call__(self, read: CodedPatients, columns: Mapping[str, Column], /) -> None:
        """Receive n coded patients and the columns (n,) of their answers."""


def unwatched(read: CodedPatients, columns: Mapping[str, Column], /) -> None:
    """Default callback: do nothing."""


class Predictor:
    """Predictions of a bundle as answers to checked requests.

    Args:
        bundle: the models.
        digest: SHA-256 of the bundle's content.
        made_by: the bundle's ``run_id`` and ``version`` in MLflow, as far as known.
    """

    def __init__(
        self, bundle: Bundle, digest: str, made_by: Mapping[str, str | None] = UNKNOWN
    ) -> None:
        self.bundle = bundle
        self.watch: Watch = unwatched
        """Called with the patients of :meth:`answers_json`."""
        self.reader = PatientReader(bundle.study)
        study = bundle.study
        self.model: dict[str, Any] = {
            "name": study.name,
            "endpoint": bundle.target,
            "digest": digest,
            "fit_id": bundle.provenance.get("fit_id"),
            "run_id": made_by.get("run_id"),
            "version": made_by.get("version"),
            "synthetic": study.synthetic,
            "horizon": bundle.horizon,
        }
        """Names, versions and horizon of the model, as in each answer."""
        self.note = f"{SYNTHETIC} {RESEARCH}" if study.synthetic else RESEARCH
        """Limits of use, as in each answer."""

    @classmethod
    def load(
        cls,
        path: Path,
        made_by: Mapping[str, str | None] = UNKNOWN,
        digest: str | None = None,
    ) -> Predictor:
        """Load a bundle.

        Args:
            path: the bundle's folder.
            made_by: the bundle's ``run_id`` and ``version`` in MLflow, as far as known.
            digest: digest that the bundle must have; None: any.

        Raises:
            InputError: as for ``Bundle.load``, or the bundle has another digest.
        """
        content = read_folder(path, digest)
        return cls(Bundle.of(content), content.digest, made_by)

    @property
    def model_and_note(self) -> dict[str, Any]:
        """Model and note, which each answer ends with."""
        return {"model": self.model, "note": self.note}

    @cached_property
    def grid(self) -> tuple[float, ...]:
        """Months of each curve's points, without those that a request asks for.

        Empty for a model without a survival endpoint.
        """
        return () if self.bundle.horizon is None else grid(self.bundle.horizon)

    def warm_up(self) -> None:
        """Predict synthetic patients, so that the first request is as fast as later ones."""
        for _ in range(WARM_UP):
            self.answers(CheckedRequest([example_patient(self.bundle.study)] * 2, None))

    def answers(self, request: CheckedRequest) -> list[dict[str, Any]]:
        """Return each patient's answer as plain data.

        Its keys are columns of ``Bundle.predict``, without ``patient_id`` if none was given; and
        ``interval`` and ``curve``, if there is a survival endpoint. ``watch`` is not called.
        """
        return [orjson.loads(answer) for answer in self._write(request, unwatched)]

    def answers_json(self, request: CheckedRequest) -> list[bytes]:
        """Return each patient's answer as JSON, after a call of ``watch``."""
        return self._write(request, self.watch)

    def read(self, request: CheckedRequest) -> CodedPatients:
        """Return the coded patients of a request, with flags of their odd values.

        Hospitals are in the training cohort's spelling.
        """
        read = self.reader.read(request.patients)
        read = replace(read, centre=self.bundle.training_range.known_centre(read.centre))
        self.bundle.training_range.flag(read.flags, read.values, read.centre)
        return read

    def _write(self, request: CheckedRequest, watch: Watch) -> list[bytes]:
        times = self.bundle.times(request.times)
        read = self.read(request)
        self.bundle.flag_times(read.flags, times)
        answered = self.bundle.answer(read.values, read.centre)
        columns = answered.columns(times)
        watch(read, columns)
        curves = self._curves(answered, times)
        quantities: dict[str, Iterable[Any]] = {"patient_id": read.ids}
        quantities |= {name: column.tolist() for name, column in columns.items()}
        quantities["flags"] = read.flags
        if curves is not None and self.bundle.primary is not None:
            level = None if self.bundle.primary.interval is None else LEVEL
            quantities |= {"interval": repeat(level, len(curves)), "curve": curves}
        answers = []
        for row in zip(*quantities.values(), strict=True):
            answer = dict(zip(quantities, row, strict=True))
            if answer["patient_id"] is None:
                del answer["patient_id"]
            # orjson writes NaN as null.
            answers.append(orjson.dumps(answer))
        return answers

    def _curves(self, answered: Answer, times: Sequence[float]) -> list[orjson.Fragment] | None:
        """Return each patient's curve of the primary endpoint as JSON; None if there is none."""
        model = self.bundle.primary
        if model is None:
            return None
        months = sorted({*self.grid, *times})
        return curves_json(months, answered.survival[model.endpoint].curve(months))
