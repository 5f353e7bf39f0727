"""Verdicts say no more than the figures do."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accomplice.training.estimators.hazard_ratios import HazardRatio, Pooled, judge_design
from accomplice.training.estimators.intervals import Estimate
from accomplice.training.marker import verdicts
from accomplice.training.marker.claim import Centres
from accomplice.training.marker.correlation import Correlation
from accomplice.training.marker.cutpoints import CutScan
from accomplice.training.marker.treatment import Modification, TreatmentEffect
from accomplice.training.treatment.immortal_time import Early, EarlyEvents
from accomplice.training.treatment.trial_range import TrialRange

SURE, UNSURE = HazardRatio.of(0.5, 0.1, 300, 100), HazardRatio.of(0.1, 0.1, 300, 100)
BETTER = HazardRatio.of(-0.5, 0.1, 300, 100)
UNKNOWN = HazardRatio.of(math.nan, math.nan, 300, 100)


def ratios(log, se=0.1):
    return HazardRatio.of(log, se, 300, 100)


def scan(certain, count, p):
    each = (*(SURE for _ in range(certain)), *(UNSURE for _ in range(count - certain)))
    return CutScan(np.linspace(0.1, 0.9, count), each, UNSURE, UNSURE, 0, 0.01, p, 999)


@pytest.mark.parametrize(
    ("ratio", "tone", "says"),
    [
        (SURE, "yes", "worse"),
        (BETTER, "yes", "better"),
        (UNSURE, "no", "includes 1"),
        (UNKNOWN, "absent", "not determine"),
    ],
)
def test_association(ratio, tone, says):
    found = verdicts.of_association("X", ratio)
    assert found.tone == tone
    assert says in found.text


@pytest.mark.parametrize(
    ("certain", "p", "tone", "begins"),
    [
        (95, 0.001, "yes", "No:"),
        (40, 0.001, "caution", "In part"),
        (10, 0.3, "caution", "Yes:"),
        (0, 0.6, "no", "No cut-point"),
    ],
)
def test_cut_points(certain, p, tone, begins):
    found = verdicts.of_cuts(scan(certain, 100, p))
    assert found.tone == tone
    assert found.text.startswith(begins)


@given(
    log=st.floats(-2, 2),
    se=st.floats(0.02, 1),
    p=st.floats(0.0001, 1) | st.just(math.nan),
    added=st.booleans(),
)
def test_independence_needs_all_three(log, se, p, added):
    ratio = ratios(log, se)
    found = verdicts.of_independence("X", ratio, p, added)
    assert (found.tone == "yes") == (ratio.certain and p < 0.05 and added)
    assert found.tone in ("yes", "no")
    if found.tone == "no":
        assert "cannot be called an independent predictor" in found.text


def test_independence_is_never_granted_to_what_is_not_determined():
    assert verdicts.of_independence("X", UNKNOWN, 0.001, True).tone == "no"


@pytest.mark.parametrize(
    ("p", "events", "tone"), [(0.01, 200, "caution"), (0.4, 200, "yes"), (0.4, 40, "no")]
)
def test_proportionality(p, events, tone):
    assert verdicts.of_proportionality(p, events).tone == tone


def test_centres():
    assert verdicts.of_centres(None).tone == "absent"
    assert "and 1 has" in verdicts.of_centres(Centres({"a": SURE}, 3, None)).text
    both = {"a": SURE, "b": SURE}
    agree = Centres(both, 0, Pooled(SURE, SURE, 0.0, 0.0, 0.9))
    assert verdicts.of_centres(agree).tone == "yes"
    disagree = Centres(both, 0, Pooled(SURE, SURE, 0.4, 0.8, 0.01))
    assert verdicts.of_centres(disagree).tone == "caution"
    spread = Centres(both, 0, Pooled(SURE, SURE, 0.2, 0.6, 0.08))
    assert verdicts.of_centres(spread).tone == "yes", "I² alone says no disagreement"
    opposed = Centres({"a": SURE, "b": BETTER}, 0, Pooled(UNSURE, UNSURE, 0.0, 0.1, 0.4))
    assert verdicts.of_centres(opposed).tone == "no"


def changed(interaction, contrast=SURE, plausible=1.55):
    design = judge_design(plausible, interaction) if interaction.known else None
    return Modification(100, 100, 2.0, interaction, SURE, SURE, contrast, 2.0, design)


def test_modification():
    assert verdicts.of_modification("X", "the study records no treatment").tone == "absent"
    assert verdicts.of_modification("X", changed(ratios(0.2, 0.4))).tone == "no"
    # Significant with little power: said to be likely overstated.
    small = verdicts.of_modification("X", changed(ratios(1.2, 0.4)))
    assert small.tone == "caution"
    assert "overstated" in small.text
    assert verdicts.of_modification("X", changed(ratios(0.5, 0.1))).tone == "yes"


def test_halves_that_differ_claim_no_modification():
    assert verdicts.of_modification("X", changed(UNSURE, contrast=SURE)).tone == "no"


def treated(log, early=3):
    """An effect that is credible unadjusted; ``early`` of 100 treated had the event early."""
    each = {"nothing": ratios(-0.2), "stage": ratios(log), "clinical": ratios(log)}
    counted = EarlyEvents(((Early(early, 100), Early(8, 100)),))
    return TreatmentEffect("act", 100, 100, 5, 0, each, 2.0, counted, TrialRange(0.55, 1.0))


def test_treatment():
    calm = verdicts.of_treatment(treated(math.log(0.7)))
    assert calm.tone == "caution"
    assert "observational" in calm.text
    for log in (math.log(0.4), math.log(1.3)):
        alarm = verdicts.of_treatment(treated(log))
        assert alarm.tone == "alarm"
        assert "0.55 to 1 of trials" in alarm.text
        assert "onfounding by indication" in alarm.text
        assert "immortal time" in alarm.text
    immortal = verdicts.of_treatment(treated(math.log(0.7), 0))
    assert immortal.tone == "alarm"
    assert "0 of 100 treated" in immortal.text


@pytest.mark.parametrize(
    ("value", "tone", "says"),
    [
        (0.7, "caution", "Much the same"),
        (-0.7, "caution", "Much the same"),
        (0.45, "caution", "In part"),
        (0.2, "yes", "of its own"),
    ],
)
def test_correlations(value, tone, says):
    one = Correlation(
        value, value - 0.1, value + 0.1, feature="FAP", modality="stroma", patients=100
    )
    found = verdicts.of_correlations("X", (one,))
    assert found.tone == tone
    assert says in found.text
    assert "FAP (stroma)" in found.text
    assert verdicts.of_correlations("X", ()).tone == "absent"


@pytest.mark.parametrize(
    ("uno", "ibs", "certain", "tone"),
    [
        (Estimate(0.02, 0.01, 0.03), Estimate(0.0, -0.1, 0.1), True, "yes"),
        (Estimate(0.02, -0.01, 0.03), Estimate(0.0, -0.1, 0.1), False, "no"),
        (Estimate(-0.02, -0.03, -0.01), Estimate(0.0, -0.1, 0.1), False, "no"),
        (Estimate(math.nan), Estimate(math.nan), False, "no"),
    ],
)
def test_added_value(uno, ibs, certain, tone):
    added = SimpleNamespace(gains={"uno_c": uno, "ibs": ibs}, certain=certain)
    assert verdicts.of_added_value("X", added).tone == tone


def test_p_values_and_lists_are_written_as_papers_do():
    written = [verdicts.p_text(p) for p in (1e-9, 0.0123, 0.0999, 0.32)]
    assert written == ["p < 0.001", "p = 0.012", "p = 0.10", "p = 0.32"]
    assert verdicts.adjusted_for("nothing") == "unadjusted"
    assert verdicts.adjusted_for("clinical (landmark 2 months)") == (
        "adjusted for clinical features (landmark 2 months)"
    )
