"""LSSNet: its network, manifest and model card."""
