"""Small pictures of the face at each apex, for the list of detections. They live in memory only."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from engines.events import Event, EventState
from streamer.explanation import explanation_overlay
from streamer.frame import Image

MAX_PICTURES = 200
"""The newest ones are kept; one is about 6 kB."""

SIZE = 144
"""Edge of a picture in pixels."""

_MARGIN = 0.12
_OPTIONS = [cv2.IMWRITE_JPEG_QUALITY, 85]

Box = tuple[float, float, float, float]
PictureOf = Callable[[int], Image | None]
"""Returns the picture of a frame, or None when it is gone."""


class ApexPictures:
    """Takes the picture of an apex out of the rings when its event is confirmed.

    That happens on the thread that tells the sinks, which may be late by seconds: what has left
    the capture ring by then is taken from the ring of aligned faces, gray.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._picture_of: PictureOf = _nothing
        self._face_of: PictureOf = _nothing
        self._pictures: dict[int, tuple[int, bytes]] = {}  # event → apex frame, JPEG
        self._explained: dict[int, bytes] = {}
        self._wanted = True

    @property
    def wanted(self) -> bool:
        """Whether pictures are taken. Switching it off forgets those that were."""
        return self._wanted

    @wanted.setter
    def wanted(self, wanted: bool) -> None:
        with self._lock:
            self._wanted = wanted
            if not wanted:
                self._pictures.clear()
                self._explained.clear()

    def take_from(self, picture_of: PictureOf, face_of: PictureOf) -> None:
        """Set where the picture and the aligned face of a frame come from."""
        self._picture_of, self._face_of = picture_of, face_of

    def take(self, event: Event, box: Box | None) -> None:
        """Keep the face at the apex of an event, as far as the picture is still there.

        Args:
            event: An event that has just changed its state.
            box: Where the face is, (x, y, width, height) in pixels; None where it is not known.
        """
        if event.state is EventState.WITHDRAWN:
            with self._lock:
                self._pictures.pop(event.id, None)
            return
        self._explain(event)
        known = self._pictures.get(event.id)
        if (
            not self._wanted
            or event.state is EventState.TENTATIVE
            or (known is not None and known[0] == event.apex_frame)
        ):
            return
        picture = None if box is None else self._picture_of(event.apex_frame)
        if picture is not None and box is not None:
            face: Image | None = _around(picture, box)
        else:
            face = self._face_of(event.apex_frame)
        jpeg = None if face is None or not face.size else _small_jpeg(face)
        with self._lock:
            if self._wanted and jpeg is not None:
                self._pictures[event.id] = (event.apex_frame, jpeg)
                while len(self._pictures) > MAX_PICTURES:
                    del self._pictures[next(iter(self._pictures))]

    def _explain(self, event: Event) -> None:
        """Keep the aligned face at the apex with what carried the answer."""
        if not self._wanted or event.explanation is None:
            return
        face = self._face_of(event.apex_frame)
        if face is None:
            return
        jpeg = _small_jpeg(explanation_overlay(face, event.explanation))
        with self._lock:
            if self._wanted:
                self._explained[event.id] = jpeg
                while len(self._explained) > MAX_PICTURES:
                    del self._explained[next(iter(self._explained))]

    def has(self, event: int) -> bool:
        """Whether there is a picture of an event."""
        return event in self._pictures

    def explains(self, event: int) -> bool:
        """Whether there is a picture of what carried the answer to an event."""
        return event in self._explained

    def jpeg(self, event: int) -> bytes | None:
        """Return the picture of an event as JPEG; None when there is none."""
        known = self._pictures.get(event)
        return None if known is None else known[1]

    def explained_jpeg(self, event: int) -> bytes | None:
        """Return what carried the answer to an event, on its face; None when it is not known."""
        return self._explained.get(event)

    def clear(self) -> None:
        """Forget all of them."""
        with self._lock:
            self._pictures.clear()
            self._explained.clear()


def _nothing(index: int) -> None:
    """Nowhere to take pictures from."""


def _around(picture: Image, box: Box) -> Image:
    """Return the square around a face; empty for a face outside the picture."""
    x, y, width, height = box
    half = max(width, height) * (0.5 + _MARGIN)
    rows = _within(y + height / 2, half, picture.shape[0])
    columns = _within(x + width / 2, half, picture.shape[1])
    return picture[rows, columns]


def _small_jpeg(face: Image) -> bytes:
    scale = SIZE / max(face.shape[:2])
    small: Any = cv2.resize(face, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.imencode(".jpg", small, _OPTIONS)[1]).tobytes()


def _within(middle: float, half: float, limit: int) -> slice:
    return slice(min(max(round(middle - half), 0), limit), min(max(round(middle + half), 0), limit))
