"""What is drawn onto the live picture: the face, its motion, and the event in course.

Everything is drawn onto the very frame that it was measured in, as far as a viewer wants it.
"""

from __future__ import annotations

import functools
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
_TIP = 0.3  # of an arrow's length
_LEFT_WING = math.sqrt(0.5) * np.array([[1.0, -1.0], [1.0, 1.0]])
_RIGHT_WING = _LEFT_WING.T


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
            _lines(canvas, np.stack([points, points], axis=1), _FACE)  # dots
        if record.success and layers.motion == "arrows":
            _arrows(canvas, points, record.motion, region_names)
    state = "" if record.success else f"{record.state}  no face is measured"
    label = event_label(events, record.time_s) or state
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
    starts, moved = _moving(points, motion, region_names)
    if not len(starts):
        return
    ends = starts + moved @ turn.T * MAGNIFICATION
    back = _TIP * (starts - ends)
    tips = np.stack([ends + back @ _LEFT_WING, ends, ends + back @ _RIGHT_WING], axis=1)
    _lines(canvas, np.stack([starts, ends], axis=1), _MOTION)
    _lines(canvas, tips, _MOTION)


def _moving(
    points: npt.NDArray[np.float32],
    motion: npt.NDArray[np.float32],
    region_names: Sequence[str],
) -> tuple[npt.NDArray[np.floating[Any]], npt.NDArray[np.float32]]:
    """Return the (M, 2) places and the (M, 2) motions of the regions that move visibly."""
    known, weights = _anchor_weights(tuple(region_names))
    moved = motion[known]
    far = np.hypot(moved[:, 0], moved[:, 1]) >= _SHORTEST
    return (weights @ points)[far], moved[far]


@functools.cache
def _anchor_weights(
    region_names: tuple[str, ...],
) -> tuple[list[int], npt.NDArray[np.float32]]:
    """Return which regions have a place, and the share of each landmark in it."""
    known = [row for row, name in enumerate(region_names) if name in _ANCHORS]
    weights = np.zeros((len(known), len(OUTLINE)), np.float32)
    for place, row in enumerate(known):
        anchors = [_ROWS[landmark] for landmark in _ANCHORS[region_names[row]]]
        weights[place, anchors] = 1 / len(anchors)
    return known, weights


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
    places, moves = _moving(points, motion, region_names)
    for place, moved in zip(places, moves, strict=True):
        x, y = (place - (left, top)) / _HEAT_SHRINK
        level = round(255 * min(math.hypot(*moved) / _HOTTEST, 1.0))
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
    corners = [
        ((left + toward, top), (left, top), (left, top + down))
        for left, toward in ((x, arm), (x + width, -arm))
        for top, down in ((y, arm), (y + height, -arm))
    ]
    _lines(canvas, np.array(corners), _FACE)


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


def _lines(canvas: Image, lines: npt.NDArray[np.floating[Any]], colour: _Colour) -> None:
    """Draw (N, K, 2) lines through K positions each.

    In one call: with every call to OpenCV a thread hands the interpreter to the pipeline and waits
    until it has it again, which takes longer than a line.
    """
    limit = 32_000.0  # of OpenCV's fixed-point numbers
    scaled = np.clip(np.nan_to_num(lines), -limit, limit) * (1 << _SUBPIXEL_BITS)
    fixed: Any = np.rint(scaled).astype(np.int32)
    cv2.polylines(canvas, fixed, False, colour, 2, cv2.LINE_AA, _SUBPIXEL_BITS)
