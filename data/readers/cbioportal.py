"""Read a cBioPortal study folder: clinical patients, their samples and one expression matrix."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from accomplice.data.cells.dates import GENE_AS_DATE
from accomplice.data.cells.exact_numbers import to_numeric
from accomplice.data.errors import InputError, nearest, some
from accomplice.data.readers.contents import contents_of, without_comments
from accomplice.data.readers.reader import PLAIN, DraftSource, Reader, Reading, Selection
from accomplice.data.readers.tables import note, readable
from accomplice.data.readers.text import open_text
from accomplice.data.rows.joins import NOT_EVEN, best_form

#: Column of the patient's identifier.
PATIENT = "PATIENT_ID"
#: Column of the sample's identifier.
SAMPLE = "SAMPLE_ID"
#: Column of the overall survival time, in months.
TIME = "OS_MONTHS"
#: Column of the vital status.
EVENT = "OS_STATUS"
#: Name of the file of patients, if no meta file names it.
USUAL_PATIENT = "data_clinical_patient.txt"
#: Name of the file of samples, if no meta file names it.
USUAL_SAMPLE = "data_clinical_sample.txt"
#: Pattern of the names of expression files, if no meta file names one.
_USUAL = re.compile(r"^data_(mrna|rna_seq|expression)|_mrna|_expression_", re.IGNORECASE)
#: Columns of an expression file that describe the gene; others are samples if a cell is a number.
GENE_COLUMNS = ("Hugo_Symbol", "Entrez_Gene_Id", "Cytoband")


class CBioPortalReader(Reader):
    """Reader of cBioPortal study folders; see :func:`read_folder`."""

    def recognises(self, path: Path) -> bool:
        """Whether the path is a folder."""
        return path.is_dir()

    def read(self, path: Path, selection: Selection) -> pd.DataFrame:
        """Return one row a patient, with the genes that the selection names, or all.

        For a prediction, a missing expression file is replaced by the folder's only one, if any.

        Raises:
            InputError: as :func:`read_folder`.
        """
        name = selection.expression
        if selection.predicting and name is not None and not (path / name).is_file():
            other = choose_expression(open_folder(path), None)
            choice = f"'{other}' is read" if other else "the genes are missing"
            note(path, [f"no expression file '{name}': {choice}"])
            name = other
        return read_folder(path, name, selection.columns, selection.reading)

    def draft(
        self,
        path: Path,
        id: str | None,
        genes: Collection[str],
        reading: Reading = PLAIN,
    ) -> DraftSource:
        """Return the table to draft a study from, with the expression of ``genes`` alone.

        A file of z-scores is preferred to other expression files. Patients without follow-up are
        expected, since portals list them with time zero or NA.

        Raises:
            InputError: the folder or a file is invalid.
        """
        folder = open_folder(path)
        options, notes = {}, [*folder.notes]
        if not folder.expression:
            frame = read_clinical(folder, reading)
            clinical = list(frame.columns)
        if folder.expression:
            scores = [f for f in folder.expression if folder.expression_type[f] == "Z-SCORE"]
            file = (scores or list(folder.expression))[0]
            options["expression"] = file
            genes_read = _by_sample(folder, file, reading)
            frame = read_clinical(folder, reading, genes_read.index)
            clinical = list(frame.columns)
            frame = _with_genes(frame, genes_read, None)
            measured = list(frame.columns[len(clinical) :])
            known = [gene for gene in measured if gene in genes]
            frame = frame[[*clinical, *known]]
            notes.append(
                f"expression: {len(known)} genes of the panel are features, "
                f"{len(measured) - len(known)} more are left out; to add one, write under a "
                "modality: SYMBOL: {kind: expression}"
            )
        if len(folder.expression) > 1:
            notes.append(
                f"{len(folder.expression)} expression files: '{file}' is read; "
                "name another as source.expression"
            )
        return DraftSource(
            frame,
            id or PATIENT,
            time=TIME if TIME in clinical else None,
            event=EVENT if EVENT in clinical else None,
            gaps_in_follow_up=True,
            options=options,
            notes=tuple(notes),
        )


@dataclass(frozen=True)
class StudyFolder:
    """The files of a study folder, by its meta files or their usual names."""

    path: Path
    """The folder."""
    patient: str
    """Name of the file of the patients' clinical attributes."""
    sample: str | None
    """Name of the file of the samples' clinical attributes; None without one."""
    expression: tuple[str, ...]
    """Names of the expression files."""
    expression_type: dict[str, str]
    """Expression file -> datatype by its meta file, or else by its name, such as ``Z-SCORE``."""
    notes: tuple[str, ...] = ()
    """Notes on files found without meta files, and on expression files that are not there."""


def open_folder(path: Path) -> StudyFolder:
    """Find the files of a study folder by its meta files, or else by their usual names.

    Raises:
        InputError: the folder is missing or has no clinical patient file.
    """
    if not path.is_dir():
        raise InputError(f"{path}: no such study folder")
    patient, sample = None, None
    expression: dict[str, str] = {}
    absent: list[str] = []
    for meta in sorted(path.glob("meta_*.txt")):
        keys = _read_meta(meta)
        name = keys.get("data_filename", meta.name.replace("meta_", "data_", 1))
        if not (path / name).is_file():
            if keys.get("genetic_alteration_type") == "MRNA_EXPRESSION":
                absent.append(f"'{name}' of {meta.name}")
            continue
        datatype = keys.get("datatype", "")
        if datatype == "PATIENT_ATTRIBUTES":
            patient = name
        elif datatype == "SAMPLE_ATTRIBUTES":
            sample = name
        elif keys.get("genetic_alteration_type") == "MRNA_EXPRESSION":
            expression[name] = datatype
    usual: list[str] = []
    if patient is None and (path / USUAL_PATIENT).is_file():
        patient = USUAL_PATIENT
        usual.append(patient)
    if patient is None:
        packed = any(path.glob("data_*.gz"))
        raise InputError(
            f"{path}: not a study folder: no data_clinical_patient.txt in it"
            + (": unpack its .gz files" if packed else "")
        )
    if sample is None and (path / USUAL_SAMPLE).is_file():
        sample = USUAL_SAMPLE
        usual.append(sample)
    if not expression:
        names = sorted(file.name for file in path.glob("data_*.txt") if _USUAL.search(file.name))
        for name in names:
            expression[name] = "Z-SCORE" if "zscore" in name.lower() else "CONTINUOUS"
        usual += names
    notes = [f"without meta files, by their usual names: {some(usual)}"] if usual else []
    if absent and not expression:
        notes.append(f"no expression is read: {', '.join(absent)} is not there")
    return StudyFolder(path, patient, sample, tuple(expression), expression, tuple(notes))


def read_folder(
    path: Path,
    expression: str | None = None,
    columns: Collection[str] | None = None,
    reading: Reading = PLAIN,
) -> pd.DataFrame:
    """Return one row a patient: clinical attributes, sample attributes, then genes.

    Of a patient's samples one is taken: a tumour before normal tissue, then one with expression,
    then the primary tumour, then the first by identifier. Genes are columns named by symbol. Of
    several rows of a symbol, the first whose values are not all equal is taken, or else the first.

    Args:
        path: the study folder.
        expression: name of the expression file; None: the folder's only one, if it has one.
        columns: symbols of the genes to keep; None: all. Clinical attributes are always kept.
        reading: options on words for missing and encoding.

    Raises:
        InputError: the folder or a file is invalid, the named expression file is not there, or
            there are several and none is named.
    """
    folder = open_folder(path)
    name = choose_expression(folder, expression)
    if name is None:
        return read_clinical(folder, reading)
    genes = _by_sample(folder, name, reading)
    return _with_genes(read_clinical(folder, reading, genes.index), genes, columns)


def _by_sample(folder: StudyFolder, file: str, reading: Reading) -> pd.DataFrame:
    """Return samples × genes, indexed by the identifiers of the clinical files.

    Raises:
        InputError: a file is invalid, or the file of samples (without one, that of patients) lists
            none of the expression file's samples.
    """
    genes = read_expression(folder.path / file, reading)
    clinical, key = (folder.patient, PATIENT) if folder.sample is None else (folder.sample, SAMPLE)
    frame = _read_clinical(folder.path / clinical, reading)
    if key not in frame.columns or genes.empty:
        return genes
    ids = frame[key].dropna().astype(str).tolist()
    if not genes.index.isin(ids).any():
        how, own, theirs = best_form(ids, genes.index.astype(str).tolist())
        if not {*own} & {*theirs}:
            raise InputError(
                f"{folder.path / file}: none of its {len(genes)} samples is in column '{key}' of "
                f"{clinical}, {NOT_EVEN}: write the ids alike, or leave the file out"
            )
        named = dict(zip(own, ids, strict=True))
        genes = genes.set_axis([named.get(sample, sample) for sample in theirs])
        note(folder.path / file, [f"samples are read {how}"])
    return genes


def _with_genes(
    frame: pd.DataFrame, genes: pd.DataFrame, columns: Collection[str] | None
) -> pd.DataFrame:
    """Return the patients with the genes of their samples as further columns.

    A gene with the name of a clinical column is left out.
    """
    key = SAMPLE if SAMPLE in frame.columns else PATIENT
    wanted = genes.columns if columns is None else genes.columns.intersection(list(columns))
    genes = genes[[c for c in wanted if c not in frame.columns]]
    return frame.join(genes, on=key)


def read_clinical(
    folder: StudyFolder, reading: Reading = PLAIN, measured: Collection[str] = ()
) -> pd.DataFrame:
    """Return one row a patient: the patient's attributes, then those of one sample.

    Args:
        folder: files of the study folder.
        reading: options on words for missing and encoding.
        measured: samples with expression, taken before a patient's others of the same kind, tumour
            or normal tissue.

    Raises:
        InputError: a file is invalid.
    """
    frame = _read_clinical(folder.path / folder.patient, reading)
    if PATIENT not in frame.columns:
        raise InputError(f"{folder.path / folder.patient}: no column '{PATIENT}'")
    samples = _one_sample_each(folder, reading, measured)
    if samples is None:
        return frame
    fresh = [c for c in samples.columns if c == PATIENT or c not in frame.columns]
    return frame.merge(samples[fresh], on=PATIENT, how="left", sort=False)


def choose_expression(folder: StudyFolder, name: str | None) -> str | None:
    """Return the expression file to read: the named one, else the folder's only one, if any.

    Raises:
        InputError: the named file is not there, or there are several and none is named.
    """
    if name is not None:
        if not (folder.path / name).is_file():
            raise InputError(f"{folder.path}: no file '{name}'{nearest(name, folder.expression)}")
        return name
    if len(folder.expression) > 1:
        raise InputError(
            f"{folder.path}: {len(folder.expression)} expression files: "
            f"name one with source.expression, for instance {folder.expression[0]}"
        )
    return folder.expression[0] if folder.expression else None


def _read_meta(path: Path) -> dict[str, str]:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    pairs = (line.split(":", 1) for line in lines if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def _read_clinical(path: Path, reading: Reading) -> pd.DataFrame:
    """Return a file of clinical attributes; lines that begin with ``#`` are comments."""
    with readable(path):
        text = open_text(
            path, 1, reading, without_comments(contents_of(path, reading.encoding)), "\t"
        )
        frame, notes = text.read((PATIENT, SAMPLE))
    note(path, notes)
    return frame


def _one_sample_each(
    folder: StudyFolder, reading: Reading, measured: Collection[str]
) -> pd.DataFrame | None:
    """Return one sample of each patient (see :func:`read_folder`); None without a file of samples.

    Raises:
        InputError: the file is invalid.
    """
    if folder.sample is None:
        return None
    samples = _read_clinical(folder.path / folder.sample, reading)
    if PATIENT not in samples.columns or SAMPLE not in samples.columns:
        raise InputError(f"{folder.path / folder.sample}: no column '{PATIENT}' or '{SAMPLE}'")
    kind = samples.get("SAMPLE_TYPE", pd.Series("", index=samples.index)).astype(str).str.lower()
    first = samples.assign(
        _normal=kind.str.contains("normal"),
        _unmeasured=~samples[SAMPLE].isin([*measured]),
        _other=~kind.str.startswith("primary"),
    )
    order = [PATIENT, "_normal", "_other", SAMPLE]
    plain = first.sort_values(order, kind="stable").drop_duplicates(PATIENT)
    order.insert(2, "_unmeasured")
    taken = first.sort_values(order, kind="stable").drop_duplicates(PATIENT)
    several = int(samples[PATIENT].value_counts().gt(1).sum())
    if several:
        note(
            folder.path,
            [f"{several} patients have several samples: one each, the primary tumour's first"],
        )
    others = (plain[SAMPLE].to_numpy() != taken[SAMPLE].to_numpy()).sum()
    if others:
        note(folder.path, [f"{int(others)} patients: the sample with expression is taken"])
    return taken.drop(columns=["_normal", "_unmeasured", "_other"])


def read_expression(path: Path, reading: Reading = PLAIN) -> pd.DataFrame:
    """Return the expression of samples × genes.

    Args:
        path: the expression file, with genes in rows.
        reading: options, of which only the encoding is used.

    Raises:
        InputError: the file cannot be read, has no column of gene symbols, or has cells of samples
            that are not numbers.
    """
    with readable(path):
        matrix, notes = open_text(path, 1, Reading(encoding=reading.encoding), delimiter="\t").read(
            (GENE_COLUMNS[0],)
        )
    note(path, notes)
    if GENE_COLUMNS[0] not in matrix.columns:
        raise InputError(
            f"{path}: no column '{GENE_COLUMNS[0]}': add the genes' symbols, as Entrez ids alone "
            "are not read, or leave the file out of the folder"
        )
    matrix = matrix.dropna(subset=GENE_COLUMNS[0]).set_index(GENE_COLUMNS[0])
    values = matrix.drop(columns=[c for c in GENE_COLUMNS if c in matrix.columns])
    numbers: pd.DataFrame = values.apply(to_numeric, errors="coerce")
    odd, measured = (values.notna() & numbers.isna()).sum(), numbers.notna().any()
    # A column without any number describes the genes and is no sample.
    if count := int(odd[measured].sum() if measured.any() else odd.sum()):
        raise InputError(f"{path}: {count} cells are not numbers: correct or empty them")
    return _one_row_each(path, numbers).T


def _one_row_each(path: Path, numbers: pd.DataFrame) -> pd.DataFrame:
    """Return genes × samples with one row a symbol.

    It is the first row whose values are not all equal, or else the symbol's first.
    """
    twice = numbers.index.duplicated(keep=False)
    if not twice.any():
        return numbers
    several = numbers[twice]
    flat = (several.nunique(axis=1) < 2).to_numpy()
    order = pd.DataFrame({"symbol": several.index, "flat": flat, "place": np.flatnonzero(twice)})
    best = order.sort_values(["flat", "place"], kind="stable").drop_duplicates("symbol")
    rows = np.sort(np.append(np.flatnonzero(~twice), best["place"].to_numpy()))
    dated = [str(name) for name in numbers.index if GENE_AS_DATE.fullmatch(str(name))]
    notes = [
        f"{len(best)} symbols stand in several rows ({some(best['symbol'])}): the first row with "
        "different values is taken"
    ]
    if dated:
        notes.append(f"{len(dated)} symbols are dates, as a spreadsheet makes of genes")
    note(path, notes)
    # Symbols are ordered by their first rows, whichever rows are taken.
    first = ~numbers.index.duplicated()
    return numbers.iloc[rows].reindex(numbers.index[first])
