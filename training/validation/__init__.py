"""External validation of a model on another cohort."""
