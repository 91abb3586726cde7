"""What is drawn onto the live picture: the face, its motion, and the event in course.

Everything is drawn onto the very frame that it was measured in, as far as a viewer wants it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import cv2
import numpy as np
import numpy.typing as npt

from engines.events import Event, EventState
from streamer.alignment.landmarks import LEFT_EYE_OUTER, OUTLINE, RIGHT_EYE_OUTER
from streamer.frame import Image
from streamer.sinks.base import FrameRecord

MAGNIFICATION = 12.0
"""Motion arrows are this many times longer than the motion."""

LABEL_S = 2.0
"""How long the label of a closed event stays, in seconds of stream time."""

# Landmarks of Face Mesh, all of them in OUTLINE, around which a region's arrow starts.
_ANCHORS: dict[str, tuple[int, ...]] = {
    "right_brow_inner": (55, 107, 65, 66),
    "right_brow_outer": (46, 70, 53, 63),
    "left_brow_inner": (285, 336, 295, 296),
    "left_brow_outer": (276, 300, 283, 293),
    "right_eyelid": (158, 159, 160),
    "left_eyelid": (385, 386, 387),
    "right_cheek": (145, 98, 61, 132),
    "left_cheek": (374, 327, 291, 361),
    "right_nose_wing": (98,),
    "left_nose_wing": (327,),
    "upper_lip": (0, 37, 267),
    "lower_lip": (17, 84, 314),
    "right_mouth_corner": (61,),
    "left_mouth_corner": (291,),
    "chin": (17, 152),
}
_ROWS = {landmark: row for row, landmark in enumerate(OUTLINE)}
_SHORTEST = 0.004  # inter-ocular distances; below this an arrow would show noise

_HOTTEST = 0.05  # inter-ocular distances; the motion that is drawn hottest
_HEAT_SHRINK = 4
_REACH = 0.16  # radius of a region's heat, in distances of the outer eye corners

MotionLayer = Literal["off", "arrows", "heat"]

_Colour = tuple[int, int, int]  # BGR
_FACE: _Colour = (235, 206, 135)
_MOTION: _Colour = (80, 220, 255)
_TEXT: _Colour = (245, 245, 245)
_PLATE: _Colour = (32, 26, 22)
_FONT = cv2.FONT_HERSHEY_DUPLEX
_SUBPIXEL_BITS = 4


@dataclass(frozen=True, slots=True)
class Layers:
    """What a viewer wants to see over the picture.

    Attributes:
        box: The corners of the face box.
        landmarks: The tracked landmarks.
        motion: The regions' motion.
    """

    box: bool = True
    landmarks: bool = True
    motion: MotionLayer = "arrows"

    @classmethod
    def parse(cls, text: str | None) -> Layers:
        """Return the layers that a comma-separated list names; others are passed over.

        Args:
            text: Such as `box,landmarks,heat`; empty for none, None for the default ones.
        """
        if text is None:
            return cls()
        named = set(text.split(","))
        motion = next((name for name in get_args(MotionLayer) if name in named), "off")
        return cls("box" in named, "landmarks" in named, cast(MotionLayer, motion))


def draw(
    image: Image,
    record: FrameRecord,
    region_names: Sequence[str],
    events: Sequence[Event],
    max_width: int = 960,
    layers: Layers | None = None,
) -> Image:
    """Return the picture of a frame with what was measured in it.

    Args:
        image: (H, W, 3) BGR or (H, W) gray picture of the frame `record.index`; not changed.
        record: What was measured in it.
        region_names: Names of the rows of `record.motion`.
        events: Detections, newest first.
        max_width: Wider pictures are scaled down to it.
        layers: What to draw; None for the default.

    Returns:
        (h, w, 3) uint8 BGR.
    """
    layers = layers or Layers()
    scale = min(1.0, max_width / image.shape[1])
    canvas: Any = image if image.ndim == 3 else cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    if scale < 1.0:
        canvas = cv2.resize(canvas, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    elif canvas is image:
        canvas = image.copy()
    if record.box is not None and layers.box:
        _brackets(canvas, np.array(record.box, np.float64) * scale)
    if record.landmarks is not None and len(record.landmarks) == len(OUTLINE):
        points = record.landmarks * np.float32(scale)
        if record.success and layers.motion == "heat":
            _heat(canvas, points, record.motion, region_names)
        if layers.landmarks:
            for x, y in points:
                cv2.circle(canvas, _fixed(x, y), 12, _FACE, -1, cv2.LINE_AA, _SUBPIXEL_BITS)
        if record.success and layers.motion == "arrows":
            _arrows(canvas, points, record.motion, region_names)
    label = event_label(events, record.time_s)
    if label:
        _plate(canvas, label, bottom=False)
    _plate(canvas, f"{record.time_s:.2f} s   frame {record.index}", bottom=True)
    return np.asarray(canvas, np.uint8)


def slate(width: int, height: int, text: str) -> Image:
    """Return a dark picture with a line of text, shown when there is nothing to see."""
    canvas = np.full((height, width, 3), _PLATE, np.uint8)
    (across, _), _ = cv2.getTextSize(text, _FONT, 0.7, 1)
    at = ((width - across) // 2, height // 2)
    cv2.putText(canvas, text, at, _FONT, 0.7, (170, 165, 160), 1, cv2.LINE_AA)
    return canvas


def stale(picture: Image, text: str) -> Image:
    """Return a picture darkened, with a line that says that it is not live."""
    canvas: Any = cv2.convertScaleAbs(picture, alpha=0.35)
    _plate(canvas, text, bottom=False)
    return np.asarray(canvas, np.uint8)


def event_label(events: Sequence[Event], time_s: float) -> str:
    """Describe the event in course at a time, or one that has just closed; else return `""`.

    Args:
        events: Detections, newest first.
        time_s: Stream time of the picture.
    """
    for event in events:
        if event.onset_s > time_s:
            continue
        if event.state in (EventState.TENTATIVE, EventState.CONFIRMED):
            named = f"  {emotion_text(event)}" if event.emotion else ""
            return f"{event.state.value}  #{event.id}{named}"
        if event.decided_s is not None and time_s - event.decided_s <= LABEL_S:
            kind = event.kind.value if event.kind else "event"
            return f"{kind}  #{event.id}  {emotion_text(event)}"
    return ""


def emotion_text(event: Event) -> str:
    """Return the emotion with its probability, for a picture's label."""
    if event.emotion is None:
        return "no emotion"
    probability = (event.probabilities or {}).get(event.emotion)
    return event.emotion if probability is None else f"{event.emotion} {probability:.0%}"


def _arrows(
    canvas: Image,
    points: npt.NDArray[np.float32],
    motion: npt.NDArray[np.float32],
    region_names: Sequence[str],
) -> None:
    """Draw each region's motion, turned from the upright canonical face into the picture."""
    across = points[_ROWS[LEFT_EYE_OUTER]] - points[_ROWS[RIGHT_EYE_OUTER]]
    turn = np.array([[across[0], -across[1]], [across[1], across[0]]])  # scales by its length too
    for name, moved in zip(region_names, motion, strict=False):
        anchors = _ANCHORS.get(name)
        if anchors is None or not math.hypot(*moved) >= _SHORTEST:
            continue
        start = points[[_ROWS[landmark] for landmark in anchors]].mean(axis=0)
        end = start + turn @ moved * MAGNIFICATION
        cv2.arrowedLine(
            canvas, _fixed(*start), _fixed(*end), _MOTION, 2, cv2.LINE_AA, _SUBPIXEL_BITS, 0.3
        )


def _heat(
    canvas: Image,
    points: npt.NDArray[np.float32],
    motion: npt.NDArray[np.float32],
    region_names: Sequence[str],
) -> None:
    """Shade each region by how far it has moved."""
    across = float(np.hypot(*(points[_ROWS[LEFT_EYE_OUTER]] - points[_ROWS[RIGHT_EYE_OUTER]])))
    radius = max(round(_REACH * across), _HEAT_SHRINK)
    left, top = np.maximum(points.min(axis=0).astype(int) - 2 * radius, 0)
    right, bottom = np.maximum(points.max(axis=0).astype(int) + 2 * radius, 0)
    face = canvas[top:bottom, left:right]
    if not face.size:
        return
    height, width = face.shape[:2]
    heat = np.zeros((height // _HEAT_SHRINK + 1, width // _HEAT_SHRINK + 1), np.uint8)
    for name, moved in zip(region_names, motion, strict=False):
        anchors = _ANCHORS.get(name)
        distance = math.hypot(*moved)
        if anchors is None or not distance >= _SHORTEST:
            continue
        x, y = (points[[_ROWS[row] for row in anchors]].mean(axis=0) - (left, top)) / _HEAT_SHRINK
        level = round(255 * min(distance / _HOTTEST, 1.0))
        spot = np.zeros_like(heat)
        cv2.circle(spot, (round(float(x)), round(float(y))), radius // _HEAT_SHRINK, (level,), -1)
        np.maximum(heat, spot, out=heat)
    soft = cv2.blur(cv2.blur(heat, (9, 9)), (9, 9))
    large = cv2.resize(soft, (width, height), interpolation=cv2.INTER_LINEAR)
    share = (large.astype(np.float32) * (0.75 / 255.0))[..., np.newaxis]
    colours = cv2.applyColorMap(large, cv2.COLORMAP_INFERNO)
    face[:] = (face * (1 - share) + colours * share).astype(np.uint8)


def _brackets(canvas: Image, box: npt.NDArray[np.float64]) -> None:
    """Draw the corners of the face box."""
    x, y, width, height = box
    arm = 0.14 * min(width, height)
    for left, toward in ((x, arm), (x + width, -arm)):
        for top, down in ((y, arm), (y + height, -arm)):
            for end in ((left + toward, top), (left, top + down)):
                start = _fixed(left, top)
                cv2.line(canvas, start, _fixed(*end), _FACE, 2, cv2.LINE_AA, _SUBPIXEL_BITS)


def _plate(canvas: Image, text: str, *, bottom: bool) -> None:
    """Write a line on a dark plate in the upper or lower left corner."""
    height, width = canvas.shape[:2]
    size = max(0.4, min(width, 960) / (1300 if bottom else 1000))
    (across, up), below = cv2.getTextSize(text, _FONT, size, 1)
    pad = up // 2 + 2
    left = pad
    top = height - pad - up - below - 2 * pad if bottom else pad
    right, base = min(width, left + across + 2 * pad), top + up + below + 2 * pad
    plate = canvas[top:base, left:right]
    plate[:] = plate // 4 + (np.array(_PLATE, np.uint8) // 2)
    at = (left + pad, top + pad + up)
    cv2.putText(canvas, text, at, _FONT, size, _TEXT, 1, cv2.LINE_AA)


def _fixed(x: float, y: float) -> tuple[int, int]:
    """Return a position as OpenCV's fixed-point numbers, within what they can hold."""
    limit = 32_000.0
    factor = 1 << _SUBPIXEL_BITS
    return (
        round(factor * min(max(float(x), -limit), limit)),
        round(factor * min(max(float(y), -limit), limit)),
    )
