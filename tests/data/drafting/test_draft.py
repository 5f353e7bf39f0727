from __future__ import annotations

import re
import time as clock
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accomplice.data.drafting.draft import Draft, draft_study, render_study
from accomplice.data.errors import InputError
from accomplice.data.loading import load_cohort, load_endpoints
from accomplice.data.panels.panel import KNOWN_AFTER
from accomplice.data.readers.layout import clean_name
from accomplice.data.study import parse_study

SHARED = Path(__file__).parents[3].parent / "shared" / "data"
real = pytest.mark.skipif(not SHARED.is_dir(), reason="the real cohorts are not here")

CANARY = "CANARY-7431"
N = 60


def base(n: int = N, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "pid": [f"p{i:03}" for i in range(n)],
            "t": rng.exponential(30, n).round(2) + 0.01,
            "e": rng.random(n) < 0.5,
            "x": rng.normal(size=n).round(3),
        }
    )


def draft(tmp_path: Path, frame: pd.DataFrame, **options) -> Draft:
    frame.to_csv(tmp_path / "table.csv", index=False)
    options = {"time": "t", "event": "e", "out": tmp_path / "study.yaml"} | options
    drafted = draft_study(tmp_path / "table.csv", **options)
    assert_sound(drafted, tmp_path / "study.yaml")
    return drafted


def assert_sound(drafted: Draft, out: Path) -> None:
    """What holds for every draft: it survives its rendering, and its table makes a cohort."""
    text = render_study(drafted)
    assert parse_study(yaml.safe_load(text), "x") == parse_study(drafted.study, "x")
    out.write_text(text, encoding="utf-8")
    assert len(load_endpoints(out)) > 0
    assert all("\n" not in note and note for note in drafted.notes)


def features(drafted: Draft) -> dict:
    return {n: f for fs in drafted.study["modalities"].values() for n, f in fs.items()}


def with_column(cells, name="column", n=N) -> pd.DataFrame:
    return base(n).assign(**{name: [cells[i % len(cells)] for i in range(n)]})


class TestModalities:
    def test_a_table_of_another_field_has_one(self, tmp_path):
        rng = np.random.default_rng(0)
        frame = base().assign(karno=rng.integers(1, 9, N) * 10, celltype=list("abcd") * 15)
        drafted = draft(tmp_path, frame)
        assert list(drafted.study["modalities"]) == ["clinical"]
        assert drafted.study["baselines"] == {"clinical": ["x", "karno", "celltype"]}

    def test_markers_are_sorted(self, tmp_path):
        rng = np.random.default_rng(0)
        names = ["FAP", "CD163", "IL-1R1", "CD8A", "msi", "age"]
        values = {name: rng.normal(60, 5, N) for name in names}
        drafted = draft(tmp_path, base().assign(**values))
        assert {m: list(f) for m, f in drafted.study["modalities"].items()} == {
            "clinical": ["x", "age"],
            "molecular": ["msi"],
            "il1r1": ["IL-1R1"],
            "macrophage": ["CD163"],
            "t_cell": ["CD8A"],
            "stroma": ["FAP"],
        }

    def test_many_genes_are_a_modality_and_few_lines(self, tmp_path):
        rng = np.random.default_rng(0)
        genes = pd.DataFrame(rng.normal(size=(N, 400)), columns=[f"ABC{i}" for i in range(400)])
        drafted = draft(
            tmp_path, pd.concat([base(), genes.assign(CD68=genes["ABC7"] ** 2)], axis=1)
        )
        assert len(drafted.study["modalities"]["genes"]) == 400
        assert drafted.study["modalities"]["genes"]["ABC3"] == {"kind": "expression"}
        assert len(drafted.notes) < 15
        assert sum(map(len, drafted.notes)) < 2000

    def test_no_reference_model_of_very_many_features(self, tmp_path):
        rng = np.random.default_rng(0)
        wide = pd.DataFrame(rng.normal(size=(N, 40)), columns=[f"v{i}" for i in range(40)])
        assert "baselines" not in draft(tmp_path, pd.concat([base(), wide], axis=1)).study


def test_patients_without_follow_up_are_left_out_when_asked(tmp_path):
    frame = base().assign(only=1.0)
    frame.loc[:3, "t"] = [0.0, np.nan, 0.0, np.nan]
    frame.loc[:3, "e"] = False
    frame.loc[:3, "only"] = [2.0, 3.0, 4.0, 5.0]
    drafted = draft(tmp_path, frame, drop_without_follow_up=True)
    assert drafted.study["endpoints"]["survival"]["survival"]["drop_without_follow_up"] is True
    assert any("left out: 4 of 60 patients" in note for note in drafted.notes)
    assert "only" in drafted.study["ignored"], "it is constant among the patients who stay"


@pytest.mark.parametrize(("count", "taken"), [(1, True), (6, True), (7, False)])
def test_a_few_without_follow_up_are_left_out_and_it_is_said(tmp_path, count, taken):
    frame = base()
    frame.loc[: count - 1, "t"] = 0.0
    frame.loc[: count - 1, "e"] = False
    if not taken:
        with pytest.raises(InputError, match=f"{count} of 60 patients have no follow-up"):
            draft(tmp_path, frame)
        return
    drafted = draft(tmp_path, frame)
    assert drafted.study["endpoints"]["survival"]["survival"]["drop_without_follow_up"] is True
    assert any(f"left out: {count} of 60 patients" in note for note in drafted.notes)


def test_a_name_with_a_control_character_survives_its_rendering(tmp_path):
    drafted = draft(tmp_path, with_column([None], name="odd\x85name"))
    assert yaml.safe_load(render_study(drafted))["ignored"].keys() == {"odd\x85name"}


def test_the_source_is_relative_to_the_study_file(tmp_path):
    (tmp_path / "a").mkdir()
    base().to_csv(tmp_path / "a" / "my table.2.csv", index=False)
    out = tmp_path / "b" / "study.yaml"
    drafted = draft_study(tmp_path / "a" / "my table.2.csv", time="t", event="e", out=out)
    assert drafted.study["source"]["files"] == ["../a/my table.2.csv"]
    assert drafted.study["name"] == "my-table"


def test_a_parquet_with_odd_columns(tmp_path):
    frame = base().assign(
        day=pd.Timestamp("2020-01-01") + pd.to_timedelta(np.arange(N), unit="D"),
        span=pd.to_timedelta(np.arange(N), unit="D"),
        lists=[[i] for i in range(N)],
        kind=pd.Categorical(list("abc") * (N // 3)),
        count=pd.array([1, 2, None] * (N // 3), dtype="Int64"),
        endless=[np.inf, 1.0, 2.0] * (N // 3),
    )
    frame.to_parquet(tmp_path / "t.parquet")
    out = tmp_path / "study.yaml"
    drafted = draft_study(tmp_path / "t.parquet", time="t", event="e", out=out)
    assert_sound(drafted, out)
    assert list(features(drafted)) == ["x", "kind", "count"]
    ignored = drafted.study["ignored"]
    assert (ignored["day"], ignored["span"]) == ("a date", "a date")
    assert ignored["lists"] == "not plain numbers or text"
    assert "numbers and text" in ignored["endless"]


def test_five_thousand_columns_are_fast(tmp_path):
    rng = np.random.default_rng(0)
    wide = pd.DataFrame(
        rng.normal(size=(100, 5000)).round(2), columns=[f"v{i}" for i in range(5000)]
    )
    frame = pd.concat([base(100), wide.mask(rng.random(wide.shape) < 0.05)], axis=1)
    frame.to_csv(tmp_path / "t.csv", index=False)
    start = clock.perf_counter()
    drafted = draft_study(tmp_path / "t.csv", time="t", event="e", out=tmp_path / "s.yaml")
    assert len(render_study(drafted)) > 1e5
    assert clock.perf_counter() - start < 30


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=12)
CELLS = [
    st.floats(-1e6, 1e6),
    st.floats(allow_nan=True, allow_infinity=True),
    st.integers(0, 4),
    st.integers(-(10**20), 10**20),
    st.booleans(),
    st.sampled_from(["yes", "no", "Yes", "NO", "n/a", "?"]),
    st.sampled_from(["Stage I", "STAGE IIIB", "IV", "x", "stage ii"]),
    st.sampled_from(["T1", "TX", "t4a", "M0", "0", "null", "~", "off", "1e3", "0x1f"]),
    st.sampled_from(["low", "HIGH", "Medium", " low", "2020-01-01"]),
    st.sampled_from(["1", "2", "3+", "<5", "1.0", " 1"]),
    TEXTS,
    st.one_of(st.integers(0, 3), TEXTS),
]
ODD_NAMES = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), min_size=1, max_size=12),
    st.sampled_from(
        ["IL1R1", "stage", "t_stage", "CD8_ihc", "yes", "null", "1", "~", "MSI", "age"]
    ),
)


@st.composite
def any_table(draw):
    n = draw(st.integers(8, 24))
    columns = {
        "follow-up": draw(st.lists(st.floats(0.5, 200), min_size=n, max_size=n)),
        "gone": [1, *draw(st.lists(st.booleans().map(int), min_size=n - 1, max_size=n - 1))],
        "wave": [float((7 * i) % n) + 0.5 for i in range(n)],
    }
    names = draw(st.lists(ODD_NAMES, max_size=5, unique_by=lambda s: s.strip()))
    for name in names:
        if name.strip() and name.strip() not in columns:
            cells = st.one_of(st.none(), draw(st.sampled_from(CELLS)))
            columns[name] = draw(st.lists(cells, min_size=n, max_size=n))
    return pd.DataFrame({k: pd.Series(v, dtype=object) for k, v in columns.items()})


def asks_rightly(error, frame):
    """Whether it is asked what None or NA means, and a column has it beside blank cells."""
    asked = re.search(r"has (None|NA) as well as blank cells: give --missing \1 if", str(error))
    columns = [{"" if c is None else str(c).strip().lower() for c in frame[n]} for n in frame]
    return asked is not None and any({asked[1].lower(), ""} <= cells for cells in columns)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(any_table())
def test_any_sane_table_makes_a_cohort_without_hand_edits(tmp_path, frame):
    path, out = tmp_path / "table.csv", tmp_path / "study.yaml"
    frame.to_csv(path, index=False)
    try:
        drafted = draft_study(path, time="follow-up", event="gone", out=out)
    except InputError as error:
        # The wave can run with the time by chance.
        assert "no column can be a feature" in str(error) or asks_rightly(error, frame)  # noqa: PT017
        return
    assert_sound(drafted, out)
    study = parse_study(drafted.study, "x")
    assert set(study.columns()) == {clean_name(str(name)) for name in frame.columns}


@real
class TestReal:
    def test_the_study_folder(self, tmp_path):
        path, out = SHARED / "stad_tcga_pan_can_atlas_2018", tmp_path / "study.yaml"
        drafted = draft_study(path, time=None, event=None, out=out)
        assert_sound(drafted, out)
        cohort = load_cohort(out)
        assert (len(cohort), cohort.left_out) == (416, 24)
        modalities = drafted.study["modalities"]
        assert list(modalities) == [
            "clinical", "molecular", "il1r1", "macrophage", "t_cell", "stroma"
        ]  # fmt: skip
        assert all(3 <= len(modalities[m]) <= 10 for m in ("macrophage", "t_cell", "stroma"))
        stage = drafted.study["baselines"]["stage"]
        assert stage == ["AJCC_PATHOLOGIC_TUMOR_STAGE"]
        assert features(drafted)["PATH_M_STAGE"]["map"] == {"MX": None}
        assert drafted.study["ignored"]["PERSON_NEOPLASM_CANCER_STATUS"] == KNOWN_AFTER
        assert list(drafted.study["endpoints"]["survival"]) == ["os", "dfs", "pfs", "dss"]
        assert "1534 more are left out" in drafted.notes[0]
        assert len(drafted.notes) <= 21
        (died,) = [note for note in drafted.notes if "death competes" in note]
        assert "censored in 'dfs'" in died
        assert died.endswith("so it is with 'pfs', 'dss'")

    @pytest.mark.parametrize(
        ("file", "n", "drop"),
        [("tcga_stad/tcga_stad.csv", 417, True), ("acrg/acrg_gse62254.csv", 300, False)],
    )
    def test_the_tables(self, tmp_path, file, n, drop):
        out = tmp_path / "study.yaml"
        drafted = draft_study(
            SHARED / file, time="os_months", event="os_event", drop_without_follow_up=drop, out=out
        )
        assert_sound(drafted, out)
        assert len(load_cohort(out)) == n
        leaky = {"dfs", "pfs", "dss", "os"}
        assert not [name for name in features(drafted) if leaky & set(name.split("_"))]
        assert not {"tumor_status", "primary_therapy_outcome"} & set(features(drafted))

    def test_the_clinical_matrix(self, tmp_path):
        path = SHARED / "tcga_stad" / "TCGA.STAD.sampleMap_STAD_clinicalMatrix"
        frame = pd.read_csv(path, sep="\t")
        frame = frame[frame["sample_type"] == "Primary Tumor"]
        died = frame["vital_status"] == "DECEASED"
        days = frame["days_to_death"].where(died, frame["days_to_last_followup"])
        frame = frame.assign(days=days, died=died.astype(int))
        drafted = draft(
            tmp_path, frame, time="days", event="died", unit="days", id="sampleID",
            drop_without_follow_up=True,
        )  # fmt: skip
        known_after = {n for n, why in drafted.study["ignored"].items() if KNOWN_AFTER in why}
        assert {"vital_status", "days_to_death", "days_to_last_followup"} <= known_after
        doubtful = [
            name
            for name in features(drafted)
            if any(word in name for word in ("follow", "death", "outcome", "new_", "status"))
        ]
        assert not doubtful


class TestResponseAlone:
    @staticmethod
    def table() -> pd.DataFrame:
        """Patients with a response, and a grade that follows it after the fact."""
        recist = ["PR", "SD", "CR", "PD", None] * (N // 5)
        told = {"PR": "up", "CR": "up", "SD": "down", "PD": "down", None: None}
        return base().assign(recist=recist, grade=[told[r] for r in recist])

    def test_a_study_needs_no_survival(self, tmp_path):
        drafted = draft(tmp_path, self.table(), time=None, event=None, response="recist")
        assert drafted.study["endpoints"] == {
            "binary": {
                "response": {"column": "recist", "positive": ["CR", "PR"], "negative": ["PD", "SD"]}
            }
        }
        assert "baselines" not in drafted.study
        assert set(features(drafted)) == {"t", "e", "x"}

    def test_a_column_that_tells_the_response_is_no_feature(self, tmp_path):
        for followed in ({}, {"time": None, "event": None}):
            drafted = draft(tmp_path, self.table(), response="recist", **followed)
            assert drafted.study["ignored"]["grade"] == f"{KNOWN_AFTER}: it tells the response"

    @pytest.mark.parametrize("half", [{"time": None}, {"event": None}])
    def test_half_of_survival_is_refused(self, tmp_path, half):
        with pytest.raises(InputError, match="name the column of the"):
            draft(tmp_path, self.table(), response="recist", **half)

    def test_a_treatment_needs_survival(self, tmp_path):
        frame = self.table().assign(act=["yes", "no"] * (N // 2))
        with pytest.raises(InputError, match="its effect is on survival: name --time and --event"):
            draft(tmp_path, frame, time=None, event=None, response="recist", treatment="act")
