import csv
import json
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest

from streamer.cli import main
from streamer.config import GlintConfig
from streamer.errors import SessionError
from streamer.review.batch import Batch, find_recordings
from streamer.review.session_reader import read_session

ROOT = Path(__file__).parents[2]


@pytest.fixture
def archive(recorded, tmp_path):
    """A session with its pictures, a video of a second without a face, and a broken one."""
    root = tmp_path / "archive"
    shutil.copytree(recorded, root / "P07")
    (root / "late").mkdir()
    video = cv2.VideoWriter(
        str(root / "late" / "empty.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 30, (160, 120)
    )
    for _ in range(30):
        video.write(np.zeros((120, 160, 3), np.uint8))
    video.release()
    (root / "broken.mp4").write_bytes(b"no video")
    return root


def rows(out):
    with (out / "batch.csv").open(newline="", encoding="utf-8") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


def workers():
    return [p for p in psutil.Process().children() if any("spawn_main" in w for w in p.cmdline())]


def test_what_is_a_recording(tmp_path):
    for name in (
        *("b.mp4", "a.AVI", "notes.txt", ".hidden.mp4", "sub/EP1/img1.png", "sub/EP1/img2.png"),
        *("sub/rec/recording/recording.json", "sub/rec/session.json", "out/a.mp4", "sub/clip.x"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    session = {
        **{"version": "1", "source": {}, "fps": {}, "size": {}},
        **{"started_utc": "2026-01-01T12:00:00Z", "end_state": "finished"},
    }
    (tmp_path / "done").mkdir()
    (tmp_path / "done" / "session.json").write_text(json.dumps(session))
    (tmp_path / "done" / "old.mp4").write_text("")

    def found(pattern=None):
        paths = find_recordings(tmp_path, pattern, tmp_path / "out")
        return [path.relative_to(tmp_path).as_posix() for path in paths]

    assert found() == ["a.AVI", "b.mp4", "sub/EP1", "sub/rec"]
    assert found("*.x") == ["sub/clip.x"]
    assert found("s*/EP*") == ["sub/EP1"]
    with pytest.raises(SessionError, match="matches"):
        find_recordings(tmp_path, "*.mkv")
    with pytest.raises(SessionError, match="There is no folder"):
        find_recordings(tmp_path / "gone")
    with pytest.raises(SessionError, match="holds no recording"):
        find_recordings(tmp_path / "sub" / "rec" / "recording")


def test_a_batch_survives_crashes_resumes_and_ends_with_a_table(archive, tmp_path, capsys):
    out = tmp_path / "out"
    batch = Batch(
        archive,
        find_recordings(archive),
        out,
        GlintConfig.from_tree({"recognizer": "none", "source": {"speed": "max"}}),
    )
    over = threading.Event()

    def kill_the_first() -> None:
        while not (out / "P07" / "frames.csv").exists() and not over.wait(0.01):
            pass
        for worker in workers():
            worker.kill()

    killer = threading.Thread(target=kill_the_first)
    killer.start()
    try:
        batch.run(jobs=1, bar=False)
    finally:
        over.set()
        killer.join()
    assert workers() == []
    states = {result.file: result.state for result in batch.results}
    assert states == {"P07": "failed", "broken.mp4": "failed", "late/empty.avi": "analysed"}
    crashed, broken, empty = batch.results
    assert "crashed with its process" in crashed.reason
    assert "is not a video that can be read" in broken.reason
    assert (empty.frames, empty.kinds) == (30, dict.fromkeys(empty.kinds, 0))

    # Again, from the command line: what is finished stays, the rest is done anew.
    arguments = ["batch", str(archive), "--out", str(out), "--jobs", "1", "--recognizer", "none"]
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert "other settings" not in captured.err
    assert "broken.mp4: " in captured.err
    assert "1 of 3 recordings could not be analysed" in captured.err
    assert "late/empty.avi" in captured.out
    table = rows(out)
    assert [table[name]["state"] for name in ("P07", "late/empty.avi", "broken.mp4")] == [
        *("analysed", "analysed before", "failed")
    ]
    assert table["P07"]["session"] == str(out / "P07-2")
    again, first = read_session(out / "P07-2"), read_session(archive / "P07")
    assert [e.onset_s for e in again.events] == [e.onset_s for e in first.events]
    assert int(table["P07"]["micro"]) + int(table["P07"]["macro"]) == len(first.events)
    assert float(table["P07"]["seconds"]) == pytest.approx(5.983, abs=1e-3)

    # A third time, without the broken file and with other settings: nothing is left to do.
    (archive / "broken.mp4").unlink()
    assert main([*arguments[:-1], "ststnet"]) == 0
    assert "2 of the 2 sessions that were there already were made with other settings" in (
        capsys.readouterr().err
    )
    assert {row["state"] for row in rows(out).values()} == {"analysed before"}


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_ctrl_c_ends_a_batch_in_order(archive, tmp_path):
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, ROOT / "run_live.py", "batch", archive, "--out", out, "--jobs", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while not (out / "P07" / "frames.csv").exists():
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.02)
        children = psutil.Process(process.pid).children()
        process.send_signal(signal.SIGINT)
        output, error = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, error) == (0, "")
    assert read_session(out / "P07").end_state == "interrupted"
    _, alive = psutil.wait_procs(children, timeout=30)
    assert alive == []
    states = {name: row["state"] for name, row in rows(out).items()}
    assert (states["P07"], states["late/empty.avi"]) == ("interrupted", "not reached")
    assert "not reached" in output


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--jobs", "0"), "is no number of jobs"),
        (("--config", "gone.toml"), "cannot be read"),
        (("--fps", "-5"), "source.fps"),
        (("--pattern", "*.xyz"), "matches '*.xyz'"),
    ],
)
def test_mistakes(tmp_path, capsys, options, said):
    (tmp_path / "clip.mp4").write_bytes(b"")
    assert main(["batch", str(tmp_path), "--out", str(tmp_path / "out"), *options]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
