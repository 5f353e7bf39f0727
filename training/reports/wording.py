"""Sentences shown on pages, on the terminal, and with runs and models in MLflow."""

#: Shown on pages and on the terminal with results of simulated patients.
SYNTHETIC = "SYNTHETIC patients: nothing here says anything about real ones"
#: Shown on pages, in model cards, and with runs and models in MLflow.
RESEARCH_USE = "For research use only; not a medical device."
