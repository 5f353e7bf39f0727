"""A reader of one's own: one JSON object per line, one line per patient.

A line of a file that it reads: ``{"patient_id": "P-01", "age": 61, "stage": "II"}``. A key that a
patient lacks is a missing cell.

To use it as ``source: {reader: json_lines, files: [patients.jsonl]}`` in a study file, keep this
class in ``data/readers/json_lines.py`` and add it to the table in ``data/readers/registry.py``::

    READERS: dict[str, Reader] = {..., "json_lines": JsonLinesReader()}
"""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from accomplice.data.readers.reader import Reader, Selection
from accomplice.data.readers.tables import readable, with_clean_names


class JsonLinesReader(Reader):
    """Files of JSON objects, one per line."""

    def recognises(self, path: Path) -> bool:
        """Whether the file's name ends in ``.jsonl``."""
        return path.suffix == ".jsonl"

    def read(self, path: Path, selection: Selection) -> pd.DataFrame:  # noqa: ARG002
        """Return one row per line.

        Raises:
            InputError: the file cannot be read, or a line is not a JSON object.
        """
        # Errors of the file system and of the parser become one line that quotes no cell.
        with readable(path):
            lines = path.read_text(encoding="utf-8").splitlines()
            patients = [dict(json.loads(line)) for line in lines if line.strip()]
            return with_clean_names(path, pd.DataFrame(patients))
