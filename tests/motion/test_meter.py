"""Region motion on a real face that is moved by known fields."""

import cv2
import numpy as np
import pytest

from engines.motion import regions
from engines.motion.canonical import INTER_OCULAR_PX, REGION_NAMES
from engines.motion.config import MotionConfig
from engines.motion.flow import create_flow
from engines.motion.meter import MotionMeter
from engines.motion.regions import RegionWeights
from engines.synthesis import Portrait

FPS = 100.0
FLOWS = ("dis", "farneback")


class Face:
    """The portrait in the canonical frame, with its mesh, and ways to move it."""

    def __init__(self) -> None:
        portrait = Portrait.astronaut()
        gray = cv2.cvtColor(portrait.image, cv2.COLOR_BGR2GRAY)
        points = np.asarray(portrait.landmarks, np.float64)[:, :2]
        eyes = points[263] - points[33]
        scale = INTER_OCULAR_PX / np.hypot(*eyes)
        angle = -np.arctan2(eyes[1], eyes[0])
        turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        self.matrix = np.column_stack([turn, np.array([32.0, 46.0]) - turn @ points[33]])
        self.gray = gray
        xy = points @ turn.T + self.matrix[:, 2]
        self.mesh = np.column_stack([xy, np.zeros(len(xy))]).astype(np.float32)
        self.rest = cv2.warpAffine(gray, self.matrix, (128, 128), flags=cv2.INTER_CUBIC)

    def moved(self, region: str, x: float, y: float, sigma: float = 10.0):
        """The face with one region displaced by (x, y) canonical pixels at its centre."""
        centre = RegionWeights(self.mesh).centres[REGION_NAMES.index(region)]
        row, column = np.mgrid[0:128, 0:128].astype(np.float32)
        bump = np.exp(-((column - centre[0]) ** 2 + (row - centre[1]) ** 2) / (2 * sigma**2))
        return cv2.remap(self.rest, column - x * bump, row - y * bump, cv2.INTER_CUBIC)


@pytest.fixture(scope="module")
def face() -> Face:
    return Face()


def meter(flow: str = "dis") -> MotionMeter:
    return MotionMeter(MotionConfig(flow=flow), FPS)


def measure(meter, picture, k, face, epoch=0, gap=0):
    return meter.measure(k, k / FPS, gap, picture, epoch=epoch, mesh=face.mesh, head_speed=0.0)


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize(
    ("region", "x", "y"),
    [
        ("left_mouth_corner", 0.8, -0.8),
        ("right_mouth_corner", -0.8, -0.8),
        ("left_brow_inner", 0.0, -1.0),
        ("right_brow_outer", 0.0, -1.0),
        ("chin", 0.0, 1.2),
    ],
)
def test_a_region_moves_where_it_was_moved(face, flow, region, x, y):
    instrument = meter(flow)
    for k in range(5):
        measure(instrument, face.rest, k, face)
    sample = measure(instrument, face.moved(region, x, y), 5, face)
    measured = sample.motion[REGION_NAMES.index(region)] * INTER_OCULAR_PX
    expected = np.array([x, y])
    along = measured @ expected / (expected @ expected)
    assert 0.35 < along < 1.2  # the patch averages over a bump, and flow reads it a little short
    assert np.linalg.norm(measured - along * expected) < 0.3
    strongest = REGION_NAMES[int(np.linalg.norm(sample.motion, axis=1).argmax())]
    assert strongest == region
    assert sample.strain[REGION_NAMES.index(region)] > 0


@pytest.mark.parametrize("flow", FLOWS)
def test_a_brighter_face_has_not_moved(face, flow):
    instrument = meter(flow)
    measure(instrument, face.rest, 0, face)
    brighter = cv2.convertScaleAbs(face.rest, alpha=1.05)
    sample = measure(instrument, brighter, 1, face)
    assert np.abs(sample.motion).max() * INTER_OCULAR_PX < 0.25


def test_a_shift_of_the_whole_face_is_head_motion(face):
    instrument = meter()
    measure(instrument, face.rest, 0, face)
    shift = np.array([[1.0, 0.0, 0.6], [0.0, 1.0, -0.4]])
    shifted = cv2.warpAffine(
        face.rest, shift, (128, 128), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    sample = measure(instrument, shifted, 1, face)
    assert np.abs(sample.motion).max() * INTER_OCULAR_PX < 0.3


def test_turning_moves_near_against_far_and_is_head_motion():
    """Depth in the mesh tells a turning nose from a moving one."""
    random = np.random.default_rng(1)
    mesh = random.uniform(30, 100, (468, 3)).astype(np.float32)
    mesh[:, 2] = random.uniform(-30, 10, 468)
    weights = RegionWeights(mesh)
    centres = [mesh[list(regions._REGIONS[name][0])].mean(axis=0) for name in REGION_NAMES]
    centres += [mesh[list(eye)].mean(axis=0) for eye in regions._EYES]
    heads = np.array([mesh[list(points)].mean(axis=0) for points, _ in regions._HEAD])
    turn = 0.002

    def turned(places):
        motion = np.zeros((len(places), 2))
        motion[:, 0] = turn * (np.array(places)[:, 2] - heads[:, 2].mean()) / INTER_OCULAR_PX
        return motion

    predicted = (weights.head @ turned(heads).ravel()).reshape(-1, 2)
    np.testing.assert_allclose(predicted, turned(centres), atol=0.25 * turn)


def test_the_reference_is_renewed_without_a_step(face):
    instrument = MotionMeter(MotionConfig(reference_s=0.3, neutral_iod=0.05), FPS)
    moved = face.moved("chin", 0.0, 1.2)
    for k in range(5):
        measure(instrument, face.rest, k, face)
    chin = REGION_NAMES.index("chin")
    course = [float(measure(instrument, moved, k, face).motion[chin, 1]) for k in range(5, 200)]
    assert np.ptp(course) < 1e-6
    back = [float(measure(instrument, face.rest, k, face).motion[chin, 1]) for k in range(200, 205)]
    assert abs(back[-1]) < 0.25 * course[0]


def test_a_new_epoch_and_a_lost_face_start_anew(face):
    instrument = meter()
    moved = face.moved("chin", 0.0, 2.0)
    assert measure(instrument, face.rest, 0, face).restart
    assert not measure(instrument, moved, 1, face).restart
    again = measure(instrument, moved, 2, face, epoch=1)
    assert again.restart
    assert not again.motion.any()
    lost = instrument.measure(3, 0.03, 0, None, epoch=1, mesh=None, head_speed=0.0)
    assert not lost.valid
    assert lost.face is None
    assert measure(instrument, face.rest, 4, face, epoch=1).restart


def test_the_second_flow_spans_its_time_or_nothing(face):
    instrument = MotionMeter(MotionConfig(), FPS, delta_flow=True)
    for k in range(10):
        sample = measure(instrument, face.rest, k, face)
        assert sample.flow_delta is None
    sample = measure(instrument, face.moved("chin", 0.0, 1.2), 10, face)
    assert sample.flow_delta is not None
    assert sample.delta_s == pytest.approx(0.1)
    assert sample.velocity[REGION_NAMES.index("chin"), 1] > 0
    after_a_gap = measure(instrument, face.rest, 60, face, gap=49)
    assert after_a_gap.flow_delta is None
    assert not after_a_gap.velocity.any()
    without = meter()
    for k in range(11):
        sample = measure(without, face.rest, k, face)
    assert sample.flow_delta is None


@pytest.mark.parametrize("flow", FLOWS)
def test_flow_methods_keep_the_contract(face, flow):
    method = create_flow(flow)
    first = method(face.rest, face.moved("chin", 0.0, 1.0))
    second = method(face.rest, face.moved("chin", 0.0, 1.0))
    assert method.name == flow
    assert first.shape == (128, 128, 2)
    assert first.dtype == np.float32
    np.testing.assert_array_equal(first, second)
