from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from streamer.errors import SourceError
from streamer.frame import Frame
from streamer.sources.base import SourceInfo, SourceOptions
from streamer.sources.image_folder import ImageFolderSource
from tests.sources.source_media import number, picture, write_pictures

AT_200 = SourceOptions(fps=200.0, realtime=False)


def _play(
    folder: Path, options: SourceOptions = AT_200
) -> tuple[SourceInfo, list[Frame], list[int]]:
    source = ImageFolderSource(str(folder), options)
    info = source.open()
    out = np.empty(info.shape, np.uint8)
    frames, numbers = [], []
    try:
        while (frame := source.read(out)) is not None:
            frames.append(frame)
            numbers.append(number(frame.image))
    finally:
        source.close()
    return info, frames, numbers


def _refuse(folder: Path, options: SourceOptions = AT_200) -> str:
    with pytest.raises(SourceError) as caught:
        _play(folder, options)
    return str(caught.value)


def test_natural_order_at_the_asked_rate(tmp_path: Path) -> None:
    write_pictures(tmp_path, range(1, 13), "img{}.jpg")
    info, frames, numbers = _play(tmp_path)
    assert numbers == list(range(1, 13))
    assert [f.time_s for f in frames] == pytest.approx(np.arange(12) / 200.0)
    assert info.frames == 12
    assert info.channels == 3
    assert info.notes == ()


@pytest.mark.parametrize("name", ["006_1_{:05d}.jpg", "reg_img{}.PNG", "{}.bmp", "f{}.tiff"])
def test_names_and_formats_of_the_data_sets(tmp_path: Path, name: str) -> None:
    write_pictures(tmp_path, range(8, 13), name)
    assert _play(tmp_path)[2] == list(range(8, 13))


def test_missing_numbers_are_gaps(tmp_path: Path) -> None:
    write_pictures(tmp_path, [1, 2, 3, 6, 7, 9])
    info, frames, _ = _play(tmp_path)
    assert [f.index for f in frames] == [0, 1, 2, 5, 6, 8]
    assert [f.gap_before for f in frames] == [0, 0, 0, 2, 0, 1]
    assert {f.gap_cause for f in frames if f.gap_before} == {"missing_file"}
    assert frames[-1].time_s == pytest.approx(8 / 200.0)
    assert info.frames == 6


def test_every_tenth_picture_is_a_steady_sequence(tmp_path: Path) -> None:
    write_pictures(tmp_path, [0, 10, 20, 40, 50])
    assert [f.gap_before for f in _play(tmp_path)[1]] == [0, 0, 0, 1, 0]


def test_names_without_numbering_are_told(tmp_path: Path) -> None:
    for index, name in enumerate(("alpha.jpg", "beta.jpg", "gamma9.jpg")):
        cv2.imwrite(str(tmp_path / name), picture(index))
    info, frames, _ = _play(tmp_path)
    assert [f.gap_before for f in frames] == [0, 0, 0]
    assert "missing pictures" in info.notes[0]


def test_gray_pictures_stay_gray(tmp_path: Path) -> None:
    write_pictures(tmp_path, range(5), gray=True)
    info, _, numbers = _play(tmp_path)
    assert info.channels == 1
    assert len(info.shape) == 2
    assert numbers == list(range(5))


def test_one_coloured_picture_makes_all_coloured(tmp_path: Path) -> None:
    write_pictures(tmp_path, range(5), gray=True)
    write_pictures(tmp_path, [5])
    info, _, numbers = _play(tmp_path)
    assert info.channels == 3
    assert numbers == list(range(6))


def test_other_files_do_not_matter(tmp_path: Path) -> None:
    write_pictures(tmp_path, range(3))
    (tmp_path / "Thumbs.db").write_bytes(b"x")
    (tmp_path / "._img001.jpg").write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("x")
    assert len(_play(tmp_path)[1]) == 3


def test_duration_counts_missing_pictures(tmp_path: Path) -> None:
    write_pictures(tmp_path, [1, 2, 3, 8, 9, 10])
    options = SourceOptions(fps=200.0, realtime=False, duration_s=0.04)
    info, frames, _ = _play(tmp_path, options)
    assert [f.index for f in frames] == [0, 1, 2, 7]
    assert info.frames == 4


def test_names_that_opencv_cannot_open_everywhere(tmp_path: Path) -> None:
    folder = tmp_path / "Gesichter größer 微表情"
    folder.mkdir()
    data = cv2.imencode(".jpg", picture(3))[1].tobytes()
    (folder / "bild001.jpg").write_bytes(data)
    assert _play(folder)[2] == [3]


def test_rate_is_needed(tmp_path: Path) -> None:
    write_pictures(tmp_path, range(3))
    assert "--fps" in _refuse(tmp_path, SourceOptions(realtime=False))


def test_no_pictures(tmp_path: Path) -> None:
    assert "no pictures" in _refuse(tmp_path)
    assert "does not exist" in _refuse(tmp_path / "missing")
    (tmp_path / "file.txt").touch()
    assert "cannot be listed" in _refuse(tmp_path / "file.txt")


def test_several_sizes_are_refused_before_the_first_frame(tmp_path: Path) -> None:
    write_pictures(tmp_path, range(5))
    cv2.imwrite(str(tmp_path / "img005.jpg"), picture(5, 128, 96))
    with pytest.raises(SourceError, match=r"several sizes .*img005\.jpg"):
        ImageFolderSource(str(tmp_path), AT_200).open()


@pytest.mark.parametrize("data", [b"", b"This is not a picture."])
def test_unreadable_picture_is_named_before_the_first_frame(tmp_path: Path, data: bytes) -> None:
    write_pictures(tmp_path, range(5))
    (tmp_path / "img003.jpg").write_bytes(data)
    with pytest.raises(SourceError, match=r"img003\.jpg"):
        ImageFolderSource(str(tmp_path), AT_200).open()


@pytest.mark.parametrize("name", ["img{:03d}.jpg", "img{:03d}.png"])
def test_cut_off_picture_is_named_and_never_shown(
    tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    write_pictures(tmp_path, range(5), name)
    noise = np.random.default_rng(1).integers(0, 255, (48, 64, 3), np.uint8)
    broken = tmp_path / name.format(3)
    cv2.imwrite(str(broken), noise)
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    source = ImageFolderSource(str(tmp_path), AT_200)
    out = np.empty(source.open().shape, np.uint8)
    assert [source.read(out) is not None for _ in range(3)] == [True] * 3
    with pytest.raises(SourceError, match=broken.name):
        source.read(out)
    source.close()
    assert capfd.readouterr().err == ""


WITH_DEPTH = SourceOptions(fps=30.0, realtime=False, depth=True)


def _with_depth(folder: Path, numbers: range, depth: np.ndarray | None = None) -> Path:
    """A recording as CAS(ME)³ ships it; a depth picture's value is its number plus 500."""
    (folder / "depth").mkdir()
    for index in numbers:
        shot = np.full((48, 64), 500 + index, np.uint16) if depth is None else depth
        cv2.imwrite(str(folder / "depth" / f"{index}.png"), shot)
    return folder / "color"


def test_depth_pictures_beside_the_pictures_come_along_when_asked_for(tmp_path: Path) -> None:
    colour = _with_depth(tmp_path, range(8, 20))
    write_pictures(colour, range(8, 20), "{}.jpg")
    info, frames, numbers = _play(colour, WITH_DEPTH)
    assert info.depth
    assert [int(frame.depth.max()) - 500 for frame in frames] == numbers == list(range(8, 20))
    assert {(f.depth.dtype, f.depth.shape) for f in frames} == {(np.dtype(np.uint16), (48, 64))}
    info, frames, _ = _play(colour)
    assert not info.depth
    assert all(frame.depth is None for frame in frames)


def test_a_missing_depth_picture_is_counted_and_the_frame_stays(tmp_path: Path) -> None:
    colour = _with_depth(tmp_path, range(1, 5))
    write_pictures(colour, range(1, 7), "{}.jpg")
    source = ImageFolderSource(str(colour), WITH_DEPTH)
    out = np.empty(source.open().shape, np.uint8)
    depths = [source.read(out).depth is not None for _ in range(6)]
    assert depths == [True] * 4 + [False] * 2
    assert source.counters == {"missing_depth": 2}
    source.close()


def test_a_folder_of_another_name_has_no_depth(tmp_path: Path) -> None:
    _with_depth(tmp_path, range(1, 5))
    info, _, _ = _play(write_pictures(tmp_path / "left", range(1, 5), "{}.jpg"), WITH_DEPTH)
    assert not info.depth


@pytest.mark.parametrize(
    "depth",
    [np.zeros((24, 32), np.uint16), np.zeros((48, 64), np.uint8), np.zeros((48, 64, 3), np.uint16)],
    ids=["another size", "8 bits", "colours"],
)
def test_depth_that_does_not_belong_to_the_pictures_is_refused(
    tmp_path: Path, depth: np.ndarray
) -> None:
    colour = _with_depth(tmp_path, range(1, 5), depth)
    write_pictures(colour, range(1, 5), "{}.jpg")
    assert "64x48 of 16 are needed" in _refuse(colour, WITH_DEPTH)
    assert len(_play(colour)[1]) == 4
