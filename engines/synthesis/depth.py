"""A depth camera beside the other one: how far each pixel of an animated face is.

What is assumed, and from where:

- **The face at rest** has the relief of Face Mesh's landmarks, which are as deep as they are wide
  (weak perspective). Between the outer eye corners it measures what adults do: 90 mm, s.d. 5.5
  (BioMed Research International 2013, 821428: men 93.0, women 88.4).
- **Skin slides along the face** without changing its surface, but soft tissue keeps its volume:
  where an action unit squeezes the skin it bulges, where it stretches it thins. A layer of
  `TISSUE_IOD` is squeezed so. So cheeks rise over lip corners that are pulled up, and the chin
  bunches up under a raised lip. Lids have no thickness, teeth and jaw do not move.
- **The head** turns and nods by the angle that shifts the tip of the nose as the picture shows,
  and comes nearer as it grows.
- **The camera** is an active stereo camera of the RealSense D415's kind: from `DISTANCE_MM`, noise
  of `SUBPIXEL` of a pixel of disparity (distance² · disparity / (focal length · baseline), with
  1280 pixels over 65° and 55 mm), which neighbouring pixels share; whole millimetres; flickering
  holes, most of them in eyes, brows and nostrils. Shadows beside the nose are not drawn.

None of this was fitted to recordings.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
from scipy.interpolate import LinearNDInterpolator, NearestNDInterpolator

from engines.synthesis.face_outlines import BROWS, EYES
from engines.synthesis.portrait import Portrait
from engines.synthesis.renderer import FaceAnimator
from engines.synthesis.scenario import FaceState

DISTANCE_MM = (400.0, 700.0)
FACE_MM = (90.0, 5.5)
"""Mean and standard deviation of the distance between the outer eye corners."""

TISSUE_IOD = 0.1
"""Thickness of the soft tissue that is squeezed, in inter-ocular distances."""

SUBPIXEL = 0.08

_FOCAL_PX = 640 / np.tan(np.radians(65 / 2))
_BASELINE_MM = 55.0
_FACETS_IOD = 0.03  # sigma that rounds the facets between landmarks
_BEYOND = 0.8  # how fast the head falls back beyond the landmarks
_GRAIN_PX = 1.5
_HOLE_PX = 3.0
_HOLE_FROM = 2.4  # in standard deviations of the field whose peaks are holes
_NOSTRILS = ((98, 97, 2), (327, 326, 2))
_SHEETS = 8
_MARGIN = 64


class DepthCamera:
    """Draws depth pictures of an animated face.

    A picture depends on the face, the seed, the state and the frame's number alone.

    Args:
        portrait: The face.
        animator: What draws its pictures.
        size: (height, width) of a picture.
        seed: Seed of the camera's distance and noise, and of the size of the face.
    """

    def __init__(
        self, portrait: Portrait, animator: FaceAnimator, size: tuple[int, int], seed: int
    ) -> None:
        rng = np.random.default_rng([seed, 24])
        self._animator = animator
        self._size = size
        self._seed = seed
        self._span = animator.inter_ocular_px
        self._distance_mm = float(rng.uniform(*DISTANCE_MM))
        self._face_mm = float(rng.normal(*FACE_MM))
        self._centre = animator.landmarks[[33, 263]].mean(axis=0)
        self._rest = np.stack([self._relief(portrait), self._blind()], axis=-1)
        self._nose = float(self._rest[..., 0].max())
        sigma_mm = self._distance_mm**2 * SUBPIXEL / (_FOCAL_PX * _BASELINE_MM)
        self._grain = _sheets(rng, size, _GRAIN_PX) * np.float32(sigma_mm)
        self._holes = _sheets(rng, size, _HOLE_PX)

    def picture(self, state: FaceState, frame_number: int) -> npt.NDArray[np.uint16]:
        """Draw the depth picture of a state.

        Args:
            state: State of the face.
            frame_number: Number of the frame; chooses noise and holes.

        Returns:
            (height, width) uint16 millimetres, 0 where nothing was seen.
        """
        head = state.head
        box, places, squeezed = self._animator.skin(state)
        rest = cv2.remap(
            self._rest, places, np.empty(0), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        across, down = np.moveaxis((places - self._centre) / self._span, -1, 0)
        height = rest[..., 0] + TISSUE_IOD * squeezed
        height -= (head.yaw * across + head.pitch * down) / self._nose
        window = self._window(frame_number)
        distance = self._distance_mm / head.scale - self._face_mm * height
        distance += self._grain[frame_number % _SHEETS][window][box]
        holes = self._holes[frame_number % _SHEETS][window][box] + rest[..., 1] > _HOLE_FROM
        picture = np.zeros(self._size, np.uint16)
        picture[box] = np.where(holes, 0, np.rint(distance))
        return picture

    def _relief(self, portrait: Portrait) -> npt.NDArray[np.float32]:
        """(H, W) height over the face's outline at rest, in inter-ocular distances."""
        depth = portrait.landmarks[:, 2] / portrait.inter_ocular_px
        marks, height = self._animator.landmarks, depth.max() - depth
        y, x = np.mgrid[: self._size[0], : self._size[1]]
        inside = LinearNDInterpolator(marks, height)(x, y)
        outside = NearestNDInterpolator(marks, height)(x, y)
        nearest = NearestNDInterpolator(marks, marks)(x, y)
        outside -= _BEYOND * np.hypot(nearest[..., 0] - x, nearest[..., 1] - y) / self._span
        relief = np.where(np.isnan(inside), outside, inside).astype(np.float32)
        return np.asarray(cv2.GaussianBlur(relief, (0, 0), _FACETS_IOD * self._span))

    def _blind(self) -> npt.NDArray[np.float32]:
        """(H, W) how much more easily than skin a place at rest becomes a hole."""
        blind = np.zeros(self._size, np.float32)
        for outlines, ease in ((BROWS, 0.8), (_NOSTRILS, 1.5), (EYES, 1.5)):
            for outline in outlines:
                corners = np.rint(self._animator.landmarks[list(outline)]).astype(np.int32)
                cv2.fillPoly(blind, [np.asarray(cv2.convexHull(corners))], (ease,))
        return blind

    def _window(self, number: int) -> tuple[slice, slice]:
        """Through which a frame sees its sheet of noise."""
        top, left = np.random.default_rng([self._seed, number, 25]).integers(0, _MARGIN, 2).tolist()
        return slice(top, top + self._size[0]), slice(left, left + self._size[1])


def _sheets(
    rng: np.random.Generator, size: tuple[int, int], sigma_px: float
) -> npt.NDArray[np.float32]:
    """(sheets, H + margin, W + margin) smooth noise of unit variance."""
    shape = (_SHEETS, size[0] + _MARGIN, size[1] + _MARGIN)
    sheets = rng.standard_normal(shape, np.float32)
    for sheet in sheets:
        cv2.GaussianBlur(sheet, (0, 0), sigma_px, sheet)
    sheets /= sheets.std()
    return sheets
