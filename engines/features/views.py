"""What a backbone looks at in one picture: the two streams, and the motion of facial regions."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from engines.motion.canonical import FACE_SIZE, INTER_OCULAR_PX, REGION_NAMES
from engines.motion.planes import (
    EYE_ROWS,
    LIMIT,
    MOUTH_ROWS,
    PLANES_SIZE,
    SPAN_S,
    STRIP_X,
    UNIT_IOD,
    composite_planes,
)
from engines.motion.planes import PREPROCESSING as PLANES
from engines.spotting.base import MotionSample

APPEARANCE, FLOW = "appearance", "flow"
"""Names of the two streams, and of the inputs of their networks."""

Picture = Mapping[str, npt.NDArray[np.float32]]
"""Stream to what is seen of it at one tick."""


class View(Protocol):
    """How a frame becomes the pictures of both streams.

    Attributes:
        shapes: Stream to the shape of its picture.
        preprocessing: All that the pictures depend on, for manifests.
    """

    shapes: Mapping[str, tuple[int, ...]]
    preprocessing: Mapping[str, object]

    def write(self, sample: MotionSample, out: Picture) -> None:
        """Write the pictures of a frame that has a face and a flow.

        Args:
            sample: The frame.
            out: Stream to a float32 array of its shape.
        """
        ...


class StripsView:
    """Eye strip and mouth strip as 42×42 cells: gray, and the planes of MEAN's flow.

    Both streams show the same cells of the face (`engines.motion.planes`). Gray is 0…1.
    """

    shapes: Mapping[str, tuple[int, ...]] = MappingProxyType(
        {APPEARANCE: (1, PLANES_SIZE, PLANES_SIZE), FLOW: (3, PLANES_SIZE, PLANES_SIZE)}
    )
    preprocessing: Mapping[str, object] = MappingProxyType({"view": "strips", **PLANES})

    def write(self, sample: MotionSample, out: Picture) -> None:
        """Write the pictures; see `View.write`."""
        assert sample.face is not None
        assert sample.flow_delta is not None
        gray = out[APPEARANCE].reshape(2, PLANES_SIZE // 2, PLANES_SIZE)
        for strip, rows in zip(gray, (EYE_ROWS, MOUTH_ROWS), strict=True):
            seen = sample.face[slice(*rows), slice(*STRIP_X)]
            np.multiply(
                cv2.resize(seen, strip.shape[::-1], interpolation=cv2.INTER_AREA),
                np.float32(1 / 255),
                out=strip,
            )
        composite_planes(sample.flow_delta, sample.delta_s, out=out[FLOW])


class FaceView:
    """The whole canonical face, for I3D: gray and flow, both -1…1 as published.

    There, flow is cut at 15 pixels; here at `engines.motion.planes.LIMIT` units of motion in 0.1 s.
    The network itself brings pictures to the 224×224 pixels that it was made for.
    """

    shapes: Mapping[str, tuple[int, ...]] = MappingProxyType(
        {APPEARANCE: (1, FACE_SIZE, FACE_SIZE), FLOW: (2, FACE_SIZE, FACE_SIZE)}
    )
    preprocessing: Mapping[str, object] = MappingProxyType(
        {"view": "face", "size": FACE_SIZE, "span_s": SPAN_S, "unit_iod": UNIT_IOD, "limit": LIMIT}
    )

    def write(self, sample: MotionSample, out: Picture) -> None:
        """Write the pictures; see `View.write`."""
        assert sample.face is not None
        assert sample.flow_delta is not None
        np.multiply(sample.face, np.float32(2 / 255), out=out[APPEARANCE][0])
        out[APPEARANCE] -= 1
        scale = SPAN_S / (sample.delta_s * UNIT_IOD * INTER_OCULAR_PX * LIMIT)
        np.multiply(sample.flow_delta.transpose(2, 0, 1), np.float32(scale), out=out[FLOW])
        np.clip(out[FLOW], -1, 1, out=out[FLOW])


# -- the motion of regions -------------------------------------------------------------------

_R = len(REGION_NAMES)

REGION_VALUES = 2 * _R + 4 + _R
"""What is known of the regions at one tick: their motion, that of both eyes, their strain."""

UNIT_REGION_IOD = 0.002
"""Region motion in inter-ocular distances below which the features are linear in it."""

UNIT_REGION_STRAIN = 0.02
"""The same of optical strain."""

_UNITS = np.repeat(np.array([UNIT_REGION_IOD, UNIT_REGION_STRAIN], np.float32), [2 * _R + 4, _R])


def region_values(sample: MotionSample, out: npt.NDArray[np.float32]) -> None:
    """Write what is measured of the regions of a frame, as it is measured.

    Args:
        sample: A frame with a face.
        out: (49,) float32 to write to: region motion (x and y in turn), eyes, strain.
    """
    assert sample.strain is not None  # NumPy would write NaN for it
    out[: 2 * _R] = sample.motion.ravel()
    out[2 * _R : 2 * _R + 4] = sample.eyes.ravel()
    out[2 * _R + 4 :] = sample.strain


def scaled(regions: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Bring region values to the features' scale: linear near zero, logarithmic beyond.

    A macro-expression moves ten times as far as a micro-expression; a network that sees both on
    one linear scale hardly sees the latter.

    Args:
        regions: (…, 49) float32 as `region_values` writes them, or means of such.

    Returns:
        (…, 49) float32.
    """
    values: npt.NDArray[np.float32] = np.arcsinh(regions / _UNITS)
    return values


def _mirrored_order() -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
    other = {"right": "left", "left": "right"}
    swapped = np.array(
        [
            REGION_NAMES.index("_".join(other.get(word, word) for word in name.split("_")))
            for name in REGION_NAMES
        ]
    )
    pairs = np.concatenate([swapped, [_R + 1, _R]])
    order = np.concatenate([(2 * pairs[:, None] + [0, 1]).ravel(), 2 * _R + 4 + swapped])
    sign = np.concatenate([np.tile([-1.0, 1.0], _R + 2), np.ones(_R)])
    return order.astype(np.intp), sign.astype(np.float32)


_MIRRORED, _MIRRORED_SIGN = _mirrored_order()


def mirrored_regions(regions: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The region values of the mirrored face: sides exchanged, x negated.

    Args:
        regions: (…, 49) float32.

    Returns:
        (…, 49) float32.
    """
    return regions[..., _MIRRORED] * _MIRRORED_SIGN
