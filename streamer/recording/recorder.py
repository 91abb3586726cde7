"""The recorder: a reader of the capture ring that never holds up capture."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from streamer.frame import Frame
from streamer.recording.status import RecordingState, RecordingStatus
from streamer.recording.writer import RecordingWriter
from streamer.ring import RingReader
from streamer.sources.base import SourceInfo

logger = logging.getLogger(__name__)


class Recorder:
    """Records the frames of a ring until it ends.

    Capture overtakes a recorder that is too slow: the pictures that it did not get to are gaps in
    the recording and counted, analysis has them all the same. When the disk fails, the recording
    ends there and stays readable; detection goes on.

    Args:
        writer: Where the pictures go.
    """

    def __init__(self, writer: RecordingWriter) -> None:
        self._writer = writer
        self._reader: RingReader[Any] | None = None
        self._state: RecordingState = "recording"
        self._frames = 0
        self._torn = 0
        self._missed = 0
        self._notes: tuple[str, ...] = ()
        self._done = threading.Event()

    def open(self, info: SourceInfo, started_utc: str) -> None:
        """Make the files.

        Raises:
            SessionError: They cannot be written.
        """
        self._writer.open(info, started_utc)

    @property
    def status(self) -> RecordingStatus:
        """How it goes; callable from any thread."""
        overrun = 0 if self._reader is None else self._reader.lost
        lost = {
            "recording_overrun": overrun,
            "recording_torn": self._torn,
            "recording_failed": self._missed,
        }
        return RecordingStatus(
            self._state, self._frames, {cause: number for cause, number in lost.items() if number}
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user must be told."""
        return self._notes

    def run(self, reader: RingReader[Any]) -> None:
        """Record until the ring ends; the body of the recorder's thread."""
        self._reader = reader
        try:
            while (slot := reader.next()) is not None:
                if self._state == "failed":
                    self._missed += 1
                elif self._write(slot.frame, slot.intact):
                    self._frames += 1
        finally:
            reader.leave()
            self._writer.close()
            if self._state == "recording":
                self._state = "finished"
            self._done.set()

    def wait(self, timeout: float) -> None:
        """Wait until `run` has finished the files."""
        self._done.wait(timeout)

    def close(self) -> None:
        """Finish the files of a recorder that never ran; may be called more than once."""
        if self._reader is None:
            self._writer.close()

    def _write(self, frame: Frame, intact: Callable[[], bool]) -> bool:
        try:
            written = self._writer.write(frame, intact)
        except OSError as error:
            self._state = "failed"
            self._missed += 1
            reason = (error.strerror or type(error).__name__).lower()
            self._notes = (
                f"The recording ended after {self._frames} frames because no more could be "
                f"written ({reason}): what is there stays readable, detection goes on.",
            )
            logger.warning("%s", self._notes[0])
            self._writer.close()
            return False
        if not written:
            self._torn += 1
        return written
