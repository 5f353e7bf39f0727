"""Draft a study file from a table or a study folder."""
