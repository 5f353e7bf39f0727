from __future__ import annotations

import pytest

from accomplice.data.panels.panel import load_panel


class TestPanel:
    panel = load_panel()

    @pytest.mark.parametrize(
        ("name", "modality", "concept"),
        [
            ("IL1R1", "il1r1", "IL1R1"),
            ("il-1r1 (log2 TPM)", "il1r1", "IL1R1"),
            ("rna_CD206", "macrophage", "MRC1"),
            ("PD-L1 CPS", "t_cell", "CD274"),
            ("sig_CAF_x", "stroma", "stroma"),
            ("MSI_SENSOR_SCORE", "molecular", "msi"),
            ("PATH_T_STAGE", "clinical", "stage"),
        ],
    )
    def test_places(self, name, modality, concept):
        place = self.panel.place(name)
        assert (place.modality, place.concept) == (modality, concept)

    def test_an_unknown_name_has_no_place(self):
        assert self.panel.place("karno") is None

    def test_history_is_not_a_treatment_after_baseline(self):
        assert self.panel.why_ignored("RADIATION_THERAPY")
        assert self.panel.why_ignored("HISTORY_NEOADJUVANT_THERAPY") is None
