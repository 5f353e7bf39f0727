"""From a hospital's table to a checked cohort: study files, readers, preprocessing, splits."""
