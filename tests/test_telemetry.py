import platform
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.telemetry import (
    LatencyHistogram,
    LossLedger,
    ProcessUsage,
    RateMeter,
    StageClocks,
    describe_machine,
)

durations = st.floats(min_value=1e-6, max_value=99.9)


@given(st.lists(durations, min_size=1, max_size=300), st.floats(0, 100))
def test_percentiles_are_within_two_percent_of_the_exact_ones(values, percent):
    histogram = LatencyHistogram()
    for value in values:
        histogram.record(value)
    (measured,) = histogram.percentiles(percent)
    exact = np.percentile(values, percent, method="inverted_cdf")
    assert measured == pytest.approx(exact, rel=0.02)
    assert histogram.max_s == max(values)
    assert histogram.count == len(values)


@given(st.lists(st.floats(-1.0, 1e9), min_size=1, max_size=100))
def test_durations_out_of_range_are_counted_and_never_exceed_the_maximum(values):
    histogram = LatencyHistogram()
    for value in values:
        histogram.record(value)
    assert histogram.count == len(values)
    p50, p99, p100 = histogram.percentiles(50, 99, 100)
    assert 0 <= p50 <= p99 <= p100 == histogram.max_s == max(0.0, *values)


def test_memory_does_not_grow_with_the_number_of_records():
    histogram = LatencyHistogram()
    histogram.record(0.001)
    before = len(histogram._counts)
    for value in np.geomspace(1e-9, 1e5, 10_000):
        histogram.record(float(value))
    assert len(histogram._counts) == before


def test_nothing_recorded_is_zero():
    assert LatencyHistogram().summary_ms() == {"p50": 0.0, "p95": 0.0, "p99": 0.0, "max": 0.0}


def test_a_reader_sees_whole_counts_while_the_writer_records():
    histogram = LatencyHistogram()
    done = threading.Event()

    def write():
        for _ in range(20_000):
            histogram.record(0.002)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        p50, p99 = histogram.percentiles(50, 99)
        assert p50 in {0.0, p99}
        assert p99 == pytest.approx(0.002, rel=0.02) or p99 == 0.0
    writer.join()
    assert histogram.count == 20_000


def test_stage_clocks_summarise_the_stages_that_ran():
    clocks = StageClocks()
    clocks.stage("flow").record(0.0014)
    clocks.stage("idle")
    assert clocks.stage("flow") is clocks.stage("flow")
    summary = clocks.summary_ms()
    assert list(summary) == ["flow"]
    assert summary["flow"]["max"] == pytest.approx(1.4)
    assert summary["flow"]["p50"] == pytest.approx(1.4, rel=0.02)


@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5)), max_size=50),
        min_size=1,
        max_size=4,
    )
)
def test_losses_are_conserved_across_threads(per_thread):
    ledger = LossLedger()
    start = threading.Barrier(len(per_thread))

    def lose(losses):
        start.wait()
        for cause, frames in losses:
            ledger.add(cause, frames)

    threads = [threading.Thread(target=lose, args=(losses,)) for losses in per_thread]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected: dict[str, int] = {}
    for losses in per_thread:
        for cause, frames in losses:
            expected[cause] = expected.get(cause, 0) + frames
    assert ledger.counts() == {cause: n for cause, n in expected.items() if n}
    assert ledger.total == sum(expected.values())


def test_a_loss_needs_a_cause_and_a_number():
    ledger = LossLedger()
    with pytest.raises(ValueError, match="cannot be lost"):
        ledger.add("", 1)
    with pytest.raises(ValueError, match="cannot be lost"):
        ledger.add("capture_ring_full", -1)
    assert ledger.counts() == {}


@given(
    st.floats(1, 1000),
    st.floats(0, 1e5),
    st.lists(st.integers(0, 20), min_size=1, max_size=200),
)
def test_the_rate_is_the_camera_s_whatever_was_lost(fps, start_s, gaps):
    meter = RateMeter()
    assert meter.fps is None
    position = 0
    meter.frame(start_s, 7)
    for gap in gaps:
        position += gap + 1
        meter.frame(start_s + position / fps, gap)
    assert meter.fps == pytest.approx(fps, rel=1e-3)


def test_no_rate_without_time():
    meter = RateMeter()
    meter.frame(1.0)
    assert meter.fps is None
    meter.frame(1.0)
    assert meter.fps is None


def test_use_of_the_process():
    usage = ProcessUsage()
    ballast = np.ones(4_000_000)  # 32 MB
    while usage.cores == 0:
        ballast += np.sqrt(ballast)
    assert usage.cores > 0
    assert usage.memory_mb > 32
    # The kernel batches its memory counters, by up to 64 pages a thread and counter.
    assert usage.peak_memory_mb > 0.9 * usage.memory_mb


def test_the_machine_is_described():
    machine = describe_machine()
    assert machine["cpu"]
    assert machine["cores"] >= 1
    assert machine["memory_gb"] > 0
    assert machine["python"] == platform.python_version()
    assert machine["packages"]["numpy"] == np.__version__
