"""``compare`` and ``promote`` on a store of their own: what they say, refuse and leave behind."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pytest
import yaml
from mlflow import MlflowClient

from accomplice.data.errors import InputError
from accomplice.data.loading import load_cohort
from accomplice.data.panels.panel import panel_text
from accomplice.data.synthetic import draw
from accomplice.training.bundle import Bundle
from accomplice.training.cli.main import main
from accomplice.training.config import configure
from accomplice.training.progress import silent
from accomplice.training.tracking import contenders as contest
from accomplice.training.tracking import promotion
from accomplice.training.tracking.experiment import fit_and_keep
from accomplice.training.tracking.gate import Decision, Rule
from accomplice.training.tracking.store import find_bundle, open_store
from tests.conftest import TINY_OPTIONS

SMALL = [
    *TINY_OPTIONS,
    *("--set", "folds.folds=2", "--set", "forest.trees=10", "--set", "boosting.max_rounds=40"),
    *("--set", "net.steps_per_epoch=10", "--set", "evaluation.bootstraps=50"),
]
NAME = "accomplice-synthetic-gastric"
PASSED = Decision((Rule("learnt", "has learnt something", True, "it has"),))

pytestmark = pytest.mark.usefixtures("no_figures")


def write_study(folder, frame, **changes):
    folder.mkdir()
    frame.to_csv(folder / "cohort.csv", index=False)
    panel = panel_text("synthetic_gastric")
    raw = yaml.safe_load(panel) | changes
    (folder / "study.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Two models of one cohort, one of outcomes by chance, and one of another cohort."""
    folder = tmp_path_factory.mktemp("work")
    frame = draw(240, seed=11).frame
    columns = ["os_months", "os_event"]
    shuffled = frame.assign(patient_id=[f"r{i}" for i in range(len(frame))])
    order = np.random.default_rng(3).permutation(len(frame))
    shuffled[columns] = frame[columns].to_numpy()[order]
    other = draw(200, seed=12).frame
    other = other.assign(patient_id=[f"o{i}" for i in range(len(other))])
    write_study(folder / "own", frame)
    write_study(folder / "chance", shuffled)
    write_study(folder / "other", other, name="elsewhere", description="")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
            patch.delenv(name, raising=False)
        patch.chdir(folder)
        for study, out, seed in (
            ("own", "first", "0"),
            ("own", "second", "1"),
            ("chance", "random", "0"),
            ("other", "foreign", "0"),
        ):
            argv = ["train", f"{study}/study.yaml", "--out", out, "--seed", seed, *SMALL]
            assert main(argv) == 0
        yield folder


@pytest.fixture
def store(work):
    """The store, with the first version as champion and nothing promoted by an earlier test."""
    client = MlflowClient()
    client.set_registered_model_alias(NAME, "champion", "1")
    yield open_store()
    for version in client.search_model_versions(f"name='{NAME}'"):
        for key in (promotion.FORCED, promotion.FAILED, promotion.BEST, promotion.REPLACED):
            if key in version.tags and version.version != 1:
                client.delete_model_version_tag(NAME, version.version, key)


def champion(name=NAME):
    found = promotion.champion_of(MlflowClient(), name)
    return None if found is None else str(found.version)


def tags():
    """The tags of the registered model."""
    return MlflowClient().get_registered_model(NAME).tags


def refused(capsys, *argv):
    """The one line of a command whose input is wrong."""
    capsys.readouterr()
    assert main(list(argv)) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


class TestTrain:
    def test_a_sound_first_version_is_champion_and_the_second_is_not(self, store):
        assert champion() == "1"
        assert champion("accomplice-elsewhere") == "1"
        first = MlflowClient().get_model_version(NAME, "1")
        assert first.tags["replaced_version"] == "none"
        assert first.tags["promoted_at"].endswith("+00:00")

    def test_a_first_version_that_learnt_nothing_is_not_champion(self, work, capsys):
        folder = work / "chance"
        raw = yaml.safe_load((folder / "study.yaml").read_text()) | {"name": "by-chance"}
        (folder / "named.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
        assert main(["train", str(folder / "named.yaml"), *SMALL]) == 0
        said = capsys.readouterr().out
        assert champion("accomplice-by-chance") is None
        assert "not champion, although there is none" in said
        assert "FAILS has learnt something: Uno's C 0." in said
        assert 'accomplice promote models:/accomplice-by-chance/1 --force "the reason"' in said

    def test_the_study_file_is_remembered_by_the_run_and_by_nothing_else(self, work):
        runs = mlflow.search_runs(search_all_experiments=True, output_format="list")
        paths = {run.data.tags["study_file"] for run in runs if run.data.tags["stage"] == "train"}
        assert str(work / "own/study.yaml") in paths
        for file in Path("first").iterdir():
            assert str(work).encode() not in file.read_bytes(), file

    def test_a_server_is_not_told_where_the_study_file_lies(self, store, tmp_path):
        study = Path("own/study.yaml")
        server = replace(store, embedded=False)
        config = configure([each for each in SMALL if each != "--set"])
        asked = (server, load_cohort(study), config, tmp_path / "model", silent)
        _, _, logged = fit_and_keep(*asked, stage="train", study_file=study)
        assert "study_file" not in MlflowClient().get_run(logged.run_id).data.tags


class TestCompare:
    def test_prints_and_writes_the_paired_differences(self, store, capsys, tmp_path):
        out = tmp_path / "compared.json"
        assert main(["compare", "first", f"models:/{NAME}/2", "--json", str(out)]) == 0
        said = capsys.readouterr().out
        for part in ("A judged out of fold", "B judged out of fold", "seed: A 0, B 1", "SYNTHETIC"):
            assert part in said
        raw = json.loads(out.read_text())
        (found,) = raw["against_first"]
        assert f"verdict: {found['verdict']}" in said
        assert found["patients"] == 240
        assert found["settings"] == {"seed": [0, 1]}
        assert {m["digest"] for m in raw["models"]} == {
            contest.contender(m).digest for m in ("first", "second")
        }
        uno = Bundle.load(Path("first")).metrics["models"]["model"]["uno_c"]["value"]
        assert found["first"]["uno_c"]["value"] == pytest.approx(uno, rel=1e-6)

    def test_a_model_and_itself_are_the_same(self, store, capsys):
        assert main(["compare", "first", "second", f"models:/{NAME}/1"]) == 0
        said = capsys.readouterr().out
        assert "A and C are the same model" in said
        assert "A and B are the same model" not in said

    def test_a_model_from_elsewhere_answers_as_for_new_patients(self, store, capsys):
        assert main(["compare", "first", "foreign"]) == 0
        said = capsys.readouterr().out
        assert "A judged out of fold: trained on these patients" in said
        assert "B judged as new patients: trained on another cohort" in said
        assert main(["compare", "first", "foreign", "--study", "other/study.yaml"]) == 0
        said = capsys.readouterr().out
        assert "A judged as new patients" in said
        assert "B judged out of fold" in said

    def test_without_a_study_file_it_says_to_name_one(self, work, tmp_path, monkeypatch, capsys):
        models = [str(work / "first"), str(work / "second")]
        monkeypatch.chdir(tmp_path)
        assert "--study" in refused(capsys, "compare", *models)
        assert list(tmp_path.iterdir()) == []
        assert main(["compare", *models, "--study", str(work / "own/study.yaml")]) == 0
        assert "B judged out of fold" in capsys.readouterr().out

    def test_wrong_input_is_one_line(self, store, capsys):
        assert "two models" in refused(capsys, "compare", "first")
        assert "no such model" in refused(capsys, "compare", "first", "nowhere")
        assert "no model of the survival" in refused(
            capsys, "compare", "first", "second", "--endpoint", "dfs"
        )
        assert "no such study file" in refused(
            capsys, "compare", "first", "second", "--study", "no.yaml"
        )


class TestAnswers:
    def test_some_of_the_patients_are_judged_out_of_fold(self, work, tmp_path):
        frame = draw(240, seed=11).frame.head(200)
        write_study(tmp_path / "part", frame)
        cohort = load_cohort(tmp_path / "part/study.yaml")
        found = contest.predict(contest.contender("first"), cohort, "os", None)
        assert found.how == "out of fold: trained on these patients"
        assert len(found.predicted.cohort) == 240
        # Without its study file, whether it knows these patients can only be guessed.
        shutil.copytree("first", tmp_path / "copy")
        stranger = contest.contender(str(tmp_path / "copy"))
        stranger = replace(stranger, study_file=None)
        answered = contest.predict(stranger, cohort, "os", None)
        assert (answered.seen, found.seen) == (True, False)
        how = answered.how
        assert how.startswith("as new patients")
        assert "About 200 of the 200 patients" in how

    def test_a_model_updated_since_is_not_judged_on_its_own_patients(self, work, tmp_path):
        bundle = Bundle.load(Path("first"))
        other = load_cohort(work / "other/study.yaml")
        update = {"cohort_fingerprint": other.fingerprint()}
        provenance = {**bundle.provenance, "updates": [update]}
        replace(bundle, provenance=provenance).save(tmp_path / "updated")
        updated = contest.contender(str(tmp_path / "updated"))
        own = load_cohort(work / "own/study.yaml")
        with pytest.raises(InputError, match="updated after it was trained"):
            contest.predict(updated, own, "os", "own/study.yaml")
        how = contest.predict(updated, other, "os", "other/study.yaml").how
        assert how.endswith("its level and slope were updated on these patients")

    def test_an_update_that_changes_nothing_is_none(self, work, tmp_path):
        bundle = Bundle.load(Path("first"))
        other = load_cohort(work / "other/study.yaml")
        update = {"cohort_fingerprint": other.fingerprint(), "form": "nothing"}
        provenance = {**bundle.provenance, "updates": [update]}
        replace(bundle, provenance=provenance).save(tmp_path / "same")
        same = contest.contender(str(tmp_path / "same"))
        assert "updated" not in contest.predict(same, other, "os", "other/study.yaml").how


class TestPromote:
    def test_a_refusal_changes_nothing(self, store, capsys):
        assert main(["promote", "random"]) == 3
        said = capsys.readouterr().out
        assert "FAILS  has learnt something" in said
        assert "refused:" in said
        assert champion() == "1"
        assert "promoted_at" not in MlflowClient().get_model_version(NAME, "3").tags

    def test_by_force_it_is_recorded_where_mlflow_shows_it(self, store, capsys):
        assert main(["promote", "random", "--force", "a drill"]) == 0
        assert "in place of version 1 by force" in capsys.readouterr().out
        made = MlflowClient().get_model_version(NAME, "3")
        assert champion() == "3"
        assert made.tags["replaced_version"] == "1"
        assert made.tags["forced_because"] == "a drill"
        assert "learnt" in made.tags["forced_over"].split(", ")
        assert made.description.startswith("**Promoted by force** on 20")
        assert "a drill" in made.description
        assert "has learnt something" in made.description
        assert "| model |" in made.description  # what was said before is still there

        # The next one over it needs no force, and a champion is not promoted twice.
        assert main(["promote", f"models:/{NAME}/1"]) == 0
        assert champion() == "1"
        assert main(["promote", "first"]) == 0
        assert "is champion already" in capsys.readouterr().out

    def test_a_cohorts_name_that_acts_is_printed_in_escapes(self, store, capsys, monkeypatch):
        monkeypatch.setattr(contest, "_suspicion", lambda *_: "; \x1b[2J")
        assert main(["promote", "foreign", "--name", NAME]) == 3
        said = capsys.readouterr().out
        assert "the champion is judged" in said
        assert "\x1b" not in said
        assert "\\u001b[2J" in said

    def test_each_model_compared_on_the_patients_counts_once(self, store, capsys):
        on_own = ["--name", NAME, "--study", "own/study.yaml"]
        tried = {key for key in tags() if key.startswith("compared.")}
        assert main(["promote", "foreign", *on_own]) == 3
        once = capsys.readouterr().out
        after = {key for key in tags() if key.startswith("compared.")}
        assert len(after - tried) <= 1
        assert len(after) >= 1
        assert main(["promote", "foreign", *on_own]) == 3
        assert capsys.readouterr().out == once
        assert {key for key in tags() if key.startswith("compared.")} == after
        promotion.count_tries(MlflowClient(), NAME, "f" * 64, "a" * 64)
        assert promotion.count_tries(MlflowClient(), NAME, "f" * 64, "b" * 64) == 2
        assert promotion.count_tries(MlflowClient(), NAME, "f" * 64, "a" * 64) == 2
        assert promotion.count_tries(MlflowClient(), NAME, "e" * 64, "a" * 64) == 1

    def test_it_is_compared_with_the_best_champion_so_far_too(self, store, capsys):
        client = MlflowClient()
        client.set_registered_model_alias(NAME, "champion", "2")
        client.set_model_version_tag(NAME, "2", promotion.REPLACED, "1")
        second = client.get_model_version(NAME, "2")
        assert promotion.best_of(client, second) == "1"
        on_own = ["--name", NAME, "--study", "own/study.yaml"]
        assert main(["promote", "foreign", *on_own]) == 3
        said = capsys.readouterr().out
        assert f"the best champion so far, models:/{NAME}/1, is judged out of fold" in said
        assert "nor against the best champion so far" in said
        client.set_model_version_tag(NAME, "2", promotion.FORCED, "begins anew")
        assert promotion.best_of(client, client.get_model_version(NAME, "2")) == "2"

    def test_a_promotion_keeps_what_is_not_excluded_and_the_best_so_far(self, store):
        why = "not excluded is a loss of 0.020 in Uno's C"
        passed = Decision((Rule("not_worse", "no loss is seen", True, why),))
        promotion.promote(store, NAME, "2", "1", passed)
        made = MlflowClient().get_model_version(NAME, "2")
        assert made.tags["compared_with_champion"] == why
        assert made.tags["best_so_far"] == "1"
        promotion.promote(store, NAME, "3", "2", replace(passed, better=True))
        assert MlflowClient().get_model_version(NAME, "3").tags["best_so_far"] == "3"

    def test_synthetic_patients_do_not_replace_real_ones(self, store, capsys, tmp_path):
        frame = draw(240, seed=11).frame
        write_study(tmp_path / "real", frame, synthetic=False)
        study = str(tmp_path / "real/study.yaml")
        assert main(["train", study, "--out", str(tmp_path / "real/model"), *SMALL]) == 0
        real = contest.contender(str(tmp_path / "real/model"))
        version = promotion.version_of(MlflowClient(), NAME, real.digest, "real")
        MlflowClient().set_registered_model_alias(NAME, "champion", version)
        capsys.readouterr()
        assert main(["promote", "second"]) == 3
        said = capsys.readouterr().out
        assert "FAILS  real patients are not replaced by synthetic ones" in said
        # The same patients by another study file: both are judged out of fold.
        assert said.count("judged out of fold") == 2

    def test_a_bundle_that_is_not_registered_is_registered(self, store, tmp_path, capsys):
        before = Bundle.load(Path("second"))
        changed = replace(before, metrics={**before.metrics, "remark": "copied"})
        changed.save(tmp_path / "copy")
        argv = [
            "promote",
            str(tmp_path / "copy"),
            "--study",
            "own/study.yaml",
            "--force",
            "why not",
        ]
        assert main(argv) == 0
        version = champion()
        assert int(version) > 3
        made = MlflowClient().get_model_version(NAME, version)
        assert made.tags["bundle_digest"] == contest.contender(str(tmp_path / "copy")).digest
        assert Bundle.of(find_bundle(f"models:/{NAME}@champion")).metrics["remark"] == "copied"

    def test_a_name_of_another_study_is_refused(self, store, capsys):
        assert main(["promote", "foreign", "--name", NAME]) == 3
        assert "FAILS  predicts what the champion does" in capsys.readouterr().out

    def test_a_champion_without_artefacts_is_said_to_be_so(self, store, capsys):
        client = MlflowClient()
        gone = client.get_model_version_by_alias("accomplice-elsewhere", "champion")
        model = mlflow.get_logged_model(gone.source.removeprefix("models:/"))
        shutil.rmtree(model.artifact_location.removeprefix("file://"))
        assert main(["promote", "second", "--name", "accomplice-elsewhere"]) == 3
        said = capsys.readouterr().out
        assert "not compared: the champion cannot be loaded" in said
        again = ["promote", "second", "--name", "accomplice-elsewhere", "--force", "it is lost"]
        assert main(again) == 0

    def test_two_promotions_at_once_are_one(self, store):
        promotion.promote(store, NAME, "2", "1", PASSED)
        with pytest.raises(InputError, match="version 2 is champion now"):
            promotion.promote(store, NAME, "3", "1", PASSED)
        with pytest.raises(InputError, match="run the same command again"):
            promotion.promote(store, NAME, "3", None, PASSED)
        assert champion() == "2"

    def test_of_versions_that_hold_the_same_bundle_the_one_named_is_taken(self, store):
        client, digest = MlflowClient(), contest.contender("second").digest
        twin = client.get_model_version(NAME, "2")
        made = client.create_model_version(NAME, twin.source, tags=twin.tags)
        newest = str(made.version)
        assert promotion.version_of(client, NAME, digest, f"models:/{NAME}/2") == "2"
        assert promotion.version_of(client, NAME, digest, "second") == newest
        client.set_registered_model_alias(NAME, "champion", "2")
        assert promotion.version_of(client, NAME, digest, "second") == "2"
        assert promotion.version_of(client, NAME, "0" * 64, "second") is None
        client.delete_model_version(NAME, newest)

    def test_wrong_input_is_one_line(self, store, capsys):
        assert "no such model" in refused(capsys, "promote", "nowhere")
        assert "--force" in refused(capsys, "promote", "second", "--force", " ")
        assert champion() == "1"
