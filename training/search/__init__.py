"""The search for better settings: space, shared fits, scores, study and gain."""
