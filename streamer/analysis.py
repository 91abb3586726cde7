"""Analysis of aligned faces: motion, spotting, and the clip that recognition is given."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engines.events import Event
from engines.motion.depth import DEPTH_CELLS
from engines.motion.meter import MotionMeter
from engines.recognition.base import EventClip
from engines.spotting.base import Spotter
from streamer.alignment.base import Alignment
from streamer.ring import RingReader, Slot
from streamer.sinks.base import FrameRecord

CLIP_MARGIN_S = 0.05
"""Faces this long before the onset belong to the clip of an event."""


@dataclass(frozen=True, slots=True)
class Analysed:
    """What one frame gave.

    Attributes:
        record: Measurements of the frame.
        events: Events that changed their state at it.
        flow_s: Seconds spent on motion.
        spot_s: Seconds spent on spotting.
    """

    record: FrameRecord
    events: tuple[Event, ...]
    flow_s: float
    spot_s: float


class Analysis:
    """Measures motion and spots expressions, frame by frame. Used by the analysis thread."""

    def __init__(self, meter: MotionMeter, spotter: Spotter) -> None:
        self._meter = meter
        self._spotter = spotter
        self._neutral = threading.Event()

    def take_neutral(self) -> None:
        """Measure from the next face on, as if it had just been found: the subject rests now.

        An event that is open ends there; what is known of noise stays. May be called by any
        thread.
        """
        self._neutral.set()

    def push(self, slot: Slot[Alignment]) -> Analysed:
        """Analyse the next aligned frame."""
        frame, alignment = slot.frame, slot.payload
        started = time.perf_counter()
        if alignment.valid and self._neutral.is_set():
            self._neutral.clear()
            self._meter.reset()
        sample = self._meter.measure(
            frame.index,
            frame.time_s,
            frame.gap_before,
            frame.image if alignment.valid else None,
            epoch=alignment.epoch,
            mesh=alignment.mesh,
            head_speed=alignment.head_speed,
            depth=alignment.depth,
        )
        measured = time.perf_counter()
        output = self._spotter.push(sample)
        spotted = time.perf_counter()
        gap = ("gap",) if frame.gap_before else ()
        record = FrameRecord(
            index=frame.index,
            time_s=frame.time_s,
            host_s=frame.host_s,
            gap_before=frame.gap_before,
            face_id=alignment.face_id,
            confidence=alignment.confidence,
            success=sample.valid,
            pose=alignment.pose,
            box=alignment.box,
            landmarks=alignment.landmarks,
            state=alignment.state.value,
            flags=(*frame.flags, *alignment.flags, *gap),
            score=output.score,
            threshold=output.threshold,
            motion=sample.motion.copy(),
            luminance=alignment.luminance,
            scored_s=spotted,
        )
        return Analysed(record, output.events, measured - started, spotted - measured)

    def finish(self) -> tuple[Event, ...]:
        """End of stream: the events that end with it."""
        return self._spotter.finish()


def cut_clip(reader: RingReader[Alignment], event: Event) -> EventClip | None:
    """Copy the faces of an event, from its onset to the frame that is held.

    Args:
        reader: Position in the ring of aligned faces.
        event: A confirmed event.

    Returns:
        The clip; None when the faces are no longer there.
    """
    window = reader.window(event.onset_s - CLIP_MARGIN_S)
    if window is None:
        return None
    faces = np.array(window.images)
    if not window.intact() or not all(alignment.valid for alignment in window.payloads):
        return None
    onset = int(np.abs(window.times_s - event.onset_s).argmin())
    apex = int(np.abs(window.times_s - event.apex_s).argmin())
    return EventClip(
        faces=faces,
        times_s=window.times_s,
        onset=onset,
        apex=max(apex, onset),
        mesh=window.payloads[onset].mesh,
        depths=_depths(window.payloads),
    )


def _depths(alignments: Sequence[Alignment]) -> npt.NDArray[np.float32] | None:
    """(N, 64, 64) depth maps, missing where a frame has none; None when none has."""
    maps = [alignment.depth for alignment in alignments]
    if all(each is None for each in maps):
        return None
    missing = np.zeros((DEPTH_CELLS, DEPTH_CELLS), np.float32)
    return np.stack([missing if each is None else each for each in maps])
