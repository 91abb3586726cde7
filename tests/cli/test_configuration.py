"""Defaults, then the configuration file, then the options."""

import pytest

from streamer.cli import _parser, configuration
from streamer.errors import ConfigError


@pytest.fixture
def configure(tmp_path):
    def configure(toml="", *options):
        file = tmp_path / "glint.toml"
        file.write_text(toml)
        return configuration(_parser().parse_args(["--config", str(file), *options]))

    return configure


def test_options_win_over_the_file_and_the_file_over_the_defaults(configure):
    config = configure(
        '[source]\nspec = "demo"\nfps = 100\n[dashboard]\nport = 9000\n[alignment]\nmesh_hz = 20\n',
        *("--fps", "200", "--size", "640x480"),
    )
    assert config.source.spec == "demo"
    assert config.source.fps == 200
    assert (config.source.width, config.source.height) == (640, 480)
    assert config.dashboard.port == 9000
    assert config.dashboard.host == "127.0.0.1"
    assert config.alignment.mesh_hz == 20


def test_nothing_given_is_camera_0_at_its_own_rate(configure):
    config = configure()
    assert config.source.spec == "0"
    assert config.source.fps is None
    assert (config.spotter, config.recognizer) == ("flow", "ststnet")


@pytest.mark.parametrize(
    ("toml", "options", "speed"),
    [
        ("", [], "realtime"),
        ("", ["--headless"], "max"),
        ("", ["--headless", "--speed", "realtime"], "realtime"),
        ("", ["--speed", "max"], "max"),
        ('[source]\nspeed = "realtime"\n', ["--headless"], "realtime"),
        ('[source]\nspeed = "realtime"\n', ["--headless", "--speed", "max"], "max"),
    ],
)
def test_files_run_at_full_speed_when_headless(configure, toml, options, speed):
    assert configure(toml, *options).source.speed == speed


def test_consent_is_stored_with_its_time_and_the_version_of_the_text(configure):
    assert configure("", "--headless").consent is None
    consent = configure("", "--consent", " A. Researcher ").consent
    assert (consent.confirmed_by, consent.text) == ("A. Researcher", "glint-1")
    assert len(consent.text_sha256) == 64
    own = configure('consent_form = "EK 113, version 2"', "--consent", "AR").consent
    assert (own.text, own.text_sha256) == ("EK 113, version 2", None)
    with pytest.raises(ConfigError, match="name of who confirms"):
        configure("", "--consent", " \n")
