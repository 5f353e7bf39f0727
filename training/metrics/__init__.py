"""Metrics of predictions: discrimination, calibration, net benefit."""
