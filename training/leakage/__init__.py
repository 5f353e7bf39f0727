"""Leak sentinels: checks for outcomes that reached the features."""
