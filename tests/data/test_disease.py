"""Whether a table is known to be of a disease, and what a study file says of trust and ceiling."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from accomplice.data.drafting.draft import draft_study, render_study
from accomplice.data.errors import InputError
from accomplice.data.panels.panel import KNOWN_AFTER, load_panel
from accomplice.data.study import parse_study


@pytest.fixture(scope="module")
def panel():
    return load_panel()


GASTRIC = [
    (["age", "Lauren_class"], {}),
    (["H. pylori", "EBV status"], {}),
    (["age"], {"cancer_type": ["Stomach Adenocarcinoma"] * 3 + ["other"]}),
    (["age"], {"oncotree": ["STAD", "STAD"]}),
]
OTHER = [
    (["age", "stage", "grade", "size", "location"], {"type": ["Colon Adenocarcinoma"] * 4}),
    (["IL1R1", "CD8A", "CD163", "FAP", "PDCD1"], {}),
    (["msi", "braf"], {"history": ["Gastric ulcer", "none", "none"]}),
    (["pylori", "age"], {"site": ["marginal zone lymphoma"] * 3}),
    (["er_status", "her2"], {"type": ["Breast Invasive Ductal Carcinoma"] * 4}),
    (["age"], {"type": ["Colon Adenocarcinoma"] * 9 + ["Stomach Adenocarcinoma"]}),
]


@pytest.mark.parametrize(("names", "cells"), GASTRIC)
def test_gastric_tables_are_known(panel, names, cells):
    assert panel.disease.known_by([*names, *cells], cells.values())


@pytest.mark.parametrize(("names", "cells"), OTHER)
def test_others_are_not(panel, names, cells):
    assert not panel.disease.known_by([*names, *cells], cells.values())


@pytest.mark.parametrize(("column", "ceiling"), [("lauren", 0.78), ("histology", None)])
def test_a_draft_has_the_ceiling_of_the_disease_alone(tmp_path, column, ceiling):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "months": rng.uniform(1, 60, 80),
            "dead": rng.integers(0, 2, 80),
            "age": rng.uniform(40, 80, 80).round(),
            column: rng.choice(["diffuse", "intestinal"], 80),
        }
    )
    frame.to_csv(tmp_path / "table.csv", index=False)
    out = tmp_path / "study.yaml"
    draft = draft_study(tmp_path / "table.csv", time="months", event="dead", out=out)
    assert draft.study.get("ceiling") == ceiling
    assert ("taken for a leak" in render_study(draft)) == (ceiling is not None)


def study(**more):
    return parse_study(
        {
            "name": "a",
            "source": {"files": ["a.csv"]},
            "endpoints": {"survival": {"os": {"time": "t", "event": "e"}}},
            "modalities": {"clinical": {"age": {"kind": "number"}}},
            **more,
        },
        "a.yaml",
    )


def test_trust_is_given_to_features_alone():
    assert study(trusted=["age"]).trusted == ("age",)
    with pytest.raises(InputError, match="trusted: no feature 'agee'"):
        study(trusted=["agee"])


@pytest.mark.parametrize("ceiling", [0.5, 1.2])
def test_a_ceiling_is_a_concordance(ceiling):
    with pytest.raises(InputError, match="ceiling"):
        study(ceiling=ceiling)


AFTER = [
    "tumor_status",
    "person_neoplasm_cancer_status",
    "vital_status",
    "new_tumor_event_after_treatment",
    "primary_therapy_outcome_success",
    "therapy_outcome",
    "treatment_outcome",
    "cause_of_death",
    "fu_months",
    "fup_days",
    "patient_death_reason",
    "days_to_last_followup",
    "days_to_last_contact",
    "time_to_recurrence",
    "time_to_death",
    "relapse",
    "recurrence_site",
    "disease_free_months",
    "months_to_event",
    "time_on_study",
    "clinical_outcome",
    "subsequent_treatment",
    "PFI.time",
    "survival_months",
    "lost_follow_up",
    "progression_determined_by",
]
BEFORE = [
    "age",
    "stage",
    "her2_status",
    "er_status",
    "h_pylori_status",
    "smoking_status",
    "nodal_status",
    "5_fu",
    "fu_5",
    "FUT8",
    "time_from_diagnosis_to_surgery",
    "OSM",
    "DSG2",
    "first_line",
    "family_history",
    "duration_of_symptoms",
    "neoadjuvant_response",
    "pathologic_response",
    "residual_tumor",
    "operative_time",
    "BIRC5",
]


@pytest.mark.parametrize("name", AFTER)
def test_names_of_what_is_known_after_the_outcome(panel, name):
    assert panel.why_ignored(name) == KNOWN_AFTER


@pytest.mark.parametrize("name", BEFORE)
def test_names_of_what_is_known_before_it(panel, name):
    assert panel.why_ignored(name) != KNOWN_AFTER
