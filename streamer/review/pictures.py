"""Faces at chosen frames of a recording."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2

from streamer.alignment.face_mesh import FaceMeshThread, draw_crop
from streamer.errors import SessionError
from streamer.frame import Image
from streamer.recording.layout import TIMES_FILE, VIDEO_FILE

_QUALITY = 88


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
    with _face_mesh() as mesh:
        for frame, picture in _pictures(recording, frames):
            found = mesh.search(picture, None).result()
            if found is not None:
                _, data = cv2.imencode(
                    ".jpg",
                    draw_crop(picture, found.alignment),
                    [cv2.IMWRITE_JPEG_QUALITY, _QUALITY],
                )
                cut[frame] = data.tobytes()
    return cut


def _pictures(recording: Path, frames: Iterable[int]) -> Iterator[tuple[int, Image]]:
    """Frame and (H, W, 3) BGR picture, in order; each is sought, not decoded up to."""
    import av  # noqa: PLC0415 - FFmpeg, loaded only where pictures are wanted

    try:
        times = _times(recording / TIMES_FILE)
        with av.open(str(recording / VIDEO_FILE)) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            for frame in sorted(set(frames) & times.keys()):
                ticks = round(times[frame] / float(stream.time_base))
                container.seek(max(ticks - 1, 0), stream=stream)
                for picture in container.decode(stream):
                    if picture.pts >= ticks - 1:
                        yield frame, picture.to_ndarray(format="bgr24")
                        break
    except (OSError, KeyError, ValueError, IndexError, av.FFmpegError) as error:
        raise SessionError(
            f"The recording {recording} cannot be read ({error}): leave --faces away, or copy the "
            "session again."
        ) from error


def _times(path: Path) -> dict[int, float]:
    """Frame to its stream time, as it was recorded."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(line for line in file if line.endswith("\n"))
        return {int(row["index"]): float(row["time_s"]) for row in rows}


@contextmanager
def _face_mesh() -> Iterator[FaceMeshThread]:
    mesh = FaceMeshThread()
    mesh.open()
    try:
        yield mesh
    finally:
        mesh.close()
