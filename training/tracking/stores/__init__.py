"""Stores of runs: their addresses, and repairs at the first look."""
