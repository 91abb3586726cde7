"""Stores a session from the middle on: a preview becomes a session without a new start."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

from engines.events import Event
from streamer.calibrated import use_calibration
from streamer.config import GlintConfig
from streamer.errors import ConfigError
from streamer.sinks.base import FrameRecord, SessionInfo, SessionMetrics, Sink, StoredFrom
from streamer.sinks.session_folder import SessionFolderSink

_PATIENCE_S = 3.0  # for the next frame


@runtime_checkable
class FollowsStorage(Protocol):
    """A sink that must know when a preview becomes a stored session."""

    def stored(self, session: SessionInfo) -> None:
        """From the next frame on, this session is stored. Called on the sink thread."""
        ...


@dataclass(frozen=True, slots=True)
class _Order:
    """To store from now on."""

    folder: Path
    config: GlintConfig
    before: SessionMetrics
    since_s: float = field(default_factory=time.perf_counter)
    done: Future[SessionInfo] = field(default_factory=Future)


class LaterStorage:
    """A sink that passes results on to a session folder once it is told to.

    The folder begins with the first frame that was captured after the order: every frame from
    there on is in it or counted as lost. An event belongs to it when its onset does.

    Args:
        others: The other sinks of the session; those that follow the storage are told.
    """

    name = "session folder"

    def __init__(self, others: Sequence[Sink] = ()) -> None:
        self._others = [sink for sink in others if isinstance(sink, FollowsStorage)]
        self._lock = threading.Lock()
        self._figures: Callable[[], SessionMetrics] | None = None
        self._session: SessionInfo | None = None
        self._order: _Order | None = None
        self._kept: _Order | None = None
        self._folder: SessionFolderSink | None = None
        self._from = StoredFrom(frame=0, time_s=0.0)
        self._rows = 0
        self.notes: tuple[str, ...] = ()

    def follow(self, figures: Callable[[], SessionMetrics]) -> None:
        """Take the session's figures from here.

        Args:
            figures: Returns the figures so far; callable from any thread.
        """
        self._figures = figures

    @property
    def session(self) -> SessionInfo | None:
        """The session that runs; None when none does."""
        return self._session

    @property
    def storing(self) -> bool:
        """Whether the session is being stored."""
        return self._folder is not None

    def begin(self, folder: Path, config: GlintConfig) -> SessionInfo:
        """Store the running session from now on.

        Args:
            folder: The session folder; new or empty.
            config: Names the subject and the consent.

        Returns:
            The session as it is stored.

        Raises:
            UserError: No session runs, it is stored already, no frame comes, or the folder cannot
                be written; then nothing is stored.
        """
        with self._lock:
            if self._session is None or self._figures is None:
                raise ConfigError("No session is running: press Start.")
            if self._order is not None or self.storing:
                raise ConfigError("This session is being stored already.")
            order = self._order = _Order(folder, config, self._figures())
        try:
            return order.done.result(_PATIENCE_S)
        except FutureTimeoutError:
            if not order.done.cancel():
                return order.done.result(_PATIENCE_S)
            self._order = None
            raise ConfigError(
                "No frame comes from the source, so there is nothing to store: wait until it "
                "delivers, and store then."
            ) from None

    def open(self, session: SessionInfo) -> None:
        """The session starts; nothing is stored."""
        self._session = session

    def on_frame(self, record: FrameRecord) -> None:
        """Pass a frame on, or begin with it.

        Raises:
            SessionError: The folder can no longer be written.
        """
        order = self._order
        if order is not None and record.host_s >= order.since_s:
            if order.done.set_running_or_notify_cancel():
                self._open_folder(order, record)
            self._order = None  # not before: another order must find this one, or the folder
        if self._folder is not None:
            self._folder.on_frame(record)
            self._rows += 1

    def on_event(self, event: Event) -> None:
        """Pass on an event whose onset is in the folder.

        Raises:
            SessionError: The folder can no longer be written.
        """
        if self._folder is not None and event.onset_s >= self._from.time_s:
            self._folder.on_event(event)

    def close(self, metrics: SessionMetrics) -> None:
        """End the folder.

        Raises:
            SessionError: The folder can no longer be written.
        """
        with self._lock:
            self._session = None
            order, self._order = self._order, None
        if order is not None and order.done.set_running_or_notify_cancel():
            order.done.set_exception(ConfigError("The session has ended: press Start."))
        folder, self._folder = self._folder, None
        if folder is not None:
            folder.close(self._since_order(metrics))

    def _open_folder(self, order: _Order, record: FrameRecord) -> None:
        """Begin; whoever asked hears of what goes wrong, and the preview goes on."""
        assert self._session is not None
        self._from = StoredFrom(frame=record.index, time_s=record.time_s)
        session = _stored(self._session, self._from, order)
        folder = SessionFolderSink(order.folder)
        try:
            notes = _calibration_notes(session, order.config)
            folder.open(session)
        except Exception as error:
            folder.close(order.before)
            order.done.set_exception(error)
            return
        assert self._figures is not None
        figures = self._figures
        folder.follow(lambda: self._since_order(figures()))
        self.notes = (
            f"Stored out of a running preview, from {record.time_s:.2f} s (frame {record.index}) "
            "on; rate and latencies in metrics.json count from the start of the preview.",
            *notes,
        )
        self._kept, self._folder, self._session = order, folder, session
        for sink in self._others:
            sink.stored(session)
        order.done.set_result(session)

    def _since_order(self, metrics: SessionMetrics) -> SessionMetrics:
        """The figures without what was counted before the order."""
        assert self._kept is not None
        before = self._kept.before
        lost = Counter(metrics.lost)
        lost.subtract(before.lost)
        return replace(
            metrics,
            captured=metrics.captured - before.captured,
            analysed=self._rows,
            lost={cause: frames for cause, frames in lost.items() if frames > 0},
        )


def _stored(session: SessionInfo, begin: StoredFrom, order: _Order) -> SessionInfo:
    given = order.config.model_dump(mode="json", include={"subject", "consent"})
    truth = session.truth
    return replace(
        session,
        configuration={**session.configuration, **given},
        truth=truth and tuple(item for item in truth if item["onset_s"] >= begin.time_s),
        folder=order.folder,
        stored_from=begin,
    )


def _calibration_notes(session: SessionInfo, config: GlintConfig) -> tuple[str, ...]:
    """What is to be said now that the subject is named."""
    used = use_calibration(config)[1]
    if used is None:
        return ()
    spotter = session.engines["spotter"]
    return used.check(session.source, f"{spotter['name']} {spotter['version']}", config.subject)
