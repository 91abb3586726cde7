"""Whole calibrations of the demo's face, from the source to the file, the report and a session."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from calibration import clock
from calibration.cli import main
from calibration.file import Calibration
from calibration.guide import Plan, calibrate
from calibration.recorder import Recorder
from calibration.report import as_html, as_text
from calibration.result import Verdict
from engines.synthesis import Scenario, ScenarioConfig
from streamer.config import GlintConfig
from streamer.session import build_pipeline
from streamer.sinks.session_folder import SessionFolderSink
from streamer.sources.base import SourceOptions
from streamer.sources.demo import DemoSource

FPS = 30.0
CLIP = Path(__file__).parents[3] / "shared" / "data" / "video" / "single_face.mp4"


class Quiet:
    """A console that remembers."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def wait_for_operator(self, text: str) -> None:
        self.said.append(text)

    def progress(self, name: str, total: float) -> Callable[[float], None]:
        return lambda done: None


def demo(seconds: float, scenario: ScenarioConfig, seed: int = 0) -> DemoSource:
    options = SourceOptions(
        fps=FPS, width=480, height=360, duration_s=seconds, seed=seed, realtime=False
    )
    return DemoSource("demo", options, scenario)


@pytest.fixture(scope="module")
def rig() -> Calibration:
    """A still face under a lamp of known ripple, with one pass of each kind in step 6."""
    scenario = ScenarioConfig(expressions=False, ripple_depth=0.03, noise_sigma=1.5)
    plan = Plan(still_s=6, neutral_s=10, passes=2, checks=1, camera="demo", subject="NASA")
    return calibrate(demo(17, scenario), GlintConfig(), plan, Quiet())


def test_every_step_is_measured(rig):
    assert rig.clock is not None
    assert rig.clock.fps_delivered == pytest.approx(FPS)
    assert rig.clock.lost == {}
    assert rig.light is not None
    ripple = rig.light.ripples[0]
    assert ripple.found
    assert ripple.depth == pytest.approx(0.03, rel=0.08)
    assert ripple.alias_hz == pytest.approx(10.0, abs=0.1)
    assert rig.image is not None
    # Gray is a weighted sum of three channels of independent noise, and rounded twice.
    assert rig.image.noise == pytest.approx(1.5 * 0.668, rel=0.25)
    assert rig.image.inter_ocular_px == pytest.approx(75, rel=0.02)
    assert rig.baseline is not None
    assert rig.baseline.still
    script = Scenario(ScenarioConfig(expressions=False), 0, 17).blinks
    assert rig.baseline.blinks == sum(0.3 < blink.start_s < 5.6 for blink in script)
    assert rig.threshold is not None
    assert rig.threshold.fitted_s + rig.threshold.held_out_s == pytest.approx(16, abs=1.0)
    assert rig.visibility is not None
    assert rig.visibility.expected_px > 0
    assert len(rig.visibility.trials) >= 4
    assert rig.verdict is not Verdict.FIT


def test_larger_movements_are_found_more_often(rig):
    trials = sorted(rig.visibility.trials)
    half = len(trials) // 2
    found = [sum(hit for _, hit in part) for part in (trials[:half], trials[-half:])]
    assert found[0] <= found[1]
    assert found[1] > 0


def test_the_report_tells_every_finding(rig):
    text, page = as_text(rig), as_html(rig)
    for finding in rig.findings:
        assert finding.what in text
        assert finding.advice in text
    assert page.startswith("<!doctype html>")
    assert "http" not in page
    assert "NASA" in page
    assert page.count("<circle") == len(rig.visibility.trials)


def test_a_session_under_it_uses_it_and_says_so(rig, tmp_path):
    fit = rig.model_copy(update={"verdict": Verdict.WARNINGS})
    fit.save(tmp_path / "rig.json")
    config = GlintConfig(calibration=tmp_path / "rig.json", recognizer="none")
    pipeline = build_pipeline(
        config, [SessionFolderSink(tmp_path / "out")], demo(1, ScenarioConfig())
    )
    pipeline.start()
    assert pipeline.wait(60)
    factor = pipeline.threshold_factor
    pipeline.close()
    session = json.loads((tmp_path / "out" / "session.json").read_text())
    assert session["calibration"]["path"] == str(tmp_path / "rig.json")
    assert session["calibration"]["subject"] == "NASA"
    assert factor == rig.threshold.factor
    assert session["configuration"]["flow_spotter"]["threshold_factor"] == factor


def test_a_take_with_expressions_is_repeated_with_the_next_stretch():
    lively = ScenarioConfig(
        expressions_per_min=60, lead_s=1.0, min_gap_s=0.5, micro_share=1.0,
        micro_amplitude_px=(3.0, 4.0), blinks=False, quiet_s=((5.2, 12.0),),
    )  # fmt: skip
    console, plan = Quiet(), Plan(still_s=5.5, passes=1, checks=0)
    result = calibrate(demo(11.5, lively, seed=1), GlintConfig(), plan, console)
    assert result.takes == 2
    assert any("The face moved" in said for said in console.said)
    assert result.baseline is not None
    assert result.baseline.expressions == ()


def test_takes_of_a_file_follow_each_other_without_a_frame_between():
    with Recorder(demo(3, ScenarioConfig(expressions=False)), GlintConfig()) as recorder:
        first = recorder.record(1.0, pictures=True)
        second = recorder.record(1.0, pictures=False)
        rest = recorder.record(5.0, pictures=False)
        nothing = recorder.record(1.0, pictures=True)
    assert first.complete
    assert second.complete
    assert not rest.complete
    counts = [len(take.times.index) for take in (first, second, rest)]
    assert counts == [FPS, FPS, FPS]
    assert second.times.index[0] == FPS
    assert rest.times.index[-1] == 3 * FPS - 1
    assert len(nothing.times.index) == len(nothing.face) == len(nothing.motion) == 0
    assert rest.motion.then(nothing.motion) is rest.motion
    assert second.footage is None
    assert first.footage is not None
    assert len(first.motion) == FPS


def test_a_live_source_runs_on_between_takes_and_its_clock_is_fitted():
    options = SourceOptions(fps=60, width=240, height=180, duration_s=60, realtime=True)
    source = DemoSource("demo", options, ScenarioConfig(expressions=False))
    with Recorder(source, GlintConfig()) as recorder:
        first = recorder.record(1.5, pictures=False)
        second = recorder.record(0.5, pictures=False)
    assert first.complete
    assert second.times.time_s[0] > first.times.time_s[-1]
    result = clock.measure(first.times, fps_asked=60, fps_nominal=60, live=True)
    assert result is not None
    assert result.fps_produced == pytest.approx(60)
    spanned = first.times.index[-1] - first.times.index[0] + 1
    assert result.frames + sum(result.lost.values()) == spanned
    assert result.frames < 50 or result.host is not None


@pytest.mark.shared_data
@pytest.mark.skipif(not CLIP.exists(), reason="the shared data are not there")
def test_a_clip_that_is_too_short_is_told_so(tmp_path, capsys):
    out = tmp_path / "rig.json"
    assert main(["--source", str(CLIP), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "The source ended after 2.4 s of this take." in said
    assert "A baseline needs 5 s and more of a still face" in said
    assert "Not fit" in said
    assert Calibration.load(out).verdict is Verdict.NOT_FIT
    assert out.with_suffix(".html").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--source", "/nowhere.mp4"], "does not exist"),
        (["--still-seconds", "1"], "6 or more"),
        (["--colour"], "--help"),
        (["lens"], "--source"),
        (["--source", "demo", "--config", "/nowhere.toml"], "cannot be read"),
    ],
)
def test_mistakes_are_said_in_one_sentence(arguments, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_nothing_is_overwritten(tmp_path, capsys):
    (tmp_path / "rig.json").write_text("precious")
    assert main(["--source", "demo", "--out", str(tmp_path / "rig.json")]) == 2
    assert "nothing is overwritten" in capsys.readouterr().err
    assert (tmp_path / "rig.json").read_text() == "precious"
