"""Recognition: the emotion of an event."""
