"""Two workers share one study in PostgreSQL."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid

import optuna
import pytest

from accomplice.data.synthetic_study import synthesise
from accomplice.training.search.study import completed

URL = os.environ.get("ACCOMPLICE_TEST_POSTGRES")

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.skipif(URL is None, reason="no PostgreSQL named by ACCOMPLICE_TEST_POSTGRES"),
]


def test_two_workers_share_a_study(tmp_path):
    study = synthesise(tmp_path / "cohort", 150, "default", seed=2)
    name = f"shared-{uuid.uuid4().hex[:8]}"
    command = [
        sys.executable,
        "-m",
        "accomplice.training.cli.main",
        "tune",
        str(study),
        "--trials",
        "6",
    ]
    command += ["--storage", str(URL), "--name", name]
    command += ["--set", "net.members=2", "--set", "net.max_epochs=1"]
    command += ["--set", "evaluation.bootstraps=5", "--set", "evaluation.peers=false"]
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    workers = [
        subprocess.Popen(command, cwd=f, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for f in folders
    ]
    for worker in workers:
        _, said = worker.communicate(timeout=240)
        assert worker.returncode == 0, said
    shared = optuna.load_study(study_name=name, storage=str(URL))
    finished = completed(shared)
    # Each worker may finish the trial it was in when the other reached the total.
    assert 6 <= len(finished) <= 7
    assert len({t.number for t in finished}) == len(finished)
