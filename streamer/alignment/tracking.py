"""Sub-pixel tracking of the head between landmark results.

The face is warped with the predicted alignment, and Lucas-Kanade (Lucas & Kanade 1981; pyramidal,
Bouguet 2001) finds where the stable points of a key picture have gone. Working against a key
picture instead of the last frame keeps errors from adding up; working in the canonical face makes
the cost independent of the camera's resolution.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from streamer.alignment.similarity import Correspondence, Points, Similarity, to_points, to_xy
from streamer.frame import Image

_WINDOW = (11, 11)
_LEVELS = 1
_CRITERIA = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 8, 0.01)
_ITERATIONS = 2
_TRACE = 1e-12  # keeps the fit defined when no trusted point was found
_AGREE_PX = 0.75  # a point this far off the common motion no longer counts, canonical pixels


@dataclass(frozen=True, slots=True)
class HeadStep:
    """Where the head has gone.

    Attributes:
        correction: From the warped face to the key picture.
        agreement: Share of the points' weight that moved with the head, 0 to 1.
    """

    correction: Similarity
    agreement: float


class HeadTracker:
    """Stable points of one key picture.

    Args:
        key: (128, 128) uint8 canonical face.
        points: (N,) stable points in it.
    """

    def __init__(self, key: Image, points: Points) -> None:
        self._key = key.copy()
        self._start = to_xy(points).reshape(-1, 1, 2)
        self._points = points  # where they shall lie; differs from the start after a `shift`
        self._guess = self._start.copy()
        self._expected = self._start.copy()
        # Points on smooth skin drift along it; a corner's smaller eigenvalue tells how firm it is.
        firmness = cv2.cornerMinEigenVal(cv2.GaussianBlur(key, (0, 0), 1.0), _WINDOW[0])
        column, row = np.clip(np.rint(to_xy(points)).astype(int), 0, key.shape[0] - 1).T
        quality = firmness[row, column].astype(np.float64)
        self._weights = np.minimum(quality, np.median(quality)) + 1e-9
        self._total = float(self._weights.sum())
        self._trust = np.ones(len(points))

    def shift(self, pull: Similarity) -> None:
        """Move the places that the points are brought to, by a small transform."""
        self._points = pull(self._points)
        self._expected[:, 0] = to_xy(self._points)

    def locate(self, face: Image) -> HeadStep | None:
        """Find the points in `face`.

        Args:
            face: (128, 128) uint8, aligned as predicted.

        Returns:
            The head's step, or None when too few points were found.
        """
        np.copyto(self._guess, self._expected)
        moved, found, _ = cv2.calcOpticalFlowPyrLK(
            self._key,
            face,
            self._start,
            self._guess,
            winSize=_WINDOW,
            maxLevel=_LEVELS,
            criteria=_CRITERIA,
            flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
        )
        usable: npt.NDArray[np.float64] = self._weights * found.ravel()
        if np.count_nonzero(usable) < len(self._points) // 3:
            return None
        points = Correspondence(to_points(moved[:, 0]), self._points)
        for _ in range(_ITERATIONS):
            step = points.fit(usable * self._trust + _TRACE)
            error = points.errors(step)
            scale = 2.0 * max(_AGREE_PX, 2.0 * _median(error))
            # Tukey's biweight: firm near the common motion, nothing beyond it. The next frame
            # starts from here: the points that slip are mostly the same ones.
            inside = np.maximum(1.0 - np.square(error / scale), 0.0)
            self._trust = inside * inside
        agreement = float(usable @ (error < 2 * _AGREE_PX)) / self._total
        return HeadStep(step, agreement)


def _median(values: npt.NDArray[np.float64]) -> float:
    """Upper median; a tenth of the cost of NumPy's for a few dozen values."""
    middle = len(values) // 2
    return float(np.partition(values, middle)[middle])
