"""The face aligner on a real face moved by known transforms, with the real MediaPipe."""

import itertools
import math
from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from engines.motion.canonical import LEFT_EYE_OUTER, RIGHT_EYE_OUTER
from streamer.alignment.base import Aligner, Alignment, AlignmentState
from streamer.alignment.face_aligner import FaceAligner
from streamer.config import AlignmentConfig
from tests.alignment.moving_portrait import blank, frame, picture

FPS = 60.0


@pytest.fixture
def aligner() -> Iterator[FaceAligner]:
    aligner = FaceAligner(AlignmentConfig(), wait=True)
    aligner.open()
    yield aligner
    aligner.close()


def follow(aligner: FaceAligner, pictures, start: int = 0, fps: float = FPS):
    """Align pictures in turn; returns what is known of each and the canonical faces."""
    results: list[Alignment] = []
    faces = []
    for index, image in enumerate(pictures, start):
        out = np.zeros((128, 128), np.uint8)
        results.append(aligner.align(frame(index, fps, image), out))
        faces.append(out)
    return results, np.array(faces)


def test_the_canonical_face_has_its_eyes_where_they_belong(aligner):
    results, faces = follow(aligner, [picture()] * 60)
    last = results[-1]
    assert isinstance(aligner, Aligner)
    assert last.state is AlignmentState.FOLLOWING
    assert last.valid
    assert last.mesh is not None
    np.testing.assert_allclose(last.mesh[33, :2], RIGHT_EYE_OUTER, atol=0.5)
    np.testing.assert_allclose(last.mesh[263, :2], LEFT_EYE_OUTER, atol=0.5)
    assert last.inter_ocular_px == pytest.approx(62.8 * 1.5, rel=0.05)
    assert last.confidence > 0.8
    assert abs(math.degrees(last.pose[2])) < 6
    assert faces[-1].mean() > 50


def test_head_motion_of_known_size_leaves_the_canonical_face_still(aligner):
    """12 px of sway, 3° of tilt and 4 % of zoom at 0.5 Hz must not look like facial motion."""
    times = np.arange(150) / FPS
    sway = np.sin(2 * np.pi * 0.5 * times)
    pictures = [picture(12 * s, 6 * s, 3 * s, 1.5 * (1 + 0.04 * s)) for s in sway]
    results, faces = follow(aligner, pictures)
    assert all(r.valid for r in results[10:])
    still = faces[30]
    shifts = [cv2.phaseCorrelate(np.float64(still), np.float64(f))[0] for f in faces[30:]]
    residual = np.linalg.norm(shifts, axis=1)
    assert np.percentile(residual, 95) < 0.25  # canonical pixels; the sway was about 9 of them
    assert max(r.head_speed for r in results[20:]) > 0.2


def test_tilt_is_that_of_the_picture(aligner):
    results, _ = follow(aligner, [picture()] * 30 + [picture(angle_deg=-10)] * 60)
    assert np.isnan(results[0].pose).all()
    tilt = math.degrees(results[-1].pose[2] - results[29].pose[2])
    assert tilt == pytest.approx(10, abs=2)


def test_lamp_ripple_does_not_move_the_face(aligner):
    gains = [1.0 + 0.08 * (-1) ** k for k in range(90)]
    _, faces = follow(aligner, [picture(gain=gain) for gain in gains])
    after = np.float64(faces[60:])
    shifts = [cv2.phaseCorrelate(a, b)[0] for a, b in itertools.pairwise(after)]
    assert np.abs(shifts).max() < 0.05  # canonical pixels from a bright frame to a dark one
    brightness = [float(face[40:110, 40:90].mean()) for face in faces[60:]]
    assert np.ptp(brightness) < 1.5


def test_the_face_goes_and_comes_back(aligner):
    pictures = [picture()] * 30 + [blank()] * 40 + [picture(x=40)] * 40
    results, faces = follow(aligner, pictures)
    assert results[0].state is AlignmentState.SEARCHING  # the first landmarks are due later
    assert results[29].valid
    gone = [r.state for r in results[40:70]]
    assert set(gone) == {AlignmentState.SEARCHING}
    assert not faces[60].any()
    assert results[-1].valid
    assert results[-1].face_id == results[29].face_id + 1
    assert results[-1].epoch > results[29].epoch
    assert math.isnan(results[60].pose[0])


def test_a_jump_starts_a_new_epoch_instead_of_looking_like_motion(aligner):
    pictures = [picture()] * 30 + [picture(x=-150, y=30)] * 60
    results, _ = follow(aligner, pictures)
    assert results[-1].valid
    assert results[-1].epoch > results[29].epoch


def test_it_stays_with_the_face_that_it_followed(aligner):
    def two(shift: float):
        left, right = picture(zoom=1.0, size=(320, 480)), picture(zoom=1.25, size=(320, 480))
        left = cv2.warpAffine(left, np.array([[1.0, 0, shift], [0, 1.0, 0]]), (320, 480))
        return np.hstack([left, right])

    alone = [np.hstack([blank((320, 480)), picture(zoom=1.25, size=(320, 480))])] * 30
    results, _ = follow(aligner, alone + [two(k * 0.2) for k in range(120)])
    boxes = [r.box for r in results[10:]]
    assert all(box is not None and box[0] > 320 for box in boxes)
    assert any("several_faces" in r.flags for r in results[60:])
    assert len({r.face_id for r in results[10:]}) == 1


@pytest.mark.parametrize("zoom", [0.7, 3.0])
def test_small_and_large_faces(aligner, zoom):
    size = (640, 480) if zoom < 1 else (1280, 1024)
    results, faces = follow(aligner, [picture(zoom=zoom, size=size)] * 30)
    assert results[-1].valid
    assert results[-1].inter_ocular_px == pytest.approx(62.8 * zoom, rel=0.06)
    assert faces[-1].any()


def test_small_faces_are_flagged():
    aligner = FaceAligner(AlignmentConfig(min_inter_ocular_px=80), wait=True)
    aligner.open()
    results, _ = follow(aligner, [picture(zoom=1.0)] * 20)
    aligner.close()
    assert "small_face" in results[-1].flags


def test_gray_pictures_give_the_same_face(aligner):
    gray = cv2.cvtColor(picture(), cv2.COLOR_BGR2GRAY)
    results, faces = follow(aligner, [gray] * 30)
    assert results[-1].valid
    assert faces[-1].any()


def test_the_outcome_depends_on_the_frames_alone():
    pictures = [picture(x=8 * math.sin(k / 9), angle_deg=math.sin(k / 14)) for k in range(60)]
    runs = []
    for _ in range(2):
        aligner = FaceAligner(AlignmentConfig(), wait=True)
        aligner.open()
        runs.append(follow(aligner, pictures))
        aligner.close()
        aligner.close()
    np.testing.assert_array_equal(runs[0][1], runs[1][1])
    for first, second in zip(runs[0][0], runs[1][0], strict=True):
        assert first.box == second.box
        assert first.flags == second.flags


def test_a_late_mesh_is_said_and_not_waited_for():
    """A live source at a speed that no mesh can follow keeps its frames and says so."""
    aligner = FaceAligner(AlignmentConfig(mesh_hz=60), wait=False)
    aligner.open()
    results, _ = follow(aligner, [picture()] * 400, fps=2000.0)
    aligner.close()
    assert any("mesh_late" in r.flags for r in results)
