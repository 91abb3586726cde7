"""Action units of an event: what is found in animated faces (synthetic), and what is not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.recognition import Studio
from engines.errors import EngineError
from engines.motion.canonical import FACE_SIZE
from engines.recognition.action_units.estimator import (
    FULL_IOD,
    MANIFEST_FILE,
    ActionUnitEstimator,
    ActionUnitManifest,
    PatternFit,
    evident,
    named_units,
)
from engines.recognition.action_units.estimator import __file__ as module
from engines.recognition.base import EventClip
from engines.synthesis.expressions import PROTOTYPES

MANIFEST = Path(module).parent / MANIFEST_FILE


@pytest.fixture(scope="module")
def studio() -> Studio:
    return Studio(seed=1)


@pytest.fixture(scope="module")
def estimate() -> ActionUnitEstimator:
    return ActionUnitEstimator()


@pytest.mark.parametrize("units", [(12, 6), (1, 2), (15, 17), (4, 24)])
def test_finds_the_units_that_were_animated(studio, estimate, units) -> None:
    (prototype,) = (p for p in PROTOTYPES if p.action_units == units)
    found = estimate(studio.film(prototype, 2.0))
    assert found is not None
    assert {f"AU{unit}" for unit in units} <= set(found)
    assert len(found) <= len(units) + 1
    assert list(found) == sorted(found, key=lambda name: int(name[2:]))


def test_intensity_grows_with_the_movement(studio, estimate) -> None:
    (smile,) = (p for p in PROTOTYPES if p.action_units == (12,))
    found = [estimate(studio.film(smile, pixels))["AU12"] for pixels in (0.7, 1.4, 2.1)]
    assert found == sorted(found)
    # The longest displacement is shown in hundredths of the inter-ocular distance.
    assert found[2] * FULL_IOD == pytest.approx(0.021, rel=0.35)


def test_a_still_face_shows_nothing(studio, estimate) -> None:
    (smile,) = (p for p in PROTOTYPES if p.action_units == (12,))
    clip = studio.film(smile, 1.0)
    assert estimate(replace(clip, apex=clip.onset)) == {}
    flat = EventClip(
        np.full((3, FACE_SIZE, FACE_SIZE), 90, np.uint8), np.arange(3) / 30, 0, 2, clip.mesh
    )
    assert estimate(flat) == {}


def test_without_landmarks_nothing_is_claimed(studio, estimate) -> None:
    (smile,) = (p for p in PROTOTYPES if p.action_units == (12,))
    assert estimate(replace(studio.film(smile, 1.0), mesh=None)) is None


@settings(max_examples=30, deadline=None)
@given(st.sets(st.integers(0, 14), min_size=1, max_size=3), st.floats(0.005, 0.05))
def test_sums_of_patterns_are_taken_apart(chosen, size) -> None:
    manifest = ActionUnitManifest.model_validate_json(MANIFEST.read_bytes())
    patterns, whitening = np.array(manifest.patterns), np.array(manifest.whitening)
    true = np.zeros(len(manifest.units))
    true[list(chosen)] = size
    np.testing.assert_allclose(
        PatternFit(patterns, whitening)(true @ patterns), true, atol=1e-3 * size
    )


@given(
    st.lists(st.floats(0, 0.1), min_size=3, max_size=3),
    st.lists(st.floats(0, 0.01), min_size=3, max_size=3),
)
def test_what_is_left_out_is_small(displacements, floor) -> None:
    moved, least = np.array(displacements), np.array(floor)
    shown = evident(moved, 0.35, least)
    assert (moved[~shown] <= np.maximum(least, 0.35 * moved.max())[~shown]).all()
    names = named_units((1, 2, 4), np.where(shown, moved, 0.0))
    assert all(0 < intensity <= 1 for intensity in names.values())
    assert len(names) == shown.sum()


@pytest.mark.parametrize("change", [{"features": 3}, {"flow": "farneback"}, {"share": 2.0}])
def test_other_measurements_are_refused(tmp_path: Path, change) -> None:
    path = tmp_path / MANIFEST_FILE
    path.write_text(json.dumps({**json.loads(MANIFEST.read_text()), **change}))
    with pytest.raises(EngineError, match="reinstall"):
        ActionUnitEstimator(path)
    with pytest.raises(EngineError, match="cannot be read"):
        ActionUnitEstimator(tmp_path / "missing.json")
