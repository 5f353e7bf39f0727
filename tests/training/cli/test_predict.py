"""The verb ``predict``: the numbers of the whole table, in parts, and nothing half-written."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import accomplice
from accomplice.data.errors import InputError
from accomplice.data.loading import read_patients, stream_patients
from accomplice.data.preprocessing import scaling
from accomplice.data.readers import table_reader
from accomplice.data.synthetic import draw
from accomplice.training.bundle import OK, Bundle
from accomplice.training.cli import predict as predicting
from accomplice.training.cli.main import main
from accomplice.training.cli.predict import Tally, answered, rows_of_part
from accomplice.training.models import forward as abreast
from accomplice.training.run import train

ROOT = Path(__file__).parents[3]
TIMES, RATES = [12.0, 36.0], {"ici_response": 0.3}
#: Patients of a block, in place of a thousand.
BLOCK = 16
COMMAND = "import sys; from accomplice.training.cli.main import main; sys.exit(main(sys.argv[1:]))"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, small_cohort, quick_config) -> Path:
    """A model whose centres have assay scales of their own."""
    path = tmp_path_factory.mktemp("predicting") / "model"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scaling, "CENTRE_SIZE", 15)
        train(small_cohort, quick_config).bundle.save(path)
    return path


@pytest.fixture(scope="module")
def bundle(folder) -> Bundle:
    return Bundle.load(folder)


@pytest.fixture(scope="module")
def people() -> pd.DataFrame:
    """Patients in whose table much is odd, here and there alone."""
    rng = np.random.default_rng(3)
    frame = draw(150, seed=8).frame.astype(object)
    for block in (["age", "stage"], ["IL1R1", "CD163"], ["act"], ["centre"], ["patient_id"]):
        frame.loc[rng.random(len(frame)) < 0.25, block] = None
    frame["patient_id"] = [f"{i % 90:03d}" if i % 7 else None for i in range(len(frame))]
    # Numbers but for one cell, a level and an age that cannot be, and a column nobody knows.
    frame.loc[20, "IL1R1"], frame.loc[100, "age"], frame.loc[149, "stage"] = "high", 150.0, "IX"
    frame.loc[:60, "age"] = None
    return frame.assign(batch=np.arange(len(frame)), pdl1=None)


@pytest.fixture(scope="module")
def tables(tmp_path_factory, people) -> list[Path]:
    """The patients as CSV, and as Parquet, which holds each column's cells as of one kind."""
    where = tmp_path_factory.mktemp("tables")
    people.to_csv(where / "people.csv", index=False)
    read = pd.read_csv(where / "people.csv", dtype={"patient_id": str})
    read["stage"] = read["stage"].astype("category")
    read.to_parquet(where / "people.parquet", index=False, row_group_size=37)
    return [where / "people.csv", where / "people.parquet"]


@pytest.fixture(scope="module")
def wholes(bundle, tables) -> list[pd.DataFrame]:
    """The answers to each table, read and predicted as a whole."""
    return [bundle.predict(read_patients(path, bundle.study), TIMES, RATES) for path in tables]


@pytest.fixture
def small_blocks(monkeypatch) -> None:
    for module in (abreast, scaling):
        monkeypatch.setattr(module, "BLOCK", BLOCK)


def assert_same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(found, expected, rtol=0, atol=1e-12)


@settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    columns=st.integers(1, 40),
    cells=st.integers(1, 8 * 40 * BLOCK),
    blocks=st.integers(1, 12),
    surveyed=st.integers(1, 200),
)
def test_parts_of_any_size_get_the_numbers_of_the_whole(
    small_blocks, bundle, tables, wholes, columns, cells, blocks, surveyed
):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predicting, "BLOCKS", blocks)
        patch.setattr(predicting, "CELLS", cells)
        patch.setattr(table_reader, "SURVEYED", surveyed)
        rows = rows_of_part(columns)
        for path, expected in zip(tables, wholes, strict=True):
            parts = stream_patients(path, bundle.study).parts(rows)
            given = list(answered(bundle, parts, TIMES, RATES, lambda _: None, explain=False))
            assert len(given) == -(-len(expected) // rows)
            found = pd.concat([part.answers for part in given], ignore_index=True)
            assert_same(found, expected)


def test_the_tables_are_odd_enough(bundle, tables):
    for path in tables:
        found = bundle.predict(read_patients(path, bundle.study), TIMES)
        said = " ".join(found["flags"])
        for flag in ("not_a_number:IL1R1", "out_of_range:age", "unknown_level:stage"):
            assert said.count(flag) == 1, flag
        for flag in ("missing_modality:", "unknown_assay", "unknown_column:batch"):
            assert flag in said
        assert found["patient_id"].duplicated().any()
        assert {"008", "1", "148"} <= set(found["patient_id"])


def test_a_column_that_does_not_fit_is_refused(capsys, monkeypatch, tmp_path, folder, people):
    monkeypatch.chdir(tmp_path)
    coded = people.assign(stage=np.where(np.arange(len(people)) % 3, "7", "8"))
    coded.to_csv("t.csv", index=False)
    assert main(["predict", str(folder), "t.csv", "--out", "p.csv"]) == 2
    said = capsys.readouterr().err
    assert "column 'stage': none of its 150 cells is one of its levels 'I', 'II'" in said
    assert not Path("p.csv").exists()
    with pytest.raises(InputError, match="column 'stage': none of its 150 cells"):
        accomplice.predict(folder, coded)
    # A single cell that fits, or too few to tell, and all is answered.
    for few in (coded.assign(stage=["I", *coded["stage"][1:]]), coded[:4]):
        few.to_csv("t.csv", index=False)
        assert main(["predict", str(folder), "t.csv", "--out", "p.csv"]) == 0
        assert "unknown_level:stage" in capsys.readouterr().out


def test_expression_on_another_scale_gets_flags_and_no_advice(bundle, people):
    genes = [n for n, f in bundle.study.features.items() if f.kind == "expression"]
    plain = people.assign(IL1R1=pd.to_numeric(people["IL1R1"], errors="coerce"))
    found = bundle.predict(plain.assign(**{name: 2.0 ** plain[name] for name in genes}))
    known = plain[genes].notna().any(axis=1).to_numpy()
    assert found["flags"].str.contains("outside_training_modality:")[known].mean() > 0.95
    assert found["advice"].str.startswith("abstains: ")[known].mean() > 0.95
    assert not found["advice"].str.contains("far outside")[~known].any()
    usual = bundle.predict(plain)
    assert usual["flags"].str.contains("outside_training").mean() < 0.05


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_the_verb_writes_what_predicting_at_once_gives(
    small_blocks, capsys, monkeypatch, tmp_path, folder, bundle, tables, ending
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(predicting, "BLOCKS", 2)
    for path in tables:
        asked = ["--times", "12,36", "--response-rate", "ici_response=0.3"]
        assert main(["predict", str(folder), str(path), *asked, "--out", f"p{ending}"]) == 0
        expected = bundle.predict(read_patients(path, bundle.study), TIMES, RATES)
        if ending == ".csv":
            found = pd.read_csv("p.csv", dtype={"patient_id": str})
            expected.to_csv("whole.csv", index=False)
            assert Path("p.csv").read_text().count("patient_id") == 1
            expected = pd.read_csv("whole.csv", dtype={"patient_id": str})
        else:
            found = pd.read_parquet("p.parquet")
        assert_same(found, expected)
        flagged = int((expected["flags"] != OK).sum())
        said = capsys.readouterr().out.splitlines()
        assert said[0] == f"wrote p{ending}: 150 patients, {flagged} with flags; research use only"
        assert "unknown_column:batch 150, " in said[1]
        assert said[1].endswith(" more")
    assert main(["predict", str(folder), str(tables[0]), *asked]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0].startswith("patient_id,risk,survival@12")
    assert len(out.splitlines()) == 151


def test_patients_without_ids_are_numbered_through(
    small_blocks, capsys, monkeypatch, tmp_path, folder, people
):
    monkeypatch.chdir(tmp_path)
    people.drop(columns="patient_id").to_csv("t.csv", index=False)
    assert main(["predict", str(folder), "t.csv", "--out", "p.csv"]) == 0
    assert pd.read_csv("p.csv")["patient_id"].tolist() == list(range(1, 151))


def test_explanations_come_in_parts_too(
    small_blocks, monkeypatch, tmp_path, folder, bundle, people
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(predicting, "BLOCKS", 1)
    few = people.iloc[:36]
    few.to_csv("t.csv", index=False)
    told: list[int] = []
    given = list(
        answered(
            bundle,
            stream_patients(Path("t.csv"), bundle.study).parts(16),
            [12.0],
            {},
            told.append,
            explain=True,
        )
    )
    assert told == sorted(told)
    assert set(told) == set(range(37))
    assert main(["predict", str(folder), "t.csv", "--out", "p.csv", "--explain", "w.parquet"]) == 0
    expected = bundle.explain(read_patients(Path("t.csv"), bundle.study))
    found = pd.read_parquet("w.parquet")
    assert_same(found, expected)
    assert_same(pd.concat([p.explanations for p in given], ignore_index=True), expected)
    np.testing.assert_allclose(found["risk"], pd.read_csv("p.csv")["risk"], atol=1e-6)


def test_a_part_is_whole_blocks_and_a_wide_table_has_smaller_ones():
    assert rows_of_part(30) == predicting.BLOCKS * abreast.BLOCK
    assert rows_of_part(0) == rows_of_part(30)
    assert rows_of_part(20_000) == abreast.BLOCK


def test_parts_are_let_go(bundle, people):
    """While one is read, the last one and its answers may still be held, and no others."""
    made: list[weakref.ref[pd.DataFrame]] = []
    alive = []

    def parts():
        for _ in range(12):
            gc.collect()
            alive.append(sum(each() is not None for each in made))
            part = people.iloc[:4].copy()
            made.append(weakref.ref(part))
            yield part

    gc.freeze()  # all that other tests hold need not be gone through again and again
    try:
        for part in answered(bundle, parts(), [12.0], {}, lambda _: None, explain=False):
            made.append(weakref.ref(part.answers))
    finally:
        gc.unfreeze()
    assert len(alive) == 12
    assert max(alive) <= 2


def test_tally_counts_patients_and_names_the_usual_flags():
    tally = Tally()
    tally.add(pd.Series([OK, "a:x; b\n:y", "a:x"]))
    tally.add(pd.Series([OK, "c; d; e; f; a:x"]))
    assert (tally.patients, tally.flagged) == (5, 3)
    assert tally.most_frequent() == "a:x 3, b :y 1, c 1, d 1, e 1 and 1 more"


def refused(capsys, *argv: str) -> str:
    assert main(list(argv)) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


def test_places_that_cannot_be_written_are_refused_before_work(
    capsys, monkeypatch, tmp_path, folder, tables
):
    monkeypatch.chdir(tmp_path)
    table = str(tables[1])
    ask = ("predict", str(folder), table, "--out")
    assert "ends in .csv or .parquet" in refused(capsys, *ask, "p.xlsx")
    assert "ends in .csv or .parquet" in refused(capsys, *ask, "p.csv.gz")
    assert "another file than the table" in refused(capsys, *ask, table)
    assert "another file than the table" in refused(capsys, *ask, "p.csv", "--explain", table)
    assert list(tmp_path.iterdir()) == []


def test_an_error_half_way_leaves_nothing(capsys, monkeypatch, tmp_path, folder, tables):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(predicting, "BLOCKS", 1)
    monkeypatch.setattr(abreast, "BLOCK", BLOCK)
    yesterday = pd.DataFrame({"patient_id": ["a"], "risk": [0.1], "flags": [OK]})
    yesterday.to_parquet("p.parquet")
    before = Path("p.parquet").read_bytes()
    predict, calls = Bundle.predict, 0

    def breaks(self, *args, **options):
        nonlocal calls
        calls += 1
        if calls == 4:
            raise MemoryError
        return predict(self, *args, **options)

    monkeypatch.setattr(Bundle, "predict", breaks)
    with pytest.raises(MemoryError):
        main(["predict", str(folder), str(tables[0]), "--out", "p.parquet", "--explain", "w.csv"])
    assert [p.name for p in tmp_path.iterdir()] == ["p.parquet"]
    assert Path("p.parquet").read_bytes() == before


def many(people: pd.DataFrame, n: int, path: Path) -> Path:
    frame = people.drop(columns=["IL1R1"]).convert_dtypes()
    frame.iloc[np.arange(n) % len(frame)].to_parquet(path, index=False)
    return path


def test_ctrl_c_half_way_leaves_nothing(tmp_path, folder, people):
    table = many(people, 400_000, tmp_path / "many.parquet")
    command = [sys.executable, "-c", COMMAND, "predict", str(folder), str(table)]
    running = subprocess.Popen(
        [*command, "--out", str(tmp_path / "p.csv")],
        cwd=ROOT,
        # Who runs the tests in the background has it ignored, and so would this.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    part = tmp_path / ".p.csv.part"
    while running.poll() is None and not (part.exists() and part.stat().st_size > 0):
        time.sleep(0.05)
    assert running.poll() is None
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert (running.returncode, out, err) == (130, "", "accomplice: stopped\n")
    assert [p.name for p in tmp_path.iterdir()] == ["many.parquet"]


PEAK = COMMAND.replace(
    "sys.exit(main(sys.argv[1:]))",
    "import resource; main(sys.argv[1:]); "
    "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)",
)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_table(tmp_path, folder, people):
    peaks = []
    for n in (20_000, 200_000):
        table = many(people, n, tmp_path / f"{n}.parquet")
        command = ["predict", str(folder), str(table), "--out", str(tmp_path / "p.parquet")]
        done = subprocess.run(
            [sys.executable, "-c", PEAK, *command],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        peaks.append(int(done.stdout.splitlines()[-1]))
    # The tables differ by some 40 MB, their answers by 50 MB, and all at once took 300 MB more.
    assert peaks[1] < 1.15 * peaks[0]
