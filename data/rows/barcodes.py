"""Sample barcodes of TCGA and TARGET: the patient, and the kind of tissue."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

_BARCODE = re.compile(
    r"(?P<patient>TCGA[-._][A-Z0-9]{2}[-._][A-Z0-9]{4}|TARGET[-._]\d{2}[-._][A-Z0-9]{6})"
    r"(?:[-._](?P<type>\d{2})(?P<rest>[A-Z]?.*))?",
    re.IGNORECASE,
)
#: Least part of a column's cells that are barcodes, for it to be a column of barcodes.
MOST = 0.9


class Barcode(NamedTuple):
    """A sample's barcode."""

    patient: str
    """The patient's barcode, with dashes."""
    type: int | None
    """Code of the tissue: below 10 a tumour, 1 the primary one, from 10 on normal or a control."""
    rest: str
    """Vial and the rest, by which samples of one kind are ordered."""


def read_barcode(text: str) -> Barcode | None:
    """Read a barcode, or nothing."""
    met = _BARCODE.fullmatch(text.strip())
    if met is None:
        return None
    kind = None if met["type"] is None else int(met["type"])
    return Barcode(re.sub(r"[._]", "-", met["patient"]).upper(), kind, met["rest"] or "")


def read_barcodes(texts: Iterable[str]) -> list[Barcode | None] | None:
    """Read a column of barcodes; None where it holds something else."""
    found = [read_barcode(text) for text in texts]
    met = sum(code is not None for code in found)
    return found if met and met >= MOST * len(found) else None
