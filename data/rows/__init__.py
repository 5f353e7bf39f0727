"""Rows of tables: identifiers, one row a patient, and joins of tables."""
