"""Evaluate out-of-fold predictions."""
