"""Alignment: one face is followed and brought to the canonical picture."""
