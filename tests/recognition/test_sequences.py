"""Sequences of faces: spread over an event by time, whatever the frame rate."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.recognition.base import EventClip
from engines.recognition.sequences import (
    FRAMES,
    GRAY_MEAN,
    GRAY_UNIT,
    event_sequence,
    faces_at,
    instants,
)


def ramp(times: np.ndarray) -> np.ndarray:
    """Faces whose gray says what time it is: 100 levels a second."""
    return np.rint(20 + 100 * times[:, None, None] * np.ones((1, 8, 8))).astype(np.uint8)


def gray(sequence: np.ndarray) -> np.ndarray:
    return sequence.mean(axis=(1, 2)) * GRAY_UNIT + GRAY_MEAN


@pytest.mark.parametrize("fps", [30.0, 60.0, 200.0])
def test_the_faces_lie_evenly_between_onset_and_confirmation(fps: float) -> None:
    times = np.arange(round(fps)) / fps
    onset = round(0.2 * fps)
    clip = EventClip(ramp(times), times, onset, onset + 3)
    found = gray(event_sequence(clip))
    expected = 20 + 100 * np.linspace(times[onset], times[-1], FRAMES)
    np.testing.assert_allclose(found, expected, atol=100 * 0.5 / fps + 0.6)


def test_where_the_apex_lies_does_not_matter() -> None:
    times = np.arange(40) / 100
    one, other = (EventClip(ramp(times), times, 5, apex) for apex in (10, 30))
    np.testing.assert_array_equal(event_sequence(one), event_sequence(other))


def test_neighbours_are_averaged_against_noise() -> None:
    times = np.arange(200) / 200
    noisy = np.random.default_rng(0).integers(90, 130, (200, 8, 8)).astype(np.uint8)
    (face,) = faces_at(noisy, times, np.array([0.5])) * GRAY_UNIT + GRAY_MEAN
    np.testing.assert_allclose(face, noisy[98:103].mean(axis=0), atol=1e-3)


def test_frames_that_were_lost_are_gone_around() -> None:
    """The nearest face stands for a moment of which there is none."""
    times = np.array([0.0, 0.1, 0.5, 0.6])
    found = gray(faces_at(ramp(times), times, instants(0.0, 0.6, 4)))
    np.testing.assert_allclose(found, [20, 30, 70, 80], atol=0.6)


@given(st.integers(1, 40), st.data(), st.sampled_from([30.0, 200.0]))
def test_every_clip_gives_a_whole_sequence(count: int, data: st.DataObject, fps: float) -> None:
    onset = data.draw(st.integers(0, count - 1))
    faces = np.random.default_rng(count).integers(0, 255, (count, 8, 8), np.uint8)
    sequence = event_sequence(EventClip(faces, np.arange(count) / fps, onset, count - 1))
    assert sequence.shape == (FRAMES, 8, 8)
    assert np.isfinite(sequence).all()
