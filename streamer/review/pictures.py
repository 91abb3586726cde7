"""Pictures of what a session analysed, frame by frame, and the faces in them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from streamer.alignment.face_mesh import FaceMeshThread, draw_crop
from streamer.errors import SessionError
from streamer.frame import Image
from streamer.line_file import whole_lines
from streamer.recording.layout import TIMES_FILE, VIDEO_FILE
from streamer.sources.image_folder import decode_picture, list_pictures

_QUALITY = 88
_AHEAD = 8  # a picture so close is decoded up to, which is faster than to seek
_OPEN = 2

FrameIndices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the pictures lie that a session analysed."""

    kind: Literal["recording", "video", "folder"]
    path: Path


class Pictures(Protocol):
    """Pictures in any order; for one thread at a time.

    Attributes:
        frames: (N,) indices of the frames that there are pictures of, ascending.
    """

    frames: FrameIndices

    def picture(self, frame: int) -> Image | None:
        """Return a frame's (H, W, 3) BGR picture; None when there is none.

        Raises:
            UserError: It cannot be read.
        """
        ...

    def close(self) -> None:
        """Close the files; may be called more than once."""
        ...


class RecordedPictures:
    """The pictures of a recording.

    Args:
        recording: Folder of the recording.

    Raises:
        SessionError: The recording cannot be read.
    """

    def __init__(self, recording: Path) -> None:
        try:
            self.frames, self._times = _times(recording / TIMES_FILE)
        except (OSError, ValueError, IndexError) as error:
            raise _damaged(recording, error) from error
        self._film = _Film(recording / VIDEO_FILE, slack=1)

    def picture(self, frame: int) -> Image | None:
        """Return a frame's (H, W, 3) BGR picture; None when it was not recorded."""
        place = _place(self.frames, frame)
        if place is None:
            return None
        return self._film.picture(place, round(float(self._times[place]) / self._film.tick_s))

    def close(self) -> None:
        """Close the file."""
        self._film.close()


class VideoPictures:
    """The pictures of a video file, of which every one was analysed.

    Args:
        video: The file.
        frames: Indices of the frames that were analysed.

    Raises:
        SessionError: The file cannot be read, or holds fewer pictures than that.
    """

    def __init__(self, video: Path, frames: FrameIndices) -> None:
        self.frames = frames
        self._film = _Film(video, slack=0)
        self._stamps = self._film.stamps()
        if len(self._stamps) < len(frames):
            raise SessionError(
                f"{video} holds {len(self._stamps)} pictures, fewer than the {len(frames)} that "
                "were analysed: it is not the video of this session any more."
            )

    def picture(self, frame: int) -> Image | None:
        """Return a frame's (H, W, 3) BGR picture; None when it was not analysed."""
        place = _place(self.frames, frame)
        return None if place is None else self._film.picture(place, self._stamps[place])

    def close(self) -> None:
        """Close the file."""
        self._film.close()


class FolderPictures:
    """The pictures of a folder, of which every one was analysed.

    Args:
        folder: The folder.
        frames: Indices of the frames that were analysed.

    Raises:
        UserError: The folder cannot be read, or holds fewer pictures than that.
    """

    def __init__(self, folder: Path, frames: FrameIndices) -> None:
        self.frames = frames
        self._files = list_pictures(folder)
        if len(self._files) < len(frames):
            raise SessionError(
                f"{folder} holds {len(self._files)} pictures, fewer than the {len(frames)} that "
                "were analysed: some were taken away."
            )

    def picture(self, frame: int) -> Image | None:
        """Return a frame's (H, W, 3) BGR picture; None when it was not analysed."""
        place = _place(self.frames, frame)
        return None if place is None else decode_picture(self._files[place], cv2.IMREAD_COLOR)

    def close(self) -> None:
        """Nothing is kept open."""


def open_pictures(origin: Origin, frames: FrameIndices) -> Pictures:
    """Open the pictures of a session.

    Args:
        origin: Where they lie.
        frames: Indices of the frames that were analysed.

    Raises:
        UserError: They cannot be read.
    """
    if origin.kind == "recording":
        return RecordedPictures(origin.path)
    return (VideoPictures if origin.kind == "video" else FolderPictures)(origin.path, frames)


class _Film:
    """A video of which single pictures are decoded.

    Args:
        path: The file.
        slack: Ticks by which a stamp may be wrong.

    Attributes:
        tick_s: Unit of its time stamps in seconds.

    Raises:
        SessionError: It cannot be read.
    """

    def __init__(self, path: Path, slack: int) -> None:
        import av  # noqa: PLC0415 - FFmpeg, loaded only where pictures are wanted

        self._path = path
        # PyAV's own errors are of no common class with the operating system's.
        self._errors = (OSError, ValueError, IndexError, av.FFmpegError)
        self._ends = (av.error.InvalidDataError, EOFError)
        try:
            self._container: Any = av.open(str(path))
            stream: Any = self._container.streams.video[0]
            stream.codec_context.thread_count = 1
        except self._errors as error:
            raise _damaged(path, error) from error
        self._stream = stream
        self.tick_s = float(stream.time_base)
        self._slack = slack
        self._decoded: Iterator[Any] = iter(())
        self._position: int | None = None  # of the picture that was decoded last

    def stamps(self) -> list[int]:
        """Time stamps of every picture, in the order in which they are shown.

        Raises:
            SessionError: The file cannot be read.
        """
        try:
            packets = self._container.demux(self._stream)
            found = [_stamp(each) for each in packets if each.size and not each.is_discard]
        except self._errors as error:
            raise _damaged(self._path, error) from error
        return sorted(stamp for stamp in found if stamp is not None)

    def picture(self, place: int, stamp: int) -> Image | None:
        """Return the (H, W, 3) BGR picture of a time stamp; None when the file ends before it.

        Args:
            place: Its number, to know what lies close to the last one.
            stamp: In ticks.

        Raises:
            SessionError: The file is damaged.
        """
        try:
            if self._position is None or not 0 < place - self._position <= _AHEAD:
                self._container.seek(max(stamp - self._slack, 0), stream=self._stream)
                self._decoded = self._container.decode(self._stream)
            self._position = None
            for picture in self._decoded:
                if picture.pts >= stamp - self._slack:
                    self._position = place
                    image: Image = picture.to_ndarray(format="bgr24")
                    # As OpenCV, which analysed it, turns what a telephone held upright.
                    return np.rot90(image, picture.rotation // 90) if picture.rotation else image
        except self._ends:
            return None  # the file broke off before it, or in it
        except self._errors as error:
            raise _damaged(self._path, error) from error
        return None

    def close(self) -> None:
        """Close the file; may be called more than once."""
        self._decoded = iter(())
        self._container.close()


class PictureShelf:
    """Pictures as JPEG, with those open that were asked for last; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: OrderedDict[Origin, Pictures] = OrderedDict()

    def frames(self, origin: Origin, analysed: FrameIndices) -> FrameIndices:
        """(N,) indices of the frames that there are pictures of.

        Args:
            origin: Where they lie.
            analysed: Indices of the frames that were analysed.

        Raises:
            UserError: They cannot be read.
        """
        with self._lock:
            return self._pictures(origin, analysed).frames

    def jpeg(self, origin: Origin, analysed: FrameIndices, frame: int, width: int) -> bytes | None:
        """Return a picture, at most `width` pixels wide; None when there is none.

        Raises:
            UserError: It cannot be read.
        """
        with self._lock:
            picture = self._pictures(origin, analysed).picture(frame)
        return None if picture is None else _jpeg(_at_most(picture, width))

    def close(self) -> None:
        """Close every file."""
        with self._lock:
            while self._open:
                self._open.popitem()[1].close()

    def _pictures(self, origin: Origin, analysed: FrameIndices) -> Pictures:
        if origin not in self._open:
            self._open[origin] = open_pictures(origin, analysed)
            if len(self._open) > _OPEN:
                self._open.popitem(last=False)[1].close()
        self._open.move_to_end(origin)
        return self._open[origin]


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


def _place(frames: FrameIndices, frame: int) -> int | None:
    place = int(np.searchsorted(frames, frame))
    return place if place < len(frames) and frames[place] == frame else None


def _stamp(packet: Any) -> int | None:
    """When a packet is shown; old containers know only when it is decoded."""
    stamp: int | None = packet.dts if packet.pts is None else packet.pts
    return stamp


def _damaged(path: Path, error: BaseException) -> SessionError:
    return SessionError(
        f"The pictures of {path} cannot be read ({error}): do without them, or copy it again."
    )


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
