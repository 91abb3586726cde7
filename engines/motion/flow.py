"""Dense optical flow behind one seam."""

from __future__ import annotations

from typing import Literal, Protocol

import cv2
import numpy as np
import numpy.typing as npt

FlowField = npt.NDArray[np.float32]
Face = npt.NDArray[np.uint8]


class OpticalFlow(Protocol):
    """A flow method; keeps no memory between calls."""

    name: str

    def __call__(self, before: Face, after: Face) -> FlowField:
        """Return the displacement of every pixel of `before` into `after`.

        Args:
            before: (H, W) uint8.
            after: (H, W) uint8.

        Returns:
            (H, W, 2) float32 in pixels, x to the right, y down.
        """
        ...


class DisFlow:
    """Dense inverse search (Kroeger et al., ECCV 2016), tuned for 128×128 faces.

    Half resolution instead of the quarter of OpenCV's fast presets, which read a sub-pixel movement
    of a mouth corner far too short. Patches are compared with their means removed, so that a
    change of illumination is not motion.
    """

    name = "dis"

    def __init__(self) -> None:
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._dis.setFinestScale(1)
        self._dis.setPatchSize(8)
        self._dis.setPatchStride(6)
        self._dis.setGradientDescentIterations(8)
        self._dis.setVariationalRefinementIterations(0)
        self._dis.setUseMeanNormalization(True)
        self._dis.setUseSpatialPropagation(True)

    def __call__(self, before: Face, after: Face) -> FlowField:
        """Return the flow; see `OpticalFlow`."""
        flow: FlowField = self._dis.calc(before, after, None)  # type: ignore[call-overload]
        return flow


class FarnebackFlow:
    """Polynomial expansion (Farnebäck, SCIA 2003) with the settings of the MEGC winners."""

    name = "farneback"

    def __call__(self, before: Face, after: Face) -> FlowField:
        """Return the flow; see `OpticalFlow`."""
        flow: FlowField = cv2.calcOpticalFlowFarneback(  # type: ignore[call-overload]
            before, after, None, 0.5, 3, 15, 5, 7, 1.5, 0
        )
        return flow


def create_flow(name: Literal["dis", "farneback"]) -> OpticalFlow:
    """Return the flow method of this name."""
    return DisFlow() if name == "dis" else FarnebackFlow()
