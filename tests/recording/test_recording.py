"""A recording gives back what was captured, whatever happens while it is made."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.errors import SessionError, SourceError
from streamer.frame import Frame
from streamer.recording.layout import CODECS, FOLDER, find_recording
from streamer.recording.recorder import Recorder
from streamer.recording.writer import RecordingWriter
from streamer.ring import FrameRing, Overflow
from streamer.sources.base import SourceInfo, SourceOptions
from streamer.sources.recording import RecordingSource

SHAPES = {1: (48, 66), 3: (48, 66, 3)}
STARTED = "2026-01-01T12:00:00Z"


def info(channels=3, **changes):
    facts = {"name": "basler:0", "kind": "basler", "width": 66, "height": 48, "channels": channels}
    facts |= {"fps_asked": 200.0, "fps_nominal": 199.8, "live": True, "frames": None}
    return SourceInfo(**(facts | {"device_clock": True, "device": {"gain": 1.5}} | changes))


def pictures(number, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (number, *SHAPES[channels]), np.uint8)


def frames_of(images, gaps=()):
    index, frames = -1, []
    for position, image in enumerate(images):
        gap = 3 if position in gaps else 0
        index += 1 + gap
        flags = ("black", "frozen") if position % 4 == 3 else ()
        frames.append(
            Frame(index, index / 200 + 1e-7, index * 0.1 / 3, 0.0, gap, "lost" * bool(gap), image)
            if not flags
            else Frame(index, index / 200 + 1e-7, None, 0.0, gap, "", image, flags)
        )
    return frames


def record(folder, frames, codec="fast", channels=3):
    writer = RecordingWriter(folder, codec)
    writer.open(info(channels), STARTED)
    for frame in frames:
        assert writer.write(frame, lambda: True)
    writer.close()


def replay(path):
    """The frames of a recording with copies of their pictures, and the source's notes."""
    source = RecordingSource(str(path), SourceOptions(realtime=False))
    shape = source.open().shape
    out, frames = np.empty(shape, np.uint8), []
    while (frame := source.read(out)) is not None:
        frames.append((frame, out.copy()))
    notes = source.notes
    source.close()
    return frames, notes


def assert_same(played, frames):
    assert len(played) == len(frames)
    for (frame, image), original in zip(played, frames, strict=True):
        np.testing.assert_array_equal(image, original.image)
        for name in ("index", "time_s", "device_s", "gap_before", "flags"):
            assert getattr(frame, name) == getattr(original, name), name


@pytest.mark.parametrize(("codec", "channels"), list(CODECS))
def test_pictures_and_times_come_back_bit_by_bit(tmp_path, codec, channels):
    frames = frames_of(pictures(12, channels), gaps={5})
    record(tmp_path / "r", frames, codec, channels)
    played, _ = replay(tmp_path / "r")
    assert_same(played, frames)
    assert played[5][0].gap_cause == "lost"


@settings(max_examples=25, deadline=None)
@given(
    steps=st.lists(st.floats(1e-4, 10.0), min_size=1, max_size=8),
    device=st.floats(allow_nan=False, allow_infinity=False),
)
def test_any_time_comes_back(tmp_path_factory, steps, device):
    folder = tmp_path_factory.mktemp("times") / "r"
    image = pictures(1)[0]
    times = np.cumsum(steps).tolist()
    frames = [Frame(n, time, device, 0.0, 0, "", image) for n, time in enumerate(times)]
    record(folder, frames, "raw")
    assert_same(replay(folder)[0], frames)


def test_what_was_recorded_is_said(tmp_path):
    record(tmp_path / "session" / FOLDER, frames_of(pictures(4)))
    source = RecordingSource(str(tmp_path / "session"), SourceOptions(realtime=False, fps=30.0))
    found = source.open()
    source.close()
    assert (found.kind, found.live, found.frames) == ("recording", False, 4)
    assert (found.fps_asked, found.fps_nominal) == (200.0, 199.8)
    assert found.device == {"gain": 1.5}
    assert "basler:0" in found.notes[0]
    assert "keeps its own times" in found.notes[1]


def test_a_recording_is_never_overwritten(tmp_path):
    record(tmp_path / "r", frames_of(pictures(2)))
    with pytest.raises(SessionError, match="cannot be written"):
        RecordingWriter(tmp_path / "r", "fast").open(info(), STARTED)
    assert len(replay(tmp_path / "r")[0]) == 2


def test_a_picture_that_was_overwritten_is_a_gap(tmp_path):
    frames = frames_of(pictures(5), gaps={2})
    writer = RecordingWriter(tmp_path / "r", "fast")
    writer.open(info(), STARTED)
    for position, frame in enumerate(frames):
        assert writer.write(frame, lambda position=position: position != 2) == (position != 2)
    writer.close()
    (*_, (after, image), _), _ = replay(tmp_path / "r")
    np.testing.assert_array_equal(image, frames[3].image)
    assert (after.index, after.gap_before) == (frames[3].index, 4)


class HeldWriter(RecordingWriter):
    """Waits in front of the disk until it is let go."""

    def __init__(self, folder):
        super().__init__(folder, "raw")
        self.reached, self.go = threading.Event(), threading.Event()

    def write(self, frame, intact):
        self.reached.set()
        assert self.go.wait(10)
        return super().write(frame, intact)


def test_capture_overtakes_a_slow_disk_and_every_loss_is_counted(tmp_path):
    writer = HeldWriter(tmp_path / "r")
    recorder = Recorder(writer)
    recorder.open(info(), STARTED)
    ring = FrameRing(4, SHAPES[3], Overflow.DROP_OLDEST)
    thread = threading.Thread(target=recorder.run, args=(ring.reader("recording"),))
    thread.start()
    images = pictures(20)
    for index, image in enumerate(images):
        slot = ring.claim()  # never waits
        slot[:] = image
        ring.publish(Frame(index, index / 200, None, 0.0, 0, "", slot), None)
        if index == 0:
            assert writer.reached.wait(10)
    ring.close()
    writer.go.set()
    thread.join(10)
    status = recorder.status
    played, _ = replay(tmp_path / "r")
    assert status.state == "finished"
    assert status.frames == len(played)
    assert status.frames + sum(status.lost.values()) == 20
    assert sum(frame.gap_before for frame, _ in played) == 20 - len(played)
    for frame, image in played:
        np.testing.assert_array_equal(image, images[frame.index])


ENDLESS = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.recording.test_recording import *
writer = RecordingWriter(Path(sys.argv[1]), "fast")
writer.open(info(), STARTED)
for n in range(100_000):
    writer.write(Frame(n, n / 200, None, 0.0, 0, "", pictures(1, seed=n)[0]), lambda: True)
    print(n, flush=True)
"""


def run_endless(folder):
    program = ENDLESS.format(root=str(Path(__file__).parents[2]))
    return subprocess.Popen(
        [sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE, text=True
    )


def test_a_killed_recording_can_be_played(tmp_path):
    writer = run_endless(tmp_path / "r")
    for _ in range(50):
        last = int(writer.stdout.readline())
    os.kill(writer.pid, signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
    writer.communicate()
    played, _ = replay(tmp_path / "r")
    assert len(played) > last
    for frame, image in played:
        np.testing.assert_array_equal(image, pictures(1, seed=frame.index)[0])


DISK_FULL = """
import json, resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
sys.path.insert(0, {root!r})
from tests.recording.test_recording import *
recorder = Recorder(RecordingWriter(Path(sys.argv[1]), "raw"))
recorder.open(info(), STARTED)
ring = FrameRing(4, SHAPES[3], Overflow.WAIT)
thread = threading.Thread(target=recorder.run, args=(ring.reader("recording"),))
thread.start()
for n, image in enumerate(pictures(30)):
    slot = ring.claim()
    slot[:] = image
    ring.publish(Frame(n, n / 200, None, 0.0, 0, "", slot), None)
ring.close()
thread.join()
status = recorder.status
print(json.dumps([status.state, status.frames, status.lost, recorder.notes]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
def test_a_disk_that_takes_no_more_ends_the_recording_only(tmp_path):
    program = textwrap.dedent(DISK_FULL).format(root=str(Path(__file__).parents[2]))
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "r")],
        capture_output=True,
        text=True,
        check=True,
    )
    state, frames, lost, (note,) = json.loads(done.stdout)
    assert state == "failed"
    assert lost == {"recording_failed": 30 - frames}
    assert "detection goes on" in note
    played, notes = replay(tmp_path / "r")
    assert 0 < len(played) <= frames
    for frame, image in played:
        np.testing.assert_array_equal(image, pictures(30)[frame.index])
    if len(played) < frames:
        assert "broke off" in notes[-1]


def test_an_encoder_that_gives_up_ends_the_recording_only(tmp_path, monkeypatch):
    av = pytest.importorskip("av")
    writer = RecordingWriter(tmp_path / "r", "raw")
    recorder = Recorder(writer)
    recorder.open(info(), STARTED)
    encode, taken = writer._stream.encode, []

    class Stream:
        pix_fmt = writer._stream.pix_fmt

        def encode(self, picture):
            if picture is not None and len(taken) == 2:
                raise av.error.InvalidDataError(1094995529, "the encoder gave up")
            taken.append(picture)
            return encode(picture)

    monkeypatch.setattr(writer, "_stream", Stream())
    ring = FrameRing(8, SHAPES[3], Overflow.WAIT)
    reader = ring.reader("recording")
    for frame in frames_of(pictures(4)):
        slot = ring.claim()
        slot[:] = frame.image
        ring.publish(frame, None)
    ring.close()
    recorder.run(reader)
    assert (recorder.status.state, recorder.status.frames) == ("failed", 2)
    assert recorder.status.lost == {"recording_failed": 2}


@pytest.mark.parametrize("missing", ["times.csv", "video.nut"])
def test_a_recording_without_one_of_its_files_is_said_in_a_sentence(tmp_path, missing):
    record(tmp_path / "r", frames_of(pictures(2)))
    (tmp_path / "r" / missing).unlink()
    with pytest.raises(SourceError, match="copy"):
        replay(tmp_path / "r")


def test_what_is_no_recording_is_said_in_a_sentence(tmp_path):
    record(tmp_path / "r", frames_of(pictures(2)))
    (tmp_path / "r" / "recording.json").write_text("{}", encoding="utf-8")
    with pytest.raises(SourceError, match="cannot be read"):
        replay(tmp_path / "r")
    assert find_recording(tmp_path) is None
