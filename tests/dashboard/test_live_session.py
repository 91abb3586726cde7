from __future__ import annotations

import threading

import pytest

from streamer.dashboard.live_session import LiveSession
from streamer.dashboard.sink import DashboardSink
from streamer.errors import SourceError
from tests.dashboard.fake_pipeline import FakePipeline


def test_every_start_builds_a_fresh_pipeline_and_releases_the_last(sink: DashboardSink) -> None:
    built: list[FakePipeline] = []

    def build(sinks: object) -> FakePipeline:
        assert sink in sinks  # type: ignore[operator]
        built.append(FakePipeline(sinks))  # type: ignore[arg-type]
        return built[-1]

    live = LiveSession(build, [sink])
    assert not live.running
    assert live.metrics() is None
    live.start()
    live.start()
    assert live.running
    assert len(built) == 1
    live.stop()
    live.stop()
    assert not live.running
    assert live.metrics() is not None  # the last figures stay readable
    live.start()
    assert len(built) == 2
    assert built[0].closed
    live.close()
    live.close()
    assert built[1].closed


def test_a_failed_start_is_told_and_the_next_may_succeed(sink: DashboardSink) -> None:
    refusals = ["Camera 0 is busy; close the other program.", None]
    live = LiveSession(lambda sinks: FakePipeline(sinks, refusal=refusals.pop(0)), [sink])
    with pytest.raises(SourceError):
        live.start()
    assert live.error == "Camera 0 is busy; close the other program."
    assert not live.running
    live.start()
    assert live.error is None
    live.close()


def test_a_session_that_failed_on_its_way_says_why(sink: DashboardSink) -> None:
    pipeline = FakePipeline([sink])
    live = LiveSession(lambda sinks: pipeline, [sink])
    live.start()
    pipeline.failure = SourceError("The camera was unplugged; plug it in and start again.")
    pipeline.stop()
    assert live.error == "The camera was unplugged; plug it in and start again."
    pipeline.failure = ZeroDivisionError("oops")
    assert "ZeroDivisionError: oops" in str(live.error)


def test_the_configured_threshold_shows_before_the_first_session(sink: DashboardSink) -> None:
    assert LiveSession(FakePipeline, [sink], 6.0).threshold_factor == 6.0  # type: ignore[arg-type]


def test_the_threshold_outlives_the_session(session: LiveSession) -> None:
    assert session.threshold_factor is None
    session.start()
    assert session.threshold_factor == 6.0
    session.set_threshold_factor(9.5)
    session.stop()
    session.start()
    assert session.threshold_factor == 9.5
    assert session._pipeline.threshold_factor == 9.5  # type: ignore[union-attr]
    session.stop()
    session.forget_threshold_factor()
    session.start()
    assert session.threshold_factor == 6.0


def test_many_starts_at_once_make_one_session(sink: DashboardSink) -> None:
    built: list[FakePipeline] = []
    live = LiveSession(lambda sinks: built.append(FakePipeline(sinks)) or built[-1], [sink])  # type: ignore[func-returns-value]
    threads = [threading.Thread(target=live.start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1
    live.close()


def test_reading_does_not_wait_for_a_slow_start(sink: DashboardSink) -> None:
    opening, release = threading.Event(), threading.Event()

    class Slow(FakePipeline):
        def start(self):  # type: ignore[no-untyped-def]
            opening.set()
            release.wait()
            return super().start()

    live = LiveSession(Slow, [sink])
    thread = threading.Thread(target=live.start)
    thread.start()
    opening.wait()
    assert not live.running
    assert live.metrics() is None
    assert live.frame_image(0) is None
    release.set()
    thread.join()
    assert live.running
    live.close()
