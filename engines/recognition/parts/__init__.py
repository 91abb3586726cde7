"""Recognition by comparing parts of the face with animated expressions."""
