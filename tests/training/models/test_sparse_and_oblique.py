"""A model whose anchor is sparse and whose trees are oblique: kept exactly, one patient as many."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load, save

from accomplice.data.errors import InputError
from accomplice.data.synthetic import draw
from accomplice.training.bundle import WEIGHTS, Bundle
from accomplice.training.config import configure
from accomplice.training.run import train
from tests.training.test_bundle import rewrite

SETTINGS = ("anchor.mixing=0.9", "forest.oblique=3", "forest.candidates=0.5", "forest.depth=6")


@pytest.fixture(scope="module")
def bundle(small_cohort, quick_config):
    found = train(small_cohort, configure(SETTINGS, quick_config)).bundle
    # A learner must have a part in the answers for its state to matter.
    ensemble = found.primary.ensemble
    weights = np.full(len(ensemble.stack.weights), 0.25)
    ensemble = replace(ensemble, stack=replace(ensemble.stack, weights=weights))
    return replace(found, survival={"os": replace(found.primary, ensemble=ensemble)})


@pytest.fixture(scope="module")
def path(bundle, tmp_path_factory):
    folder = tmp_path_factory.mktemp("oblique") / "b"
    bundle.save(folder)
    return folder


def test_learners_are_sparse_and_oblique(bundle):
    for fold in bundle.primary.ensemble.folds:
        assert 0 < np.count_nonzero(fold.anchor.beta) < len(fold.anchor.beta)
        forest = fold.learners["forest"]
        assert forest.combinations.columns.shape[1] == 3
        assert forest.trees.feature.max() >= len(forest.columns)
        assert len(forest.trees.levels) <= 6


def test_loaded_model_answers_as_the_saved_and_one_patient_as_many(bundle, path):
    frame = draw(40, seed=3).frame
    loaded = Bundle.load(path)
    together = loaded.predict(frame, [12, 36])
    assert together.equals(bundle.predict(frame, [12, 36]))
    for i in range(5):
        alone = loaded.predict(frame.iloc[[i]], [12, 36])
        assert alone["survival@36"].iloc[0] == together["survival@36"].iloc[i]


@pytest.mark.parametrize("name", ["weights", "combined"])
def test_altered_combinations_fail_the_replay(path, tmp_path, name):
    bundle = Bundle.load(path)
    bundle.save(tmp_path / "b")
    weights = load((tmp_path / "b" / WEIGHTS).read_bytes())
    for k in range(len(bundle.primary.ensemble.folds)):
        key = f"os/forest/{k}/{name}"
        weights[key] = np.ascontiguousarray(weights[key][::-1])
    rewrite(tmp_path / "b", WEIGHTS, save(weights))
    with pytest.raises(InputError, match="answers its own test rows differently"):
        Bundle.load(tmp_path / "b")
