"""Cohorts: patients whose features and outcomes are checked against their study."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.data.cells.rounding import round_off
from accomplice.data.coding import (
    ABSENT,
    NOT_A_NUMBER,
    OUT_OF_RANGE,
    Coded,
    code,
    missing_words,
)
from accomplice.data.errors import InputError, some
from accomplice.data.outcomes import binary_target, notes_on, survival_targets, texts_of
from accomplice.data.readers.columns import column
from accomplice.data.rows.identifiers import patient_ids
from accomplice.data.rows.one_per_patient import one_per_patient
from accomplice.data.rows.treatment import treated
from accomplice.data.study import Study
from accomplice.data.study_parts import FromDates


@dataclass(frozen=True, eq=False, repr=False)
class Patients:
    """Checked patients: coded features, and labels where the study has binary endpoints."""

    study: Study
    ids: NDArray[np.str_]
    """(n,) unique identifiers."""
    values: Array
    """(n, p) coded features in the study's order; NaN is missing."""
    centre: NDArray[np.str_] | None
    """(n,) hospital, empty text where unknown; None if the study names no column of hospitals."""
    binary: dict[str, Array]
    """Binary endpoint -> (n,) 1, 0, or NaN for unlabelled patients."""
    left_out: int = field(default=0, kw_only=True)
    """Number of patients left out because they lack follow-up or an event status."""
    notes: tuple[str, ...] = field(default=(), kw_only=True)
    """One line each on rows merged, patients left out and other assumptions about the table."""
    place: Ints | None = field(default=None, kw_only=True)
    """(n,) place of each patient in the table; None if they are in its order."""

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        """Return the study's name and the number of patients, but no patient's value."""
        return f"<{type(self).__name__} of study '{self.study.name}': {len(self)} patients>"

    @property
    def target(self) -> str:
        """Name of the main endpoint: here the first binary one, as no survival endpoint is used."""
        return next(iter(self.binary))

    @property
    def counts(self) -> dict[str, int]:
        """Number of patients, and of labelled patients by binary endpoint."""
        labelled = {f"{k}_labels": int((~np.isnan(v)).sum()) for k, v in self.binary.items()}
        return {"patients": len(self), **labelled}

    @property
    def outcomes(self) -> str:
        """Counts of positive and negative labels by binary endpoint, as text."""
        return ", ".join(
            f"{int((label == 1).sum())} positive and {int((label == 0).sum())} negative ({name})"
            for name, label in self.binary.items()
        )

    @property
    def treated(self) -> Array | None:
        """(n,) 1 if treated, 0 if untreated, NaN if unknown; None if the study has no treatment."""
        return treated(self.study, self.values)

    def in_order(self) -> Self:
        """Return the patients in the order of their identifiers, if the study names any.

        Fits and draws take patients in this order, so that they do not depend on that of a table.
        """
        if self.study.id is None or (self.ids[:-1] <= self.ids[1:]).all():
            return self
        order = np.argsort(self.ids, kind="stable")
        found = self.take(order)
        return found if found.place is not None else replace(found, place=order)

    def prognostic(self) -> Self:
        """Return the patients without the feature of treatment, which the learners do not use."""
        if self.study.treatment is None:
            return self
        kept = list(self.study.prognostic_features)
        return replace(self, study=self.study.prognostic(), values=self.values[:, kept])

    def take(self, rows: Ints | Bools) -> Self:
        """Return the patients at ``rows`` (positions, or a mask (n,)), in that order."""
        return replace(
            self,
            ids=self.ids[rows],
            values=self.values[rows],
            centre=None if self.centre is None else self.centre[rows],
            binary={name: labels[rows] for name, labels in self.binary.items()},
            place=None if self.place is None else self.place[rows],
        )

    def fingerprint(self) -> str:
        """Return the sha256 (hex) of the study without its ``source``, and of all patients.

        The patients' identifiers, hospitals, features and outcomes are included, in the order of
        the table.
        """
        if self.place is not None:
            return replace(self.take(np.argsort(self.place)), place=None).fingerprint()
        digest = hashlib.sha256()
        described = {k: v for k, v in self.study.describe().items() if k != "source"}
        digest.update(json.dumps([described, self.target]).encode())
        digest.update("\0".join(self.ids.tolist()).encode())
        digest.update("\0".join(() if self.centre is None else self.centre.tolist()).encode())
        for array in (self.values, *self._outcomes(), *self.binary.values()):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def _outcomes(self) -> tuple[NDArray[Any], ...]:
        return ()


class Outcome(NamedTuple):
    """Follow-up of n patients, administratively censored at a horizon."""

    time: Array
    """(n,) months of follow-up, at most the horizon."""
    event: Bools
    """(n,) whether the event was observed, no later than the horizon."""


@dataclass(frozen=True, eq=False, repr=False)
class Cohort(Patients):
    """Checked patients who all have one survival endpoint, in months."""

    endpoint: str
    """Name of the survival endpoint."""
    time: Array
    """(n,) follow-up in months, finite and > 0."""
    event: Bools
    """(n,) whether the event was observed."""
    further: Mapping[str, Cohort] = field(default_factory=dict)
    """The study's other survival endpoints, each with the patients who have that one; empty if
    they were not loaded."""

    @property
    def target(self) -> str:
        """Name of the survival endpoint."""
        return self.endpoint

    @property
    def counts(self) -> dict[str, int]:
        """Numbers of patients, events and labels, those of the further endpoints included."""
        found = {**super().counts, "events": int(self.event.sum())}
        for name, cohort in self.further.items():
            found |= {f"{name}_patients": len(cohort), f"{name}_events": int(cohort.event.sum())}
        return found

    @property
    def outcomes(self) -> str:
        """Counts of events by survival endpoint, as text."""
        parts = [f"{int(self.event.sum())} events ({self.endpoint})"]
        for name, cohort in self.further.items():
            of = f" of {len(cohort)} patients" if len(cohort) != len(self) else ""
            parts.append(f"{int(cohort.event.sum())}{of} ({name})")
        return ", ".join(parts)

    @property
    def horizon(self) -> float:
        """Months to which the endpoint is modelled: the study's horizon, else :attr:`followed`."""
        declared = self.study.survival_endpoint(self.endpoint)[1].horizon
        return self.followed if declared is None else declared

    @property
    def followed(self) -> float:
        """Longest follow-up in months, rounded up to three significant digits."""
        return round_off(float(self.time.max()), up=True)

    @cached_property
    def outcome(self) -> Outcome:
        """Time and event (n,), administratively censored at the horizon."""
        observed = self.event & (self.time <= self.horizon)
        return Outcome(np.minimum(self.time, self.horizon), observed)

    def with_endpoint(self, name: str) -> Cohort:
        """Return the cohort of a survival endpoint, this one's own or a further one.

        Raises:
            InputError: the study has no such endpoint, or the cohort was loaded without it.
        """
        self.study.survival_endpoint(name)
        if name == self.endpoint:
            return self
        if name not in self.further:
            raise InputError(f"endpoint: the cohort was loaded without '{name}': load it with that")
        return self.further[name]

    def in_order(self) -> Self:
        """Return the patients in the order of their identifiers, further endpoints included."""
        found, further = super().in_order(), self.further
        if not further:
            return found
        return replace(found, further={name: own.in_order() for name, own in further.items()})

    def take(self, rows: Ints | Bools) -> Self:
        """Return the patients at ``rows`` (positions, or a mask (n,)), in that order.

        Further endpoints are left out: their patients differ, so that ``rows`` does not index them.
        """
        return replace(super().take(rows), time=self.time[rows], event=self.event[rows], further={})

    def fingerprint(self) -> str:
        """Return the sha256 (hex) of the study and the patients, further endpoints included.

        A cohort loaded without its further endpoints has another fingerprint.
        """
        own = super().fingerprint()
        if not self.further:
            return own
        every = [own, *(f"{name} {cohort.fingerprint()}" for name, cohort in self.further.items())]
        return hashlib.sha256("\n".join(every).encode()).hexdigest()

    def _outcomes(self) -> tuple[NDArray[Any], ...]:
        return self.time, self.event


def build_cohort(
    study: Study, frame: pd.DataFrame, endpoint: str | None = None, *, further: bool = False
) -> Cohort:
    """Check a table against its study, and return the cohort.

    Args:
        study: description of the table.
        frame: the table, one row a patient unless the study has a rule on rows.
        endpoint: name of the survival endpoint; None: the study's first.
        further: whether the study's other survival endpoints are read too.

    Raises:
        InputError: the endpoint is unknown, a column or an identifier is missing, patients repeat,
            rows of one patient cannot be merged, or an outcome or a feature is not usable.
    """
    name, _ = study.survival_endpoint(endpoint)
    table = _Table.check(study, frame)
    others = [other for other in study.endpoints.survival if further and other != name]
    cohort = table.cohort(name)
    _refuse_empty(cohort)
    return replace(cohort, further={other: table.cohort(other) for other in others})


def build_patients(study: Study, frame: pd.DataFrame) -> Patients:
    """Check a table against a study, and return the patients without survival endpoints.

    Args:
        study: description of the table.
        frame: the table, one row a patient unless the study has a rule on rows.

    Raises:
        InputError: as :func:`build_cohort`, for all but survival endpoints.
    """
    table = _Table.check(study, frame)
    patients = Patients(**table.patients(np.ones(len(table.frame), dtype=bool)))
    _refuse_empty(patients)
    return patients


@dataclass(frozen=True)
class _Table:
    """A table with checked identifiers and columns, coded once for all endpoints."""

    study: Study
    frame: pd.DataFrame
    ids: NDArray[np.str_]
    coded: Coded
    notes: tuple[str, ...]

    @classmethod
    def check(cls, study: Study, frame: pd.DataFrame) -> _Table:
        """Merge the rows of each patient, check identifiers and columns, and code the features."""
        notes: list[str] = []
        if study.rows is not None and study.id is not None:
            survival = [endpoint.time for endpoint in study.endpoints.survival.values()]
            start = next((time for time in survival if isinstance(time, FromDates)), None)
            words = missing_words(study)
            merged = one_per_patient(frame, study.id, study.rows, start, words)
            frame = merged.frame
            notes.append(f"rows: {merged.note(study.rows)}")
        ids = patient_ids(study, frame)
        if (repeated := pd.Series(ids).duplicated()).any():
            raise InputError(
                f"column '{study.id}': {int(repeated.sum())} rows repeat a patient: keep one row "
                "each, or say which row counts under rows, such as rows: {one_per_patient: first}"
            )
        for source in {f.column or n: None for n, f in study.features.items()}:
            column(frame, source, "features")
        coded = code(study, frame)
        notes += [
            f"column '{study.features[name].column or name}': {n} cells give a bound, which is "
            "taken for the value"
            for name, n in coded.bounds.items()
        ]
        return cls(study, frame, ids, coded, tuple(notes))

    def cohort(self, endpoint: str) -> Cohort:
        """Return the patients who have a survival endpoint."""
        declared = self.study.endpoints.survival[endpoint]
        words = missing_words(self.study)
        time, event, keep = survival_targets(self.frame, endpoint, declared, words)
        made = self.patients(keep)
        made["notes"] += notes_on(self.frame, endpoint, self.study.endpoints.survival, words)
        return Cohort(**made, endpoint=endpoint, time=time[keep], event=event[keep])

    def patients(self, keep: Bools) -> dict[str, Any]:
        """Return the fields of :class:`Patients` for the rows ``keep`` (n,), by name."""
        study, frame = self.study, self.frame
        for finding in self.coded.findings:
            _refuse(study, finding.feature, finding.kind, int((finding.rows & keep).sum()))
        values = self.coded.values if keep.all() else self.coded.values[keep]
        _refuse_stray(study, values)
        binary, words = study.endpoints.binary.items(), missing_words(study)
        return {
            "study": study,
            "ids": self.ids[keep],
            "values": values,
            "centre": None if study.centre is None else _centres(frame, study.centre)[keep],
            "binary": {n: binary_target(frame, n, each, words)[keep] for n, each in binary},
            "left_out": int((~keep).sum()),
            "notes": self.notes,
        }


def _centres(frame: pd.DataFrame, name: str) -> NDArray[np.str_]:
    """Return the patients' hospitals (n,), empty text where missing."""
    codes, texts = texts_of(column(frame, name, "centre"))
    return np.array(texts, dtype=str)[codes]


def _refuse_empty(patients: Patients) -> None:
    """Raise if all values of a feature are missing; a further endpoint may lack it."""
    for j, (name, feature) in enumerate(patients.study.features.items()):
        if np.isnan(patients.values[:, j]).all():
            raise InputError(
                f"column '{feature.column or name}': no patient has a value: remove the feature "
                "from the study file"
            )


def _refuse_stray(study: Study, values: Array) -> None:
    """Raise if the treatment's column of ``values`` (n, p) has numbers for neither arm.

    A level that belongs to neither arm is another treatment, which counts as unknown.
    """
    status = treated(study, values)
    if status is None:
        return
    place = study.treatment_position
    feature = list(study.features.values())[place]
    stray = int((np.isnan(status) & ~np.isnan(values[:, place])).sum())
    if stray and feature.levels is None:
        raise InputError(
            f"column '{feature.column or list(study.features)[place]}': {stray} values are listed "
            "neither under treated nor under untreated of treatment: list or empty them"
        )


def _refuse(study: Study, name: str, kind: str, count: int) -> None:
    """Raise for a finding in ``count`` patients; a column that is absent is refused elsewhere."""
    feature = study.features[name]
    where = f"column '{feature.column or name}'"
    if kind == ABSENT or count == 0:
        return
    if kind == NOT_A_NUMBER:
        raise InputError(
            f"{where}: {count} values are not numbers: correct or empty them; the feature's "
            "decimal (',' or '.') and unit say how its cells are written"
        )
    if kind == OUT_OF_RANGE:
        low, high = feature.bounds
        raise InputError(
            f"{where}: {count} values lie outside {low:g} to {high:g}: correct them or widen range"
        )
    if feature.unlisted is None:
        raise InputError(
            f"{where}: {count} values are not among its levels {some(feature.levels or ())}: "
            "correct them, add the level, map it, or say by unlisted what they mean"
        )
