"""The frame: what a source delivers and every later stage refers to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
Depth = npt.NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture with its times.

    Attributes:
        index: Position in the stream, from 0. Lost frames count, so `index` jumps over a gap.
        time_s: Stream time in seconds: 0 at the first frame, from the device clock (or the
            container's timestamps) where the source has one, otherwise from the host clock.
        device_s: Timestamp of the device or container in seconds; None when there is none.
        host_s: `time.perf_counter()` when the frame reached this process; latency is measured
            against it.
        gap_before: Number of frames known to be missing right before this one.
        gap_cause: Why they are missing (`""` when none are), e.g. `source_timestamp_gap`.
        image: (H, W, 3) uint8 BGR or (H, W) uint8 gray. A view into a ring: copy to keep.
        flags: What is wrong with the picture or its time: `black`, `saturated`, `frozen` …
        depth: (H, W) uint16 distance of what each pixel of `image` shows, in millimetres; 0 where
            the depth camera saw nothing. An array of its own, never overwritten. None from a
            source without depth, or that was not asked for it.
    """

    index: int
    time_s: float
    device_s: float | None
    host_s: float
    gap_before: int
    gap_cause: str
    image: Image
    flags: tuple[str, ...] = ()
    depth: Depth | None = None
