"""From a hospital's table to a checked cohort: study files, readers, preprocessing, splits.

As the lowest room it holds what all others share too: array types, errors, the writing of files.
"""
