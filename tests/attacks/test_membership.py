"""Nobody who holds a bundle learns whether a given person was among its training patients."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from accomplice.data.cohort import build_cohort
from accomplice.data.synthetic import draw
from accomplice.serving.deployment.packaging import package
from accomplice.training.bundle import Bundle
from accomplice.training.leakage.cohort_overlap import sketch
from accomplice.training.models.manifest import digest_of, read_folder, without_sketch
from tests.attacks.membership import gain, likelihoods, signals

#: Whether each person took part.
MEMBERS = np.arange(480) < 240
#: Numbers in the records.
NUMBERS = np.random.default_rng(3).choice(10**8, 480, replace=False)


@pytest.fixture(scope="module")
def persons(small_cohort):
    """480 persons with numbers in the records, members first; and their table."""
    frames = [draw(240, seed=11).frame, draw(240, seed=12).frame]
    frame = pd.concat(frames, ignore_index=True)
    frame = frame.assign(patient_id=[f"K-{number}" for number in NUMBERS])
    return build_cohort(small_cohort.study, frame), frame


@pytest.fixture(scope="module")
def folder(persons, quick_config, shared, tmp_path_factory):
    """The bundle of a run on the members."""
    from accomplice.training.run import train

    members = persons[0].take(np.arange(240))
    trained = shared("members", lambda: train(members, quick_config))
    path = tmp_path_factory.mktemp("membership") / "bundle"
    trained.bundle.save(path)
    return path


@pytest.fixture(scope="module")
def said(persons, folder):
    """What the bundle says of each person."""
    return signals(Bundle.load(folder), folder, *persons)


def test_the_best_guess_by_features_and_number_gains_next_to_nothing(said):
    assert gain(said, MEMBERS) <= 0.05


def test_the_outcome_adds_what_the_fit_gives_away(persons, folder, said):
    likely = likelihoods(Bundle.load(folder), persons[0])
    # A model that knew its patients by heart would give 0.5.
    assert gain(np.column_stack([said, likely]), MEMBERS) <= 0.2


def test_the_attack_sees_a_member_where_a_bundle_tells(persons, folder, tmp_path):
    cohort, frame = persons
    (tmp_path / "kept.json").write_text(json.dumps({"hashes": cohort.ids[:240].tolist()}))
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    said = signals(Bundle.load(folder), tmp_path, cohort, frame)
    assert gain(said, MEMBERS) > 0.4


def test_no_file_of_a_bundle_holds_a_sketch(folder):
    assert not any(b"sketch" in file.read_bytes() for file in folder.iterdir())


class TestAnOlderBundle:
    @pytest.fixture
    def older(self, persons, folder, tmp_path):
        """A bundle that holds a sketch, as those of earlier versions do."""
        bundle = Bundle.load(folder)
        made = {**bundle.provenance, "sketch": sketch(persons[0].take(np.arange(240)))}
        replace(bundle, provenance=made).save(tmp_path / "older")
        assert "sketch" in (tmp_path / "older" / "provenance.json").read_text()
        return tmp_path / "older"

    def test_is_loaded_without_its_sketch(self, older):
        assert "sketch" not in Bundle.load(older).provenance

    def test_is_copied_without_its_sketch(self, older, folder, tmp_path):
        plain = without_sketch(read_folder(older))
        assert plain.digest == digest_of(folder)
        assert digest_of(plain.write(tmp_path / "plain")) == plain.digest
        content = read_folder(folder)
        assert without_sketch(content) is content

    def test_is_packed_without_its_sketch(self, older, folder, tmp_path):
        packed = package(read_folder(older), tmp_path / "store")
        assert digest_of(packed.path / "src" / "bundle") == digest_of(folder)
