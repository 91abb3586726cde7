"""What Glint measures of itself: `python -m benchmarks.live`, `python -m benchmarks.detection`."""
