"""Pictures of a recording, frame by frame, and the faces in them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from streamer.alignment.face_mesh import FaceMeshThread, draw_crop
from streamer.errors import SessionError
from streamer.frame import Image
from streamer.line_file import whole_lines
from streamer.recording.layout import TIMES_FILE, VIDEO_FILE

_QUALITY = 88
_AHEAD = 8  # a picture so close is decoded up to, which is faster than to seek
_OPEN = 2


class RecordedPictures:
    """The pictures of a recording, in any order; for one thread at a time.

    Args:
        recording: Folder of the recording.

    Attributes:
        frames: (N,) int64 indices of the frames that were recorded, ascending.

    Raises:
        SessionError: The recording cannot be read.
    """

    def __init__(self, recording: Path) -> None:
        import av  # noqa: PLC0415 - FFmpeg, loaded only where pictures are wanted

        self._path = recording
        # PyAV's own errors are of no common class with the operating system's.
        self._errors = (OSError, ValueError, IndexError, av.FFmpegError)
        self._ends = (av.error.InvalidDataError, EOFError)
        try:
            self.frames, self._times = _times(recording / TIMES_FILE)
            self._container: Any = av.open(str(recording / VIDEO_FILE))
            self._stream: Any = self._container.streams.video[0]
            self._stream.codec_context.thread_count = 1
        except self._errors as error:
            raise self._damaged(error) from error
        self._decoded: Iterator[Any] = iter(())
        self._position: int | None = None  # of the picture that was decoded last

    def picture(self, frame: int) -> Image | None:
        """Return a frame's (H, W, 3) BGR picture; None when it was not recorded.

        Raises:
            SessionError: The recording is damaged.
        """
        place = int(np.searchsorted(self.frames, frame))
        if place == len(self.frames) or self.frames[place] != frame:
            return None
        try:
            ticks = round(float(self._times[place]) / float(self._stream.time_base))
            if self._position is None or not 0 < place - self._position <= _AHEAD:
                self._container.seek(max(ticks - 1, 0), stream=self._stream)
                self._decoded = self._container.decode(self._stream)
            self._position = None
            for picture in self._decoded:
                if picture.pts >= ticks - 1:
                    self._position = place
                    image: Image = picture.to_ndarray(format="bgr24")
                    return image
        except self._ends:
            return None  # the recording broke off before it, or in it
        except self._errors as error:
            raise self._damaged(error) from error
        return None

    def close(self) -> None:
        """Close the file; may be called more than once."""
        self._decoded = iter(())
        self._container.close()

    def _damaged(self, error: BaseException) -> SessionError:
        return SessionError(
            f"The recording {self._path} cannot be read ({error}): do without its pictures, or "
            "copy the session again."
        )


class PictureShelf:
    """Pictures of recordings as JPEG, with those open that were asked for last; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: OrderedDict[Path, RecordedPictures] = OrderedDict()

    def frames(self, recording: Path) -> npt.NDArray[np.int64]:
        """(N,) indices of the recorded frames.

        Raises:
            SessionError: The recording cannot be read.
        """
        with self._lock:
            return self._pictures(recording).frames

    def jpeg(self, recording: Path, frame: int, width: int) -> bytes | None:
        """Return a picture, at most `width` pixels wide; None when it was not recorded.

        Raises:
            SessionError: The recording cannot be read.
        """
        with self._lock:
            picture = self._pictures(recording).picture(frame)
        return None if picture is None else _jpeg(_at_most(picture, width))

    def close(self) -> None:
        """Close every file."""
        with self._lock:
            while self._open:
                self._open.popitem()[1].close()

    def _pictures(self, recording: Path) -> RecordedPictures:
        if recording not in self._open:
            self._open[recording] = RecordedPictures(recording)
            if len(self._open) > _OPEN:
                self._open.popitem(last=False)[1].close()
        self._open.move_to_end(recording)
        return self._open[recording]


def faces(recording: Path, frames: Iterable[int]) -> dict[int, bytes]:
    """Cut the face out of pictures of a recording.

    Args:
        recording: Folder of the recording.
        frames: Frame indices.

    Returns:
        Frame to its face, upright and of one size, 192x192, as JPEG. A frame that was not
        recorded or shows no face is missing.

    Raises:
        SessionError: The recording cannot be read.
    """
    cut = {}
    with _face_mesh() as mesh, closing(RecordedPictures(recording)) as pictures:
        for frame in sorted(set(frames)):
            picture = pictures.picture(frame)
            found = None if picture is None else mesh.search(picture, None).result()
            if picture is not None and found is not None:
                cut[frame] = _jpeg(draw_crop(picture, found.alignment))
    return cut


def _times(path: Path) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Frames and their stream times, as they were recorded."""
    lines, _ = whole_lines(path)
    names = lines[0].split(",")
    columns = [names.index(name) for name in ("index", "time_s")]
    rows = [line.split(",") for line in lines[1:]]
    frames, times = ([row[column] for row in rows] for column in columns)
    return np.array(frames, np.int64), np.array(times, np.float64)


def _at_most(picture: Image, width: int) -> Image:
    height, full = picture.shape[:2]
    if full <= width:
        return picture
    size = (width, max(1, round(height * width / full)))
    smaller: Image = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    return smaller


def _jpeg(picture: Image) -> bytes:
    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return data.tobytes()


@contextmanager
def _face_mesh() -> Iterator[FaceMeshThread]:
    mesh = FaceMeshThread()
    mesh.open()
    try:
        yield mesh
    finally:
        mesh.close()
