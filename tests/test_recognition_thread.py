"""The recognition thread: every engine's events carry action units."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from benchmarks.recognition import Studio
from engines.events import Explanation
from engines.recognition.base import EventClip, Recognition
from engines.recognition.registry import create_recognizer
from engines.synthesis.action_units import ACTION_UNITS
from engines.synthesis.expressions import PROTOTYPES
from streamer.recognition import RecognitionThread


class Fixed:
    """A recogniser that gives one answer."""

    name, version, classes, model_sha256 = "fixed", "1", ("positive",), None

    def __init__(self, answer: Recognition) -> None:
        self.answer = answer

    def recognize(self, clip: EventClip) -> Recognition:
        return self.answer

    def close(self) -> None:
        pass


@contextmanager
def running(answer: Recognition) -> Iterator[RecognitionThread]:
    thread = RecognitionThread(Fixed(answer))
    thread.start()
    yield thread
    thread.close()


@pytest.fixture(scope="module")
def smile() -> EventClip:
    (prototype,) = (p for p in PROTOTYPES if p.action_units == (12,))
    return Studio(seed=2).film(prototype, 1.5)


def recognized(answer: Recognition, clip: EventClip) -> Recognition:
    with running(answer) as thread:
        future = thread.submit(clip, wait=True)
        assert future is not None
        return future.result(timeout=30)


@pytest.mark.parametrize("name", ["au-gacn", "au-landmark", "mer-gcn"])
def test_networks_of_action_units_say_which_they_see(name: str, smile: EventClip) -> None:
    thread = RecognitionThread(create_recognizer(name))
    thread.start()
    try:
        future = thread.submit(smile, wait=True)
        assert future is not None
        result = future.result(timeout=30)
    finally:
        thread.close()
    seen = result.unit_probabilities
    assert seen is not None
    assert list(seen) == [f"AU{number}" for number in ACTION_UNITS]
    assert all(0.0 <= share <= 1.0 for share in seen.values())
    assert max(seen, key=seen.__getitem__) == "AU12"
    assert seen["AU2"] < 0.1
    assert result.action_units  # measured all the same


def test_measures_action_units_where_the_engine_does_not(smile: EventClip) -> None:
    result = recognized(Recognition("positive", {"positive": 1.0}), smile)
    assert result.emotion == "positive"
    assert result.action_units is not None
    assert "AU12" in result.action_units


def test_keeps_the_engine_s_own(smile: EventClip) -> None:
    own = {"AU4": 0.5}
    assert recognized(Recognition("positive", {"positive": 1.0}, own), smile).action_units == own


class Explaining(Fixed):
    """One that can tell why, or fails to."""

    def explain(self, clip: EventClip, answer: Recognition) -> Explanation:
        if answer.emotion == "surprise":
            raise RuntimeError("no idea")
        return Explanation({"chin": 1.0})


@pytest.mark.parametrize("emotion", ["positive", "surprise"])
def test_explains_after_the_answer(smile: EventClip, emotion: str) -> None:
    thread = RecognitionThread(Explaining(Recognition(emotion, {emotion: 1.0})))
    thread.start()
    pending = thread.submit(smile, wait=True)
    assert pending is not None
    assert pending.result(timeout=30).emotion == emotion
    if emotion == "surprise":
        with pytest.raises(RuntimeError, match="no idea"):
            pending.explanation.result(timeout=30)
    else:
        assert pending.explanation.result(timeout=30) == Explanation({"chin": 1.0})
    thread.close()


def test_an_engine_need_not_explain(smile: EventClip) -> None:
    with running(Recognition("positive", {"positive": 1.0})) as thread:
        pending = thread.submit(smile, wait=True)
        assert pending is not None
        assert pending.explanation.result(timeout=30) is None


def test_knows_nothing_without_landmarks(smile: EventClip) -> None:
    bare = EventClip(smile.faces, smile.times_s, smile.onset, smile.apex)
    assert recognized(Recognition("positive", {"positive": 1.0}), bare).action_units is None
    assert bare.faces is smile.faces
    assert np.array_equal(bare.times_s, smile.times_s)
