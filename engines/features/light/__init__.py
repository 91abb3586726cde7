"""The light backbone of clip features: its network, manifest and model card."""
