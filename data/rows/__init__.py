"""Rows of tables: identifiers, one row a patient, joins of tables, and who was treated."""
