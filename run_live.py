"""Start Glint: `python run_live.py --help` tells how.

This file is kept readable for every Python, so that one that is too old or too new is told so.
"""

import os
import sys


def main():
    """Run the command line; return its exit code."""
    if not (3, 10) <= sys.version_info[:2] <= (3, 12):
        sys.stderr.write(
            "Glint needs Python 3.10, 3.11 or 3.12, the versions that MediaPipe supports, and "
            "this is Python {}.{}: set Glint up with one of them.\n".format(*sys.version_info)
        )
        return 2
    try:
        from streamer.cli import main as run  # noqa: PLC0415 - only now is Python known to do
    except ModuleNotFoundError as error:
        sys.stderr.write("The package " + str(error.name) + " is missing: set Glint up as README ")
        sys.stderr.write("says, and start it with the Python of that environment.\n")
        return 2
    return run()


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Everything is written and closed; taking the libraries down would last another second.
    os._exit(code)
