"""Defaults, then the configuration file, then the options."""

from itertools import islice
from pathlib import Path

import pytest

from streamer.cli import _folders, _parser, configuration


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


def test_every_session_of_the_dashboard_has_a_folder_of_its_own():
    assert list(islice(_folders(Path("a/out")), 3)) == [
        Path("a/out"),
        Path("a/out-2"),
        Path("a/out-3"),
    ]
    assert list(islice(_folders(None), 2)) == [None, None]
