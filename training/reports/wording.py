"""Sentences shown on pages, figures and answers."""

#: Shown with all results of simulated patients.
SYNTHETIC = "SYNTHETIC patients: nothing here says anything about real ones"
#: Shown with all results.
RESEARCH_USE = "For research use only; not a medical device."
