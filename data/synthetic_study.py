"""Write the synthetic cohort and its study file into a folder."""

from __future__ import annotations

from pathlib import Path

from accomplice.data.errors import InputError, some
from accomplice.data.files import is_study, write_text
from accomplice.data.panels.panel import panel_text
from accomplice.data.study import load_study
from accomplice.data.synthetic import draw


def check_folder(folder: Path, *, truth: bool, force: bool) -> list[Path]:
    """Return the files of a folder that a new synthetic cohort would replace.

    Args:
        folder: folder of the new cohort.
        truth: whether ``truth.csv`` is written too.
        force: whether an earlier synthetic cohort may be replaced.

    Raises:
        InputError: the folder is a file; or it has such files, and its study file is missing,
            wrong or not of a synthetic cohort, or they may not be replaced.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file: name a folder")
    names = ["cohort.csv", "study.yaml", *(["truth.csv"] if truth else [])]
    existing = [folder / name for name in names if (folder / name).exists()]
    if not existing:
        return []
    study = folder / "study.yaml"
    if not (is_study(study) and load_study(study).synthetic):
        raise InputError(
            f"{folder}: holds {some(file.name for file in existing)}, and not of a synthetic "
            "cohort: name another folder"
        )
    if not force:
        raise InputError(
            f"{folder}: a synthetic cohort is there: --force replaces it; or name another folder"
        )
    return existing


def synthesise(folder: Path, n: int, variant: str, seed: int, *, truth: bool = False) -> Path:
    """Write a synthetic cohort into a folder, and return the path of its study file.

    Args:
        folder: folder of the cohort; it is made if it does not exist.
        n: number of patients, at least 1.
        variant: variant of the structural model; see :func:`synthetic.draw`.
        seed: seed of the random numbers, not negative.
        truth: whether the true quantities are written too, as ``truth.csv``.

    Raises:
        ValueError: the variant is unknown, ``n`` is below 1, or the seed is negative.
    """
    drawn = draw(n, variant=variant, seed=seed)
    folder.mkdir(parents=True, exist_ok=True)
    drawn.frame.to_csv(folder / "cohort.csv", index=False)
    if truth:
        drawn.truth.to_csv(folder / "truth.csv", index=False)
    write_text(folder / "study.yaml", panel_text("synthetic_gastric"))
    return folder / "study.yaml"
