"""How the threads of a session share the processor. These settings hold for the whole process."""

from __future__ import annotations

import gc
import os
import sys
import threading
from contextlib import suppress

import cv2
from threadpoolctl import threadpool_limits

_SWITCH_S = 0.0003  # a stage that waits for the interpreter waits no tenth of a frame
_BACKGROUND_NICE = 15


def one_thread_a_stage() -> None:
    """Keep libraries from starting threads of their own beside the stages.

    The pools of OpenCV and BLAS would only make the stages wait for each other, and BLAS spins
    while it waits.
    """
    cv2.setNumThreads(1)
    threadpool_limits(limits=1, user_api="blas")
    sys.setswitchinterval(_SWITCH_S)


def no_long_pauses() -> None:
    """Keep the garbage collector away from what is loaded and stays.

    Looking through all of it stalls every stage at once.
    """
    gc.collect()
    gc.freeze()


def give_way(nice: int = _BACKGROUND_NICE) -> None:
    """Let the threads of the pipeline go first from here on.

    For a thread that has time, such as recognition, and only where the system has priorities for
    single threads (Linux); elsewhere nothing happens.

    Args:
        nice: How far the calling thread stands back, as `nice` counts.
    """
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)
