"""Sample barcodes of TCGA and TARGET: the patient, and the kind of tissue."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

#: A patient's barcode, then the code of the tissue, vial and further parts of a sample's barcode.
_BARCODE = re.compile(
    r"(?P<patient>TCGA[-._][A-Z0-9]{2}[-._][A-Z0-9]{4}|TARGET[-._]\d{2}[-._][A-Z0-9]{6})"
    r"(?:[-._](?P<type>\d{2})(?P<rest>[A-Z]?.*))?",
    re.IGNORECASE,
)
#: Minimum fraction of barcodes among the cells of a column of barcodes.
LEAST_SHARE = 0.9
#: GDC's codes of tumours: 1 the primary solid one, 40 a recurrent blood cancer. All others are no
#: tumour of the patient: 10 to 14 normal, 20 a control, 50 a cell line, 60 and 61 xenografts.
TUMOURS = frozenset({*range(1, 10), 40})


class Barcode(NamedTuple):
    """The parts of a sample's or a patient's barcode."""

    patient: str
    """The patient's barcode, with dashes."""
    type: int | None
    """GDC's code of the sample's tissue, see :data:`TUMOURS`; None: the barcode is a patient's."""
    rest: str
    """Vial and further parts, which order samples of one tissue; empty without."""

    @property
    def tumour(self) -> bool:
        """Whether the sample is of a tumour; true for a patient's barcode too."""
        return self.type is None or self.type in TUMOURS


def read_barcode(text: str) -> Barcode | None:
    """Return the parts of a barcode, whose separators may be ``-``, ``.`` or ``_``, in any case.

    Other text gives None.
    """
    match = _BARCODE.fullmatch(text.strip())
    if match is None:
        return None
    kind = None if match["type"] is None else int(match["type"])
    return Barcode(re.sub(r"[._]", "-", match["patient"]).upper(), kind, match["rest"] or "")


def read_barcodes(texts: Iterable[str]) -> list[Barcode | None] | None:
    """Return the barcodes of a column, None for other cells.

    None is returned if the column has no barcode, or fewer than :data:`LEAST_SHARE` of its cells
    are barcodes.
    """
    found = [read_barcode(text) for text in texts]
    count = sum(code is not None for code in found)
    return found if count and count >= LEAST_SHARE * len(found) else None
