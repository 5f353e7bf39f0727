"""Prometheus metrics: the endpoint's traffic, and its patients' drift from the training patients.

BentoML's counters of requests are off: their labels are any paths that clients send, even without a
token, which stores the clients' text and takes memory for each path. Here no label is a client's
text.

Counters continue when another bundle is loaded, as Prometheus expects. Their objects are made once,
since those shared by several processes are never freed.

No metric holds a patient's value. The counters rise with each request, so that two readings around
one request show that patient's flags: only the operator may read them. Drift is computed over a
window of patients, when Prometheus asks, and only after so many new patients that no difference
between two values is due to a single one.
"""

from __future__ import annotations

import os
from collections import Counter as Tally
from collections.abc import Iterator, Mapping
from itertools import chain
from threading import Lock
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector

from accomplice.data.arrays import Ints
from accomplice.data.coding import NOT_A_NUMBER, OUT_OF_RANGE, UNKNOWN_LEVEL
from accomplice.data.preprocessing.training_range import OUTSIDE, UNKNOWN_ASSAY
from accomplice.serving.answers.predictor import Predictor
from accomplice.serving.requests.patient_reader import CodedPatients
from accomplice.training.bundle import Bundle
from accomplice.training.models.risk_centiles import GROUPS
from accomplice.training.models.survival import Column
from accomplice.training.treatment.benefit import ABSTAINS, reasons

#: Patients in the window of drift.
WINDOW = 1000
#: Minimum number of new patients for a new computation of drift, and the minimum number of known
#: values of a feature for its drift.
FEWEST = 50
#: Decimals of drift gauges.
DECIMALS = 2
#: Bins of the risk centile in the population stability index.
BINS = 10
#: Pseudocount added to each bin of the population stability index.
PSEUDO = 0.5
#: Upper bounds, in seconds, of the histogram of request durations.
BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
#: Label of all routes, statuses and reasons without a label of their own.
OTHER = "other"
#: Label of advice withheld because no treatment effect was estimated.
NO_EFFECT = "no_effect"
#: Kinds of odd values, counted by feature.
ODD = (OUT_OF_RANGE, UNKNOWN_LEVEL, NOT_A_NUMBER, OUTSIDE)
#: Prefix of flags of unknown columns.
UNKNOWN = "unknown_column:"
#: HTTP statuses with a label of their own.
STATUSES = (200, 303, 307, 400, 401, 403, 404, 405, 408, 411, 413, 415, 429, 500, 501, 503, 504)
#: Environment variable that BentoML sets if several processes serve, whose numbers are summed.
SHARED_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

#: Labels of a reload's outcome: another bundle is in service, or it was refused.
MOVED, REFUSED = "moved", "refused"

#: Name -> kind, description and labels of each series except the model's.
SERIES: dict[str, tuple[Any, ...]] = {
    "requests": (Counter, "Requests by route and status.", "route", "status"),
    "request_seconds": (
        Histogram,
        "Seconds from a request's first byte to the answer's last.",
        "route",
    ),
    "reloads": (
        Counter,
        "Reloads of a bundle, by outcome.",
        "outcome",
    ),
    "patients": (Counter, "Patients answered."),
    "abstentions": (Counter, "Patients for whom advice was withheld.", "reason"),
    "missing_modalities": (
        Counter,
        "Patients without any known value of a modality.",
        "modality",
    ),
    "odd_values": (
        Counter,
        "Values that could not be used, cannot be right, or are far outside training's.",
        *("kind", "feature"),
    ),
    "unknown_columns": (Counter, "Patients with names that are not in the study."),
    "unknown_assays": (
        Counter,
        "Patients whose expression was ranked on a scale that may not be theirs.",
    ),
    "feature_shift": (
        Gauge,
        "Mean of the last patients' values minus that of training, in training's standard "
        "deviations; of a category the level that differs most. NaN until enough are known.",
        "feature",
    ),
    "risk_share": (
        Gauge,
        "Part of the last patients in each third of the training patients' risk.",
        "group",
    ),
    "risk_psi": (
        Gauge,
        "Population stability index of the last patients' risk against training's tenths; "
        "above 0.25 is a shift.",
    ),
}
#: Kind of series -> further arguments of its constructor.
OPTIONS: dict[Any, dict[str, Any]] = {
    Histogram: {"buckets": BUCKETS},
    Gauge: {"multiprocess_mode": "mostrecent"},
}


class Metrics:
    """All metrics of a worker.

    Args:
        routes: paths with a label of their own.
    """

    def __init__(self, routes: tuple[str, ...] = ()) -> None:
        self._registry = CollectorRegistry()
        self._series: dict[str, Any] = {
            name: kind(
                f"accomplice_{name}",
                description,
                labels,
                registry=self._registry,
                **OPTIONS.get(kind, {}),
            )
            for name, (kind, description, *labels) in SERIES.items()
        }
        self._model = _ModelSeries()
        self._monitor: PatientMonitor | None = None
        self._routes = frozenset(routes)
        for outcome in (MOVED, REFUSED):
            self._series["reloads"].labels(outcome)

    def reload(self, outcome: str) -> None:
        """Count a reload, by its outcome: ``MOVED`` or ``REFUSED``."""
        self._series["reloads"].labels(outcome).inc()

    def request(self, path: str, status: int, seconds: float) -> None:
        """Count an answered request by path and HTTP status, and record its duration.

        Args:
            path: path of the request.
            status: HTTP status of the answer.
            seconds: duration, in seconds.
        """
        route = path if path in self._routes else OTHER
        label = str(status) if status in STATUSES else OTHER
        self._series["requests"].labels(route, label).inc()
        self._series["request_seconds"].labels(route).observe(seconds)

    def watch(self, predictor: Predictor) -> PatientMonitor:
        """Return a monitor of a predictor's patients, in place of any earlier one."""
        if self._monitor is not None:
            self._monitor.drift.forget()
        self._monitor = PatientMonitor(predictor, self._series)
        self._model.model = predictor.model
        return self._monitor

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus's text format."""
        if self._monitor is not None:
            self._monitor.drift.refresh()
        registry = self._registry
        if os.environ.get(SHARED_VARIABLE):
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry) + generate_latest(self._model)


class _ModelSeries:
    """Series that names the model in service; a replaced model leaves none."""

    def __init__(self) -> None:
        self.model: Mapping[str, Any] | None = None

    def collect(self) -> Iterator[Metric]:
        """Yield the series."""
        if self.model is None:
            return
        labels = {
            "name": self.model["name"],
            "digest": self.model["digest"][:12],
            "version": self.model["version"] or "",
            "synthetic": "true" if self.model["synthetic"] else "false",
        }
        description = "Always 1; the labels say which model answers."
        family = GaugeMetricFamily("accomplice_model", description, labels=tuple(labels))
        family.add_metric([*labels.values()], 1)
        yield family


class PatientMonitor:
    """Counter of patients, flags and abstentions, with a window of patients for drift.

    Args:
        predictor: predictor of the patients.
        series: the series to update, by name.
    """

    def __init__(self, predictor: Predictor, series: Mapping[str, Any]) -> None:
        bundle, self._series = predictor.bundle, series
        self._reasons = _reasons(bundle)
        self._abstentions = {
            name: series["abstentions"].labels(name) for name in sorted({*self._reasons.values()})
        }
        modalities = series["missing_modalities"]
        self._modalities = {name: modalities.labels(name) for name in bundle.study.blocks}
        self._odd: dict[str, Counter] = {}
        for name, feature in bundle.study.features.items():
            numeric = (OUT_OF_RANGE, NOT_A_NUMBER, OUTSIDE)
            kinds = (UNKNOWN_LEVEL,) if feature.levels is not None else numeric
            self._odd |= {
                f"{kind}:{name}": series["odd_values"].labels(kind, name) for kind in kinds
            }
        self.drift = _Drift(bundle, series)

    def __call__(self, read: CodedPatients, columns: Mapping[str, Column], /) -> None:
        """Count n coded patients, given the columns (n,) of their answers."""
        self._series["patients"].inc(len(read.flags))
        tally = Tally(chain.from_iterable(read.flags))
        for flag, count in tally.items():
            kind, _, name = flag.partition(":")
            if kind == "missing_modality":
                self._modalities[name].inc(count)
            elif kind == UNKNOWN_ASSAY:
                self._series["unknown_assays"].inc(count)
            elif kind in ODD:
                self._odd[flag].inc(count)
        unknown = {flag for flag in tally if flag.startswith(UNKNOWN)}
        if unknown:
            # A patient counts once, whatever the number of its flags.
            patients = sum(not unknown.isdisjoint(flags) for flags in read.flags)
            self._series["unknown_columns"].inc(patients)
        advice = columns.get("advice")
        if advice is not None:
            for text, count in Tally(advice.tolist()).items():
                if text.startswith(ABSTAINS):
                    self._abstentions[self._reasons.get(text, OTHER)].inc(count)
        self.drift.take(read, columns.get("risk_centile"))


def _reasons(bundle: Bundle) -> dict[str, str]:
    """Return text of abstaining advice -> label of its reason, for the primary model.

    ``OTHER``, the label of any further text, is always among the labels.
    """
    model, treatment = bundle.primary, bundle.study.treatment
    if treatment is None or model is None:
        return {OTHER: OTHER}
    if model.effect is None:
        return {OTHER: OTHER, f"{ABSTAINS}: {model.no_effect}": NO_EFFECT}
    texts = reasons(treatment, model.distrust)
    return {OTHER: OTHER} | {f"{ABSTAINS}: {text}": name for name, text in texts.items()}


class _Drift:
    """Window of the last patients, and its distance from the training patients."""

    def __init__(self, bundle: Bundle, series: Mapping[str, Any]) -> None:
        self._preprocessor = bundle.preprocessors()[0]
        study = self._preprocessor.study
        self._columns = [column.features[0] for column in self._preprocessor.single_columns()]
        positions = {name: j for j, name in enumerate(bundle.study.features)}
        self._positions = [positions[name] for name in study.features]
        self._values = np.full((WINDOW, len(study.features)), np.nan)
        self._centre = np.full(WINDOW, "", dtype=object)
        self._centiles = np.full(WINDOW, np.nan)
        self._taken = self._computed = 0
        self._lock = Lock()
        self._shift = {name: series["feature_shift"].labels(name) for name in study.features}
        self._share = {name: series["risk_share"].labels(name) for name in GROUPS}
        self._stability = series["risk_psi"]
        self.forget()

    def forget(self) -> None:
        """Set all gauges to NaN."""
        for gauge in (*self._shift.values(), *self._share.values(), self._stability):
            gauge.set(np.nan)

    def take(self, read: CodedPatients, centiles: Column | None) -> None:
        """Replace the oldest patients of the window by n patients and their risk centiles (n,).

        Of more than ``WINDOW`` patients the last ones are taken.
        """
        new = min(len(read.flags), WINDOW)
        with self._lock:
            rows = (self._taken + np.arange(new)) % WINDOW
            self._values[rows] = read.values[-new:, self._positions]
            self._centre[rows] = "" if read.centre is None else read.centre[-new:]
            if centiles is not None:
                self._centiles[rows] = centiles[-new:]
            self._taken += new

    def refresh(self) -> None:
        """Set the gauges, if ``FEWEST`` new patients have come since the last time.

        Those of the risk are set only if each patient in the window has a risk centile.
        """
        with self._lock:
            if self._taken - self._computed < FEWEST:
                return
            self._computed = self._taken
            rows = slice(0, min(self._taken, WINDOW))
            values, centiles = self._values[rows].copy(), self._centiles[rows].copy()
            centre = self._centre[rows].astype(str)
        single = self._preprocessor.singles(values, centre)
        known = (~np.isnan(single)).sum(axis=0)
        means = np.nansum(single, axis=0) / np.maximum(known, 1)
        shifts: dict[str, float] = {}
        for name, count, mean in zip(self._columns, known, means.tolist(), strict=True):
            if count >= FEWEST and abs(mean) >= abs(shifts.get(name, 0.0)):
                shifts[name] = mean
        for name, gauge in self._shift.items():
            gauge.set(round(shifts.get(name, np.nan), DECIMALS))
        if not np.isnan(centiles).any():
            count = np.histogram(centiles, BINS, (0, 100))[0]
            self._stability.set(round(stability(count), DECIMALS))
            for k, name in enumerate(GROUPS):
                inside = (centiles >= 100 * k / 3) & (centiles < 100 * (k + 1) / 3)
                self._share[name].set(round(float(inside.mean()), DECIMALS))


def stability(count: Ints) -> float:
    """Return the population stability index of counts (k,) in bins of equal probability.

    It is the sum over bins of (s − 1/k) log(s k), with s the share of a bin after ``PSEUDO`` is
    added to each count (Siddiqi, "Credit Risk Scorecards", 2006).
    """
    share = (count + PSEUDO) / (count + PSEUDO).sum()
    return float(((share - 1 / len(count)) * np.log(share * len(count))).sum())
