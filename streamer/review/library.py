"""The sessions of some folders, each under a name that says nothing of the disk."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from streamer.errors import SessionError, UserError
from streamer.recording.layout import find_recording
from streamer.review.pictures import Origin
from streamer.review.session_reader import (
    SESSION_FILE,
    Session,
    detected_kinds,
    is_being_written,
    last_time_s,
    read_session,
)

_LEFT_BEHIND = ("events.jsonl", "frames.csv")  # by a session whose session.json is gone


@dataclass(frozen=True, slots=True)
class Found:
    """A session folder.

    Attributes:
        key: Its name for the page: a hash of its path.
        path: The folder.
        place: Where it lies below the folder that was given; what people read.
    """

    key: str
    path: Path
    place: str


class Library:
    """Finds the sessions below some folders, and reads them by key.

    A page knows keys only: what no scan has found cannot be asked for.

    Args:
        roots: Session folders, and folders that hold them at any depth.

    Raises:
        SessionError: One of them does not exist.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        for root in roots:
            if not root.is_dir():
                raise SessionError(
                    f"There is no folder {root}: give session folders, or folders that hold them."
                )
        self._roots = list(dict.fromkeys(root.resolve() for root in roots))
        self._known: Mapping[str, Found] = {}

    def scan(self) -> list[Found]:
        """Look which sessions there are now, in order of their places."""
        found = {each.key: each for root in self._roots for each in _below(root)}
        self._known = found
        return list(found.values())

    def include(self, folder: Path) -> str:
        """Look into one more folder from now on, which need not be there yet; return its key."""
        path = folder.resolve()
        if not any(path.is_relative_to(root) for root in self._roots):
            self._roots.append(path)
        return _key(path)

    def find(self, key: str) -> Found:
        """Return a session folder that a scan has found.

        Raises:
            SessionError: There is none of this key.
        """
        if key not in self._known:
            self.scan()
        try:
            return self._known[key]
        except KeyError:
            raise SessionError("This session is not there any more: reload the list.") from None

    def read(self, key: str) -> Session:
        """Read a session.

        Raises:
            SessionError: There is none of this key, or it cannot be read.
        """
        return read_session(self.find(key).path)

    def pictures_of(self, session: Session) -> Origin | None:
        """Where the pictures lie that a session analysed; None when they are not to be had.

        Its own recording; or else the recording, video or folder that it was made from, as long as
        that lies in the folders that were given.
        """
        if session.recording is not None:
            return Origin("recording", session.recording)
        kind, source = session.source["kind"], _source_of(session)
        if kind == "recording":
            found = find_recording(source)
            return Origin("recording", found) if found and self._holds(found, session) else None
        if kind in ("video", "folder") and source.exists() and self._holds(source, session):
            return Origin(kind, source)
        return None

    def origin_of(self, session: Session) -> str:
        """Key of what a session analysed; sessions of one recording share it."""
        if session.recording is not None:
            return _key(session.recording.resolve())
        if session.source["kind"] == "recording":
            return _key(find_recording(_source_of(session)) or _source_of(session))
        named = session.source["kind"] in ("video", "folder")
        return _key(_source_of(session) if named else session.path)

    def _holds(self, path: Path, session: Session) -> bool:
        """Whether a path lies in the folders that were given, or beside a session."""
        beside = session.path.resolve().parent
        return any(path.is_relative_to(root) for root in (*self._roots, beside))


def row(found: Found, library: Library) -> dict[str, Any]:
    """What a list of sessions shows of one, JSON-ready; for one that cannot be read, why."""
    listed: dict[str, Any] = {"key": found.key, "place": found.place, "name": found.path.name}
    try:
        session = read_session(found.path)
    except UserError as error:
        return {**listed, "state": "unreadable", "reason": str(error)}
    events = session.reviewed()
    kept = [each for each in events if not each.rejected]
    calibration = session.document.get("calibration") or {}
    engines = session.document.get("engines") or {}
    running = is_being_written(session.path, session.document)
    return {
        **listed,
        "state": "running" if running else _STATES.get(session.end_state, session.end_state),
        "reason": _reason(session),
        "subject": session.subject,
        "started_utc": session.started.isoformat(),
        "source": str(session.source["name"]),
        "source_kind": str(session.source["kind"]),
        "engines": [str(engine.get("name", "none")) for engine in engines.values()],
        "duration_s": max(last_time_s(session.path) - session.begin_s, 0.0),
        "fps": session.document["fps"]["measured"] or session.fps_nominal,
        "fps_asked": session.document["fps"]["asked"],
        "kinds": {kind.value: number for kind, number in detected_kinds(kept).items()},
        "lost": sum(session.lost.values()) if session.metrics else None,
        "lost_causes": session.lost,
        "origin": library.origin_of(session),
        "pictures": library.pictures_of(session) is not None,
        "looked_at": sum(bool(each.reviewers) for each in events),
        "events": len(events),
        "reviewers": list(dict.fromkeys(edit.who for edit in session.edits)),
        "calibration": calibration.get("verdict") or "not calibrated",
    }


_STATES: Mapping[str, str] = MappingProxyType({"running": "broken off"})
_ENDS: Mapping[str, str] = MappingProxyType(
    {
        "interrupted": "Somebody ended it before its source did; everything is written.",
        "failed": "A fault ended it; what came before is here.",
    }
)


def _reason(session: Session) -> str:
    """Why a session did not come to its end, and what it lacks; empty where all is well."""
    said = [_ENDS.get(session.end_state, "")]
    if session.end_state == "failed":
        said += session.document.get("notes", ())[-1:]
    return " ".join(filter(None, [*said, *session.notes]))


def _below(root: Path) -> Iterator[Found]:
    """Sessions in and below a folder; links are not followed."""
    for folder, folders, files in os.walk(root, followlinks=False):
        path = Path(folder)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if SESSION_FILE in files or all(name in files for name in _LEFT_BEHIND):
            folders.clear()
            place = path.relative_to(root.parent).as_posix()
            yield Found(_key(path), path, place)


def _source_of(session: Session) -> Path:
    return Path(str(session.source["name"])).resolve()


def _key(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:20]
