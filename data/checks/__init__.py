"""Checks of a cohort before a model is trained on it."""
