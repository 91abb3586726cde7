"""The skin of a face: tone, lips, brows, hair, freckles, moles, wrinkles, pores and stubble."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from engines.synthesis.action_units import distance_to_polyline
from engines.synthesis.face_outlines import (
    BROWS,
    EYES,
    INNER_LIPS,
    LIPS,
    OVAL,
    Plane,
    soft_mask,
)
from engines.synthesis.portrait import Portrait

if TYPE_CHECKING:
    from engines.synthesis.identities import Identity

_NOSE = (1, 2, 98, 327, 5, 4, 195)
_CREASES = (
    (129, 203, 206, 216, 212), (358, 423, 426, 436, 432),  # beside the nose
    (130, 226, 113), (359, 446, 342),  # crow's feet
    (112, 232, 231, 230, 229), (341, 452, 451, 450, 449),  # under the eyes
    (108, 151, 337), (69, 108, 151, 337, 299), (107, 9, 336),  # forehead and between the brows
)  # fmt: skip


def with_skin(portrait: Portrait, identity: Identity) -> Portrait:
    """Return a face with the tone and the marks of a person."""
    rng = np.random.default_rng(identity.seed)
    skin = _skin_mask(portrait)
    photo = portrait.image.astype(np.float32) / 255
    around: Plane = np.float32(1) - np.maximum(skin, soft_mask(portrait, OVAL, 0.03))
    image = photo + _darker(photo, identity.tone, skin) + _darker(photo, identity.hair, around)

    lips = soft_mask(portrait, LIPS, 0.02) * (1 - soft_mask(portrait, INNER_LIPS, 0.01))
    marks: Plane = np.float32(-0.5 * identity.lips) * lips
    for brow in BROWS:
        marks -= 0.6 * identity.brows * soft_mask(portrait, brow, 0.03)
    bare = skin * (1 - _features_mask(portrait))
    marks += bare * (_spots(rng, portrait, identity) + _creases(rng, portrait, identity))
    grain = _grain(rng, portrait, 0.008, identity.pores)
    grain += _grain(rng, portrait, 0.03, identity.pores)
    if identity.stubble:
        grain -= np.abs(_grain(rng, portrait, 0.009, identity.stubble)) * _jaw_mask(portrait)
    marks += bare * grain / 255
    image *= (1 + np.clip(marks, -0.7, 0.5))[..., None]
    return Portrait(to_image(image), portrait.landmarks)


def to_image(image: Plane) -> npt.NDArray[np.uint8]:
    """Return a picture of 0 to 1 in 8 bits."""
    return np.asarray(np.rint(np.clip(image, 0.0, 1.0) * 255), np.uint8)


def _darker(photo: Plane, gamma: float, where: Plane) -> Plane:
    """What a gamma changes in a part of the picture."""
    change = np.power(np.maximum(photo, 1e-3), np.float32(gamma)) - photo
    return np.asarray(change * where[..., None], np.float32)


def _features_mask(portrait: Portrait) -> Plane:
    """Eyes, brows and lips, where skin has no marks."""
    total = np.zeros(portrait.image.shape[:2], np.float32)
    for outline in (*EYES, *BROWS, LIPS):
        total = np.maximum(total, soft_mask(portrait, outline, 0.02))
    return np.clip(1.5 * total, 0, 1)


def _skin_mask(portrait: Portrait) -> Plane:
    """How much each pixel is skin: by its colour, compared with that of the cheeks."""
    colours = cv2.cvtColor(portrait.image, cv2.COLOR_BGR2YCrCb)[..., 1:].astype(np.float32)
    chroma = np.asarray(cv2.GaussianBlur(colours, (0, 0), 0.02 * portrait.inter_ocular_px))
    cheeks = np.rint(portrait.landmarks[[50, 101, 280, 330, 205, 425, 151], :2]).astype(int)
    samples = chroma[cheeks[:, 1], cheeks[:, 0]]
    away = np.square((chroma - np.median(samples, axis=0)) / 14.0).sum(axis=-1)
    face = soft_mask(portrait, OVAL, 0.06)
    around = cv2.dilate(
        face, np.ones((3, 3), np.uint8), iterations=int(0.2 * portrait.inter_ocular_px)
    )
    likely = np.exp(-0.5 * away) * cv2.GaussianBlur(around, (0, 0), 0.08 * portrait.inter_ocular_px)
    eyes = np.maximum(*(soft_mask(portrait, eye, 0.015) for eye in EYES))
    teeth = soft_mask(portrait, INNER_LIPS, 0.01)
    mask = np.maximum(likely, 0.85 * face) * (1 - 0.9 * np.maximum(eyes, teeth))
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), 0.015 * portrait.inter_ocular_px))


def _jaw_mask(portrait: Portrait) -> Plane:
    """Where a beard grows."""
    lips = portrait.landmarks[list(LIPS), :2].mean(axis=0)
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
    oval = portrait.landmarks[list(OVAL), :2]
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
