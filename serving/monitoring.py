"""What a monitor may know of the endpoint: its traffic, and how far patients are from training's.

BentoML's own counters of requests are off. They label by the path that was asked for, whatever it
was: that keeps a text of the client's, and a series of its own in memory for each, even of clients
that no token lets in. Here every label comes from the routes and the study.

The counters go on where another bundle takes the first one's place, as Prometheus expects of them.
Their objects are made once: those that several processes share keep all that was ever made of them.

Nothing is about one patient. Drift is over a window of patients and is worked out anew, when a
monitor asks, only once so many more have come that the difference from last time is not one of
them.
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
from accomplice.serving.answers.predictor import Predictor
from accomplice.serving.requests.patient_reader import Patients
from accomplice.training.bundle import UNKNOWN_ASSAY, Bundle
from accomplice.training.models.risk_centiles import GROUPS
from accomplice.training.models.survival import Column
from accomplice.training.treatment.benefit import ABSTAINS, reasons

#: Patients that the window of drift holds, and how many must have come since it was last looked at
#: and be known of a feature.
WINDOW, FEWEST = 1000, 50
#: Decimals of a drift.
DECIMALS = 2
#: Bins of the centile in the risk's population stability index, and what is added to each.
BINS, PSEUDO = 10, 0.5
#: Bounds, in seconds, of the classes of a request's duration.
BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
OTHER, NO_EFFECT = "other", "no_effect"
#: Kinds of odd value that are counted by feature.
ODD = (OUT_OF_RANGE, UNKNOWN_LEVEL, NOT_A_NUMBER)
#: What the flags of names that the study does not know begin with.
UNKNOWN = "unknown_column:"
#: Statuses that are counted apart.
STATUSES = (200, 303, 307, 400, 401, 403, 404, 405, 408, 411, 413, 415, 429, 500, 503, 504)
#: Set by BentoML where several processes serve, whose numbers are to be added up.
SHARED_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


#: What came of a bundle that was to take the place of another.
MOVED, REFUSED = "moved", "refused"


class Metrics:
    """All that is measured of one service."""

    def __init__(self, routes: tuple[str, ...] = ()) -> None:
        self._registry = CollectorRegistry()
        self._series = _Series(self._registry)
        self._about = _About()
        self._watch: Watched | None = None
        self._routes = frozenset(routes)
        self._requests = Counter(
            "accomplice_requests",
            "Requests by route and status.",
            ["route", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "accomplice_request_seconds",
            "Seconds from a request's first byte to the answer's last.",
            ["route"],
            buckets=BUCKETS,
            registry=self._registry,
        )
        reloads = Counter(
            "accomplice_reloads",
            "Bundles that were to take the place of the one that answered, by what came of it.",
            ["outcome"],
            registry=self._registry,
        )
        self._reloads = {outcome: reloads.labels(outcome) for outcome in (MOVED, REFUSED)}

    def reload(self, outcome: str) -> None:
        """Count a bundle that took the place of another, or was refused."""
        self._reloads[outcome].inc()

    def request(self, path: str, status: int, seconds: float) -> None:
        """Count a request."""
        route = path if path in self._routes else OTHER
        self._requests.labels(route, str(status) if status in STATUSES else OTHER).inc()
        self._seconds.labels(route).observe(seconds)

    def watch(self, predictor: Predictor) -> Watched:
        """Begin to watch the patients of a predictor, in place of any other."""
        if self._watch is not None:
            self._watch.end()
        self._watch = Watched(predictor, self._series)
        self._about.model = predictor.model
        return self._watch

    def exposition(self) -> bytes:
        """Return it all as Prometheus reads it."""
        if self._watch is not None:
            self._watch.refresh()
        if os.environ.get(SHARED_VARIABLE):
            shared = CollectorRegistry()
            MultiProcessCollector(shared)  # type: ignore[no-untyped-call]
            return generate_latest(shared) + generate_latest(self._about)
        return generate_latest(self._registry) + generate_latest(self._about)


class _About:
    """Says which model answers: one series, of this process, however many answered before."""

    def __init__(self) -> None:
        self.model: Mapping[str, Any] | None = None

    def collect(self) -> Iterator[Metric]:
        """Yield the series."""
        if self.model is None:
            return
        labels = ("name", "digest", "version", "synthetic")
        about = "Always 1; the labels say which model answers."
        made = GaugeMetricFamily("accomplice_model", about, labels=labels)
        model = self.model
        synthetic = "true" if model["synthetic"] else "false"
        version = model["version"] or ""
        made.add_metric([model["name"], model["digest"][:12], version, synthetic], 1)
        yield made


class _Series:
    """What is measured of patients, whichever bundle answers them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, about: str, *labels: str) -> Counter:
            return Counter(f"accomplice_{name}", about, labels, registry=registry)

        def gauge(name: str, about: str, *labels: str) -> Gauge:
            mode: Any = "mostrecent"
            full = f"accomplice_{name}"
            return Gauge(full, about, labels, registry=registry, multiprocess_mode=mode)

        self.patients = counter("patients", "Patients answered.")
        self.abstentions = counter(
            "abstentions", "Patients for whom advice was withheld.", "reason"
        )
        self.modalities = counter(
            "missing_modalities", "Patients of whom nothing of a modality was known.", "modality"
        )
        self.odd = counter(
            "odd_values",
            "Values that could not be used, or lie outside what can be right.",
            *("kind", "feature"),
        )
        self.unknown = counter(
            "unknown_columns", "Patients with names that the study does not know."
        )
        self.assay = counter(
            "unknown_assays",
            "Patients whose expression was ranked on a scale that may not be theirs.",
        )
        self.shift = gauge(
            "feature_shift",
            "Mean of the last patients' values minus that of training, in training's standard "
            "deviations; of a category the level that differs most. NaN until enough are known.",
            "feature",
        )
        self.share = gauge(
            "risk_share",
            "Part of the last patients in each third of the training patients' risk.",
            "group",
        )
        self.stability = gauge(
            "risk_psi",
            "Population stability index of the last patients' risk against training's tenths; "
            "above 0.25 is a shift.",
        )


class Watched:
    """Counts patients and what is said of them, and keeps a window of them to see drift."""

    def __init__(self, predictor: Predictor, series: _Series) -> None:
        bundle = predictor.bundle
        self._patients, self._unknown, self._assay = series.patients, series.unknown, series.assay
        self._reasons = _reasons(bundle)
        self._abstentions = {
            name: series.abstentions.labels(name) for name in sorted({*self._reasons.values()})
        }
        self._modalities = {name: series.modalities.labels(name) for name in bundle.study.blocks}
        self._odd: dict[str, Counter] = {}
        for name, feature in bundle.study.features.items():
            kinds = (UNKNOWN_LEVEL,) if feature.levels is not None else (OUT_OF_RANGE, NOT_A_NUMBER)
            self._odd |= {f"{kind}:{name}": series.odd.labels(kind, name) for kind in kinds}
        self._drift = _Drift(bundle, series)

    def __call__(self, read: Patients, columns: Mapping[str, Column], /) -> None:
        """Take n patients and what is said of them, as ``answers.predictor.Watch``."""
        self._patients.inc(len(read.flags))
        tally = Tally(chain.from_iterable(read.flags))
        for flag, count in tally.items():
            kind, _, name = flag.partition(":")
            if kind == "missing_modality":
                self._modalities[name].inc(count)
            elif kind == UNKNOWN_ASSAY:
                self._assay.inc(count)
            elif kind in ODD:
                self._odd[flag].inc(count)
        unknown = {flag for flag in tally if flag.startswith(UNKNOWN)}
        if unknown:
            # A patient has one flag for each name, and all of them count once.
            self._unknown.inc(sum(not unknown.isdisjoint(own) for own in read.flags))
        advice = columns.get("advice")
        if advice is not None:
            for text, count in Tally(advice.tolist()).items():
                if text.startswith(ABSTAINS):
                    self._abstentions[self._reasons.get(text, OTHER)].inc(count)
        self._drift.take(read, columns.get("risk_centile"))

    def refresh(self) -> None:
        """Work the drift out anew, if enough patients have come."""
        self._drift.refresh()

    def end(self) -> None:
        """Leave the drift unknown: another bundle's patients are watched from now on."""
        self._drift.forget()


def _reasons(bundle: Bundle) -> dict[str, str]:
    """Advice that abstains -> short name of its reason, of the primary endpoint's model."""
    model, found = bundle.primary, {OTHER: OTHER}
    if bundle.study.treatment is None or model is None:
        return found
    if model.effect is None:
        return found | {f"{ABSTAINS}: {model.no_effect}": NO_EFFECT}
    named = reasons(bundle.study.treatment, model.distrust)
    return found | {f"{ABSTAINS}: {text}": name for name, text in named.items()}


class _Drift:
    """The last patients, and how far they are from those of training."""

    def __init__(self, bundle: Bundle, series: _Series) -> None:
        self._preprocessor = bundle.preprocessors()[0]
        study = self._preprocessor.study
        self._columns = [column.features[0] for column in self._preprocessor.single_columns()]
        places = {name: j for j, name in enumerate(bundle.study.features)}
        self._read = [places[name] for name in study.features]
        self._values = np.full((WINDOW, len(study.features)), np.nan)
        self._centre = np.full(WINDOW, "", dtype=object)
        self._centiles = np.full(WINDOW, np.nan)
        self._taken = self._seen = 0
        self._lock = Lock()
        self._shift = {name: series.shift.labels(name) for name in study.features}
        self._share = {name: series.share.labels(name) for name in GROUPS}
        self._stability = series.stability
        self.forget()

    def forget(self) -> None:
        """Say that nothing is known."""
        for gauge in (*self._shift.values(), *self._share.values(), self._stability):
            gauge.set(np.nan)

    def take(self, read: Patients, centiles: Column | None) -> None:
        """Keep the patients in place of the oldest."""
        kept = min(len(read.flags), WINDOW)
        with self._lock:
            rows = (self._taken + np.arange(kept)) % WINDOW
            self._values[rows] = read.values[-kept:, self._read]
            self._centre[rows] = "" if read.centre is None else read.centre[-kept:]
            if centiles is not None:
                self._centiles[rows] = centiles[-kept:]
            self._taken += kept

    def refresh(self) -> None:
        """Set the gauges, if ``FEWEST`` patients have come since that was last done."""
        with self._lock:
            if self._taken - self._seen < FEWEST:
                return
            self._seen = self._taken
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
    """Return the population stability index of counts in bins that are equally likely."""
    share = (count + PSEUDO) / (count + PSEUDO).sum()
    return float(((share - 1 / len(count)) * np.log(share * len(count))).sum())
