"""Fitted models: what they predict, and how they are stored."""
