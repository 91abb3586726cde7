"""Every camera's frames on one grid of time."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.features.grid import TICK_S
from engines.features.ticks import TickSampler
from engines.features.views import StripsView, mirrored_regions, region_values, scaled
from engines.motion.canonical import FACE_SIZE, REGION_NAMES
from engines.spotting.base import MotionSample

R = len(REGION_NAMES)


class Clock(StripsView):
    """A view whose pictures say when they were taken."""

    def write(self, sample: MotionSample, out) -> None:
        for picture in out.values():
            picture[:] = sample.time_s


def sample(time_s: float, *, valid: bool = True, restart: bool = False, flow: bool = True, **given):
    empty = np.zeros((R, 2), np.float32)
    values = {"motion": empty, "velocity": empty, "strain": np.zeros(R, np.float32),
              "eyes": np.zeros((2, 2), np.float32)} | given  # fmt: skip
    return MotionSample(
        index=round(time_s * 1000), time_s=time_s, gap_before=0, valid=valid, restart=restart,
        head_speed=0.0, delta_s=0.1,
        face=np.zeros((FACE_SIZE, FACE_SIZE), np.uint8) if valid else None,
        flow_delta=np.zeros((FACE_SIZE, FACE_SIZE, 2), np.float32) if valid and flow else None,
        **values,
    )  # fmt: skip


def ticks(frames: Iterable[MotionSample]) -> list[tuple[float, bool, float]]:
    """Time, start, and when the picture was taken, of every tick."""
    sampler = TickSampler(Clock())
    found = []
    for frame in frames:
        sampler.push(frame)
        while sampler.take():
            found.append((sampler.time_s, sampler.starts, float(sampler.pictures["flow"][0, 0, 0])))
    return found


@pytest.mark.parametrize("fps", [15, 25, 30, 50, 60, 120, 200, 240])
def test_every_rate_gives_the_same_ticks(fps: int) -> None:
    found = ticks(sample(k / fps) for k in range(2 * fps))
    times, starts, taken = map(np.array, zip(*found, strict=True))
    assert len(times) == pytest.approx(60, abs=2)
    np.testing.assert_allclose(times, np.arange(len(times)) * TICK_S, atol=1e-9)
    assert starts.tolist() == [True, *[False] * (len(times) - 1)]
    assert np.abs(times - taken).max() <= max(0.5 / fps, 0.5 * TICK_S) + 1e-3 + (fps < 30) / fps


@settings(max_examples=25, deadline=None)
@given(st.sampled_from([30.0, 60.0, 200.0]), st.integers(0, 10_000))
def test_a_clock_that_trembles_loses_and_doubles_no_picture(fps: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    times = (np.arange(round(2 * fps)) + rng.uniform(-1, 1, round(2 * fps)) / 6) / fps
    found = [taken for *_, taken in ticks(sample(t) for t in np.maximum(times, 0).tolist())]
    assert len(set(found)) == len(found)
    assert len(found) == pytest.approx(60, abs=1)


def test_the_motion_of_a_tick_is_the_mean_since_the_one_before() -> None:
    sampler = TickSampler(StripsView())
    moved = np.arange(1.0, 25.0)
    seen = []
    for k, value in enumerate(moved):
        sampler.push(sample(k / 120, motion=np.full((R, 2), value, np.float32)))
        while sampler.take():
            seen.append(float(sampler.regions[0]))
    assert seen[0] == 1.0
    # Four frames a tick, and the frame of a tick is the last of them.
    np.testing.assert_allclose(np.diff(seen)[1:], 4.0)


@pytest.mark.parametrize(
    "broken",
    [
        lambda: [sample(0.5, valid=False), sample(0.5 + TICK_S)],
        lambda: [sample(0.5, restart=True, flow=False), sample(0.6)],
        lambda: [sample(0.9)],
        lambda: [sample(0.5, flow=False), sample(0.6)],
    ],
    ids=["face lost", "restart", "gap", "no flow"],
)
def test_what_breaks_measurement_starts_a_stretch(broken) -> None:
    found = ticks([*(sample(k * TICK_S) for k in range(14)), *broken()])
    assert [starts for _, starts, _ in found][-1]
    assert found[-1][0] == pytest.approx(found[-1][2])


def test_no_ticks_are_left_over_from_a_lost_face() -> None:
    sampler = TickSampler(StripsView())
    sampler.push(sample(0.0))
    sampler.push(sample(0.15))
    sampler.push(sample(0.2, valid=False))
    assert not sampler.take()
    assert not sampler.going_on


def test_mirroring_twice_is_nothing_and_exchanges_sides() -> None:
    rng = np.random.default_rng(0)
    motion = rng.normal(size=(R, 2)).astype(np.float32)
    values = np.zeros(3 * R + 4, np.float32)
    region_values(
        sample(0.0, motion=motion, eyes=rng.normal(size=(2, 2)).astype(np.float32),
               strain=rng.random(R).astype(np.float32)),
        values,
    )  # fmt: skip
    there = mirrored_regions(values)
    np.testing.assert_array_equal(mirrored_regions(there), values)
    right, left = REGION_NAMES.index("right_cheek"), REGION_NAMES.index("left_cheek")
    np.testing.assert_array_equal(there[2 * right : 2 * right + 2], motion[left] * [-1, 1])
    chin = REGION_NAMES.index("chin")
    np.testing.assert_array_equal(there[2 * chin : 2 * chin + 2], motion[chin] * [-1, 1])


def test_the_scale_keeps_order_and_sign() -> None:
    values = np.linspace(-0.1, 0.1, 101, dtype=np.float32)[:, None].repeat(3 * R + 4, 1)
    out = scaled(values)
    assert (np.diff(out, axis=0) > 0).all()
    np.testing.assert_allclose(out, -out[::-1], atol=1e-5)
