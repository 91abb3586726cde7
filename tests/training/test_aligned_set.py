"""From a data set's folder of frames to training clips, through a stand-in for the aligner."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from engines.datasets import AnnotatedEvent, Dataset, Recording
from engines.errors import UserError
from engines.events import EventKind
from engines.training.aligned_set import AlignedSource, align_dataset, main
from engines.training.sources import open_source

FPS = 50.0
COUNT = 12


@dataclass(frozen=True)
class Aligned:
    valid: bool
    epoch: int
    mesh: np.ndarray | None
    head_speed: float = 0.0
    depth: np.ndarray | None = None


@contextmanager
def stand_in() -> Iterator:
    """Follows the face from the second picture on, and slips at the eighth."""

    def align(index, time_s, picture, out, depth) -> Aligned:
        if index < 1:
            return Aligned(False, 0, None)
        out[:] = cv2.resize(picture, out.shape[::-1])
        seen = None if depth is None else np.full((64, 64), depth.mean(), np.float32)
        return Aligned(True, 1 + (index >= 7), np.full((468, 3), index, np.float32), depth=seen)

    yield align


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    recordings = []
    for subject in ("s1", "s2"):
        folder = tmp_path / "frames" / subject
        folder.mkdir(parents=True)
        for number in range(5, 5 + COUNT):
            if number != 9:  # a picture that is missing leaves a gap
                picture = np.full((40, 30), 10 * number, np.uint8)
                cv2.imwrite(str(folder / f"img{number}.png"), picture)
        event = AnnotatedEvent(EventKind.MICRO, 0.04, None, 0.16, 7, None, 12, emotion="disgust")
        recordings.append(Recording(f"{subject}/EP 1", subject, FPS, 5, COUNT, (event,), folder))
    unfilmed = Recording("s3/EP 1", "s3", FPS, 1, None, ())
    maps = {3: {"disgust": "negative", "happiness": "positive", "surprise": "surprise"}}
    return Dataset("made_up", "MADE-UP", tmp_path, (*recordings, unfilmed), (), maps)


def test_frames_become_clips_of_the_live_aligner(dataset: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "aligned"
    assert align_dataset(dataset, 3, out, stand_in) == []
    source = open_source(out)
    assert isinstance(source, AlignedSource)
    assert not source.synthetic
    assert "MADE-UP, 2 subjects" in source.title
    assert source.identities == ("s1", "s2")
    assert source.classes == ("negative", "positive", "surprise")
    assert not source.splits
    (clip,) = source.clips(["s2"])
    assert clip.faces.shape == (COUNT - 1, 128, 128)
    assert clip.times[4] - clip.times[3] == pytest.approx(2 / FPS)
    assert not clip.valid[0]
    assert clip.valid[1:].all()
    assert np.flatnonzero(clip.restart).tolist() == [1, 7]
    assert clip.faces[1, 64, 64] == 60
    assert (clip.mesh == COUNT - 2).all()
    (event,) = clip.events
    assert (event.kind, event.emotion) == (EventKind.MICRO, "negative")
    assert event.apex_s == pytest.approx(0.1)


def test_depth_frames_beside_the_others_come_along(dataset: Dataset, tmp_path: Path) -> None:
    first, *others = dataset.recordings
    beside = tmp_path / "depth"
    beside.mkdir()
    for number in range(5, 5 + COUNT):
        size = (20, 20) if number == 8 else (40, 30)  # one does not fit its picture
        cv2.imwrite(str(beside / f"{number}.png"), np.full(size, 500 + number, np.uint16))
    seen = replace(dataset, recordings=(replace(first, depth=beside), *others))
    out = tmp_path / "aligned"
    (problem,) = align_dataset(seen, 3, out, stand_in)
    assert problem.file == beside / "8.png"
    deep, flat = AlignedSource(out).clips(["s1", "s2"])
    assert flat.depth is None
    expected = [0, 506, 507, 0, *range(510, 5 + COUNT + 500)]
    np.testing.assert_array_equal(deep.depth[:, 32, 32], expected)


def test_a_set_that_was_cut_off_is_continued(dataset: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "aligned"

    @contextmanager
    def broken() -> Iterator:
        with stand_in() as align:
            if (out / "s1_EP_1").exists():
                raise KeyboardInterrupt
            yield align

    with pytest.raises(KeyboardInterrupt):
        align_dataset(dataset, 3, out, broken)
    with pytest.raises(UserError, match="1 of 2 clips"):
        AlignedSource(out)
    kept = (out / "s1_EP_1" / "faces.npy").stat().st_mtime_ns
    align_dataset(dataset, 3, out, stand_in)
    assert (out / "s1_EP_1" / "faces.npy").stat().st_mtime_ns == kept
    assert len(list(AlignedSource(out).clips(["s1", "s2"]))) == 2


def test_another_set_or_no_frames_are_clear_sentences(dataset: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "aligned"
    align_dataset(dataset, 3, out, stand_in)
    with pytest.raises(UserError, match="another folder"):
        align_dataset(replace(dataset, name="other"), 3, out, stand_in)
    with pytest.raises(UserError, match="No frames"):
        align_dataset(replace(dataset, recordings=dataset.recordings[2:]), 3, out, stand_in)
    with pytest.raises(UserError, match="There is no aligned set"):
        AlignedSource(tmp_path)


def test_a_folder_without_the_data_set_ends_with_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--dataset", "casme2", "--data", str(tmp_path), "--out", str(tmp_path / "out")]
    assert main(given) == 2
    assert capsys.readouterr().err.strip().endswith(".")
