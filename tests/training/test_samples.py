"""Labels and flow pictures of training, against what live analysis measures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs requirements-train.txt")

from engines.errors import UserError
from engines.events import EventKind
from engines.motion.planes import PairPlanes, composite_planes
from engines.spotting.network_spotter import draw_planes
from engines.training.clips import ClipEvent, at_rate
from engines.training.samples import (
    NOT_LEARNED,
    draw_samples,
    earlier_frames,
    emotion_labels,
    micro_labels,
)
from engines.training.streaming import event_clip, measure
from tests.training.face_clips import CLASSES, clip, with_depth

MICRO = ClipEvent(EventKind.MICRO, 1.0, 1.2, 1.4, "positive")
MACRO = ClipEvent(EventKind.MACRO, 3.0, 3.5, 5.0, "surprise")
TIMES = np.arange(0, 6, 0.05)


def test_a_micro_expression_is_labelled_while_the_flow_shares_time_with_it() -> None:
    labels = micro_labels(TIMES, [MICRO, MACRO])
    on = TIMES[labels == 1]
    assert on[0] == pytest.approx(1.05)
    assert on[-1] == pytest.approx(1.45)
    assert labels.sum() == len(on) == 9


def test_emotions_are_labelled_on_the_way_to_the_apex_only() -> None:
    labels = emotion_labels(TIMES, [MICRO, MACRO], CLASSES)
    positive, surprise = (np.flatnonzero(labels == CLASSES.index(n)) for n in CLASSES[1:])
    assert TIMES[positive][[0, -1]] == pytest.approx([1.1, 1.2])
    assert TIMES[surprise][[0, -1]] == pytest.approx([3.4, 3.5])
    assert set(labels[(TIMES > 3.55) & (TIMES < 5.05)]) == {NOT_LEARNED}
    assert set(labels[TIMES < 0.99]) == {len(CLASSES)}


def test_an_expression_of_no_class_is_neither_emotion_nor_neutral() -> None:
    labels = emotion_labels(TIMES, [replace(MICRO, emotion=None)], CLASSES)
    assert set(labels[(TIMES > 1.01) & (TIMES < 1.45)]) == {NOT_LEARNED}


@pytest.mark.parametrize("broken", [False, True])
def test_pairs_and_planes_are_those_of_live_analysis(broken: bool) -> None:
    own = clip("a", seconds=2.5)
    if broken:  # a lost face, then a slip of alignment
        own.valid[20:26] = False
        own.restart[[26, 50]] = True
    before = earlier_frames(own)
    pair = PairPlanes()
    for at, sample in enumerate(measure(own)):
        assert (sample.flow_delta is not None) == (before[at] >= 0)
        if sample.flow_delta is not None:
            span_s = own.times[at] - own.times[before[at]]
            assert span_s == pytest.approx(sample.delta_s)
            np.testing.assert_array_equal(
                pair(own.faces[before[at]], own.faces[at], span_s),
                composite_planes(sample.flow_delta, sample.delta_s),
            )


def test_samples_hold_every_expression_and_five_times_as_many_others() -> None:
    clips = [clip("a"), clip("b")]
    samples = draw_samples(clips, CLASSES, seed=0)
    assert samples.planes.shape[1:] == (3, 42, 42)
    all_micro = sum(micro_labels(c.times[earlier_frames(c) >= 0], c.events).sum() for c in clips)
    assert samples.micro.sum() == all_micro
    assert set(range(len(CLASSES))) <= set(samples.emotion)
    assert len(samples.micro) <= 6.5 * all_micro
    again = draw_samples(clips, CLASSES, seed=0)
    np.testing.assert_array_equal(samples.planes, again.planes)
    np.testing.assert_array_equal(samples.emotion, again.emotion)


def test_with_depth_the_third_plane_is_what_live_analysis_measures() -> None:
    own = with_depth(clip("a"))
    own.depth[40:42, 9:30] = 0  # brows and eyes of two frames were not seen
    samples = draw_samples([own], CLASSES, seed=0, depth=True)
    strained = draw_samples([own], CLASSES, seed=0)
    missing = len(strained.micro) - len(samples.micro)
    assert 0 < missing <= 4
    live = []
    planes = np.empty((3, 42, 42), np.float32)
    for sample in measure(own):
        if draw_planes(sample, planes, depth=True):
            live.append(planes.astype(np.float16))
    assert all(any(np.array_equal(drawn, seen) for seen in live) for drawn in samples.planes)
    with pytest.raises(UserError, match="no depth maps"):
        draw_samples([clip("a")], CLASSES, seed=0, depth=True)


@pytest.mark.parametrize("fps", [30.0, 15.0, 10.0, 12.5])
def test_a_lower_rate_keeps_times_events_and_restarts(fps: float) -> None:
    own = clip("a")
    own.restart[[31, 95]] = True
    slow = at_rate(own, fps)
    assert slow.fps == fps
    assert np.abs(np.diff(slow.times) - 1 / fps).max() <= 1 / own.fps + 1e-9
    assert slow.duration_s == pytest.approx(own.duration_s, abs=1.5 / fps)
    assert slow.restart.sum() == own.restart.sum()
    assert slow.events == own.events


def test_the_clip_of_an_event_is_what_a_session_would_cut() -> None:
    own = clip("a")
    event = own.events[0]
    cut = event_clip(own, event)
    assert cut.times_s[0] >= event.onset_s - 0.05 - 1e-9
    assert abs(cut.times_s[cut.onset] - event.onset_s) <= 0.5 / own.fps + 1e-9
    assert abs(cut.times_s[cut.apex] - event.apex_s) <= 0.5 / own.fps + 1e-9
    assert cut.times_s[-1] > event.apex_s
