import numpy as np
import pytest

from engines.events import EventKind
from engines.synthesis.performance import Performance

SEEDS = range(20)
SECONDS = 30.0


@pytest.fixture(scope="module")
def performances() -> list[Performance]:
    return [Performance(seed, SECONDS) for seed in SEEDS]


def test_the_same_seed_is_the_same_performance(performances: list[Performance]) -> None:
    again = Performance(3, SECONDS)
    assert again.truth() == performances[3].truth()
    assert again.at(12.34) == performances[3].at(12.34)
    assert again.truth() != performances[4].truth()


def test_rates_are_those_of_a_laboratory_recording(performances: list[Performance]) -> None:
    kinds = [e.kind for p in performances for e in p.expressions]
    minutes = SECONDS * len(performances) / 60
    assert 6 < kinds.count(EventKind.MICRO) / minutes < 15
    assert 0.8 < kinds.count(EventKind.MACRO) / minutes < 5


def test_expressions_last_as_long_as_their_kind(performances: list[Performance]) -> None:
    for performance in performances:
        for e in performance.expressions:
            lasts_s = e.offset_s - e.onset_s
            assert e.onset_s < e.apex_s < e.offset_s < SECONDS
            assert (lasts_s <= 0.5) == (e.kind is EventKind.MICRO)


def test_expressions_peak_at_their_apex(performances: list[Performance]) -> None:
    for performance in performances:
        for e in performance.expressions:
            strength = {
                name: max((value for _, value in e.at(time_s)), default=0.0)
                for name, time_s in (("on", e.onset_s), ("apex", e.apex_s), ("off", e.offset_s))
            }
            assert strength["apex"] == pytest.approx(e.courses.max(), rel=0.01)
            assert strength["on"] == pytest.approx(0.1 * strength["apex"], rel=0.2)
            assert strength["off"] == pytest.approx(0.1 * strength["apex"], rel=0.2)


def test_nobody_shows_an_expression_while_talking(performances: list[Performance]) -> None:
    spells = 0
    for performance in performances:
        for d in performance.distractors:
            if d.kind == "talking":
                spells += 1
                assert all(
                    e.end_s <= d.start_s or d.end_s <= e.start_s for e in performance.expressions
                )
    assert spells > 3


def test_a_quiet_clip_has_distractors_only() -> None:
    clip = Performance(7, SECONDS, expressions=False)
    assert clip.expressions == ()
    assert clip.truth()["events"] == []
    assert {d.kind for d in clip.distractors} >= {"blink", "saccade"}


def test_nothing_jumps(performances: list[Performance]) -> None:
    """Skin and head move at the speed of skin and heads at every moment."""
    step_s = 0.005
    for performance in performances[:3]:
        before, pose_before = np.zeros(60), None
        for time_s in np.arange(0, SECONDS, step_s):
            state = performance.at(float(time_s))
            now = np.zeros(60)
            for unit, value in state.action_units:
                now[unit] += value
            assert np.abs(now - before).max() < 2.0 * step_s
            pose = np.array([state.head.x, state.head.y, state.head.yaw, state.head.pitch])
            if pose_before is not None:
                assert np.abs(pose - pose_before).max() < 1.5 * step_s
            before, pose_before = now, pose
