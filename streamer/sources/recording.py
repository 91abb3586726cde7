"""A recording, played again as it was captured."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from streamer.errors import SourceError
from streamer.frame import Frame, Image
from streamer.recording.layout import (
    DESCRIPTION_FILE,
    PICTURE_FORMATS,
    TIMES_FILE,
    VIDEO_FILE,
    RecordingDescription,
    find_recording,
)
from streamer.sources.base import SourceInfo, SourceOptions, SourceState
from streamer.sources.playback import Playback


@dataclass(frozen=True, slots=True)
class _Row:
    """What `times.csv` says of a picture."""

    index: int
    time_s: float
    device_s: float | None
    gap_before: int
    gap_cause: str
    flags: tuple[str, ...]


class RecordingSource:
    """Delivers the frames of a recording: the same pictures, times, gaps and flags.

    Args:
        spec: Folder of a session with a recording, or of the recording itself.
        options: `duration_s` and `realtime` are followed.
    """

    kind = "recording"

    def __init__(self, spec: str, options: SourceOptions) -> None:
        self._path = Path(spec)
        self._options = options
        self._playback = Playback(options)
        self._state = SourceState.CLOSED
        self._container: Any = None
        self._rows: list[_Row] = []
        self._notes: list[str] = []

    @staticmethod
    def matches(spec: str) -> bool:
        """A folder that is or holds a recording."""
        return find_recording(Path(spec)) is not None

    @property
    def state(self) -> SourceState:
        """What the source is doing now."""
        return self._state

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user must be told, with what was learnt since `open`."""
        return tuple(self._notes)

    def open(self) -> SourceInfo:
        """Open the files.

        Raises:
            SourceError: One of them is missing, or is not what a recorder wrote.
        """
        self.close()
        folder = find_recording(self._path)
        if folder is None:
            raise SourceError(f"{self._path} holds no recording: give a session folder with one.")
        try:
            text = (folder / DESCRIPTION_FILE).read_text(encoding="utf-8")
            description = RecordingDescription.model_validate_json(text)
            self._rows = list(_rows(folder / TIMES_FILE))
        except (OSError, ValueError) as error:
            raise SourceError(
                f"The recording {folder} cannot be read ({_first_line(error)}): copy it again."
            ) from error
        if not self._rows:
            raise SourceError(f"The recording {folder} holds no frame: it broke off at its start.")
        self._pictures = self._decode(folder / VIDEO_FILE, PICTURE_FORMATS[description.channels])
        self._next = 0
        self._state = SourceState.LIVE
        rate = description.fps_nominal
        self._notes = [
            f"Recorded from {description.source} at {description.started_utc} "
            f"by Glint {description.glint}."
        ]
        if self._options.fps is not None and self._options.fps != rate:
            self._notes.append("A recording keeps its own times; the rate asked for is not used.")
        self._notes += self._playback.size_notes(description.width, description.height)
        return SourceInfo(
            name=str(self._path),
            kind=self.kind,
            width=description.width,
            height=description.height,
            channels=description.channels,
            fps_asked=description.fps_asked,
            fps_nominal=rate,
            live=False,
            frames=sum(not self._playback.over(row.time_s) for row in self._rows),
            device_clock=description.device_clock,
            notes=tuple(self._notes),
            device=description.device,
        )

    def read(self, out: Image) -> Frame | None:
        """Decode the next picture into `out`; see `FrameSource.read`.

        Raises:
            SourceError: A picture is damaged.
            SourceInterrupted: `interrupt` was called.
        """
        if self._state is not SourceState.LIVE:
            return None
        row = self._rows[self._next] if self._next < len(self._rows) else None
        if row is None or self._playback.over(row.time_s):
            self._state = SourceState.ENDED
            return None
        self._playback.wait(row.time_s)
        picture = next(self._pictures, None)
        if picture is None:
            self._state = SourceState.ENDED
            missing = len(self._rows) - self._next
            self._notes.append(f"The recording broke off: the last {missing} pictures are missing.")
            return None
        np.copyto(out, picture)
        self._next += 1
        return Frame(
            index=row.index,
            time_s=row.time_s,
            device_s=row.device_s,
            host_s=time.perf_counter(),
            gap_before=row.gap_before,
            gap_cause=row.gap_cause,
            image=out,
            flags=row.flags,
        )

    def interrupt(self) -> None:
        """End a wait for the next frame's time."""
        self._playback.interrupt()

    def close(self) -> None:
        """Close the files."""
        container, self._container = self._container, None
        if container is not None:
            container.close()
            self._playback.reset()
        self._state = SourceState.CLOSED

    def _decode(self, path: Path, layout: str) -> Iterator[Image]:
        import av  # noqa: PLC0415 - FFmpeg, loaded only when a recording is played

        try:
            self._container = av.open(str(path))
            stream = self._container.streams.video[0]
        except (OSError, av.FFmpegError, IndexError) as error:
            raise SourceError(
                f"The pictures {path} cannot be read ({error}): copy the recording again."
            ) from error
        stream.codec_context.thread_count = 1

        def pictures() -> Iterator[Image]:
            # The end of a file that was being written when its program was killed is no picture.
            with suppress(av.error.InvalidDataError, EOFError):
                for picture in self._container.decode(stream):
                    yield picture.to_ndarray(format=layout)

        return pictures()


def _rows(path: Path) -> Iterator[_Row]:
    """Rows of `times.csv`; a torn last one is left out."""
    with path.open(newline="", encoding="utf-8") as file:
        for cells in csv.DictReader(line for line in file if line.endswith("\n")):
            yield _Row(
                index=int(cells["index"]),
                time_s=float(cells["time_s"]),
                device_s=float(cells["device_s"]) if cells["device_s"] else None,
                gap_before=int(cells["gap_before"]),
                gap_cause=cells["gap_cause"],
                flags=tuple(cells["flags"].split("|")) if cells["flags"] else (),
            )


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
