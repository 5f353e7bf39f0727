"""Panels: known columns and markers of a field, as YAML."""
