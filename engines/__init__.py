"""Engines: spotting (where is an expression?), recognition (which emotion?) and what trains them.

Nothing in here knows of cameras, threads or dashboards: an engine takes frames or motion with
their times and returns events, so it behaves the same live, on a file and in an evaluation.
"""
