"""The training-free spotter on scripted motion: what it finds, and that it never looks ahead."""

from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.events import Event, EventKind, EventState
from engines.spotting.base import Spotter
from engines.spotting.config import FlowSpotterConfig
from engines.spotting.flow_spotter import FlowSpotter
from engines.spotting.registry import SPOTTERS, create_spotter
from tests.spotting.scripted_motion import Blink, Movement, samples

RATES = [30.0, 60.0, 120.0, 200.0]


def run(spotter, stream) -> tuple[list[Event], list[tuple[float, float]]]:
    events: list[Event] = []
    scores = []
    for sample in stream:
        output = spotter.push(sample)
        events += output.events
        scores.append((output.score, output.threshold))
    events += spotter.finish()
    return events, scores


def closed(events):
    return [event for event in events if event.state is EventState.CLOSED]


def spotter(fps: float = 200.0) -> FlowSpotter:
    return FlowSpotter(FlowSpotterConfig(), fps)


@pytest.mark.parametrize("fps", RATES)
def test_micro_and_macro_expressions_at_every_rate(fps):
    script = [Movement(4.0, 0.35), Movement(7.0, 1.6), Movement(11.0, 0.25, 0.015)]
    events, _ = run(spotter(fps), samples(fps, 14.0, script))
    found = closed(events)
    assert [event.kind for event in found] == [EventKind.MICRO, EventKind.MACRO, EventKind.MICRO]
    for event, truth in zip(found, script, strict=True):
        assert event.offset_s is not None
        end = truth.onset_s + truth.duration_s
        overlap = min(event.offset_s, end) - max(event.onset_s, truth.onset_s)
        union = max(event.offset_s, end) - min(event.onset_s, truth.onset_s)
        assert overlap / union >= 0.5
        assert event.onset_s <= event.apex_s <= event.offset_s <= event.decided_s
        assert abs(event.apex_s - (truth.onset_s + truth.duration_s / 2)) < 0.06
        assert set(event.regions) & set(truth.regions)
        assert abs(event.apex_frame / fps - event.apex_s) <= 1 / fps
        assert abs(event.onset_frame / fps - event.onset_s) <= 1 / fps
        assert abs(event.offset_frame / fps - event.offset_s) <= 1 / fps


@pytest.mark.parametrize("fps", RATES)
def test_noise_alone_is_no_expression(fps):
    events, _ = run(spotter(fps), samples(fps, 40.0, seed=3))
    assert closed(events) == []


MOUTH = ("upper_lip", "lower_lip", "chin")


@pytest.mark.parametrize("fps", RATES)
def test_syllables_after_the_first_are_speech(fps):
    syllables = [Movement(4.0 + 0.35 * k, 0.25, 0.015, MOUTH) for k in range(8)]
    later = Movement(9.0, 0.35, 0.015, MOUTH)
    events, _ = run(spotter(fps), samples(fps, 12.0, [*syllables, later]))
    first, last = closed(events)
    assert first.onset_s < 4.3
    assert last.onset_s == pytest.approx(9.0, abs=0.15)
    assert {e.quality for e in events if e.state is EventState.WITHDRAWN} >= {("speech",)}


def test_brows_that_move_again_are_not_speech():
    brows = ("left_brow_inner", "right_brow_inner", "left_brow_outer", "right_brow_outer")
    script = [Movement(4.0 + 0.6 * k, 0.3, 0.02, brows) for k in range(4)]
    events, _ = run(spotter(), samples(200.0, 9.0, script))
    assert len(closed(events)) == 4


@pytest.mark.parametrize("fps", RATES)
def test_blinks_are_no_expressions(fps):
    blinks = [Blink(3.0 + 2.7 * k, 0.15 + 0.05 * (k % 4)) for k in range(8)]
    events, _ = run(spotter(fps), samples(fps, 26.0, blinks=blinks))
    assert closed(events) == []


def test_a_mouth_that_moves_during_a_blink_is_still_seen():
    events, _ = run(spotter(), samples(200, 8.0, [Movement(5.0, 0.4)], [Blink(5.05)]))
    assert [event.kind for event in closed(events)] == [EventKind.MICRO]
    assert "blink" in closed(events)[0].quality


def test_every_event_ends_and_keeps_its_number():
    script = [Movement(2.0 + 1.5 * k, 0.2 + 0.1 * k) for k in range(8)]
    events, _ = run(spotter(), samples(200, 16.0, script))
    lives: dict[int, list[EventState]] = {}
    for event in events:
        lives.setdefault(event.id, []).append(event.state)
    assert list(lives) == list(range(1, len(lives) + 1))
    for life in lives.values():
        assert life[0] is EventState.TENTATIVE
        assert life[-1] in (EventState.CLOSED, EventState.WITHDRAWN)
        if life[-1] is EventState.CLOSED:
            assert life[-2] is EventState.CONFIRMED


def test_a_lost_face_makes_no_event_and_its_return_neither():
    events, scores = run(spotter(), samples(200, 12.0, invalid=[(4.0, 5.0), (8.0, 8.2)]))
    assert closed(events) == []
    assert scores[900][0] == 0.0


def test_what_the_end_of_stream_cuts_off():
    short, _ = run(spotter(), samples(200, 5.1, [Movement(5.0, 0.4)]))
    assert closed(short) == []  # it could still have become micro or macro
    long, _ = run(spotter(), samples(200, 6.5, [Movement(5.0, 3.0)]))
    assert [event.kind for event in closed(long)] == [EventKind.MACRO]
    assert "truncated" in closed(long)[0].quality


def test_a_posture_that_stays_ends_as_sustained_and_becomes_neutral():
    class Posture(Movement):
        def at(self, time_s: float) -> float:
            return min(1.0, max(0.0, (time_s - self.onset_s) / self.duration_s))

    events, _ = run(spotter(), samples(200, 20.0, [Posture(5.0, 0.5, 0.05)]))
    assert [event.quality for event in closed(events)] == [("sustained",)]
    assert closed(events)[0].kind is EventKind.MACRO


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 1000),
    st.lists(
        st.builds(
            Movement,
            st.floats(0.5, 6.0),
            st.floats(0.1, 2.0),
            st.floats(0.001, 0.08),
        ),
        max_size=3,
    ),
    st.floats(0.05, 0.95),
)
def test_what_was_decided_does_not_depend_on_what_follows(seed, script, cut):
    """Cut anywhere, the output so far is that of the whole stream: nothing looks ahead."""
    stream = list(samples(60, 7.0, script, seed=seed))
    whole_events: list[Event] = []
    whole, part = spotter(60), spotter(60)
    stop = int(len(stream) * cut)
    outputs = [whole.push(sample) for sample in stream]
    for sample, expected in zip(stream[:stop], outputs, strict=False):
        output = part.push(sample)
        assert output == expected
        whole_events += output.events
    part.reset()
    assert [part.push(sample) for sample in stream] == outputs


@pytest.mark.parametrize("name", SPOTTERS)
def test_every_engine_keeps_the_contract(name):
    engine = create_spotter(name, FlowSpotterConfig(), 100.0)
    assert isinstance(engine, Spotter)
    assert engine.name == name
    assert engine.look_ahead_s >= 0
    stream = list(samples(100, 6.0, [Movement(3.0, 0.3)], invalid=[(4.0, 4.2)]))
    first = [engine.push(sample) for sample in stream]
    first_end = engine.finish()
    engine.reset()
    second = [engine.push(sample) for sample in stream]
    assert second == first
    assert engine.finish() == first_end
    assert all(np.isfinite(output.score) for output in first)
    for output in first:
        for event in output.events:
            assert asdict(event)["spotter"].startswith(name)


def test_confirmation_comes_within_the_declared_look_ahead():
    engine = spotter()
    for sample in samples(200, 8.0, [Movement(5.0, 0.3)]):
        for event in engine.push(sample).events:
            if event.state is EventState.CONFIRMED:
                assert sample.time_s - event.apex_s <= engine.look_ahead_s + 2 / 200
