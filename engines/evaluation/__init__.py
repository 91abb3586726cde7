"""Evaluation: one-to-one matching, false alarms a minute, errors, intervals."""
