"""Result files of the Micro-Expression Grand Challenge."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from engines.evaluation.spotting import EvaluationError, Interval, Recording, match, of_kind
from engines.events import EventKind


def write_log(
    path: Path, recordings: Sequence[Recording], fps: float, first_frame: int = 0
) -> None:
    """Write who was found and who was not, in the columns of MEGC 2020.

    `video  true onset  offset  found onset  offset  TP|FP|FN`, one line an expression or detection,
    micro and macro matched apart; frame numbers, the last one included.

    Args:
        path: The file.
        recordings: Truths and detections.
        fps: Frames a second of the numbers.
        first_frame: Number of the frame at 0 s.

    Raises:
        EvaluationError: The file cannot be written.
    """
    lines = []
    for recording in recordings:
        rows: list[tuple[Interval | None, Interval | None]] = []
        for kind in EventKind:
            truths = of_kind(recording.truths, kind)
            found = of_kind(recording.detections, kind)
            partner = {pair.truth: found[pair.detection] for pair in match(truths, found)}
            matched = {id(detection) for detection in partner.values()}
            rows += [(truth, partner.get(at)) for at, truth in enumerate(truths)]
            rows += [(None, detection) for detection in found if id(detection) not in matched]
        for truth, detection in sorted(rows, key=_begin):
            cells = [*_frames(truth, fps, first_frame), *_frames(detection, fps, first_frame)]
            verdict = "FP" if truth is None else "FN" if detection is None else "TP"
            lines.append("  ".join([recording.name, *cells, verdict]))
    try:
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    except OSError as error:
        raise _unwritable(path, error) from error


def write_predictions(
    path: Path, recordings: Sequence[Recording], fps: float, first_frame: int = 0
) -> None:
    """Write detections with their emotion as the spot-then-recognise task takes them.

    Columns `subject,video,onset,offset,emotion`; frame numbers, the last one included.

    Raises:
        EvaluationError: The file cannot be written.
    """
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["subject", "video", "onset", "offset", "emotion"])
            for recording in recordings:
                for found in of_kind(recording.detections, None):
                    frames = _frames(found, fps, first_frame)
                    row = [recording.subject, recording.name, *frames, found.emotion or ""]
                    writer.writerow(row)
    except OSError as error:
        raise _unwritable(path, error) from error


def _begin(row: tuple[Interval | None, Interval | None]) -> float:
    return min(interval.onset_s for interval in row if interval is not None)


def _frames(interval: Interval | None, fps: float, first_frame: int) -> tuple[str, str]:
    if interval is None:
        return "-", "-"
    onset = round(interval.onset_s * fps)
    last = max(onset, round(interval.offset_s * fps) - 1)
    return str(onset + first_frame), str(last + first_frame)


def _unwritable(path: Path, error: OSError) -> EvaluationError:
    return EvaluationError(f"{path} cannot be written ({error.strerror}); name another file.")
