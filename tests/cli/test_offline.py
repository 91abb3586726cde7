"""Spotting a recording with all of it in view, from the command line."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from engines.evaluation.reading import FrameNumbers, read_listing
from engines.events import Event, EventKind, EventState
from engines.spotting.base import MotionSample, SpotterOutput
from streamer import offline
from tests.alignment.moving_portrait import picture


class AtTheEnd:
    """A spotter that counts frames and tells one event of them when all is over."""

    def __init__(self) -> None:
        self.frames: list[tuple[int, bool]] = []
        self.flows = 0
        self.closed = False

    def push(self, sample: MotionSample) -> SpotterOutput:
        self.frames.append((sample.index, sample.valid))
        self.flows += sample.flow_delta is not None
        return SpotterOutput(0.0, np.inf)

    def finish(self) -> tuple[Event, ...]:
        event = Event(
            id=1, state=EventState.CLOSED, onset_s=0.2, apex_s=0.3, offset_s=0.5, onset_frame=6,
            apex_frame=9, offset_frame=15, score=0.7, regions=(), kind=EventKind.MICRO,
            decided_s=0.6, spotter="lgsnet-offline 1",
        )  # fmt: skip
        return (event,)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def spotter(monkeypatch: pytest.MonkeyPatch) -> AtTheEnd:
    engine = AtTheEnd()
    monkeypatch.setattr(offline, "create_offline_spotter", lambda name, backend: engine)
    return engine


def run(*options: str | Path) -> int:
    return offline.main([str(option) for option in options])


def test_a_recording_becomes_a_table_that_evaluation_reads(
    spotter: AtTheEnd, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(20):
        seen = picture(x=0.3 * index) + rng.integers(0, 2, (480, 640, 3), np.uint8)
        cv2.imwrite(str(folder / f"{index:03d}.png"), seen.astype(np.uint8))
    out = tmp_path / "events.csv"
    given = ("--source", folder, "--fps", 30, "--spotter", "lgsnet", "--out", out)
    assert run(*given) == 0
    assert [index for index, _ in spotter.frames] == list(range(20))
    assert sum(valid for _, valid in spotter.frames) > 10
    assert spotter.flows > 5
    assert spotter.closed
    assert "all of the recording in view" in capsys.readouterr().out
    assert "lgsnet-offline 1" in out.read_text("utf-8")
    ((_, found),) = read_listing(out, "pred", FrameNumbers()).found
    assert (found.onset_s, found.offset_s, found.kind) == (0.2, 0.5, EventKind.MICRO)


def test_a_missing_recording_is_one_sentence(
    spotter: AtTheEnd, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "missing.mp4"
    assert run("--source", missing, "--spotter", "lssnet", "--out", tmp_path / "e.csv") == 2
    said = capsys.readouterr().err.strip()
    assert "missing.mp4" in said
    assert said.endswith(".")
    assert spotter.closed


def test_a_table_that_cannot_be_written_is_one_sentence(
    spotter: AtTheEnd, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(offline, "_samples", lambda source: iter(()))
    folder = tmp_path / "pictures"
    folder.mkdir()
    cv2.imwrite(str(folder / "0.png"), np.zeros((48, 64, 3), np.uint8))
    out = tmp_path / "nowhere" / "events.csv"
    given = ("--source", folder, "--fps", 30, "--spotter", "lssnet", "--out", out)
    assert run(*given) == 2
    assert "choose another --out" in capsys.readouterr().err
