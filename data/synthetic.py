"""The synthetic gastric cohort, drawn from a structural model with known true quantities.

No row is a patient. The model is fitted only to summary numbers, published or computed, so that the
table looks like a surgical gastric cohort and both potential outcomes of each row are known. The
cohort serves demonstrations and tests that a model recovers the survival, the effect of adjuvant
chemotherapy (ACT) and the response to immune checkpoint inhibitors (ICI).

Marks of evidence on constants: [R] read in a published source, [C] computed from public
patient-level data (TCGA-STAD, ACRG), [M] from memory, [A] assumed here, [F] found by simulation so
that drawn cohorts have the summary numbers in the comment (``tests/data/test_synthetic.py`` holds
the numbers and their tolerances).

Each step of the model is a function: ``draw_clinical`` -> ``draw_markers`` -> ``draw_treatment`` ->
``draw_survival``, ``draw_response``; then ``measure`` and ``hide`` of ``data.synthetic_records``.
Each draws from a stream of random numbers of its own, so that all variants but ``shifted`` have the
same patients and differ only where the structural model does. ``clinical``, ``markers`` and
``treatment`` are the tables that earlier steps return, ``rng`` is the source of random numbers, and
``variant`` is as in :func:`draw`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from accomplice.data.arrays import Array
from accomplice.data.synthetic_records import CENTRES, GENES, SHIFTED_CENTRE, hide, measure
from accomplice.data.synthetic_survival import draw_survival, potential_outcomes

#: Variants of the structural model; see :func:`draw`.
VARIANTS: tuple[str, ...] = ("default", "strong", "null", "shifted", "confounded")

#: Overall stages.
STAGES = ("I", "II", "III", "IV")
#: Share of each of `STAGES`, between those of ACRG and TCGA [C].
STAGE_SHARE = (0.13, 0.33, 0.48, 0.06)
#: Stage -> (T, N) -> share within the stage [F]: 5-year survival by stage 85/72/50/22 %, C-index of
#: the stage alone .645. T and N make the stage as in AJCC 8 [M]; T4 N0 is II as T4a and III as T4b.
#: Stage IV is M1, drawn with advanced T and N.
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

#: Centre -> difference of its log-odds of giving ACT [A].
ACT_HABIT = {"centre A": 0.2, "centre B": -0.2, "centre C": 0.1, "centre D": -0.3}
ACT_HABIT |= {"centre E": 0.3, SHIFTED_CENTRE: 0.0}

#: (3, genes) loadings of `GENES` on three factors [F]: Spearman correlations of IL1R1 with CD163,
#: MRC1, CD68, CD8A, PDCD1, CAF .45, .44, .22, .15, .10, .73; of CD163-MRC1, CD163-CD8A, CD8A-PDCD1
#: .77, .45, .68. TCGA has .43, .43, .16, .24, .16, .73; .89, .49, .81 [C]. IL1B is assumed [A].
LOADINGS = np.array(
    [
        (0.785, 0.10, 0.12, 0.38, 0.38, 0.05, 0.00, 0.84, 0.91),  # stroma
        (0.195, 0.45, 0.60, 0.81, 0.76, 0.32, 0.33, 0.05, 0.05),  # macrophage
        (0.060, 0.10, 0.18, 0.20, 0.14, 0.92, 0.64, 0.04, 0.04),  # T cell
    ]
)
#: Log hazard ratios without ACT: age per 10 years, T and N per level. In a Cox model with ACT and
#: the markers the hazard ratios are 1.30, 1.32, 1.63, 2.36, .71, 1.13, 1.05 [F]; in ACRG 1.30,
#: 1.40, 1.83, 2.45, .71, 1.26, 1.14 [C]. MSI-H has .71, not exp(-0.55), as ACT helps MSI-H less.
LOG_HR = {"age": np.log(1.30), "t": np.log(1.33), "n": np.log(1.65), "m1": np.log(2.36)}
LOG_HR |= {"msi": -0.55, "diffuse": np.log(1.13), "male": np.log(1.05)}
# Markers per SD, given the other markers. Of one marker beside the clinical factors and ACT the
# hazard ratio is 1.36 (IL1R1), 1.13 (CD163), 0.92 (CD8A), 1.32 (CAF) [F]; that of high M2 is 1.48
# (1.25-1.75) in a meta-analysis [R]. IL1R1 acts mostly through stroma and less benefit from ACT.
LOG_HR |= {"il1r1": 0.055, "cd163": 0.04, "cd8": -0.11, "caf": 0.12}
#: Log hazard ratio per SD of the unrecorded fitness, in ``confounded`` only [A].
FITNESS_LOG_HR = -0.5

#: Log hazard ratio of ACT before the terms below [F]: in stage II-III the hazard ratio is 0.62, for
#: low/high IL1R1 0.48/0.76 (trials 0.66-0.85; TCGA 0.37/0.76 [C]), the 5-year gain 19/7 points.
ACT_MAIN = -0.56
#: Further log hazard ratio of ACT in MSI-H [A].
ACT_MSI = 0.35
#: Further log hazard ratio of ACT per SD of CD8A [A].
ACT_CD8 = -0.08
#: Largest log hazard ratio of ACT [A].
ACT_CAP = 0.25
#: Variant -> further log hazard ratio of ACT per SD of IL1R1; ``null`` has none.
ACT_IL1R1 = {"default": 0.35, "strong": 0.55, "shifted": 0.35, "confounded": 0.35}
#: Log hazard ratio of ACT of every patient in ``null``.
ACT_NULL = float(np.log(0.62))
#: Stage -> log-odds of ACT at age 62 [F]: given to 18/58/72/65 %.
ACT_LOGIT = {"I": -1.58, "II": 0.33, "III": 0.97, "IV": 0.62}
#: Log-odds of ACT per 10 years of age [A].
ACT_AGE = -0.40
#: Log-odds of ACT per SD of the unrecorded fitness, in ``confounded`` only [A].
FITNESS_ACT = 1.0

#: Log-odds of response to ICI [F]: 19 % respond; of MSI-H 61, EBV 52, PD-L1 high/low 28/11, IL1R1
#: high/low 11/28 %. Kim et al. 2018 found 85.7 % in MSI-H and 100 % in EBV [R].
RESPONSE = {"intercept": -2.92, "msi": 2.75, "ebv": 2.2, "pdl1": 1.1, "il1r1": -0.98}
#: Stage -> relative odds of ICI [A].
ICI_GIVEN = {"I": 0.3, "II": 0.7, "III": 1.2, "IV": 2.4}


@dataclass(frozen=True)
class SyntheticCohort:
    """A drawn cohort and its true quantities."""

    frame: pd.DataFrame
    """One row a synthetic patient: the table that a hospital would have."""
    truth: pd.DataFrame
    """One row a synthetic patient in the same order, without missing values: log-hazards as
    treated, with and without ACT (``log_hz*``); survival and RMST (months) at 60 months with and
    without ACT; ``benefit60``, the difference of the two survivals; probabilities of ACT and of
    response (``p_act``, ``p_response``); whether ACT was given (``act``); markers in SD units
    without effects of centre and assay; the unrecorded ``fitness``; and statuses that ``frame`` may
    lack, such as ``msi_high``."""


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
        n: number of patients, at least 1.
        variant: ``default``; ``strong`` (interaction of ACT with IL1R1 0.55 per SD, not 0.35);
            ``null`` (ACT has one effect on all patients); ``shifted`` (another centre: baseline
            hazard doubled, 23 months of follow-up, half of the ACT statuses missing, another
            assay); ``confounded`` (an unrecorded fitness affects both ACT and survival).
        seed: seed of the random numbers, not negative. At one seed, all variants but ``shifted``
            have the same patients.
        missing: whether values are removed; if not, only ``ici_response`` has missing values.
        ici_fraction: share of patients treated with ICI, whose response is known, in [0, 1].

    Raises:
        ValueError: the variant is unknown, ``n`` is below 1, ``ici_fraction`` is not in [0, 1], or
            the seed is negative.
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
    true = [identity, hazards, effects, treatment, response[["p_response"]], markers]
    truth = pd.concat([*true, _statuses(clinical)], axis=1)
    return SyntheticCohort(frame=frame, truth=truth)


def draw_clinical(n: int, rng: np.random.Generator, *, shifted: bool = False) -> pd.DataFrame:
    """Draw the clinical columns: centre, age, sex, stage, T, N, M, Lauren type, location, MSI, EBV.

    Marginal distributions lie between those of ACRG and TCGA [C]. MSI-H is more frequent in old
    age, women, the antrum and early stage; EBV, only without MSI-H, in men and outside the antrum;
    the diffuse type in young patients, women and those without MSI-H [M].

    Args:
        n: number of patients.
        rng: source of the random numbers.
        shifted: whether all patients are of the centre of the variant ``shifted``.
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

    Stroma increases with the diffuse type and T, macrophages a little with T, T cells with MSI-H
    and EBV [M]; the sizes of these effects are assumed [A].

    Returns:
        Columns: the genes in lower case, ``caf`` (standardised mean of FAP and PDGFRB),
        ``pdl1_high`` (true in half of the patients) and ``fitness``, used by ``confounded`` only.
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
    """Draw ACT by stage, age and centre, so that it is confounded by indication.

    In ``confounded`` it depends on the unrecorded fitness too; the other log-odds are then scaled
    so that about as many patients of each stage are treated.

    Returns:
        Columns ``act`` (whether ACT is given) and ``p_act`` (its probability).
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

    It is ``min(-0.56 + 0.35 clip(IL1R1, ±1.6) + 0.35 MSI-H - 0.08 CD8A, 0.25)`` in stages II to IV
    and 0 in stage I; 0.55 in place of the first 0.35 in ``strong``, and log 0.62 for all patients
    in ``null``.
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
    """Return the true log-hazards of each patient, relative to the baseline of ``default``.

    Those of ``shifted`` include log 2, as its baseline hazard is doubled.

    Returns:
        Columns ``log_hz`` (as treated), ``log_hz_treated`` and ``log_hz_untreated``.
    """
    status = _statuses(clinical)
    covariates = {
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
    untreated = np.asarray(sum(LOG_HR[name] * values for name, values in covariates.items()))
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
    """Draw which patients get ICI, more often in late stages, and their best response.

    Response does not change survival here [A]. ``fraction`` is the share of patients who get ICI.

    Returns:
        Columns ``p_response`` (probability of response) and ``ici_response`` (CR, PR, SD or PD;
        missing without ICI).
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
    """Return ``SYN-00001``, ``SYN-00002``, ...; in ``shifted`` ``SYN-F00001``, ..."""
    prefix = "SYN-F" if variant == "shifted" else "SYN-"
    return pd.Series([f"{prefix}{i:05d}" for i in range(1, n + 1)], dtype="str")


def _statuses(clinical: pd.DataFrame) -> pd.DataFrame:
    """Return the binary statuses of the structural model as truth values."""
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
