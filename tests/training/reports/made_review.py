"""A made-up record of a review, as large as one of a real cohort, for figures, page and card."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from accomplice.training.estimators.intervals import Estimate
from accomplice.training.evaluation.record import (
    CalibrationAt,
    Curve,
    Decision,
    ExpectedConcordance,
    Finding,
    Importance,
    Instability,
    ModalityValue,
    PartialEffect,
    Pattern,
    Review,
    RiskGroup,
    Subgroup,
    Surface,
)
from accomplice.training.metrics.joint_calibration import JointCalibration
from accomplice.training.metrics.smooth_calibration import SmoothCalibration

MODELS = {
    "model": (0.655, 0.186),
    "anchor": (0.648, 0.188),
    "net": (0.652, 0.187),
    "forest": (0.640, 0.190),
    "boosting": (0.637, 0.191),
    "Kaplan-Meier": (0.5, 0.206),
    "stage": (0.598, 0.198),
    "clinical": (0.642, 0.188),
    "random survival forest": (0.633, 0.192),
    "boosted trees": (0.629, 0.193),
}
BASELINES = tuple(MODELS)[5:]
SUBGROUPS = (
    ("all", "everybody", 317, 129),
    ("age", "below 67", 152, 52),
    ("age", "67 and above", 165, 77),
    ("sex", "Female", 113, 41),
    ("sex", "Male", 204, 88),
    ("pathologic_stage", "Stage I–II", 141, 41),
    ("pathologic_stage", "Stage III–IV", 164, 82),
    ("lauren_classification", "intestinal", 148, 57),
    ("lauren_classification", "diffuse", 60, 27),
    ("msi", "MSI-H", 61, 21),
    ("msi", "MSS", 250, 106),
    ("centre", "Brandenburg Medical Centre", 96, 38),
    ("centre", "other", 9, 2),
)
MODALITIES = (
    ("clinical", 317, 0.062, 0.0121),
    ("molecular", 311, 0.006, 0.0011),
    ("il1r1", 290, 0.002, 0.0003),
    ("macrophage", 290, 0.001, 0.0002),
    ("t_cell", 290, -0.002, -0.0004),
    ("stroma", 288, 0.004, 0.0006),
    ("signatures_of_expression", 288, 0.009, 0.0013),
)
FEATURES = (
    ("age", "clinical"),
    ("pathologic_stage", "clinical"),
    ("lymph_nodes_positive_ratio", "clinical"),
    ("sig_Macrophages_Danaher_et_al", "signatures_of_expression"),
    ("residual_tumor", "clinical"),
    ("sig_Cytotoxic_cells_Danaher_et_al", "signatures_of_expression"),
    ("FAP", "stroma"),
    ("IL1R1", "il1r1"),
    ("PDGFRB", "stroma"),
    ("CD163", "macrophage"),
    ("MSI_SENSOR_SCORE", "molecular"),
    ("tumor_mutational_burden_nonsynonymous", "molecular"),
    ("MRC1", "macrophage"),
    ("CD8A", "t_cell"),
    ("sex", "clinical"),
    ("PDCD1", "t_cell"),
    ("CD68", "macrophage"),
    ("lauren_classification", "clinical"),
    ("IL1B", "macrophage"),
    ("sig_Wound_healing_Chang_PNAS", "signatures_of_expression"),
)
SENTINELS = (
    ("shuffled_outcome", "Does it find nothing where there is nothing?", "clear"),
    ("ceiling", "Is it better than can be?", "clear"),
    ("lone_feature", "Does one feature alone predict too well?", "fired"),
    ("after_outcome", "Was a feature known only after the outcome?", "caution"),
    ("duplicates", "Are patients in two folds?", "clear"),
    ("immortal_time", "Must the treated have lived to be treated?", "not run"),
)


def span(value: float, half: float) -> Estimate:
    """Return a figure with an interval of half a width to either side."""
    return Estimate(value, value - half, value + half)


def band(value: Sequence[float], half: float) -> Curve:
    """Return a curve with a band of the same width all along, inside 0 and 1."""
    middle = np.asarray(value, dtype=float)
    low, high = np.clip(middle - half, 0, 1), np.clip(middle + half, 0, 1)
    return Curve(value=tuple(middle), low=tuple(low), high=tuple(high))


def made_review(*, synthetic: bool = True) -> Review:
    """Return a whole record: 10 models, 13 subgroups, 7 modalities, 4 patterns, 20 features."""
    months = np.linspace(0, 60, 41)
    return Review(
        cohort="made-up-gastric",
        endpoint="os",
        protocol="out of fold",
        synthetic=synthetic,
        patients=317,
        events=129,
        horizon=60.0,
        bootstraps=1000,
        months=tuple(months),
        marks=(0, 12, 24, 36, 48, 60),
        strongest="clinical",
        risk_groups=_risk_groups(months),
        auc={
            name: band(0.5 + (c - 0.5) * (1.35 - months / 120), 0.05)
            for name, (c, _) in MODELS.items()
            if name == "model" or name in BASELINES
        },
        brier={
            name: band(ibs * 1.25 * (1 - np.exp(-months / 11)), 0.02)
            for name, (_, ibs) in MODELS.items()
            if name == "model" or name in BASELINES
        },
        scores={
            name: {
                "uno_c": span(c, 0.045),
                "harrell_c": span(c - 0.004, 0.04),
                "ibs": span(i, 0.014),
            }
            for name, (c, i) in MODELS.items()
        },
        gains={
            name: {
                "uno_c": span(MODELS["model"][0] - MODELS[name][0], 0.021),
                "ibs": span(MODELS[name][1] - MODELS["model"][1], 0.005),
            }
            for name in BASELINES
        },
        expected_concordance=ExpectedConcordance(uno_c=span(0.7, 0.01), excess=span(0.003, 0.04)),
        calibration=tuple(_calibration(m, s) for m, s in ((12, 1.05), (36, 0.91), (60, 0.72))),
        joint_calibration=JointCalibration(span(0.81, 0.15), span(1.04, 0.12), 0.03),
        d_calibration_p=0.41,
        decisions=tuple(_decision(m, r) for m, r in ((12, 0.17), (36, 0.4), (60, 0.52))),
        subgroups=tuple(_subgroup(i, *row) for i, row in enumerate(SUBGROUPS)),
        patterns=_patterns(),
        modalities=tuple(
            ModalityValue(
                modality=name, patients=n, uno_c_loss=span(c, 0.012), ibs_loss=span(i, 0.0022)
            )
            for name, n, c, i in MODALITIES
        ),
        instability=_instability(),
        importance=tuple(
            Importance(
                feature=name,
                modality=modality,
                size=Estimate(0.3 * 0.83**k, 0.23 * 0.8**k, 0.38 * 0.86**k),
            )
            for k, (name, modality) in enumerate(FEATURES)
        ),
        effects=_effects(),
        surface=_surface(),
        sentinels=tuple(
            Finding(
                sentinel=name,
                question=question,
                status=status,
                text=f"What was found by {name}: 0.51 (0.45 to 0.57).",
                features=("tumor_status",) if status == "fired" else (),
            )
            for name, question, status in SENTINELS
        ),
        notes=("peers: scikit-survival is not installed, so that its forest was left out",),
    )


def unknown_review() -> Review:
    """Return the whole record with every number that may be undefined undefined."""

    def unknown(value: object) -> object:
        if isinstance(value, dict):
            return {key: unknown(part) for key, part in value.items()}
        if isinstance(value, list):
            return [unknown(part) for part in value]
        return None if isinstance(value, float) else value

    raw = unknown(made_review().model_dump(mode="json"))
    assert isinstance(raw, dict)
    return Review.model_validate(raw)


def bare_review() -> Review:
    """Return a record with every part that may be empty empty."""
    kept = made_review()
    empty = {
        name: () if isinstance(value, tuple) else {}
        for name, value in kept
        if isinstance(value, tuple | dict)
    }
    absent = {"instability": None, "surface": None, "d_calibration_p": math.nan, "strongest": ""}
    return kept.model_copy(update={**empty, **absent})


def _risk_groups(months: np.ndarray) -> tuple[RiskGroup, ...]:
    found = []
    for name, n, events, rate in (
        ("low", 106, 24, 0.006),
        ("middle", 106, 43, 0.012),
        ("high", 105, 62, 0.026),
    ):
        left = tuple(int(n * math.exp(-(rate + 0.012) * m)) for m in (0, 12, 24, 36, 48, 60))
        survival = band(np.exp(-rate * months), 0.08)
        found.append(
            RiskGroup(name=name, patients=n, events=events, survival=survival, at_risk=left)
        )
    return tuple(found)


def _calibration(month: float, slope: float) -> CalibrationAt:
    predicted = 1 - month / 60 * np.array([0.7, 0.55, 0.45, 0.35, 0.3, 0.24, 0.16, 0.08])
    observed = 1 - (1 - predicted) ** (2 - slope)
    return CalibrationAt(
        month=month,
        slope=span(slope, 0.22),
        observed_expected=span(1.06, 0.17),
        intercept=span(0.06, 0.18),
        smooth=_smooth(month, slope) if month < 60 else None,
        predicted=tuple(predicted),
        observed=tuple(observed),
        low=tuple(observed - 0.1),
        high=tuple(np.minimum(observed + 0.09, 1)),
        size=(40, 40, 40, 40, 39, 39, 39, 40),
    )


def _smooth(month: float, slope: float) -> SmoothCalibration:
    predicted = np.linspace(1 - month / 80, 0.97, 25)
    observed = 1 - (1 - predicted) ** (2 - slope)
    low, high = np.maximum(observed - 0.07, 0), np.minimum(observed + 0.07, 1)
    curves = (tuple(each.tolist()) for each in (predicted, observed, low, high))
    return SmoothCalibration(*curves, ici=0.021, e50=0.018, e90=0.043, ici_by_chance=0.034)


def _decision(month: float, rate: float) -> Decision:
    x = np.linspace(0.05, 0.75, 29)
    everybody = rate - (1 - rate) * x / (1 - x)
    benefit = {
        name: tuple(
            np.maximum(everybody, 0) + rate * (c - 0.5) * np.exp(-(((x - rate) / 0.22) ** 2))
        )
        for name, (c, _) in MODELS.items()
        if name in ("model", "stage", "clinical", "random survival forest")
    }
    gain = np.array(benefit["model"]) - np.array(benefit["clinical"])
    return Decision(
        month=month,
        thresholds=tuple(x),
        benefit=benefit,
        everybody=tuple(everybody),
        gain=Curve(value=tuple(gain), low=tuple(gain - 0.011), high=tuple(gain + 0.011)),
        overall=span(0.6, 1.1),
    )


def _subgroup(i: int, feature: str, level: str, patients: int, events: int) -> Subgroup:
    half = 0.6 / math.sqrt(events)
    c = 0.655 if i == 0 else 0.655 + 0.04 * math.sin(2.3 * i)
    gain = span(0.002 if i == 0 else 0.002 + 0.006 * math.sin(1.7 * i), half / 12)
    if events < 5:
        return Subgroup(
            feature=feature,
            level=level,
            patients=patients,
            events=events,
            uno_c=Estimate(math.nan),
            ibs=Estimate(math.nan),
            observed_expected=Estimate(math.nan),
            ibs_gain=Estimate(math.nan),
        )
    return Subgroup(
        feature=feature,
        level=level,
        patients=patients,
        events=events,
        uno_c=span(c, half),
        ibs=span(0.187, half / 4),
        observed_expected=span(1 + 0.1 * math.sin(i), 1.7 / math.sqrt(events)),
        expected_c=c + 0.02 * math.cos(i),
        slope=span(1 + 0.2 * math.cos(i), 2.5 / math.sqrt(events)),
        ranking_p=1.0,
        level_p=0.6,
        ibs_gain=gain,
        gain_p=1.0,
    )


def _patterns() -> tuple[Pattern, ...]:
    rows: tuple[tuple[tuple[str, ...], int, int, float], ...] = (
        ((), 281, 113, 0.66),
        (("il1r1", "macrophage", "t_cell", "stroma", "signatures_of_expression"), 21, 10, 0.6),
        (("molecular",), 9, 4, math.nan),
        (("stroma", "signatures_of_expression"), 6, 2, math.nan),
    )
    return tuple(
        Pattern(
            missing=missing,
            patients=n,
            events=events,
            uno_c=span(c, 0.5 / math.sqrt(events)),
            ibs=span(0.18 if c == c else math.nan, 0.2 / math.sqrt(events)),
            observed_expected=span(1.1 if c == c else math.nan, 1.6 / math.sqrt(events)),
        )
        for missing, n, events, c in rows
    )


def _instability() -> Instability:
    predicted = np.linspace(0.16, 0.9, 12)
    half = 0.04 + 0.25 * predicted * (1 - predicted)
    return Instability(
        month=36.0,
        predicted=tuple(predicted),
        low=tuple(predicted - half),
        high=tuple(predicted + half * 0.9),
        mean_difference=0.048,
        widest=(0.08, 0.13, 0.17, 0.22, 0.29),
    )


def _effects() -> tuple[PartialEffect, ...]:
    x = np.linspace(0, 1, 12)
    shapes = {
        "age": (38 + 50 * x, 0.5 * x),
        "lymph_nodes_positive_ratio": (x, 0.8 * np.sqrt(x)),
        "sig_Macrophages_Danaher_et_al": (5 + 6 * x, 0.3 * (x - 0.5) ** 2),
        "sig_Cytotoxic_cells_Danaher_et_al": (4 + 5 * x, -0.2 * x),
        "FAP": (2 + 10 * x, 0.2 * x),
        "IL1R1": (4 + 7 * x, 0.15 * x),
        "CD163": (5 + 8 * x, 0.1 * np.sin(5 * x)),
    }
    found = [
        PartialEffect(feature=name, at=tuple(at), log_hz=_around(log_hz - log_hz.mean(), 0.12))
        for name, (at, log_hz) in shapes.items()
    ]
    for name, levels in (
        ("pathologic_stage", ("Stage I", "Stage II", "Stage III", "Stage IV")),
        ("lauren_classification", ("intestinal type", "diffuse type", "mixed type")),
    ):
        k = len(levels)
        found.append(
            PartialEffect(
                feature=name,
                levels=levels,
                at=tuple(float(i) for i in range(k)),
                log_hz=_around(np.linspace(-0.4, 0.6, k), 0.15),
            )
        )
    return tuple(found)


def _around(middle: np.ndarray, half: float) -> Curve:
    low, high = middle - half, middle + half
    return Curve(value=tuple(middle), low=tuple(low), high=tuple(high))


def _surface() -> Surface:
    x, y = np.linspace(4, 11, 13), np.linspace(5, 13, 13)
    log_hz = 0.08 * (x - 7.5) + 0.03 * (y[:, None] - 9) + 0.012 * (x - 7.5) * (y[:, None] - 9)
    survival = np.exp(-0.45 * np.exp(log_hz))
    return Surface(
        x="IL1R1",
        y="CD163",
        at_x=tuple(x),
        at_y=tuple(y),
        month=36.0,
        survival=tuple(tuple(row) for row in survival),
        interaction=span(0.021, 0.015),
    )
