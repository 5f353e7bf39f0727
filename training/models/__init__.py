"""Fitted models: prediction, explanation and storage."""
