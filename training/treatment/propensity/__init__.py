"""The propensity score, and the regions in which an arm is missing."""
