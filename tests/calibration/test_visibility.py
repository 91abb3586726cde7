"""Movements of known size are drawn as large as they say, and what is seen of them is learned."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import norm

from calibration import visibility
from calibration.injection import UNITS, Trial, displace, region_response, unit_fields
from calibration.visibility import Psychometric, VisibilityResult
from engines.motion.canonical import REGION_NAMES
from engines.spotting.base import SpotterOutput
from engines.synthesis import Portrait
from streamer.alignment.similarity import Similarity
from tests.calibration.scripted_tracks import motion_of


@pytest.fixture(scope="module")
def mesh() -> np.ndarray:
    """The portrait's landmarks in the canonical face."""
    landmarks = Portrait.astronaut().landmarks
    points = landmarks[:, 0] + 1j * landmarks[:, 1]
    place = Similarity.through((points[33], points[263]), (32 + 46j, 96 + 46j))
    placed = place(points)
    depth = landmarks[:, 2] * abs(place.a)
    return np.column_stack([placed.real, placed.imag, depth]).astype(np.float32)


@pytest.fixture(scope="module")
def fields(mesh) -> dict[int, np.ndarray]:
    return unit_fields(mesh)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize(("scale", "angle"), [(1.0, 0.0), (1.6, 0.3)])
def test_a_movement_is_drawn_as_large_as_it_says(fields, unit, scale, angle):
    """Smooth pictures of the coordinates themselves tell where every pixel was taken from."""
    to_picture = Similarity(scale * np.exp(1j * angle), 60 + 40j)
    amplitude = 0.02
    size = (420, 420)
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
    # Eight bits hold the coordinates of part of the picture at a quarter of a pixel.
    field = fields[unit]
    peak = np.unravel_index(np.hypot(field[..., 0], field[..., 1]).argmax(), field.shape[:2])
    place = to_picture.at(complex(peak[1] - 32, peak[0] - 32))
    seen = []
    for coordinate, centre in ((x, place.real), (y, place.imag)):
        ramp = np.clip(128 + 10 * (coordinate - centre), 0, 255).astype(np.uint8)
        drawn = displace(ramp, field, amplitude, to_picture)
        at = (
            slice(round(place.imag) - 1, round(place.imag) + 2),
            slice(round(place.real) - 1, round(place.real) + 2),
        )
        seen.append(-(drawn[at].astype(float) - ramp[at]).mean() / 10)
    expected = amplitude * 64 * scale
    assert np.hypot(*seen) == pytest.approx(expected, rel=0.08)
    turned = complex(*field[peak]) * np.exp(1j * angle)
    assert seen[0] * turned.real + seen[1] * turned.imag == pytest.approx(expected, rel=0.08)


def test_nothing_moves_far_from_the_movement_and_noise_keeps_its_size(fields):
    rng = np.random.default_rng(0)
    picture = np.clip(rng.normal(128, 4, (260, 260)), 0, 255).astype(np.uint8)
    drawn = displace(picture, fields[12], 0.006, Similarity(1.5, 30 + 30j))
    assert np.array_equal(drawn[:40], picture[:40])
    moved = drawn[170:210, 90:190].astype(float)
    assert moved.std() == pytest.approx(4, rel=0.12)


def test_regions_answer_where_the_unit_moves(mesh, fields):
    expected = {1: "brow_inner", 4: "brow_inner", 9: "nose_wing", 12: "mouth_corner", 17: "chin"}
    for unit, region in expected.items():
        response = region_response(mesh, fields[unit])
        strongest = [REGION_NAMES[i] for i in np.argsort(-response)[:3]]
        assert any(region in name for name in strongest), (unit, strongest)
        assert 0.3 < response.max() < 1.0


def test_a_trial_rises_and_falls():
    trial = Trial(2.0, 12, 0.01)
    course = [trial.at(t) for t in np.linspace(1.9, 2.4, 51)]
    assert max(course) == pytest.approx(0.01)
    assert course[0] == course[-1] == 0.0
    assert trial.at(2.15) == pytest.approx(0.01)


def test_the_size_with_90_per_cent_recall_comes_back():
    middle, slope, lapse = np.log(0.006), 6.0, 0.04
    within = 0.9 / (1 - lapse)
    true = np.exp(middle + np.log(within / (1 - within)) / slope)
    inside, sizes = 0, []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        curve = Psychometric(0.004)
        for _ in range(42):
            low, high = curve.size_of(0.6), min(curve.size_of(0.9, 0.75), 0.05)
            size = np.exp(rng.uniform(np.log(min(low, high)), np.log(high)))
            seen = (1 - lapse) * expit(slope * (np.log(size) - middle))
            curve.add(size, rng.uniform() < seen)
        sizes.append(curve.size_of(0.9))
        inside += curve.size_of(0.9, 0.05) <= true <= curve.size_of(0.9, 0.95)
    assert inside >= 9
    assert np.median(sizes) == pytest.approx(true, rel=0.2)
    assert np.abs(np.log(np.array(sizes) / true)).mean() < 0.3


def test_intervals_shrink_with_trials_and_lapses_have_no_answer():
    widths = []
    for n in (10, 40, 160):
        rng = np.random.default_rng(1)
        curve = Psychometric(0.005)
        for size in np.exp(rng.uniform(np.log(0.003), np.log(0.015), n)):
            curve.add(size, rng.uniform() < expit(6 * (np.log(size) - np.log(0.006))))
        widths.append(np.log(min(curve.size_of(0.9, 0.95), 1.0) / curve.size_of(0.9, 0.05)))
    assert widths[0] > widths[1] > widths[2]
    blind = Psychometric(0.005)
    for k in range(60):
        blind.add(0.05, k % 2 == 0)
    assert blind.size_of(0.9) == np.inf


def result(**changes) -> VisibilityResult:
    known = {
        "recall": 0.9, "expected_px": 0.4, "amplitude_px": 0.5, "low_px": 0.4, "high_px": 0.7,
        "amplitude_mm": 0.4, "eye_distance_mm": 90.0, "eye_distance_assumed": True,
        "trials": (), "checked": 20, "found": 18, "found_low": 0.68, "found_high": 0.99,
    }  # fmt: skip
    return VisibilityResult(**{**known, **changes})


def test_findings():
    assert visibility.findings(result()) == ()
    assert "not measured" in visibility.findings(None)[0].what
    blind = result(amplitude_px=None, amplitude_mm=None, checked=0, found=0)
    assert visibility.findings(blind)[0].severity == "failure"
    assert "are missed" in visibility.findings(result(amplitude_px=1.8))[0].what


def test_a_size_that_is_not_borne_out_is_not_stated():
    unsure = result(amplitude_px=None, amplitude_mm=None, found=12, found_low=0.34)
    (finding,) = visibility.findings(unsure)
    assert "cannot be told" in finding.what
    assert "12 were found" in finding.what
    assert "--still-seconds" in finding.advice
    assert "more light" in finding.advice


class Simulated:
    """An injector whose movements are found by a known curve; a pass has a few of them."""

    mesh = None
    start_s = 0.0

    def __init__(self, middle: float, *, seconds: float = 10.0, most: float = 0.97, seed: int = 3):
        self.seconds = seconds
        self._middle, self._most = np.log(middle), most
        self._rng = np.random.default_rng(seed)
        self.shown: list[float] = []

    def recall(self, sizes, mood: float = 0.0):
        return self._most * expit(6 * (np.log(sizes) - self._middle - mood))

    def found(self, trials, spotter, rest):
        self.shown.append(float(rest.time_s[0]))
        share = self.recall([trial.amplitude for trial in trials], self._rng.normal(0, 0.15))
        return tuple((self._rng.uniform(size=len(trials)) < share).tolist())


class Deaf:
    """A spotter that nobody listens to."""

    def push(self, sample):
        return SpotterOutput(0.0, 1.0)


def measured(*injectors: Simulated, checks: int = 3):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(visibility, "expected_amplitude", lambda *_: 0.006)
        return visibility.measure(
            injectors, motion_of(60.0, 10.0), None, Deaf, inter_ocular_px=100.0,
            eye_distance_mm=None, least_noise=0.0004, passes=6, checks=checks,
        )  # fmt: skip


@pytest.mark.parametrize("middle", [0.003, 0.006, 0.02])
def test_what_is_stated_has_the_recall_that_it_says(middle):
    """Over many calibrations of a rig whose spotter sees more or less from pass to pass."""
    rigs = [Simulated(middle, seed=seed) for seed in range(16)]
    stated = [measured(rig).amplitude_px for rig in rigs]
    assert None not in stated
    moods = 0.15 * norm.ppf((np.arange(15) + 0.5) / 15)
    recall = [
        np.mean([rig.recall(amplitude / 100, mood) for mood in moods])
        for rig, amplitude in zip(rigs, stated, strict=True)
    ]
    assert np.mean(recall) == pytest.approx(visibility.RECALL, abs=0.035)
    assert min(recall) > 0.75


def test_every_pass_follows_another_rest_and_footage_takes_turns():
    one, other = Simulated(0.006), Simulated(0.006)
    measured(one, other, checks=0)
    assert len(one.shown) == len(other.shown) == 3
    assert len(set(one.shown + other.shown)) == 6


def test_what_cannot_be_shown_is_not_stated():
    short = measured(Simulated(0.006, seconds=4.2), checks=1)
    assert short.amplitude_px is None
    assert short.checked > 0
    moody = measured(Simulated(0.006, most=0.6))
    assert moody.amplitude_px is None
    assert measured(Simulated(0.006, seconds=3.9)) is None
    assert measured(Simulated(0.5)).amplitude_px is None
