"""From a hospital's table to a checked cohort: study files, readers, preprocessing, splits.

It imports neither ``serving`` nor ``training``, so that modules that all packages use are here too:
array types, errors, the writing of files.
"""
