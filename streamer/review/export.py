"""Sessions for other programs: ELAN, MEGC, CSV, Parquet, OpenFace."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType

from engines.evaluation.megc import write_predictions
from engines.evaluation.spotting import Recording, interval_of_event
from streamer.errors import SessionError
from streamer.review.elan import write_elan
from streamer.review.session_reader import Session
from streamer.review.tables import write_events, write_openface, write_parquet

FOLDER = "export"
"""Where exports go inside a session folder, when no other folder is named."""


@dataclass(frozen=True, slots=True)
class _Job:
    """Files, and what writes them."""

    paths: tuple[Path, ...]
    write: Callable[[], None]


def export(
    sessions: Sequence[Session], to: str, folder: Path | None, first_frame: int = 0
) -> list[Path]:
    """Write sessions in the form of another program.

    Events that reviewers rejected are left out, except where `verdict` marks them (CSV, Parquet).

    Args:
        sessions: The sessions.
        to: One of `FORMATS`.
        folder: Where to; None takes `export/` in each session's folder.
        first_frame: Number of a video's first frame, where the other program counts frames.

    Returns:
        The files, in order.

    Raises:
        SessionError: A file is there already or cannot be written, or two would have one name.
    """
    groups = [(folder, sessions)] if folder else [(s.path / FOLDER, [s]) for s in sessions]
    jobs = [job for where, group in groups for job in FORMATS[to](group, where, first_frame)]
    paths = [path for job in jobs for path in job.paths]
    for path in paths:
        if path.exists() or paths.count(path) > 1:
            raise SessionError(
                f"{path} is there already, or two sessions would be written to it, and an export "
                "overwrites nothing: name another folder with --out."
            )
    for job in jobs:
        try:
            job.paths[0].parent.mkdir(parents=True, exist_ok=True)
            job.write()
        except OSError as error:
            raise SessionError(
                f"{job.paths[0]} cannot be written ({error.strerror}): name another folder with "
                "--out."
            ) from error
    return paths


def _elan(sessions: Sequence[Session], folder: Path, first_frame: int) -> Iterator[_Job]:
    for session in sessions:
        path = folder / f"{session.name}.eaf"
        yield _Job((path,), partial(write_elan, path, session))


def _openface(sessions: Sequence[Session], folder: Path, first_frame: int) -> Iterator[_Job]:
    for session in sessions:
        path = folder / f"{session.name}.csv"
        yield _Job((path,), partial(write_openface, path, session))


def _parquet(sessions: Sequence[Session], folder: Path, first_frame: int) -> Iterator[_Job]:
    for session in sessions:
        frames, events = (
            folder / f"{session.name}.{table}.parquet" for table in ("frames", "events")
        )
        yield _Job((frames, events), partial(write_parquet, frames, events, session))


def _csv(sessions: Sequence[Session], folder: Path, first_frame: int) -> Iterator[_Job]:
    path = folder / "events.csv"
    yield _Job((path,), partial(write_events, path, sessions))


def _megc(sessions: Sequence[Session], folder: Path, first_frame: int) -> Iterator[_Job]:
    """One file for all: a result of the Grand Challenge is that of a data set."""
    rates = {session.fps_nominal for session in sessions}
    if len(rates) > 1:
        shown = ", ".join(f"{rate:g}" for rate in sorted(rates))
        raise SessionError(
            f"A file of MEGC counts frames, and these sessions have several rates ({shown}): "
            "export the sessions of each rate apart."
        )
    recordings = [
        Recording(
            truths=(),
            detections=[interval_of_event(each.event) for each in session.kept()],
            duration_s=float("nan"),
            name=session.video,
            subject=session.subject or "",
        )
        for session in sessions
    ]
    path = folder / "megc.csv"
    yield _Job((path,), partial(write_predictions, path, recordings, rates.pop(), first_frame))


FORMATS: Mapping[str, Callable[[Sequence[Session], Path, int], Iterator[_Job]]] = MappingProxyType(
    {"elan": _elan, "megc": _megc, "csv": _csv, "parquet": _parquet, "openface": _openface}
)
"""Form of another program to what writes it."""
