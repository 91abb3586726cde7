"""The spotting seam: motion in, score and events out, frame by frame and causal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from engines.events import Event


@dataclass(frozen=True, slots=True)
class MotionSample:
    """What spotting sees of one analysed frame.

    Arrays are views that are overwritten by the next frame: copy what must outlive `push`.

    Attributes:
        index: Frame index in the stream (lost frames count).
        time_s: Stream time in seconds.
        gap_before: Frames lost right before this one.
        valid: True when a face is followed and aligned. When False the arrays hold zeros.
        restart: True when measurement starts anew at this frame (face found, tracking slipped):
            motion before and after it does not compare.
        motion: (R, 2) float32, displacement of each region from the neutral reference, in
            inter-ocular distances, head motion subtracted; x to the image's right, y down.
            R and the order are those of `engines.motion.canonical.REGION_NAMES`.
        velocity: (R, 2) float32, displacement over the last `delta_s` seconds, same units.
        strain: (R,) float32, mean optical strain magnitude of each region; None for a spotter
            that does not read it.
        eyes: (2, 2) float32, displacement of the two eye apertures (gating of blink and gaze).
        head_speed: Head motion in inter-ocular distances a second.
        delta_s: The time that `velocity` spans, in seconds.
        face: (128, 128) uint8, the aligned gray face; None when not `valid`.
        flow_delta: (128, 128, 2) float32 flow over the last `delta_s`, canonical pixels; zero
            outside `engines.motion.meter.DELTA_WINDOW`. None when not `valid`, in the first
            `delta_s`, and for a spotter that does not read it.
        mesh: (468, 3) float32 canonical landmarks with depth; None when not `valid`.
        depth_change: (64, 64) float32 motion of the skin towards the camera over the last
            `delta_s` (`engines.motion.depth`); None wherever `flow_delta` is, without a depth
            camera, and where that saw too little.
    """

    index: int
    time_s: float
    gap_before: int
    valid: bool
    restart: bool
    motion: npt.NDArray[np.float32]
    velocity: npt.NDArray[np.float32]
    strain: npt.NDArray[np.float32] | None
    eyes: npt.NDArray[np.float32]
    head_speed: float
    delta_s: float
    face: npt.NDArray[np.uint8] | None = None
    flow_delta: npt.NDArray[np.float32] | None = None
    mesh: npt.NDArray[np.float32] | None = None
    depth_change: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class SpotterOutput:
    """Result of one frame.

    Attributes:
        score: Spotting score of the frame, in the spotter's own units.
        threshold: Threshold that was in force for it.
        events: Events whose state changed at this frame, in order of change.
    """

    score: float
    threshold: float
    events: tuple[Event, ...] = ()


@runtime_checkable
class Spotter(Protocol):
    """Finds expressions in a stream of motion samples.

    A spotter is causal: the output of `push` depends on the samples pushed so far and on
    nothing else, so that a stream cut into chunks gives the same output as one pass.
    """

    name: str
    version: str
    reads_delta_flow: bool
    """Whether `MotionSample.flow_delta` is worth measuring for it."""
    reads_strain: bool
    """Whether `MotionSample.strain` is."""

    @property
    def look_ahead_s(self) -> float:
        """Seconds after an apex that pass before it is confirmed."""
        ...

    def push(self, sample: MotionSample) -> SpotterOutput:
        """Take the next frame; samples come in order of `time_s`."""
        ...

    def finish(self) -> tuple[Event, ...]:
        """End of stream: close or withdraw every open event."""
        ...

    def reset(self) -> None:
        """Forget everything, as if newly built."""
        ...
