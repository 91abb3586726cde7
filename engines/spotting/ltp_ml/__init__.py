"""LTP-ML as a spotter: local temporal patterns of twelve facial regions, and a linear machine.

After Li, Soladié and Séguier, "Local Temporal Pattern and Data Augmentation for Spotting
Micro-Expressions" (IEEE Transactions on Affective Computing 14(1), 811-822, 2023).
"""
