"""A video file, decoded by FFmpeg through OpenCV."""

from __future__ import annotations

import math
import os
import time
from itertools import pairwise
from pathlib import Path

import cv2

from streamer.errors import SourceError
from streamer.frame import Frame, Image
from streamer.sources.base import SourceInfo, SourceOptions, SourceState
from streamer.sources.clock import Cadence, StreamClock
from streamer.sources.opencv import (
    Capture,
    announced_fps,
    picture_size,
    quiet_opencv,
    stamp_s,
)
from streamer.sources.playback import Playback

_PROBED_FRAMES = 32
_GAP_CAUSE = "source_timestamp_gap"


class VideoFileSource:
    """Delivers every frame of a video file, at the times that its container states.

    A jump of the container's timestamps counts as lost frames when the file has a steady rate
    (`Cadence`); in a file with a variable rate the times alone carry the rhythm. Containers whose
    timestamps stand still or go backwards from the start are timed by index and rate instead.
    `SourceOptions.fps` replaces the container's rate, for high-speed recordings stored at 25 fps.

    OpenCV does not tell when the picture size changes within a file that was joined from several
    recordings; such joints show as timestamps that start anew, which becomes a note.

    Args:
        spec: Path of the file.
        options: `fps`, `duration_s` and `realtime` are followed.
    """

    kind = "video"

    def __init__(self, spec: str, options: SourceOptions) -> None:
        self._path = Path(spec)
        self._options = options
        self._playback = Playback(options)
        self._state = SourceState.CLOSED
        self._capture: Capture | None = None
        self._notes: list[str] = []

    @staticmethod
    def matches(spec: str) -> bool:
        """An existing path that is no folder."""
        return os.path.exists(spec) and not os.path.isdir(spec)

    @property
    def state(self) -> SourceState:
        """What the source is doing now."""
        return self._state

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user must be told, with what was learnt since `open`."""
        return tuple(self._notes)

    def open(self) -> SourceInfo:
        """Open the file, after a look at the timestamps of its first frames.

        Raises:
            SourceError: It is missing, empty, forbidden, no video, or has no frame.
        """
        self.close()
        self._check_path()
        stamps = self._probe()
        intervals = [b - a for a, b in pairwise(stamps)]
        self._use_stamps = bool(intervals) and min(intervals) > 0.0
        cadence = Cadence(intervals if self._use_stamps else ())

        capture = self._open_capture()
        try:
            self._describe(capture, cadence)
        except BaseException:
            capture.release()
            raise
        self._capture = capture
        self._clock = StreamClock(cadence)
        self._index = -1
        self._frames_read = 0
        self._time_s = 0.0
        self._state = SourceState.LIVE
        return self._info

    def read(self, out: Image) -> Frame | None:
        """Decode the next frame into `out`; see `FrameSource.read`.

        Raises:
            SourceError: The file breaks off well before its announced end (raised once, after
                its last readable frame), or a picture cannot be decoded or has another size.
            SourceInterrupted: `interrupt` was called.
        """
        capture = self._capture
        if capture is None or self._state is SourceState.ENDED:
            return None
        if not capture.grab():
            self._state = SourceState.ENDED
            self._check_end()
            return None

        stamp = stamp_s(capture) if self._use_stamps else None
        tick = self._clock.tick(stamp, self._period_s)
        if not tick.trusted:
            self._note_once(
                "The container's timestamps start anew within the file, which is probably joined "
                "from several recordings; time goes on at the nominal rate there."
            )
        self._index += 1 + tick.missing
        self._frames_read += 1
        self._time_s = tick.time_s
        time_s = tick.time_s if self._rate is None else self._index / self._rate
        if self._playback.over(time_s):
            self._state = SourceState.ENDED
            return None
        self._playback.wait(time_s)

        decoded, image = capture.retrieve(out)
        if not decoded:
            raise SourceError(
                f"The picture at {time_s:.3f} s of {self._path} cannot be decoded: "
                "export the video again."
            )
        if image is not out:
            raise SourceError(
                f"The picture size of {self._path} changes at {time_s:.3f} s: "
                "split the video there and analyse the parts one by one."
            )
        return Frame(
            index=self._index,
            time_s=time_s,
            device_s=stamp if tick.trusted else None,
            host_s=time.perf_counter(),
            gap_before=tick.missing,
            gap_cause=_GAP_CAUSE if tick.missing else "",
            image=out,
        )

    def interrupt(self) -> None:
        """End a wait for the next frame's time."""
        self._playback.interrupt()

    def close(self) -> None:
        """Close the file."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None
            self._playback.reset()
        self._state = SourceState.CLOSED

    def _check_path(self) -> None:
        path = self._path
        if not path.exists():
            raise SourceError(f"{path} does not exist: check the path.")
        if path.is_dir():
            raise SourceError(f"{path} is a folder, not a video: give the video file in it.")
        if not path.is_file():
            raise SourceError(f"{path} is not a file: give a video file.")
        try:
            with path.open("rb") as file:
                empty = not file.read(1)
        except OSError as error:
            raise SourceError(
                f"{path} cannot be read ({error.strerror}): check its permissions."
            ) from error
        if empty:
            raise SourceError(f"{path} is empty: copy or export the video again.")

    def _open_capture(self) -> Capture:
        quiet_opencv()
        capture = cv2.VideoCapture(str(self._path), cv2.CAP_FFMPEG)
        if not capture.isOpened():
            raise SourceError(
                f"{self._path} is not a video that can be read, or its index is cut off: "
                "play it in a video player to check it, then copy or export it again."
            )
        return capture

    def _probe(self) -> list[float]:
        """Timestamps of the first frames.

        Read ahead with a capture of its own, because seeking back is not exact in every format.
        """
        capture = self._open_capture()
        try:
            stamps: list[float] = []
            while len(stamps) < _PROBED_FRAMES and capture.grab():
                stamps.append(stamp_s(capture))
        finally:
            capture.release()
        if not stamps:
            raise SourceError(
                f"{self._path} has no readable frame: copy or export the video again."
            )
        return stamps

    def _describe(self, capture: Capture, cadence: Cadence) -> None:
        asked = self._options.fps
        stated = announced_fps(capture)
        period = cadence.period_s
        if period is not None:
            # A container with lost frames states the mean over what is left.
            steady = 1.0 / period
            near = stated is not None and math.isclose(stated, steady, rel_tol=2e-3)
            own = stated if stated is not None and near else round(steady, 3)
        elif stated is not None:
            own = stated
        elif asked is not None:
            own = asked
        else:
            raise SourceError(
                f"{self._path} states neither a frame rate nor times: give its rate with --fps."
            )
        self._period_s = 1.0 / own
        # None: times come from the container.
        self._rate = asked if asked is not None else None if self._use_stamps else own
        nominal = asked if asked is not None else own

        count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self._announced = count if count > 0 else None
        self._announced_s = count / stated if count > 0 and stated is not None else None

        width, height = picture_size(capture)
        self._notes = []
        if asked is not None and not math.isclose(asked, own, rel_tol=1e-3):
            self._notes.append(
                f"The file states {own:g} fps; its times are those of {asked:g} fps, as asked."
            )
        elif not self._use_stamps and count != 1:
            self._notes.append(
                f"The file's timestamps do not advance; its times are counted at {own:g} fps."
            )
        elif self._use_stamps and period is None and count > _PROBED_FRAMES // 2:
            self._notes.append(
                "The file's frame rate varies; its times are those of the container, and lost "
                "frames cannot be told from it."
            )
        self._notes += self._playback.size_notes(width, height)
        self._info = SourceInfo(
            name=str(self._path),
            kind=self.kind,
            width=width,
            height=height,
            channels=3,
            fps_asked=asked,
            fps_nominal=nominal,
            live=False,
            frames=self._playback.limit(self._announced, nominal),
            device_clock=self._use_stamps,
            notes=tuple(self._notes),
        )

    def _check_end(self) -> None:
        """Tell a file that breaks off from one whose container counts a little differently.

        Edit lists, rounded durations and a longer sound track make up to half a second (or two
        per cent) of honest difference; that much becomes a note.
        """
        if self._announced is None or self._announced_s is None:
            return
        covered_s = self._time_s + self._period_s
        short_s = self._announced_s - covered_s
        if short_s > max(0.5, 0.02 * self._announced_s):
            raise SourceError(
                f"{self._path} breaks off at {covered_s:.2f} s of {self._announced_s:.2f} s, "
                f"{self._frames_read} of {self._announced} announced frames could be read and "
                "were delivered: copy or export the video again to have the rest."
            )
        if short_s > 1.5 * self._period_s:
            self._note_once(
                f"The file announces {self._announced} frames and holds {self._frames_read}."
            )

    def _note_once(self, note: str) -> None:
        if note not in self._notes:
            self._notes.append(note)
