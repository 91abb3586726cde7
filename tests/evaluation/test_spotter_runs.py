"""The comparison of all spotters keeps what it has computed, and pairs agree as they do live."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import spotters
from benchmarks.spotters import PAIR, Found, spot_clip
from engines.events import Event, EventKind, EventState
from engines.training.clips import FaceClip


@pytest.fixture
def clip() -> FaceClip:
    """A still face without one: noise that stays as it is."""
    n, fps = 40, 20.0
    picture = np.random.default_rng(0).integers(0, 255, (128, 128), np.uint8)
    return FaceClip(
        name="000-00",
        identity="000",
        fps=fps,
        faces=np.repeat(picture[None], n, axis=0),
        times=np.arange(n) / fps,
        valid=np.ones(n, bool),
        restart=np.zeros(n, bool),
        mesh=np.random.default_rng(1).uniform(20, 100, (468, 3)).astype(np.float32),
        events=(),
    )


def event(number: int, onset_s: float, offset_s: float, kind=EventKind.MICRO) -> Event:
    return Event(
        id=number, state=EventState.CLOSED, onset_s=onset_s, apex_s=onset_s, offset_s=offset_s,
        onset_frame=0, apex_frame=0, offset_frame=1, score=1.0, regions=(), kind=kind,
        decided_s=offset_s, spotter="scripted",
    )  # fmt: skip


def test_what_was_kept_is_not_computed_again(clip, tmp_path, monkeypatch):
    told = {"flow": [[event(1, 0.4, 0.7)] for _ in spotters.FACTORS]}
    monkeypatch.setattr(spotters, "_found", lambda clip, asked: told if asked else {})
    first = spot_clip(clip, ["flow"], every=True, keep=tmp_path)
    assert len(first.closed) == len(spotters.FACTORS)
    monkeypatch.setattr(spotters, "_found", lambda clip, asked: {name: 1 / 0 for name in asked})
    again = spot_clip(clip, ["flow"], every=True, keep=tmp_path)
    assert again.closed == first.closed


def test_nothing_is_found_in_a_still_picture_whatever_the_threshold(clip):
    found = spot_clip(clip, ["flow"], every=True)
    assert all(events == [] for events in found.closed.values())


def test_a_pair_keeps_what_both_found_and_every_macro_expression(clip):
    long = event(3, 3.0, 4.0, EventKind.MACRO)
    seen = Found(
        clip,
        {
            ("a", 0): [event(1, 1.0, 1.3), event(2, 2.0, 2.3), long],
            ("b", 1): [event(1, 1.2, 1.5)],
        },
    )
    (both,) = spotters._agreed([seen], ("a", 0), ("b", 1))
    assert [each.id for each in both.closed[PAIR, 0]] == [1, 3]


def test_sizes_are_those_that_the_model_cards_tell():
    pytest.importorskip("onnx", reason="counting weights needs onnx")
    size = spotters.size_of("lgsnet")
    assert size["parameters"] == pytest.approx(235_002 + 158_192, rel=0.01)
    assert size["multiplications"] == pytest.approx(8.1e6 + 18.2e6, rel=0.01)
    assert spotters.size_of("flow") == {"parameters": 0, "multiplications": 0}
