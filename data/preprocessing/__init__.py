"""Preprocessing fitted on training patients: scales, ranks, missing values."""
