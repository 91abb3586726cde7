"""MC-WES as a spotter: its network, manifest and model card."""
