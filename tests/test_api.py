"""Glint from Python."""

import threading

import pytest

from engines.events import EventKind, EventState
from streamer.api import glint_session
from streamer.errors import ConfigError, SourceError

DEMO = {"source": {"fps": 60.0, "width": 320, "height": 240, "duration_s": 12.0, "seed": 3}}


def glint_threads():
    return [t.name for t in threading.enumerate() if t.name.startswith("glint-")]


def test_events_come_one_by_one_and_are_those_of_the_session_folder(tmp_path):
    events = list(glint_session("demo", session=tmp_path / "s", settings=DEMO))
    assert events
    assert all(event.state is EventState.CLOSED for event in events)
    assert {event.kind for event in events} <= set(EventKind)
    assert all(event.emotion for event in events)
    assert len((tmp_path / "s" / "events.jsonl").read_text().splitlines()) == len(events)
    assert glint_threads() == []


def test_leaving_the_loop_ends_the_session():
    session = glint_session("demo", states=tuple(EventState), settings=DEMO)
    for event in session:
        assert event.state is EventState.TENTATIVE
        break
    session.close()
    assert glint_threads() == []


def test_mistakes_are_said_in_a_sentence(tmp_path):
    with pytest.raises(SourceError, match="does not exist"):
        list(glint_session(str(tmp_path / "nothing.mp4")))
    with pytest.raises(ConfigError, match="the settings"):
        list(glint_session("demo", settings={"flow_spotter": {"nonsense": 1}}))
    assert glint_threads() == []
