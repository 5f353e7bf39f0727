"""The questions about a marker on synthetic and real patients."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from accomplice.data.drafting.draft import draft_study, render_study
from accomplice.data.errors import InputError
from accomplice.data.loading import load_cohort
from accomplice.data.study import parse_study
from accomplice.training.config import configure
from accomplice.training.estimators.hazard_ratios import fit_effects
from accomplice.training.marker.claim import (
    ALL,
    MarkerRequest,
    adjustments,
    check_request,
    clinical_features,
    judge_marker,
)
from accomplice.training.marker.covariates import Covariates
from accomplice.training.marker.report import lead, make_page
from accomplice.training.marker.treatment import Modification, TreatmentEffect

CONFIG = configure(["evaluation.bootstraps=20", "folds.folds=2", "anchor.folds=2"])


@pytest.fixture(scope="module")
def claim(small_cohort):
    return judge_marker(small_cohort, MarkerRequest("IL1R1"), CONFIG)


def with_study(cohort, **changes):
    """The cohort with another study file's text."""
    raw = {**cohort.study.describe(), **changes}
    return replace(cohort, study=parse_study(raw, "changed"))


class TestClaim:
    def test_patients_without_the_marker_are_left_out_and_counted(self, claim, small_cohort):
        missing = int(np.isnan(small_cohort.values[:, column(small_cohort, "IL1R1")]).sum())
        assert claim.unmeasured == missing > 0
        assert claim.patients == len(small_cohort) - missing
        assert sum(g.patients for g in claim.association.groups) == claim.patients
        assert sum(g.events for g in claim.association.groups) == claim.events

    def test_the_hazard_ratio_is_that_of_the_scaled_marker(self, claim, small_cohort):
        j = column(small_cohort, "IL1R1")
        known = small_cohort.take(~np.isnan(small_cohort.values[:, j]))
        x = Covariates.of(known).z[:, j]
        assert x.std() == pytest.approx(1)
        expected = fit_effects(x, *known.outcome).ratio(1)
        assert claim.association.per_sd == expected == claim.adjusted[0].ratio

    def test_every_reference_and_interaction_is_adjusted_for_in_turn(self, claim):
        labels = [a.label for a in claim.adjusted]
        assert labels == [
            "nothing", "stage", "clinical", "stroma", "msi", "CD8A", "CD163", ALL
        ]  # fmt: skip
        everything = claim.adjusted[-1]
        assert {"stage", "msi", "FAP", "CD163"} <= set(everything.features)
        assert "IL1R1" not in everything.features
        assert "act" not in everything.features

    def test_all_questions_have_answers_where_the_study_has_all(self, claim):
        assert len(claim.centres.ratios) + claim.centres.too_small == 5
        assert isinstance(claim.modification, Modification)
        assert isinstance(claim.treatment, TreatmentEffect)
        assert claim.modality == "il1r1"
        page = make_page(claim, {})
        assert len(page.sections) == 9
        assert page.banner.startswith("SYNTHETIC")
        assert all(s.verdict.text and s.heading.endswith("?") for s in page.sections)

    def test_words_are_explained_once(self, claim):
        terms = [t for s in make_page(claim, {}).sections for t, _ in s.terms]
        assert len(terms) == len(set(terms)) > 15


def column(cohort, name):
    return list(cohort.study.features).index(name)


class TestRequest:
    @pytest.mark.parametrize(
        ("request_", "says"),
        [
            (MarkerRequest("IL1R"), "no feature 'IL1R' to report on; the most alike: 'IL1R1'"),
            (MarkerRequest("qqqqqq"), "it has 'msi', 'ebv', 'pdl1', 'IL1R1', 'IL1B' and"),
            (MarkerRequest("msi"), "is a category"),
            (MarkerRequest("IL1R1", ("FAPP",)), "--stroma: .* 'FAPP'; did you mean 'FAP'"),
            (MarkerRequest("IL1R1", ("IL1R1",)), "the marker itself"),
            (MarkerRequest("IL1R1", ("lauren",)), "has no mean"),
            (MarkerRequest("IL1R1", None, {"mine": ("CD4",)}), "mine: .* 'CD4'"),
        ],
    )
    def test_what_cannot_be_answered_is_refused(self, small_cohort, request_, says):
        with pytest.raises(InputError, match=says):
            check_request(small_cohort.study, request_)

    def test_named_stroma_and_further_adjustments(self, small_cohort):
        study = small_cohort.study
        sets = adjustments(study, MarkerRequest("IL1R1", ("FAP",), {"immune": ("CD8A", "PDCD1")}))
        assert sets["stroma"] == ("FAP",)
        assert sets["immune"] == ("CD8A", "PDCD1")

    def test_a_marker_is_never_adjusted_for_itself(self, small_cohort):
        study = small_cohort.study
        for name, feature in study.features.items():
            if feature.kind == "category":
                continue
            sets = adjustments(study, MarkerRequest(name))
            assert not any(name in listed or "act" in listed for listed in sets.values())
            assert name not in clinical_features(study, name)

    def test_without_reference_models_the_first_modality_stands_for_the_clinic(self, small_cohort):
        bare = with_study(small_cohort, baselines={}, interactions=[]).study
        sets = adjustments(bare, MarkerRequest("IL1R1"))
        assert list(sets) == ["clinical", "stroma"]
        assert sets["clinical"] == tuple(bare.modalities["clinical"])


class TestPoorCohorts:
    def test_without_centres_and_treatment_it_says_so(self, small_cohort):
        keep = [n != "act" for n in small_cohort.study.features]
        raw = small_cohort.study.describe()
        raw.pop("treatment")
        raw["interactions"] = [["IL1R1", "CD163"]]
        poor = replace(
            small_cohort,
            study=parse_study(raw, "poor"),
            values=small_cohort.values[:, keep],
            centre=None,
        )
        claim = judge_marker(poor, MarkerRequest("IL1R1"), CONFIG)
        assert claim.centres is None
        assert claim.treatment == claim.modification == "the study records no treatment"
        tones = [s.verdict.tone for s in make_page(claim, {}).sections]
        assert tones.count("absent") == 3

    def test_too_few_events_are_refused(self, small_cohort):
        rows = np.flatnonzero(~small_cohort.outcome.event)
        few = np.concatenate([rows, np.flatnonzero(small_cohort.outcome.event)[:8]])
        with pytest.raises(InputError, match="too few to judge it"):
            judge_marker(small_cohort.take(few), MarkerRequest("IL1R1"), CONFIG)

    def test_a_marker_of_one_value_is_refused(self, small_cohort):
        values = small_cohort.values.copy()
        values[:, column(small_cohort, "IL1R1")] = 3.0
        with pytest.raises(InputError, match="same value"):
            judge_marker(replace(small_cohort, values=values), MarkerRequest("IL1R1"), CONFIG)

    @pytest.mark.parametrize("name", ["stage", "CD163_ihc"])
    def test_any_feature_with_an_order_can_be_asked_of(self, small_cohort, name):
        claim = judge_marker(small_cohort, MarkerRequest(name), CONFIG)
        assert claim.association.per_sd.known
        assert make_page(claim, {}).lead


@pytest.fixture(scope="module")
def tcga(shared_data, tmp_path_factory):
    out = tmp_path_factory.mktemp("tcga") / "study.yaml"
    draft = draft_study(
        shared_data / "tcga_stad" / "tcga_stad.csv",
        time="os_months",
        event="os_event",
        id="patient_id",
        treatment="xena_targeted_molecular_therapy",
        out=out,
    )
    out.write_text(render_study(draft), encoding="utf-8")
    return judge_marker(load_cohort(out), MarkerRequest("IL1R1"), CONFIG)


class TestRealCohorts:
    def test_tcga_shows_the_direction_but_no_more(self, tcga):
        per_sd, cuts = tcga.association.per_sd, tcga.cuts
        assert 1.0 < per_sd.value < 1.4
        assert not per_sd.certain
        assert 1.1 < cuts.median.value < 1.5
        assert cuts.median.low < 1
        assert cuts.upper_tertile.value < cuts.median.value
        assert 0 < cuts.significant < 0.2
        assert cuts.p_best < 0.05 < cuts.p_corrected

    def test_tcga_does_not_make_it_independent(self, tcga):
        page = make_page(tcga, {})
        assert page.sections[2].verdict.tone == "no"
        assert "does not show" in lead(tcga)
        stroma = next(a for a in tcga.adjusted if a.label == "stroma")
        assert stroma.ratio.value < tcga.association.per_sd.value

    def test_tcga_finds_the_stroma(self, tcga):
        assert tcga.correlations[0].modality == "stroma"
        assert tcga.correlations[0].low > 0.6

    def test_tcga_raises_the_alarm_over_chemotherapy(self, tcga):
        found = tcga.treatment
        assert found.alarm
        assert found.ratios["stage"].value < 0.55
        assert found.early.treated.events == 0 < found.early.untreated.events
        assert found.immortal_p < 0.05

    def test_acrg_has_no_such_marker_and_is_told_what_is_near(self, shared_data, tmp_path):
        out = tmp_path / "study.yaml"
        table = shared_data / "acrg" / "acrg_gse62254.csv"
        draft = draft_study(table, time="os_months", event="os_event", id="patient_id", out=out)
        out.write_text(render_study(draft), encoding="utf-8")
        with pytest.raises(InputError, match="no feature 'IL1R1'"):
            judge_marker(load_cohort(out), MarkerRequest("IL1R1"), CONFIG)
