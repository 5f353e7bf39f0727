"""The embedded synthetic gastric cohort: drawn from a structural model whose truth is kept.

No row is a patient. The model is fitted to published and re-analysed summary figures only, so the
table looks like a surgical gastric cohort and both potential outcomes are known for every row. It
serves demonstrations and tests of whether a model recovers the survival, the effect of adjuvant
chemotherapy (ACT) and the response to immune checkpoint inhibitors (ICI) of the structural model.

Marks of evidence on the constants: [R] read in a published source, [C] computed from public
patient-level data (TCGA-STAD, ACRG), [M] from memory, [A] assumed here, [F] found by simulation so
that the drawn cohort hits the summary figures named beside it (``tests/data/test_synthetic.py``
holds the figures and the tolerances).

The stages of the model are one function each: ``draw_clinical`` -> ``draw_markers`` ->
``draw_treatment`` -> ``draw_survival``, ``draw_response``; then ``measure`` and ``hide`` of
``data.synthetic_records``. They are pure but for the generator they are given; each has its own
stream, so that the variants other than ``shifted`` hold the same patients and differ only where
the structural model does.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from accomplice.data.arrays import Array
from accomplice.data.synthetic_records import CENTRES, GENES, SHIFTED_CENTRE, hide, measure
from accomplice.data.synthetic_survival import draw_survival, potential_outcomes

VARIANTS: tuple[str, ...] = ("default", "strong", "null", "shifted", "confounded")

STAGES = ("I", "II", "III", "IV")
STAGE_SHARE = (0.13, 0.33, 0.48, 0.06)  # between ACRG and TCGA [C]
# Pathological T and N that make a stage (AJCC 8 [M]; T4 N0 is II as T4a and III as T4b) and their
# shares within the stage [F]: 5-year survival 85/72/50/22 %, C-index of the stage alone .645.
# Stage IV is M1, drawn with advanced T and N.
TN_GIVEN_STAGE: Mapping[str, Mapping[tuple[int, int], float]] = {
    "I": {(1, 0): 0.78, (2, 0): 0.16, (1, 1): 0.06},
    "II": {
        (3, 0): 0.40,
        (4, 0): 0.12,
        (2, 1): 0.10,
        (3, 1): 0.10,
        (1, 2): 0.04,
        (2, 2): 0.14,
        (1, 3): 0.10,
    },
    "III": {
        (4, 0): 0.12,
        (4, 1): 0.22,
        (3, 2): 0.16,
        (4, 2): 0.08,
        (2, 3): 0.02,
        (3, 3): 0.15,
        (4, 3): 0.25,
    },
    "IV": {(3, 1): 0.10, (3, 2): 0.15, (4, 1): 0.15, (4, 2): 0.20, (4, 3): 0.40},
}

ACT_HABIT = {"centre A": 0.2, "centre B": -0.2, "centre C": 0.1, "centre D": -0.3}
ACT_HABIT |= {"centre E": 0.3, SHIFTED_CENTRE: 0.0}  # log-odds of giving ACT [A]

# Loadings on the stroma, macrophage and T-cell factors [F]: Spearman IL1R1 with CD163 .45,
# MRC1 .44, CD68 .22, CD8A .15, PDCD1 .10, CAF .73; CD163-MRC1 .77, CD163-CD8A .45, CD8A-PDCD1 .68.
# TCGA: .43, .43, .16, .24, .16, .73; .89, .49, .81 [C]. IL1B is assumed [A].
# One column per gene of GENES.
LOADINGS = np.array(
    [
        (0.785, 0.10, 0.12, 0.38, 0.38, 0.05, 0.00, 0.84, 0.91),  # stroma
        (0.195, 0.45, 0.60, 0.81, 0.76, 0.32, 0.33, 0.05, 0.05),  # macrophage
        (0.060, 0.10, 0.18, 0.20, 0.14, 0.92, 0.64, 0.04, 0.04),  # T cell
    ]
)
# Log hazard ratios without ACT. Age per 10 years, T and N per level. A Cox model of these, ACT
# and the markers reads 1.30, 1.32, 1.63, 2.36, 0.71, 1.13, 1.05 [F]; ACRG 1.30, 1.40, 1.83, 2.45,
# .71, 1.26, 1.14 [C]. MSI-H reads 0.71 although it is 0.58 without ACT, as ACT helps MSI-H less.
LOG_HR = {"age": np.log(1.30), "t": np.log(1.33), "n": np.log(1.65), "m1": np.log(2.36)}
LOG_HR |= {"msi": -0.55, "diffuse": np.log(1.13), "male": np.log(1.05)}
# Per SD, given the other markers. One marker at a time beside the clinical factors and ACT reads
# IL1R1 1.36, CD163 1.13, CD8A 0.92, CAF 1.32 [F]; M2 high 1.48 (1.25-1.75) in a meta-analysis [R].
# Most of what IL1R1 says about survival is thus stroma and a lesser benefit from ACT.
LOG_HR |= {"il1r1": 0.055, "cd163": 0.04, "cd8": -0.11, "caf": 0.12}
FITNESS_LOG_HR = -0.5  # `confounded` only, per SD of the unrecorded fitness [A]

# HR of ACT in stage II-III 0.62, IL1R1 low/high 0.48/0.76 (trials 0.66-0.85; TCGA 0.37/0.76 [C]);
# 5-year gain 19/7 points [F]; the form and the terms other than IL1R1 are assumed [A].
ACT_MAIN, ACT_MSI, ACT_CD8, ACT_CAP = -0.56, 0.35, -0.08, 0.25
ACT_IL1R1 = {"default": 0.35, "strong": 0.55, "shifted": 0.35, "confounded": 0.35}
ACT_NULL = float(np.log(0.62))  # `null`: the same for every patient
ACT_LOGIT = {"I": -1.58, "II": 0.33, "III": 0.97, "IV": 0.62}  # [F] given to 18/58/72/65 %
ACT_AGE = -0.40  # log-odds per 10 years [A]
FITNESS_ACT = 1.0  # `confounded` only: log-odds per SD [A]

# Log-odds of ICI response [F]: 19 % overall; MSI-H 61, EBV 52, PD-L1 high/low 28/11, IL1R1
# high/low 11/28 %. Kim 2018 saw 85.7 % and 100 % in MSI-H and EBV [R].
RESPONSE = {"intercept": -2.92, "msi": 2.75, "ebv": 2.2, "pdl1": 1.1, "il1r1": -0.98}
ICI_GIVEN = {"I": 0.3, "II": 0.7, "III": 1.2, "IV": 2.4}  # odds of being treated, relative [A]


@dataclass(frozen=True)
class SyntheticCohort:
    """A drawn cohort and its true quantities.

    Attributes:
        frame: one row per synthetic patient, the table a hospital would have.
        truth: one row per synthetic patient in the same order, without gaps: the linear predictor
            as treated, and with and without ACT (``log_hz*``); survival at 60 months and RMST(60)
            in months under both; ``benefit60`` = survival with minus without; ``p_act``,
            ``p_response``; the markers in SD units free of centre and assay; the unrecorded
            ``fitness``; and the statuses that ``frame`` may lack (``act``, ``msi_high``, ...).
    """

    frame: pd.DataFrame
    truth: pd.DataFrame


def draw(
    n: int,
    *,
    variant: str = "default",
    seed: int = 0,
    missing: bool = True,
    ici_fraction: float = 0.075,
) -> SyntheticCohort:
    """Draw a synthetic cohort; the same arguments give the same cohort, bit for bit.

    Args:
        n: patients, at least 1.
        variant: ``default``; ``strong`` (interaction of ACT with IL1R1 0.55 per SD, not 0.35);
            ``null`` (ACT acts the same on every patient); ``shifted`` (another centre: baseline
            hazard doubled, 23 months of follow-up, half of the ACT flags missing, another assay
            scale); ``confounded`` (ACT depends on an unrecorded fitness that drives survival).
        seed: a non-negative integer. Variants other than ``shifted`` share patients at one seed.
        missing: inject missing values; without, only ``ici_response`` has gaps.
        ici_fraction: share of patients treated with ICI, whose response is known, in [0, 1].

    Returns:
        The cohort and its truth.

    Raises:
        ValueError: an unknown variant, ``n`` below 1 or ``ici_fraction`` outside [0, 1].
    """
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant {variant!r}; known: {', '.join(VARIANTS)}")
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    if not 0.0 <= ici_fraction <= 1.0:
        raise ValueError(f"ici_fraction must lie in [0, 1], got {ici_fraction}")
    streams = np.random.SeedSequence([seed, int(variant == "shifted")]).spawn(7)
    rngs = [np.random.default_rng(stream) for stream in streams]
    clinical = draw_clinical(n, rngs[0], shifted=variant == "shifted")
    markers = draw_markers(clinical, rngs[1])
    treatment = draw_treatment(clinical, markers, rngs[2], variant=variant)
    hazards = log_hazards(clinical, markers, treatment, variant=variant)
    outcome = draw_survival(hazards["log_hz"].to_numpy(), rngs[3], variant=variant)
    response = draw_response(clinical, markers, rngs[4], fraction=ici_fraction)
    measured = measure(clinical, markers, rngs[5], shifted=variant == "shifted")
    identity = pd.DataFrame({"patient_id": _identifiers(n, variant)})
    act = pd.Series(np.where(treatment["act"], "yes", "no"), name="act", dtype="str")
    recorded = [identity, clinical, _pdl1_status(markers), act, measured, outcome]
    frame = pd.concat([*recorded, response[["ici_response"]]], axis=1)
    if missing:
        frame = hide(frame, rngs[6], variant=variant)
    effects = potential_outcomes(hazards)
    told = [identity, hazards, effects, treatment, response[["p_response"]], markers]
    truth = pd.concat([*told, _statuses(clinical)], axis=1)
    return SyntheticCohort(frame=frame, truth=truth)


def draw_clinical(n: int, rng: np.random.Generator, *, shifted: bool = False) -> pd.DataFrame:
    """Draw centre, age, sex, TNM, Lauren type, location, MSI and EBV; stage first, T and N from it.

    Marginals lie between ACRG and TCGA [C]. MSI-H goes with age, women, the antrum and early
    stage; EBV with men and the proximal stomach; diffuse type with youth and women [M].
    """
    names = [SHIFTED_CENTRE] if shifted else list(CENTRES)
    weights = [1.0] if shifted else list(CENTRES.values())
    centre = rng.choice(names, n, p=weights)
    age = np.clip(np.rint(rng.normal(62.0, 11.0, n)), 24, 92)
    male = rng.random(n) < 0.67
    stage = rng.choice(4, n, p=STAGE_SHARE)
    t, n_level = np.zeros(n, dtype=int), np.zeros(n, dtype=int)
    for index, name in enumerate(STAGES):
        pairs, shares = list(TN_GIVEN_STAGE[name]), list(TN_GIVEN_STAGE[name].values())
        rows = np.flatnonzero(stage == index)
        chosen = np.asarray(pairs)[rng.choice(len(pairs), rows.size, p=shares)]
        t[rows], n_level[rows] = chosen[:, 0], chosen[:, 1]
    location = rng.choice(4, n, p=(0.42, 0.36, 0.12, 0.10))
    decades = (age - 62.0) / 10.0
    # Intercepts [F]: MSI-H 12 %, EBV 3.5 %, intestinal/diffuse/mixed 59/33/8 %.
    msi = rng.random(n) < _expit(
        -1.99 + 0.25 * decades - 0.35 * male + 0.4 * (location == 0) - 0.15 * (stage - 1.5)
    )
    ebv = ~msi & (rng.random(n) < _expit(-3.45 + 0.6 * male - 0.5 * (location == 0)))
    diffuse = rng.random(n) < _expit(-0.50 - 0.25 * decades - 0.25 * male - 0.5 * msi)
    mixed = rng.random(n) < 0.08 / (0.08 + 0.59)
    levels = {
        "centre": centre,
        "age": age,
        "sex": np.where(male, "Male", "Female"),
        "stage": np.array(STAGES)[stage],
        "t_stage": np.array(["T0", "T1", "T2", "T3", "T4"])[t],
        "n_stage": np.array(["N0", "N1", "N2", "N3"])[n_level],
        "m_stage": np.where(stage == 3, "M1", "M0"),
        "lauren": np.where(diffuse, "diffuse", np.where(mixed, "mixed", "intestinal")),
        "location": np.array(["antrum", "body", "cardia", "GEJ"])[location],
        "msi": np.where(msi, "MSI-H", "MSS"),
        "ebv": np.where(ebv, "positive", "negative"),
    }
    return pd.DataFrame(levels).astype({name: "str" for name in levels if name != "age"})


def draw_markers(clinical: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Draw the stroma, macrophage and T-cell factors and from them the markers, in SD units.

    Stroma rises with the diffuse type and T; T cells with MSI-H and EBV [M]; the sizes are
    assumed [A]. Columns: the genes in lower case, ``caf`` (mean of FAP and PDGFRB, standardised),
    ``pdl1_high`` (half of the patients) and ``fitness``, which only ``confounded`` uses.
    """
    n = len(clinical)
    status = _statuses(clinical)
    t = _level(clinical["t_stage"])
    shift = np.zeros((n, 3))
    shift[:, 0] = 0.30 * (status["diffuse"] - 0.33) + 0.20 * (t - 2.98)
    shift[:, 1] = 0.05 * (t - 2.98)
    shift[:, 2] = 0.60 * (status["msi_high"] - 0.12) + 0.80 * (status["ebv_positive"] - 0.035)
    spread = np.array([0.967, 0.999, 0.970])  # [F] the factors keep unit variance
    factors = shift + spread * rng.standard_normal((n, 3))
    unique = np.sqrt(1.0 - (LOADINGS**2).sum(axis=0))
    scores = factors @ LOADINGS + unique * rng.standard_normal((n, len(GENES)))
    markers = pd.DataFrame(scores, columns=[gene.lower() for gene in GENES])
    pair = LOADINGS[:, -2] @ LOADINGS[:, -1]
    markers["caf"] = (markers["fap"] + markers["pdgfrb"]) / np.sqrt(2.0 + 2.0 * pair)
    logit = -0.09 + 0.5 * factors[:, 2] + 0.5 * status["msi_high"] + 1.0 * status["ebv_positive"]
    markers["pdl1_high"] = rng.random(n) < _expit(logit.to_numpy())
    markers["fitness"] = rng.standard_normal(n)
    return markers


def draw_treatment(
    clinical: pd.DataFrame, markers: pd.DataFrame, rng: np.random.Generator, *, variant: str
) -> pd.DataFrame:
    """Assign ACT by stage, age and the centre's habit: confounded by indication, on purpose.

    In ``confounded`` the unrecorded fitness counts too; the recorded part is then stretched so
    that about as many are treated in each stage. Columns ``act`` and ``p_act``.
    """
    decades = (clinical["age"].to_numpy() - 62.0) / 10.0
    habit = clinical["centre"].map(ACT_HABIT).to_numpy(dtype=float)
    logit = clinical["stage"].map(ACT_LOGIT).to_numpy(dtype=float) + ACT_AGE * decades + habit
    if variant == "confounded":
        # Averaging a logistic curve over N(0, s²) flattens it by about sqrt(1 + 0.346 s²).
        logit = logit * np.sqrt(1.0 + 0.346 * FITNESS_ACT**2)
        logit = logit + FITNESS_ACT * markers["fitness"].to_numpy()
    p_act = _expit(logit)
    return pd.DataFrame({"act": rng.random(len(clinical)) < p_act, "p_act": p_act})


def act_log_hr(clinical: pd.DataFrame, markers: pd.DataFrame, *, variant: str) -> Array:
    """Return the true log hazard ratio of ACT for each patient (n,).

    ``min(-0.56 + 0.35 clip(IL1R1, ±1.6) + 0.35 MSI-H - 0.08 CD8A, 0.25)`` in stages II to IV and 0
    in stage I, where no effect is expected; one constant for everyone in ``null``.
    """
    if variant == "null":
        return np.full(len(clinical), ACT_NULL)
    il1r1 = np.clip(markers["il1r1"].to_numpy(), -1.6, 1.6)
    msi = (clinical["msi"] == "MSI-H").to_numpy()
    effect = ACT_MAIN + ACT_IL1R1[variant] * il1r1 + ACT_MSI * msi
    effect = np.minimum(effect + ACT_CD8 * markers["cd8a"].to_numpy(), ACT_CAP)
    return np.where(clinical["stage"] == "I", 0.0, effect)


def log_hazards(
    clinical: pd.DataFrame, markers: pd.DataFrame, treatment: pd.DataFrame, *, variant: str
) -> pd.DataFrame:
    """Return the true linear predictors: as treated, with ACT and without.

    They are relative to the baseline of the default cohort, so ``shifted`` carries its doubled
    hazard as ``log 2``.
    """
    status = _statuses(clinical)
    rows = {
        "age": (clinical["age"].to_numpy() - 62.0) / 10.0,
        "t": _level(clinical["t_stage"]),
        "n": _level(clinical["n_stage"]),
        "m1": (clinical["m_stage"] == "M1").to_numpy(),
        "msi": status["msi_high"].to_numpy(),
        "diffuse": status["diffuse"].to_numpy(),
        "male": (clinical["sex"] == "Male").to_numpy(),
        "il1r1": markers["il1r1"].to_numpy(),
        "cd163": markers["cd163"].to_numpy(),
        "cd8": markers["cd8a"].to_numpy(),
        "caf": markers["caf"].to_numpy(),
    }
    untreated = np.asarray(sum(LOG_HR[name] * values for name, values in rows.items()))
    if variant == "shifted":
        untreated = untreated + np.log(2.0)
    if variant == "confounded":
        fitness = markers["fitness"].to_numpy()
        untreated = untreated + FITNESS_LOG_HR * fitness - FITNESS_LOG_HR**2 / 2.0
    treated = untreated + act_log_hr(clinical, markers, variant=variant)
    log_hz = np.where(treatment["act"], treated, untreated)
    columns = {"log_hz": log_hz, "log_hz_treated": treated, "log_hz_untreated": untreated}
    return pd.DataFrame(columns)


def draw_response(
    clinical: pd.DataFrame, markers: pd.DataFrame, rng: np.random.Generator, *, fraction: float
) -> pd.DataFrame:
    """Draw ICI (likelier in late stages) and best response to it; empty without ICI.

    Response does not change survival here [A]. Columns ``p_response`` and ``ici_response``.
    """
    status = _statuses(clinical)
    logit = (
        RESPONSE["intercept"]
        + RESPONSE["msi"] * status["msi_high"]
        + RESPONSE["ebv"] * status["ebv_positive"]
        + RESPONSE["pdl1"] * markers["pdl1_high"]
        + RESPONSE["il1r1"] * markers["il1r1"]
    )
    p_response = _expit(logit.to_numpy(dtype=float))
    n = len(clinical)
    odds = clinical["stage"].map(ICI_GIVEN).to_numpy(dtype=float)
    # The smallest of exponential arrival times: a weighted sample of exactly this many.
    arrival = rng.standard_exponential(n) / odds
    given = np.zeros(n, dtype=bool)
    given[np.argsort(arrival)[: round(fraction * n)]] = True
    responds = rng.random(n) < p_response
    depth = rng.random(n)
    best = np.where(responds, np.where(depth < 0.2, "CR", "PR"), np.where(depth < 0.45, "SD", "PD"))
    recorded = pd.Series(best, dtype="str").where(given)
    return pd.DataFrame({"p_response": p_response, "ici_response": recorded})


def _identifiers(n: int, variant: str) -> pd.Series:
    """Return ``SYN-00001`` and on; ``SYN-F00001`` in ``shifted``, whose patients are others."""
    prefix = "SYN-F" if variant == "shifted" else "SYN-"
    return pd.Series([f"{prefix}{i:05d}" for i in range(1, n + 1)], dtype="str")


def _statuses(clinical: pd.DataFrame) -> pd.DataFrame:
    """Return the two-valued statuses that the model reasons with, as booleans."""
    return pd.DataFrame(
        {
            "msi_high": clinical["msi"] == "MSI-H",
            "ebv_positive": clinical["ebv"] == "positive",
            "diffuse": clinical["lauren"] == "diffuse",
        }
    )


def _pdl1_status(markers: pd.DataFrame) -> pd.Series:
    return pd.Series(np.where(markers["pdl1_high"], "high", "low"), name="pdl1", dtype="str")


def _level(stage: pd.Series) -> Array:
    """Return the digit of T1..T4 or N0..N3."""
    return stage.str[-1].to_numpy(dtype=np.float64)


def _expit(logit: Array) -> Array:
    return np.asarray(1.0 / (1.0 + np.exp(-logit)), dtype=np.float64)
