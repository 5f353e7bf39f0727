"""Write the synthetic cohort and its study file into a folder."""

from __future__ import annotations

from pathlib import Path

from accomplice.data.files import write_text
from accomplice.data.panels.panel import panel_text
from accomplice.data.synthetic import draw


def synthesise(folder: Path, n: int, variant: str, seed: int, *, truth: bool = False) -> Path:
    """Write a synthetic cohort into a folder; return its study file.

    Args:
        folder: made if it is not there.
        n: patients.
        variant: as :func:`synthetic.draw` takes it.
        seed: likewise.
        truth: whether ``truth.csv`` is written too.
    """
    drawn = draw(n, variant=variant, seed=seed)
    folder.mkdir(parents=True, exist_ok=True)
    drawn.frame.to_csv(folder / "cohort.csv", index=False)
    if truth:
        drawn.truth.to_csv(folder / "truth.csv", index=False)
    write_text(folder / "study.yaml", panel_text("synthetic_gastric"))
    return folder / "study.yaml"
