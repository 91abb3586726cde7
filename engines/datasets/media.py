"""What lies in a data set's folder: annotation tables, folders of frames, and videos."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from engines.datasets.base import DatasetError, Problem, ProblemKind, Recording

PICTURES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"})
VIDEOS = frozenset({".avi", ".mp4", ".mov", ".mkv", ".wmv", ".mpg", ".mpeg"})
TABLES = frozenset({".xlsx", ".xls", ".csv"})


@dataclass(frozen=True, slots=True)
class Media:
    """A folder of frames or a video file.

    Attributes:
        path: Where it is.
        numbers: Frame numbers, ascending; empty for a video, whose frames are 1, 2, 3 …
        is_video: Whether it is a video.
    """

    path: Path
    numbers: tuple[int, ...] = ()
    is_video: bool = False


@dataclass(frozen=True, slots=True)
class Survey:
    """Everything in a folder that an adapter may want.

    Attributes:
        root: The folder, absolute.
        tables: Table files.
        media: Folders of frames and videos.
        problems: Pictures whose name carries no number.
    """

    root: Path
    tables: tuple[Path, ...]
    media: tuple[Media, ...]
    problems: tuple[Problem, ...]

    def table(self, pattern: str, problems: list[Problem]) -> Path | None:
        """The table file whose name matches, the latest where there are several versions.

        Args:
            pattern: Regular expression for the whole name, without extension, punctuation and
                spaces, in lower case: `CAS(ME)^2code_final.xlsx` is `casme2codefinal`.
            problems: Takes a note of versions that are not read.
        """
        named = sorted((_plain(file.stem), file) for file in self.tables)
        matching = [file for name, file in named if re.fullmatch(pattern, name)]
        for other in matching[:-1]:
            message = f"not read, {matching[-1].name} is"
            problems.append(Problem(ProblemKind.SPARE_TABLE, other, message))
        return matching[-1] if matching else None

    def required_table(self, pattern: str, example: str, problems: list[Problem]) -> Path:
        """Like `table`, of a file that must be there.

        Raises:
            DatasetError: It is not; `example` tells what it is called.
        """
        file = self.table(pattern, problems)
        if file is None:
            raise DatasetError(
                f"There is no annotation file like {example} in {self.root}; "
                "put it there as its owners ship it."
            )
        return file


def survey(folder: Path) -> Survey:
    """Look through a folder and all folders in it.

    Links to folders are followed, each folder once. Hidden files, and the locks of open
    spreadsheets, are passed over.

    Args:
        folder: A data set's folder.

    Raises:
        DatasetError: There is no such folder.
    """
    root = folder.resolve()
    if not root.is_dir():
        raise DatasetError(f"There is no folder {folder}; pass the folder of the data set.")
    tables: list[Path] = []
    media: list[Media] = []
    problems: list[Problem] = []
    seen: set[str] = set()
    walk = os.walk(root, followlinks=True)
    for place, folders, files in tqdm(
        walk, desc="Looking through", unit="folder", disable=None, leave=False
    ):
        if os.path.realpath(place) in seen:
            folders.clear()
            continue
        seen.add(os.path.realpath(place))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        here = [Path(place, name) for name in sorted(files) if not name.startswith((".", "~$"))]
        tables.extend(file for file in here if file.suffix.lower() in TABLES)
        media.extend(Media(file, is_video=True) for file in here if file.suffix.lower() in VIDEOS)
        pictures = [file for file in here if file.suffix.lower() in PICTURES]
        numbers = _numbers(Path(place), pictures, problems)
        if numbers:
            media.append(Media(Path(place), numbers))
    return Survey(root, tuple(tables), tuple(media), tuple(problems))


def _numbers(folder: Path, pictures: Sequence[Path], problems: list[Problem]) -> tuple[int, ...]:
    numbers: set[int] = set()
    again = 0
    for picture in pictures:
        number = frame_number(picture.stem)
        if number is None:
            message = "a picture without a frame number in its name, not used"
            problems.append(Problem(ProblemKind.UNREADABLE_FRAME, picture, message))
        elif number in numbers:
            again += 1
        else:
            numbers.add(number)
    if again:
        message = f"{again} pictures have a number that another has; the first by name is used"
        problems.append(Problem(ProblemKind.SPARE_MEDIA, folder, message))
    return tuple(sorted(numbers))


def frame_number(stem: str) -> int | None:
    """Number of a frame: the last digits of its file name, as in `reg_img46` or `006_1_0001`."""
    found = re.findall(r"\d+", stem)
    return int(found[-1]) if found else None


def probe_video(path: Path, fps: float, problems: list[Problem]) -> int | None:
    """Count a video's frames by its header.

    Args:
        path: The video.
        fps: The data set's rate; a video that says otherwise is noted.
        problems: Takes what is wrong.

    Returns:
        Number of frames; None when the video cannot be opened.
    """
    video = cv2.VideoCapture(str(path))
    try:
        count, own = int(video.get(cv2.CAP_PROP_FRAME_COUNT)), video.get(cv2.CAP_PROP_FPS)
    finally:
        video.release()
    if count <= 0:
        message = "the video cannot be opened"
        problems.append(Problem(ProblemKind.UNREADABLE_FRAME, path, message))
        return None
    if own > 0 and abs(own / fps - 1) > 0.01:
        message = f"the video says {own:g} frames a second; {fps:g} is used, as published"
        problems.append(Problem(ProblemKind.OTHER_RATE, path, message))
    return count


def read_frames(
    recording: Recording, on_problem: Callable[[Problem], None]
) -> Iterator[tuple[float, npt.NDArray[np.uint8]]]:
    """Read the pictures of a recording in order.

    Pictures that are missing or cannot be decoded leave a gap in the times.

    Args:
        recording: A recording whose `path` is known.
        on_problem: Called for every picture that cannot be decoded.

    Yields:
        Time in seconds, and the picture, (H, W) uint8 gray.

    Raises:
        DatasetError: The recording has no frames.
    """
    if recording.path is None:
        raise DatasetError(
            f"The frames of {recording.name} were not found; add them to the data set's folder."
        )
    if recording.path.is_dir():
        yield from _read_pictures(recording, recording.path, on_problem)
    else:
        yield from _read_video(recording, recording.path)


def read_depth(
    recording: Recording,
    time_s: float,
    size: tuple[int, ...],
    on_problem: Callable[[Problem], None],
) -> npt.NDArray[np.uint16] | None:
    """Read the depth picture of a frame.

    Args:
        recording: Where from.
        time_s: Time of the frame, as `read_frames` gives it.
        size: (height, width) of the frame's picture.
        on_problem: Called for a picture that is there and is no depth picture.

    Returns:
        (H, W) uint16 millimetres, 0 where nothing was seen; None when there is none.
    """
    if recording.depth is None:
        return None
    file = recording.depth / f"{recording.first_frame + round(time_s * recording.fps)}.png"
    if not file.is_file():
        return None
    data = np.fromfile(file, np.uint8)
    depth = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    if depth is None or depth.dtype != np.uint16 or depth.shape != size:
        message = f"not a depth picture of 16 bits and {size[1]}x{size[0]} pixels"
        on_problem(Problem(ProblemKind.UNREADABLE_FRAME, file, message))
        return None
    return depth.view(np.uint16)


def _read_pictures(
    recording: Recording, folder: Path, on_problem: Callable[[Problem], None]
) -> Iterator[tuple[float, npt.NDArray[np.uint8]]]:
    numbered = {
        number: file
        for file in sorted(folder.iterdir(), reverse=True)
        if file.suffix.lower() in PICTURES and not file.name.startswith(".")
        if (number := frame_number(file.stem)) is not None
    }
    for number in sorted(numbered):
        # imread does not open paths outside the code page on Windows.
        data = np.fromfile(numbered[number], np.uint8)
        picture = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE) if data.size else None
        if picture is None:
            message = "the picture cannot be decoded"
            on_problem(Problem(ProblemKind.UNREADABLE_FRAME, numbered[number], message))
            continue
        yield recording.time_s(number), np.asarray(picture, np.uint8)


def _read_video(recording: Recording, file: Path) -> Iterator[tuple[float, npt.NDArray[np.uint8]]]:
    video = cv2.VideoCapture(str(file))
    try:
        number = recording.first_frame
        while True:
            there, picture = video.read()
            if not there:
                return
            gray = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY) if picture.ndim == 3 else picture
            yield recording.time_s(number), np.asarray(gray, np.uint8)
            number += 1
    finally:
        video.release()


def best_media(candidates: Sequence[Media], problems: list[Problem]) -> Media:
    """Choose among copies of one recording: owners' frames before videos and cropped copies.

    Args:
        candidates: At least one.
        problems: Takes a note of the others.
    """

    def rank(media: Media) -> tuple[bool, bool, int, str]:
        cropped = "crop" in str(media.path).casefold()
        return cropped, media.is_video, -len(media.numbers), str(media.path)

    best, *others = sorted(candidates, key=rank)
    for other in others:
        message = f"not used, {best.path} is"
        problems.append(Problem(ProblemKind.SPARE_MEDIA, other.path, message))
    return best


def _plain(name: str) -> str:
    return re.sub(r"\W|_", "", name).casefold()
