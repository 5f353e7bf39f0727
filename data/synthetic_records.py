"""Measurements of the synthetic gastric cohort: assays, their centre shifts, and missing values.

The markers of the structural model (``data.synthetic``) are in SD units and known for everyone.
Here they become readings: RNA on a log2 scale that is shifted from centre to centre, densities by
immunohistochemistry (IHC), and values that are missing. Marks as there: [C] computed from public
patient-level data, [A] assumed.
"""

import numpy as np
import pandas as pd

# Names and shares of the centres [A]. `shifted` is one other centre, unseen by the five.
CENTRES = {"centre A": 0.30, "centre B": 0.25, "centre C": 0.20, "centre D": 0.15, "centre E": 0.10}
SHIFTED_CENTRE = "centre F"
# Share of the patients without the whole RNA block, 35-50 % by centre [A].
RNA_MISSING = {"centre A": 0.35, "centre B": 0.39, "centre C": 0.42, "centre D": 0.46}
RNA_MISSING |= {"centre E": 0.50, SHIFTED_CENTRE: 0.40}
IHC_MISSING, MSI_MISSING, PDL1_MISSING, SHIFTED_ACT_MISSING = 0.10, 0.30, 0.40, 0.50  # [A]

GENES = ("IL1R1", "IL1B", "CD68", "CD163", "MRC1", "CD8A", "PDCD1", "FAP", "PDGFRB")
# Mean and SD of the genes on a log2 scale: SD of CD8A, PDCD1, FAP from TCGA [C], the rest [A].
RNA_MEAN = (7.2, 6.4, 10.1, 8.8, 7.5, 7.2, 5.4, 6.5, 8.6)
RNA_SD = (1.0, 1.4, 0.9, 1.2, 1.2, 1.4, 1.1, 1.2, 1.1)
CENTRE_SHIFT = 0.4  # SD; each gene in each centre moves by up to this much, either way
# Density by immunohistochemistry: gene it follows, median in cells/mm2, SD of the log, share of
# the variance that it has in common with the RNA [A].
IHC = {
    "CD68_ihc": ("CD68", 420.0, 0.55, 0.45),
    "CD163_ihc": ("CD163", 260.0, 0.65, 0.50),
    "CD8_ihc": ("CD8A", 310.0, 0.80, 0.50),
}


def measure(
    clinical: pd.DataFrame, markers: pd.DataFrame, rng: np.random.Generator, *, shifted: bool
) -> pd.DataFrame:
    """Return assay readings: RNA on a log2 scale with centre shifts, densities in cells/mm².

    ``shifted`` has another RNA assay, compressed and offset as an array is to sequencing [A].
    """
    n = len(clinical)
    names = [SHIFTED_CENTRE] if shifted else list(CENTRES)
    shifts = rng.uniform(-CENTRE_SHIFT, CENTRE_SHIFT, (len(names), len(GENES)))
    row = clinical["centre"].map({name: i for i, name in enumerate(names)}).to_numpy(dtype=int)
    columns: dict[str, np.ndarray] = {}
    for j, gene in enumerate(GENES):
        value = RNA_MEAN[j] + RNA_SD[j] * (markers[gene.lower()].to_numpy() + shifts[row, j])
        columns[gene] = np.round(3.0 + 0.6 * value if shifted else value, 4)
    for name, (gene, median, spread, common) in IHC.items():
        score = np.sqrt(common) * markers[gene.lower()].to_numpy()
        score = score + np.sqrt(1.0 - common) * rng.standard_normal(n)
        columns[name] = np.round(median * np.exp(spread * score), 1)
    return pd.DataFrame(columns)


def hide(frame: pd.DataFrame, rng: np.random.Generator, *, variant: str) -> pd.DataFrame:
    """Return the frame with values missing as in a hospital.

    The whole RNA block in 35 to 50 % of patients, by centre; the IHC block in 10 %, MSI in 30 %,
    PD-L1 in 40 %; in ``shifted`` half of the ACT flags.
    """
    frame = frame.copy()
    chance = frame["centre"].map(RNA_MISSING).to_numpy(dtype=float)
    frame.loc[rng.random(len(frame)) < chance, list(GENES)] = np.nan
    frame.loc[rng.random(len(frame)) < IHC_MISSING, list(IHC)] = np.nan
    shares = {"msi": MSI_MISSING, "pdl1": PDL1_MISSING}
    if variant == "shifted":
        shares["act"] = SHIFTED_ACT_MISSING
    for column, share in shares.items():
        frame[column] = frame[column].mask(rng.random(len(frame)) < share)
    return frame
