"""Action units of an event, measured from how the regions of the face move."""
