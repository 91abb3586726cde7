"""The session folder: what a session leaves behind for other programs to read.

    session.json   what was run, on what, and how it ended
    events.jsonl   one closed event a line
    frames.csv     one analysed frame a row
    metrics.json   frames, losses, latency, use of the machine
    consent.json   who confirmed the subject's consent, when, to which text; where there is one
    truth.jsonl    for a source that knows its truth (demo): one scripted expression a line
    markers.jsonl, annotations.jsonl    what the operator said while it ran, line by line
    recording/     the pictures, when they were asked for (see streamer/recording/layout.py)

Lines and rows reach the operating system one by one and whole, and the two `.json` files are
replaced in one step, so that what was written can be read while the session runs and after the
process was killed at any moment. `events.jsonl`, `frames.csv` and `truth.jsonl` hold stream time
only: two runs over the same file write the same bytes.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from engines.events import Event, EventState
from streamer.consent import FILE as CONSENT
from streamer.consent import consent_document
from streamer.errors import SessionError
from streamer.line_file import LineFile
from streamer.sinks.base import FrameRecord, SessionInfo, SessionMetrics
from streamer.sinks.documents import event_document, finite, json_line

# `frame` counts from 0 as in events.jsonl, where OpenFace counts from 1: the two files join.
_OPENFACE_COLUMNS = (
    "frame",
    "face_id",
    "timestamp",
    "confidence",
    "success",
    "pose_Rx",
    "pose_Ry",
    "pose_Rz",
)

_REFRESH_S = 2.0


class SessionFolderSink:
    """Writes the session folder.

    Args:
        path: The folder; made when missing, refused when it holds anything.
    """

    name = "session folder"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._session: SessionInfo | None = None
        self._events: LineFile | None = None
        self._frames: LineFile | None = None
        self._figures: Callable[[], SessionMetrics] | None = None
        self._refreshed_s = 0.0

    def follow(self, figures: Callable[[], SessionMetrics]) -> None:
        """Keep `metrics.json` up to date while the session runs.

        Args:
            figures: Returns the figures so far; called from the thread that delivers frames.
        """
        self._figures = figures

    def open(self, session: SessionInfo) -> None:
        """Make the folder and its files.

        Raises:
            SessionError: The folder is not empty, or cannot be made or written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if any(self.path.iterdir()):
                raise SessionError(
                    f"The session folder {self.path} is not empty: nothing is ever overwritten, "
                    "name another folder."
                )
            self._write_session(session, end_state="running")
            consent = consent_document(session.configuration)
            if consent is not None:
                _replace(self.path / CONSENT, consent)
            if session.truth is not None:
                truth = LineFile(self.path / "truth.jsonl")
                for expression in session.truth:
                    truth.append(json_line(expression))
                truth.close()
            self._events = LineFile(self.path / "events.jsonl")
            self._frames = LineFile(self.path / "frames.csv")
            motion = [f"{region}_{axis}" for region in session.region_names for axis in "xy"]
            self._frames.append(",".join([*_OPENFACE_COLUMNS, "score", "threshold", *motion]))
        except OSError as error:
            self._close_files()
            raise SessionError(
                f"The session folder {self.path} cannot be written ({_reason(error)}): "
                "mend that or name another folder."
            ) from error
        self._session = session

    def on_frame(self, record: FrameRecord) -> None:
        """Write the row of an analysed frame.

        Raises:
            SessionError: The disk is full or gone; what was written stays readable.
        """
        self._append(self._frames, _row(record))
        if self._figures is not None and time.monotonic() - self._refreshed_s > _REFRESH_S:
            self._refreshed_s = time.monotonic()
            try:
                self._write_metrics(self._figures())
            except PermissionError:
                pass  # Windows: somebody is reading it just now; the next figures replace it
            except OSError as error:
                raise self._failure(error) from error

    def on_event(self, event: Event) -> None:
        """Write the line of a closed event; other states are passed over.

        Raises:
            SessionError: The disk is full or gone; what was written stays readable.
        """
        if event.state is EventState.CLOSED:
            self._append(self._events, json_line(event_document(event)))

    def close(self, metrics: SessionMetrics) -> None:
        """Write the final figures and how the session ended.

        Raises:
            SessionError: The disk is full or gone; what was written stays readable.
        """
        self._close_files()
        session, self._session = self._session, None
        if session is None:
            return
        try:
            self._write_session(session, metrics.end_state, metrics.fps_measured, metrics.notes)
            self._write_metrics(metrics)
        except OSError as error:
            raise self._failure(error) from error

    def _append(self, file: LineFile | None, line: str) -> None:
        if file is None or self._session is None:
            raise ValueError("the session folder is not open")
        try:
            file.append(line)
        except OSError as error:
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> SessionError:
        """Give up: from here on nothing is written, so that what was stays readable."""
        failure = SessionError(
            f"The session folder {self.path} can no longer be written ({_reason(error)}): "
            "what it holds stays readable, and detection goes on without it; "
            "make room and start a new session."
        )
        session, self._session = self._session, None
        self._close_files()
        if session is not None:
            with suppress(OSError):
                self._write_session(session, "failed", notes=(str(failure),))
        return failure

    def _close_files(self) -> None:
        for file in (self._events, self._frames):
            if file is not None:
                file.close()

    def _write_session(
        self,
        session: SessionInfo,
        end_state: str,
        fps_measured: float | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        source = session.source
        document = {
            "version": session.version,
            "subject": session.configuration.get("subject"),
            "consent": session.configuration.get("consent"),
            "source": {
                "name": source.name,
                "kind": source.kind,
                "live": source.live,
                "frames": source.frames,
                "device_clock": source.device_clock,
                "device": source.device,
            },
            "fps": {
                "asked": source.fps_asked,
                "nominal": source.fps_nominal,
                "measured": fps_measured,
            },
            "size": {"width": source.width, "height": source.height},
            "calibration": session.calibration or {"verdict": "not calibrated"},
            "engines": session.engines,
            "configuration": session.configuration,
            "started_utc": session.started_utc,
            "stored_from": session.stored_from and asdict(session.stored_from),
            "end_state": end_state,
            "notes": [*source.notes, *(note for note in notes if note not in source.notes)],
        }
        _replace(self.path / "session.json", document)

    def _write_metrics(self, metrics: SessionMetrics) -> None:
        document: dict[str, Any] = {
            "captured": metrics.captured,
            "analysed": metrics.analysed,
            "lost": metrics.lost,
            "source": metrics.source_counters,
            "zero": _zero(metrics.zero_host_s),
            "fps": {"asked": metrics.fps_asked, "measured": metrics.fps_measured},
            "latency_ms": {
                stage: {name: round(ms, 3) for name, ms in figures.items()}
                for stage, figures in metrics.latency_ms.items()
            },
            "cores": round(metrics.cores, 3),
            "peak_memory_mb": round(metrics.peak_memory_mb, 1),
        }
        if metrics.recording is not None:
            document["recording"] = asdict(metrics.recording)
        _replace(self.path / "metrics.json", document)


def _zero(host_s: float | None) -> dict[str, Any] | None:
    """Stream time 0 on the clock that the sessions of a process share, and in UTC."""
    if host_s is None:
        return None
    moment = datetime.now(timezone.utc) - timedelta(seconds=time.perf_counter() - host_s)
    return {"host_s": round(host_s, 6), "utc": moment.isoformat(timespec="microseconds")}


def _row(record: FrameRecord) -> str:
    values = (record.time_s, record.confidence)
    cells = [f"{value:.6f}" if math.isfinite(value) else "" for value in values]
    values = (*record.pose, record.score, record.threshold, *record.motion.ravel().tolist())
    # 10^-6 of the inter-ocular distance is 10^-4 pixels: below anything that can be measured.
    numbers = [f"{value:.6f}" if math.isfinite(value) else "" for value in values]
    return ",".join(
        [str(record.index), str(record.face_id), *cells, "1" if record.success else "0", *numbers]
    )


def _replace(path: Path, document: Mapping[str, Any]) -> None:
    text = json.dumps(finite(document), ensure_ascii=False, allow_nan=False, indent=2) + "\n"
    fresh = path.with_suffix(".json.tmp")
    try:
        fresh.write_text(text, encoding="utf-8")
        os.replace(fresh, path)
    except OSError:
        with suppress(OSError):
            fresh.unlink()
        raise


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
