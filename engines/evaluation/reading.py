"""Truth and detections from whatever file or folder holds them, paired by recording.

    session folder           `truth.jsonl` as truth, `events.jsonl` as detections
    folder of such folders   one recording each
    folder of a data set     `truth.jsonl` and `recordings.jsonl` (`python -m engines.datasets`)
    .jsonl                   one expression a line
    .csv                     one expression a row
    .txt, .log               a result log of MEGC 2020

Columns are found by the names that data sets and published results use; case does not matter.
Times are seconds (`onset_s`, `offset_s`), or frame numbers (`onset`, `startFrame` …) of which the
last still belongs to the expression. Without a column for the kind, the duration decides.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from engines.evaluation.spotting import (
    EvaluationError,
    Interval,
    Recording,
    emotion_of,
    json_lines,
)
from engines.events import EventKind

MICRO_S = 0.5
"""Longest micro-expression, where only the duration tells."""

Role = Literal["truth", "detections"]

_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "name": ("recording", "video", "video_name", "filename", "name", "clip", "sample"),
    "subject": ("subject", "sub"),
    "kind": ("kind", "type"),
    "onset_s": ("onset_s", "start_s"),
    "apex_s": ("apex_s",),
    "offset_s": ("offset_s", "end_s"),
    "onset": ("onset", "onset_frame", "startframe", "start"),
    "apex": ("apex", "apex_frame"),
    "offset": ("offset", "offset_frame", "endframe", "end"),
    "decided_s": ("decided_s",),
    "score": ("score", "confidence"),
    "emotion": ("emotion", "label"),
    "fps": ("fps",),
    "frames": ("frames", "frame_num", "frame_count"),
    "duration_s": ("duration_s",),
}

Key = tuple[str, str]
"""Subject and name of a recording; either may be empty."""


@dataclass(frozen=True, slots=True)
class FrameNumbers:
    """How frame numbers become seconds.

    Attributes:
        fps: Frames a second, where a file does not say.
        first: Number of the frame at 0 s.
    """

    fps: float | None = None
    first: int = 0

    def begin_s(self, frame: float, fps: float | None) -> float:
        """When a frame begins.

        Raises:
            EvaluationError: The frame rate is not known.
        """
        rate = fps or self.fps
        if not rate:
            raise EvaluationError(
                "Times are given as frame numbers and nothing says their rate; give it with --fps."
            )
        return (frame - self.first) / rate


@dataclass(slots=True)
class Listing:
    """What one file or folder tells.

    Attributes:
        source: Where it was read.
        found: Expressions with their recording, in order.
        durations_s: Length of each recording that is named; NaN where it is not known.
        complete: Whether every recording is named, those without an expression included.
    """

    source: Path
    found: list[tuple[Key, Interval]] = field(default_factory=list)
    durations_s: dict[Key, float] = field(default_factory=dict)
    complete: bool = False


def read_listing(path: Path, role: Role, frames: FrameNumbers) -> Listing:
    """Read truth or detections.

    Args:
        path: A file or folder of one of the forms above.
        role: What to look for in a session folder or a result log.
        frames: How to understand frame numbers.

    Raises:
        EvaluationError: There is nothing of these forms, or a line makes no sense.
    """
    listing = Listing(path)
    if path.is_dir():
        _read_folder(path, role, frames, listing)
    elif path.suffix.lower() in (".txt", ".log"):
        for key, interval in _log_intervals(path, role, frames):
            listing.durations_s.setdefault(key, math.nan)
            if interval is not None:
                listing.found.append((key, interval))
    else:
        _add_records(listing, path, records(path), frames)
    return listing


def records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line numbers and cells of a .csv or .jsonl file, by the column's name in small letters.

    Raises:
        EvaluationError: The file cannot be read, or is of another form.
    """
    suffix = path.suffix.lower()
    if suffix == ".jsonl":
        for number, value in json_lines(path):
            if not isinstance(value, dict):
                raise EvaluationError(
                    f"{path}, line {number} is not a JSON object; give one expression a line."
                )
            yield number, {str(name).casefold(): cell for name, cell in value.items()}
    elif suffix == ".csv":
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                for row in (reader := csv.DictReader(file)):
                    cells = {str(n).strip().casefold(): c for n, c in row.items() if n is not None}
                    yield reader.line_num, cells
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise EvaluationError(
                f"{path} cannot be read as .csv ({error}); give a file in UTF-8."
            ) from error
    else:
        raise EvaluationError(
            f"{path} is neither a folder nor a .jsonl, .csv, .txt or .log file; give one of these."
        )


def cell(record: Mapping[str, Any], column: str) -> Any:
    """Value of a column under any of its names; None where it is missing or empty."""
    for name in _COLUMNS[column]:
        value = record.get(name)
        if value is not None and value != "":
            return value
    return None


def pair(truth: Listing, detections: Listing) -> list[Recording]:
    """Set detections beside the truth of the same recording.

    Recordings go by their name, with the subject where one name belongs to several subjects. One
    recording on either side is the same, whatever its name.

    Raises:
        EvaluationError: Detections belong to a recording that a complete truth does not name.
    """
    true, found = _keys(truth), _keys(detections)
    if len(list(_flat(true))) == len(list(_flat(found))) == 1:
        found = {next(iter(true)): next(iter(found.values()))}
    elif _ambiguous(true) or _ambiguous(found):
        true = {f"{subject}/{name}": [(subject, name)] for (subject, name) in _flat(true)}
        found = {f"{subject}/{name}": [(subject, name)] for (subject, name) in _flat(found)}
    strangers = [name for name in found if name not in true]
    if strangers and (truth.complete or len(strangers) == len(found)):
        raise EvaluationError(
            f"{detections.source} has detections in {strangers[0]!r}, which {truth.source} does "
            "not know; name recordings alike in both."
        )
    return [
        Recording(
            truths=_of(truth, true.get(name, [])),
            detections=_of(detections, found.get(name, [])),
            duration_s=_duration(truth, detections, true.get(name, []), found.get(name, [])),
            name=name,
            subject=next((s for s, _ in [*true.get(name, []), *found.get(name, [])] if s), ""),
        )
        for name in dict.fromkeys([*true, *found])
    ]


# -- folders ---------------------------------------------------------------------------------


def _read_folder(path: Path, role: Role, frames: FrameNumbers, listing: Listing) -> None:
    if (path / "recordings.jsonl").is_file():
        _add_records(listing, path / "truth.jsonl", records(path / "truth.jsonl"), frames)
        for number, record in records(path / "recordings.jsonl"):
            key = _key(record)
            if not key[1]:
                raise EvaluationError(
                    f"{path / 'recordings.jsonl'}, line {number} names no recording; correct it."
                )
            listing.durations_s[key] = _stated_duration(record, frames)
        listing.complete = True
        return
    sessions = [path] if _is_session(path) else sorted(filter(_is_session, path.iterdir()))
    if not sessions:
        raise EvaluationError(
            f"{path} holds no session and no recordings.jsonl; give a session folder, a folder of "
            "them, or what `python -m engines.datasets` writes."
        )
    file = "truth.jsonl" if role == "truth" else "events.jsonl"
    for session in sessions:
        key = ("", session.resolve().name)
        listing.durations_s[key] = _session_duration(session)
        if role == "truth" and not (session / file).is_file():
            raise EvaluationError(
                f"{session} has no truth.jsonl: its source did not know the truth; write one with "
                "kind, onset_s and offset_s a line."
            )
        for number, record in records(session / file):
            listing.found.append((key, _interval(session / file, number, record, frames)))
    listing.complete = True


def _is_session(path: Path) -> bool:
    return (path / "events.jsonl").is_file()


def _session_duration(session: Path) -> float:
    """From the times of the first and the last analysed frame."""
    try:
        with (session / "frames.csv").open(encoding="utf-8", newline="") as file:
            times = [float(row["timestamp"]) for row in csv.DictReader(file) if row["timestamp"]]
    except (OSError, KeyError, ValueError):
        return math.nan
    return times[-1] - times[0] + (times[1] - times[0]) if len(times) > 1 else math.nan


# -- lines -----------------------------------------------------------------------------------


def _add_records(
    listing: Listing,
    path: Path,
    lines: Iterable[tuple[int, Mapping[str, Any]]],
    frames: FrameNumbers,
) -> None:
    for number, record in lines:
        key = _key(record) if cell(record, "name") is not None else ("", path.stem)
        listing.found.append((key, _interval(path, number, record, frames)))
        known = listing.durations_s.get(key, math.nan)
        if math.isnan(known):
            listing.durations_s[key] = _stated_duration(record, frames)


def _key(record: Mapping[str, Any]) -> Key:
    # Published tables name a video by its path.
    name = str(cell(record, "name") or "").replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
    return str(cell(record, "subject") or "").strip(), name.strip()


def _interval(path: Path, number: int, record: Mapping[str, Any], frames: FrameNumbers) -> Interval:
    try:
        fps = _number(cell(record, "fps"))
        onset_s, apex_s, offset_s = (
            _number(cell(record, name)) for name in ("onset_s", "apex_s", "offset_s")
        )
        if onset_s is None or offset_s is None:
            onset, offset = _number(cell(record, "onset")), _number(cell(record, "offset"))
            if onset is None or offset is None:
                raise ValueError("no onset and offset")
            apex = _number(cell(record, "apex"))
            onset_s = frames.begin_s(onset, fps)
            offset_s = frames.begin_s(offset + 1, fps)
            apex_s = None if apex is None else frames.begin_s(apex, fps)
        emotion = emotion_of(record) or cell(record, "emotion")
        return Interval(
            onset_s=onset_s,
            offset_s=offset_s,
            kind=_kind(cell(record, "kind"), offset_s - onset_s),
            apex_s=apex_s,
            decided_s=_number(cell(record, "decided_s")),
            score=_number(cell(record, "score")),
            emotion=None if emotion is None else str(emotion).strip(),
        )
    except (ValueError, TypeError) as error:
        raise EvaluationError(
            f"{path}, line {number} is not an expression ({error}); correct it or remove it."
        ) from error


def _kind(word: Any, duration_s: float) -> EventKind:
    if word is None:
        return EventKind.MICRO if duration_s <= MICRO_S + 1e-9 else EventKind.MACRO
    plain = str(word).strip().casefold()
    if plain.startswith("micro") or plain == "me":
        return EventKind.MICRO
    if plain.startswith("macro") or plain in ("mae", "ma"):
        return EventKind.MACRO
    raise ValueError(f"{word!r} is neither micro nor macro")


def _number(value: Any) -> float | None:
    if value is None:
        return None
    number = float(value)
    return number if math.isfinite(number) else None


def _stated_duration(record: Mapping[str, Any], frames: FrameNumbers) -> float:
    """Length of the recording that a line states; NaN where it does not."""
    duration_s = cell(record, "duration_s")
    if duration_s is not None:
        return float(duration_s)
    count, fps = cell(record, "frames"), cell(record, "fps") or frames.fps
    if count is None or fps is None:
        return math.nan
    try:
        return float(count) / float(fps)
    except ValueError:  # `frames` of a data set is the folder that they are in
        return math.nan


# -- MEGC 2020 -------------------------------------------------------------------------------


def _log_intervals(
    path: Path, role: Role, frames: FrameNumbers
) -> Iterator[tuple[Key, Interval | None]]:
    """Lines `video  true onset  offset  found onset  offset  TP|FP|FN`, `-` where there is none."""
    columns = (1, 2) if role == "truth" else (3, 4)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise EvaluationError(f"{path} cannot be read ({error}); give a result log.") from error
    for number, line in enumerate(lines, start=1):
        cells = line.split()
        if len(cells) < 2:  # the number of the data set
            continue
        if len(cells) != 6:
            raise EvaluationError(
                f"{path}, line {number} does not have the six columns of a result log; correct it "
                "or remove it."
            )
        onset, offset = (cells[column] for column in columns)
        if onset == "-":
            yield ("", cells[0]), None
        else:
            record = {"onset": onset, "offset": offset}
            yield ("", cells[0]), _interval(path, number, record, frames)


# -- pairing ---------------------------------------------------------------------------------


def _keys(listing: Listing) -> dict[str, list[Key]]:
    """Names of recordings and the keys that share each."""
    names: dict[str, list[Key]] = {}
    for key in dict.fromkeys([*listing.durations_s, *(key for key, _ in listing.found)]):
        names.setdefault(key[1], []).append(key)
    return names


def _ambiguous(names: Mapping[str, Sequence[Key]]) -> bool:
    return any(len({subject for subject, _ in keys}) > 1 for keys in names.values())


def _flat(names: Mapping[str, Sequence[Key]]) -> Iterator[Key]:
    for keys in names.values():
        yield from keys


def _of(listing: Listing, keys: Sequence[Key]) -> list[Interval]:
    return [interval for key, interval in listing.found if key in keys]


def _duration(
    truth: Listing, detections: Listing, true: Sequence[Key], found: Sequence[Key]
) -> float:
    stated = [truth.durations_s.get(key, math.nan) for key in true]
    stated += [detections.durations_s.get(key, math.nan) for key in found]
    return next((duration for duration in stated if not math.isnan(duration)), math.nan)


def with_classes(recordings: Sequence[Recording], classes: Mapping[str, str]) -> list[Recording]:
    """The same with every emotion replaced by its class; one without a class has none."""

    def mapped(intervals: Sequence[Interval]) -> list[Interval]:
        return [replace(i, emotion=classes.get((i.emotion or "").casefold())) for i in intervals]

    return [
        replace(r, truths=mapped(r.truths), detections=mapped(r.detections)) for r in recordings
    ]
