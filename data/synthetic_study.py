"""Write the synthetic cohort and its study file into a folder."""

from __future__ import annotations

from pathlib import Path

from accomplice.data.errors import InputError, some
from accomplice.data.files import is_study, write_text
from accomplice.data.panels.panel import panel_text
from accomplice.data.study import load_study
from accomplice.data.synthetic import draw


def check_folder(folder: Path, *, truth: bool, force: bool) -> list[Path]:
    """Refuse a folder with files that the cohort's would replace, unless that is asked for.

    Args:
        folder: of the cohort.
        truth: whether ``truth.csv`` is written too.
        force: whether an earlier synthetic cohort is replaced.

    Returns:
        Its files that would be replaced.

    Raises:
        InputError: there are such files, and it was not asked for; or they are no synthetic
            cohort's.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file: name a folder")
    names = ["cohort.csv", "study.yaml", *(["truth.csv"] if truth else [])]
    there = [folder / name for name in names if (folder / name).exists()]
    if not there:
        return []
    study = folder / "study.yaml"
    if not (is_study(study) and load_study(study).synthetic):
        raise InputError(
            f"{folder}: holds {some(each.name for each in there)}, and not of a synthetic cohort: "
            "name another folder"
        )
    if not force:
        raise InputError(
            f"{folder}: a synthetic cohort is there: --force replaces it; or name another folder"
        )
    return there


def synthesise(folder: Path, n: int, variant: str, seed: int, *, truth: bool = False) -> Path:
    """Write a synthetic cohort into a folder; return its study file.

    Args:
        folder: made if it is not there.
        n: patients.
        variant: of the structural model, see :func:`synthetic.draw`.
        seed: of the draw.
        truth: whether ``truth.csv`` is written too.
    """
    drawn = draw(n, variant=variant, seed=seed)
    folder.mkdir(parents=True, exist_ok=True)
    drawn.frame.to_csv(folder / "cohort.csv", index=False)
    if truth:
        drawn.truth.to_csv(folder / "truth.csv", index=False)
    write_text(folder / "study.yaml", panel_text("synthetic_gastric"))
    return folder / "study.yaml"
