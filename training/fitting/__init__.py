"""Fit the learners on folds, and the baselines beside them."""
