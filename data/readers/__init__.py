"""Readers of cohorts: tables and study folders, one file each."""
