"""Who gives way when the processor is busy."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress

_BACKGROUND_NICE = 15


def give_way() -> None:
    """Let the threads of the pipeline go first from here on.

    For a thread that has time, such as recognition, and only where the system has priorities for
    single threads (Linux); elsewhere nothing happens.
    """
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _BACKGROUND_NICE)
