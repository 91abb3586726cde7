"""An archive of recordings, each analysed into a session folder of its own."""

from __future__ import annotations

import csv
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from tqdm import tqdm

from engines.evaluation.tables import table
from engines.events import EventKind
from streamer.calibrated import use_calibration
from streamer.config import GlintConfig
from streamer.errors import SessionError
from streamer.recording.layout import find_recording
from streamer.review.session_reader import (
    detected_kinds,
    is_session,
    last_time_s,
    read_session,
    session_document,
)
from streamer.review.worker import Done, Task, Worker
from streamer.sources.image_folder import PICTURE_SUFFIXES

TABLE_FILE = "batch.csv"

VIDEO_SUFFIXES = frozenset(
    {".avi", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".nut", ".webm"}
    | {".wmv"}
)
"""Files that are taken for videos when no pattern says otherwise."""

_POLL_S = 0.2  # Windows delivers Ctrl-C only between two waits
_ANALYSED = "analysed"
_BEFORE = "analysed before"
_FAILED = "failed"
_INTERRUPTED = "interrupted"
_NOT_REACHED = "not reached"


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one recording.

    Attributes:
        file: Its path inside the archive.
        state: `analysed`, `analysed before`, `failed`, `interrupted` or `not reached`.
        reason: Why it failed; empty otherwise.
        session: Its session folder; None when none was written.
        frames: Frames analysed.
        fps: Frames a second of the recording; None where it is not known.
        seconds: Stream time of the last frame.
        kinds: Events by kind.
        emotions: Events by emotion.
        lost: Frames lost, by cause.
    """

    file: str
    state: str
    reason: str = ""
    session: Path | None = None
    frames: int = 0
    fps: float | None = None
    seconds: float = 0.0
    kinds: Mapping[EventKind, int] = field(default_factory=dict)
    emotions: Mapping[str, int] = field(default_factory=dict)
    lost: Mapping[str, int] = field(default_factory=dict)


def find_recordings(
    folder: Path, pattern: str | None = None, leave_out: Path | None = None
) -> list[Path]:
    """Find the recordings of an archive, in order of their paths.

    Videos by their suffix, folders of pictures, and session folders that hold a recording; what
    lies inside such a folder is part of it. Hidden files and folders are passed over.

    Args:
        folder: The archive.
        pattern: Glob that the end of a path has to match instead (`*.avi`, `s*/EP*`), files and
            folders alike.
        leave_out: A folder that is no part of it.

    Raises:
        SessionError: The folder is missing, or holds none.
    """
    if not folder.is_dir():
        raise SessionError(f"There is no folder {folder}: give the folder that holds recordings.")
    try:
        found = list(_walk(folder, folder, pattern, leave_out and leave_out.resolve()))
    except OSError as error:
        raise SessionError(
            f"{error.filename} cannot be read ({error.strerror}): mend its rights."
        ) from error
    if not found:
        what = "recording" if pattern is None else f"file or folder that matches {pattern!r}"
        raise SessionError(f"{folder} holds no {what}: check the path, or give --pattern.")
    return found


def _walk(root: Path, folder: Path, pattern: str | None, leave_out: Path | None) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.resolve() == leave_out:
            continue
        if _matches(path) if pattern is None else path.relative_to(root).match(pattern):
            yield path
        elif path.is_dir() and not path.is_symlink() and not is_session(path):
            yield from _walk(root, path, pattern, leave_out)


def _matches(path: Path) -> bool:
    if not path.is_dir():
        return path.suffix.lower() in VIDEO_SUFFIXES
    if find_recording(path) is not None:
        return True
    return any(each.suffix.lower() in PICTURE_SUFFIXES for each in path.iterdir())


# -- what is there already -------------------------------------------------------------------


def _place(folder: Path) -> tuple[Path, Mapping[str, Any] | None]:
    """The finished session of a recording and its `session.json`, or where a new one goes.

    A session that broke off is left as it is; the next attempt gets a number.
    """
    for number in count(1):
        attempt = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
        if not attempt.exists() or not any(attempt.iterdir()):
            return attempt, None
        document = session_document(attempt)
        if document is not None and document["end_state"] == "finished":
            return attempt, document
    raise AssertionError


def _told(file: str, state: str, reason: str, folder: Path) -> Result:
    """A result with what its session folder tells."""
    if not is_session(folder):
        return Result(file, state, reason)
    try:
        session = read_session(folder)
    except SessionError as error:
        return Result(file, _FAILED, str(error))
    kept = session.kept()
    return Result(
        file=file,
        state=state,
        reason=reason,
        session=folder,
        frames=int(session.metrics.get("analysed", 0)),
        fps=session.document["fps"]["measured"] or session.fps_nominal,
        seconds=last_time_s(folder),
        kinds=detected_kinds(kept),
        emotions=Counter(each.event.emotion for each in kept if each.event.emotion),
        lost=session.lost,
    )


def _settings(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration without what is another for every recording."""
    return {**configuration, "source": {**configuration.get("source", {}), "spec": None}}


# -- workers ---------------------------------------------------------------------------------


def _analyse_all(
    tasks: Iterable[Task], config: GlintConfig, jobs: int, bar: tqdm[None]
) -> Generator[tuple[Task, str], None, None]:
    """Yield every task with the reason why it failed, as they end."""
    waiting, workers = deque(tasks), list[Worker]()
    try:
        while waiting or any(worker.task for worker in workers):
            idle = [worker for worker in workers if worker.task is None]
            while waiting and (idle or len(workers) < jobs):
                if not idle:
                    workers.append(Worker(config))
                    idle.append(workers[-1])
                idle.pop().begin(waiting.popleft())
            ready = wait([worker.connection for worker in workers], _POLL_S)
            for worker in [each for each in workers if each.connection in ready]:
                task, message = worker.task, worker.receive()
                if not worker.process.is_alive():
                    workers.remove(worker)
                if isinstance(message, Done):
                    worker.task = None
                    if task is not None:
                        yield task, message.reason
                else:
                    worker.frames = message
            bar.set_postfix_str(f"{sum(w.frames for w in workers if w.task)} frames in work")
    finally:
        for worker in workers:
            worker.stop()


# -- the batch -------------------------------------------------------------------------------


@dataclass(slots=True)
class Batch:
    """Analyses the recordings of an archive.

    Attributes:
        archive: The folder that holds them.
        recordings: Which of what it holds (`find_recordings`).
        out: Folder of the session folders, one for each recording, under the same path.
        config: How to analyse; its source's name is not used.
        results: What became of each recording, in their order; filled by `run`.
        notes: What the user must be told; filled by `run`.
    """

    archive: Path
    recordings: Sequence[Path]
    out: Path
    config: GlintConfig
    results: list[Result] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def run(self, jobs: int, bar: bool) -> None:
        """Analyse what is not finished yet.

        Args:
            jobs: How many recordings are analysed at the same time.
            bar: Draw a progress bar on stderr.

        Raises:
            KeyboardInterrupt: Somebody ended it; `results` says how far it came.
        """
        places = {r: _place(self.out / r.relative_to(self.archive)) for r in self.recordings}
        tasks = [Task(r, folder) for r, (folder, document) in places.items() if document is None]
        before = [document for _, document in places.values() if document is not None]
        settings = _settings(use_calibration(self.config)[0].model_dump(mode="json"))
        others = sum(
            _settings(document.get("configuration", {})) != settings for document in before
        )
        if others:
            self.notes.append(
                f"{others} of the {len(before)} sessions that were there already were made with "
                "other settings: name another folder with --out to analyse them alike."
            )
        reasons: dict[Path, str] = {}
        shown = tqdm(
            total=len(tasks), unit=" recordings", disable=not bar, dynamic_ncols=True, leave=False
        )
        try:
            with shown, closing(_analyse_all(tasks, self.config, jobs, shown)) as ended:
                for task, reason in ended:
                    reasons[task.recording] = reason
                    shown.update()
        finally:
            self.results = [
                self._result(r, folder, document is not None, reasons.get(r))
                for r, (folder, document) in places.items()
            ]

    def _result(self, recording: Path, folder: Path, before: bool, reason: str | None) -> Result:
        file = recording.relative_to(self.archive).as_posix()
        if before:
            return _told(file, _BEFORE, "", folder)
        if reason is None:
            return _told(file, _INTERRUPTED if is_session(folder) else _NOT_REACHED, "", folder)
        return _told(file, _FAILED if reason else _ANALYSED, reason, folder)

    @property
    def failed(self) -> list[Result]:
        """The recordings that could not be analysed."""
        return [result for result in self.results if result.state == _FAILED]

    def table(self) -> str:
        """The results as a table for a terminal."""
        header = ("file", "frames", "fps", "s", "micro", "macro", "emotions", "lost", "state")
        return table(header, [_cells(result) for result in self.results])

    def save(self) -> Path:
        """Write the results as `batch.csv` into the output folder; an earlier one is replaced.

        Raises:
            SessionError: The file cannot be written.
        """
        path = self.out / TABLE_FILE
        emotions = sorted({emotion for result in self.results for emotion in result.emotions})
        header = [
            *("file", "state", "reason", "session", "frames", "fps", "seconds", "micro", "macro"),
            *(f"emotion_{emotion}" for emotion in emotions),
            *("lost", "lost_causes"),
        ]
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            with path.open("w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(header)
                for r in self.results:
                    writer.writerow(
                        [
                            *(r.file, r.state, r.reason, r.session or "", r.frames),
                            *("" if r.fps is None else f"{r.fps:g}", f"{r.seconds:.3f}"),
                            *(r.kinds.get(kind, 0) for kind in EventKind),
                            *(r.emotions.get(emotion, 0) for emotion in emotions),
                            *(sum(r.lost.values()), _counts(r.lost)),
                        ]
                    )
        except OSError as error:
            raise SessionError(
                f"The table {path} cannot be written ({error.strerror}): the sessions are there; "
                "mend that and run it again, what is finished is not analysed again."
            ) from error
        return path


def _cells(result: Result) -> tuple[object, ...]:
    if result.session is None:
        return (result.file, *[""] * 7, result.state)
    return (
        result.file,
        result.frames,
        "" if result.fps is None else f"{result.fps:.1f}",
        f"{result.seconds:.2f}",
        *(result.kinds.get(kind, 0) for kind in EventKind),
        _counts(result.emotions),
        sum(result.lost.values()),
        result.state,
    )


def _counts(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in numbers.items())
