"""A session that the dashboard can start and stop: one fresh pipeline for every start."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from streamer.errors import UserError
from streamer.frame import Image
from streamer.sinks.base import SessionInfo, SessionMetrics, Sink

_log = logging.getLogger(__name__)


class PipelineLike(Protocol):
    """The part of `streamer.pipeline.Pipeline` that a live session uses."""

    @property
    def threshold_factor(self) -> float:
        """Factor c of the spotting threshold; 0 when the spotter has none."""
        ...

    @property
    def failure(self) -> BaseException | None:
        """What ended the session before its time; None when nothing did."""
        ...

    def start(self) -> SessionInfo:
        """Open everything and begin.

        Raises:
            UserError: Something cannot be opened; nothing is left running.
        """
        ...

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end; True when the pipeline has ended."""
        ...

    def stop(self) -> None:
        """End in an orderly way."""
        ...

    def close(self) -> None:
        """Release everything; may be called more than once."""
        ...

    def metrics(self) -> SessionMetrics:
        """Figures so far; also after the end."""
        ...

    def frame_image(self, index: int) -> Image | None:
        """Return a copy of one frame's picture, or None."""
        ...

    def face_image(self, index: int) -> Image | None:
        """Return a copy of one frame's aligned face, or None."""
        ...

    def set_threshold_factor(self, factor: float) -> None:
        """Set factor c."""
        ...

    def take_neutral(self) -> None:
        """Take the next face as neutral."""
        ...


class LiveSession:
    """Starts a fresh pipeline at every `start`, keeps the last one for looking at.

    Reading never waits for starting or stopping: a slow camera does not freeze the dashboard.

    Args:
        factory: Builds a pipeline that tells the given sinks.
        sinks: Sinks of every session, the dashboard's among them.
        configured_factor: Factor of the spotting threshold that sessions start with.
    """

    def __init__(
        self,
        factory: Callable[[Sequence[Sink]], PipelineLike],
        sinks: Sequence[Sink],
        configured_factor: float | None = None,
    ) -> None:
        self._factory = factory
        self._sinks = tuple(sinks)
        self._lock = threading.Lock()  # held while starting or stopping, never while reading
        self._pipeline: PipelineLike | None = None
        self._info: SessionInfo | None = None
        self._error: str | None = None
        self._factor: float | None = None
        self._configured_factor = configured_factor

    @property
    def running(self) -> bool:
        """Whether frames are being analysed now."""
        pipeline = self._pipeline
        return pipeline is not None and not pipeline.wait(0)

    @property
    def session_info(self) -> SessionInfo | None:
        """The running or the last session; None before the first."""
        return self._info

    @property
    def error(self) -> str | None:
        """Why the last session failed or could not be started; None when all is well."""
        pipeline = self._pipeline
        if self._error is not None or pipeline is None or pipeline.failure is None:
            return self._error
        return _sentence(pipeline.failure)

    @property
    def threshold_factor(self) -> float | None:
        """Factor c: what was set here, otherwise the pipeline's own."""
        pipeline = self._pipeline
        if self._factor is not None:
            return self._factor
        return (pipeline.threshold_factor if pipeline else None) or self._configured_factor

    def start(self) -> None:
        """Start a session; does nothing while one runs.

        Raises:
            UserError: It cannot be started; `error` says the same.
        """
        with self._lock:
            if self.running:
                return
            self._release()
            try:
                pipeline = self._factory(self._sinks)
                self._info = pipeline.start()
                if self._factor is not None:  # the spotter exists from here on
                    pipeline.set_threshold_factor(self._factor)
            except Exception as error:
                self._error = _sentence(error)
                if not isinstance(error, UserError):
                    _log.exception("starting a session failed")
                raise
            self._error = None
            self._pipeline = pipeline

    def stop(self) -> None:
        """End the session in an orderly way; its figures and last picture stay readable."""
        with self._lock:
            if self._pipeline is not None:
                self._pipeline.stop()

    def close(self) -> None:
        """Stop and release everything; may be called more than once."""
        with self._lock:
            self._release()

    def metrics(self) -> SessionMetrics | None:
        """Figures of the running or the last session; None before the first."""
        pipeline = self._pipeline
        return None if pipeline is None else pipeline.metrics()

    def frame_image(self, index: int) -> Image | None:
        """Return a copy of the picture of one frame; None when it is not kept any more."""
        pipeline = self._pipeline
        return None if pipeline is None else pipeline.frame_image(index)

    def face_image(self, index: int) -> Image | None:
        """Return a copy of the aligned face of one frame; None when it is not kept any more."""
        pipeline = self._pipeline
        return None if pipeline is None else pipeline.face_image(index)

    def set_threshold_factor(self, factor: float) -> None:
        """Set factor c for this session and the next ones."""
        self._factor = factor
        pipeline = self._pipeline
        if pipeline is not None:
            pipeline.set_threshold_factor(factor)

    def take_neutral(self) -> None:
        """Take the next face as neutral; does nothing while no session runs."""
        pipeline = self._pipeline
        if pipeline is not None:
            pipeline.take_neutral()

    def forget_threshold_factor(self) -> None:
        """Let the next session start with its own factor."""
        self._factor = None

    def _release(self) -> None:
        pipeline, self._pipeline = self._pipeline, None
        if pipeline is not None:
            pipeline.stop()
            pipeline.close()


def _sentence(error: BaseException) -> str:
    """Say what happened; a fault of the program sends the reader to the log."""
    if isinstance(error, UserError):
        return str(error)
    return (
        f"The session ended because of a fault in Glint ({type(error).__name__}: {error}); "
        "the log has the details."
    )
