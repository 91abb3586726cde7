"""TV-L1 optical flow: slow and faithful to small motion, once per event."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Gray = npt.NDArray[np.uint8] | npt.NDArray[np.float32]

EPSILON = 0.03
"""OpenCV's 0.01 takes three times as long and answers no better (`docs/recognition.md`)."""


class TvL1Flow:
    """Dense flow by the duality-based TV-L1 of Zach, Pock and Bischof (DAGM 2007).

    Published recognition data are made of this flow. It takes brightness changes for motion, so
    both pictures are brought to the same mean brightness first. OpenCV's parameters are kept but
    for the change at which iterations end: fewer scales or warps are cheaper too, and cost correct
    answers (`docs/recognition.md`). One instance serves one thread.

    Args:
        epsilon: Iterations end when the flow changes by less than this.
    """

    def __init__(self, epsilon: float = EPSILON) -> None:
        self._flow: Any = cv2.optflow.DualTVL1OpticalFlow_create(epsilon=epsilon)  # type: ignore[attr-defined]

    def __call__(self, reference: Gray, target: Gray) -> npt.NDArray[np.float32]:
        """Displacement from `reference` to `target`.

        Args:
            reference: (H, W) gray picture, 0…255.
            target: (H, W) gray picture of the same size.

        Returns:
            (H, W, 2) float32 in pixels, x to the right and y down.
        """
        # OpenCV takes floating-point pictures as 0…1; the common mean also sets their level.
        level = 0.5 * (float(reference.mean()) + float(target.mean())) / 255
        scaled = [
            (picture * np.float32(level / max(float(picture.mean()), 1e-3))).astype(np.float32)
            for picture in (reference, target)
        ]
        flow: npt.NDArray[np.float32] = self._flow.calc(scaled[0], scaled[1], None)
        return flow
