"""Streaming: sources, rings, alignment, the threaded pipeline, sinks and the dashboard."""
