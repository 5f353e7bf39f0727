from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import accomplice.training.fitting.prepare
from accomplice.data.cohort import build_cohort
from accomplice.data.drafting.draft import draft_study
from accomplice.data.readers.tables import read_table
from accomplice.data.study import parse_study
from accomplice.data.synthetic import draw
from accomplice.training.budget import Budget
from accomplice.training.estimators.intervals import Estimate
from accomplice.training.evaluation.scores import Scores
from accomplice.training.leakage.sentinels import (
    QUESTIONS,
    balance,
    ceiling,
    duplicated,
    immortal_time,
    known_after,
    no_signal,
    run_sentinels,
    shuffled_outcome,
    single_feature,
)
from accomplice.training.models.baselines import KAPLAN_MEIER
from accomplice.training.models.predictions import MODEL
from accomplice.training.tracking.summary import alarm_tags, note


def judged(c, low, gain=(0.02, 0.01, 0.03)):
    """An evaluation with this C and this gain over Kaplan–Meier."""
    uno = Estimate(c, low, 2 * c - low)
    scores = {MODEL: Scores({"uno_c": uno, "harrell_c": uno, "ibs": Estimate(0.15)}, np.zeros(1))}
    return SimpleNamespace(scores=scores, gains={KAPLAN_MEIER: {"ibs": Estimate(*gain)}})


def with_study(cohort, **update):
    return replace(cohort, study=cohort.study.model_copy(update=update))


@pytest.fixture(scope="module")
def leaky(small_cohort):
    """A cohort with the status at the last contact among its features, under its name."""
    raw = small_cohort.study.describe()
    status = {"kind": "category", "levels": ["free", "with"]}
    raw["modalities"]["clinical"]["tumor_status"] = status
    frame = draw(400, seed=5).frame
    wrong = np.random.default_rng(0).random(len(frame)) < 0.15
    frame["tumor_status"] = np.where((frame["os_event"] == 1) ^ wrong, "with", "free")
    return build_cohort(parse_study(raw, "x"), frame)


class TestWatch:
    def test_all_answer_in_one_order_and_synthetic_patients_fire_none(
        self, small_cohort, tiny_trained, tiny_config
    ):
        primary = tiny_trained.primary
        assert [f.sentinel for f in primary.findings] == list(QUESTIONS)
        assert not [f for f in primary.findings if f.status == "fired"]
        assert (
            tiny_trained.bundle.metrics["review"]["sentinels"][0]["sentinel"] == "shuffled_outcome"
        )
        tags = alarm_tags(tiny_trained)
        assert tags.keys() == {"leak_alarm", "treatment_alarm"}
        assert tags["leak_alarm"] == "false"
        assert "LEAK" not in note(tiny_trained)

    def test_what_fired_is_in_the_note_and_the_tag(self, tiny_trained, leaky):
        finding = known_after(leaky)
        review = tiny_trained.primary.review.model_copy(update={"sentinels": (finding,)})
        primary = replace(tiny_trained.primary, review=review)
        run = replace(tiny_trained, survival={"os": primary})
        assert alarm_tags(run) == alarm_tags(tiny_trained) | {"leak_alarm": "true"}
        assert "**LEAK** (known_after): 'tumor_status'" in note(run)

    def test_ticks_reach_the_end(self, small_cohort, tiny_trained, tiny_config):
        seen = []
        primary = tiny_trained.primary
        run_sentinels(
            small_cohort,
            primary.fitted.prepared.fold[0],
            primary.evaluation,
            primary.evidence,
            tiny_config,
            lambda *told: seen.append(told),
            Budget(1.0),
        )
        assert seen[-1] == ("sentinels", 8, 8)


class TestShuffledOutcome:
    @pytest.mark.parametrize("seed", range(2))
    def test_nothing_is_found_where_nothing_is(self, small_cohort, tiny_config, seed):
        config = tiny_config.model_copy(update={"seed": seed})
        assert shuffled_outcome(small_cohort, config).status == "clear"

    def test_a_pipeline_that_saw_the_held_out_patients_is_caught(
        self, small_cohort, tiny_config, monkeypatch
    ):
        honest = accomplice.training.fitting.prepare._fit_fold
        monkeypatch.setattr(
            accomplice.training.fitting.prepare,
            "_fit_fold",
            lambda cohort, train, *rest: honest(cohort, np.arange(len(cohort)), *rest),
        )
        found = shuffled_outcome(small_cohort, tiny_config)
        assert found.status == "fired"
        assert "leak into their predictions" in found.text

    def test_it_is_left_out_where_time_is_short(self, small_cohort, tiny_config):
        assert shuffled_outcome(small_cohort, tiny_config, Budget(5.0)).status == "not run"

    def test_and_where_events_are_few(self, small_cohort, tiny_config):
        few = replace(small_cohort, event=np.arange(len(small_cohort)) < 5)
        assert shuffled_outcome(few, tiny_config).status == "not run"


@pytest.mark.parametrize(
    ("c", "low", "gain", "status"),
    [
        (0.66, 0.62, (0.02, 0.01, 0.03), "clear"),
        (0.52, 0.47, (0.02, 0.01, 0.03), "caution"),
        (0.60, 0.55, (0.00, -0.01, 0.01), "caution"),
        (math.nan, math.nan, (0.0, 0.0, 0.0), "not run"),
    ],
)
def test_no_signal(c, low, gain, status):
    assert no_signal(judged(c, low, gain)).status == status


@pytest.mark.parametrize(
    ("declared", "c", "low", "status"),
    [
        (0.78, 0.74, 0.70, "clear"),
        (0.78, 0.82, 0.78, "fired"),
        (0.78, 0.80, 0.66, "caution"),
        (None, 0.82, 0.78, "clear"),
        (None, 0.97, 0.96, "fired"),
        (None, math.nan, math.nan, "not run"),
    ],
)
def test_ceiling(small_cohort, declared, c, low, status):
    found = ceiling(with_study(small_cohort, ceiling=declared), judged(c, low))
    assert found.status == status


class TestSingleFeature:
    def test_the_feature_is_named_with_the_fix(self, leaky):
        found = single_feature(leaky, 0)
        assert (found.status, found.features) == ("fired", ("tumor_status",))
        assert "Move it to ignored" in found.text
        assert "under trusted" in found.text

    def test_a_trusted_feature_is_a_caution(self, leaky):
        found = single_feature(with_study(leaky, trusted=("tumor_status",)), 0)
        assert (found.status, found.features) == ("caution", ("tumor_status",))
        assert "the study file trusts it" in found.text

    def test_the_strongest_is_named_where_none_leaks(self, small_cohort):
        found = single_feature(small_cohort, 0)
        assert found.status == "clear"
        assert "the strongest" in found.text


class TestKnownAfter:
    def test_by_name_and_by_the_name_of_its_column(self, leaky):
        assert known_after(leaky).features == ("tumor_status",)
        study = leaky.study
        clinical = dict(study.modalities["clinical"])
        feature = clinical.pop("tumor_status")
        clinical["x17"] = feature.model_copy(update={"column": "person_neoplasm_cancer_status"})
        renamed = with_study(leaky, modalities=study.modalities | {"clinical": clinical})
        assert known_after(renamed).features == ("x17",)

    def test_honest_names_and_trusted_ones_do_not_fire(self, small_cohort, leaky):
        assert known_after(small_cohort).status == "clear"
        assert known_after(with_study(leaky, trusted=("tumor_status",))).status == "caution"


class TestDuplicates:
    def test_only_pairs_in_different_folds_count(self, small_cohort):
        n = len(small_cohort)
        twice = small_cohort.take(np.concatenate([np.arange(n), np.arange(10)]))
        twice = replace(twice, ids=np.arange(len(twice)).astype(str))
        apart = np.concatenate([np.zeros(n), np.ones(10)]).astype(int)
        found = duplicated(twice, apart)
        assert found.status == "fired"
        assert found.text.startswith(f"20 of {n + 10} rows")
        assert duplicated(twice, np.zeros(n + 10, dtype=int)).status == "clear"

    def test_one_pair_is_a_caution(self, small_cohort):
        ids = small_cohort.ids.astype("<U20").copy()
        ids[:2] = "TCGA-AB-01", "tcga_ab_01"
        fold = np.arange(len(ids)) % 2
        assert duplicated(replace(small_cohort, ids=ids), fold).status == "caution"
        assert duplicated(small_cohort, fold).status == "clear"


class TestImmortalTime:
    @pytest.mark.parametrize(
        ("alarms", "distrust", "p", "status"),
        [
            ((), "", 0.5, "clear"),
            (("early deaths miss among the treated",), "", 0.01, "fired"),
            (("the hazard ratio is outside",), "outside", 0.5, "fired"),
            (("the hazard ratio is outside",), "", 0.5, "caution"),
        ],
    )
    def test_the_alarm_is_passed_on(self, small_cohort, alarms, distrust, p, status):
        told = SimpleNamespace(
            alarms=alarms,
            distrust=distrust,
            immortal_p=p,
            compared="not outside the range",
            label="chemotherapy",
            hr={"landmark": Estimate(0.6)},
        )
        assert immortal_time(small_cohort, told).status == status

    def test_without_a_treatment_it_is_not_run(self, small_cohort):
        assert immortal_time(small_cohort.prognostic(), None).status == "not run"
        assert immortal_time(small_cohort, None).status == "not run"


class TestBalance:
    def test_arms_that_still_differ_are_named(self, small_cohort, tiny_trained):
        evidence = tiny_trained.primary.evidence
        assert balance(small_cohort, evidence).status == "clear"
        off = replace(evidence.balance, after=np.full(len(evidence.balance.names), 0.3), p=0.001)
        found = balance(small_cohort, replace(evidence, balance=off))
        assert found.status == "caution"
        assert f"up to 0.30 standard deviations ({off.names[0]})" in found.text

    def test_without_a_treatment_it_is_not_run(self, small_cohort):
        assert balance(small_cohort.prognostic(), None).status == "not run"
        assert balance(small_cohort, None).status == "not run"


SHARED = Path(
    os.environ.get(
        "ACCOMPLICE_SHARED_DATA", Path(__file__).parents[4].joinpath("shared", "data").as_posix()
    )
)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the real cohorts are not here")
@pytest.mark.parametrize("renamed", [False, True])
def test_tumour_status_is_named_on_tcga_whatever_it_is_called(tmp_path, renamed):
    frame = pd.read_csv(SHARED / "tcga_stad" / "tcga_stad.csv")
    table, out = tmp_path / "table.csv", tmp_path / "study.yaml"
    frame = frame.rename(columns={"tumor_status": "x17"})
    frame.to_csv(table, index=False)
    raw = draft_study(table, time="os_months", event="os_event", out=out).study
    feature = raw["modalities"]["clinical"].pop("x17")
    name = "x17" if renamed else "tumor_status"
    raw["modalities"]["clinical"][name] = feature | {"column": "x17"}
    raw["baselines"] = {}
    found = single_feature(
        build_cohort(parse_study(raw, "x"), read_table(table)),
        0,
    )
    assert (found.status, found.features) == ("fired", (name,))
