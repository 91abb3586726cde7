"""Many faces from one photograph: other shapes, other skin, other light.

A person is a smooth warp of the photograph along few modes (face width, jaw, eyes, nose, mouth,
brows; after the idea of the low-rank shape models of Cootes, Taylor, Cooper and Graham, "Active
shape models", 1995) and a skin of its own. A setting is the light, the posture and the lens of one
recording. Both are drawn from a seed. All lengths are inter-ocular distances of the photograph.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

from engines.synthesis.action_units import distance_to_polyline
from engines.synthesis.portrait import NOSE_TIP, Portrait
from engines.synthesis.renderer import relief

Image = npt.NDArray[np.uint8]
Plane = npt.NDArray[np.float32]
Points = npt.NDArray[np.float64]

CLOSE_UP_INTER_OCULAR_PX = 160.0
"""Inter-ocular distance in the portraits of identities, whatever the photograph's."""

_CLOSE_UP_SIZE = (640, 704)
_FACE_AT = (320.0, 330.0)  # where the point between the eyes and the nose tip goes
_GRID_STEP = 4
_INVERSION_STEPS = 40
_KNEE = 0.8
_LEAST_STRETCH = 0.45  # the warp never shrinks skin more than this in any direction

_OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
_EYES = ((33, 160, 158, 133, 153, 144), (362, 385, 387, 263, 373, 380))
_BROWS = (
    (46, 53, 52, 65, 55, 107, 66, 105, 63, 70),
    (276, 283, 282, 295, 285, 336, 296, 334, 293, 300),
)
_LIPS = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
_INNER_LIPS = (
    78,
    191,
    80,
    81,
    82,
    13,
    312,
    311,
    310,
    415,
    308,
    324,
    318,
    402,
    317,
    14,
    87,
    178,
    88,
    95,
)
_LIP_MARGINS = (
    (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308),
    (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308),
)
_MOUTH_REACH = 0.22
_NOSE = (1, 2, 98, 327, 5, 4, 195)
_CREASES = (
    (129, 203, 206, 216, 212), (358, 423, 426, 436, 432),  # beside the nose
    (130, 226, 113), (359, 446, 342),  # crow's feet
    (112, 232, 231, 230, 229), (341, 452, 451, 450, 449),  # under the eyes
    (108, 151, 337), (69, 108, 151, 337, 299), (107, 9, 336),  # forehead and between the brows
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Identity:
    """One person who does not exist.

    Attributes:
        seed: Seed of the pores, freckles and creases.
        mirrored: Whether the photograph is mirrored first.
        shape: Strength of each mode of `MODES`, about a standard normal.
        mouth: How far the mouth is closed over the teeth, 0 to 1.
        hair: Gamma of hair and surroundings; above 1 is darker.
        tone: Gamma of the skin; above 1 is darker.
        lips: Darkness of the lips against the skin.
        brows: Darkness of the brows; negative is paler.
        freckles: Number of freckles.
        moles: Number of moles.
        creases: Depth of wrinkles, 0 to 1.
        pores: Strength of the fine texture in grey levels.
        stubble: Strength of the coarse texture of the jaw in grey levels.
    """

    seed: int
    mirrored: bool
    shape: tuple[float, ...]
    mouth: float
    hair: float
    tone: float
    lips: float
    brows: float
    freckles: int
    moles: int
    creases: float
    pores: float
    stubble: float

    @classmethod
    def draw(cls, seed: int, number: int) -> Identity:
        """Draw person `number` of a population; the same two numbers give the same person."""
        rng = np.random.default_rng([seed, number, 20])
        bearded = rng.random() < 0.35
        return cls(
            seed=int(rng.integers(2**31)),
            mirrored=bool(rng.random() < 0.5),
            shape=tuple(np.clip(rng.normal(0, 1, len(MODES)), -2, 2).tolist()),
            mouth=1.0 if rng.random() < 0.75 else float(rng.uniform(0, 0.6)),
            hair=float(np.exp(rng.uniform(-0.6, 1.1))),
            tone=float(np.exp(rng.uniform(-0.35, 0.9))),
            lips=float(rng.uniform(-0.1, 0.35)),
            brows=float(rng.uniform(-0.25, 0.5)),
            freckles=int(rng.choice([0, 0, 20, 60, 150])),
            moles=int(rng.integers(0, 6)),
            creases=float(rng.beta(1.2, 2.0)),
            pores=float(rng.uniform(1.0, 5.0)),
            stubble=float(rng.uniform(4, 14)) if bearded else 0.0,
        )


@dataclass(frozen=True, slots=True)
class Setting:
    """Light, posture and lens of one recording.

    Attributes:
        light: Unit vector (x right, y down, z to the camera) towards the lamp.
        shading: How much of the light comes from there, 0 to 1.
        gradient: Fall of brightness along x and y over an inter-ocular distance.
        contrast: Factor of the contrast around the mean.
        exposure: Mean brightness of the face, 0 to 1.
        yaw: Turn of the head: shift of the nose tip to the right.
        pitch: Nod of the head: shift of the nose tip down.
        roll: Tilt in radians.
        blur: Sigma of the lens.
    """

    light: tuple[float, float, float]
    shading: float
    gradient: tuple[float, float]
    contrast: float
    exposure: float
    yaw: float
    pitch: float
    roll: float
    blur: float

    @classmethod
    def draw(cls, seed: int) -> Setting:
        """Draw a setting; the same seed gives the same one."""
        rng = np.random.default_rng([seed, 21])
        side, height = rng.uniform(-1.1, 1.1), rng.uniform(-0.9, 0.3)
        light = np.array([math.sin(side), math.sin(height), math.cos(side) * math.cos(height)])
        return cls(
            light=tuple((light / np.linalg.norm(light)).tolist()),
            shading=float(rng.uniform(0.0, 0.55)),
            gradient=(float(rng.uniform(-0.12, 0.12)), float(rng.uniform(-0.1, 0.1))),
            contrast=float(rng.uniform(0.75, 1.15)),
            exposure=float(rng.uniform(0.36, 0.58)),
            yaw=float(rng.uniform(-0.09, 0.09)),
            pitch=float(rng.uniform(-0.07, 0.07)),
            roll=float(rng.uniform(-0.1, 0.1)),
            blur=float(rng.uniform(0.0, 0.014)),
        )


def make_portrait(identity: Identity, setting: Setting) -> Portrait:
    """Return the portrait of a person in a setting."""
    base = _with_closed_mouth(close_up(identity.mirrored), identity.mouth)
    shaped = _warped(base, lambda points: shape_displacement(base, identity.shape, points))
    skin = _with_skin(shaped, identity)
    lit = _lit(skin, setting)
    turned = _warped(lit, lambda points: _pose_displacement(lit, setting, points))
    image = turned.image
    if setting.blur * CLOSE_UP_INTER_OCULAR_PX > 0.3:
        blur = setting.blur * CLOSE_UP_INTER_OCULAR_PX
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), blur), np.uint8)
    return Portrait(image, turned.landmarks)


@cache
def close_up(mirrored: bool) -> Portrait:
    """Return the face of the photograph, upright and at a common size, mirrored or not."""
    photo = Portrait.astronaut()
    if mirrored:
        photo = Portrait.from_image(np.ascontiguousarray(photo.image[:, ::-1]))
    scale = CLOSE_UP_INTER_OCULAR_PX / photo.inter_ocular_px
    across, down = scale * photo.eye_axis
    linear = np.array([[across, down], [-down, across]])
    eyes = photo.landmarks[[33, 263], :2].mean(axis=0)
    middle = (eyes + photo.landmarks[NOSE_TIP, :2]) / 2
    shift = np.array(_FACE_AT) - linear @ middle
    image = cv2.warpAffine(
        photo.image,
        np.column_stack([linear, shift]),
        _CLOSE_UP_SIZE,
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    places = photo.landmarks[:, :2] @ linear.T + shift
    return Portrait(
        np.asarray(image, np.uint8), np.column_stack([places, photo.landmarks[:, 2] * scale])
    )


# -- shape ----------------------------------------------------------------------------------------

Field = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Frame:
    """A face in its own axes: origin between the eyes, x to the right, y down, lengths in IOD."""

    portrait: Portrait
    points: Points

    def at(self, *landmarks: int) -> Points:
        """Mean place of landmarks."""
        origin = self.portrait.landmarks[[33, 263], :2].mean(axis=0)
        place: Points = self.portrait.landmarks[list(landmarks), :2].mean(axis=0) - origin
        return place / self.portrait.inter_ocular_px

    def near(self, centre: Points, across: float, down: float) -> Field:
        """Gaussian weight around a place."""
        gap = (self.points - centre) / (across, down)
        weight: Field = np.exp(-0.5 * np.square(gap).sum(axis=-1))
        return weight

    def below(self, y: float, width: float) -> Field:
        """0 above a height, 1 below it."""
        share: Field = 1 / (1 + np.exp(-(self.points[..., 1] - y) / width))
        return share


def _face_width(f: _Frame) -> Field:
    return _field(0.10 * f.points[..., 0], 0.0)


def _face_length(f: _Frame) -> Field:
    return _field(0.0, 0.06 * (f.points[..., 1] - 0.4))


def _jaw_width(f: _Frame) -> Field:
    mouth = f.at(*_LIPS)
    jaw = mouth + np.array([0.0, 0.1])
    return _field(0.10 * f.points[..., 0] * f.near(jaw, 1.4, 0.45), 0.0)


def _chin(f: _Frame) -> Field:
    return _field(0.0, 0.06 * f.below(float(f.at(17)[1]) + 0.1, 0.08))


def _eye_distance(f: _Frame) -> Field:
    left, right = (f.near(f.at(*eye), 0.28, 0.28) for eye in _EYES)
    return _field(0.025 * (right - left), 0.0)


def _eye_size(f: _Frame) -> Field:
    total = np.zeros_like(f.points)
    for eye in _EYES:
        centre = f.at(*eye)
        total += 0.10 * (f.points - centre) * f.near(centre, 0.25, 0.2)[..., None]
    return total


def _eye_slant(f: _Frame) -> Field:
    left, right = (f.at(*eye) for eye in _EYES)
    slope = (f.points[..., 0] - left[0]) * f.near(left, 0.25, 0.2)
    slope -= (f.points[..., 0] - right[0]) * f.near(right, 0.25, 0.2)
    return _field(0.0, 0.09 * slope)


def _brow_height(f: _Frame) -> Field:
    weight = sum(f.near(f.at(*brow), 0.3, 0.13) for brow in _BROWS)
    return _field(0.0, 0.03 * np.asarray(weight))


def _brow_tilt(f: _Frame) -> Field:
    outer = f.near(f.at(46, 70), 0.18, 0.15) + f.near(f.at(276, 300), 0.18, 0.15)
    inner = f.near(f.at(55, 107), 0.15, 0.13) + f.near(f.at(285, 336), 0.15, 0.13)
    return _field(0.0, 0.022 * (outer - inner))


def _nose_width(f: _Frame) -> Field:
    centre = f.at(1, 2, 98, 327)
    return _field(0.16 * f.points[..., 0] * f.near(centre, 0.25, 0.2), 0.0)


def _nose_length(f: _Frame) -> Field:
    return _field(0.0, 0.04 * f.near(f.at(1, 2, 98, 327), 0.3, 0.2))


def _mouth_width(f: _Frame) -> Field:
    centre = f.at(*_LIPS)
    return _field(0.12 * (f.points[..., 0] - centre[0]) * f.near(centre, 0.4, 0.2), 0.0)


def _mouth_height(f: _Frame) -> Field:
    return _field(0.0, 0.035 * f.near(f.at(*_LIPS), 0.5, 0.2))


def _lips(f: _Frame) -> Field:
    centre = f.at(*_LIPS)
    return _field(0.0, 0.16 * (f.points[..., 1] - centre[1]) * f.near(centre, 0.35, 0.14))


def _smile(f: _Frame) -> Field:
    corners = f.near(f.at(61), 0.14, 0.14) + f.near(f.at(291), 0.14, 0.14)
    return _field(0.0, 0.03 * corners)


def _cheeks(f: _Frame) -> Field:
    right, left = f.near(f.at(50, 205), 0.25, 0.3), f.near(f.at(280, 425), 0.25, 0.3)
    return _field(0.03 * (left - right), 0.0)


def _lopsided(f: _Frame) -> Field:
    return _field(0.03 * f.below(0.5, 0.3), 0.02 * f.points[..., 0] * f.near(f.at(*_LIPS), 1, 0.5))


MODES: tuple[Callable[[_Frame], Field], ...] = (
    _face_width,
    _face_length,
    _jaw_width,
    _chin,
    _eye_distance,
    _eye_size,
    _eye_slant,
    _brow_height,
    _brow_tilt,
    _nose_width,
    _nose_length,
    _mouth_width,
    _mouth_height,
    _lips,
    _smile,
    _cheeks,
    _lopsided,
)
"""Displacement of points by each mode at strength 1, in inter-ocular distances."""


def shape_displacement(portrait: Portrait, shape: tuple[float, ...], points: Points) -> Points:
    """Return by how much the modes move points of a portrait.

    Args:
        portrait: An upright face.
        shape: Strength of each mode of `MODES`.
        points: (..., 2) positions in pixels of the portrait.

    Returns:
        (..., 2) displacements in pixels.
    """
    origin = portrait.landmarks[[33, 263], :2].mean(axis=0)
    frame = _Frame(portrait, (points - origin) / portrait.inter_ocular_px)
    total = np.zeros_like(frame.points)
    for mode, strength in zip(MODES, shape, strict=True):
        total += strength * mode(frame)
    return total * portrait.inter_ocular_px


def _field(x: Field | float, y: Field | float) -> Field:
    return np.stack(np.broadcast_arrays(x, y), axis=-1)


def _pose_displacement(portrait: Portrait, setting: Setting, points: Points) -> Points:
    """A head that is turned a little: near parts shift against far ones; then it is tilted."""
    height = relief(portrait, points)[..., None] * portrait.inter_ocular_px
    turned = height * (setting.yaw, setting.pitch)
    centre = portrait.landmarks[NOSE_TIP, :2]
    cosine, sine = math.cos(setting.roll), math.sin(setting.roll)
    rotation = np.array([[cosine - 1, -sine], [sine, cosine - 1]])
    return np.asarray(turned + (points + turned - centre) @ rotation.T)


def _with_closed_mouth(portrait: Portrait, amount: float) -> Portrait:
    """Bring the lips of the smile together: they slide over the teeth, the corners fall."""
    span = portrait.inter_ocular_px
    upper, lower = (portrait.landmarks[list(line), :2] for line in _LIP_MARGINS)
    corners = portrait.landmarks[[61, 291], :2]
    middle = (upper[len(upper) // 2] + lower[len(lower) // 2]) / 2

    def displacement(points: Points) -> Points:
        x, y = points[..., 0], points[..., 1]
        top = np.interp(x, upper[:, 0], upper[:, 1])
        bottom = np.interp(x, lower[:, 0], lower[:, 1])
        travel = 0.46 * amount * np.maximum(bottom - top, 0.0)
        between = np.clip((y - top) / np.maximum(bottom - top, 1e-6), 0.0, 1.0)
        far = np.maximum(np.maximum(top - y, y - bottom), 0.0) / (_MOUTH_REACH * span)
        down = travel * (1 - 2 * between) * np.exp(-0.5 * far**2)
        across = np.zeros_like(x)
        for corner in corners:
            gap = (points - corner) / (0.16 * span)
            near = np.exp(-0.5 * np.square(gap).sum(axis=-1))
            down += 0.055 * amount * span * near
            across += 0.05 * amount * np.sign(middle[0] - corner[0]) * span * near
        return np.stack([across, down], axis=-1)

    closed = _warped(portrait, displacement, steepest=0.97)
    inside = _mask(closed, _INNER_LIPS, 0.008)
    flesh = closed.landmarks[[(17, 14), (84, 87), (314, 317)], :2].mean(axis=1)
    column, row = np.rint(flesh).astype(int).T
    colour = np.median(closed.image[row, column], axis=0)
    cover = (amount * np.clip(1.6 * inside, 0, 1))[..., None]
    image = closed.image + cover * (0.6 * colour - closed.image)
    return Portrait(np.asarray(np.rint(image), np.uint8), closed.landmarks)


def _warped(
    portrait: Portrait,
    displacement: Callable[[Points], Points],
    steepest: float = 1 - _LEAST_STRETCH,
) -> Portrait:
    """Move the face by a smooth field: landmarks forwards, the picture by its inverse."""
    rows, columns = portrait.image.shape[:2]
    x = np.arange(0, columns + _GRID_STEP, _GRID_STEP, dtype=np.float64)
    y = np.arange(0, rows + _GRID_STEP, _GRID_STEP, dtype=np.float64)
    grid = np.stack(np.meshgrid(x, y), axis=-1)
    forwards = displacement(grid)
    forwards *= _safe_strength(forwards, steepest)
    moved = forwards.astype(np.float32)

    def sampled(points: Points) -> Points:
        at = (points / _GRID_STEP).astype(np.float32)
        return np.asarray(
            cv2.remap(
                moved,
                at,
                np.empty(0, np.float32),
                cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REPLICATE,
            ),
            np.float64,
        )

    sources = grid.copy()
    for _ in range(_INVERSION_STEPS):
        sources = grid - sampled(sources)
    size = (grid.shape[1] * _GRID_STEP, grid.shape[0] * _GRID_STEP)
    # Cell centres of the enlarged grid lie between the nodes; shift them back onto the pixels.
    enlarge = np.array([[_GRID_STEP, 0, 0], [0, _GRID_STEP, 0]], np.float64)
    fine = cv2.warpAffine(
        sources.astype(np.float32),
        enlarge,
        size,
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )[:rows, :columns]
    image = cv2.remap(
        portrait.image,
        np.ascontiguousarray(fine),
        np.empty(0, np.float32),
        cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    landmarks = portrait.landmarks.copy()
    landmarks[:, :2] += sampled(landmarks[None, :, :2])[0]
    return Portrait(np.asarray(image, np.uint8), landmarks)


def _safe_strength(field: Points, limit: float) -> float:
    """Share of a field whose gradient stays below a limit, so that it does not fold."""
    along_x = np.gradient(field, _GRID_STEP, axis=1)
    along_y = np.gradient(field, _GRID_STEP, axis=0)
    jacobian = np.stack([along_x, along_y], axis=-1)
    steepest = float(np.linalg.norm(jacobian, axis=(-2, -1)).max())
    return min(1.0, limit / max(steepest, 1e-9))


# -- skin -----------------------------------------------------------------------------------------


def _with_skin(portrait: Portrait, identity: Identity) -> Portrait:
    """Give the face a tone and marks of its own."""
    rng = np.random.default_rng(identity.seed)
    skin = _skin_mask(portrait)
    tone = portrait.image.astype(np.float32) / 255
    light = tone.copy()
    tone = np.power(np.maximum(tone, 1e-3), np.float32(identity.tone))
    tone = light + (tone - light) * skin[..., None]
    around = 1 - np.maximum(skin, _mask(portrait, _OVAL, 0.03))
    tone += (np.power(np.maximum(light, 1e-3), np.float32(identity.hair)) - light) * around[
        ..., None
    ]

    marks = (
        -identity.lips
        * 0.5
        * _mask(portrait, _LIPS, 0.02)
        * (1 - _mask(portrait, _INNER_LIPS, 0.01))
    )
    for brow in _BROWS:
        marks -= 0.6 * identity.brows * _mask(portrait, brow, 0.03)
    features = _features_mask(portrait)
    bare = skin * (1 - features)
    marks += bare * (_spots(rng, portrait, identity) + _creases(rng, portrait, identity))
    grain = _grain(rng, portrait, 0.008, identity.pores) + _grain(
        rng, portrait, 0.03, identity.pores
    )
    if identity.stubble:
        grain -= np.abs(_grain(rng, portrait, 0.009, identity.stubble)) * _jaw_mask(portrait)
    marks += bare * grain / 255
    image = tone * (1 + np.clip(marks, -0.7, 0.5))[..., None]
    return Portrait(_to_image(image), portrait.landmarks)


def _mask(portrait: Portrait, outline: tuple[int, ...], softness: float) -> Plane:
    """1 inside an outline of landmarks, with a soft edge."""
    mask = np.zeros(portrait.image.shape[:2], np.float32)
    corners = np.rint(portrait.landmarks[list(outline), :2]).astype(np.int32)
    hull = cv2.convexHull(corners) if outline is not _OVAL else corners
    cv2.fillPoly(mask, [np.asarray(hull)], (1.0,))
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), softness * portrait.inter_ocular_px))


def _features_mask(portrait: Portrait) -> Plane:
    """Eyes, brows and lips, where skin has no marks."""
    total = np.zeros(portrait.image.shape[:2], np.float32)
    for outline in (*_EYES, *_BROWS, _LIPS):
        total = np.maximum(total, _mask(portrait, outline, 0.02))
    return np.clip(1.5 * total, 0, 1)


def _skin_mask(portrait: Portrait) -> Plane:
    """How much each pixel is skin: by its colour, compared with that of the cheeks."""
    colours = cv2.cvtColor(portrait.image, cv2.COLOR_BGR2YCrCb)[..., 1:].astype(np.float32)
    chroma = np.asarray(cv2.GaussianBlur(colours, (0, 0), 0.02 * portrait.inter_ocular_px))
    cheeks = np.rint(portrait.landmarks[[50, 101, 280, 330, 205, 425, 151], :2]).astype(int)
    samples = chroma[cheeks[:, 1], cheeks[:, 0]]
    away = np.square((chroma - np.median(samples, axis=0)) / 14.0).sum(axis=-1)
    face = _mask(portrait, _OVAL, 0.06)
    around = cv2.dilate(
        face, np.ones((3, 3), np.uint8), iterations=int(0.2 * portrait.inter_ocular_px)
    )
    likely = np.exp(-0.5 * away) * cv2.GaussianBlur(around, (0, 0), 0.08 * portrait.inter_ocular_px)
    eyes = np.maximum(*(_mask(portrait, eye, 0.015) for eye in _EYES))
    teeth = _mask(portrait, _INNER_LIPS, 0.01)
    mask = np.maximum(likely, 0.85 * face) * (1 - 0.9 * np.maximum(eyes, teeth))
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), 0.015 * portrait.inter_ocular_px))


def _jaw_mask(portrait: Portrait) -> Plane:
    """Where a beard grows."""
    lips = portrait.landmarks[list(_LIPS), :2].mean(axis=0)
    rows, columns = portrait.image.shape[:2]
    y, x = np.mgrid[:rows, :columns].astype(np.float32)
    span = portrait.inter_ocular_px
    gap = np.hypot((x - lips[0]) / (0.62 * span), (y - lips[1] - 0.1 * span) / (0.42 * span))
    return np.asarray(np.clip((1.15 - gap) / 0.3, 0, 1), np.float32)


def _spots(rng: np.random.Generator, portrait: Portrait, identity: Identity) -> Plane:
    """Freckles over nose and cheeks, moles anywhere."""
    spots = np.zeros(portrait.image.shape[:2], np.float32)
    span = portrait.inter_ocular_px
    nose = portrait.landmarks[list(_NOSE), :2].mean(axis=0)
    freckles = nose + rng.normal(0, 1, (identity.freckles, 2)) * (0.45 * span, 0.22 * span)
    oval = portrait.landmarks[list(_OVAL), :2]
    moles = rng.uniform(oval.min(axis=0), oval.max(axis=0), (identity.moles, 2))
    for places, sizes, depths in (
        (freckles, (0.007, 0.015), (0.05, 0.2)),
        (moles, (0.012, 0.03), (0.2, 0.5)),
    ):
        for x, y in places:
            size, depth = rng.uniform(*sizes) * span, rng.uniform(*depths)
            _stamp(spots, float(x), float(y), float(size), -float(depth))
    return spots


def _stamp(plane: Plane, x: float, y: float, sigma: float, height: float) -> None:
    """Add a round spot."""
    reach = math.ceil(3 * sigma)
    left, top = max(int(x) - reach, 0), max(int(y) - reach, 0)
    part = plane[top : max(int(y) + reach, 0), left : max(int(x) + reach, 0)]
    if part.size:
        down, across = np.mgrid[: part.shape[0], : part.shape[1]]
        square = (across + left - x) ** 2 + (down + top - y) ** 2
        part += (height * np.exp(-0.5 * square / sigma**2)).astype(np.float32)


def _creases(rng: np.random.Generator, portrait: Portrait, identity: Identity) -> Plane:
    """Wrinkles: dark lines with a bright edge, where faces have them."""
    rows, columns = portrait.image.shape[:2]
    total = np.zeros((rows, columns), np.float32)
    if identity.creases < 0.05:
        return total
    grid = np.stack(np.meshgrid(np.arange(0, columns, 2.0), np.arange(0, rows, 2.0)), axis=-1)
    span = portrait.inter_ocular_px
    half = np.zeros(grid.shape[:2], np.float32)
    for line in _CREASES:
        depth = identity.creases * rng.uniform(0.0, 0.28)
        width = rng.uniform(0.012, 0.03) * span
        corners = portrait.landmarks[list(line), :2] + rng.normal(0, 0.012 * span, (len(line), 2))
        distance = distance_to_polyline(grid, corners)
        shape = np.exp(-0.5 * (distance / width) ** 2) - 0.4 * np.exp(
            -0.5 * (distance / (2.2 * width)) ** 2
        )
        half -= (depth * shape).astype(np.float32)
    return np.asarray(cv2.resize(half, (columns, rows), interpolation=cv2.INTER_LINEAR), np.float32)


def _grain(rng: np.random.Generator, portrait: Portrait, size: float, strength: float) -> Plane:
    """Noise of one grain size, in inter-ocular distances, and standard deviation."""
    noise = rng.standard_normal(portrait.image.shape[:2], np.float32)
    sigma = size * portrait.inter_ocular_px
    noise = cv2.GaussianBlur(noise, (0, 0), sigma) - cv2.GaussianBlur(noise, (0, 0), 2 * sigma)
    return np.asarray(noise * np.float32(strength / max(float(noise.std()), 1e-6)))


# -- light ----------------------------------------------------------------------------------------


def _lit(portrait: Portrait, setting: Setting) -> Portrait:
    """Shade the face by a lamp from one side (Lambert), then expose and develop the picture."""
    shade = _shading(portrait, setting)
    image = portrait.image.astype(np.float32) / 255 * shade[..., None]
    face = _mask(portrait, _OVAL, 0.02)
    # As a camera does: the face is exposed to the middle of the range, highlights roll off.
    image *= setting.exposure / max(float(np.average(image.mean(axis=-1), weights=face)), 0.05)
    image = np.where(
        image > _KNEE, _KNEE + (1 - _KNEE) * np.tanh((image - _KNEE) / (1 - _KNEE)), image
    )
    middle = np.float32(setting.exposure)
    return Portrait(_to_image(middle + (image - middle) * setting.contrast), portrait.landmarks)


def _shading(portrait: Portrait, setting: Setting) -> Plane:
    """Factor of brightness that the lamp gives to each pixel."""
    rows, columns = portrait.image.shape[:2]
    span = portrait.inter_ocular_px
    step = 2 * _GRID_STEP
    axes = np.arange(0, columns, step), np.arange(0, rows, step)
    grid = np.stack(np.meshgrid(*axes), axis=-1).astype(np.float64)
    height = 0.55 * span * relief(portrait, grid)
    slope_y, slope_x = np.gradient(cv2.GaussianBlur(height, (0, 0), 0.05 * span / step), step)
    normal = np.stack([-slope_x, -slope_y, np.ones_like(height)], axis=-1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    lambert = np.clip(normal @ np.array(setting.light), 0.0, None) / max(setting.light[2], 0.3)
    shade = setting.shading * (np.clip(lambert, 0.2, 1.6) - 1)
    full = cv2.resize(shade.astype(np.float32), (columns, rows), interpolation=cv2.INTER_LINEAR)
    # The relief ends at the face's outline, which must not shade the hair and the wall.
    full *= _mask(portrait, _OVAL, 0.1)
    y, x = np.mgrid[:rows, :columns].astype(np.float32) / np.float32(span)
    fall = setting.gradient[0] * (x - x.mean()) + setting.gradient[1] * (y - y.mean())
    return np.asarray((1 + full) * np.exp(fall), np.float32)


def _to_image(image: npt.NDArray[np.float32]) -> Image:
    return np.asarray(np.rint(np.clip(image, 0.0, 1.0) * 255), np.uint8)
