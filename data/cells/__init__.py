"""Meaning of single cells and columns: numbers, dates, times and events."""
