"""A camera of known focal length and distortion comes back from drawn views of the board."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from calibration import lens
from calibration.cli import main
from calibration.lens import Board
from streamer.errors import ConfigError

SIZE = (640, 480)
CAMERA = np.array([[620.0, 0, 330.0], [0, 615.0, 236.0], [0, 0, 1]])
BARREL = np.array([-0.12, 0.02, 0.0, 0.0, 0.0])
BOARD = Board()
_SCALE = 4  # pixels of the printed board in a millimetre


def view(rotation, shift, distortion) -> np.ndarray:
    """The board as the camera sees it."""
    width, height = BOARD.columns * BOARD.square_mm, BOARD.rows * BOARD.square_mm
    printed = BOARD.charuco().generateImage((int(width * _SCALE), int(height * _SCALE)))
    y, x = np.mgrid[: SIZE[1], : SIZE[0]].astype(np.float64)
    rays = cv2.undistortPoints(
        np.stack([x, y], axis=-1).reshape(-1, 1, 2), CAMERA, distortion
    ).reshape(-1, 2)
    turn, _ = cv2.Rodrigues(np.array(rotation, float))
    plane = np.column_stack([turn[:, 0], turn[:, 1], shift])
    on_board = np.column_stack([rays, np.ones(len(rays))]) @ np.linalg.inv(plane).T
    spots = (on_board[:, :2] / on_board[:, 2:]).reshape(SIZE[1], SIZE[0], 2)
    source = (spots * _SCALE - 0.5).astype(np.float32)
    return cv2.remap(
        cv2.GaussianBlur(printed, (0, 0), 1.5),
        source[..., 0],
        source[..., 1],
        cv2.INTER_LINEAR,
        borderValue=255,
    )


POSES = [
    ((0.3, 0.0, 0.0), (-120, -80, 320)), ((-0.3, 0.2, 0.1), (-60, -40, 300)),
    ((0.1, -0.4, 0.0), (-150, -60, 360)), ((0.1, 0.4, -0.1), (-60, -100, 350)),
    ((-0.2, -0.2, 0.2), (-100, -70, 260)), ((0.4, 0.2, 0.0), (-180, -120, 400)),
    ((0.0, 0.5, 0.1), (-20, -60, 330)), ((-0.4, -0.1, 0.0), (-110, -20, 330)),
    ((0.2, -0.3, 0.3), (-40, -130, 340)), ((0.0, 0.0, 0.0), (-105, -75, 280)),
]  # fmt: skip


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    return [view(rotation, shift, BARREL) for rotation, shift in POSES]


@pytest.fixture(scope="module")
def views(pictures) -> list[lens.View]:
    found = [lens.find_corners(picture, BOARD) for picture in pictures]
    return [seen for seen in found if seen is not None]


def test_focal_length_within_one_per_cent(views):
    result = lens.measure(views, SIZE, BOARD)
    assert result.views >= lens.MIN_VIEWS
    assert result.rms_px < 0.5
    assert result.focal_px == pytest.approx((620, 615), rel=0.01)
    assert result.centre_px == pytest.approx((330, 236), abs=5)
    assert result.distortion[0] == pytest.approx(-0.12, abs=0.03)
    assert lens.findings(result) == ()
    assert lens.LensResult.model_validate_json(result.model_dump_json()) == result


def test_too_few_views_are_refused(views):
    seen = views[0]
    with pytest.raises(ConfigError, match="seen in 2 positions"):
        lens.measure([seen, seen], SIZE, BOARD)


def test_no_board_is_no_view(tmp_path):
    assert lens.find_corners(np.full((480, 640), 128, np.uint8), BOARD) is None
    lens.draw_board(tmp_path / "board.png", BOARD)
    printed = cv2.imread(str(tmp_path / "board.png"), cv2.IMREAD_GRAYSCALE)
    seen = lens.find_corners(printed, BOARD)
    assert seen is not None
    assert len(seen[0]) == (BOARD.columns - 1) * (BOARD.rows - 1)


def test_bad_views_are_told(views):
    result = lens.measure(views, SIZE, BOARD)
    told = lens.findings(result.model_copy(update={"rms_px": 2.0, "coverage": 0.3}))
    assert [finding.severity for finding in told] == ["warning", "warning"]


def test_a_folder_of_pictures_is_measured_from_the_command_line(pictures, tmp_path, capsys):
    folder = tmp_path / "views"
    folder.mkdir()
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(folder / f"{number:03}.png"), picture)
        cv2.imwrite(str(folder / f"{number:03}b.png"), picture)  # not a new position
    out = tmp_path / "lens.json"
    assert main(["lens", "--source", str(folder), "--fps", "2", "--out", str(out)]) == 0
    result = lens.LensResult.model_validate_json(out.read_text())
    assert result.views <= len(POSES)
    assert result.focal_px == pytest.approx((620, 615), rel=0.01)
    assert "Focal length" in capsys.readouterr().out
