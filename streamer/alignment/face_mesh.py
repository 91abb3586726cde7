"""Face detection and Face Mesh on a thread of their own.

One job at a time goes in, its result comes out. MediaPipe's graphs live and die on this thread.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from queue import Queue
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from engines.motion.canonical import FACE_SIZE, LEFT_EYE_OUTER, RIGHT_EYE_OUTER
from streamer.alignment import landmarks as index
from streamer.alignment.similarity import Points, Similarity, to_points
from streamer.frame import Image
from streamer.scheduling import give_way

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamer.alignment.mesh_graph import MeshGraph

CROP_SIZE = 192
"""Side of the picture that Face Mesh sees, in pixels; its own input is as large."""

CROP_MARGIN = 24.0
"""How far the crop reaches beyond the canonical face, in canonical pixels."""

CANONICAL_TO_CROP = Similarity(
    complex(CROP_SIZE / (FACE_SIZE + 2 * CROP_MARGIN)),
    complex(1, 1) * CROP_MARGIN * CROP_SIZE / (FACE_SIZE + 2 * CROP_MARGIN),
)

_GRAPH_NICE = 10  # a tenth of a stage's weight: where all is busy, landmarks still come

_EYES = (complex(*RIGHT_EYE_OUTER), complex(*LEFT_EYE_OUTER))


@dataclass(frozen=True, slots=True)
class MeshResult:
    """Landmarks of the followed face.

    Attributes:
        found: False when Face Mesh sees no face in the crop.
        points: (468,) landmarks in the canonical face as it was aligned; empty if not found.
        depth: (468,) depth in canonical pixels, smaller is nearer; empty if not found.
        other_faces: Faces beside the followed one; None when they were not counted.
    """

    found: bool
    points: Points
    depth: npt.NDArray[np.float64]
    other_faces: int | None


@dataclass(frozen=True, slots=True)
class SearchResult:
    """A newly found face.

    Attributes:
        alignment: Picture to canonical face.
        picture: The picture in which it was found.
        points: (468,) landmarks in the canonical face.
        depth: (468,) depth in canonical pixels.
        other_faces: Faces beside it.
    """

    alignment: Similarity
    picture: Image
    points: Points
    depth: npt.NDArray[np.float64]
    other_faces: int


def outer_eye_alignment(points: Points) -> Similarity:
    """Return the similarity that brings the outer eye corners to their canonical places."""
    eyes = (complex(points[index.RIGHT_EYE_OUTER]), complex(points[index.LEFT_EYE_OUTER]))
    return Similarity.through(eyes, _EYES)


class FaceMeshThread:
    """MediaPipe's Face Mesh and face detector behind futures.

    The result of a job depends on the jobs before it and on nothing else: MediaPipe's Python
    solutions run on simulated time, so a file gives the same landmarks on every machine speed.
    """

    def __init__(self) -> None:
        self._jobs: Queue[tuple[Callable[[], Any], Future[Any]] | None] = Queue(maxsize=2)
        self._thread: threading.Thread | None = None
        self._mesh: MeshGraph | None = None
        self._detectors: list[Any] = []

    def open(self) -> None:
        """Start the thread and load the models (about a second)."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="glint-mesh", daemon=True)
            self._thread.start()
            self._submit(self._load).result()

    def close(self) -> None:
        """Finish the job in hand and end the thread. Idempotent."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._jobs.put(None)
            thread.join(timeout=5)

    def follow(self, crop: Image, picture: Image | None) -> Future[MeshResult]:
        """Find the landmarks in the stabilised crop of the followed face.

        Args:
            crop: (192, 192, 3) BGR, the canonical face with its margin.
            picture: The whole picture when other faces shall be counted; None otherwise.
        """
        return self._submit(lambda: self._follow(crop, picture))

    def search(self, picture: Image, near: complex | None) -> Future[SearchResult | None]:
        """Find a face in the whole picture.

        Args:
            picture: (H, W, 3) BGR; kept until the result is used, so it must be a copy.
            near: Where the face that was followed has last been; None takes the largest face.
        """
        return self._submit(lambda: self._search(picture, near))

    # -- on the thread -----------------------------------------------------------------------

    def _submit(self, work: Callable[[], Any]) -> Future[Any]:
        future: Future[Any] = Future()
        self._jobs.put((work, future))
        return future

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            work, future = job
            try:
                future.set_result(work())
            except Exception as error:
                future.set_exception(error)
        for graph in [self._mesh, *self._detectors]:
            if graph is not None:
                graph.close()
        self._mesh, self._detectors = None, []

    def _load(self) -> None:
        """Make the graphs on a thread that stands back.

        MediaPipe's own threads inherit its priority: they have until the next job is due, while a
        frame has milliseconds. This thread itself does not stand back, because it holds the
        interpreter between two calls.
        """
        standing_back = partial(give_way, _GRAPH_NICE)
        with ThreadPoolExecutor(1, "glint-mesh-load", standing_back) as loader:
            loader.submit(self._make_graphs).result()

    def _make_graphs(self) -> None:
        # A second, and only where it is used.
        import mediapipe as mp  # noqa: PLC0415

        from streamer.alignment.mesh_graph import MeshGraph  # noqa: PLC0415

        self._mesh = MeshGraph()
        # The short-range model misses small faces, the long-range one very near ones.
        self._detectors = [
            mp.solutions.face_detection.FaceDetection(
                model_selection=model, min_detection_confidence=0.6
            )
            for model in (0, 1)
        ]

    def _landmarks(self, crop: Image) -> tuple[Points, npt.NDArray[np.float64]] | None:
        """Landmarks and depth in crop pixels."""
        assert self._mesh is not None
        found = self._mesh.landmarks(cv2.cvtColor(crop, cv2.COLOR_BGR2RGB))  # type: ignore[arg-type]
        if found is None:
            return None
        xyz = CROP_SIZE * found
        return to_points(xyz), xyz[:, 2]

    def _follow(self, crop: Image, picture: Image | None) -> MeshResult:
        others = None if picture is None else max(0, len(self._faces(picture)) - 1)
        landmarks = self._landmarks(crop)
        if landmarks is None:
            return MeshResult(False, np.empty(0, complex), np.empty(0), others)
        points, depth = landmarks
        back = CANONICAL_TO_CROP.inverse()
        return MeshResult(True, back(points), depth * abs(back.a), others)

    def _faces(self, picture: Image) -> list[tuple[complex, complex]]:
        """Eye positions (subject's right, left) of every face, in picture pixels."""
        height, width = picture.shape[:2]
        shrink = min(1.0, 640 / max(height, width))
        small = cv2.resize(picture, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
        rgb = cv2.cvtColor(small, cv2.COLOR_BGR2RGB)
        for detector in self._detectors:
            detections = detector.process(rgb).detections
            if detections:
                break
        else:
            return []
        faces = []
        for detection in detections:
            right, left = detection.location_data.relative_keypoints[:2]
            faces.append(
                (
                    complex(right.x * width, right.y * height),
                    complex(left.x * width, left.y * height),
                )
            )
        return faces

    def _search(self, picture: Image, near: complex | None) -> SearchResult | None:
        faces = self._faces(picture)
        if not faces:
            return None
        if near is None:
            right, left = max(faces, key=lambda eyes: abs(eyes[1] - eyes[0]))
        else:
            right, left = min(faces, key=lambda eyes: abs((eyes[0] + eyes[1]) / 2 - near))
        if left == right:
            return None
        # The detector's eye points are pupils: about 0.7 of the outer corners' distance apart.
        centre, half = (right + left) / 2, (left - right) / 2 / 0.7
        alignment = Similarity.through((centre - half, centre + half), _EYES)
        assert self._mesh is not None
        self._mesh.reset()
        result = self._settle(picture, alignment)
        if result is None:
            return None
        alignment, points, depth = result
        return SearchResult(alignment, picture, points, depth, len(faces) - 1)

    def _settle(
        self, picture: Image, alignment: Similarity
    ) -> tuple[Similarity, Points, npt.NDArray[np.float64]] | None:
        """Align by landmarks that were found in a crop which the last alignment gave."""
        for _ in range(2):
            landmarks = self._landmarks(draw_crop(picture, alignment))
            if landmarks is None:
                return None
            to_picture = CANONICAL_TO_CROP.after(alignment).inverse()
            points, depth = to_picture(landmarks[0]), landmarks[1] * abs(to_picture.a)
            alignment = outer_eye_alignment(points)
        return alignment, alignment(points), depth * abs(alignment.a)


def draw_crop(picture: Image, alignment: Similarity) -> Image:
    """Return the (192, 192, 3) crop of the canonical face with its margin."""
    matrix = CANONICAL_TO_CROP.after(alignment).matrix()
    crop: Image = cv2.warpAffine(picture, matrix, (CROP_SIZE, CROP_SIZE), flags=cv2.INTER_LINEAR)  # type: ignore[assignment]
    return crop
