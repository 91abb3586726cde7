"""Contract of every registered recogniser."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from engines.errors import EngineError
from engines.events import UNSURE
from engines.motion.canonical import FACE_SIZE
from engines.recognition.base import EventClip, Recognition, Recognizer, name_emotion
from engines.recognition.registry import RECOGNIZERS, create_recognizer


def textured_face(seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(FACE_SIZE, FACE_SIZE)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.5)
    return np.clip(120 + 40 * smooth / smooth.std(), 0, 255).astype(np.uint8)


def moved(face: np.ndarray, x: float, y: float, dx: float, dy: float) -> np.ndarray:
    columns, rows = np.meshgrid(np.arange(FACE_SIZE), np.arange(FACE_SIZE))
    weight = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 200)
    return cv2.remap(
        face,
        (columns - dx * weight).astype(np.float32),
        (rows - dy * weight).astype(np.float32),
        cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )


@pytest.fixture(scope="module")
def clip() -> EventClip:
    face = textured_face(0)
    faces = [moved(face, 46, 94, 0, -dy) for dy in (0.0, 0.0, 0.5, 1.2, 1.5, 1.5)]
    return EventClip(np.stack(faces), np.arange(6) / 30, onset=1, apex=4)


@pytest.fixture(scope="module", params=sorted(RECOGNIZERS))
def recognizer(request: pytest.FixtureRequest) -> Iterator[Recognizer]:
    engine = create_recognizer(request.param)
    yield engine
    engine.close()


def check(recognizer: Recognizer, result: Recognition) -> None:
    assert tuple(result.probabilities) == recognizer.classes
    assert sum(result.probabilities.values()) == pytest.approx(1, abs=1e-9)
    assert min(result.probabilities.values()) >= 0
    assert result.emotion in (result.most_probable, UNSURE)
    assert result.probabilities[result.most_probable] == max(result.probabilities.values())
    if result.unit_probabilities is not None:
        assert all(0.0 <= share <= 1.0 for share in result.unit_probabilities.values())


def test_is_a_recognizer_that_says_what_it_is(recognizer: Recognizer) -> None:
    assert isinstance(recognizer, Recognizer)
    assert recognizer.name in RECOGNIZERS
    assert recognizer.version
    assert recognizer.classes
    assert recognizer.model_sha256 is None or len(recognizer.model_sha256) == 64


def test_gives_probabilities_of_its_classes(recognizer: Recognizer, clip: EventClip) -> None:
    check(recognizer, recognizer.recognize(clip))


def test_is_deterministic_and_leaves_the_clip_alone(
    recognizer: Recognizer, clip: EventClip
) -> None:
    before = clip.faces.copy()
    first = recognizer.recognize(clip)
    assert recognizer.recognize(clip) == first
    np.testing.assert_array_equal(clip.faces, before)


def test_two_instances_agree(recognizer: Recognizer, clip: EventClip) -> None:
    other = create_recognizer(recognizer.name)
    assert other.recognize(clip) == recognizer.recognize(clip)
    other.close()


@pytest.mark.parametrize("level", [0, 97, 255])
def test_a_clip_without_motion_gives_an_answer(recognizer: Recognizer, level: int) -> None:
    faces = np.full((3, FACE_SIZE, FACE_SIZE), level, np.uint8)
    check(recognizer, recognizer.recognize(EventClip(faces, np.arange(3) / 200, 0, 2)))


def test_a_clip_of_one_frame_gives_an_answer(recognizer: Recognizer, clip: EventClip) -> None:
    single = EventClip(clip.faces[:1], clip.times_s[:1], 0, 0)
    check(recognizer, recognizer.recognize(single))


@pytest.mark.parametrize(
    ("unsure_below", "emotion"), [(0.0, "b"), (0.5, "b"), (0.51, UNSURE), (1.0, UNSURE)]
)
def test_what_is_not_probable_enough_is_not_named(unsure_below: float, emotion: str) -> None:
    result = name_emotion(("a", "b", "c"), np.array([0.3, 0.5, 0.2]), unsure_below)
    assert result.emotion == emotion
    assert result.most_probable == "b"
    assert result.probabilities == pytest.approx({"a": 0.3, "b": 0.5, "c": 0.2})


@pytest.mark.parametrize("name", sorted(RECOGNIZERS))
def test_closes_twice(name: str) -> None:
    engine = create_recognizer(name)
    engine.close()
    engine.close()


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(EngineError, match=r"'sststnet'.*ststnet"):
        create_recognizer("sststnet")


def test_the_registry_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        RECOGNIZERS["other"] = RECOGNIZERS["ststnet"]  # type: ignore[index]
