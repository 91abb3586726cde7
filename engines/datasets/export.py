"""A data set's truth as JSON lines, in the form that `engines.evaluation` reads."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from engines.datasets.base import AnnotatedEvent, Dataset, DatasetError, Recording

TRUTH_FILE = "truth.jsonl"
RECORDINGS_FILE = "recordings.jsonl"


def truth_record(recording: Recording, event: AnnotatedEvent) -> dict[str, Any]:
    """One event as a line of `truth.jsonl`; `engines.evaluation.spotting` takes it as it is."""
    return {
        "recording": recording.name,
        "subject": recording.subject,
        "kind": event.kind.value,
        "onset_s": event.onset_s,
        "apex_s": event.apex_s,
        "offset_s": event.offset_s,
        "emotion": event.emotion,
        "action_units": [str(unit) for unit in event.action_units],
    }


def recording_record(recording: Recording) -> dict[str, Any]:
    """One recording as a line of `recordings.jsonl`."""
    return {
        "recording": recording.name,
        "subject": recording.subject,
        "fps": recording.fps,
        "duration_s": recording.duration_s,
        "frames": None if recording.path is None else str(recording.path),
    }


def write_truth(dataset: Dataset, folder: Path) -> None:
    """Write `truth.jsonl`, a line an event, and `recordings.jsonl`, a line a recording.

    The second is needed as well: false alarms in recordings without an expression count, and so
    does their time.

    Args:
        dataset: The data set.
        folder: Where the files go; made when it is not there.

    Raises:
        DatasetError: The files cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / TRUTH_FILE, (truth_record(*sample) for sample in dataset.samples()))
        _write(folder / RECORDINGS_FILE, map(recording_record, dataset.recordings))
    except OSError as error:
        raise DatasetError(
            f"The truth cannot be written to {folder} ({error.strerror}); choose another folder."
        ) from error


def _write(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
