"""LTP-ML live: patches that cannot flip, patterns in time, late fusion, and events."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.errors import EngineError
from engines.events import Event, EventKind, EventState
from engines.spotting.base import Spotter
from engines.spotting.config import FlowSpotterConfig
from engines.spotting.ltp_ml.fusion import FusionConfig, LateFusion
from engines.spotting.ltp_ml.patches import NOSE_PATCHES, PATCH_NAMES, RENEWAL_S, FacePatches
from engines.spotting.ltp_ml.patterns import (
    CN_LIMIT,
    PATTERN_S,
    STEPS,
    UNIT_PX,
    features_of,
    pattern_at,
)
from engines.spotting.ltp_ml.spotter import MANIFEST, LtpMlManifest, LtpMlSpotter, read_manifest
from engines.spotting.registry import create_spotter
from tests.spotting.ltp_faces import MOUTH, PLACES, face_samples, mesh, moved, texture
from tests.spotting.scripted_motion import Movement

TWITCH = Movement(2.0, 0.3, 1.2, MOUTH)


def as_picture(face: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(face), 0, 255).astype(np.uint8)


def ended(spotter: Spotter, stream) -> list[Event]:
    events = [event for sample in stream for event in spotter.push(sample).events]
    events += spotter.finish()
    return [e for e in events if e.state in (EventState.CLOSED, EventState.WITHDRAWN)]


# -- patches ---------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shift", [(0.6, 0.0), (-0.6, 0.0), (0.0, 0.6), (0.3, -0.5)])
def test_coordinates_are_right_and_down_in_pixels_on_every_face(seed, shift):
    """The calibrated plane has no sign to flip: two faces that move alike give the same."""
    face, patches = texture(seed, contrast=25.0), FacePatches()
    patches.push(0.0, as_picture(face), mesh())
    found = patches.push(0.1, as_picture(moved(face, dict.fromkeys(MOUTH, shift))), mesh()).copy()
    corner = PATCH_NAMES.index("left_mouth_corner")
    assert found[corner] == pytest.approx(shift, abs=0.25)
    still = [i for i, name in enumerate(PATCH_NAMES) if "brow" in name]
    assert np.abs(found[still]).max() < 0.05


def test_contrast_changes_nothing():
    found = []
    for contrast in (15.0, 40.0):
        face, patches = texture(3, contrast), FacePatches()
        patches.push(0.0, as_picture(face), mesh())
        shifted = moved(face, {"upper_lip": (0.0, 0.5)})
        found.append(patches.push(0.1, as_picture(shifted), mesh()).copy())
    assert found[0] == pytest.approx(found[1], abs=0.1)


def test_a_renewed_neutral_makes_no_step():
    patches, face = FacePatches(), texture(1)
    before = None
    for index in range(round(2.5 * RENEWAL_S * 30)):
        drifted = moved(face, {"left_brow_inner": (0.0, 0.01 * index)})
        now = patches.push(index / 30, as_picture(drifted), mesh()).copy()
        if before is not None:
            assert np.abs(now - before).max() < 0.1
        before = now
    assert before[PATCH_NAMES.index("left_brow_inner"), 1] == pytest.approx(1.5, abs=0.4)


def test_a_face_without_texture_does_not_move():
    patches, flat = FacePatches(), np.full((128, 128), 90, np.uint8)
    patches.push(0.0, flat, mesh())
    assert np.abs(patches.push(0.1, flat + 1, mesh())).max() < 1e-3


# -- patterns --------------------------------------------------------------------------------


def ramp(fps: float) -> tuple[np.ndarray, np.ndarray]:
    times = np.arange(0, 1, 1 / fps)
    coordinates = np.zeros((len(times), 12, 2), np.float32)
    coordinates[:, 3, 0] = np.clip((times - 0.6) / 0.15, 0, 1)
    return times, coordinates


def test_a_pattern_means_the_same_at_every_rate():
    patterns = [pattern_at(*ramp(fps), now=0.9) for fps in (30, 60, 119.88, 200)]
    assert patterns[0].shape == (12, STEPS)
    for pattern in patterns[1:]:
        assert pattern == pytest.approx(patterns[0], abs=0.03)
    assert patterns[-1][3] == pytest.approx(
        np.clip(np.arange(1, STEPS + 1) / STEPS * PATTERN_S / 0.15, 0, 1), abs=0.03
    )


def test_less_than_a_pattern_is_none():
    times, coordinates = ramp(200)
    short = times <= PATTERN_S - 0.01
    assert pattern_at(times[short], coordinates[short]) is None
    assert pattern_at(times[:1], coordinates[:1]) is None


def test_features_are_cn_and_shares_of_the_largest():
    distances = np.zeros((2, STEPS), np.float32)
    distances[0] = np.linspace(0, 2 * UNIT_PX, STEPS)
    features = features_of(distances)
    assert features[0, 0] == pytest.approx(0.5)
    assert features[0, 1:] == pytest.approx(np.linspace(0, 1, STEPS))
    assert features[1, 0] == CN_LIMIT
    assert np.isfinite(features).all()


# -- fusion ----------------------------------------------------------------------------------


def fused(firing: list[str], time_s: float = 1.0, fusion: LateFusion | None = None, **config):
    fusion = fusion or LateFusion(FusionConfig(**{"regions": 2, "threshold": 0.0, **config}))
    answers = np.full(12, -1.0, np.float32)
    cn = np.full(12, 4.0, np.float32)
    for name in firing:
        answers[PATCH_NAMES.index(name)] = 2.0
        cn[PATCH_NAMES.index(name)] = 0.5
    return fusion.push(time_s, answers, cn)


def test_enough_regions_of_one_half_of_the_face_make_an_answer():
    found = fused(["upper_lip", "lower_lip"])
    assert found.score == 2.0
    assert {PATCH_NAMES[i] for i in found.regions} == {"upper_lip", "lower_lip"}
    assert not found.head
    assert fused(["upper_lip"]).score == -1.0
    assert fused(["upper_lip", "left_brow_inner"]).score == -1.0
    assert fused(["upper_lip"], regions=1).score == 2.0


def test_a_nose_that_moves_mutes_the_face_for_a_ninth_of_a_pattern():
    fusion = LateFusion(FusionConfig(nose_threshold=0.5))
    assert fused(["upper_lip", "lower_lip", "nose_tip"], 1.0, fusion).head
    assert fused(["upper_lip", "lower_lip"], 1.03, fusion).head
    after = fused(["upper_lip", "lower_lip"], 1.04, fusion)
    assert not after.head
    assert not set(after.regions) & set(NOSE_PATCHES)
    fusion.push(2.0, np.full(12, 2.0, np.float32), np.ones(12, np.float32))
    fusion.reset()
    assert not fused([], 2.01, fusion).head


def test_regions_all_over_the_face_are_a_head():
    everywhere = [name for name in PATCH_NAMES if "nose" not in name][:9]
    assert fused(everywhere, head_regions=9).head
    assert not fused(everywhere, head_regions=10).head


def test_a_region_that_moves_less_than_the_mean_has_no_say():
    fusion = LateFusion(FusionConfig(regions=1))
    cn = np.ones(12, np.float32)
    cn[PATCH_NAMES.index("upper_lip")] = 5.0
    answers = np.full(12, -1.0, np.float32)
    answers[PATCH_NAMES.index("upper_lip")] = 3.0
    assert fusion.push(0.0, answers, cn).score == -1.0


# -- the spotter -----------------------------------------------------------------------------


@pytest.mark.parametrize("fps", [30.0, 60.0, 200.0])
def test_a_micro_expression_is_found_at_every_rate(fps):
    spotter = LtpMlSpotter(fps)
    assert isinstance(spotter, Spotter)
    (event,) = [
        e for e in ended(spotter, face_samples(fps, 3.5, [TWITCH])) if e.state is EventState.CLOSED
    ]
    assert event.kind is EventKind.MICRO
    assert event.onset_s == pytest.approx(2.05, abs=0.06)
    assert event.apex_s == pytest.approx(2.15, abs=0.05)
    assert event.offset_s == pytest.approx(2.25, abs=0.06)
    assert abs(event.apex_frame / fps - event.apex_s) <= 1 / fps
    assert set(event.regions) <= set(MOUTH)
    assert event.regions


def test_confirmation_comes_within_the_declared_look_ahead():
    spotter, confirmed = LtpMlSpotter(200.0), 0
    for sample in face_samples(200, 3.0, [TWITCH]):
        for event in spotter.push(sample).events:
            if event.state is EventState.CONFIRMED:
                confirmed += 1
                assert sample.time_s - event.apex_s <= spotter.look_ahead_s + 2 / 200
    assert confirmed


def test_what_lasts_longer_is_no_micro_expression():
    events = ended(LtpMlSpotter(60.0), face_samples(60, 5.0, [Movement(2.0, 1.6, 1.5, MOUTH)]))
    assert not [e for e in events if e.state is EventState.CLOSED]


def test_a_still_face_has_no_events():
    assert ended(LtpMlSpotter(100.0), face_samples(100, 4.0)) == []


def test_a_head_that_moves_is_no_expression():
    everything = Movement(2.0, 0.3, 1.2, tuple(PLACES))
    manifest = json.loads(MANIFEST.read_text("utf-8"))
    manifest["decision"]["fusion"] |= {"head_regions": 9, "threshold": 0.0}
    spotter = LtpMlSpotter(60.0, LtpMlManifest.model_validate(manifest))
    events = ended(spotter, face_samples(60, 3.5, [everything]))
    assert not [e for e in events if e.state is EventState.CLOSED]


@pytest.mark.parametrize(("lost", "reason"), [((2.28, 2.6), "face_lost"), ((3.2, 3.4), None)])
def test_a_lost_face_ends_what_was_open(lost, reason):
    late = Movement(2.0, 0.45, 1.5, MOUTH)
    events = ended(LtpMlSpotter(100.0), face_samples(100, 4.0, [late], invalid=[lost]))
    assert [e.quality for e in events if reason and e.state is EventState.WITHDRAWN] == (
        [(reason,)] if reason else []
    )


@settings(max_examples=5, deadline=None)
@given(
    st.integers(0, 100),
    st.lists(
        st.builds(
            Movement, st.floats(0.5, 3.0), st.floats(0.1, 0.8), st.floats(0.3, 2.0), st.just(MOUTH)
        ),
        max_size=2,
    ),
    st.floats(0.1, 0.95),
)
def test_what_was_decided_does_not_depend_on_what_follows(seed, script, cut):
    stream = list(face_samples(30, 4.0, script, seed=seed, invalid=[(2.0, 2.1)]))
    whole, part = LtpMlSpotter(30.0), LtpMlSpotter(30.0)
    outputs = [whole.push(sample) for sample in stream]
    for sample, expected in zip(stream[: int(len(stream) * cut)], outputs, strict=False):
        assert part.push(sample) == expected
    part.reset()
    assert [part.push(sample) for sample in stream] == outputs
    assert part.finish() == whole.finish()
    assert all(math.isfinite(output.score) for output in outputs)


def test_a_higher_threshold_spots_less():
    spotter = create_spotter("ltp-ml", FlowSpotterConfig(), 60.0)
    assert isinstance(spotter, LtpMlSpotter)
    spotter.threshold = 1e3
    assert ended(spotter, face_samples(60, 3.5, [TWITCH])) == []


def test_the_shipped_files_agree_with_each_other(tmp_path):
    manifest = read_manifest(MANIFEST)
    assert manifest.name == "ltp-ml"
    fold = manifest.training["fold"]
    parts = [set(fold[part]) for part in ("train", "validation", "test")]
    assert all(parts)
    assert len(set.union(*parts)) == sum(map(len, parts))
    card = (MANIFEST.parent / "model_card.md").read_text("utf-8")
    assert "synthetic" in card.lower()
    assert "Not to be used to judge" in card
    assert "python -m engines.training.ltp_ml" in card


@pytest.mark.parametrize("content", ["", "{}", None])
def test_a_damaged_manifest_is_one_clear_sentence(tmp_path, content):
    path = tmp_path / "ltp_ml.json"
    if content is not None:
        path.write_text(content, "utf-8")
    with pytest.raises(EngineError, match=r"ltp_ml\.json is missing or corrupt"):
        read_manifest(path)


def test_a_machine_of_another_size_is_refused(tmp_path):
    manifest = json.loads(MANIFEST.read_text("utf-8"))
    manifest["machine"]["weights"] = manifest["machine"]["weights"][:-1]
    (tmp_path / "short.json").write_text(json.dumps(manifest), "utf-8")
    with pytest.raises(EngineError):
        read_manifest(tmp_path / "short.json")
