import csv
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.events import EventState
from engines.motion.canonical import REGION_NAMES
from streamer.errors import SessionError
from streamer.sinks.base import Sink
from streamer.sinks.session_folder import SessionFolderSink
from tests.sinks.session_records import EVENT, METRICS, RECORD, SESSION


def read_json(path: Path):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def read_lines(path: Path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def read_rows(path: Path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "sessions" / "out"


@pytest.fixture
def sink(folder):
    sink = SessionFolderSink(folder)
    yield sink
    sink.close(METRICS)


def test_it_is_a_sink(sink):
    assert isinstance(sink, Sink)


def test_session_json_tells_what_ran_from_the_start_to_the_end(sink, folder):
    sink.open(SESSION)
    started = read_json(folder / "session.json")
    assert started == {
        "version": "0.1.0",
        "subject": None,
        "consent": None,
        "source": {
            "name": "clip.mp4",
            "kind": "video",
            "live": False,
            "frames": 400,
            "device_clock": True,
            "device": {"model": "ace"},
        },
        "fps": {"asked": None, "nominal": 200.0, "measured": None},
        "size": {"width": 640, "height": 480},
        "calibration": {"verdict": "not calibrated"},
        "engines": {"spotter": {"name": "flow", "version": "1", "sha256": None}},
        "configuration": {"source": {"spec": "clip.mp4"}, "limit": None},
        "started_utc": "2026-01-01T12:00:00Z",
        "stored_from": None,
        "end_state": "running",
        "notes": ["the index is damaged"],
    }
    sink.close(METRICS)
    ended = read_json(folder / "session.json")
    assert ended == {
        **started,
        "fps": {"asked": None, "nominal": 200.0, "measured": 199.8},
        "end_state": "finished",
        "notes": ["the index is damaged", "no recogniser ran"],
    }


def test_session_json_names_the_calibration_that_was_used(sink, folder):
    used = {"path": "rig.json", "age_s": 60, "verdict": "fit", "applied": True}
    sink.open(replace(SESSION, calibration=used))
    assert read_json(folder / "session.json")["calibration"] == used


def test_events_are_written_when_they_close_with_the_promised_fields(sink, folder):
    sink.open(SESSION)
    for state in (EventState.TENTATIVE, EventState.CONFIRMED, EventState.WITHDRAWN):
        sink.on_event(replace(EVENT, state=state, offset_s=None, offset_frame=None, kind=None))
    assert read_lines(folder / "events.jsonl") == []
    sink.on_event(EVENT)
    (line,) = read_lines(folder / "events.jsonl")
    assert list(line) == [
        "id",
        "kind",
        "onset_s",
        "apex_s",
        "offset_s",
        "onset_frame",
        "apex_frame",
        "offset_frame",
        "score",
        "regions",
        "emotion",
        "probabilities",
        "action_units",
        "unit_probabilities",
        "explanation",
        "spotter",
        "recognizer",
        "decided_s",
        "quality",
    ]
    assert line["kind"] == "micro"
    assert line["offset_s"] == 1.3
    assert line["decided_s"] - line["offset_s"] == pytest.approx(0.1)
    assert line["regions"] == ["left_mouth_corner", "right_mouth_corner"]
    assert line["probabilities"] == {"negative": 0.1, "positive": 0.85, "surprise": 0.05}
    assert line["action_units"] == {"AU6": 0.25, "AU12": 0.8}
    assert line["unit_probabilities"] == {"AU4": 0.1, "AU12": 0.9}
    assert line["explanation"] == {
        "regions": {"left_mouth_corner": 0.612, "chin": 0.2},
        "frames": [[1.05, 0.4]],
    }


def test_an_event_without_recognition_has_nulls(sink, folder):
    sink.open(SESSION)
    nothing = ("recognizer", "emotion", "probabilities", "action_units", "unit_probabilities")
    nothing += ("explanation",)
    sink.on_event(replace(EVENT, score=math.inf, **dict.fromkeys(nothing)))
    (line,) = read_lines(folder / "events.jsonl")
    assert [line[name] for name in (*nothing, "score")] == [None] * 7


def test_frames_csv_has_openface_s_columns_then_score_threshold_and_motion(sink, folder):
    sink.open(SESSION)
    sink.on_frame(RECORD)
    (row,) = read_rows(folder / "frames.csv")
    assert list(row)[:10] == [
        "frame",
        "face_id",
        "timestamp",
        "confidence",
        "success",
        "pose_Rx",
        "pose_Ry",
        "pose_Rz",
        "score",
        "threshold",
    ]
    assert list(row)[10:] == [f"{region}_{axis}" for region in REGION_NAMES for axis in "xy"]
    assert (row["frame"], row["face_id"], row["success"]) == ("0", "0", "1")
    assert row["pose_Ry"] == "-0.200000"
    assert row["pose_Rz"] == ""
    assert row["right_brow_inner_y"] == "1.000000"
    assert row["chin_y"] == "29.000000"


numbers = st.floats(width=32, allow_nan=True, allow_infinity=True)


@given(time_s=st.floats(0, 1e5), score=numbers, threshold=numbers, motion=st.lists(numbers))
def test_every_row_is_as_wide_as_the_header_and_holds_numbers_only(
    tmp_path_factory, time_s, score, threshold, motion
):
    folder = tmp_path_factory.mktemp("row") / "out"
    sink = SessionFolderSink(folder)
    values = np.resize(np.array(motion or [0.0], np.float32), (15, 2))
    sink.open(SESSION)
    sink.on_frame(replace(RECORD, time_s=time_s, score=score, threshold=threshold, motion=values))
    sink.close(METRICS)
    (row,) = read_rows(folder / "frames.csv")
    assert None not in row
    assert None not in row.values()
    assert all(cell == "" or math.isfinite(float(cell)) for cell in row.values())
    assert float(row["timestamp"]) == pytest.approx(time_s, abs=1e-6)
    shutil.rmtree(folder)


def test_every_row_and_line_can_be_read_at_once(sink, folder):
    sink.open(SESSION)
    for index in range(3):
        sink.on_frame(replace(RECORD, index=index))
        sink.on_event(replace(EVENT, id=index + 1))
        assert len(read_rows(folder / "frames.csv")) == index + 1
        assert len(read_lines(folder / "events.jsonl")) == index + 1


def test_metrics_json_during_and_after_the_session(sink, folder):
    sink.open(SESSION)
    assert not (folder / "metrics.json").exists()
    sink.follow(lambda: replace(METRICS, captured=10, lost={}))
    sink.on_frame(RECORD)
    during = read_json(folder / "metrics.json")
    assert (during["captured"], during["lost"]) == (10, {})
    sink.close(METRICS)
    metrics = read_json(folder / "metrics.json")
    zero = metrics.pop("zero")
    assert zero["host_s"] == 12.5
    assert datetime.fromisoformat(zero["utc"]).tzinfo is not None
    assert metrics == {
        "captured": 400,
        "analysed": 398,
        "lost": {"capture_ring_full": 2},
        "source": {"stalls": 1},
        "fps": {"asked": None, "measured": 199.8},
        "latency_ms": {"capture_to_score": {"p50": 1.235, "p95": 2.0, "p99": 3.0, "max": None}},
        "cores": 0.612,
        "peak_memory_mb": 512.3,
    }


def test_truth_is_written_where_the_source_knows_it(folder):
    truth = {
        "kind": "micro",
        "onset_s": 2.0,
        "apex_s": 2.1,
        "offset_s": 2.3,
        "emotion": "positive",
        "action_units": [6, 12],
    }
    sink = SessionFolderSink(folder)
    sink.open(replace(SESSION, truth=(truth, truth)))
    assert read_lines(folder / "truth.jsonl") == [truth, truth]
    sink.close(METRICS)


def test_no_truth_file_without_truth_and_no_leftovers(sink, folder):
    sink.open(SESSION)
    sink.follow(lambda: METRICS)
    sink.on_frame(RECORD)
    sink.close(METRICS)
    sink.close(METRICS)
    assert sorted(path.name for path in folder.iterdir()) == [
        "events.jsonl",
        "frames.csv",
        "metrics.json",
        "session.json",
    ]


def test_two_sessions_with_the_same_results_write_the_same_bytes(tmp_path):
    written = []
    for name, started, host_s in (("a", "2026-01-01T00:00:00Z", 1.0), ("b", "2027-02-02", 9.0)):
        sink = SessionFolderSink(tmp_path / name)
        sink.open(replace(SESSION, started_utc=started))
        sink.on_frame(replace(RECORD, host_s=host_s))
        sink.on_event(EVENT)
        sink.close(METRICS)
        written.append(
            [(tmp_path / name / file).read_bytes() for file in ("events.jsonl", "frames.csv")]
        )
    assert written[0] == written[1]


def test_a_folder_that_holds_anything_is_refused_and_left_alone(sink, folder):
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(SessionError, match="not empty"):
        sink.open(SESSION)
    sink.close(METRICS)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_an_empty_folder_is_used(sink, folder):
    folder.mkdir(parents=True)
    sink.open(SESSION)
    assert (folder / "session.json").exists()


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    for path in (file, file / "out"):
        sink = SessionFolderSink(path)
        with pytest.raises(SessionError, match=r"cannot be written \(.+\): "):
            sink.open(SESSION)
        sink.close(METRICS)


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX permissions")
def test_a_folder_without_permission_is_one_sentence(tmp_path):
    tmp_path.chmod(0o500)
    if os.access(tmp_path, os.W_OK):
        pytest.skip("root may write everywhere")
    with pytest.raises(SessionError, match="permission denied"):
        SessionFolderSink(tmp_path).open(SESSION)


def run_python(code: str, *arguments: str) -> subprocess.Popen[str]:
    prelude = f"""
        import json
        import sys
        sys.path[:0] = [{str(Path(__file__).parents[2])!r}]
        from dataclasses import replace
        from pathlib import Path
        from streamer.errors import SessionError
        from streamer.sinks.session_folder import SessionFolderSink
        from tests.sinks.session_records import EVENT, METRICS, RECORD, SESSION
    """
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(prelude) + textwrap.dedent(code), *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")
def test_what_was_written_before_sigkill_is_readable(folder):
    writer = run_python(
        """
        sink = SessionFolderSink(Path(sys.argv[1]))
        sink.open(SESSION)
        sink.follow(lambda: METRICS)
        for index in range(10_000_000):
            sink.on_frame(replace(RECORD, index=index))
            if index % 10 == 0:
                sink.on_event(replace(EVENT, id=index // 10 + 1))
            if index == 500:
                print("under way", flush=True)
        """,
        str(folder),
    )
    assert writer.stdout.readline() == "under way\n"
    writer.kill()
    assert writer.wait() == -signal.SIGKILL
    writer.stdout.close()
    assert read_json(folder / "session.json")["end_state"] == "running"
    assert read_json(folder / "metrics.json")["captured"] == 400
    assert [line["id"] for line in read_lines(folder / "events.jsonl")][:50] == list(range(1, 51))
    rows = read_rows(folder / "frames.csv")
    assert len(rows) > 500
    assert None not in rows[-1].values()


DISK_FULL = """
    sink = SessionFolderSink(Path(sys.argv[1]))
    sink.open(SESSION)
    sink.on_event(EVENT)
    told = []
    for index in range(1000):
        try:
            sink.on_frame(replace(RECORD, index=index))
        except SessionError as error:
            told.append(str(error))
            break
    sink.close(METRICS)
    print(json.dumps([index, *told]))
"""


def assert_readable_after_disk_full(folder, writer, reason):
    output, _ = writer.communicate()
    rows, told = json.loads(output)
    assert reason in told
    assert "can no longer be written" in told
    assert len(read_lines(folder / "events.jsonl")) == 1
    written = read_rows(folder / "frames.csv")
    assert [int(row["frame"]) for row in written] == list(range(rows))
    assert None not in written[-1].values()
    assert (folder / "frames.csv").read_bytes().endswith(b"\n")
    return read_json(folder / "session.json")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
def test_a_file_that_cannot_grow_is_told_and_leaves_whole_rows(folder):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))"
    writer = run_python(limit + textwrap.dedent(DISK_FULL), str(folder))
    session = assert_readable_after_disk_full(folder, writer, "file too large")
    assert session["end_state"] == "failed"
    assert "file too large" in session["notes"][-1]


def test_a_full_disk_is_told_and_leaves_whole_rows(tmp_path):
    mount = shutil.which("mount")
    disk = tmp_path / "disk"
    disk.mkdir()
    if (
        mount is None
        or subprocess.run(
            [mount, "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)],
            capture_output=True,
            check=False,
        ).returncode
    ):
        pytest.skip("a small disk can be mounted by root on Linux only")
    try:
        writer = run_python(DISK_FULL, str(disk / "out"))
        session = assert_readable_after_disk_full(disk / "out", writer, "no space left")
        assert session["end_state"] in {"running", "failed"}
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_frames_need_an_open_folder(sink):
    with pytest.raises(ValueError, match="not open"):
        sink.on_frame(RECORD)
