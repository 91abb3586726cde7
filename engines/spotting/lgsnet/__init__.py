"""LGSNet: its network, manifest and model card."""
