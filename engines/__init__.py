"""Engines: spotting (where is an expression?), recognition (which emotion?) and what trains them.

Nothing in here knows of cameras, threads or dashboards: an engine takes frames or motion with
their times and returns events, so it behaves the same live, on a file and in an evaluation.
"""

import os

# The official ONNX Runtime reports its use to Microsoft, from the moment that it is imported and
# unless this is set. Nothing leaves a laboratory's machine.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
