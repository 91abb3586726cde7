"""Step 7, the lens (optional): focal length and distortion from pictures of a ChArUco board.

Motion is measured on an aligned face of a hundred pixels or so, which hardly feels a lens; a wide
lens near the face, or work that needs head pose in millimetres, does.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from calibration.result import Finding, Result
from streamer.errors import ConfigError

STEP = "lens"
MIN_VIEWS = 8
_MIN_CORNERS = 8
_RMS_WARNING_PX = 1.0
_COVERAGE_WARNING = 0.6
View = tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]
"""Corners (N, 1, 2) of a board in a picture and their numbers (N, 1)."""

_DICTIONARY = cv2.aruco.DICT_5X5_250
_CELLS = 4


class Board(Result):
    """A ChArUco board of the dictionary DICT_5X5_250.

    Attributes:
        columns: Squares across.
        rows: Squares down.
        square_mm: Side of a square in millimetres.
        marker_share: Side of a marker as a share of a square's.
    """

    columns: int = 7
    rows: int = 5
    square_mm: float = 30.0
    marker_share: float = 0.75

    def charuco(self) -> cv2.aruco.CharucoBoard:
        """Return OpenCV's board; lengths in millimetres."""
        return cv2.aruco.CharucoBoard(
            (self.columns, self.rows),
            self.square_mm,
            self.square_mm * self.marker_share,
            cv2.aruco.getPredefinedDictionary(_DICTIONARY),
        )


class LensResult(Result):
    """A pinhole camera with distortion (Zhang, IEEE PAMI 22, 2000; Brown, 1971).

    Attributes:
        format: Version of this file's format.
        board: What was shown.
        width: Picture width in pixels.
        height: Picture height in pixels.
        views: Pictures that the result rests on.
        rms_px: Root mean square distance between seen and predicted corners.
        coverage: Share of a 4×4 grid over the picture in which corners were seen.
        focal_px: Focal lengths along x and y in pixels.
        focal_error_px: Their standard errors.
        centre_px: Principal point in pixels.
        distortion: k1, k2, p1, p2, k3.
    """

    format: Literal[1] = 1
    board: Board
    width: int
    height: int
    views: int
    rms_px: float
    coverage: float
    focal_px: tuple[float, float]
    focal_error_px: tuple[float, float]
    centre_px: tuple[float, float]
    distortion: tuple[float, ...]


def find_corners(picture: npt.NDArray[np.uint8], board: Board) -> View | None:
    """Find the board in a picture.

    Args:
        picture: (h, w) or (h, w, 3) picture.
        board: The board.

    Returns:
        The view; None when too few corners are seen.
    """
    corners, numbers, _, _ = cv2.aruco.CharucoDetector(board.charuco()).detectBoard(picture)
    if corners is None or len(corners) < _MIN_CORNERS:
        return None
    return np.asarray(corners, np.float32), np.asarray(numbers, np.int32)


def measure(views: Iterable[View], size: tuple[int, int], board: Board) -> LensResult:
    """Fit the camera to views of the board.

    Args:
        views: What `find_corners` gave for different positions of the board.
        size: Width and height of the pictures.
        board: The board.

    Raises:
        ConfigError: There are too few views.
    """
    seen = list(views)
    if len(seen) < MIN_VIEWS:
        raise ConfigError(
            f"The board was seen in {len(seen)} positions and {MIN_VIEWS} are needed: show it "
            "near and far, tilted, and in every corner of the picture."
        )
    charuco = board.charuco()
    pairs = [charuco.matchImagePoints(corners, numbers) for corners, numbers in seen]  # type: ignore[call-overload]
    rms, camera, distortion, _, _, errors, _, _ = cv2.calibrateCameraExtended(
        [objects for objects, _ in pairs],
        [points for _, points in pairs],
        size,
        np.eye(3),
        np.zeros(5),
    )
    places = np.concatenate([corners.reshape(-1, 2) for corners, _ in seen])
    cells = np.floor(places / np.array(size) * _CELLS).clip(0, _CELLS - 1).astype(int)
    deviations = errors.ravel()
    return LensResult(
        board=board,
        width=size[0],
        height=size[1],
        views=len(seen),
        rms_px=float(rms),
        coverage=len(np.unique(cells, axis=0)) / _CELLS**2,
        focal_px=(float(camera[0, 0]), float(camera[1, 1])),
        focal_error_px=(float(deviations[0]), float(deviations[1])),
        centre_px=(float(camera[0, 2]), float(camera[1, 2])),
        distortion=tuple(float(value) for value in distortion.ravel()[:5]),
    )


def findings(result: LensResult) -> tuple[Finding, ...]:
    """What the operator must know of the lens."""
    found = []
    if result.rms_px > _RMS_WARNING_PX:
        found.append(
            Finding(
                step=STEP,
                severity="warning",
                what=f"The corners lie {result.rms_px:.2f} pixels off on average.",
                advice="Use a flat, printed board, sharp pictures and a still hand.",
            )
        )
    if result.coverage < _COVERAGE_WARNING:
        found.append(
            Finding(
                step=STEP,
                severity="warning",
                what=f"The board was seen in {result.coverage:.0%} of the picture.",
                advice="Show it in the corners too: distortion is largest there.",
            )
        )
    return tuple(found)


def draw_board(path: Path, board: Board, pixels_per_square: int = 120) -> None:
    """Write the board as a picture to print.

    Raises:
        ConfigError: It cannot be written.
    """
    size = (board.columns * pixels_per_square, board.rows * pixels_per_square)
    picture = board.charuco().generateImage(size)
    try:
        path.write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    except OSError as error:
        raise ConfigError(
            f"The board cannot be written to {path} ({error.strerror}): name another file."
        ) from error
