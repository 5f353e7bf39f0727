"""Measurements of the synthetic gastric cohort: assays, their centre shifts, and missing values.

The markers of the structural model (``data.synthetic``) are in SD units and known for all patients.
Here they become readings: RNA on a log2 scale with a shift for each centre, and cell densities by
immunohistochemistry (IHC); then some values are removed. Marks of evidence: [C] computed from
public patient-level data, [A] assumed.
"""

import numpy as np
import pandas as pd

#: Centre -> share of the patients [A].
CENTRES = {"centre A": 0.30, "centre B": 0.25, "centre C": 0.20, "centre D": 0.15, "centre E": 0.10}
#: The only centre of the variant ``shifted``.
SHIFTED_CENTRE = "centre F"
#: Centre -> share of the patients whose RNA is missing as a whole [A].
RNA_MISSING = {"centre A": 0.35, "centre B": 0.39, "centre C": 0.42, "centre D": 0.46}
RNA_MISSING |= {"centre E": 0.50, SHIFTED_CENTRE: 0.40}
#: Share of the patients whose densities are missing as a whole [A].
IHC_MISSING = 0.10
#: Share of the patients whose MSI status is missing [A].
MSI_MISSING = 0.30
#: Share of the patients whose PD-L1 status is missing [A].
PDL1_MISSING = 0.40
#: Share of the patients of ``shifted`` whose ACT status is missing [A].
SHIFTED_ACT_MISSING = 0.50

#: Genes measured as RNA.
GENES = ("IL1R1", "IL1B", "CD68", "CD163", "MRC1", "CD8A", "PDCD1", "FAP", "PDGFRB")
#: Mean of each of `GENES` on the log2 scale [A].
RNA_MEAN = (7.2, 6.4, 10.1, 8.8, 7.5, 7.2, 5.4, 6.5, 8.6)
#: SD of each of `GENES` on the log2 scale: of CD8A, PDCD1 and FAP from TCGA [C], of others [A].
RNA_SD = (1.0, 1.4, 0.9, 1.2, 1.2, 1.4, 1.1, 1.2, 1.1)
#: Largest shift of a gene's mean in a centre, up or down, in SD.
CENTRE_SHIFT = 0.4
#: Cell density by immunohistochemistry -> its gene, median in cells/mm², SD of the logarithm, and
#: the share of variance that it has in common with the gene's RNA [A].
IHC = {
    "CD68_ihc": ("CD68", 420.0, 0.55, 0.45),
    "CD163_ihc": ("CD163", 260.0, 0.65, 0.50),
    "CD8_ihc": ("CD8A", 310.0, 0.80, 0.50),
}


def measure(
    clinical: pd.DataFrame, markers: pd.DataFrame, rng: np.random.Generator, *, shifted: bool
) -> pd.DataFrame:
    """Return assay readings: RNA on a log2 scale with centre shifts, densities in cells/mm².

    Args:
        clinical: one row a patient, with the column ``centre``.
        markers: markers of the same patients in SD units, genes in lower case.
        rng: source of the random numbers.
        shifted: whether the RNA is of another assay, with values compressed and offset as those of
            an array are against sequencing [A].

    Returns:
        One row a patient, with the columns `GENES` and the keys of `IHC`.
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
    """Return the table with some values missing, at random within each centre.

    All RNA is missing in 35 to 50 % of the patients, by centre; all densities in 10 %, MSI in 30 %,
    PD-L1 in 40 %; in the variant ``shifted`` ACT in 50 %.

    Args:
        frame: the complete table, one row a patient.
        rng: source of the random numbers.
        variant: variant of the structural model; see ``data.synthetic``.
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
