"""Sections of the review, a model's whole evaluation as one page."""
