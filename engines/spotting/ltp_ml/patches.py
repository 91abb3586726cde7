"""Twelve patches of the aligned face, each reduced to two coordinates in time.

Published, the principal components of each patch are computed anew for every second of video, so
that their signs and scales change from window to window. Here they are calibrated on the person:
the principal plane of what small translations do to a neutral patch is spanned by the patch's own
gradient, whatever moves later. Coordinates in that plane, made orthonormal to the picture, are a
displacement in canonical pixels: right and down on every face, in every window. They cannot flip.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

_LANDMARKS: dict[str, tuple[int, ...]] = {
    "right_brow_outer": (70, 63, 105),
    "right_brow_inner": (107, 55, 65),
    "left_brow_inner": (336, 285, 295),
    "left_brow_outer": (300, 293, 334),
    "right_eye_corner": (33, 130),
    "left_eye_corner": (263, 359),
    "nose_root": (6, 197),
    "nose_tip": (4, 1),
    "right_mouth_corner": (61,),
    "left_mouth_corner": (291,),
    "upper_lip": (0,),
    "lower_lip": (17,),
}
"""Landmarks of Face Mesh around which a patch lies; sides are the subject's."""

PATCH_NAMES = tuple(_LANDMARKS)
"""The regions, in the order of every (12, ...) array."""

EYE_PATCHES = tuple(i for i, name in enumerate(PATCH_NAMES) if "brow" in name or "eye" in name)
NOSE_PATCHES = tuple(i for i, name in enumerate(PATCH_NAMES) if "nose" in name)
MOUTH_PATCHES = tuple(i for i, name in enumerate(PATCH_NAMES) if "mouth" in name or "lip" in name)

SIDE_SHARE = 0.5
"""Side of a patch as a share of the distance between the inner eye corners.

The authors' code takes a quarter of it in pictures that are five times as large; an eighth of the
pixels carries no gradient worth a coordinate here.
"""

CELLS = 8
"""A patch is sampled at so many points across and down."""

RENEWAL_S = 2.0
"""Age at which the neutral patches are taken anew, so that light and pose may drift."""

_INNER_EYES = (133, 362)
_BLUR = (3, 3)
_RIDGE = 0.01
"""Share of a patch's gradient that is added to both directions: along an edge nothing is seen."""

_N = len(PATCH_NAMES)


class FacePatches:
    """Follows the patches of one stretch of aligned faces."""

    def __init__(self) -> None:
        self._sampled = np.empty((_N * CELLS, CELLS), np.float32)
        self._moved = np.zeros((_N, 2), np.float32)
        self.reset()

    def reset(self) -> None:
        """Measurement starts anew with the next face."""
        self._map: tuple[Array, Array] | None = None
        self._taken_s = 0.0

    def push(
        self, time_s: float, face: npt.NDArray[np.uint8], mesh: npt.NDArray[np.float32]
    ) -> Array:
        """Take the next face.

        Args:
            time_s: Stream time in seconds.
            face: (128, 128) uint8 canonical face.
            mesh: (468, 3) float32 canonical landmarks; only looked at when measurement starts, so
                that their jitter moves nothing.

        Returns:
            (12, 2) displacement since measurement started, canonical pixels; a view that the next
            call overwrites.
        """
        if self._map is None:
            self._map = _sampling_map(mesh)
            patches = self._sample(face)
            self._moved[:] = 0
            self._calibrate(time_s, patches)
            return self._moved
        patches = self._sample(face)
        np.subtract(patches, self._neutral, out=patches)
        np.matmul(self._basis, patches[..., np.newaxis], out=self._projected)
        np.add(self._carried, self._projected[..., 0], out=self._moved)
        if time_s - self._taken_s >= RENEWAL_S - 1e-6:
            patches += self._neutral
            self._calibrate(time_s, patches)
        return self._moved

    def _sample(self, face: npt.NDArray[np.uint8]) -> Array:
        """(12, CELLS²) gray values."""
        assert self._map is not None
        # Blurred as float: rounding to whole gray values is a third of the sensor's noise.
        smooth = cv2.blur(face.astype(np.float32), _BLUR)
        cv2.remap(smooth, *self._map, cv2.INTER_LINEAR, dst=self._sampled)
        return self._sampled.reshape(_N, CELLS * CELLS)

    def _calibrate(self, time_s: float, patches: Array) -> None:
        """Take these patches as neutral; what they have moved so far is carried over."""
        assert self._map is not None
        self._neutral = patches.copy()
        self._basis = translation_basis(patches, float(self._map[0][0, 1] - self._map[0][0, 0]))
        self._carried = self._moved.copy()
        self._projected = np.empty((_N, 2, 1), np.float32)
        self._taken_s = time_s


def translation_basis(patches: Array, pitch: float) -> Array:
    """The plane of a patch's small translations, as the operator onto displacement.

    The pixel-time matrix of a patch that is shifted by small random amounts has rank two: its rows
    are combinations of the patch's two derivatives. The pseudo-inverse of these maps a change of
    the patch to the shift that explains it best.

    Args:
        patches: (N, CELLS²) neutral patches.
        pitch: Distance between two sample points in pixels.

    Returns:
        (N, 2, CELLS²) float32; applied to a change in gray values it gives (right, down) in pixels.
    """
    squares = patches.reshape(len(patches), CELLS, CELLS)
    down, right = np.gradient(squares, pitch, axis=(1, 2))
    # A face that moves right shows at each point what was to the left of it.
    change = -np.stack([right, down], axis=1).reshape(len(patches), 2, -1)
    gram = change @ change.transpose(0, 2, 1)
    weight = _RIDGE * np.trace(gram, axis1=1, axis2=2) / 2 + 1e-6
    gram += weight[:, np.newaxis, np.newaxis] * np.eye(2, dtype=np.float32)
    basis: Array = np.linalg.solve(gram, change).astype(np.float32)
    return basis


def _sampling_map(mesh: npt.NDArray[np.float32]) -> tuple[Array, Array]:
    """Where the sample points of all patches lie: x and y, (12 * CELLS, CELLS) each."""
    centres = np.array([mesh[list(points), :2].mean(axis=0) for points in _LANDMARKS.values()])
    between_eyes = float(np.linalg.norm(mesh[_INNER_EYES[0], :2] - mesh[_INNER_EYES[1], :2]))
    steps = ((np.arange(CELLS) + 0.5) / CELLS - 0.5) * max(SIDE_SHARE * between_eyes, 1.0)
    shape = (_N, CELLS, CELLS)
    x = np.broadcast_to(centres[:, 0, None, None] + steps[None, None, :], shape)
    y = np.broadcast_to(centres[:, 1, None, None] + steps[None, :, None], shape)
    return (
        np.ascontiguousarray(x, np.float32).reshape(-1, CELLS),
        np.ascontiguousarray(y, np.float32).reshape(-1, CELLS),
    )
