"""Sequences for training: which moments they show, and that live recognition shows the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs requirements-train.txt")

from engines.recognition.sequences import FRAMES, event_sequence
from engines.training.event_clips import VIEWS, drawn_sequences, live_sequences
from engines.training.samples import NOT_LEARNED
from engines.training.streaming import event_clip
from tests.training.face_clips import CLASSES, clip


def test_a_judged_sequence_is_the_one_that_live_recognition_sees() -> None:
    shown = clip("a")
    samples = live_sequences([shown], CLASSES)
    assert len(samples.faces) == len(shown.events) == len(samples.events)
    for faces, emotion, event in zip(samples.faces, samples.emotion, shown.events, strict=True):
        live = event_sequence(event_clip(shown, event)).astype(np.float16)
        np.testing.assert_array_equal(faces, live)
        assert CLASSES[emotion] == event.emotion
    np.testing.assert_array_equal(samples.meshes[0], shown.mesh)
    assert set(samples.identities) == {"a"}


def test_views_of_an_expression_lie_beside_each_other_and_differ() -> None:
    shown = clip("a")
    samples = drawn_sequences([shown], CLASSES, seed=1)
    assert samples.faces.shape == (VIEWS * len(shown.events), FRAMES, 128, 128)
    by_event = samples.faces.reshape(-1, VIEWS, *samples.faces.shape[1:])
    assert (samples.emotion.reshape(-1, VIEWS) == samples.emotion[::VIEWS, None]).all()
    assert any(not np.array_equal(views[0], views[1]) for views in by_event)
    again = drawn_sequences([shown], CLASSES, seed=1)
    np.testing.assert_array_equal(samples.faces, again.faces)


def test_an_expression_during_which_the_face_was_lost_is_left_out() -> None:
    shown = clip("a")
    event = shown.events[0]
    valid = shown.valid.copy()
    valid[int(np.searchsorted(shown.times, event.apex_s)) - 1] = False
    broken = replace(shown, valid=valid)
    assert live_sequences([broken], CLASSES).events == shown.events[1:]


def test_an_expression_of_no_class_teaches_no_emotion() -> None:
    shown = clip("a")
    events = (replace(shown.events[0], emotion=None), *shown.events[1:])
    samples = live_sequences([replace(shown, events=events)], CLASSES)
    assert samples.emotion[0] == NOT_LEARNED
    assert (samples.emotion[1:] != NOT_LEARNED).all()
