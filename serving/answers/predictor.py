"""From checked requests to answers: the bundle's prediction, laid out for JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import repeat
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
import orjson

from accomplice.data.example import example_patient
from accomplice.serving.answers.curves import grid, merge_times, write_curves
from accomplice.serving.requests.patient_reader import PatientReader, Patients
from accomplice.serving.requests.schemas import RESEARCH, SYNTHETIC
from accomplice.serving.requests.validation import Asked
from accomplice.training.bundle import UNKNOWN_ASSAY, Answer, Bundle
from accomplice.training.models.manifest import digest_of
from accomplice.training.models.survival import INTERVAL, Column

#: Where nothing is known of a bundle's run and version.
UNKNOWN: Mapping[str, str | None] = MappingProxyType({})


class Watch(Protocol):
    """Is told of patients that are answered."""

    def __call__(self, read: Patients, columns: Mapping[str, Column], /) -> None:
        """Take what n patients are, and the columns (n,) of what is said of them."""


def unwatched(read: Patients, columns: Mapping[str, Column], /) -> None:
    """Watch nothing."""


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
        """Which model answers, and what it is for."""
        return {"model": self.model, "note": self.note}

    @cached_property
    def grid(self) -> tuple[float, ...]:
        """Months at which every curve is given."""
        return () if self.bundle.horizon is None else grid(self.bundle.horizon)

    def warm_up(self, calls: int = 3) -> None:
        """Answer made-up patients, so that the first request does not pay for first calls."""
        for _ in range(calls):
            self.answers(Asked([example_patient(self.bundle.study)] * 2, None))

    def one(self, asked: Asked) -> dict[str, Any]:
        """Answer the one patient of a request."""
        return self.signed(self.answers(asked)[0])

    def many(self, asked: Asked) -> dict[str, Any]:
        """Answer all patients of a request, in their order."""
        return {"patients": self.answers(asked), **self.signature}

    def signed(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Add to an answer which model gave it, and what it is for."""
        return {**answer, **self.signature}

    def answers(self, asked: Asked) -> list[dict[str, Any]]:
        """Return each patient's answer, the quantities named as ``Bundle.predict`` names them."""
        return [orjson.loads(each) for each in self._write(asked, unwatched)]

    def written(self, asked: Asked) -> list[bytes]:
        """Return each patient's answer as JSON; these are the ones that are watched."""
        return self._write(asked, self.watch)

    def read(self, asked: Asked) -> Patients:
        """Code the patients of a request, with all that was odd about them."""
        read = self.reader.read(asked.patients)
        for i in np.flatnonzero(self.bundle.unknown_assay(read.values, read.centre)).tolist():
            read.flags[i].append(UNKNOWN_ASSAY)
        return read

    def _write(self, asked: Asked, watch: Watch) -> list[bytes]:
        times = self.bundle.times(asked.times)
        read = self.read(asked)
        answered = self.bundle.answer(read.values, read.centre, band=True)
        columns = answered.columns(times)
        watch(read, columns)
        curves = self._curves(answered, times)
        said: dict[str, Iterable[Any]] = {"patient_id": read.ids}
        said |= {name: column.tolist() for name, column in columns.items()}
        said["flags"] = read.flags
        if curves is not None:
            said |= {"interval": repeat(INTERVAL, len(curves)), "curve": curves}
        found = []
        for row in zip(*said.values(), strict=True):
            answer = dict(zip(said, row, strict=True))
            if answer["patient_id"] is None:
                del answer["patient_id"]
            # JSON has no NaN: it becomes null.
            found.append(orjson.dumps(answer))
        return found

    def _curves(self, answered: Answer, times: Sequence[float]) -> list[orjson.Fragment] | None:
        """Write each patient's curve of the primary endpoint, where there is one."""
        model = self.bundle.primary
        if model is None:
            return None
        shown = merge_times(self.grid, times)
        return write_curves(shown, answered.survival[model.endpoint].curve(shown))
