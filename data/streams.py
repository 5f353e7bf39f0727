"""Read patients to predict for in parts, so that memory does not grow with their number."""

from __future__ import annotations

from pathlib import Path

from accomplice.data.cohort import selection_for
from accomplice.data.readers.reader import Stream
from accomplice.data.readers.readers import READERS, recognise
from accomplice.data.study import Study


def stream_patients(path: Path, study: Study) -> Stream:
    """Open the patients of :func:`cohort.read_patients`, to be read in parts.

    Raises:
        InputError: the file cannot be read.
    """
    reader = READERS[recognise(path, study.source.reader)]
    return reader.stream(path, selection_for(study, predicting=True))
