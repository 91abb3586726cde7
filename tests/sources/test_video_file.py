from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from streamer.errors import SourceError
from streamer.frame import Frame
from streamer.sources.base import SourceInfo, SourceOptions
from streamer.sources.video_file import VideoFileSource
from tests.sources.source_media import number, run_ffmpeg, write_video

MAX = SourceOptions(realtime=False)


class Played:
    """A source read to its end."""

    def __init__(self, path: Path, options: SourceOptions = MAX) -> None:
        self.source = VideoFileSource(str(path), options)
        self.info: SourceInfo = self.source.open()
        self.frames: list[Frame] = []
        self.numbers: list[int] = []
        self.error: SourceError | None = None
        try:
            for frame in self._read():
                self.frames.append(frame)
                self.numbers.append(number(frame.image))
        except SourceError as error:
            self.error = error
        self.notes = self.source.notes
        self.source.close()

    def _read(self) -> Iterator[Frame]:
        out = np.empty(self.info.shape, np.uint8)
        while (frame := self.source.read(out)) is not None:
            yield frame

    @property
    def gaps(self) -> list[tuple[int, int]]:
        return [(frame.index, frame.gap_before) for frame in self.frames if frame.gap_before]


def _refuse(path: Path) -> str:
    with pytest.raises(SourceError) as caught:
        VideoFileSource(str(path), MAX).open()
    return str(caught.value)


def test_every_frame_at_its_time(tmp_path: Path) -> None:
    played = Played(write_video(tmp_path / "clip.avi", 20))
    assert played.info.fps_nominal == 100.0
    assert played.info.frames == 20
    assert played.info.device_clock
    assert not played.info.live
    assert played.numbers == list(range(20))
    assert [f.index for f in played.frames] == list(range(20))
    assert [f.time_s for f in played.frames] == pytest.approx(np.arange(20) / 100.0)
    assert played.notes == ()
    assert played.error is None


def test_asked_rate_replaces_the_containers(tmp_path: Path) -> None:
    path = write_video(tmp_path / "slow.avi", 20, fps=25.0)
    played = Played(path, SourceOptions(fps=200.0, realtime=False))
    assert [f.time_s for f in played.frames] == pytest.approx(np.arange(20) / 200.0)
    assert played.info.fps_nominal == 200.0
    assert played.gaps == []
    assert "25 fps" in played.notes[0]
    assert "200 fps" in played.notes[0]


def test_duration_ends_it(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.avi", 20)
    played = Played(path, SourceOptions(duration_s=0.1, realtime=False))
    assert len(played.frames) == played.info.frames == 10


def test_another_size_than_asked_is_told(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.avi", 5)
    played = Played(path, SourceOptions(width=640, height=480, realtime=False))
    assert played.info.width == 64
    assert "640 by 480" in played.notes[0]


@pytest.mark.usefixtures("ffmpeg")
def test_lost_frames_in_a_steady_file_are_gaps(tmp_path: Path) -> None:
    source, path = write_video(tmp_path / "all.avi", 120), tmp_path / "gap.mp4"
    lossy = "select='not(between(n,50,54)+eq(n,80))'"
    run_ffmpeg("-i", source, "-vf", lossy, "-vsync", "vfr", "-c:v", "libx264", path)
    played = Played(path)
    assert played.info.fps_nominal == pytest.approx(100.0)
    assert played.gaps == [(55, 5), (81, 1)]
    assert {f.gap_cause for f in played.frames if f.gap_before} == {"source_timestamp_gap"}
    assert [f.time_s for f in played.frames] == pytest.approx(
        [f.index / 100.0 for f in played.frames]
    )


@pytest.mark.usefixtures("ffmpeg")
def test_variable_rate_keeps_its_times_and_has_no_gaps(tmp_path: Path) -> None:
    source, path = write_video(tmp_path / "all.avi", 120), tmp_path / "vfr.mp4"
    # Intervals between 2 and 28 ms, never the same twice in a row.
    times = "setpts='(N+0.45*(1+sin(N*N)))*0.015/TB'"
    fine = ("-vsync", "vfr", "-enc_time_base", "1/90000", "-video_track_timescale", "90000")
    run_ffmpeg("-i", source, "-vf", f"settb=1/90000,{times}", *fine, "-c:v", "libx264", path)
    played = Played(path)
    stated = [(n + 0.45 * (1 + np.sin(float(n * n)))) * 0.015 for n in range(120)]
    assert len(played.frames) == 120
    assert played.gaps == []
    assert [f.time_s for f in played.frames] == pytest.approx(
        np.array(stated) - stated[0], abs=2e-3
    )
    assert "varies" in played.notes[0]


@pytest.mark.usefixtures("ffmpeg")
def test_timestamps_that_stand_still_are_replaced(tmp_path: Path) -> None:
    path = tmp_path / "raw.h264"
    run_ffmpeg("-i", write_video(tmp_path / "all.avi", 30, fps=25.0), "-c:v", "libx264", path)
    played = Played(path)
    assert len(played.frames) == 30
    assert np.diff([f.time_s for f in played.frames]) == pytest.approx(
        1.0 / played.info.fps_nominal
    )
    if not played.info.device_clock:
        assert "do not advance" in played.notes[0]


@pytest.mark.usefixtures("ffmpeg")
def test_joined_recordings_of_two_sizes_go_on_in_time(tmp_path: Path) -> None:
    small, large = tmp_path / "small.ts", tmp_path / "large.ts"
    for path, size in ((small, (64, 48)), (large, (128, 96))):
        clip = write_video(path.with_suffix(".avi"), 50, size=size)
        run_ffmpeg("-i", clip, "-c:v", "libx264", "-bf", "0", path)
    joined = tmp_path / "joined.ts"
    joined.write_bytes(small.read_bytes() + large.read_bytes())
    played = Played(joined)
    assert len(played.frames) == 100
    assert (np.diff([f.time_s for f in played.frames]) > 0).all()
    assert any("joined" in note for note in played.notes)


def test_changing_picture_size_ends_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Growing:
        """The real capture, whose backend hands out a larger picture from frame 5 on."""

        def __init__(self, *arguments: object) -> None:
            self._real = opencv_capture(*arguments)
            self._frame = -1

        def __getattr__(self, name: str) -> object:
            return getattr(self._real, name)

        def grab(self) -> bool:
            self._frame += 1
            return self._real.grab()

        def retrieve(self, out: np.ndarray) -> tuple[bool, np.ndarray]:
            decoded, image = self._real.retrieve(out)
            return decoded, cv2.resize(image, None, fx=2, fy=2) if self._frame >= 5 else image

    path = write_video(tmp_path / "clip.avi", 20)
    opencv_capture = cv2.VideoCapture
    monkeypatch.setattr(cv2, "VideoCapture", Growing)
    played = Played(path)
    assert len(played.frames) == 5
    assert "changes at 0.050 s" in str(played.error)


def test_one_frame_is_a_video(tmp_path: Path) -> None:
    played = Played(write_video(tmp_path / "one.avi", 1))
    assert [f.time_s for f in played.frames] == [0.0]
    assert played.error is None


def test_truncated_video_plays_to_its_break_and_says_so(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write_video(tmp_path / "clip.avi", 300)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    played = Played(path)
    readable = len(played.frames)
    assert 50 < readable < 250
    assert played.numbers == [i % 24 for i in range(readable)]
    assert f"{readable} of 300" in str(played.error)
    assert played.source.read(np.empty(played.info.shape, np.uint8)) is None
    assert capfd.readouterr().err == ""


def test_what_is_no_video_is_refused_quietly(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    empty, text, cut = tmp_path / "empty.mp4", tmp_path / "text.mp4", tmp_path / "cut.mp4"
    empty.touch()
    text.write_text("This is not a video.\n" * 100)
    write_video(tmp_path / "whole.avi", 20)
    cut.write_bytes((tmp_path / "whole.avi").read_bytes()[:400])
    assert "does not exist" in _refuse(tmp_path / "missing.mp4")
    assert "is empty" in _refuse(empty)
    assert "not a video" in _refuse(text)
    assert "folder" in _refuse(tmp_path)
    assert str(cut) in _refuse(cut)
    assert capfd.readouterr().err == ""


def test_no_frame_at_all(tmp_path: Path) -> None:
    path = write_video(tmp_path / "none.avi", 0)
    assert str(path) in _refuse(path)


@pytest.mark.skipif(
    sys.platform == "win32" or not hasattr(os, "geteuid") or os.geteuid() == 0,
    reason="permissions do not bind this account",
)
def test_forbidden_file(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.avi", 5)
    path.chmod(0)
    assert "permissions" in _refuse(path)


def test_denied_by_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "clip.avi", 5)

    def deny(*arguments: object, **named: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", deny)
    assert "Permission denied" in _refuse(path)


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("name", "frames", "gaps"),
    [("single_face.mp4", 72, 0), ("noface_face.mov", 169, 0), ("no_face.mp4", 95, 0)],
)
def test_real_videos(shared_video: Path, name: str, frames: int, gaps: int) -> None:
    played = Played(shared_video / name)
    assert len(played.frames) == frames
    assert len(played.gaps) == gaps
    assert (np.diff([f.time_s for f in played.frames]) > 0).all()
    assert played.error is None
