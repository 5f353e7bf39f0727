"""From a cohort to a bundle: models, tuning, evaluation, tracking and the command line."""
