"""The light on a face, and how a camera exposes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from engines.synthesis.face_outlines import OVAL, Plane, soft_mask
from engines.synthesis.face_skin import to_image
from engines.synthesis.portrait import Portrait
from engines.synthesis.renderer import relief

if TYPE_CHECKING:
    from engines.synthesis.identities import Setting

_KNEE = 0.8
_STEP = 8


def lit(portrait: Portrait, setting: Setting) -> Portrait:
    """Shade the face by a lamp from one side (Lambert), then expose and develop the picture."""
    shade = _shading(portrait, setting)
    image = portrait.image.astype(np.float32) / 255 * shade[..., None]
    face = soft_mask(portrait, OVAL, 0.02)
    # As a camera does: the face is exposed to the middle of the range, highlights roll off.
    image *= setting.exposure / max(float(np.average(image.mean(axis=-1), weights=face)), 0.05)
    image = np.where(
        image > _KNEE, _KNEE + (1 - _KNEE) * np.tanh((image - _KNEE) / (1 - _KNEE)), image
    )
    middle = np.float32(setting.exposure)
    return Portrait(to_image(middle + (image - middle) * setting.contrast), portrait.landmarks)


def _shading(portrait: Portrait, setting: Setting) -> Plane:
    """Factor of brightness that the lamp gives to each pixel."""
    rows, columns = portrait.image.shape[:2]
    span = portrait.inter_ocular_px
    axes = np.arange(0, columns, _STEP), np.arange(0, rows, _STEP)
    grid = np.stack(np.meshgrid(*axes), axis=-1).astype(np.float64)
    height = 0.55 * span * relief(portrait, grid)
    slope_y, slope_x = np.gradient(cv2.GaussianBlur(height, (0, 0), 0.05 * span / _STEP), _STEP)
    normal = np.stack([-slope_x, -slope_y, np.ones_like(height)], axis=-1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    lambert = np.clip(normal @ np.array(setting.light), 0.0, None) / max(setting.light[2], 0.3)
    shade = setting.shading * (np.clip(lambert, 0.2, 1.6) - 1)
    full = cv2.resize(shade.astype(np.float32), (columns, rows), interpolation=cv2.INTER_LINEAR)
    # The relief ends at the face's outline, which must not shade the hair and the wall.
    full *= soft_mask(portrait, OVAL, 0.1)
    y, x = np.mgrid[:rows, :columns].astype(np.float32) / np.float32(span)
    fall = setting.gradient[0] * (x - x.mean()) + setting.gradient[1] * (y - y.mean())
    return np.asarray((1 + full) * np.exp(fall), np.float32)
