"""Finished sessions: read, corrected, exported, reported, deleted; archives analysed."""
