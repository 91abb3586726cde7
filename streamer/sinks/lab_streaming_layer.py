"""Frames and events on the Lab Streaming Layer, beside EEG and eye tracking.

The picture itself stays in the recording: what goes out is the frame's number, so that both can
be joined again (the advice of LSL's maintainers for video), and everything that was measured.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import deque
from typing import Any

import numpy as np

from engines.events import Event, EventState
from streamer.errors import SessionError
from streamer.sinks.base import FrameRecord, SessionInfo, SessionMetrics
from streamer.sinks.documents import event_document, json_line

EVENTS_STREAM = "Glint-Events"
FRAMES_STREAM = "Glint-Frames"

_MEASURED = ("frame", "stream_time", "gap_before", "success", "score", "threshold")
_UNITS = ("count", "s", "frames", "boolean", "spotter", "spotter")
_PAIRS = 15
_MEMORY_S = 10.0


class LabStreamingLayerSink:
    """Two outlets: `Glint-Events`, a marker a state, and `Glint-Frames`, a sample a frame.

    Samples are stamped with the time at which their frame reached this machine, brought from its
    monotonic clock to LSL's by an offset that is measured when the streams open. A marker is a
    line of JSON as `--json-lines` writes it, stamped with the event's onset. Lost frames are no
    samples: `can_drop_samples` says so in the header, and `frame` and `gap_before` tell which.
    """

    name = "lab streaming layer"

    def __init__(self) -> None:
        self._arrivals: deque[tuple[float, float]] = deque()

    def open(self, session: SessionInfo) -> None:
        """Announce the streams.

        Raises:
            SessionError: The Lab Streaming Layer is not installed.
        """
        try:
            import pylsl  # noqa: PLC0415 - an optional library
        except (ImportError, RuntimeError) as error:  # RuntimeError: liblsl is missing
            raise SessionError(
                f"The Lab Streaming Layer cannot be loaded ({error}): "
                "install the lab extra, pip install -e .[lab]."
            ) from error
        self._offset_s, spread_s = measure_offset(pylsl.local_clock)
        source = session.source
        labels = [f"{region}_{axis}" for region in session.region_names for axis in "xy"]
        identity = f"glint-{source.kind}-{source.name}"
        frames = pylsl.StreamInfo(
            FRAMES_STREAM,
            "Motion",
            len(_MEASURED) + len(labels),
            source.fps_nominal,
            pylsl.cf_double64,
            f"{identity}-frames",
        )
        channels = frames.desc().append_child("channels")
        units = (*_UNITS, *["inter-ocular distance"] * len(labels))
        for label, unit in zip((*_MEASURED, *labels), units, strict=True):
            channel = channels.append_child("channel")
            channel.append_child_value("label", label)
            channel.append_child_value("unit", unit)
        events = pylsl.StreamInfo(
            EVENTS_STREAM, "Markers", 1, pylsl.IRREGULAR_RATE, pylsl.cf_string, f"{identity}-events"
        )
        for stream in (frames, events):
            description = stream.desc()
            description.append_child_value("manufacturer", f"Glint {session.version}")
            description.append_child_value("spotter", str(session.engines["spotter"]["name"]))
            header = description.append_child("synchronization")
            header.append_child_value("can_drop_samples", "true")
            header.append_child_value("offset_mean", f"{self._offset_s:.9f}")
            header.append_child_value("offset_rms", f"{spread_s:.9f}")
        self._sample = np.zeros(len(_MEASURED) + len(labels))
        self._frames: Any = pylsl.StreamOutlet(frames)
        self._events: Any = pylsl.StreamOutlet(events)

    def on_frame(self, record: FrameRecord) -> None:
        """Send the sample of a frame."""
        sample = self._sample
        sample[: len(_MEASURED)] = (
            record.index,
            record.time_s,
            record.gap_before,
            record.success,
            record.score,
            record.threshold,
        )
        sample[len(_MEASURED) :] = record.motion.ravel()
        self._frames.push_sample(sample.tolist(), record.host_s + self._offset_s)
        self._arrivals.append((record.time_s, record.host_s))
        while record.time_s - self._arrivals[0][0] > _MEMORY_S:
            self._arrivals.popleft()

    def on_event(self, event: Event) -> None:
        """Send the marker of an event, stamped with its onset."""
        if event.state is EventState.TENTATIVE:
            return  # its onset is not known yet
        line = json_line({"state": event.state.value, **event_document(event)})
        self._events.push_sample([line], self._arrival(event.onset_s) + self._offset_s)

    def close(self, metrics: SessionMetrics) -> None:
        """Withdraw the streams."""
        self._frames = self._events = None

    def _arrival(self, time_s: float) -> float:
        """When the frame of a stream time reached this machine, on its monotonic clock."""
        if not self._arrivals:
            return time.perf_counter()
        position = bisect_left(self._arrivals, (time_s, 0.0))
        return self._arrivals[min(position, len(self._arrivals) - 1)][1]


def measure_offset(clock: Any) -> tuple[float, float]:
    """Measure what brings `time.perf_counter()` to another clock of this machine.

    Args:
        clock: Returns the other clock's time in seconds.

    Returns:
        Offset and its uncertainty in seconds, of the reading that took the shortest time.
    """
    readings = []
    for _ in range(_PAIRS):
        before = time.perf_counter()
        other = clock()
        after = time.perf_counter()
        readings.append((after - before, other - (before + after) / 2))
    took, offset = min(readings)
    return offset, took / 2
