"""Power of a treatment-by-marker interaction, by simulation."""
