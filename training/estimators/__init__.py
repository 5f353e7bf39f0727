"""Estimators of survival analysis: Kaplan-Meier, Cox, hazards, logistic regression."""
