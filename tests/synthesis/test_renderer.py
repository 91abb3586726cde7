import cv2
import numpy as np
import pytest

from engines.synthesis import FaceAnimator, FaceState, Portrait, Scenario, ScenarioConfig
from engines.synthesis.head import HeadPose
from engines.synthesis.noise import NoiseBank

WIDTH, HEIGHT = 640, 480
CLEAN = ScenarioConfig(noise=False, ripple=False)


def make_animator(
    config: ScenarioConfig, seed: int = 0, size: tuple[int, int] = (WIDTH, HEIGHT)
) -> FaceAnimator:
    return FaceAnimator(Portrait.astronaut(), Scenario(config, seed, 30.0), *size)


@pytest.fixture(scope="module")
def clean() -> FaceAnimator:
    return make_animator(CLEAN)


@pytest.fixture(scope="module")
def full() -> FaceAnimator:
    return make_animator(ScenarioConfig())


def render(animator: FaceAnimator, time_s: float, number: int = 0) -> np.ndarray:
    out = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    animator.render(time_s, out, number)
    return out


def draw(animator: FaceAnimator, state: FaceState) -> np.ndarray:
    out = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    animator.draw(state, out, 0)
    return out


def flow_at(before: np.ndarray, after: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Farnebäck flow between two pictures, (N, 2) at points of the first."""
    gray = [cv2.cvtColor(one, cv2.COLOR_BGR2GRAY) for one in (before, after)]
    flow = cv2.calcOpticalFlowFarneback(
        *gray, None, 0.5, 1, 11, 10, 5, 1.1, cv2.OPTFLOW_FARNEBACK_GAUSSIAN
    )
    return cv2.remap(flow, points.astype(np.float32)[None], None, cv2.INTER_LINEAR)[0]


def test_the_head_is_framed_as_in_a_laboratory(clean: FaceAnimator) -> None:
    assert 90 <= clean.inter_ocular_px <= 110
    measured = np.hypot(*(clean.landmarks[263] - clean.landmarks[33]))
    assert measured == pytest.approx(clean.inter_ocular_px)
    low, high = clean.landmarks.min(axis=0), clean.landmarks.max(axis=0)
    assert (low > 60).all()
    assert (high < (WIDTH - 60, HEIGHT - 60)).all()


def test_a_frame_is_the_same_whatever_was_drawn_before(full: FaceAnimator) -> None:
    times = [k / 200 for k in (0, 17, 900, 901, 1400)]
    first = [render(full, time, round(time * 200)) for time in times]
    again = [render(full, time, round(time * 200)) for time in reversed(times)][::-1]
    fresh = make_animator(ScenarioConfig())
    other = [render(fresh, time, round(time * 200)) for time in times]
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))
    assert not np.array_equal(first[2], first[3])


def test_the_frame_rate_does_not_change_the_session() -> None:
    animator = make_animator(ScenarioConfig(noise=False))
    for second in (4, 7, 9):
        assert np.array_equal(
            render(animator, second * 30 / 30, second * 30),
            render(animator, second * 200 / 200, second * 200),
        )


def test_at_rest_the_picture_is_the_photograph(clean: FaceAnimator) -> None:
    """The moving part has no seam, and the landmarks are where Face Mesh found them."""
    portrait = Portrait.astronaut()
    scale = clean.inter_ocular_px / portrait.inter_ocular_px
    rest = draw(clean, FaceState()).astype(float)
    shift = clean.landmarks[0] - portrait.landmarks[0, :2] * scale
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    photo = cv2.warpAffine(
        portrait.image,
        matrix,
        (WIDTH, HEIGHT),
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REFLECT_101,
    ).astype(float)
    photo = photo * 228 / 255 + 10
    assert np.abs(rest - photo).mean() < 1.0
    assert np.percentile(np.abs(rest - photo), 99) < 8.0


@pytest.mark.parametrize("shift_px", [(0.13, 0.0), (0.5, -0.25), (1.7, 0.9)])
def test_flow_recovers_a_shift_of_the_head(
    clean: FaceAnimator, shift_px: tuple[float, float]
) -> None:
    x, y = np.array(shift_px) / clean.inter_ocular_px
    moved = draw(clean, FaceState(head=HeadPose(x=x, y=y)))
    flow = flow_at(draw(clean, FaceState()), moved, clean.landmarks)
    assert np.median(flow, axis=0) == pytest.approx(shift_px, abs=0.03)


@pytest.mark.parametrize("unit", [1, 2, 4, 12, 15, 17, 20, 26])
@pytest.mark.parametrize("amplitude_px", [0.3, 1.0, 3.0])
def test_flow_recovers_what_an_action_unit_does(
    clean: FaceAnimator, unit: int, amplitude_px: float
) -> None:
    state = FaceState(action_units=((unit, amplitude_px / clean.inter_ocular_px),))
    truth = clean.positions(state) - clean.landmarks
    flow = flow_at(draw(clean, FaceState()), draw(clean, state), clean.landmarks)
    moving = np.hypot(*truth.T) > 0.5 * amplitude_px
    assert moving.sum() >= 6
    error = np.hypot(*(flow - truth).T)[moving]
    # What is left is the flow's own error on skin with little texture.
    assert np.median(error) < 0.06 + 0.15 * amplitude_px
    along = (flow * truth).sum(axis=1)[moving] / (truth**2).sum(axis=1)[moving]
    assert 0.85 < np.median(along) < 1.1


def test_muscles_go_where_the_head_goes(clean: FaceAnimator) -> None:
    head = HeadPose(x=0.08, y=-0.05, roll=0.02, scale=1.01)
    turned = clean.positions(FaceState(head=head))
    smiling = clean.positions(FaceState(head=head, action_units=((12, 0.03),)))
    at_rest = clean.positions(FaceState(action_units=((12, 0.03),))) - clean.landmarks
    difference = np.hypot(*((smiling - turned) - at_rest).T)
    assert difference.max() < 0.15


def test_the_background_stays(clean: FaceAnimator) -> None:
    rest = draw(clean, FaceState())
    moved = draw(
        clean, FaceState(action_units=((12, 0.03), (26, 0.03)), head=HeadPose(x=0.1, roll=0.02))
    )
    assert np.array_equal(rest[:, :140], moved[:, :140])
    assert np.array_equal(rest[:, 500:], moved[:, 500:])
    assert np.array_equal(rest[400:], moved[400:])


def test_a_muscle_leaves_the_rest_of_the_picture_alone(clean: FaceAnimator) -> None:
    rest, smile = (draw(clean, FaceState(action_units=unit)) for unit in ((), ((12, 0.03),)))
    difference = np.abs(rest.astype(int) - smile).max(axis=2)
    x, y = clean.landmarks.min(axis=0).astype(int), clean.landmarks.max(axis=0).astype(int)
    outside = np.ones_like(difference, bool)
    outside[x[1] - 5 : y[1] + 5, x[0] - 15 : y[0] + 15] = False
    assert difference[outside].max() <= 2
    assert difference.max() > 30


def test_a_blink_covers_the_eye_and_nothing_else(clean: FaceAnimator) -> None:
    open_eye, closed = (draw(clean, FaceState(closure=closure)) for closure in (0.0, 1.0))
    difference = np.abs(open_eye.astype(int) - closed).max(axis=2)
    for pupil in (clean.landmarks[[159, 145]], clean.landmarks[[386, 374]]):
        x, y = pupil.mean(axis=0).astype(int)
        assert difference[y - 2 : y + 3, x - 3 : x + 4].max() > 40
    assert difference[int(clean.landmarks[195, 1]) :].max() == 0, "the lower face moves"
    brows = clean.landmarks[[105, 334]].astype(int)
    assert difference[brows[:, 1], brows[:, 0]].max() <= 3


def test_a_saccade_moves_the_iris_alone(clean: FaceAnimator) -> None:
    ahead, aside = (draw(clean, FaceState(gaze=(gaze, 0.0))) for gaze in (0.0, 0.015))
    difference = np.abs(ahead.astype(int) - aside).max(axis=2)
    moving = np.argwhere(difference > 5)
    eyes = clean.landmarks[[33, 133, 263, 362, 159, 145, 386, 374]][:, ::-1]
    assert len(moving) > 10
    assert (moving >= eyes.min(axis=0) - 3).all()
    assert (moving <= eyes.max(axis=0) + 3).all()


def test_turning_moves_the_nose_against_the_outline(clean: FaceAnimator) -> None:
    moved = clean.positions(FaceState(head=HeadPose(yaw=0.01))) - clean.landmarks
    assert moved[1, 0] == pytest.approx(0.01 * clean.inter_ocular_px, rel=0.15)
    assert np.abs(moved[[127, 356, 234, 454], 0]).max() < 0.5 * moved[1, 0]


def test_the_scripted_movement_is_seen_in_the_pictures() -> None:
    """Onset, apex and offset of the truth against the change of the pictures themselves."""
    config = ScenarioConfig(
        head_motion=False, blinks=False, gaze=False, ripple=False, noise=False,
        micro_amplitude_px=(2.0, 3.0), micro_share=1.0,
    )  # fmt: skip
    animator, scenario = make_animator(config, seed=1), Scenario(config, 1, 30.0)
    rest = render(animator, 0.0).astype(int)
    for expression in scenario.expressions[:2]:
        times = np.arange(expression.start_s, expression.end_s, 0.005)
        change = np.array([np.abs(render(animator, time) - rest).sum() for time in times])
        assert times[np.argmax(change)] == pytest.approx(expression.apex_s, abs=0.04)
        visible = times[change > 0.1 * change.max()]
        assert visible[0] == pytest.approx(expression.onset_s, abs=0.02)
        assert visible[-1] == pytest.approx(expression.offset_s, abs=0.03)


def test_the_lamp_dims_the_whole_picture(clean: FaceAnimator) -> None:
    bright, dim = (draw(clean, FaceState(gain=gain)).astype(float) for gain in (1.02, 0.98))
    ratio = (bright - 8).mean() / (dim - 8).mean()
    assert ratio == pytest.approx(1.02 / 0.98, rel=0.005)


def test_noise_has_the_strength_that_was_asked_for() -> None:
    config = ScenarioConfig(ripple=False, noise_sigma=2.0)
    noisy, clean = make_animator(config), make_animator(CLEAN)
    difference = render(noisy, 1.0, 200).astype(float) - render(clean, 1.0, 200)
    assert difference.mean() == pytest.approx(0.0, abs=0.05)
    assert difference.std() == pytest.approx(2.0, rel=0.05)


def test_noise_does_not_move_like_a_texture() -> None:
    bank = NoiseBank(0, (120, 160, 3), 2.0)
    frames = [bank.frame(number).astype(float) - 8 for number in range(40)]
    for lag in (1, 2, 5, 10):
        for before, after in zip(frames, frames[lag:], strict=False):
            # No correlation in place or a few pixels aside.
            for shift in (0, 1, 2):
                product = before[:, : 160 - shift] * after[:, shift:]
                assert abs(product.mean()) < 0.2 or np.array_equal(before, after)
    distinct = {frame.tobytes() for frame in frames}
    assert len(distinct) >= 36


@pytest.mark.parametrize("size", [(320, 240), (480, 640), (1280, 720)])
def test_any_size_shows_the_same_scene(size: tuple[int, int], clean: FaceAnimator) -> None:
    animator = make_animator(CLEAN, size=size)
    width, height = size
    out = np.empty((height, width, 3), np.uint8)
    animator.render(9.15, out, 0)
    scale = animator.inter_ocular_px / clean.inter_ocular_px
    assert scale == pytest.approx(min(width / WIDTH, height / HEIGHT))
    shrunk = cv2.resize(
        render(clean, 9.15), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA
    ).astype(float)
    # The same head: compare around the nose.
    reach = int(35 * scale)
    patches = []
    for picture, at in ((out, animator.landmarks[1]), (shrunk, clean.landmarks[1] * scale)):
        x, y = np.rint(at).astype(int)
        patches.append(picture[y - reach : y + reach, x - reach : x + reach].astype(float))
    assert np.abs(patches[0] - patches[1]).mean() < 9.0


def test_the_smallest_picture_can_be_drawn() -> None:
    animator = make_animator(ScenarioConfig(), size=(64, 64))
    out = np.zeros((64, 64, 3), np.uint8)
    for number in range(200):
        animator.render(number / 20, out, number)
    assert out.std() > 20


def test_a_picture_without_a_face_cannot_be_animated() -> None:
    with pytest.raises(ValueError, match="no face"):
        Portrait.from_image(np.full((200, 200, 3), 128, np.uint8))
