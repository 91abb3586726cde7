"""Whole sessions as a user runs them: `run_live.py` in a process of its own."""

from __future__ import annotations

import csv
import json
import os
import signal
import struct
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

CLIP = Path(__file__).parents[3] / "shared" / "data" / "video" / "single_face.mp4"
posix = pytest.mark.skipif(sys.platform == "win32", reason="signals and terminals of POSIX")


def read_rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "frames.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def read_lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def wait_for_rows(process: subprocess.Popen[str], folder: Path) -> None:
    """Wait until frames are being written, by reading what a reader would read."""
    table = folder / "frames.csv"
    while not table.exists() or table.read_bytes().count(b"\n") < 20:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.05)


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    output, error = process.communicate(timeout=120)
    return process.returncode, output, error


def test_two_runs_over_a_file_write_the_same_bytes_at_any_speed(glint, clip, tmp_path):
    runs = {speed: tmp_path / "deep" / speed for speed in ("max", "realtime")}
    for speed, folder in runs.items():
        code, output, error = finish(
            glint("--source", clip, "--headless", "--speed", speed, "--session", folder)
        )
        assert (code, error) == (0, "")
        assert "does not prove that a person lies" in output
        assert str(folder) in output
        metrics = json.loads((folder / "metrics.json").read_text())
        assert metrics["captured"] == metrics["analysed"] == 240
        assert metrics["lost"] == {}
        assert set(metrics["latency_ms"]["capture_to_score"]) == {"p50", "p95", "p99", "max"}
        session = json.loads((folder / "session.json").read_text())
        assert session["end_state"] == "finished"
        assert session["configuration"]["source"]["speed"] == speed
        assert session["consent"] is None
        assert not (folder / "consent.json").exists()
    for name in ("events.jsonl", "frames.csv"):
        assert (runs["max"] / name).read_bytes() == (runs["realtime"] / name).read_bytes()
    events = read_lines(runs["max"] / "events.jsonl")
    assert events
    for event in events:
        assert event["onset_s"] < event["apex_s"] < event["offset_s"] <= event["decided_s"]
    rows = read_rows(runs["max"])
    assert [int(row["frame"]) for row in rows] == list(range(240))
    assert not (runs["max"] / "truth.jsonl").exists()


def test_a_recorded_session_gives_the_same_bytes_again(glint, clip, tmp_path):
    recorded, replayed = tmp_path / "recorded", tmp_path / "replayed"
    code, output, error = finish(
        glint(
            *("--source", clip, "--headless", "--record", "--session", recorded),
            *("--subject", "P07", "--consent", "A. Researcher"),
        )
    )
    assert (code, error) == (0, "")
    consent = json.loads((recorded / "consent.json").read_text())
    assert consent.pop("confirmed_utc")
    assert consent.pop("text_sha256")
    assert consent == {
        "confirmed_by": "A. Researcher",
        "text": "glint-1",
        "subject": "P07",
        "pictures_stored": True,
    }
    assert json.loads((recorded / "session.json").read_text())["consent"]["text"] == "glint-1"
    assert "Recorded:  240 frames, nothing left out" in output
    metrics = json.loads((recorded / "metrics.json").read_text())
    assert metrics["recording"] == {"state": "finished", "frames": 240, "lost": {}}
    code, output, error = finish(
        glint("--source", recorded, "--headless", "--session", replayed, "--json-lines")
    )
    assert code == 0, error
    assert f"Recorded from {clip}" in error
    assert "does not prove that a person lies" in error
    told = [json.loads(line) for line in output.splitlines()]
    assert {line["state"] for line in told} >= {"tentative", "confirmed", "closed"}
    closed = [line for line in told if line.pop("state") == "closed"]
    assert closed == read_lines(replayed / "events.jsonl")
    for name in ("events.jsonl", "frames.csv"):
        assert (recorded / name).read_bytes() == (replayed / name).read_bytes()


def test_a_recording_needs_a_session_folder(glint, clip):
    code, _, error = finish(glint("--source", clip, "--headless", "--record"))
    assert code == 2
    assert "--session" in error


@posix
def test_ctrl_c_ends_the_session_in_order(glint, tmp_path):
    folder = tmp_path / "out"
    process = glint(
        *("--source", "demo", "--fps", 40, "--size", "320x240", "--speed", "realtime"),
        *("--headless", "--session", folder),
    )
    wait_for_rows(process, folder)
    process.send_signal(signal.SIGINT)
    code, output, error = finish(process)
    assert (code, error) == (0, "")
    assert "Analysed:" in output
    session = json.loads((folder / "session.json").read_text())
    assert session["end_state"] == "interrupted"
    assert session["size"] == {"width": 320, "height": 240}
    metrics = json.loads((folder / "metrics.json").read_text())
    assert len(read_rows(folder)) == metrics["analysed"] > 0


@posix
def test_what_a_killed_session_wrote_is_readable(glint, tmp_path):
    folder = tmp_path / "out"
    process = glint("--source", "demo", "--fps", 40, "--headless", "--session", folder)
    wait_for_rows(process, folder)
    process.kill()
    process.wait()
    assert json.loads((folder / "session.json").read_text())["end_state"] == "running"
    assert json.loads((folder / "metrics.json").read_text())["captured"] > 0
    rows = read_rows(folder)
    assert [int(row["frame"]) for row in rows] == list(range(len(rows)))
    assert None not in rows[-1].values()
    read_lines(folder / "events.jsonl")
    truth = read_lines(folder / "truth.jsonl")
    assert set(truth[0]) == {"kind", "onset_s", "apex_s", "offset_s", "emotion", "action_units"}


@posix
def test_the_dashboard_runs_beside_the_session_folder(glint, tmp_path):
    folder = tmp_path / "out"
    process = glint("--source", "demo", "--fps", 40, "--port", 0, "--session", folder)
    line = process.stdout.readline()
    assert line.startswith("The dashboard is at http://127.0.0.1:"), finish(process)
    with urllib.request.urlopen(line.split()[4].rstrip(";"), timeout=30) as page:
        assert page.status == 200
    wait_for_rows(process, folder)
    process.terminate()
    code, _, error = finish(process)
    assert (code, error) == (0, "")
    assert json.loads((folder / "session.json").read_text())["end_state"] == "interrupted"


@posix
def test_file_work_in_a_terminal_shows_its_progress(clip):
    import fcntl  # noqa: PLC0415 - POSIX only, as the next two
    import pty  # noqa: PLC0415
    import termios  # noqa: PLC0415

    keeper, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, root / "run_live.py", "--source", clip, "--headless", "--duration", "1"],
        stdout=subprocess.DEVNULL,
        stderr=terminal,
        stdin=subprocess.DEVNULL,
    )
    os.close(terminal)
    shown = b""
    while True:
        try:
            shown += os.read(keeper, 4096)
        except OSError:  # Linux: the other side is closed
            break
    os.close(keeper)
    assert process.wait() == 0
    assert b"/60 " in shown
    assert b"inference_feedback_manager" not in shown


@pytest.mark.shared_data
@pytest.mark.skipif(not CLIP.exists(), reason="needs the real clips of ../shared/data")
def test_a_real_clip(glint, tmp_path):
    code, output, error = finish(
        glint("--source", CLIP, "--headless", "--session", tmp_path / "out")
    )
    assert (code, error) == (0, "")
    assert "Events:    0 micro, 1 macro" in output
    (event,) = read_lines(tmp_path / "out" / "events.jsonl")
    assert event["kind"] == "macro"
    assert event["emotion"] == "positive"
