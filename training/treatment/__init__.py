"""The treatment's effect: propensity, benefit and the evidence for it."""
