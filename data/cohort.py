"""A cohort: patients whose table, features and outcomes have been checked against their study."""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data.cbioportal import read_folder
from data.coding import ABSENT, MISSING, NOT_A_NUMBER, OUT_OF_RANGE, code, code_numbers, treated
from data.errors import InputError, some
from data.study import MONTHS, BinaryEndpoint, Study, SurvivalEndpoint, as_level, load_study
from data.tables import column, join_tables, read_table

#: Words that say an event was, or was not, seen; compared in lower case.
EVENT_WORDS = {
    **dict.fromkeys(("1", "true", "yes", "event", "dead", "deceased", "died", "death"), True),
    **dict.fromkeys(("relapse", "relapsed", "recurred", "progressed", "progression"), True),
    **dict.fromkeys(("0", "false", "no", "censored", "no event", "alive", "living"), False),
    **dict.fromkeys(("disease free", "diseasefree", "event free", "lost to follow-up"), False),
}


@dataclass(frozen=True, eq=False)
class Cohort:
    """Checked patients: coded features and one survival endpoint, in months."""

    study: Study
    endpoint: str
    """Name of the survival endpoint."""
    ids: NDArray[np.str_]
    """(n,) unique identifiers."""
    values: NDArray[np.float64]
    """(n, p) coded features in the study's order; NaN is missing."""
    time: NDArray[np.float64]
    """(n,) follow-up in months, finite and > 0."""
    event: NDArray[np.bool_]
    """(n,) whether the event was seen."""
    centre: NDArray[np.str_] | None
    """(n,) hospital, where the study names a column; empty text where unknown."""
    binary: dict[str, NDArray[np.float64]]
    """Binary endpoint -> (n,) 1, 0, or NaN for unlabelled patients."""
    left_out: int = 0
    """Patients without follow-up whom the study file leaves out."""

    def __len__(self) -> int:
        return len(self.time)

    @property
    def horizon(self) -> float:
        """Months to which the endpoint is modelled; undeclared, the last follow-up rounded up."""
        declared = self.study.survival_endpoint(self.endpoint)[1].horizon
        return round_off(float(self.time.max()), up=True) if declared is None else declared

    @property
    def treated(self) -> NDArray[np.float64] | None:
        """(n,) 1 for a treated patient, 0 for an untreated one, NaN where unknown."""
        return treated(self.study, self.values)

    def prognostic(self) -> Cohort:
        """Return the patients without their treatment, as the learners see them."""
        if self.study.treatment is None:
            return self
        kept = list(self.study.prognostic_features)
        return replace(self, study=self.study.prognostic(), values=self.values[:, kept])

    def take(self, rows: NDArray[np.int_] | NDArray[np.bool_]) -> Cohort:
        """Return the patients at ``rows``, in that order."""
        return replace(
            self,
            ids=self.ids[rows],
            values=self.values[rows],
            time=self.time[rows],
            event=self.event[rows],
            centre=None if self.centre is None else self.centre[rows],
            binary={name: labels[rows] for name, labels in self.binary.items()},
        )

    def fingerprint(self) -> str:
        """Return the sha256 (hex) of the study's content and every patient's values."""
        digest = hashlib.sha256()
        described = {k: v for k, v in self.study.describe().items() if k != "source"}
        digest.update(json.dumps([described, self.endpoint]).encode())
        digest.update("\0".join(self.ids.tolist()).encode())
        digest.update("\0".join(() if self.centre is None else self.centre.tolist()).encode())
        for array in (self.values, self.time, self.event, *self.binary.values()):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def round_off(value: float, *, up: bool) -> float:
    """Round to three digits, up or down: a bound that is not one patient's own time."""
    step = 10.0 ** (math.floor(math.log10(value)) - 2)
    digits = math.ceil(value / step) if up else math.floor(value / step)
    return digits * step


def load_cohort(path: Path, endpoint: str | None = None) -> Cohort:
    """Read the study file at ``path`` and the cohort it describes.

    Raises:
        InputError: the study file or its table is wrong; the text names the column and the fix.
    """
    study = load_study(path)
    return build_cohort(study, read_source(study, path.parent), endpoint)


def read_source(study: Study, folder: Path) -> pd.DataFrame:
    """Read the study's tables, whose paths are relative to ``folder``."""
    paths = [folder / name for name in study.source.files]
    if study.source.reader == "cbioportal":
        return read_folder(paths[0], study.source.expression, set(study.columns()))
    text = () if study.id is None else (study.id,)
    frames = [read_table(path, text) for path in paths]
    if len(frames) == 1:
        return frames[0]
    if study.id is None:
        raise InputError("source.files: several tables are joined on the id column: name it (id)")
    return join_tables(frames, [str(p) for p in paths], study.id)


def read_patients(path: Path, study: Study) -> pd.DataFrame:
    """Read patients to predict for: a table, or a study folder as the study's own was."""
    if not path.is_dir():
        # A model of one feature is asked with tables of one column.
        return read_table(path, () if study.id is None else (study.id,), fewest=1)
    named = study.source.expression
    here = named if named and (path / named).is_file() else None
    return read_folder(path, here, set(study.columns()))


def build_cohort(study: Study, frame: pd.DataFrame, endpoint: str | None = None) -> Cohort:
    """Check a table against its study.

    Args:
        study: what the table should hold.
        frame: one row a patient.
        endpoint: the survival endpoint; the study's first if absent.

    Raises:
        InputError: a column is missing, patients repeat, an outcome or a feature is not usable.
    """
    name, survival = study.survival_endpoint(endpoint)
    ids = patient_ids(study, frame)
    repeated = pd.Series(ids).duplicated()
    if repeated.any():
        raise InputError(
            f"column '{study.id}': {int(repeated.sum())} rows repeat a patient: keep one row each"
        )
    for source in {f.column or n: None for n, f in study.features.items()}:
        column(frame, source, "features")
    time, event, keep = survival_targets(frame, name, survival)
    coded = code(study, frame)
    for finding in coded.findings:
        _refuse(study, finding.feature, finding.kind, int((finding.rows & keep).sum()))
    values = coded.values if keep.all() else coded.values[keep]
    for j, feature in enumerate(study.features):
        if np.isnan(values[:, j]).all():
            raise InputError(
                f"column '{study.features[feature].column or feature}': no patient has a value: "
                "remove the feature from the study file"
            )
    return Cohort(
        study=study,
        endpoint=name,
        ids=ids[keep],
        values=values,
        time=time[keep],
        event=event[keep],
        centre=None if study.centre is None else _centres(frame, study.centre)[keep],
        binary={k: binary_target(frame, k, b)[keep] for k, b in study.endpoints.binary.items()},
        left_out=int((~keep).sum()),
    )


def patient_ids(study: Study, frame: pd.DataFrame) -> NDArray[np.str_]:
    """Return the patients' identifiers (n,): the id column, or the rows' numbers from 1.

    Raises:
        InputError: an identifier is missing.
    """
    if study.id is None:
        return np.arange(1, len(frame) + 1).astype(str)
    cells = column(frame, study.id, "id")
    if cells.isna().any():
        raise InputError(
            f"column '{study.id}': {int(cells.isna().sum())} rows have no id: fill them in"
        )
    if not isinstance(cells.dtype, pd.StringDtype):
        return np.array([as_level(c) for c in cells], dtype=str)
    # Text as a table of a million patients has it: only what could be a whole number is looked at.
    ids = np.strings.strip(cells.to_numpy(dtype=str))
    whole = np.strings.endswith(ids, ".0")
    ids[whole] = [as_level(c) for c in ids[whole]]
    return np.asarray(ids)


def survival_targets(
    frame: pd.DataFrame, name: str, endpoint: SurvivalEndpoint
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Return time in months (n,), event (n,) and which patients are kept (n,).

    Raises:
        InputError: a time or event is not usable, or no event was seen.
    """
    time, not_number = code_numbers(column(frame, endpoint.time, f"endpoint '{name}'"))
    time = time * MONTHS[endpoint.unit]
    event = code_events(column(frame, endpoint.event, f"endpoint '{name}'"), endpoint)
    n, negative = len(time), time < 0
    if not_number.any() or negative.any():
        what = "are not numbers" if not_number.any() else "are negative"
        count = int(not_number.sum() or negative.sum())
        raise InputError(
            f"column '{endpoint.time}': {count} of {n} times {what}: correct or remove those rows"
        )
    missing, zero, unknown = np.isnan(time), time == 0, np.isnan(event)
    keep = ~(missing | zero | unknown)
    if not keep.all() and not endpoint.drop_without_follow_up:
        counts = [
            f"{int(rows.sum())} {what}"
            for rows, what in (
                (missing, "without a time"),
                (zero & ~missing, "with time zero"),
                (unknown & ~missing & ~zero, "without an event status"),
            )
            if rows.any()
        ]
        raise InputError(
            f"columns '{endpoint.time}', '{endpoint.event}': {int((~keep).sum())} of {n} patients "
            f"have no follow-up ({', '.join(counts)}): correct them, or leave them out with "
            f"endpoints.survival.{name}.drop_without_follow_up: true in the study file "
            "(data init --drop-without-follow-up)"
        )
    seen = (event == 1) & keep
    if not seen.any():
        raise InputError(f"column '{endpoint.event}': no event among {int(keep.sum())} patients")
    return time, event == 1, keep


def code_events(cells: pd.Series, endpoint: SurvivalEndpoint) -> NDArray[np.float64]:
    """Return 1 for an event, 0 for none, NaN for unknown (n,).

    Known codings are 0/1, true/false, words such as alive/deceased, and ``1:DECEASED``.

    Raises:
        InputError: a value is none of these and ``event_values`` does not name it.
    """
    codes, distinct = pd.factorize(cells, use_na_sentinel=True)
    meaning = np.full(len(distinct) + 1, np.nan)
    odd = []
    for i, cell in enumerate(distinct):
        text = as_level(cell)
        coded = re.match(r"^([01]):", text)
        word = (coded.group(1) if coded else text).lower()
        if endpoint.event_values is not None and text.lower() not in MISSING:
            meaning[i] = float(text in endpoint.event_values)
        elif word in EVENT_WORDS:
            meaning[i] = float(EVENT_WORDS[word])
        elif word not in MISSING:
            odd.append(i)
    if odd:
        count = int(np.isin(codes, odd).sum())
        raise InputError(
            f"column '{endpoint.event}': {count} of {len(cells)} values are neither 0/1, "
            "true/false nor a known coding such as alive/deceased: "
            "recode them, or list those that mean the event under event_values"
        )
    return meaning[codes]


def binary_target(frame: pd.DataFrame, name: str, endpoint: BinaryEndpoint) -> NDArray[np.float64]:
    """Return 1 for a positive label, 0 for a negative one, NaN for none (n,).

    Raises:
        InputError: a label is not listed, or the column is missing.
    """
    cells = column(frame, endpoint.column, f"endpoint '{name}'")
    meaning = dict.fromkeys(endpoint.negative, 0.0) | dict.fromkeys(endpoint.positive, 1.0)
    codes, texts = _texts(cells)
    unlisted = [t not in meaning and t.lower() not in MISSING for t in texts]
    if odd := int(np.array(unlisted)[codes].sum()):
        raise InputError(
            f"column '{endpoint.column}': {odd} labels are listed neither under positive nor "
            f"under negative of endpoint '{name}'"
        )
    return np.array([meaning.get(t, np.nan) for t in texts])[codes]


def _centres(frame: pd.DataFrame, name: str) -> NDArray[np.str_]:
    codes, texts = _texts(column(frame, name, "centre"))
    return np.array(texts, dtype=str)[codes]


def _texts(cells: pd.Series) -> tuple[NDArray[np.int_], list[str]]:
    """Return for each cell (n,) the place of its text; the last text is empty, for the missing."""
    codes, distinct = pd.factorize(cells, use_na_sentinel=True)
    return codes, [*map(as_level, distinct), ""]


def _refuse(study: Study, name: str, kind: str, count: int) -> None:
    """Raise for a finding that a cohort may not have."""
    feature = study.features[name]
    where = f"column '{feature.column or name}'"
    if kind == ABSENT or count == 0:
        return
    if kind == NOT_A_NUMBER:
        raise InputError(f"{where}: {count} values are not numbers: correct or empty them")
    if kind == OUT_OF_RANGE:
        low, high = feature.bounds
        raise InputError(
            f"{where}: {count} values lie outside {low:g} to {high:g}: correct them or widen range"
        )
    raise InputError(
        f"{where}: {count} values are not among its levels {some(feature.levels or ())}: "
        "correct them, add the level, or map it"
    )
