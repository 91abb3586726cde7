"""The default aligner: Face Mesh at tens of hertz, optical tracking at every frame.

Face Mesh's landmarks jitter from frame to frame by as much as a weak expression moves. So they
never move the face directly: stable points are tracked optically at every frame (`tracking`), and
the landmarks pull that alignment home with a time constant of about a second,
the steady state of a Kalman filter whose landmark noise is large. Each landmark result is applied
one mesh period after its frame, whether or not it was ready earlier: the outcome depends on the
frames alone, not on the speed of the machine. A live source that overruns the period does not
wait; the result comes late, and the frame says so (`mesh_late`).
"""

from __future__ import annotations

import cmath
import math
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from engines.motion.canonical import FACE_SIZE, INTER_OCULAR_PX
from streamer.alignment import landmarks as index
from streamer.alignment.base import Alignment, AlignmentState
from streamer.alignment.depth import canonical_depth
from streamer.alignment.face_mesh import (
    FaceMeshThread,
    MeshResult,
    SearchResult,
    draw_crop,
    outer_eye_alignment,
)
from streamer.alignment.similarity import Points, Similarity
from streamer.alignment.tracking import HeadTracker
from streamer.config import AlignmentConfig
from streamer.errors import SourceError
from streamer.frame import Frame, Image

_SIZE = (FACE_SIZE, FACE_SIZE)
_CENTRE = complex(FACE_SIZE / 2, FACE_SIZE / 2)
_UNKNOWN_POSE = (math.nan, math.nan, math.nan)
_TARGET_LUMINANCE = 110.0
_MIN_AGREEMENT = 0.35
_SLIP_PX = 5.0  # landmarks this far from the tracked alignment: tracking has slipped
_KEY_AGE_S = 3.0
_SPEED_SPAN_S = 0.1
_EPSILON_S = 1e-6
_REDRAW_PX = 0.06
"""A step of the head that shifts no part of the face by more than this does not pay a second
warp: the next frame takes it in, and motion has the head's part subtracted anyway."""


@dataclass(slots=True)
class _Face:
    """The followed face."""

    alignment: Similarity
    tracker: HeadTracker
    key_s: float  # stream time of the key picture
    mesh: Points  # averaged landmarks, canonical
    mesh_xyz: npt.NDArray[np.float32]
    outline: Points  # of the mesh
    depth: npt.NDArray[np.float64]
    confirmed_s: float  # stream time of the last picture in which Face Mesh saw the face
    shrink: int  # pictures are shrunk by this before warping, against aliasing
    pose: tuple[float, float, float]
    confidence: float = 1.0
    others: int = 0
    counted_s: float = -math.inf
    luminance: float = math.nan  # of the skin in the last picture


@dataclass(frozen=True, slots=True)
class _MeshJob:
    due_s: float
    taken_s: float
    alignment: Similarity
    future: Future[MeshResult]


@dataclass(frozen=True, slots=True)
class _SearchJob:
    due_s: float
    taken_s: float
    future: Future[SearchResult | None]


class FaceAligner:
    """Follows one face with Face Mesh and optical tracking.

    Args:
        config: Rates, time constants and limits.
        wait: Wait for landmark results when they are due (files). False for live sources.
    """

    name = "face-mesh"
    version = "1"

    def __init__(self, config: AlignmentConfig, *, wait: bool) -> None:
        self._config = config
        self._wait = wait
        self._thread = FaceMeshThread()
        self._face: _Face | None = None
        self._job: _MeshJob | _SearchJob | None = None
        self._next_job_s = -math.inf
        self._epoch = 0
        self._face_id = -1
        self._last_place: tuple[complex, float] | None = None
        self._late = False
        self._path: deque[tuple[float, complex, complex]] = deque()
        self._outline = np.array(index.OUTLINE)
        self._stable = np.array(index.STABLE)
        self._skin = np.zeros(_SIZE, np.uint8)
        cv2.ellipse(self._skin, (64, 64), (36, 46), 0, 0, 360, (255,), -1)
        self._skin_pixels = cv2.countNonZero(self._skin)

    def open(self) -> None:
        """Load MediaPipe's models.

        Raises:
            SourceError: MediaPipe does not load.
        """
        try:
            self._thread.open()
        except Exception as error:
            raise SourceError(
                f"MediaPipe's face models do not load ({error}); "
                "reinstall the pinned requirements in a new environment."
            ) from error

    def close(self) -> None:
        """End the mesh thread. Idempotent."""
        self._thread.close()

    def align(self, frame: Frame, out: Image) -> Alignment:
        """Follow the face into `frame`; see `Aligner.align`."""
        self._take_result(frame)
        if self._face is not None and not self._track(self._face, frame, out):
            self._lose()
        self._give_job(frame)
        face = self._face
        if face is None:
            out[:] = 0
            return self._nothing()
        return self._describe(face, frame)

    # -- following ---------------------------------------------------------------------------

    def _track(self, face: _Face, frame: Frame, out: Image) -> bool:
        """Update the alignment and draw the canonical face; False when tracking fails."""
        picture, offset = self._neighbourhood(frame.image, face)
        if not self._draw(picture, offset, face, out):
            return False
        step = face.tracker.locate(out)
        if step is None or step.agreement < _MIN_AGREEMENT:
            return False
        face.alignment = step.correction.after(face.alignment)
        face.confidence = step.agreement
        far = step.correction.reach(_CENTRE, FACE_SIZE / 2) > _REDRAW_PX
        if far and not self._draw(picture, offset, face, out):
            return False
        if frame.time_s - face.key_s > _KEY_AGE_S:
            face.tracker = HeadTracker(out, face.mesh[self._stable])
            face.key_s = frame.time_s
        return frame.time_s - face.confirmed_s <= self._config.lost_after_s + self._lag_s * 2

    def _neighbourhood(self, picture: Image, face: _Face) -> tuple[Image, complex]:
        """What the face is drawn from, and its origin: shrunk against aliasing if need be."""
        if face.shrink == 1:
            return picture, 0j
        height, width = picture.shape[:2]
        back = face.alignment.inverse()
        centre = back.at(_CENTRE)
        reach = 0.8 * FACE_SIZE * abs(back.a)  # the canonical square's half diagonal, and a margin
        x0, x1 = (min(width, max(0, int(centre.real + s * reach))) for s in (-1, 1))
        y0, y1 = (min(height, max(0, int(centre.imag + s * reach))) for s in (-1, 1))
        # Whole multiples keep the sampling grid fixed while the face moves inside it.
        x0, y0 = x0 - x0 % face.shrink, y0 - y0 % face.shrink
        x1, y1 = x1 - (x1 - x0) % face.shrink, y1 - (y1 - y0) % face.shrink
        part = _gray(picture[y0:y1, x0:x1])
        if part.size:
            size = (part.shape[1] // face.shrink, part.shape[0] // face.shrink)
            part = cv2.resize(part, size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        return part, complex(x0, y0)

    def _draw(self, picture: Image, offset: complex, face: _Face, out: Image) -> bool:
        """Draw the canonical face, its luminance brought to a fixed mean (against lamp ripple).

        Returns:
            False where there is nothing to be seen.
        """
        if min(picture.shape[:2]) < 16:
            return False
        k = face.shrink
        from_part = Similarity(complex(k), offset + complex(1, 1) * (k - 1) / 2)
        # Warping colours and then turning the small face gray costs less than a gray picture.
        warped = _gray(
            cv2.warpAffine(  # type: ignore[arg-type]
                picture,
                face.alignment.after(from_part).matrix(),
                _SIZE,
                flags=cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REPLICATE,
            )
        )
        # The sum of the skin's pixels, which OpenCV is far quicker at than at their mean.
        mean = cv2.norm(warped, cv2.NORM_L1, self._skin) / self._skin_pixels
        face.luminance = mean
        if mean < 2.0:
            return False
        cv2.convertScaleAbs(warped, out, _TARGET_LUMINANCE / mean)
        return True

    def _lose(self) -> None:
        face, self._face = self._face, None
        if face is not None:
            self._last_place = (face.alignment.inverse().at(_CENTRE), face.confirmed_s)
            self._epoch += 1
            self._path.clear()
            if isinstance(self._job, _MeshJob):
                self._job = None
                self._next_job_s = -math.inf

    # -- jobs of the mesh thread -------------------------------------------------------------

    @property
    def _lag_s(self) -> float:
        return 1.0 / self._config.mesh_hz

    def _take_result(self, frame: Frame) -> None:
        """Apply the landmark result that is due at this frame."""
        job = self._job
        self._late = False
        if job is None or frame.time_s < job.due_s - _EPSILON_S:
            return
        if not self._wait and not job.future.done():
            self._late = True
            return
        self._job = None
        if isinstance(job, _SearchJob):
            found = job.future.result()
            if found is not None:
                self._begin(found, job.taken_s)
        elif self._face is not None:
            self._correct(self._face, job.future.result(), job)

    def _give_job(self, frame: Frame) -> None:
        """Hand the mesh thread its next picture when it is time."""
        now = frame.time_s
        if self._job is not None or now < self._next_job_s - _EPSILON_S:
            return
        face = self._face
        rate = self._config.search_hz if face is None else self._config.mesh_hz
        # Stay on the grid of job times, unless it was left behind by a gap.
        self._next_job_s = max(self._next_job_s + 1 / rate, now + 0.5 / rate)
        due_s = now + self._lag_s
        if face is None:
            picture = _bgr(frame.image.copy())
            near = self._last_place
            place = near[0] if near is not None and now - near[1] < 2.0 else None
            self._job = _SearchJob(due_s, now, self._thread.search(picture, place))
            return
        count = now - face.counted_s >= self._config.check_faces_s
        if count:
            face.counted_s = now
        crop = _bgr(draw_crop(frame.image, face.alignment))
        whole = _bgr(frame.image.copy()) if count else None
        self._job = _MeshJob(due_s, now, face.alignment, self._thread.follow(crop, whole))

    def _begin(self, found: SearchResult, taken_s: float) -> None:
        """Start to follow a face that was found."""
        if not _plausible(found.points):
            return
        inter_ocular = INTER_OCULAR_PX / abs(found.alignment.a)
        face = _Face(
            alignment=found.alignment,
            tracker=HeadTracker(np.zeros(_SIZE, np.uint8), found.points[self._stable]),
            key_s=taken_s,
            mesh=found.points,
            mesh_xyz=_xyz(found.points, found.depth),
            outline=found.points[self._outline],
            depth=found.depth,
            confirmed_s=taken_s,
            shrink=max(1, int(inter_ocular / INTER_OCULAR_PX)),
            pose=_pose(found.points, found.depth),
            others=found.other_faces,
        )
        key = np.zeros(_SIZE, np.uint8)
        if not self._draw(*self._neighbourhood(found.picture, face), face, key):
            return
        face.tracker = HeadTracker(key, found.points[self._stable])
        self._face = face
        self._epoch += 1
        self._face_id += 1
        self._path.clear()

    def _correct(self, face: _Face, result: MeshResult, job: _MeshJob) -> None:
        """Let landmarks pull the tracked alignment home, gently."""
        if result.other_faces is not None:
            face.others = result.other_faces
        if not result.found or not _plausible(result.points):
            return
        fresh = outer_eye_alignment(result.points)
        if abs(fresh.at(_CENTRE) - _CENTRE) > _SLIP_PX or abs(abs(fresh.a) - 1) > 0.12:
            self._lose()
            return
        face.confirmed_s = job.taken_s
        gain = -math.expm1(-self._lag_s / self._config.correction_s)
        face.mesh = face.mesh + gain * (result.points - face.mesh)
        face.depth = face.depth + gain * (result.depth - face.depth)
        face.pose = _pose(result.points, result.depth)
        pull = outer_eye_alignment(face.mesh).toward(gain, _CENTRE)
        face.alignment = pull.after(face.alignment)
        face.tracker.shift(pull)
        face.mesh = pull(face.mesh)
        face.mesh_xyz = _xyz(face.mesh, face.depth)
        face.outline = face.mesh[self._outline]

    # -- results -----------------------------------------------------------------------------

    def _nothing(self) -> Alignment:
        return Alignment(
            state=AlignmentState.SEARCHING,
            valid=False,
            epoch=self._epoch,
            face_id=-1,
            confidence=0.0,
            pose=_UNKNOWN_POSE,
            box=None,
            landmarks=None,
            mesh=None,
            inter_ocular_px=0.0,
            head_speed=0.0,
            flags=("mesh_late",) if self._late else (),
        )

    def _describe(self, face: _Face, frame: Frame) -> Alignment:
        back = face.alignment.inverse()
        xy = back(face.outline).view(np.float64).reshape(-1, 2)
        (left, top), (right, bottom) = xy.min(axis=0).tolist(), xy.max(axis=0).tolist()
        height, width = frame.image.shape[:2]
        inter_ocular = INTER_OCULAR_PX * abs(back.a)
        # Face Mesh sees the face upright: the tilt that alignment took out is put back.
        nod, turn, tilt = face.pose
        pose = (nod, turn, tilt - cmath.phase(face.alignment.a))
        flags = []
        if inter_ocular < self._config.min_inter_ocular_px:
            flags.append("small_face")
        if max(abs(angle) for angle in pose) > math.radians(self._config.max_rotation_deg):
            flags.append("rotated")
        if face.others:
            flags.append("several_faces")
        if min(left, top) < 0 or right >= width or bottom >= height:
            flags.append("out_of_picture")
        if self._late:
            flags.append("mesh_late")
        return Alignment(
            state=AlignmentState.FOLLOWING,
            valid=True,
            epoch=self._epoch,
            face_id=self._face_id,
            confidence=face.confidence,
            pose=pose,
            box=(left, top, right - left, bottom - top),
            landmarks=xy.astype(np.float32),
            mesh=face.mesh_xyz,
            inter_ocular_px=inter_ocular,
            head_speed=self._head_speed(back, frame.time_s),
            flags=tuple(flags),
            luminance=face.luminance,
            depth=None if frame.depth is None else canonical_depth(frame.depth, face.alignment),
        )

    def _head_speed(self, back: Similarity, now: float) -> float:
        """Speed of the fastest of two points of the head, in inter-ocular distances a second."""
        path = self._path
        here = (back.at(_CENTRE), back.at(_CENTRE + 1j * FACE_SIZE / 2))
        path.append((now, *here))
        while len(path) > 2 and path[1][0] <= now - _SPEED_SPAN_S + _EPSILON_S:
            path.popleft()
        then, *there = path[0]
        if now - then < _EPSILON_S:
            return 0.0
        moved = max(abs(a - b) for a, b in zip(here, there, strict=True))
        return moved / (INTER_OCULAR_PX * abs(back.a)) / (now - then)


def _gray(picture: Image) -> Image:
    if picture.ndim == 2 or not picture.size:
        return picture
    gray: Image = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)  # type: ignore[assignment]
    return gray


def _bgr(picture: Image) -> Image:
    if picture.ndim == 3:
        return picture
    coloured: Image = cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)  # type: ignore[assignment]
    return coloured


def _xyz(points: Points, depth: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """(N, 3) float32 of points and their depth."""
    return np.column_stack([points.real, points.imag, depth]).astype(np.float32)


def _plausible(points: Points) -> bool:
    """Whether the landmarks look like a face: eyes apart, chin below them, inside reach."""
    right, left = points[index.RIGHT_EYE_OUTER], points[index.LEFT_EYE_OUTER]
    across = left - right
    if not 16 < abs(across) < 256:
        return False
    chin = (points[index.CHIN] - (right + left) / 2) / across
    return bool(0.4 < chin.imag < 3.0 and abs(chin.real) < 1.5)


def _pose(points: Points, depth: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    """Nod, turn and tilt in radians from four landmarks.

    The axes are built from the outer eye corners and from forehead to chin, which expressions
    hardly move.
    """
    # A handful of numbers: each of NumPy's calls would cost more than all of it.
    x = _unit(_between(points, depth, index.RIGHT_EYE_OUTER, index.LEFT_EYE_OUTER))
    down = _between(points, depth, index.FOREHEAD, index.CHIN)
    along = math.fsum(a * b for a, b in zip(x, down, strict=True))
    y = _unit([b - a * along for a, b in zip(x, down, strict=True)])
    facing = x[0] * y[1] - x[1] * y[0]
    return (
        math.atan2(y[2], facing),
        math.asin(min(1.0, max(-1.0, -x[2]))),
        math.atan2(x[1], x[0]),
    )


def _between(
    points: Points, depth: npt.NDArray[np.float64], tail: int, head: int
) -> tuple[float, float, float]:
    """The way from one landmark to another: x, y and depth."""
    step = points.item(head) - points.item(tail)
    return step.real, step.imag, depth.item(head) - depth.item(tail)


def _unit(vector: Sequence[float]) -> list[float]:
    length = math.hypot(*vector) or 1.0  # what has no length keeps none
    return [each / length for each in vector]
