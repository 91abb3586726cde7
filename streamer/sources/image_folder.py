"""A folder of numbered pictures, as CASME II and SAMM ship their clips.

CAS(ME)³ ships a folder of depth pictures beside each folder of pictures: `color/1.jpg` and
`depth/1.png`, of the same size, 16 bits a pixel in millimetres, 0 where nothing was seen.
"""

from __future__ import annotations

import os
import re
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from streamer.errors import SourceError
from streamer.frame import Depth, Frame, Image
from streamer.sources.base import SourceInfo, SourceOptions, SourceState
from streamer.sources.opencv import quiet_opencv
from streamer.sources.playback import Playback

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"})
_GAP_CAUSE = "missing_file"
_THREADS = 2
_AHEAD = 8
_COLOUR_FOLDER, _DEPTH_FOLDER = "color", "depth"


class ImageFolderSource:
    """Delivers the pictures of a folder in natural order (img2 before img10).

    Where all names are one prefix and a number, a missing number is a lost frame; the usual step
    between numbers counts as 1, so every tenth frame of a recording is a steady sequence.
    Pictures are decoded ahead on two threads, because OpenCV's decoders release the GIL.

    Args:
        spec: Path of the folder.
        options: `fps` is required; `duration_s`, `realtime` and `depth` are followed.
    """

    kind = "folder"

    def __init__(self, spec: str, options: SourceOptions) -> None:
        self._path = Path(spec)
        self._options = options
        self._playback = Playback(options)
        self._state = SourceState.CLOSED
        self._pool: ThreadPoolExecutor | None = None
        self._without_depth = 0

    @staticmethod
    def matches(spec: str) -> bool:
        """An existing folder."""
        return os.path.isdir(spec)

    @property
    def state(self) -> SourceState:
        """What the source is doing now."""
        return self._state

    @property
    def counters(self) -> Mapping[str, int]:
        """Pictures without a depth picture, where there are others with one."""
        return {"missing_depth": self._without_depth} if self._without_depth else {}

    def open(self) -> SourceInfo:
        """List the folder and look into the header of every picture.

        Raises:
            SourceError: No rate was asked for, or the folder is missing, forbidden, without
                pictures, with pictures of several sizes or with unreadable ones, or the depth
                pictures do not belong to the others.
        """
        self.close()
        fps = self._options.fps
        if fps is None:
            raise SourceError(
                f"A folder of pictures has no frame rate of its own: give that of {self._path} "
                "with --fps, for example --fps 200."
            )
        quiet_opencv()
        self._pictures = list_pictures(self._path)
        self._flags = cv2.IMREAD_GRAYSCALE if _same_size(self._pictures) else cv2.IMREAD_COLOR
        first = decode_picture(self._pictures[0], self._flags)
        self._shape = first.shape
        self._fps = fps
        self._depth_of = _depth_pictures(self._path) if self._options.depth else {}
        self._without_depth = 0
        for depth in list(self._depth_of.values())[:1]:
            decode_depth(depth, first.shape[:2])

        gaps = _gaps([picture.stem for picture in self._pictures])
        notes = []
        if gaps is None:
            gaps = [0] * len(self._pictures)
            notes.append(
                "The pictures' names are not one prefix with a number, so that missing pictures "
                "cannot be noticed."
            )
        height, width = first.shape[:2]
        notes += self._playback.size_notes(width, height)
        indices = np.cumsum([1 + gap for gap in gaps]) - 1
        frames = sum(not self._playback.over(index / fps) for index in indices.tolist())
        self._sequence = iter(list(zip(self._pictures, gaps, strict=True))[:frames])
        self._index = -1
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="glint-folder")
        self._ahead: deque[tuple[Path, int, Future[tuple[Image, Depth | None]]]] = deque()
        self._state = SourceState.LIVE
        return SourceInfo(
            name=str(self._path),
            kind=self.kind,
            width=width,
            height=height,
            channels=3 if first.ndim == 3 else 1,
            fps_asked=fps,
            fps_nominal=fps,
            live=False,
            frames=frames,
            device_clock=False,
            notes=tuple(notes),
            depth=bool(self._depth_of),
        )

    def read(self, out: Image) -> Frame | None:
        """Copy the next picture into `out`; see `FrameSource.read`.

        Raises:
            SourceError: A picture cannot be decoded.
            SourceInterrupted: `interrupt` was called.
        """
        if self._pool is None or self._state is SourceState.ENDED:
            return None
        while len(self._ahead) < _AHEAD and (item := next(self._sequence, None)) is not None:
            picture, gap = item
            future = self._pool.submit(self._decode, picture)
            self._ahead.append((picture, gap, future))
        if not self._ahead:
            self._state = SourceState.ENDED
            return None

        picture, gap, future = self._ahead.popleft()
        self._index += 1 + gap
        time_s = self._index / self._fps
        self._playback.wait(time_s)
        image, depth = future.result()
        if image.shape != self._shape:
            raise _several_sizes(self._path, self._pictures[0], picture)
        np.copyto(out, image)
        self._without_depth += depth is None and bool(self._depth_of)
        return Frame(
            index=self._index,
            time_s=time_s,
            device_s=None,
            host_s=time.perf_counter(),
            gap_before=gap,
            gap_cause=_GAP_CAUSE if gap else "",
            image=out,
            depth=depth,
        )

    def interrupt(self) -> None:
        """End a wait for the next frame's time."""
        self._playback.interrupt()

    def close(self) -> None:
        """Stop decoding; at most the pictures being decoded are waited for."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None
            self._ahead.clear()
            self._playback.reset()
        self._state = SourceState.CLOSED

    def _decode(self, picture: Path) -> tuple[Image, Depth | None]:
        """A picture and its depth picture; on a thread of the pool."""
        image, depth = decode_picture(picture, self._flags), self._depth_of.get(picture.stem)
        return image, None if depth is None else decode_depth(depth, image.shape[:2])


def list_pictures(folder: Path) -> list[Path]:
    """Return the pictures of a folder in natural order.

    Raises:
        SourceError: The folder is missing, forbidden, or without pictures.
    """
    try:
        # Names that start with a dot are the file system's (macOS leaves ._img001.jpg).
        pictures = [
            entry
            for entry in folder.iterdir()
            if entry.suffix.lower() in PICTURE_SUFFIXES and not entry.name.startswith(".")
        ]
    except FileNotFoundError as error:
        raise SourceError(f"{folder} does not exist: check the path.") from error
    except OSError as error:
        raise SourceError(
            f"{folder} cannot be listed ({error.strerror}): check that it is a folder "
            "and that you may read it."
        ) from error
    if not pictures:
        raise SourceError(
            f"{folder} holds no pictures (jpg, png, bmp, tif): "
            "give the folder that holds them directly."
        )
    return sorted(pictures, key=lambda picture: _natural(picture.name))


def _natural(name: str) -> tuple[tuple[int | str, ...], str]:
    """Sorting key that compares the numbers within names as numbers."""
    # Splitting by a group puts text at even and digits at odd places, so like meets like.
    parts = re.split(r"([0-9]+)", name.lower())
    return tuple(int(part) if i % 2 else part for i, part in enumerate(parts)), name


def _gaps(stems: Sequence[str]) -> list[int] | None:
    """Pictures missing before each one, by their numbers; None when names tell nothing."""
    matches = [re.fullmatch(r"(.*?)([0-9]+)", stem) for stem in stems]
    if len({match.group(1) if match else None for match in matches}) != 1 or None in matches:
        return None
    numbers = [int(match.group(2)) for match in matches if match]
    steps = [b - a for a, b in pairwise(numbers)]
    if not steps:
        return [0]
    if min(steps) < 1:
        return None
    usual = Counter(steps).most_common(1)[0][0]
    return [0, *(max(round(step / usual) - 1, 0) for step in steps)]


def _same_size(pictures: Sequence[Path]) -> bool:
    """Check the headers of all pictures; True when all are gray.

    Raises:
        SourceError: A header is unreadable, or sizes differ.
    """
    from PIL import Image as PillowImage  # noqa: PLC0415 - only folders need it

    def headers() -> Iterator[tuple[Path, tuple[int, int], str]]:
        for picture in pictures:
            try:
                with PillowImage.open(picture) as header:
                    yield picture, header.size, header.mode
            except (OSError, PillowImage.DecompressionBombError) as error:
                raise _unreadable(picture) from error

    size: tuple[int, int] | None = None
    gray = True
    for picture, its_size, mode in headers():
        size = size or its_size
        if its_size != size:
            raise _several_sizes(picture.parent, pictures[0], picture)
        gray = gray and (mode in {"1", "L", "LA", "F"} or mode.startswith("I"))
    return gray


def decode_picture(picture: Path, flags: int) -> npt.NDArray[Any]:
    """Decode a picture file.

    Args:
        picture: The file.
        flags: OpenCV's `IMREAD_COLOR`, `IMREAD_GRAYSCALE` or `IMREAD_UNCHANGED`.

    Returns:
        (H, W, 3) BGR or (H, W) gray, uint8 unless unchanged.

    Raises:
        SourceError: It cannot be read, or is cut off.
    """
    try:
        data = picture.read_bytes()
    except OSError as error:
        raise _unreadable(picture) from error
    # A cut-off JPEG decodes to a picture with a gray rest, which would pass for motion.
    whole = picture.suffix.lower() not in {".jpg", ".jpeg"} or b"\xff\xd9" in data[-4096:]
    # Decoded from memory because OpenCV cannot open every path that Windows can name.
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data and whole else None
    except cv2.error:
        image = None
    if image is None:
        raise _unreadable(picture)
    return np.asarray(image)


def decode_depth(picture: Path, size: tuple[int, ...]) -> Depth:
    """Decode a depth picture.

    Args:
        picture: The file.
        size: (height, width) of the picture that it belongs to.

    Returns:
        (H, W) uint16 millimetres.

    Raises:
        SourceError: It cannot be read, or is no depth picture of this size.
    """
    depth = decode_picture(picture, cv2.IMREAD_UNCHANGED)
    if depth.dtype != np.uint16 or depth.shape != size:
        kind = f"{depth.shape[1]}x{depth.shape[0]} pixels of {8 * depth.dtype.itemsize} bits"
        raise SourceError(
            f"{picture} has {kind} where {size[1]}x{size[0]} of 16 are needed, one channel in "
            "millimetres: export depth aligned to colour, or take the folder away."
        )
    return depth.view(np.uint16)


def _depth_pictures(folder: Path) -> dict[str, Path]:
    """The depth pictures that lie beside a folder of pictures, by their names without suffix."""
    beside = folder.resolve().parent / _DEPTH_FOLDER
    if folder.resolve().name.lower() != _COLOUR_FOLDER or not beside.is_dir():
        return {}
    return {picture.stem: picture for picture in list_pictures(beside)}


def _unreadable(picture: Path) -> SourceError:
    return SourceError(
        f"{picture} cannot be read as a picture: copy it again or take it out of the folder."
    )


def _several_sizes(folder: Path, one: Path, other: Path) -> SourceError:
    return SourceError(
        f"{folder} holds pictures of several sizes ({one.name} and {other.name}): "
        "give a folder with one recording in it."
    )
