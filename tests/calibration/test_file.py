"""The calibration file: what it keeps, where it applies, and where it is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from calibration import threshold
from calibration.file import Calibration, SourceFacts, age_text
from calibration.result import Finding, Verdict, verdict
from streamer.calibrated import use_calibration
from streamer.cli import _parser, configuration
from streamer.config import GlintConfig
from streamer.errors import ConfigError
from streamer.sources.base import SourceInfo

INFO = SourceInfo(
    name="camera 0",
    kind="camera",
    width=640,
    height=480,
    channels=3,
    fps_asked=200.0,
    fps_nominal=200.0,
    live=True,
    frames=None,
    device_clock=True,
    device={"serial": "A1", "model": "ace"},
)
CHOSEN = threshold.ThresholdResult(
    budget_per_min=1.0,
    factor=7.5,
    factor_low=6.0,
    factor_high=10.0,
    reached=True,
    fitted_s=30.0,
    factors=(3.0, 4.0),
    alarms=(2, 1),
    held_out_s=30.0,
    held_out_alarms=0,
    held_out_low_per_min=0.0,
    held_out_high_per_min=7.4,
    needed_s=221.0,
)


def calibration(**changes) -> Calibration:
    known = {
        "glint": "0.1.0",
        "created_utc": datetime.now(timezone.utc),
        "camera": "left",
        "subject": "P07",
        "source": SourceFacts.of(INFO),
        "spotter": "flow 1",
        "takes": 1,
        "clock": None,
        "light": None,
        "image": None,
        "baseline": None,
        "threshold": CHOSEN,
        "visibility": None,
        "findings": (),
        "verdict": Verdict.FIT,
    }
    return Calibration(**{**known, **changes})


def test_it_comes_back_as_it_was_written(tmp_path):
    written = calibration()
    path = tmp_path / "rig.json"
    written.save(path)
    assert Calibration.load(path) == written
    assert json.loads(path.read_text())["format"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["rig.json"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot be read"),
        ("{", "no calibration that this version of Glint reads"),
        ('{"format": 2}', "format"),
        ('{"format": 1, "colour": 1}', "no calibration"),
    ],
)
def test_what_is_no_calibration_is_refused(tmp_path, text, said):
    path = tmp_path / "rig.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=said) as refused:
        Calibration.load(path)
    assert str(path) in str(refused.value)


def test_unknown_keys_are_mistakes(tmp_path):
    path = tmp_path / "rig.json"
    tree = json.loads(calibration().model_dump_json())
    tree["light"] = {"brightness": 3}
    path.write_text(json.dumps(tree))
    with pytest.raises(ConfigError, match="light"):
        Calibration.load(path)


def test_a_folder_that_is_not_there_is_said(tmp_path):
    with pytest.raises(ConfigError, match="--out"):
        calibration().save(tmp_path / "none" / "rig.json")


def test_its_threshold_is_used(tmp_path):
    path = tmp_path / "rig.json"
    calibration().save(path)
    config, used = use_calibration(GlintConfig(calibration=path))
    assert config.flow_spotter.threshold_factor == 7.5
    assert use_calibration(config)[0] == config
    assert used is not None
    summary = used.summary()
    assert summary["path"] == str(path)
    assert (summary["verdict"], summary["subject"], summary["applied"]) == ("fit", "P07", True)
    assert 0 <= summary["age_s"] < 60


def test_the_command_line_names_it(tmp_path):
    path = tmp_path / "rig.json"
    assert configuration(_parser().parse_args(["--calibration", str(path)])).calibration == path


def test_no_calibration_changes_nothing():
    config = GlintConfig()
    assert use_calibration(config) == (config, None)


def test_what_an_unfit_rig_gave_is_not_used():
    unfit = calibration(verdict=Verdict.NOT_FIT)
    assert unfit.applied_to(GlintConfig()) == GlintConfig()
    assert "not fit" in unfit.check(INFO, "flow 1", None)[0]


def test_the_same_rig_is_accepted_without_a_word():
    assert calibration().check(INFO, "flow 1", None) == ()
    assert calibration().check(replace(INFO, fps_nominal=199.9), "flow 1", "P07") == ()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"width": 1280}, "640x480.*1280x480"),
        ({"fps_nominal": 100.0}, "200 frames a second.*100"),
        ({"device": {"serial": "B2"}}, "camera A1.*B2"),
    ],
)
def test_another_size_rate_or_camera_is_refused(changes, said):
    with pytest.raises(ConfigError, match=said):
        calibration().check(replace(INFO, **changes), "flow 1", None)


@pytest.mark.parametrize(
    ("info", "spotter", "age", "said"),
    [
        (replace(INFO, name="camera 1", device={}), "flow 1", timedelta(), "this is camera 1"),
        (INFO, "mean 1", timedelta(), "says nothing about mean 1"),
        (INFO, "flow 1", timedelta(days=3), "3 days old"),
    ],
)
def test_what_may_be_another_rig_is_warned_of(info, spotter, age, said):
    (note,) = calibration(created_utc=datetime.now(timezone.utc) - age).check(info, spotter, None)
    assert said in note


def test_another_subject_is_warned_of():
    (note,) = calibration().check(INFO, "flow 1", "P08")
    assert "P07" in note
    assert "P08" in note
    assert calibration(subject=None).check(INFO, "flow 1", "P08") == ()


def test_the_verdict_is_that_of_the_worst_finding():
    warning = Finding(step="light", severity="warning", what="", advice="")
    failure = Finding(step="clock", severity="failure", what="", advice="")
    assert verdict([]) is Verdict.FIT
    assert verdict([warning]) is Verdict.WARNINGS
    assert verdict([warning, failure]) is Verdict.NOT_FIT


def test_ages_are_told_in_words():
    assert [age_text(s) for s in (90, 7200, 3 * 86_400)] == ["2 minutes", "2 hours", "3 days"]
