"""Cohorts, configurations and fits that many tests share; all patients are made up."""

from __future__ import annotations

import os
import pickle
import signal
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from filelock import FileLock
from hypothesis import settings

from accomplice.data.panels.panel import panel_text

if TYPE_CHECKING:
    import pandas as pd

    from accomplice.data.cohort import Cohort, Patients
    from accomplice.training.config import Config
    from accomplice.training.run import Trained

# Networks this small only lose by threads that wait for each other, on a busy machine much. Torch
# reads it when it is imported, so it is set before any test module is.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A second process imports torch once more; tests/training/test_second_process.py has one.
os.environ.setdefault("ACCOMPLICE_PROCESSES", "1")
# Some systems let the group write new files; a token file that it can write is refused.
os.umask(0o022)
# A terminal that is closed and Ctrl-C are heard, also where the tests were started with nohup or by
# a script in the background.
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says how busy the machine is, and nothing of the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

#: Files that take longest: the workers begin with them and share the short ones at the end.
LONGEST = (
    "integration/test_life.py",
    "training/tracking/test_runs.py",
    "training/cli/test_main.py",
    "training/cli/test_compare.py",
    "training/test_run.py",
    "browser/test_app.py",
    "serving/deployment/test_packaging.py",
    "serving/test_hostile.py",
    "integration/test_life_endpoints.py",
    "api/test_estimator_checks.py",
    "training/leakage/test_sentinels.py",
    "training/fitting/test_fit.py",
    "training/cli/test_evaluate.py",
    "training/search/test_search.py",
    "training/test_bundle.py",
    "training/test_budget.py",
    "training/treatment/test_effect.py",
    "training/learners/test_extending.py",
)
#: Settings with which a run takes a second.
TINY = (
    "folds.folds=3",
    "anchor.folds=2",
    "forest.trees=20",
    "boosting.members=2",
    "boosting.max_rounds=20",
    "net.members=2",
    "net.max_epochs=2",
    "net.steps_per_epoch=3",
    "evaluation.bootstraps=20",
    "evaluation.explanations=false",
    "evaluation.peers=false",
)
#: The same for a command.
TINY_OPTIONS = tuple(option for each in TINY for option in ("--set", each))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, all their tests in order."""
    tests = Path(__file__).parent
    places = {tests / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


#: Name, and function that makes what has that name -> what it made, here or in another worker.
Shared = Callable[[str, Callable[[], Any]], Any]


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Shared:
    """Makes a thing once for all of pytest-xdist's workers; the others read what one made."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent

    def made(name: str, make: Callable[[], Any]) -> Any:
        file = folder / f"{name}.pickle"
        with FileLock(f"{file}.lock"):
            if not file.exists():
                file.write_bytes(pickle.dumps(make()))
        return pickle.loads(file.read_bytes())

    return made


@pytest.fixture(scope="session", autouse=True)
def _copied_databases(shared: Shared) -> Iterator[None]:
    """Stores of this process are copies of one that the product made: MLflow takes a second for it.

    Processes that a test starts make theirs themselves.
    """
    from accomplice.training.tracking import store

    create = store._create_database

    def created() -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / store.DATABASE
            create(path)
            return path.read_bytes()

    def copied(path: Path) -> None:
        path.write_bytes(shared("database", created))
        with closing(sqlite3.connect(path)) as database, database:
            # MLflow's own experiment has its files in the working folder.
            place = str(Path.cwd() / "mlruns" / "0")
            database.execute("update experiments set artifact_location = ?", (place,))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "_create_database", copied)
        yield


@pytest.fixture(scope="session")
def tiny_config() -> Config:
    """A configuration that goes through all of a run in a second."""
    from accomplice.training.config import configure

    return configure(TINY)


@pytest.fixture(scope="session")
def small_cohort() -> Cohort:
    """240 synthetic patients of five centres with every kind of feature and missing values."""
    from accomplice.data.cohort import build_cohort
    from accomplice.data.study import parse_study
    from accomplice.data.synthetic import draw

    panel = panel_text("synthetic_gastric")
    study = parse_study(yaml.safe_load(panel), "synthetic_gastric.yaml")
    return build_cohort(study, draw(240, seed=11).frame)


@pytest.fixture(scope="session")
def tiny_trained(small_cohort: Cohort, tiny_config: Config, shared: Shared) -> Trained:
    """The small cohort's run with the tiny configuration."""
    from accomplice.training.run import train

    trained: Trained = shared("tiny", lambda: train(small_cohort, tiny_config))
    return trained


@pytest.fixture(scope="session")
def quick_trained(small_cohort: Cohort, quick_config: Config, shared: Shared) -> Trained:
    """The small cohort's run with the quick configuration."""
    from accomplice.training.run import train

    trained: Trained = shared("quick", lambda: train(small_cohort, quick_config))
    return trained


@pytest.fixture(scope="session")
def several_frame() -> pd.DataFrame:
    """220 synthetic patients with a made-up relapse before death, none recorded in stage IV."""
    import numpy as np

    from accomplice.data.synthetic import draw

    frame = draw(220, seed=31, ici_fraction=0.4).frame
    rng = np.random.default_rng(7)
    relapsed = rng.random(len(frame)) < 0.5
    part = np.where(relapsed, rng.uniform(0.2, 0.9, len(frame)), 1.0)
    never_free = frame["stage"] == "IV"
    return frame.assign(
        dfs_months=(frame["os_months"] * part).mask(never_free),
        dfs_event=((frame["os_event"] == 1) | relapsed).astype(int),
    )


@pytest.fixture(scope="session")
def several_raw() -> dict[str, Any]:
    """A study file's content: OS, DFS to 36 months, and a response."""
    panel = panel_text("synthetic_gastric")
    raw: dict[str, Any] = yaml.safe_load(panel)
    raw["endpoints"]["survival"]["dfs"] = {
        "time": "dfs_months",
        "event": "dfs_event",
        "horizon": 36,
        "drop_without_follow_up": True,
    }
    return raw


@pytest.fixture(scope="session")
def labels_raw(several_raw: dict[str, Any]) -> dict[str, Any]:
    """The same study with the response alone."""
    kept = {k: v for k, v in several_raw.items() if k not in ("treatment", "interactions")}
    return kept | {"endpoints": {"binary": several_raw["endpoints"]["binary"]}}


@pytest.fixture(scope="session")
def quick_config(tiny_config: Config) -> Config:
    """As the tiny one, with two folds."""
    from accomplice.training.config import configure

    return configure(["folds.folds=2", "forest.trees=10"], tiny_config)


@pytest.fixture(scope="session")
def several_cohort(several_raw: dict[str, Any], several_frame: pd.DataFrame) -> Cohort:
    """The patients with OS, and with them those with DFS."""
    from accomplice.data.cohort import build_cohort
    from accomplice.data.study import parse_study

    return build_cohort(parse_study(several_raw, "several"), several_frame, further=True)


@pytest.fixture(scope="session")
def several_trained(several_cohort: Cohort, quick_config: Config, shared: Shared) -> Trained:
    """A run of OS, DFS and the response."""
    from accomplice.training.run import train

    trained: Trained = shared("several", lambda: train(several_cohort, quick_config))
    return trained


@pytest.fixture(scope="session")
def labelled(labels_raw: dict[str, Any], several_frame: pd.DataFrame) -> Patients:
    """The patients with the response alone."""
    from accomplice.data.cohort import build_patients
    from accomplice.data.study import parse_study

    return build_patients(parse_study(labels_raw, "labels"), several_frame)


@pytest.fixture(scope="session")
def labels_trained(labelled: Patients, quick_config: Config, shared: Shared) -> Trained:
    """A run of the response alone."""
    from accomplice.training.run import train

    trained: Trained = shared("labels", lambda: train(labelled, quick_config))
    return trained


@pytest.fixture(scope="module")
def no_figures() -> Iterator[None]:
    """Runs leave no figures and pages in MLflow; drawing them takes longer than a tiny run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("accomplice.training.tracking.runs.log_figures", lambda *_: None)
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real public cohorts, beside the project where there is one."""
    path = Path(__file__).parents[2] / "shared" / "data"
    if not path.is_dir():
        pytest.skip("needs the real cohorts in ../shared/data")
    return path
