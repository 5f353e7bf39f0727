"""Readers of cohorts, tables and study folders, and the parts that they share."""
