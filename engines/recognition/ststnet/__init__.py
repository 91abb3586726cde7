"""Recognition by the shallow three-stream network STSTNet."""
