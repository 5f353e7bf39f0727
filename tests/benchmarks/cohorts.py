"""The public cohorts the benchmark is run on, and their splits into training and test rows.

A frame has the columns ``time`` and ``event``, and one column a feature. Names that start with
``fac_`` and columns of text hold categories, the others numbers.
"""

from __future__ import annotations

import os
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd

from accomplice.data.drafting.draft import draft_study
from accomplice.data.loading import read_tables
from accomplice.data.outcomes import survival_targets
from accomplice.data.study import parse_study

TIME, EVENT = "time", "event"
#: The largest cohorts are thinned to so many rows.
MOST_ROWS = 3000
#: Share of the rows that is tested on.
TEST_SHARE = 0.3

#: Cohorts of the package SurvSet, the quick ones first.
SURVSET = (
    "veteran",
    "burn",
    "cgd",
    "stagec",
    "pbc",
    "hepatoCellular",
    "d.oropha.rec",
    "micro.censure",
    "nki70",
    "zinc",
    "phpl04K8a",
    "prostate",
    "uis",
    "GBSG2",
    "AML_Bull",
    "vdv",
    "gse4335",
    "colon",
    "Aids2",
    "dataDIVAT3",
    "nwtco",
    "dataDIVAT1",
    "Framingham",
    "rott2",
    "support2",
)
#: Cohorts of gastric cancer -> where they lie in the folder of real cohorts, time and event.
GASTRIC = {
    "TCGA-STAD": ("stad_tcga_pan_can_atlas_2018", "OS_MONTHS", "OS_STATUS"),
    "ACRG": ("acrg/acrg_gse62254.csv", "os_months", "os_event"),
}
COHORTS = (*GASTRIC, *SURVSET)


def gastric_folder() -> Path:
    """Return the folder of real cohorts: beside the project unless the environment names it."""
    beside = Path(__file__).parents[3] / "shared" / "data"
    return Path(os.environ.get("ACCOMPLICE_SHARED_DATA", beside))


def missing(cohort: str) -> str | None:
    """Say why a cohort cannot be loaded here; None if it can."""
    if cohort in GASTRIC:
        return None if gastric_folder().is_dir() else "the folder ../shared/data is absent"
    return None if find_spec("SurvSet") else "the package SurvSet is not installed"


@lru_cache(maxsize=2)
def load(cohort: str) -> pd.DataFrame:
    """Load the patients with follow-up, at most ``MOST_ROWS`` of them."""
    frame = _gastric(*GASTRIC[cohort]) if cohort in GASTRIC else _survset(cohort)
    frame = frame[frame[TIME] > 0]
    return frame.sample(n=min(len(frame), MOST_ROWS), random_state=0).reset_index(drop=True)


def load_split(cohort: str, repeat: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return training and test rows of a cohort, as many events among the one as the other."""
    from sklearn.model_selection import train_test_split

    frame = load(cohort)
    train, test = train_test_split(
        frame, test_size=TEST_SHARE, random_state=repeat, stratify=frame[EVENT]
    )
    return train.reset_index(drop=True), test.reset_index(drop=True)


def features(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame without its outcome."""
    return frame.drop(columns=[TIME, EVENT])


def _survset(name: str) -> pd.DataFrame:
    from SurvSet.data import SurvLoader

    frame: pd.DataFrame = SurvLoader().load_dataset(name)["df"]
    types = {EVENT: np.int64, TIME: np.float64}
    return frame.drop(columns=["pid"]).astype(types)


def _gastric(path: str, time: str, event: str) -> pd.DataFrame:
    """Read what `accomplice data init` picks by itself.

    It picks for everybody: it leaves out what is known only after the outcome.
    """
    source = gastric_folder() / path
    drafted = draft_study(source, time=time, event=event, out=source.parent / "study.yaml")
    study = parse_study(drafted.study, path)
    frame, _ = read_tables(study, source.parent)
    months, seen, keep = survival_targets(frame, *study.survival_endpoint(None))
    chosen = frame[[feature.column or name for name, feature in study.features.items()]]
    outcome = pd.DataFrame({EVENT: seen.astype(np.int64), TIME: months}, index=frame.index)
    return pd.concat([outcome, chosen], axis=1)[keep]
