import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from engines.events import EventKind
from engines.synthesis import Scenario, ScenarioConfig
from engines.synthesis.expressions import EMOTIONS
from engines.synthesis.head import HeadPose
from engines.synthesis.scenario import REFERENCE_INTER_OCULAR_PX

MINUTE = 60.0
seeds = st.integers(0, 2**31)


def largest_unit(scenario: Scenario, times: np.ndarray) -> np.ndarray:
    """Largest displacement of any action unit at each time, in pixels."""
    return REFERENCE_INTER_OCULAR_PX * np.array(
        [max((value for _, value in scenario.at(time).action_units), default=0.0) for time in times]
    )


@given(seeds)
@settings(max_examples=15, deadline=None)
def test_expressions_keep_to_their_kind_and_their_distance(seed: int) -> None:
    config = ScenarioConfig()
    expressions = Scenario(config, seed, MINUTE).expressions
    assert expressions
    for one in expressions:
        lasting = one.offset_s - one.onset_s
        low, high = (0.1, 0.45) if one.kind is EventKind.MICRO else (0.7, 4.0)
        assert low <= lasting <= high
        assert one.start_s < one.onset_s < one.apex_s < one.offset_s < one.end_s < MINUTE
        assert one.onset_s >= config.lead_s
        peak = one.courses.max() * REFERENCE_INTER_OCULAR_PX
        assert 0.3 <= peak <= 3.0 + 1e-9
    for before, after in pairwise(expressions):
        assert after.onset_s - before.offset_s >= config.min_gap_s


@given(seeds)
@settings(max_examples=10, deadline=None)
def test_the_truth_is_what_the_face_does(seed: int) -> None:
    scenario = Scenario(ScenarioConfig(micro_share=0.8), seed, 15.0)
    for one in scenario.expressions:
        # The faint tails of its neighbours are not part of it.
        times = np.linspace(
            max(one.start_s, one.onset_s - 0.5), min(one.end_s, one.offset_s + 0.5), 2001
        )
        course = largest_unit(scenario, times)
        step = float(times[1] - times[0])
        visible = times[course >= 0.1 * course.max()]
        tolerance = 2 * one.step_s + step
        assert visible[0] == pytest.approx(one.onset_s, abs=tolerance)
        assert visible[-1] == pytest.approx(one.offset_s, abs=tolerance)
        assert times[np.argmax(course)] == pytest.approx(one.apex_s, abs=tolerance)


def test_truth_is_json_with_the_agreed_keys() -> None:
    truth = Scenario(ScenarioConfig(), 3, MINUTE).truth()
    assert json.loads(json.dumps(truth)) == list(truth)
    for one in truth:
        assert list(one) == ["kind", "onset_s", "apex_s", "offset_s", "emotion", "action_units"]
        assert one["kind"] in ("micro", "macro")
        assert one["emotion"] in EMOTIONS
        assert one["action_units"]


def test_courses_are_continuous() -> None:
    scenario = Scenario(ScenarioConfig(head_motion=False), 5, 30.0)
    times = np.arange(0.0, 30.0, 0.001)
    assert np.abs(np.diff(largest_unit(scenario, times))).max() < 0.1  # px in a millisecond


def test_a_longer_session_begins_in_the_same_way() -> None:
    short, long = (Scenario(ScenarioConfig(), 7, duration) for duration in (30.0, 90.0))
    assert long.truth()[: len(short.truth())] == short.truth()
    assert long.at(12.345) == short.at(12.345)


def test_seeds_differ_and_repeat() -> None:
    assert (
        Scenario(ScenarioConfig(), 1, MINUTE).truth()
        == Scenario(ScenarioConfig(), 1, MINUTE).truth()
    )
    assert (
        Scenario(ScenarioConfig(), 1, MINUTE).truth()
        != Scenario(ScenarioConfig(), 2, MINUTE).truth()
    )


@pytest.mark.parametrize("switch", ["head_motion", "blinks", "gaze", "ripple", "noise"])
def test_switching_one_thing_off_leaves_the_others_as_they_were(switch: str) -> None:
    everything = Scenario(ScenarioConfig(), 4, MINUTE)
    without = Scenario(ScenarioConfig(**{switch: False}), 4, MINUTE)
    still = {"head_motion": "head", "blinks": "closure", "gaze": "gaze", "ripple": "gain"}
    assert without.truth() == everything.truth()
    for time in np.linspace(0, MINUTE, 500):
        one, other = everything.at(time), without.at(time)
        for part in ("action_units", "head", "closure", "gaze", "gain"):
            if part != still.get(switch):
                assert getattr(one, part) == getattr(other, part)


def test_everything_off_is_a_photograph() -> None:
    config = ScenarioConfig(
        expressions=False, head_motion=False, blinks=False, gaze=False, ripple=False, noise=False
    )
    scenario = Scenario(config, 0, MINUTE)
    assert scenario.truth() == ()
    assert len({scenario.at(time) for time in np.linspace(0, MINUTE, 200)}) == 1


def test_quiet_stretches_are_quiet() -> None:
    quiet = (10.0, 50.0)
    scenario = Scenario(ScenarioConfig(quiet_s=(quiet,)), 2, 90.0)
    assert scenario.expressions
    assert not largest_unit(scenario, np.arange(*quiet, 0.01)).any()


def test_blinks_come_at_human_rates() -> None:
    blinks = [Scenario(ScenarioConfig(), seed, MINUTE).blinks for seed in range(8)]
    assert 15 <= np.mean([len(one) for one in blinks]) <= 20
    for blink in (blink for one in blinks for blink in one):
        assert 0.1 <= blink.end_s - blink.start_s <= 0.4
        assert blink.at(blink.start_s) == blink.at(blink.end_s) == 0
        assert blink.at(blink.start_s + blink.closing_s) == blink.depth


@given(seeds)
@settings(max_examples=8, deadline=None)
def test_the_head_stays_near_its_place_and_moves_slowly(seed: int) -> None:
    scenario = Scenario(ScenarioConfig(), seed, MINUTE)
    poses: list[HeadPose] = [scenario.at(time).head for time in np.arange(0, MINUTE, 0.05)]
    shift = np.array([(pose.x, pose.y) for pose in poses]) * REFERENCE_INTER_OCULAR_PX
    assert np.abs(shift).max() <= 10.0
    assert np.ptp(shift[:, 0]) > 1.0
    assert np.abs(np.diff(shift, axis=0)).max() / 0.05 < 60.0  # px a second
    assert max(abs(pose.roll) for pose in poses) < np.radians(2)
    assert max(abs(pose.scale - 1) for pose in poses) < 0.02
    assert max(abs(pose.yaw) for pose in poses) <= 0.01


def test_lamp_ripple_aliases_as_in_a_camera() -> None:
    scenario = Scenario(ScenarioConfig(), 0, 10.0)
    at_200_fps = np.array([scenario.at(k / 200).gain for k in range(8)]) - 1
    # 100 Hz at 200 fps: every second frame is brighter.
    assert np.allclose(at_200_fps[::2], -at_200_fps[1::2], atol=1e-3)
    assert np.abs(at_200_fps).max() <= 0.02


@pytest.mark.parametrize(
    "wrong",
    [
        {"blink": True},
        {"micro_duration_s": (0.4, 0.2)},
        {"micro_duration_s": (0.1, 0.7)},
        {"macro_duration_s": (0.3, 2.0)},
        {"micro_amplitude_px": (0.0, 1.0)},
        {"expressions_per_min": 0.0},
    ],
)
def test_a_wrong_configuration_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ScenarioConfig(**wrong)  # type: ignore[arg-type]
