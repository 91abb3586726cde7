"""Draws a portrait in motion: one backward warp a frame, exact to a small part of a pixel."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import cv2
import numpy as np
import numpy.typing as npt

from engines.synthesis.action_units import ACTION_UNITS, displacement_field
from engines.synthesis.eyes import LEFT_EYE, LID_HEIGHT, RIGHT_EYE, Eye
from engines.synthesis.head import HeadPose
from engines.synthesis.noise import PEDESTAL, NoiseBank
from engines.synthesis.portrait import (
    CHIN,
    FOREHEAD,
    LEFT_EYE_OUTER,
    NOSE_TIP,
    RIGHT_EYE_OUTER,
    Portrait,
)
from engines.synthesis.scenario import REFERENCE_INTER_OCULAR_PX, FaceState, Script

Image = npt.NDArray[np.uint8]
Field = npt.NDArray[np.float32]
Points = npt.NDArray[np.float64]

_REFERENCE_SIZE = (640, 480)
# The source is drawn at twice the picture's resolution: linear interpolation at half a pixel
# would otherwise soften the picture, and a change of sharpness looks like motion.
_SUPERSAMPLING = 2
_CELLS_PER_SPAN = 25
"""Grid cells of the displacement fields in one inter-ocular distance."""
_NOSE_HEIGHT = 0.47
"""Height at which the nose is placed, as a share of the picture's."""
# The head that moves as one: half axes in inter-ocular distances, and how far beyond them (as a
# share) movement fades to the background.
_HEAD_AXES = (1.1, 1.3)
_FADE = 0.4
# Grey levels of the portrait without the noise's pedestal: ripple and noise never saturate.
_BLACK, _WHITE = 2.0, 230.0
_BANDS = 6
_INVERSION_STEPS = 30
_ASYMMETRY = 0.12
_NO_SECOND_MAP = np.empty(0, np.float32)


class FaceAnimator:
    """Draws the frames of a script. For one thread: it works in buffers of its own.

    A picture depends on the portrait, the script, the time and the frame's number alone, and
    not on what was drawn before.

    Args:
        portrait: The face.
        script: What it does.
        width: Width of a picture in pixels.
        height: Height of a picture in pixels.
        inter_ocular_px: Distance between the outer eye corners in the picture, at rest; None for
            that of a head and shoulders portrait, 100 pixels in a VGA picture.

    Attributes:
        inter_ocular_px: Distance between the outer eye corners in the picture, at rest.
        landmarks: (468, 2) float64 Face Mesh landmarks in the picture at rest, in pixels.
    """

    def __init__(
        self,
        portrait: Portrait,
        script: Script,
        width: int,
        height: int,
        inter_ocular_px: float | None = None,
    ) -> None:
        self._script = script
        self._size = (width, height)
        span = inter_ocular_px or REFERENCE_INTER_OCULAR_PX * min(
            width / _REFERENCE_SIZE[0], height / _REFERENCE_SIZE[1]
        )
        self.inter_ocular_px = span
        self._scale = span / portrait.inter_ocular_px
        nose = portrait.landmarks[NOSE_TIP, :2]
        eyes = portrait.landmarks[[RIGHT_EYE_OUTER, LEFT_EYE_OUTER], :2].mean(axis=0)
        face = np.array([eyes[0], nose[1]])
        self._origin = face - np.array([0.5 * width, _NOSE_HEIGHT * height]) / self._scale
        self.landmarks: Points = (portrait.landmarks[:, :2] - self._origin) * self._scale

        self._margin = math.ceil(0.25 * span) + 2
        self._canvas = self._draw_canvas(portrait.image)
        self._place_grid(portrait)
        self._fields = self._build_fields(portrait)
        self._eyes = [_EyePatch(portrait, lids, self) for lids in (RIGHT_EYE, LEFT_EYE)]
        self._picture = self._draw_still()
        self._bands = list(self._cut_bands())
        config = script.config
        self._noise = (
            NoiseBank(script.seed, (height, width, 3), config.noise_sigma) if config.noise else None
        )

    def render(self, time_s: float, out: Image, frame_number: int) -> None:
        """Draw the picture at a time.

        Args:
            time_s: Time in the script in seconds.
            out: (height, width, 3) uint8, overwritten with BGR.
            frame_number: Number of the frame; chooses its noise.
        """
        self.draw(self._script.at(time_s), out, frame_number)

    def draw(self, state: FaceState, out: Image, frame_number: int) -> None:
        """Draw the picture of a state; otherwise as `render`."""
        self._update_map(state)
        for sources, target in self._bands:
            cv2.remap(self._canvas, sources, _NO_SECOND_MAP, cv2.INTER_LINEAR, target)
        if self._noise is None:
            cv2.convertScaleAbs(self._picture, out, state.gain, PEDESTAL)
        elif state.gain == 1.0:
            cv2.add(self._picture, self._noise.frame(frame_number), out)
        else:
            cv2.addWeighted(
                self._picture, state.gain, self._noise.frame(frame_number), 1.0, 0.0, out
            )

    def positions(self, state: FaceState, points: Points | None = None) -> Points:
        """Return where points of the face are drawn in a state.

        Args:
            state: State of the face.
            points: (N, 2) positions in the picture at rest, inside the moving part; the
                landmarks when None. Skin of the lids and the iris is not followed in a blink.

        Returns:
            (N, 2) float64 positions in pixels.
        """
        self._update_map(state)
        rest = self.landmarks if points is None else np.asarray(points, np.float64)
        places = rest.copy()
        for _ in range(_INVERSION_STEPS):
            places += rest - (self._sources_at(places) / _SUPERSAMPLING - self._margin)
        return places

    def skin(self, state: FaceState) -> tuple[tuple[slice, slice], Field, Field]:
        """Return what lies under the pixels of the moving part: where on the head, how squeezed.

        Args:
            state: State of the face.

        Returns:
            Rows and columns of the moving part, (h, w) pixels; (h, w, 2) float32 place in the
            picture at rest that the head's motion alone puts at each pixel; (h, w) float32 share
            by which the action units squeeze the skin there (negative where they stretch it).
        """
        self._update_map(FaceState(head=state.head))
        places = self._map * np.float32(1 / _SUPERSAMPLING) - np.float32(self._margin)
        squeezed = np.zeros(self._grid.shape[:2], np.float32)
        for unit, value in state.action_units:
            shift = self._fields[unit] * np.float32(value / self._step)
            squeezed += np.gradient(shift[..., 0], axis=1) + np.gradient(shift[..., 1], axis=0)
        to_rest = _to_rest(state.head, self._pivot, self.inter_ocular_px)
        squeezed = np.asarray(
            cv2.warpAffine(
                squeezed,
                self._on_grid(to_rest),
                (squeezed.shape[1], squeezed.shape[0]),
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            )
        )
        height, width, step = *places.shape[:2], self._step
        fine = cv2.resize(squeezed, None, fx=step, fy=step, interpolation=cv2.INTER_LINEAR)
        left, top, right, bottom = self._box
        rows_columns = slice(top, bottom), slice(left, right)
        return rows_columns, places, np.asarray(fine[step : step + height, step : step + width])

    # -- what never changes --------------------------------------------------------------------

    def _draw_canvas(self, photo: Image) -> Image:
        """The portrait at twice the picture's resolution, with a margin on every side."""
        width, height = self._size
        scale = self._scale * _SUPERSAMPLING
        if scale < 1:  # a picture that is smaller than the portrait must not alias
            photo = np.asarray(cv2.GaussianBlur(photo, (0, 0), 0.5 / scale), np.uint8)
        shift = (self._margin - self._origin * self._scale) * _SUPERSAMPLING
        canvas = cv2.warpAffine(
            photo,
            np.array([[scale, 0.0, shift[0]], [0.0, scale, shift[1]]]),
            (
                (width + 2 * self._margin) * _SUPERSAMPLING,
                (height + 2 * self._margin) * _SUPERSAMPLING,
            ),
            flags=cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_REFLECT_101,
        )
        return np.asarray(
            cv2.convertScaleAbs(canvas, alpha=(_WHITE - _BLACK) / 255.0, beta=_BLACK), np.uint8
        )

    def _place_grid(self, portrait: Portrait) -> None:
        """Choose the moving part of the picture and the coarse grid over it."""
        width, height = self._size
        span = self.inter_ocular_px
        forehead, chin = self.landmarks[FOREHEAD], self.landmarks[CHIN]
        # Hair reaches further beyond the landmarks than the chin does.
        centre = (forehead + chin) / 2 + (chin - forehead) * -0.2
        axes = np.array(_HEAD_AXES) * span
        self._centre, self._reach = centre, (1 + _FADE) * axes
        low = np.floor(centre - self._reach).astype(int)
        high = np.ceil(centre + self._reach).astype(int)
        left, top = np.maximum(low, 0).tolist()
        right, bottom = np.minimum(high, (width, height)).tolist()
        self._box = (left, top, right, bottom)

        # One cell beyond the box on every side: resizing extrapolates badly.
        step = max(1, round(span / _CELLS_PER_SPAN))
        self._step = step
        columns = -(-(right - left) // step) + 2
        rows = -(-(bottom - top) // step) + 2
        x = left + (np.arange(columns) - 1) * step + (step - 1) / 2
        y = top + (np.arange(rows) - 1) * step + (step - 1) / 2
        self._grid: Points = np.stack(np.meshgrid(x, y), axis=-1)
        self._fine = np.empty((rows * step, columns * step, 2), np.float32)
        self._map = self._fine[step : step + bottom - top, step : step + right - left]

        self._pivot = chin + (chin - forehead) * 0.2  # the neck
        beyond = np.hypot(*np.moveaxis((self._grid - centre) / axes, -1, 0)) - 1.0
        fade = np.clip(beyond / _FADE, 0.0, 1.0)
        weight = 1 - fade * fade * (3 - 2 * fade)
        across, down = np.moveaxis(self._grid - self._pivot, -1, 0)
        zero, one = np.zeros_like(across), np.ones_like(across)
        elevation = -span * relief(portrait, self.to_portrait(self._grid))
        basis = [(across, down), (down, -across), (one, zero), (zero, one)]
        basis += [(elevation, zero), (zero, elevation)]
        self._head_basis = [
            np.ascontiguousarray(np.stack(pair, axis=-1) * weight[..., None], np.float32)
            for pair in basis
        ]
        self._weight = weight
        self._still = ((self._grid + self._margin) * _SUPERSAMPLING).astype(np.float32)
        self._shift = np.empty_like(self._still)
        self._moved = np.empty_like(self._still)

    def _build_fields(self, portrait: Portrait) -> Mapping[int, Field]:
        """Where the picture comes from when a unit is displaced by one inter-ocular distance."""
        points = self.to_portrait(self._grid)
        rng = np.random.default_rng([self._script.seed, 6])
        fade = self._weight[..., None]
        fields: dict[int, Field] = {}
        for unit in ACTION_UNITS:
            right, left = 1 + _ASYMMETRY * rng.uniform(-1, 1, 2)
            field = displacement_field(unit, portrait, points, (float(right), float(left)))
            fields[unit] = np.asarray(-self.inter_ocular_px * field * fade, np.float32)
        return fields

    def to_portrait(self, points: Points) -> Points:
        """Return positions in the portrait of positions in the picture at rest."""
        placed: Points = points / self._scale + self._origin
        return placed

    def _draw_still(self) -> Image:
        """The whole picture at rest."""
        width, height = self._size
        matrix = np.array([[1.0, 0.0, self._margin], [0.0, 1.0, self._margin]]) * _SUPERSAMPLING
        return np.asarray(
            cv2.warpAffine(
                self._canvas,
                matrix,
                (width, height),
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            ),
            np.uint8,
        )

    def _cut_bands(self) -> Iterator[tuple[Field, Image]]:
        """Parts of the map and of the picture; together they cover the head, and little else."""
        left, top, right, bottom = self._box
        for band in np.array_split(np.arange(top, bottom), _BANDS):
            nearest = np.abs(band - self._centre[1]).min() / (self._reach[1])
            half = self._reach[0] * math.sqrt(max(1 - nearest**2, 0.0))
            first = max(left, math.floor(self._centre[0] - half))
            last = min(right, math.ceil(self._centre[0] + half) + 1)
            rows = slice(int(band[0]), int(band[-1]) + 1)
            in_box = slice(rows.start - top, rows.stop - top)
            yield (
                self._map[in_box, first - left : last - left],
                self._picture[rows, first:last],
            )

    # -- every frame ---------------------------------------------------------------------------

    def _update_map(self, state: FaceState) -> None:
        """Find the place on the canvas that every pixel of the moving part shows."""
        head = state.head
        to_rest = _to_rest(head, self._pivot, self.inter_ocular_px)
        moved = self._moved
        np.copyto(moved, self._still)
        turn = (to_rest[0, 0] - 1, to_rest[0, 1], *self._offset(to_rest), head.yaw, head.pitch)
        for coefficient, field in zip(turn, self._head_basis, strict=True):
            if coefficient:
                cv2.scaleAdd(field, _SUPERSAMPLING * coefficient, moved, moved)
        if state.action_units:
            self._shift[:] = 0.0
            for unit, value in state.action_units:
                cv2.scaleAdd(self._fields[unit], _SUPERSAMPLING * value, self._shift, self._shift)
            # Muscles sit on the head: their fields go where the head goes.
            moved += cv2.warpAffine(
                self._shift,
                self._on_grid(to_rest),
                (moved.shape[1], moved.shape[0]),
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            )
        cv2.resize(
            moved,
            (self._fine.shape[1], self._fine.shape[0]),
            self._fine,
            interpolation=cv2.INTER_LINEAR,
        )
        if state.closure or state.gaze != (0.0, 0.0):
            for eye in self._eyes:
                eye.add_shift(self._map, self._box, to_rest, state)

    def _offset(self, to_rest: npt.NDArray[np.float64]) -> tuple[float, float]:
        """Shift of the pivot from the picture to the head at rest."""
        x, y = to_rest[:, :2] @ self._pivot + to_rest[:, 2] - self._pivot
        return float(x), float(y)

    def _on_grid(self, to_rest: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The same transform in units of grid cells."""
        corner = self._grid[0, 0]
        shift = to_rest[:, :2] @ corner + to_rest[:, 2] - corner
        return np.column_stack([to_rest[:, :2], shift / self._step])

    def _sources_at(self, places: Points) -> Points:
        """Places on the canvas shown at fractional places of the picture, (N, 2)."""
        in_box = (places - self._box[:2]).astype(np.float32)[None]
        sources = cv2.remap(
            self._map, in_box, _NO_SECOND_MAP, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        return np.asarray(sources[0], np.float64)


class _EyePatch:
    """One eye in full resolution, and how it is added to a map."""

    def __init__(
        self,
        portrait: Portrait,
        lids: tuple[tuple[int, ...], tuple[int, ...]],
        animator: FaceAnimator,
    ) -> None:
        span = animator.inter_ocular_px
        outline = animator.landmarks[list(lids[0] + lids[1])]
        edge = 0.02 * span
        low = np.floor(outline.min(axis=0) - (edge, LID_HEIGHT * span + edge))
        high = np.ceil(outline.max(axis=0) + edge)
        x, y = (np.arange(a, b + 1) for a, b in zip(low, high, strict=True))
        points = np.stack(np.meshgrid(x, y), axis=-1)
        self._eye = Eye(portrait, lids, animator.to_portrait(points))
        self._unit = np.float32(_SUPERSAMPLING * span)
        self._corner = low.tolist()
        self._lid = _place(low, high)
        self._opening = _place(outline.min(axis=0) - edge, high)

    def add_shift(
        self,
        sources: Field,
        box: tuple[int, int, int, int],
        to_rest: npt.NDArray[np.float64],
        state: FaceState,
    ) -> None:
        (cosine, sine, x0), (_, _, y0) = to_rest.tolist()
        # Where the eye is now; without a blink its opening is enough.
        middle, half = self._lid if state.closure else self._opening
        x, y = middle[0] - x0, middle[1] - y0
        square = cosine * cosine + sine * sine
        x, y = (cosine * x - sine * y) / square, (sine * x + cosine * y) / square
        left, right = max(int(x - half[0]), box[0]), min(int(x + half[0]) + 1, box[2])
        top, bottom = max(int(y - half[1]), box[1]), min(int(y + half[1]) + 1, box[3])
        if right <= left or bottom <= top:
            return
        start_x = cosine * left + sine * top + x0 - self._corner[0]
        start_y = -sine * left + cosine * top + y0 - self._corner[1]
        shape = cv2.warpAffine(
            self._eye.shape,
            np.array([[cosine, sine, start_x], [-sine, cosine, start_y]]),
            (right - left, bottom - top),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        )
        shift = self._eye.source_shift(np.asarray(shape, np.float32), state.closure, state.gaze)
        shift *= self._unit
        sources[top - box[1] : bottom - box[1], left - box[0] : right - box[0]] += shift


def _place(low: Points, high: Points) -> tuple[list[float], list[float]]:
    """Middle and half size of a box, with room for the head's rotation and scale."""
    return ((low + high) / 2).tolist(), ((high - low) / 2 * 1.05 + 2).tolist()


def _to_rest(head: HeadPose, pivot: Points, span: float) -> npt.NDArray[np.float64]:
    """(2, 3) transform from the picture to the head at rest."""
    cosine = math.cos(head.roll) / head.scale
    sine = math.sin(head.roll) / head.scale
    linear = np.array([[cosine, sine], [-sine, cosine]])
    moved_pivot = pivot + span * np.array([head.x, head.y])
    return np.column_stack([linear, pivot - linear @ moved_pivot])


def relief(portrait: Portrait, points: Points) -> npt.NDArray[np.float64]:
    """Return how far points of the face stand out from its outline.

    Args:
        portrait: The face.
        points: (..., 2) positions in pixels of the portrait.

    Returns:
        (...) heights; 1 at most, 0 beyond the face.
    """
    places, depth = portrait.landmarks[:, :2], portrait.landmarks[:, 2]
    height = depth.max() - depth
    height = height / height.max()
    reach = 0.1 * portrait.inter_ocular_px
    total = np.full(points.shape[:-1], 0.5)
    relief = np.zeros(points.shape[:-1])
    for place, value in zip(places, height, strict=True):
        gap = points - place
        weight = np.exp(-0.5 * (gap[..., 0] ** 2 + gap[..., 1] ** 2) / reach**2)
        total += weight
        relief += weight * value
    relief /= total
    shape: npt.NDArray[np.float64] = relief / relief.max()
    return shape
