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

from accomplice.data.example import example_patient
from accomplice.serving.answers.curves import grid, merge_times, write_curves
from accomplice.serving.requests.patient_reader import CodedPatients, PatientReader
from accomplice.serving.requests.schemas import RESEARCH, SYNTHETIC
from accomplice.serving.requests.validation import CheckedRequest
from accomplice.training.bundle import Answer, Bundle
from accomplice.training.models.manifest import digest_of
from accomplice.training.models.survival import INTERVAL, Column

#: Run and version of a bundle where they are not known.
UNKNOWN: Mapping[str, str | None] = MappingProxyType({})


class Watch(Protocol):
    """Callback for patients that are answered."""

    def __call__(self, read: CodedPatients, columns: Mapping[str, Column], /) -> None:
        """Take n coded patients and the columns (n,) of their answers."""


def unwatched(read: CodedPatients, columns: Mapping[str, Column], /) -> None:
    """Default callback: do nothing."""


class Predictor:
    """A bundle that answers requests."""

    def __init__(
        self, bundle: Bundle, digest: str, made_by: Mapping[str, str | None] = UNKNOWN
    ) -> None:
        self.bundle = bundle
        self.watch: Watch = unwatched
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
        self.note = f"{SYNTHETIC} {RESEARCH}" if study.synthetic else RESEARCH

    @classmethod
    def load(cls, path: Path, made_by: Mapping[str, str | None] = UNKNOWN) -> Predictor:
        """Load the bundle at ``path``.

        Args:
            path: of its folder.
            made_by: MLflow's ``run_id`` and ``version`` of it, where they are known.

        Raises:
            InputError: as ``Bundle.load`` does.
        """
        return cls(Bundle.load(path), digest_of(path), made_by)

    @property
    def signature(self) -> dict[str, Any]:
        """The model and the note of each answer."""
        return {"model": self.model, "note": self.note}

    @cached_property
    def grid(self) -> tuple[float, ...]:
        """Months of every curve's points."""
        return () if self.bundle.horizon is None else grid(self.bundle.horizon)

    def warm_up(self, calls: int = 3) -> None:
        """Answer synthetic patients, so that the first request is as fast as later ones."""
        for _ in range(calls):
            self.answers(CheckedRequest([example_patient(self.bundle.study)] * 2, None))

    def answers(self, request: CheckedRequest) -> list[dict[str, Any]]:
        """Return each patient's answer, the quantities named as ``Bundle.predict`` names them."""
        return [orjson.loads(each) for each in self._write(request, unwatched)]

    def answers_json(self, request: CheckedRequest) -> list[bytes]:
        """Return each patient's answer as JSON; ``watch`` is called with these patients."""
        return self._write(request, self.watch)

    def read(self, request: CheckedRequest) -> CodedPatients:
        """Code the patients of a request and flag their odd values."""
        read = self.reader.read(request.patients)
        read = replace(read, centre=self.bundle.training_range.known_centre(read.centre))
        self.bundle.training_range.flag(read.flags, read.values, read.centre)
        return read

    def _write(self, request: CheckedRequest, watch: Watch) -> list[bytes]:
        times = self.bundle.times(request.times)
        read = self.read(request)
        self.bundle.flag_times(read.flags, times)
        answered = self.bundle.answer(read.values, read.centre, band=True)
        columns = answered.columns(times)
        watch(read, columns)
        curves = self._curves(answered, times)
        quantities: dict[str, Iterable[Any]] = {"patient_id": read.ids}
        quantities |= {name: column.tolist() for name, column in columns.items()}
        quantities["flags"] = read.flags
        if curves is not None:
            quantities |= {"interval": repeat(INTERVAL, len(curves)), "curve": curves}
        answers = []
        for row in zip(*quantities.values(), strict=True):
            answer = dict(zip(quantities, row, strict=True))
            if answer["patient_id"] is None:
                del answer["patient_id"]
            # NaN becomes null.
            answers.append(orjson.dumps(answer))
        return answers

    def _curves(self, answered: Answer, times: Sequence[float]) -> list[orjson.Fragment] | None:
        """Write each patient's curve of the primary endpoint, where there is one."""
        model = self.bundle.primary
        if model is None:
            return None
        shown = merge_times(self.grid, times)
        return write_curves(shown, answered.survival[model.endpoint].curve(shown))
