"""The page for a person."""
