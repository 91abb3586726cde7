"""Many faces from one photograph: other shapes, other skin, other light.

A person is a smooth warp of the photograph (`face_shape`) and a skin of its own (`face_skin`). A
setting is the light (`face_light`), the posture and the lens of one recording. Both are drawn from
a seed. All lengths are inter-ocular distances.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from engines.synthesis.face_light import lit
from engines.synthesis.face_shape import (
    MODES,
    pose_displacement,
    shape_displacement,
    warped,
    with_closed_mouth,
)
from engines.synthesis.face_skin import with_skin
from engines.synthesis.portrait import NOSE_TIP, Portrait

CLOSE_UP_INTER_OCULAR_PX = 160.0
"""Inter-ocular distance in the portraits of identities, whatever the photograph's."""

_CLOSE_UP_SIZE = (640, 704)
_FACE_AT = (320.0, 330.0)  # where the point between the eyes and the nose tip goes
_LEAST_BLUR_PX = 0.3


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
    base = with_closed_mouth(close_up(identity.mirrored), identity.mouth)
    shaped = warped(base, lambda points: shape_displacement(base, identity.shape, points))
    skin = with_skin(shaped, identity)
    shaded = lit(skin, setting)
    turn = (setting.yaw, setting.pitch)
    turned = warped(shaded, lambda points: pose_displacement(shaded, turn, setting.roll, points))
    image, blur = turned.image, setting.blur * CLOSE_UP_INTER_OCULAR_PX
    if blur > _LEAST_BLUR_PX:
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
