"""What carried an answer: found by occlusion, on animated faces (synthetic)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from benchmarks.recognition import Studio
from engines.motion.canonical import REGION_NAMES
from engines.motion.regions import RegionWeights
from engines.recognition.base import EventClip, Explains, Recognizer
from engines.recognition.explanation import (
    MEAN_CENTRES,
    blame,
    log_odds,
    named_regions,
    region_masks,
)
from engines.recognition.registry import create_recognizer
from engines.synthesis.expressions import PROTOTYPES

EXPLAINED = ("ststnet", "parts", "mean", "sfamnet")


@pytest.fixture(scope="module")
def clips() -> dict[tuple[int, ...], EventClip]:
    studio = Studio(seed=3)
    wanted = ((12,), (1, 2))
    return {p.action_units: studio.film(p, 2.0) for p in PROTOTYPES if p.action_units in wanted}


@pytest.fixture(scope="module", params=EXPLAINED)
def engine(request: pytest.FixtureRequest) -> Iterator[Recognizer]:
    built = create_recognizer(request.param)
    yield built
    built.close()


@pytest.mark.parametrize(
    ("units", "places"), [((12,), ("mouth", "cheek", "lip", "nose")), ((1, 2), ("brow", "eyelid"))]
)
def test_what_moved_carried_the_answer(engine, clips, units, places) -> None:
    clip = clips[units]
    assert isinstance(engine, Explains)
    found = engine.explain(clip, engine.recognize(clip))
    assert set(found.regions) <= set(REGION_NAMES)
    assert list(found.regions.values()) == sorted(found.regions.values(), reverse=True)
    assert sum(found.regions.values()) <= 1 + 1e-6
    own = sum(s for name, s in found.regions.items() if any(place in name for place in places))
    assert own > 0.5, found.regions


def test_explaining_changes_no_answer_and_repeats(engine, clips) -> None:
    clip = clips[(12,)]
    before = engine.recognize(clip)
    first = engine.explain(clip, before)
    assert engine.recognize(clip) == before
    assert engine.explain(clip, before) == first


def test_moments_lie_before_the_apex(engine, clips) -> None:
    clip = clips[(12,)]
    found = engine.explain(clip, engine.recognize(clip))
    times = [time_s for time_s, _ in found.frames]
    assert times == sorted(times)
    assert all(clip.times_s[0] <= time_s <= clip.times_s[clip.apex] for time_s in times)


def test_a_face_without_landmarks_or_motion_is_explained_too(engine, clips) -> None:
    clip = clips[(12,)]
    for other in (replace(clip, mesh=None), replace(clip, apex=clip.onset)):
        found = engine.explain(other, engine.recognize(other))
        assert sum(found.regions.values()) <= 1 + 1e-6


def test_mol_tells_what_movement_it_saw(clips) -> None:
    """Brows that rise, and mouth corners that are drawn apart and up."""
    engine = create_recognizer("mol")
    brows, mouth = slice(17, 27), slice(48, 60)
    seen = {}
    for units, clip in clips.items():
        found = engine.explain(clip, engine.recognize(clip))
        seen[units] = np.array(found.movements)
        assert seen[units].shape == (68, 4)
        eyes = seen[units][36:48, :2].mean(axis=0)
        assert eyes == pytest.approx((64, 45), abs=4)
    engine.close()
    assert seen[1, 2][brows, 3].mean() < -0.5
    assert abs(seen[12,][brows, 3].mean()) < 0.3
    assert np.ptp(seen[12,][mouth, 2]) > 2 * np.ptp(seen[1, 2][mouth, 2])


@given(st.floats(-5, 5), st.lists(st.floats(-5, 5), min_size=15, max_size=15))
def test_shares_are_those_of_the_falls(whole: float, without: list[float]) -> None:
    shares = blame(whole, np.array(without))
    assert (shares >= 0).all()
    assert shares.sum() == pytest.approx(1 if min(without) < whole else 0, abs=1e-9)
    assert all(shares[at] == 0 for at, value in enumerate(without) if value >= whole)
    assert all(0 < share <= 1 + 1e-9 for share in named_regions(shares).values())


def test_log_odds_are_those_of_the_softmax() -> None:
    logits = np.array([[2.0, 1.0, -1.0], [0.0, 50.0, 0.0]])
    shares = softmax(logits, axis=1)
    expected = np.log(shares[:, 0]) - np.log(shares[:, 1:].sum(axis=1))
    np.testing.assert_allclose(log_odds(logits, 0), expected)
    np.testing.assert_allclose(log_odds(np.log(shares), 0), expected)


def test_masks_lie_where_the_regions_are(clips) -> None:
    mesh = clips[(12,)].mesh
    assert mesh is not None
    centres = RegionWeights(mesh).centres
    masks = region_masks(centres, np.arange(128.0), np.arange(128.0))
    for (x, y), mask in zip(centres, masks, strict=True):
        row, column = np.unravel_index(mask.argmax(), mask.shape)
        assert (column, row) == pytest.approx((x, y), abs=0.51)
    assert np.abs(centres - np.array(MEAN_CENTRES)).max() < 20
