from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.sources.clock import Cadence, StreamClock

RATES = [15.0, 23.976, 30.0, 59.94, 120.0, 200.0, 240.0, 500.0]


def _missing(stamps: list[float]) -> list[int]:
    clock = StreamClock(Cadence())
    return [clock.tick(stamp, 0.01).missing for stamp in stamps]


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("resolution", [0.0, 1e-3, 1e-6])
def test_steady_rate_has_no_gaps(fps: float, resolution: float) -> None:
    if resolution and fps * resolution > 0.25:
        pytest.skip("the container cannot carry this rate")
    stamps = [i / fps for i in range(400)]
    if resolution:
        stamps = [round(stamp / resolution) * resolution for stamp in stamps]
    assert sum(_missing(stamps)) == 0


@settings(deadline=None, max_examples=50)
@given(
    fps=st.sampled_from(RATES),
    lost=st.sets(st.integers(20, 380), max_size=25),
    jitter=st.floats(0.0, 0.1),
    seed=st.integers(0, 1000),
)
def test_every_lost_frame_is_counted(fps: float, lost: set[int], jitter: float, seed: int) -> None:
    noise = random.Random(seed)
    kept = [i for i in range(400) if i not in lost]
    stamps = [(i + jitter * noise.uniform(-1, 1)) / fps for i in kept]
    found = _missing(stamps)
    expected = [0] + [after - before - 1 for before, after in itertools.pairwise(kept)]
    assert found == expected


def test_variable_rate_has_no_gaps() -> None:
    noise = random.Random(3)
    stamps = [0.0]
    for _ in range(400):
        stamps.append(stamps[-1] + noise.uniform(0.008, 0.060))
    assert sum(_missing(stamps)) == 0


def test_a_rate_that_changes_for_good_becomes_the_rhythm() -> None:
    stamps = [i / 30 for i in range(100)]
    stamps += [stamps[-1] + i / 15 for i in range(1, 101)]
    found = _missing(stamps)
    assert sum(found[:100]) == 0
    assert 0 < sum(found[100:]) <= 32
    assert sum(found[150:]) == 0


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.tuples(st.one_of(st.none(), st.floats(-1e6, 1e6), st.just(0.0)), st.floats(0.0, 100.0)),
        max_size=100,
    )
)
def test_time_always_advances(ticks: list[tuple[float | None, float]]) -> None:
    clock = StreamClock(Cadence(), leap_s=10.0)
    last = -math.inf
    for stamp, elapsed in ticks:
        tick = clock.tick(stamp, elapsed)
        assert tick.time_s > last
        assert tick.missing >= 0
        last = tick.time_s


def test_a_bad_timestamp_changes_nothing_for_later_ones() -> None:
    clock = StreamClock(Cadence([0.01] * 5), leap_s=10.0)
    ticks = [clock.tick(stamp, 0.01) for stamp in (5.00, 5.01, 0.0, 5.03, 5.04, 9000.0, 5.06)]
    assert [tick.time_s for tick in ticks] == pytest.approx([0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06])
    assert [tick.trusted for tick in ticks] == [True, True, False, True, True, False, True]
    assert sum(tick.missing for tick in ticks) == 0


def test_a_clock_that_was_set_goes_on_from_there() -> None:
    clock = StreamClock(Cadence([0.01] * 5), leap_s=10.0)
    stamps = (5.00, 5.01, 0.50, 0.51, 0.52, 0.55, 0.56)
    ticks = [clock.tick(stamp, 0.01) for stamp in stamps]
    assert [tick.time_s for tick in ticks] == pytest.approx([0, 0.01, 0.02, 0.03, 0.04, 0.07, 0.08])
    assert [tick.missing for tick in ticks] == [0, 0, 0, 0, 0, 2, 0]


def test_a_device_that_starts_anew_says_nothing_about_before() -> None:
    clock = StreamClock(Cadence([0.01] * 5), leap_s=10.0)
    clock.tick(5.0, 0.0)
    clock.forget_device()
    assert clock.tick(5.001, 2.0).time_s == pytest.approx(2.0)
    assert clock.tick(5.011, 0.01).time_s == pytest.approx(2.01)
