"""Calibration of scores, probabilities and cameras."""
