"""MOL as a recogniser: its network, manifest and model card."""
