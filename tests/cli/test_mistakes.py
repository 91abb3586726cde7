"""A user's mistake is one sentence on stderr and exit code 2; a fault is exit code 1."""

import logging
import socket
import sys
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

import streamer.session
from streamer.cli import main


@pytest.fixture(autouse=True)
def undisturbed():
    """The command line changes settings of its process, which here is the tests'."""
    interval = sys.getswitchinterval()
    levels = {name: logging.getLogger(name).level for name in ("streamer", "engines")}
    yield
    sys.setswitchinterval(interval)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("glint")]


@pytest.fixture
def run(capfd):
    def run(*options):
        code = main([str(option) for option in options])
        return code, capfd.readouterr().err

    return run


def assert_one_sentence(error, *words):
    assert error.count("\n") == 1, error
    assert error.endswith(".\n")
    assert "Traceback" not in error
    for word in words:
        assert word in error


@pytest.fixture
def place(tmp_path):
    """A folder with everything that can be wrong with a file."""
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("this is not a video\n" * 100)
    (tmp_path / "no pictures").mkdir()
    sizes = tmp_path / "sizes"
    sizes.mkdir()
    for index, side in enumerate((64, 64, 96)):
        cv2.imwrite(str(sizes / f"img{index:03d}.png"), np.zeros((side, side, 3), np.uint8))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    (tmp_path / "broken.toml").write_text("spotter = ")
    (tmp_path / "key.toml").write_text("[source]\nframe_rate = 200\n")
    (tmp_path / "range.toml").write_text("[alignment]\nmesh_hz = 5000\n")
    (tmp_path / "section.toml").write_text("source = 3\n")
    (tmp_path / "binary.toml").write_bytes(bytes(range(128, 256)))
    return tmp_path


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("missing.mp4", ["missing.mp4"]),
        ("empty.mp4", ["empty"]),
        ("text.mp4", ["text.mp4"]),
        ("no pictures", ["picture"]),
        ("sizes", ["size"]),
        ("/dev/video97", ["97"]),
        ("gopher://camera", ["gopher"]),
        ("", ["source"]),
    ],
)
def test_sources(run, place, monkeypatch, source, words):
    monkeypatch.chdir(place)
    code, error = run("--source", source, "--fps", "30", "--headless", "--session", "out")
    assert code == 2
    assert_one_sentence(error, *words)
    assert not Path("out").exists()


@pytest.mark.parametrize("fps", ["0", "-30", "1e9", "nan", "inf", "many"])
def test_rates(run, fps):
    code, error = run("--source", "demo", f"--fps={fps}", "--headless")
    assert code == 2
    assert_one_sentence(error, "fps")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--sizes", "640x480"], ["--sizes"]),
        (["--size", "640"], ["640", "--size"]),
        (["--size", "1x1"], ["width"]),
        (["--fourcc", "MPEG4"], ["fourcc"]),
        (["--duration", "0"], ["duration"]),
        (["--duration", "-1"], ["duration"]),
        (["--seed", "-1"], ["seed"]),
        (["--speed", "fast"], ["fast", "realtime"]),
        (["--spotter", "oracle"], ["oracle", "flow"]),
        (["--recognizer", "oracle"], ["oracle", "ststnet"]),
        (["--log-level", "loud"], ["loud", "debug"]),
        (["--port", "99999"], ["port"]),
        (["--fps"], ["--fps"]),
        (["clip.mp4"], ["clip.mp4"]),
    ],
)
def test_options(run, options, words):
    code, error = run("--source", "demo", "--headless", *options)
    assert code == 2
    assert_one_sentence(error, *words)


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("missing.toml", ["missing.toml"]),
        ("broken.toml", ["broken.toml", "TOML"]),
        ("binary.toml", ["binary.toml"]),
        ("key.toml", ["key.toml", "source.frame_rate"]),
        ("range.toml", ["range.toml", "alignment.mesh_hz", "5000"]),
        ("section.toml", ["section.toml", "source"]),
    ],
)
def test_configuration_files(run, place, file, words):
    code, error = run("--source", "demo", "--headless", "--config", place / file)
    assert code == 2
    assert_one_sentence(error, *words)


@pytest.mark.parametrize(
    ("folder", "words"),
    [("full", ["not empty"]), ("empty.mp4/out", ["cannot be written"]), ("key.toml", ["cannot"])],
)
def test_session_folders(run, place, folder, words):
    before = sorted(place.rglob("*"))
    code, error = run(
        "--source", "demo", "--duration", 1, "--headless", "--session", place / folder
    )
    assert code == 2
    assert_one_sentence(error, str(place / folder), *words)
    assert sorted(place.rglob("*")) == before


def test_a_taken_port(run):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, error = run("--source", "demo", "--port", port)
    assert code == 2
    assert_one_sentence(error, str(port), "--port")


@pytest.mark.parametrize("login", [None, "no colon", ":secret", "user:"])
def test_faces_are_not_shown_to_the_network_without_a_login(run, monkeypatch, login):
    monkeypatch.delenv("GLINT_LOGIN", raising=False)
    if login is not None:
        monkeypatch.setenv("GLINT_LOGIN", login)
    code, error = run("--source", "demo", "--host", "0.0.0.0", "--port", 0)
    assert code == 2
    assert_one_sentence(error.lower(), "user")


def test_a_fault_is_short_and_tells_how_to_see_more(run, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("the flow capacitor is empty")

    monkeypatch.setattr(streamer.session, "build_pipeline", fail)
    code, error = run("--source", "demo", "--headless")
    assert code == 1
    assert_one_sentence(error.replace("debug to see where.", "."), "flow capacitor")
    assert "--log-level debug" in error
    code, error = run("--source", "demo", "--headless", "--log-level", "debug")
    assert code == 1
    assert "Traceback" in error


def test_a_library_that_cannot_be_loaded_is_named(run, monkeypatch):
    def fail(*_, **__):
        raise ImportError("libGL.so.1: cannot open shared object file")

    monkeypatch.setattr(streamer.session, "build_pipeline", fail)
    code, error = run("--source", "demo", "--headless")
    assert code == 2
    assert_one_sentence(error, "libGL.so.1", "README")
