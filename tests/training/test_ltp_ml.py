"""Training LTP-ML: muscles, S-patterns, what is generated from them, and the whole command."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="training needs requirements-train.txt")

from engines.errors import UserError
from engines.evaluation.spotting import pool
from engines.events import EventKind
from engines.spotting.ltp_ml.patches import MOUTH_PATCHES, NOSE_PATCHES
from engines.spotting.ltp_ml.patterns import STEPS, features_of
from engines.spotting.ltp_ml.spotter import LtpMlManifest, LtpMlSpotter, Machine
from engines.training import ltp_ml, s_patterns
from engines.training.clips import ClipEvent, FaceClip
from engines.training.ltp_ml import fit_machine, follow, gather, main, patterns_of
from engines.training.s_patterns import (
    BEST_PATCHES,
    LEAD_S,
    fit_muscles,
    generate,
    muscle_pattern,
    select,
)
from engines.training.streaming import spot
from tests.spotting.ltp_faces import MOUTH, face_samples, mesh
from tests.spotting.scripted_motion import Movement

# -- muscles ---------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [15.0, 30.0, 60.0])
@pytest.mark.parametrize("beta", [0.8, 1.5, 3.0])
@pytest.mark.parametrize("rise_s", [0.1, 0.2])
def test_a_fit_recovers_alpha_and_beta(alpha, beta, rise_s):
    (fit,) = fit_muscles(0.7 * muscle_pattern(alpha, beta, rise_s)[np.newaxis])
    assert fit.alpha == pytest.approx(alpha, rel=0.02)
    assert fit.beta == pytest.approx(beta, rel=0.02)
    assert fit.error < 1e-3
    assert fit.plausible


def test_what_no_muscle_does_is_not_plausible():
    jagged = np.array([1, 0, 1, 0, 1, 0, 1, 0, 1], np.float32)
    assert not fit_muscles(jagged[np.newaxis])[0].plausible


def test_noise_is_left_over():
    rng = np.random.default_rng(0)
    noisy = muscle_pattern(30, 1.5, 0.15) + rng.normal(0, 0.03, STEPS)
    (fit,) = fit_muscles(noisy[np.newaxis])
    assert 0.005 < fit.error < 0.06


# -- S-patterns ------------------------------------------------------------------------------


def onset(sizes: dict[int, float]) -> np.ndarray:
    distances = np.full((12, STEPS), 0.03, np.float32)
    for patch, size in sizes.items():
        distances[patch] = size * muscle_pattern(40, 1.5, 0.15)
    return distances


def test_patches_that_rise_are_selected_largest_first():
    lip, corner, *_ = MOUTH_PATCHES
    assert select(onset({lip: 0.4, corner: 0.8})) == [corner, lip]
    assert len(select(onset(dict.fromkeys(range(12), 0.5)))) == BEST_PATCHES


def test_the_nose_and_what_falls_are_not():
    assert select(onset(dict.fromkeys(NOSE_PATCHES, 1.0))) == []
    falling = onset({})
    falling[0] = np.linspace(1, 0.1, STEPS)
    assert select(falling) == []


def test_generated_patterns_resemble_those_they_come_from(monkeypatch):
    rng = np.random.default_rng(0)
    monkeypatch.setattr(s_patterns, "LEAD_S", 0.0)  # at the onset, as the real ones here are
    real = np.array(
        [
            size * muscle_pattern(alpha, beta, 0.15)
            for size in (0.3, 0.5)
            for alpha in (30.0, 45.0)
            for beta in (1.0, 1.6)
        ],
        np.float32,
    )
    fits = fit_muscles(real)
    made = generate(fits, real, 200, np.random.default_rng(1))
    assert made.shape == (200, STEPS)
    assert made.dtype == np.float32
    assert (made >= 0).all()
    assert made.max() < 1.5 * real.max()
    middle = real.mean(axis=0) / real.mean(axis=0).max()
    assert np.corrcoef(made.mean(axis=0), middle)[0, 1] > 0.9
    assert np.array_equal(made, generate(fits, real, 200, np.random.default_rng(1)))
    assert not np.array_equal(made, generate(fits, real, 200, rng))


# -- the machine -----------------------------------------------------------------------------


def clip(identity: str, number: int = 0, seconds: float = 5.0, fps: float = 30.0) -> FaceClip:
    """A twitch of the mouth every 1.6 s."""
    movements = [Movement(t, 0.3, 1.2, MOUTH) for t in np.arange(1.2, seconds - 0.6, 1.6)]
    seed = sum(map(ord, identity)) + number
    samples = list(face_samples(fps, seconds, movements, seed=seed))
    return FaceClip(
        name=f"{identity}-{number}",
        identity=identity,
        fps=fps,
        faces=np.stack([s.face for s in samples]),
        times=np.array([s.time_s for s in samples]),
        valid=np.array([s.valid for s in samples]),
        restart=np.array([s.restart for s in samples]),
        mesh=mesh(),
        events=tuple(
            ClipEvent(EventKind.MICRO, m.onset_s + 0.03, m.onset_s + 0.15, m.onset_s + 0.27, None)
            for m in movements
        ),
    )


class FewPeople:
    title = "made-up faces"
    synthetic = True
    command = "python -m made_up"
    fingerprint = "0" * 64
    classes = ()
    identities = ("a", "b", "c")

    def __init__(self) -> None:
        self.splits = {"train": ("a",), "validation": ("b",), "test": ("c",)}

    def clips(self, identities):
        for who in self.identities:
            if who in identities:
                yield from (clip(who, number) for number in range(2))


def test_patterns_break_where_measurement_does():
    whole = clip("a")
    starts, patterns = patterns_of(follow(whole))
    assert patterns.shape == (len(starts), 12, STEPS)
    broken = replace(whole, restart=whole.restart | (np.arange(len(whole.times)) == 60))
    fewer, _ = patterns_of(follow(broken))
    gone = set(np.round(starts, 6)) - set(np.round(fewer, 6))
    assert gone == {round(s, 6) for s in starts if s < 2.0 - 1e-6 < 2.0 <= s + 0.3 + 1e-6}


def test_ten_clips_are_learned_by_heart():
    clips = [clip("learned", number, seconds=3.8) for number in range(10)]
    positives, negatives = gather(clips, seed=0)
    assert len(positives.plain) > 15
    assert len(positives.generated) == ltp_ml.GENERATED * sum(f.plausible for f in positives.fits)
    machine = fit_machine(positives.arms()["and generated"], negatives)
    weights, bias = np.array(machine.weights), machine.bias
    assert (features_of(positives.filtered) @ weights + bias > 0).mean() > 0.6
    assert (features_of(negatives) @ weights + bias > 0).mean() < 0.15
    manifest = LtpMlManifest(
        name="ltp-ml",
        version="0",
        machine=machine,
        # Region motion means nothing on a mesh that has a dozen landmarks.
        decision=ltp_ml.judge_config({"regions": 2, "return_share": 10.0, "blink_share": 0.0}),
        training={},
    )
    found = pool(spot(each, LtpMlSpotter(each.fps, manifest)) for each in clips)
    assert found.recall > 0.9
    assert found.precision > 0.9


def test_what_starts_before_an_onset_is_positive_and_what_overlaps_it_is_not_negative():
    one = clip("a")
    positives, negatives = gather([one], seed=0)
    label_windows = len(one.events) * BEST_PATCHES * (round(LEAD_S * 30) + 1)
    assert 0 < len(positives.plain) <= label_windows
    assert negatives.max() < 0.5


def test_the_command_trains_chooses_and_ships(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ltp_ml, "open_source", lambda folder: FewPeople())
    monkeypatch.setattr(ltp_ml, "MANIFEST", tmp_path / "engine" / "ltp_ml.json")
    monkeypatch.setattr(ltp_ml, "CANDIDATES", {"threshold": (0.0, 0.5), "regions": (1, 2)})
    (tmp_path / "engine").mkdir()
    arguments = ["--data", "made-up", "--out", str(tmp_path / "run"), "--ship"]
    assert main(arguments) == 0
    report = json.loads((tmp_path / "run" / "result.json").read_text("utf-8"))
    assert set(report["arms"]) == {"S-patterns", "filtered by the muscle", "and generated"}
    assert report["figures"]["identities"] == 1
    manifest = LtpMlManifest.model_validate_json((tmp_path / "engine" / "ltp_ml.json").read_bytes())
    assert manifest.training["fold"]["test"] == ["c"]
    card = (tmp_path / "engine" / "model_card.md").read_text("utf-8")
    assert card.strip() == capsys.readouterr().out.strip()
    assert "made-up faces" in card.lower()


def test_without_expressions_there_is_nothing_to_learn():
    with pytest.raises(UserError, match="no S-pattern"):
        gather([replace(clip("a"), events=())], seed=0)


def test_data_that_are_missing_are_a_mistake_of_the_user(tmp_path, capsys):
    assert main(["--data", str(tmp_path), "--out", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err


def test_what_is_chosen_by_is_what_runs_live():
    """The quick decision of training finds what the spotter finds, frame for frame."""
    one = clip("a", seconds=4.0, fps=60.0)
    machine = Machine(weights=(-0.3, *[0.0] * (STEPS)), bias=0.5)
    config = ltp_ml.judge_config({"threshold": 0.1, "return_share": 10.0, "blink_share": 0.0})
    manifest = LtpMlManifest(
        name="ltp-ml", version="0", machine=machine, decision=config, training={}
    )
    live = spot(one, LtpMlSpotter(60.0, manifest))
    quick = ltp_ml.decide(ltp_ml.measured(one), machine, config)
    assert live.tp + live.fp > 0
    assert quick == live
