"""Match another cohort's names, levels and scales to a study's."""
