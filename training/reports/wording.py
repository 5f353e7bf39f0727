"""Sentences that stand on every page, figure and answer."""

SYNTHETIC = "SYNTHETIC patients: nothing here says anything about real ones"
RESEARCH_USE = "For research use only; not a medical device."
