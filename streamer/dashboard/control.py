"""What the dashboard may ask of a session: look, start, stop, move the threshold, take neutral."""

from __future__ import annotations

from typing import Protocol

from streamer.frame import Image
from streamer.sinks.base import SessionInfo, SessionMetrics


class SessionControl(Protocol):
    """A session that can be started and stopped many times. Every member is thread-safe."""

    @property
    def running(self) -> bool:
        """Whether frames are being analysed now."""
        ...

    @property
    def session_info(self) -> SessionInfo | None:
        """The running or, once it has ended, the last session; None before the first."""
        ...

    @property
    def error(self) -> str | None:
        """Why the last session failed or could not be started, in one sentence; else None."""
        ...

    @property
    def threshold_factor(self) -> float | None:
        """Factor c of the spotting threshold; None before it is known."""
        ...

    def start(self) -> None:
        """Start a session; does nothing while one runs.

        Raises:
            UserError: It cannot be started; `error` says the same.
        """
        ...

    def stop(self) -> None:
        """End the session in an orderly way; does nothing when none runs."""
        ...

    def metrics(self) -> SessionMetrics | None:
        """Figures of the running or the last session; None before the first."""
        ...

    def frame_image(self, index: int) -> Image | None:
        """Return a copy of the picture of one frame; None when it is not kept any more."""
        ...

    def face_image(self, index: int) -> Image | None:
        """Return a copy of the aligned face of one frame; None when it is not kept any more."""
        ...

    def set_threshold_factor(self, factor: float) -> None:
        """Set factor c from the next frame on; it outlives the session."""
        ...

    def take_neutral(self) -> None:
        """Measure from the next face on: the subject rests now."""
        ...

    def forget_threshold_factor(self) -> None:
        """Let the next session start with its own factor."""
        ...
