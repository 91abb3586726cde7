"""A session for ELAN: its events as time-aligned annotations (EAF 3.0)."""

from __future__ import annotations

import mimetypes
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from engines.events import Event, EventKind
from streamer.recording.layout import VIDEO_FILE
from streamer.review.annotations import ReviewedEvent
from streamer.review.session_reader import Session

_SCHEMA = "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"
_INSTANCE = "http://www.w3.org/2001/XMLSchema-instance"
_EMOTIONS = "emotion"


@dataclass(frozen=True, slots=True, eq=False)
class _Span:
    """An annotation, itself and no other alike; times in milliseconds, the second one later."""

    onset_ms: int
    offset_ms: int
    text: str


@dataclass(frozen=True, slots=True)
class _Tier:
    name: str
    spans: Sequence[_Span]
    kind: str = "event"


def write_elan(path: Path, session: Session) -> None:
    """Write an annotation document.

    Tiers `micro` and `macro` hold onset to offset of each event, `apex` the one frame of its
    apex, `emotion` its emotion, `action units` what moved (`6+12`), `rejected` what reviewers
    rejected, `note` their remarks. In a tier of ELAN nothing overlaps: what would goes to a second
    one, `micro 2`.

    Raises:
        OSError: The file cannot be written.
    """
    document = Element(
        "ANNOTATION_DOCUMENT",
        {
            "AUTHOR": f"Glint {session.document['version']}",
            "DATE": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "FORMAT": "3.0",
            "VERSION": "3.0",
            f"{{{_INSTANCE}}}noNamespaceSchemaLocation": _SCHEMA,
        },
    )
    tiers = list(_tiers(session))
    _add_header(document, session, path)
    slots = _add_times(document, tiers)
    _add_tiers(document, tiers, slots, session)
    _add_types(document, session)
    ElementTree.register_namespace("xsi", _INSTANCE)
    ElementTree.indent(document)
    ElementTree.ElementTree(document).write(path, encoding="UTF-8", xml_declaration=True)


def _tiers(session: Session) -> Iterable[_Tier]:
    kept = session.kept()
    frame_s = 1 / session.fps_nominal
    for kind in EventKind:
        yield from _apart(kind.value, [_course(e) for e in kept if e.event.kind is kind])
    apexes = [_span(e.event.apex_s, e.event.apex_s + frame_s, f"#{e.event.id}") for e in kept]
    yield from _apart("apex", apexes)
    emotions = [_course(e, e.event.emotion) for e in kept if e.event.emotion]
    yield from _apart(_EMOTIONS, emotions, _EMOTIONS)
    coded = [_course(e, _facs(e.event)) for e in kept if e.event.action_units]
    if coded:
        yield from _apart("action units", coded)
    reviewed = session.reviewed()
    rejected = [_course(e) for e in reviewed if e.rejected]
    notes = [_course(e, "; ".join(e.notes)) for e in reviewed if e.notes]
    for name, spans in (("rejected", rejected), ("note", notes)):
        if spans:
            yield from _apart(name, spans)


def _course(reviewed: ReviewedEvent, text: str | None = None) -> _Span:
    event = reviewed.event
    regions = ", ".join(event.regions)
    offset_s = event.onset_s if event.offset_s is None else event.offset_s
    return _span(event.onset_s, offset_s, text or f"#{event.id} {regions}".strip())


def _facs(event: Event) -> str:
    """The action units as FACS coders write them, without intensities: theirs have letters."""
    return "+".join(name.removeprefix("AU") for name in event.action_units or ())


def _span(onset_s: float, offset_s: float, text: str) -> _Span:
    onset_ms = max(0, round(1000 * onset_s))
    return _Span(onset_ms, max(round(1000 * offset_s), onset_ms + 1), text)


def _apart(name: str, spans: Sequence[_Span], kind: str = "event") -> Iterable[_Tier]:
    """Share spans out to as few tiers as hold them without overlap; one at least."""
    lanes: list[list[_Span]] = [[]]
    for span in sorted(spans, key=lambda s: s.onset_ms):
        free = (lane for lane in lanes if not lane or lane[-1].offset_ms <= span.onset_ms)
        lane = next(free, None)
        if lane is None:
            lanes.append(lane := [])
        lane.append(span)
    for number, lane in enumerate(lanes, start=1):
        yield _Tier(name if number == 1 else f"{name} {number}", lane, kind)


def _add_header(document: Element, session: Session, path: Path) -> None:
    header = SubElement(document, "HEADER", {"MEDIA_FILE": "", "TIME_UNITS": "milliseconds"})
    media = _media(session)
    if media is not None:
        kind = mimetypes.guess_type(media.name)[0] or "unknown"
        media = media.resolve()
        attributes = {"MEDIA_URL": media.as_uri(), "MIME_TYPE": kind}
        if media.anchor == path.resolve().anchor:  # Windows: on the same drive
            relative = Path(os.path.relpath(media, path.resolve().parent))
            attributes["RELATIVE_MEDIA_URL"] = f"./{relative.as_posix()}"
        SubElement(header, "MEDIA_DESCRIPTOR", attributes)
    SubElement(header, "PROPERTY", {"NAME": "glint_session"}).text = session.name
    SubElement(header, "PROPERTY", {"NAME": "glint_review"}).text = session.review_summary()


def _media(session: Session) -> Path | None:
    """The video that was analysed, else the recording; ELAN plays the former more often."""
    source = Path(str(session.source["name"]))
    if session.source["kind"] == "video" and source.is_file():
        return source
    return None if session.recording is None else session.recording / VIDEO_FILE


def _add_times(document: Element, tiers: Iterable[_Tier]) -> dict[tuple[_Span, str], str]:
    """Add the time slots in order; return (span, end of it) to slot.

    No slot is shared: in ELAN, moving the border of one annotation would move the other's.
    """
    ends = [
        (ms, span, end)
        for tier in tiers
        for span in tier.spans
        for end, ms in (("onset", span.onset_ms), ("offset", span.offset_ms))
    ]
    order = SubElement(document, "TIME_ORDER")
    slots = {}
    for number, (ms, span, end) in enumerate(sorted(ends, key=lambda each: each[0]), start=1):
        slots[span, end] = f"ts{number}"
        SubElement(order, "TIME_SLOT", {"TIME_SLOT_ID": f"ts{number}", "TIME_VALUE": str(ms)})
    return slots


def _add_tiers(
    document: Element,
    tiers: Iterable[_Tier],
    slots: Mapping[tuple[_Span, str], str],
    session: Session,
) -> None:
    number = 0
    for tier in tiers:
        attributes = {"TIER_ID": tier.name, "LINGUISTIC_TYPE_REF": tier.kind, "ANNOTATOR": "Glint"}
        if session.subject is not None:
            attributes["PARTICIPANT"] = session.subject
        element = SubElement(document, "TIER", attributes)
        for span in tier.spans:
            number += 1
            attributes = {
                "ANNOTATION_ID": f"a{number}",
                "TIME_SLOT_REF1": slots[span, "onset"],
                "TIME_SLOT_REF2": slots[span, "offset"],
            }
            if tier.kind == _EMOTIONS:
                attributes["CVE_REF"] = _entry(span.text)
            annotation = SubElement(element, "ANNOTATION")
            aligned = SubElement(annotation, "ALIGNABLE_ANNOTATION", attributes)
            SubElement(aligned, "ANNOTATION_VALUE").text = span.text


def _add_types(document: Element, session: Session) -> None:
    free = {"TIME_ALIGNABLE": "true", "GRAPHIC_REFERENCES": "false"}
    SubElement(document, "LINGUISTIC_TYPE", {"LINGUISTIC_TYPE_ID": "event", **free})
    chosen = {"LINGUISTIC_TYPE_ID": _EMOTIONS, "CONTROLLED_VOCABULARY_REF": _EMOTIONS, **free}
    SubElement(document, "LINGUISTIC_TYPE", chosen)
    SubElement(document, "LANGUAGE", {"LANG_ID": "eng", "LANG_LABEL": "English (eng)"})
    vocabulary = SubElement(document, "CONTROLLED_VOCABULARY", {"CV_ID": _EMOTIONS})
    description = SubElement(vocabulary, "DESCRIPTION", {"LANG_REF": "eng"})
    description.text = "Classes of the recognition engine, and those that reviewers gave."
    for emotion in _vocabulary(session):
        entry = SubElement(vocabulary, "CV_ENTRY_ML", {"CVE_ID": _entry(emotion)})
        SubElement(entry, "CVE_VALUE", {"LANG_REF": "eng"}).text = emotion


def _vocabulary(session: Session) -> list[str]:
    given = {each.event.emotion for each in session.kept()}
    classes = {name for event in session.events for name in event.probabilities or ()}
    return sorted(classes | {emotion for emotion in given if emotion})


def _entry(emotion: str) -> str:
    return f"{_EMOTIONS}_{emotion}"
