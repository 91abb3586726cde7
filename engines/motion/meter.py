"""Motion of facial regions from aligned faces, frame by frame and causal."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from engines.motion.canonical import FACE_SIZE, INTER_OCULAR_PX, REGION_NAMES
from engines.motion.config import MotionConfig
from engines.motion.depth import DEPTH_CELLS, DepthMap, depth_change
from engines.motion.flow import create_flow
from engines.motion.regions import GRID, RegionWeights
from engines.spotting.base import MotionSample

_R = len(REGION_NAMES)
_EPSILON_S = 1e-6
_SHAPE = (FACE_SIZE, FACE_SIZE)

DELTA_WINDOW = (slice(0, 128), slice(12, 116))
"""Rows and columns of the canonical face in which the flow from t - delta is measured.

The columns beside the face carry nothing and cost time. The flow from the reference needs them
all the same: without them its patches lie otherwise, and a blink leaks into the mouth.
"""

DELTA_SHAPE = (128, 104)
"""Height and width of that window in canonical pixels."""


class MotionMeter:
    """Measures each face against a rolling neutral reference and against t - delta.

    The neutral reference is a single earlier face. When it is renewed, the displacement that it
    shows already is carried over, so that region motion has no step: the error that the new
    reference brings in cancels with the one that it ends, because both come from the same picture.

    Args:
        config: Method and durations.
        fps: Nominal frame rate; only sizes the memory of past faces.
        delta_flow: Measure the dense flow from t - delta too. It costs as much as the first, so
            only for engines that read it; region velocity is measured without it.
        strain: Measure the strain of the regions; False for engines that do not read it.
    """

    def __init__(
        self, config: MotionConfig, fps: float, *, delta_flow: bool = False, strain: bool = True
    ) -> None:
        self._config = config
        self._flow = create_flow(config.flow)
        slots = math.ceil(config.delta_s * fps * 1.5) + 4
        self._delta_flow = delta_flow
        self._past = np.zeros((slots if delta_flow else 0, *DELTA_SHAPE), np.uint8)
        self._past_depth: npt.NDArray[np.float32] | None = None  # until there is a depth map
        self._field = np.zeros((FACE_SIZE, FACE_SIZE, 2), np.float32)
        self._past_moved = np.zeros((slots, _R + 2, 2), np.float32)
        self._past_s = np.full(slots, -math.inf)
        self._motion = np.zeros((_R, 2), np.float32)
        self._velocity = np.zeros((_R, 2), np.float32)
        self._strain = np.zeros(_R, np.float32) if strain else None
        self._eyes = np.zeros((2, 2), np.float32)
        self._reference = np.zeros(_SHAPE, np.uint8)
        self._seen = np.zeros(DELTA_SHAPE, np.uint8)
        self._magnitude = np.zeros((GRID, GRID), np.float32)
        self.reset()

    def reset(self) -> None:
        """Forget the reference and the past, as at the start."""
        self._count = 0
        self._epoch: int | None = None
        self._weights: RegionWeights | None = None
        self._carried = np.zeros((_R + 2, 2), np.float32)
        self._reference_s = -math.inf
        self._still_since = math.inf

    def measure(
        self,
        index: int,
        time_s: float,
        gap_before: int,
        face: npt.NDArray[np.uint8] | None,
        *,
        epoch: int,
        mesh: npt.NDArray[np.float32] | None,
        head_speed: float,
        depth: DepthMap | None = None,
    ) -> MotionSample:
        """Measure one frame.

        Args:
            index: Frame index.
            time_s: Stream time in seconds.
            gap_before: Frames lost right before this one.
            face: (128, 128) uint8 canonical face; None when there is none.
            epoch: Alignment epoch; a new one starts measurement anew.
            mesh: (468, 3) float32 canonical landmarks with depth; needed with a face.
            head_speed: Head motion in inter-ocular distances a second.
            depth: Depth map of the face; None without a depth camera.

        Returns:
            The sample; its arrays are overwritten by the next call.
        """
        if face is None or mesh is None:
            self.reset()
            return self._sample(index, time_s, gap_before, head_speed, False, None, None, None, 0.0)
        restart = epoch != self._epoch
        if restart:
            self.reset()
            self._epoch = epoch
            self._renew(face, mesh, time_s)
        assert self._weights is not None
        cells = _cells(self._flow(self._reference, face))
        moved = self._regions(cells)
        moved += self._carried
        self._motion[:] = moved[:_R]
        self._eyes[:] = moved[_R:]
        if self._strain is not None:
            self._measure_strain(cells, self._strain)
        before, delta_s = self._before(time_s)
        flow_delta = change = None
        self._velocity[:] = 0
        if before is not None:
            np.subtract(moved[:_R], self._past_moved[before, :_R], out=self._velocity)
            if self._delta_flow:
                flow_delta = self._field
                np.copyto(self._seen, face[DELTA_WINDOW])
                flow_delta[DELTA_WINDOW] = self._flow(self._past[before], self._seen)
                if depth is not None and self._past_depth is not None:
                    change = depth_change(self._past_depth[before], depth, flow_delta)
        self._remember(face, moved, time_s, depth)
        self._maybe_renew(face, mesh, time_s, delta_s, moved)
        return self._sample(
            index,
            time_s,
            gap_before,
            head_speed,
            restart,
            face,
            flow_delta,
            change,
            delta_s,
            mesh,
        )

    # -- measurement -------------------------------------------------------------------------

    def _regions(self, cells: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """(R + 2, 2) motion of the regions and the eyes, the head's part subtracted."""
        assert self._weights is not None
        means = self._weights.all_rows @ cells.reshape(-1, 2)
        means *= np.float32(1 / INTER_OCULAR_PX)
        head = self._weights.head @ means[_R + 2 :].ravel()
        moved: npt.NDArray[np.float32] = means[: _R + 2] - head.reshape(-1, 2)
        return moved

    def _measure_strain(self, cells: npt.NDArray[np.float32], out: npt.NDArray[np.float32]) -> None:
        """Mean magnitude of the optical strain tensor (Shreve et al. 2011) of each region."""
        assert self._weights is not None
        dx = cells[1:-1, 2:] - cells[1:-1, :-2]
        dy = cells[2:, 1:-1] - cells[:-2, 1:-1]
        shear = dy[..., 0] + dx[..., 1]
        squares = dx[..., 0] ** 2
        squares += dy[..., 1] ** 2
        squares += 0.5 * shear * shear
        np.sqrt(squares, out=self._magnitude[1:-1, 1:-1])
        out[:] = self._weights.matrix[:_R] @ self._magnitude.ravel()
        out *= np.float32(GRID / (2 * FACE_SIZE))

    def _before(self, time_s: float) -> tuple[int | None, float]:
        """Where the newest face that is at least delta old is kept, and its age."""
        n = min(self._count, len(self._past_s))
        limit = time_s - self._config.delta_s + _EPSILON_S
        for back in range(1, n + 1):
            slot = (self._count - back) % len(self._past_s)
            if self._past_s[slot] <= limit:
                age = time_s - self._past_s[slot]
                # Across a gap the span would be another one: no answer is better.
                return (slot, age) if age < 2 * self._config.delta_s else (None, 0.0)
        return None, 0.0

    def _remember(
        self,
        face: npt.NDArray[np.uint8],
        moved: npt.NDArray[np.float32],
        time_s: float,
        depth: DepthMap | None,
    ) -> None:
        slot = self._count % len(self._past_s)
        if self._delta_flow:
            self._past[slot] = face[DELTA_WINDOW]
            if depth is not None and self._past_depth is None:
                self._past_depth = np.zeros((len(self._past), *[DEPTH_CELLS] * 2), np.float32)
            if self._past_depth is not None:
                self._past_depth[slot] = 0 if depth is None else depth
        self._past_moved[slot] = moved
        self._past_s[slot] = time_s
        self._count += 1

    # -- the neutral reference ---------------------------------------------------------------

    def _renew(
        self, face: npt.NDArray[np.uint8], mesh: npt.NDArray[np.float32], time_s: float
    ) -> None:
        np.copyto(self._reference, face)
        self._weights = RegionWeights(mesh)
        self._reference_s = time_s

    def _maybe_renew(
        self,
        face: npt.NDArray[np.uint8],
        mesh: npt.NDArray[np.float32],
        time_s: float,
        delta_s: float,
        moved: npt.NDArray[np.float32],
    ) -> None:
        """Renew the reference in a still and neutral moment, or when it is far too old.

        Never at the height of an expression: flow reads large displacements a little short, and
        the way back from there would be read in full.
        """
        config = self._config
        speed = cv2.norm(self._velocity, cv2.NORM_INF) / delta_s if delta_s > 0 else math.inf
        if speed > config.still_speed:
            self._still_since = math.inf
        elif self._still_since == math.inf:
            self._still_since = time_s
        age = time_s - self._reference_s
        still = time_s - self._still_since >= config.delta_s
        due = still and age >= config.reference_s and self._is_neutral(moved)
        if due or age >= config.reference_limit_s:
            self._carried = moved.copy()
            self._renew(face, mesh, time_s)

    def _is_neutral(self, moved: npt.NDArray[np.float32]) -> bool:
        """Whether no region has moved far since the reference was taken."""
        shown = np.abs(moved[:_R] - self._carried[:_R])
        return float(shown.max()) <= self._config.neutral_iod

    def _sample(
        self,
        index: int,
        time_s: float,
        gap_before: int,
        head_speed: float,
        restart: bool,
        face: npt.NDArray[np.uint8] | None,
        flow_delta: npt.NDArray[np.float32] | None,
        change: npt.NDArray[np.float32] | None,
        delta_s: float,
        mesh: npt.NDArray[np.float32] | None = None,
    ) -> MotionSample:
        if face is None:
            for array in (self._motion, self._velocity, self._strain, self._eyes):
                if array is not None:
                    array[:] = 0
        return MotionSample(
            index=index,
            time_s=time_s,
            gap_before=gap_before,
            valid=face is not None,
            restart=restart,
            motion=self._motion,
            velocity=self._velocity,
            strain=self._strain,
            eyes=self._eyes,
            head_speed=head_speed,
            delta_s=delta_s,
            face=face,
            flow_delta=flow_delta,
            mesh=mesh,
            depth_change=change,
        )


def _cells(flow: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Average a flow field over the (GRID, GRID) cells that regions are weighted over."""
    cells: npt.NDArray[np.float32] = cv2.resize(  # type: ignore[assignment]
        flow, (GRID, GRID), interpolation=cv2.INTER_AREA
    )
    return cells
