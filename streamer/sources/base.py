"""The source seam: cameras, files, folders, streams and the demo look alike from here on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol, runtime_checkable

from streamer.frame import Frame, Image
from streamer.sources.camera_config import CameraConfig


class SourceState(str, Enum):
    """What a source is doing; shown on the dashboard."""

    CLOSED = "closed"
    WAITING = "waiting"  # for somebody to begin: a browser, before the first picture
    LIVE = "live"
    STALLED = "stalled"
    RECONNECTING = "reconnecting"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """What the user asked for. None means: whatever the source has.

    Attributes:
        fps: Frames a second to ask a camera for, or the rate of a folder of frames.
        width: Picture width in pixels.
        height: Picture height in pixels.
        fourcc: Four-character pixel format for a camera, e.g. `MJPG`.
        duration_s: End the stream after this much stream time, in seconds.
        seed: Seed of the demo source.
        realtime: Deliver a file or the demo at its own pace instead of as fast as it is read.
        camera: What a camera is set to.
        depth: Deliver depth pictures too, where the source has them.
    """

    fps: float | None = None
    width: int | None = None
    height: int | None = None
    fourcc: str | None = None
    duration_s: float | None = None
    seed: int = 0
    realtime: bool = True
    camera: CameraConfig = field(default_factory=CameraConfig)
    depth: bool = False


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What an opened source delivers.

    Attributes:
        name: What the user would call it, credentials removed.
        kind: Registered name: `camera`, `video`, `folder`, `stream`, `demo` …
        width: Picture width in pixels.
        height: Picture height in pixels.
        channels: 3 for BGR, 1 for gray.
        fps_asked: Rate that was asked for; None when nothing was.
        fps_nominal: Rate that the source says it delivers, frames a second.
        live: True when frames are lost if nobody reads (a camera): the pipeline then drops the
            oldest unread frame. False when the source can wait (a file): every frame is read.
        frames: Number of frames where it is known, for progress; None otherwise.
        device_clock: True when `Frame.device_s` is filled.
        notes: Things the user must be told, e.g. that another rate than asked was granted.
        device: What a camera is and is set to (model, serial, exposure …), for the record.
        depth: True when `Frame.depth` is filled.
    """

    name: str
    kind: str
    width: int
    height: int
    channels: int
    fps_asked: float | None
    fps_nominal: float
    live: bool
    frames: int | None
    device_clock: bool
    notes: tuple[str, ...] = ()
    device: Mapping[str, str | float] = field(default_factory=dict)
    depth: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a picture array: (H, W, 3) or (H, W)."""
        size = (self.height, self.width)
        return (*size, 3) if self.channels == 3 else size


@runtime_checkable
class FrameSource(Protocol):
    """Delivers frames in order of time. Used by one thread, except `interrupt` and `state`."""

    @property
    def state(self) -> SourceState:
        """What the source is doing now."""
        ...

    def open(self) -> SourceInfo:
        """Open and describe the source.

        Raises:
            SourceError: It cannot be opened; nothing is left open behind it.
        """
        ...

    def read(self, out: Image) -> Frame | None:
        """Read the next frame into `out` (shape `SourceInfo.shape`), blocking until it is there.

        Returns:
            The frame, whose `image` is `out`; None at the end of the stream.

        Raises:
            SourceError: The source failed for good.
            SourceInterrupted: `interrupt` was called.
        """
        ...

    def interrupt(self) -> None:
        """Make a blocked `read` return within a second; callable from any thread."""
        ...

    def close(self) -> None:
        """Release the device; may be called more than once."""
        ...


@runtime_checkable
class TakesNotes(Protocol):
    """A source that may learn after `open` of things that the user must be told."""

    @property
    def notes(self) -> tuple[str, ...]:
        """All notes so far, those of `SourceInfo.notes` among them; callable from any thread."""
        ...


@runtime_checkable
class KeepsCounters(Protocol):
    """A source that counts what went wrong without costing a frame: stalls, black frames."""

    @property
    def counters(self) -> Mapping[str, int]:
        """Name to number, without those that are 0; callable from any thread."""
        ...


class SourceFactory(Protocol):
    """A registered kind of source."""

    @staticmethod
    def matches(spec: str) -> bool:
        """Whether `--source spec` means this kind. Opens nothing."""
        ...

    def __call__(self, spec: str, options: SourceOptions) -> FrameSource:
        """Build the (closed) source."""
        ...
