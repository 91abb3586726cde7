"""Tells an unsuitable Python so in one sentence, before anything large is downloaded.

`requires-python` in pyproject.toml says the same, but pip may look at it too late to be understood.
"""

import sys

from setuptools import setup

if not (3, 10) <= sys.version_info[:2] <= (3, 12):
    sys.exit(
        "Glint needs Python 3.10, 3.11 or 3.12, the versions that MediaPipe supports, and this is "
        "Python {}.{}: make the environment with one of them.".format(*sys.version_info)
    )
setup()
