"""Rows of tables: which are a patient's, and which tables' rows belong together."""
