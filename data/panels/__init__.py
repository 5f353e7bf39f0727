"""What is known of a field's columns and markers, as YAML; no code."""
