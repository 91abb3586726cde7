"""The report of a session: one HTML file that needs no other."""

from __future__ import annotations

import base64
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jinja2 import Environment, StrictUndefined

from engines.evaluation.spotting import Interval, Tally, interval_of_event
from engines.events import Event, EventKind
from streamer.dashboard.timeline import colour_of
from streamer.errors import SessionError
from streamer.explanation import MAGNIFIED, explanation_overlay
from streamer.review.annotations import ReviewedEvent
from streamer.review.comparison import Comparison, Pairing, compare
from streamer.review.session_reader import Frames, Session, detected_kinds, read_frames
from streamer.review.timeline import (
    AXIS,
    COLUMNS,
    LANE,
    LEFT,
    PLOT_HEIGHT,
    PLOT_WIDTH,
    SCORE,
    WIDTH,
    event_plot,
    strips,
)
from streamer.version import VERSION

REPORT_FILE = "report.html"
"""Name of a report inside its session folder."""

Figure = tuple[str, str, str]
"""Name, value and tone (empty, `warn` or `bad`) of a figure."""

_MARK = '<meta name="generator" content="Glint'
_SLOW_SHARE = 0.9
_DASH = "\N{EN DASH}"
_END_WORDS: Mapping[str, Figure] = {
    "finished": ("Finished", "The source was analysed to its end.", ""),
    "interrupted": ("Interrupted", "Somebody ended the session; everything is written.", ""),
    "failed": ("Failed", "A fault ended the session; what came before is here.", "bad"),
    "running": ("Broken off", "The session is still running, or its program was killed.", "bad"),
}


def report(
    session: Session,
    truth: Path | None = None,
    *,
    faces: bool = False,
    recording: Path | None = None,
) -> str:
    """Return the report of a session as HTML.

    Args:
        session: The session.
        truth: An annotator's file to compare with; None takes the session's own truth if it has
            one.
        faces: Show the face at onset and apex of every event; for recorded sessions only.
        recording: Folder with the pictures that were analysed; None takes the session's own.

    Raises:
        UserError: A file cannot be read, or there is no recording to take pictures from.
    """
    frames = read_frames(session.path, COLUMNS)
    events = session.reviewed()
    comparison = compare(session, truth, duration_s(frames))
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    source = (files("streamer.review") / "assets" / "report.html").read_text(encoding="utf-8")
    return environment.from_string(source).render(
        version=VERSION,
        made=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M"),
        session=session,
        end=_END_WORDS.get(session.end_state, (session.end_state, "", "")),
        rig=list(_rig(session)),
        quality=list(_quality(session, frames)),
        notes=[*session.notes, *session.document.get("notes", ()), *_torn(frames)],
        summary=_summary(session),
        review=session.review_summary(),
        strips=strips(frames, events, comparison),
        size={"left": LEFT, "width": WIDTH, "lane": LANE, "score": SCORE, "axis": AXIS},
        plot={"width": PLOT_WIDTH, "height": PLOT_HEIGHT},
        events=[_event(each) for each in events],
        cards=list(_cards(session, frames, faces, recording or session.recording)),
        faces=faces,
        comparison=None if comparison is None else _comparison(comparison),
        configuration=json.dumps(session.document.get("configuration"), indent=2),
    )


def save(path: Path, page: str) -> None:
    """Write a report; an earlier one is replaced, any other file is not.

    Raises:
        SessionError: The file is something else, or cannot be written.
    """
    try:
        if path.exists() and _MARK not in path.read_text(encoding="utf-8", errors="replace")[:500]:
            raise SessionError(
                f"{path} is there already and is no report of Glint: name another file with --out."
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise SessionError(
            f"The report cannot be written to {path} ({error.strerror}): name another file with "
            "--out."
        ) from error


# -- what was measured, and how well ---------------------------------------------------------


def _rig(session: Session) -> Iterator[Figure]:
    source, fps, size = session.source, session.document["fps"], session.document["size"]
    yield "Started", f"{session.started:%Y-%m-%d %H:%M:%S} UTC", ""
    yield "Subject", session.subject or "no pseudonym given", ""
    synthetic = source["kind"] == "demo"
    kind = "an animated photograph: synthetic" if synthetic else source["kind"]
    yield "Source", f"{source['name']} ({kind})", "warn" if synthetic else ""
    for name, value in source.get("device", {}).items():
        yield name.replace("_", " ").capitalize(), str(value), ""
    asked = "nothing asked for" if fps["asked"] is None else f"{fps['asked']:g} asked for"
    yield "Picture", f"{size['width']}\N{MULTIPLICATION SIGN}{size['height']}", ""
    yield "Frame rate", f"{fps['nominal']:g} frames a second, {asked}", ""
    yield "Clock", "the device's own" if source["device_clock"] else "this computer's", ""
    for role, engine in session.document.get("engines", {}).items():
        details = [f"{engine['look_ahead_s']:g} s look-ahead"] if "look_ahead_s" in engine else []
        details += [str(engine["backend"])] if engine.get("backend") else []
        words = f"{engine.get('name', 'none')} {engine.get('version', '')}".strip()
        yield role.capitalize(), ", ".join([words, *details]), ""
    yield _calibration(session.document.get("calibration") or {})
    yield "Glint", str(session.document["version"]), ""


def _calibration(used: Mapping[str, Any]) -> Figure:
    verdict = used.get("verdict")
    if verdict in (None, "not calibrated"):
        return "Calibration", "none: the threshold is the engine's own", "warn"
    age = f", {used['age_s'] / 3600:.1f} h before" if "age_s" in used else ""
    made = f" ({used['date']}{age})" if "date" in used else ""
    return "Calibration", f"{verdict}{made}", "" if verdict == "fit" else "warn"


def _quality(session: Session, frames: Frames) -> Iterator[Figure]:
    count, length_s = len(frames.values), duration_s(frames)
    yield "Analysed", f"{count:,} frames, {length_s:.2f} s", "" if count else "bad"
    measured, asked = (session.document["fps"][which] for which in ("measured", "asked"))
    if measured is not None:
        slow = asked is not None and measured < _SLOW_SHARE * asked
        yield "Rate measured", f"{measured:.2f} frames a second", "warn" if slow else ""
    if session.metrics:
        lost = sum(session.lost.values())
        share = lost / max(1, lost + count)
        text = f"{lost:,} ({share:.2%})" if lost else "none"
        yield "Frames lost", text, "bad" if lost else ""
        for cause, number in session.lost.items():
            yield f"{_DASH} {_words(cause)}", f"{number:,}", "bad"
    else:
        yield "Frames lost", "not known", "bad"
    yield from _intervals(frames)
    yield from _face(frames)
    yield from _latency(session)
    for counter, number in session.metrics.get("source", {}).items():
        yield f"Source: {_words(counter)}", f"{number:,}", "warn" if number else ""
    recording = session.metrics.get("recording")
    if recording is not None:
        left_out = sum(recording["lost"].values())
        gone = ", not in the folder any more" if session.recording is None else ""
        text = f"{recording['frames']:,} pictures, {left_out or 'none'} left out{gone}"
        yield "Recording", text, "warn" if left_out else ""
    elif session.recording is None:
        yield "Recording", "no picture was stored", ""
    flags = Counter(flag for event in session.events for flag in event.quality)
    for flag, number in flags.most_common():
        yield f"Events flagged {_words(flag)}", f"{number} of {len(session.events)}", "warn"


def _intervals(frames: Frames) -> Iterator[Figure]:
    """Times between frames that follow one another."""
    steps = np.diff(frames["timestamp"])[np.diff(frames["frame"]) == 1]
    if len(steps):
        median, p99 = 1000 * np.percentile(steps, (50, 99))
        text = f"{median:.2f} ms median, {p99:.2f} ms 99 %, {1000 * steps.max():.2f} ms longest"
        yield "Time between frames", text, ""


def _face(frames: Frames) -> Iterator[Figure]:
    followed = frames["success"] > 0
    if not len(followed):
        return
    share, longest = float(followed.mean()), 0.0
    times, away = frames["timestamp"], np.flatnonzero(~followed)
    for run in np.split(away, np.flatnonzero(np.diff(away) > 1) + 1) if len(away) else ():
        end = times[min(run[-1] + 1, len(times) - 1)]
        longest = max(longest, float(end - times[run[0]]))
    without = f", longest stretch without {longest:.2f} s" if longest else ""
    yield "Face followed", f"{share:.1%} of the frames{without}", "" if share > 0.9 else "warn"


def _latency(session: Session) -> Iterator[Figure]:
    figures = session.metrics.get("latency_ms", {}).get("capture_to_score")
    speed = session.document.get("configuration", {}).get("source", {}).get("speed")
    if not session.source["live"] and speed != "realtime":
        yield "Latency", "analysed as fast as possible: the times from capture say nothing", ""
    elif figures:
        text = ", ".join(f"{name} {ms:.1f} ms" for name, ms in figures.items() if ms is not None)
        yield "Capture to score", text, ""


def _summary(session: Session) -> str:
    kept = session.kept()
    kinds = ", ".join(f"{number} {kind.value}" for kind, number in detected_kinds(kept).items())
    emotions = Counter(each.event.emotion for each in kept if each.event.emotion)
    named = ", ".join(f"{number} {emotion}" for emotion, number in emotions.most_common())
    return f"{kinds}{f' ({named})' if named else ''}"


def _torn(frames: Frames) -> list[str]:
    return ["The last row of frames.csv was cut off and is left out."] if frames.torn else []


def duration_s(frames: Frames) -> float:
    """From the first frame to the end of the last one."""
    times = frames["timestamp"]
    return float(times[-1] - times[0] + (times[1] - times[0])) if len(times) > 1 else math.nan


# -- events ----------------------------------------------------------------------------------


def _event(reviewed: ReviewedEvent) -> dict[str, Any]:
    event = reviewed.event
    probability = (event.probabilities or {}).get(event.emotion or "")
    return {
        "id": event.id,
        "kind": event.kind.value if event.kind else _DASH,
        "onset": f"{event.onset_s:.3f}",
        "apex": f"{event.apex_s:.3f}",
        "offset": _DASH if event.offset_s is None else f"{event.offset_s:.3f}",
        "duration": _ms_between(event.onset_s, event.offset_s),
        "emotion": event.emotion or _DASH,
        "colour": colour_of(event.emotion),
        "probability": "" if probability is None else f"{probability:.0%}",
        "found_emotion": reviewed.found_emotion if reviewed.relabelled else None,
        "regions": ", ".join(_words(region) for region in event.regions),
        "score": _number(event.score),
        "decision": _DASH if reviewed.moved else _ms_between(event.offset_s, event.decided_s),
        "flags": ", ".join(_words(flag) for flag in event.quality),
        "verdict": ", ".join(_said(reviewed)),
        "rejected": reviewed.rejected,
        "notes": reviewed.notes,
    }


def _said(reviewed: ReviewedEvent) -> Iterator[str]:
    """What reviewers made of an event, in words."""
    if reviewed.added:
        yield "added by a reviewer"
    if reviewed.moved and reviewed.found is not None:
        found = reviewed.found
        yield f"moved; found at {found.onset_s:.3f} s"
    if reviewed.verdict is not None:
        yield reviewed.verdict


def _cards(
    session: Session, frames: Frames, faces: bool, recording: Path | None
) -> Iterator[dict[str, Any]]:
    """The course of every event that was not rejected, with the faces at onset and apex."""
    kept = session.kept()
    cut = _faces(session.path, recording, [each.event for each in kept]) if faces else {}
    for reviewed in kept:
        event = reviewed.event
        yield {
            "id": event.id,
            "what": f"{event.kind.value if event.kind else ''}, {event.emotion or _DASH}",
            "plot": event_plot(frames, reviewed),
            "faces": [
                (name, f"{time_s:.3f}", _data_uri(cut.get(frame)))
                for name, time_s, frame in (
                    ("onset", event.onset_s, event.onset_frame),
                    ("apex", event.apex_s, event.apex_frame),
                )
            ]
            + _heat(event, cut.get(event.apex_frame)),
        }


def _heat(event: Event, face: bytes | None) -> list[tuple[str, str, str | None]]:
    """The face at the apex with what carried the answer, where that is known."""
    if face is None or event.explanation is None:
        return []
    from streamer.alignment.face_mesh import CROP_MARGIN  # noqa: PLC0415 - MediaPipe takes seconds

    picture = np.asarray(cv2.imdecode(np.frombuffer(face, np.uint8), cv2.IMREAD_COLOR), np.uint8)
    heated = explanation_overlay(picture, event.explanation, margin=CROP_MARGIN)
    encoded = cv2.imencode(".jpg", heated)[1].tobytes()
    what = "apex, with what carried the answer"
    if event.explanation.movements:
        what += f" and the movement that the network saw, {MAGNIFIED} times as long"
    return [(what, f"{event.apex_s:.3f}", _data_uri(encoded))]


def _faces(session: Path, recording: Path | None, events: Sequence[Event]) -> Mapping[int, bytes]:
    """Frame to its face, for onset and apex of events."""
    if recording is None:
        raise SessionError(
            f"{session} holds no recording to take faces from: leave --faces away, or record "
            "with --record."
        )
    from streamer.review.pictures import faces  # noqa: PLC0415 - MediaPipe takes seconds

    return faces(recording, [f for e in events for f in (e.onset_frame, e.apex_frame)])


def _data_uri(jpeg: bytes | None) -> str | None:
    return None if jpeg is None else f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"


# -- the truth beside them -------------------------------------------------------------------


def _comparison(comparison: Comparison) -> dict[str, Any]:
    return {
        "source": comparison.source,
        "rows": [_tally(kind, tally) for kind, tally in comparison.tallies.items()],
        "pairings": [_pairing(pairing) for pairing in comparison.pairings],
    }


def _tally(kind: EventKind, tally: Tally) -> dict[str, str | int]:
    return {
        "kind": kind.value,
        "tp": tally.tp,
        "fp": tally.fp,
        "fn": tally.fn,
        "precision": _number(tally.precision),
        "recall": _number(tally.recall),
        "f1": _number(tally.f1),
        "per_min": _number(tally.false_positives_per_min),
        "onset": _median_ms(tally.onset_errors_s),
        "apex": _median_ms(tally.apex_errors_s),
        "offset": _median_ms(tally.offset_errors_s),
    }


def _pairing(pairing: Pairing) -> dict[str, Any]:
    event = None if pairing.event is None else pairing.event.event
    found = None if event is None else interval_of_event(event)
    return {
        "verdict": pairing.verdict,
        "kind": next(each.kind.value for each in (pairing.truth, found) if each is not None),
        **{f"true_{name}": text for name, text in _side(pairing.truth).items()},
        "event": _DASH if event is None else f"#{event.id}",
        **{f"found_{name}": text for name, text in _side(found).items()},
        "iou": f"{pairing.iou:.2f}" if pairing.iou else _DASH,
    }


def _side(interval: Interval | None) -> dict[str, str]:
    if interval is None:
        return {"span": _DASH, "emotion": _DASH}
    span = f"{interval.onset_s:.2f} {_DASH} {interval.offset_s:.2f}"
    return {"span": span, "emotion": interval.emotion or _DASH}


def _ms_between(first_s: float | None, second_s: float | None) -> str:
    if first_s is None or second_s is None:
        return _DASH
    return f"{1000 * (second_s - first_s):.0f}"


def _median_ms(errors_s: Sequence[float]) -> str:
    return f"{1000 * float(np.median(np.abs(errors_s))):.0f}" if errors_s else _DASH


def _number(value: float) -> str:
    return _DASH if math.isnan(value) else f"{value:.2f}"


def _words(name: str) -> str:
    return name.replace("_", " ")
