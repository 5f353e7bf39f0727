"""One model, five ways to ask it: HTTP, ``Bundle.predict``, MLflow's pyfunc, Spark, ``predict``."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest

from accomplice.serving.client import Client
from accomplice.training.bundle import Bundle
from accomplice.training.cli.main import main
from accomplice.training.processes import HOST
from accomplice.training.tracking.registry import requirements, signature
from tests.serving.conftest import made_up_table
from tests.serving.test_client import Bridge

pytestmark = pytest.mark.filterwarnings("ignore:.*input example:UserWarning")

PATIENTS, TIMES = 1000, [6.0, 12.0, 59.5]
#: Columns that go missing together.
BLOCKS = (["age_years", "stage", "sex"], ["IL1R1", "CD163"], ["CD8"], ["act"], ["hospital"])


@pytest.fixture(scope="module")
def people() -> pd.DataFrame:
    """Patients with random blocks and values missing, and some values that cannot be."""
    rng = np.random.default_rng(7)
    found = made_up_table(PATIENTS, seed=7).drop(columns=["months", "dead"]).astype(object)
    for block in BLOCKS:
        found.loc[rng.random(PATIENTS) < 0.25, block] = None
    for column in ("age_years", "stage", "IL1R1"):
        found.loc[rng.random(PATIENTS) < 0.1, column] = None
    found.loc[rng.random(PATIENTS) < 0.03, "age_years"] = 150.0
    found.loc[rng.random(PATIENTS) < 0.03, "stage"] = "IX"
    found.loc[found["hospital"].notna() & (rng.random(PATIENTS) < 0.1), "hospital"] = "nowhere"
    return found


def same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    assert list(found.columns) == list(expected.columns)
    for name in expected:
        if expected[name].dtype.kind == "f":
            np.testing.assert_allclose(
                found[name].astype(float), expected[name], rtol=0, atol=1e-6, err_msg=name
            )
        else:
            assert found[name].astype(str).tolist() == expected[name].astype(str).tolist(), name


@pytest.fixture(scope="module")
def pyfunc(bundle: Bundle, bundle_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle as MLflow's model."""
    path = tmp_path_factory.mktemp("mlflow") / "pyfunc"
    mlflow.pyfunc.save_model(
        path,
        python_model=str(Path(__file__).parents[2] / "training" / "tracking" / "pyfunc.py"),
        artifacts={"bundle": str(bundle_path)},
        pip_requirements=requirements(),
        signature=signature(bundle),
    )
    return path


def test_all_ways_agree_for_a_thousand_patients(
    client: Any,
    bundle: Bundle,
    bundle_path: Path,
    pyfunc: Path,
    people: pd.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = bundle.predict(people, TIMES)
    flags = expected["flags"].str.cat(sep=" ")
    kinds = ("missing_modality", "missing:", "out_of_range", "unknown_level", "unknown_assay")
    assert all(kind in flags for kind in kinds)
    assert expected["risk_group"].nunique() == 3

    http = Client("http://localhost", transport=Bridge(client))
    same(http.predict_batch(people, TIMES).frame(), expected)
    some = people.iloc[::50]
    singly = [http.predict(row, TIMES) for row in some.to_dict("records")]  # type: ignore[arg-type]
    np.testing.assert_allclose(
        [float(each["risk"]) for each in singly],  # type: ignore[arg-type]
        expected["risk"].iloc[::50],
        atol=1e-6,
    )

    loaded = mlflow.pyfunc.load_model(str(pyfunc))
    same(loaded.predict(people, params={"times": TIMES}), expected)

    monkeypatch.chdir(tmp_path)
    people.to_csv("people.csv", index=False)
    asked = ["predict", str(bundle_path), "people.csv", "--times", "6,12,59.5", "--out", "p.csv"]
    assert main(asked) == 0
    same(pd.read_csv("p.csv", dtype={"patient_id": str}), expected)


@pytest.fixture
def spark(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Spark on two threads of this machine, with this environment's Python."""
    if shutil.which("java") is None:
        pytest.skip("needs a JVM")
    pytest.importorskip("pyspark", reason="needs pyspark: pip install 'accomplice[spark]'")
    from pyspark.sql import SparkSession

    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    monkeypatch.setenv("SPARK_LOCAL_IP", HOST)
    build = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    session = build.getOrCreate()
    yield session
    session.stop()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning")
def test_spark_agrees(
    spark: Any, bundle: Bundle, pyfunc: Path, people: pd.DataFrame, tmp_path: Path
) -> None:
    from pyspark.sql.functions import struct

    people.infer_objects().to_parquet(tmp_path / "people.parquet")
    table = spark.read.parquet(str(tmp_path / "people.parquet")).repartition(3)

    def asked(times: list[float] | None, *given: str) -> pd.DataFrame:
        params = None if times is None else {"times": times}
        answer = mlflow.pyfunc.spark_udf(
            spark, str(pyfunc), *given, env_manager="local", params=params
        )
        # As one struct: MLflow would take columns by their place, not by their names.
        rows = table.select(answer(struct("*")).alias("said"))
        found = pd.DataFrame([row.asDict() for row in rows.select("said.*").collect()])
        return found.sort_values("patient_id", ignore_index=True)

    expected = bundle.predict(people).sort_values("patient_id", ignore_index=True)
    same(asked(None), expected)
    # Other months than the usual ones have columns of their own.
    named = "struct<patient_id: string, `survival@59.5`: double, flags: string>"
    expected = bundle.predict(people, [59.5]).sort_values("patient_id", ignore_index=True)
    same(asked([59.5], named), expected[["patient_id", "survival@59.5", "flags"]])
