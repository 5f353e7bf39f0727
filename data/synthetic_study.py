"""Write the synthetic cohort and its study file into a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from accomplice.data.files import write_text

if TYPE_CHECKING:
    from accomplice.data.cohort import Patients

    P = TypeVar("P", bound=Patients)


def synthesise(folder: Path, n: int, variant: str, seed: int, *, truth: bool = False) -> Path:
    """Write a synthetic cohort into a folder; return its study file."""
    from accomplice.data.panels.panel import panel_text
    from accomplice.data.synthetic import draw

    drawn = draw(n, variant=variant, seed=seed)
    folder.mkdir(parents=True, exist_ok=True)
    drawn.frame.to_csv(folder / "cohort.csv", index=False)
    if truth:
        drawn.truth.to_csv(folder / "truth.csv", index=False)
    template = panel_text("synthetic_gastric")
    write_text(folder / "study.yaml", template)
    return folder / "study.yaml"
