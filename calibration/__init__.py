"""Calibration of scores, probabilities and rigs.

`python -m calibration --help` tells how a rig and a subject are calibrated. Every step is a module
with one pure function, from recorded arrays (`tracks`) to a frozen result, and another one that
says what the result means for the operator.
"""
