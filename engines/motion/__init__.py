"""Motion of a face: the canonical picture, optical flow, regions and their displacement."""
