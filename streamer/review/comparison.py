"""A session beside its truth, or beside an annotator's file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engines.evaluation.reading import FrameNumbers, Listing, read_listing
from engines.evaluation.spotting import (
    Interval,
    Recording,
    Tally,
    interval_of_event,
    match,
    of_kind,
    tally,
)
from engines.events import EventKind
from streamer.errors import SessionError
from streamer.review.annotations import ReviewedEvent
from streamer.review.elan_reader import read_elan
from streamer.review.session_reader import Session


@dataclass(frozen=True, slots=True)
class Pairing:
    """A truth with the event that found it, or one of them alone.

    Attributes:
        verdict: `TP` found, `FN` missed, `FP` an event without a truth.
        truth: What was there.
        event: What was found.
        iou: Intersection over union of the pair; 0 without one.
    """

    verdict: Literal["TP", "FP", "FN"]
    truth: Interval | None
    event: ReviewedEvent | None
    iou: float = 0.0

    @property
    def onset_s(self) -> float:
        """Where it begins."""
        onsets = [each.onset_s for each in (self.truth, self.event and self.event.event) if each]
        return min(onsets)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was there beside what was found.

    Attributes:
        source: Where the truth is from.
        truths: What was there, in order.
        pairings: Every truth and every event, in order of time.
        tallies: Counts for each kind.
    """

    source: str
    truths: tuple[Interval, ...]
    pairings: tuple[Pairing, ...]
    tallies: Mapping[EventKind, Tally]


def compare(session: Session, truth: Path | None, duration_s: float) -> Comparison | None:
    """Set a session's events beside the truth.

    Events that reviewers rejected are no detections.

    Args:
        session: The session.
        truth: A file of expressions (see `engines.evaluation.reading`), or an annotation document
            of ELAN; None takes the session's own `truth.jsonl`.
        duration_s: How long the session lasted.

    Returns:
        None when nobody knows the truth.

    Raises:
        UserError: The file cannot be read, or speaks of several recordings and of none by this
            one's name.
    """
    if truth is None and session.truth is None:
        return None
    if truth is None:
        truths, source = read_truths(session.path, session), "truth.jsonl, known to the source"
    else:
        truths, source = read_truths(truth, session), truth.name
    return compare_events(session.kept(), truths, duration_s, source)


def read_truths(path: Path, session: Session) -> list[Interval]:
    """Return the expressions that a file or a session folder states for this session.

    Raises:
        UserError: As `compare`.
    """
    if path.suffix.lower() == ".eaf":
        return read_elan(path)
    listing = read_listing(path, "truth", FrameNumbers(fps=session.fps_nominal))
    return _of_session(listing, session)


def compare_events(
    events: Iterable[ReviewedEvent], truths: Sequence[Interval], duration_s: float, source: str
) -> Comparison:
    """Set events beside a reference, one to one and kind by kind.

    Args:
        events: What was found; events without an offset are left out.
        truths: What was there.
        duration_s: Length of what was watched, in seconds.
        source: Where the reference is from.
    """
    ended = [each for each in events if each.event.offset_s is not None]
    recording = Recording(truths, [interval_of_event(each.event) for each in ended], duration_s)
    pairings = [
        pairing
        for kind in EventKind
        for pairing in _pairings(of_kind(truths, kind), [e for e in ended if e.event.kind is kind])
    ]
    return Comparison(
        source=source,
        truths=tuple(of_kind(truths, None)),
        pairings=tuple(sorted(pairings, key=lambda each: each.onset_s)),
        tallies={kind: tally(recording, kind) for kind in EventKind},
    )


def _pairings(truths: Sequence[Interval], events: Sequence[ReviewedEvent]) -> Iterator[Pairing]:
    pairs = match(truths, [interval_of_event(each.event) for each in events])
    for pair in pairs:
        yield Pairing("TP", truths[pair.truth], events[pair.detection], pair.iou)
    found, hits = ({getattr(p, side) for p in pairs} for side in ("truth", "detection"))
    yield from (Pairing("FN", t, None) for at, t in enumerate(truths) if at not in found)
    yield from (Pairing("FP", None, e) for at, e in enumerate(events) if at not in hits)


def _of_session(listing: Listing, session: Session) -> list[Interval]:
    """The expressions of this recording, among those that the file speaks of."""
    named = dict.fromkeys([*listing.durations_s, *(key for key, _ in listing.found)])
    mine = {session.name, session.video, Path(str(session.source["name"])).name}
    keys = [key for key in named if key[1] in mine]
    if session.subject is not None and len(keys) > 1:
        keys = [key for key in keys if key[0] == session.subject]
    if not keys and len(named) == 1:
        keys = list(named)
    if len(keys) != 1 and named:
        raise SessionError(
            f"{listing.source} speaks of {len(named)} recordings, and {len(keys)} of them bear the "
            f"name of this session or its video ({', '.join(sorted(mine))}): name it there."
        )
    return [interval for key, interval in listing.found if key in keys]
