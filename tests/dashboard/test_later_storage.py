"""A preview becomes a stored session without a break."""

from __future__ import annotations

import csv
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engines.events import EventState
from streamer.config import GlintConfig
from streamer.dashboard import later_storage
from streamer.dashboard.later_storage import LaterStorage
from streamer.dashboard.live_session import LiveSession
from streamer.dashboard.sink import DashboardSink
from streamer.errors import UserError
from streamer.review.session_reader import read_session
from streamer.sinks.base import Sink
from tests.dashboard.fake_pipeline import FakePipeline, scripted
from tests.dashboard.test_dashboard_sink import frame
from tests.sinks.session_records import METRICS, SESSION

CONSENT = {"confirmed_by": "AR", "confirmed_utc": "2026-01-01T00:00:00Z", "text": "glint-1"}
CONFIG = GlintConfig.from_tree({"subject": "P07", "consent": CONSENT})


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "frames.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def document(folder: Path, name: str) -> dict[str, Any]:
    return json.loads((folder / name).read_text(encoding="utf-8"))  # type: ignore[no-any-return]


@pytest.fixture
def preview(sink: DashboardSink) -> Iterator[tuple[LiveSession, LaterStorage]]:
    """A preview that runs ten times as fast as a camera."""
    made: list[LaterStorage] = []

    def build(sinks: list[Sink]) -> FakePipeline:
        made.append(LaterStorage(sinks))
        pipeline = FakePipeline([made[-1], *sinks], speed=10.0)
        made[-1].follow(pipeline.metrics)
        return pipeline

    live = LiveSession(build, [sink])  # type: ignore[arg-type]
    live.start()
    yield live, made[-1]
    live.close()


def until(sink: DashboardSink, wanted: Callable[[], bool]) -> None:
    """Wait for something that comes with the frames."""
    tick = threading.Event()
    for _ in range(6000):
        if wanted():
            return
        tick.wait(0.01)
    raise AssertionError(sink.snapshot())


def test_every_frame_and_event_from_the_order_on_is_in_the_folder(
    preview: tuple[LiveSession, LaterStorage], sink: DashboardSink, tmp_path: Path
) -> None:
    live, later = preview
    until(sink, lambda: bool(sink.snapshot().detected))
    before = sink.changes().session
    assert not later.storing
    session = later.begin(tmp_path / "s", CONFIG)
    assert later.storing
    begin = session.stored_from
    assert begin is not None
    assert begin.frame > 0
    # Who looks sees a session of its own, which knows nothing of the preview.
    assert sink.changes().session == before + 1
    assert sink.journal.stored
    with pytest.raises(UserError, match="already"):
        later.begin(tmp_path / "t", CONFIG)
    until(sink, lambda: sum(sink.snapshot().detected.values()) >= 2)
    live.stop()

    frames = [int(row["frame"]) for row in rows(tmp_path / "s")]
    last = sink.snapshot().last
    assert last is not None
    assert frames == list(range(begin.frame, last.index + 1))
    told = document(tmp_path / "s", "session.json")
    assert told["stored_from"] == {"frame": begin.frame, "time_s": begin.time_s}
    assert told["subject"] == "P07"
    assert told["consent"]["confirmed_by"] == "AR"
    assert document(tmp_path / "s", "consent.json")["subject"] == "P07"
    figures = document(tmp_path / "s", "metrics.json")
    assert figures["analysed"] == len(frames)
    assert figures["captured"] == pytest.approx(len(frames), abs=2)
    stored = read_session(tmp_path / "s")
    assert stored.begin_s == begin.time_s
    assert stored.events
    assert all(event.onset_s >= begin.time_s for event in stored.events)
    assert {event.id for event in stored.events} == {
        event.id for event in sink.snapshot().events if event.state is EventState.CLOSED
    }
    assert stored.truth is not None
    assert stored.truth[0]["onset_s"] >= begin.time_s


def test_losses_before_the_order_are_not_the_sessions(tmp_path: Path) -> None:
    later = LaterStorage()
    figures = [replace(METRICS, captured=100, lost={"alignment_overrun": 7, "gap": 1})]
    later.follow(lambda: figures[-1])
    later.open(SESSION)
    worker = threading.Thread(target=lambda: later.begin(tmp_path / "s", CONFIG))
    worker.start()
    while worker.is_alive():
        later.on_frame(replace(frame(1.0), host_s=float("inf")))
    figures.append(replace(METRICS, captured=250, lost={"alignment_overrun": 9, "gap": 1}))
    later.close(figures[-1])
    told = document(tmp_path / "s", "metrics.json")
    assert told["captured"] == 150
    assert told["lost"] == {"alignment_overrun": 2}
    assert any("out of a running preview" in note for note in later.notes)


def test_an_event_that_began_before_is_in_neither(tmp_path: Path, sink: DashboardSink) -> None:
    later = LaterStorage([sink])
    later.follow(lambda: METRICS)
    for each in (later, sink):
        each.open(SESSION)
    early = scripted(0)
    sink.on_event(replace(early, state=EventState.CONFIRMED, kind=None, decided_s=None))
    worker = threading.Thread(target=lambda: later.begin(tmp_path / "s", CONFIG))
    worker.start()
    while worker.is_alive():
        later.on_frame(replace(frame(early.apex_s), host_s=float("inf")))
    for each in (later, sink):
        each.on_event(early)
        each.on_event(scripted(1))
    later.close(METRICS)
    assert [event.id for event in read_session(tmp_path / "s").events] == [2]
    assert [event.id for event in sink.snapshot().events] == [2]


def test_what_goes_wrong_is_told_and_the_preview_goes_on(
    preview: tuple[LiveSession, LaterStorage], tmp_path: Path
) -> None:
    live, later = preview
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "x").touch()
    with pytest.raises(UserError, match="not empty"):
        later.begin(tmp_path / "taken", CONFIG)
    assert live.running
    assert later.begin(tmp_path / "s", CONFIG).folder == tmp_path / "s"
    live.stop()
    with pytest.raises(UserError, match="press Start"):
        later.begin(tmp_path / "t", CONFIG)


def test_without_frames_there_is_nothing_to_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(later_storage, "_PATIENCE_S", 0.01)
    later = LaterStorage()
    later.follow(lambda: METRICS)
    later.open(SESSION)
    with pytest.raises(UserError, match="No frame comes"):
        later.begin(tmp_path / "s", CONFIG)
    later.on_frame(replace(frame(1.0), host_s=float("inf")))
    later.close(METRICS)
    assert not (tmp_path / "s").exists()
