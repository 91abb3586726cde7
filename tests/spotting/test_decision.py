"""The causal decision: invariants of a stream, and scripted curves with a known answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.events import Event, EventKind, EventState
from engines.spotting.decision import CausalDecision, DecisionConfig

CLOSED, CONFIRMED, TENTATIVE, WITHDRAWN = (
    EventState.CLOSED,
    EventState.CONFIRMED,
    EventState.TENTATIVE,
    EventState.WITHDRAWN,
)
NEXT = {
    None: {TENTATIVE},
    TENTATIVE: {CONFIRMED, WITHDRAWN},
    CONFIRMED: {CLOSED, WITHDRAWN},
    CLOSED: set(),
    WITHDRAWN: set(),
}


def bumps(times: np.ndarray, *middles_s: float, width_s: float = 0.3) -> np.ndarray:
    """A slow band-limited rustle around 1 with a raised cosine of height 5 at each middle."""
    score = 1 + 0.1 * np.sin(2 * np.pi * 0.9 * times) + 0.1 * np.sin(2 * np.pi * 1.31 * times)
    for middle in middles_s:
        away = np.clip((times - middle) / width_s, -1, 1)
        score += 2.5 * (1 + np.cos(np.pi * away))
    return score


def decide(
    score: Sequence[float] | np.ndarray, fps: float, lag_s: float = 0.0, **settings_: float
) -> list[Event]:
    decision = CausalDecision(DecisionConfig(**settings_), fps, "test 1", lag_s)
    changes = [e for k, s in enumerate(score) for e in decision.push(k, k / fps, s).events]
    return changes + list(decision.finish())


def closed(changes: list[Event]) -> list[Event]:
    return [event for event in changes if event.state is CLOSED]


def stream_of(seed: int, fps: int, loss: float, noise: float, broken: float) -> list[dict]:
    """Up to seven seconds of bumps and noise, with lost frames, lost faces, restarts and NaN."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 7 * fps))
    lost = rng.random(count) < loss
    times = np.arange(count) / fps
    score = bumps(times, *rng.uniform(0, count / fps, 3), width_s=rng.uniform(0.05, 2))
    score += noise * rng.standard_normal(count)
    return [
        {
            "index": k,
            "time_s": float(times[k]),
            "score": math.nan if rng.random() < broken else float(score[k]),
            "gap_before": int(lost[k - 1]) if k else 0,
            "valid": bool(rng.random() >= broken),
            "restart": bool(rng.random() < broken),
        }
        for k in range(count)
        if not lost[k]
    ]


streams = st.builds(
    stream_of,
    st.integers(0, 2**32 - 1),
    st.sampled_from([30, 60, 200]),
    st.sampled_from([0.0, 0.02, 0.5]),
    st.sampled_from([0.0, 0.3]),
    st.sampled_from([0.0, 0.01]),
)
fewer = settings(max_examples=25)


@fewer
@given(streams)
def test_every_event_lives_in_order_and_lies_in_the_past(stream):
    decision = CausalDecision(DecisionConfig(warm_up_s=1.0), 200, "test 1")
    state: dict[int, EventState | None] = {}
    known: list[Event] = []
    for frame in stream:
        out = decision.push(**frame)
        assert out.threshold == math.inf or math.isfinite(out.threshold)
        for event in out.events:
            assert event.state in NEXT[state.get(event.id)]
            state[event.id] = event.state
            assert event.onset_s <= event.apex_s <= frame["time_s"]
            known += [event] if event.state is CLOSED else []
            if event.state is CLOSED:
                assert event.apex_s <= event.offset_s <= event.decided_s == frame["time_s"]
                assert event.onset_frame <= event.apex_frame <= event.offset_frame
    for event in decision.finish():
        assert event.state in NEXT[state.get(event.id)]
        state[event.id] = event.state
    assert set(state.values()) <= {CLOSED, WITHDRAWN}
    assert list(state) == list(range(1, len(state) + 1))
    assert all(a.offset_s <= b.onset_s + 1e-9 for a, b in pairwise(known))


@fewer
@given(streams, st.floats(0, 1))
def test_what_was_said_does_not_depend_on_what_follows(stream, share):
    """However a stream is cut, the part that was pushed gave the same output."""
    cut = int(share * len(stream))
    whole, part = (CausalDecision(DecisionConfig(), 200, "test 1") for _ in range(2))
    outputs = [whole.push(**frame) for frame in stream]
    assert [part.push(**frame) for frame in stream[:cut]] == outputs[:cut]
    part.reset()
    assert [part.push(**frame) for frame in stream] == outputs
    assert part.finish() == whole.finish()


@fewer
@given(streams, st.sampled_from([2.0**-12, 0.25, 16.0, 2.0**20]))
def test_multiplying_the_score_changes_no_event(stream, factor):
    one, other = (CausalDecision(DecisionConfig(), 200, "test 1") for _ in range(2))
    for frame in stream:
        ours = one.push(**frame)
        theirs = other.push(**{**frame, "score": frame["score"] * factor})
        assert theirs.score == ours.score * factor
        assert len(ours.events) == len(theirs.events)
        for a, b in zip(ours.events, theirs.events, strict=True):
            assert (a.state, a.onset_s, a.apex_s, a.offset_s) == (
                b.state,
                b.onset_s,
                b.apex_s,
                b.offset_s,
            )


@settings(max_examples=12)
@given(
    st.sampled_from([(30, 200), (60, 25), (200, 90)]),
    st.integers(0, 1000),
    st.floats(0.15, 0.6),
    st.floats(-100, 100),
)
def test_another_rate_gives_the_same_events_within_a_frame(rates, seed, width, offset):
    middles = np.cumsum(np.random.default_rng(seed).uniform(1.5, 4, 6)) + 3
    slow, fast = (
        closed(decide(bumps(np.arange(28 * fps) / fps, *middles, width_s=width) + offset, fps))
        for fps in rates
    )
    assert len(slow) == len(fast) == len(middles)
    frame = 1 / min(rates) + 1e-6
    for a, b in zip(slow, fast, strict=True):
        assert abs(a.onset_s - b.onset_s) <= frame
        assert abs(a.apex_s - b.apex_s) <= frame
        assert abs(a.offset_s - b.offset_s) <= frame


@pytest.mark.parametrize("fps", [30, 60, 120, 200])
@pytest.mark.parametrize("lag_s", [0.0, 0.05])
def test_a_bump_is_found_where_it_is(fps, lag_s):
    """Onset and offset at half the height of a raised cosine; lag and smoothing taken back."""
    times = np.arange(10 * fps) / fps
    changes = decide(bumps(times, 5.0 + lag_s), fps, lag_s)
    assert [event.state for event in changes] == [TENTATIVE, CONFIRMED, CLOSED]
    _, confirmed, event = changes
    frame = 1 / fps + 1e-6
    assert event.apex_s == pytest.approx(5.0, abs=frame)
    assert event.onset_s == pytest.approx(4.85, abs=0.02 + frame)
    assert event.offset_s == pytest.approx(5.15, abs=0.02 + frame)
    assert event.kind is EventKind.MICRO
    assert (event.apex_frame / fps, event.spotter) == (
        pytest.approx(event.apex_s, abs=frame),
        "test 1",
    )
    assert confirmed.offset_s is None
    assert event.decided_s <= event.offset_s + 0.4 + lag_s + frame


@pytest.mark.parametrize("fps", [30, 200])
def test_the_declared_look_ahead_is_when_an_apex_is_confirmed(fps):
    decision = CausalDecision(DecisionConfig(), fps, "test 1", 0.05)
    confirmed_s = None
    for k, score in enumerate(bumps(np.arange(10 * fps) / fps, 5.0)):
        for event in decision.push(k, k / fps, score).events:
            if event.state is CONFIRMED:
                confirmed_s, apex_s = k / fps, event.apex_s
    assert confirmed_s - apex_s == pytest.approx(decision.look_ahead_s, abs=1 / fps)


def test_short_is_micro_and_long_is_macro():
    times = np.arange(0, 20, 1 / 100)
    kinds = [
        e.kind
        for w in (0.1, 0.4, 0.7, 2.0)
        for e in closed(decide(bumps(times, 8, width_s=w), 100))
    ]
    assert kinds == [EventKind.MICRO, EventKind.MICRO, EventKind.MACRO, EventKind.MACRO]


def test_a_short_dip_does_not_split_an_event_and_a_long_one_does():
    times = np.arange(0, 15, 1 / 100)
    assert len(closed(decide(bumps(times, 8.0, 8.3, width_s=0.2), 100, hold_s=0.3))) == 1
    assert len(closed(decide(bumps(times, 8.0, 8.9, width_s=0.2), 100, hold_s=0.3))) == 2


def test_what_never_ends_is_closed_and_becomes_the_new_level():
    score = bumps(np.arange(0, 60, 1 / 50))
    score[500:] += 5
    events = closed(decide(score, 50))
    assert [event.quality for event in events] == [("sustained",)]
    assert events[0].onset_s == pytest.approx(10, abs=0.05)
    assert events[0].offset_s - events[0].onset_s == pytest.approx(4, abs=0.15)


def test_nothing_begins_while_warming_up():
    assert decide(bumps(np.arange(0, 1.9, 1 / 60), 1.0), 60) == []


def test_a_lost_face_withdraws_what_could_still_be_anything_and_keeps_the_level():
    times = np.arange(0, 20, 1 / 100)
    score = bumps(times, 8.0, 10.0)
    decision = CausalDecision(DecisionConfig(), 100, "test 1")
    states = []
    for k, value in enumerate(score):
        lost = 7.9 < times[k] < 8.5
        states += [e for e in decision.push(k, times[k], value, valid=not lost).events]
    assert [(e.id, e.state) for e in states] == [
        (1, TENTATIVE),
        (1, WITHDRAWN),
        (2, TENTATIVE),
        (2, CONFIRMED),
        (2, CLOSED),
    ]
    assert states[1].quality == ("face_lost",)


@pytest.mark.parametrize(("lost", "expected"), [(3, ("gap",)), (40, None)])
def test_lost_frames_are_told_and_many_of_them_end_an_event(lost, expected):
    times = np.arange(0, 12, 1 / 100)
    score = bumps(times, 8.0)
    decision = CausalDecision(DecisionConfig(), 100, "test 1")
    events = []
    for k, value in enumerate(score):
        if not 795 <= k < 795 + lost:
            gap = lost if k == 795 + lost else 0
            events += decision.push(k, times[k], value, gap_before=gap).events
    assert events[-1].quality == (expected or ("gap",))
    assert events[-1].state is (CLOSED if expected else WITHDRAWN)


def test_a_long_event_that_is_cut_off_is_a_truncated_macro():
    score = bumps(np.arange(0, 8.6, 1 / 60), 8.6, width_s=1.8)
    last = decide(score, 60)[-1]
    assert (last.state, last.kind) == (CLOSED, EventKind.MACRO)
    assert last.quality == ("truncated", "end_of_stream")
