"""Expressions that somebody annotated in ELAN."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from engines.evaluation.reading import MICRO_S
from engines.evaluation.spotting import Interval
from engines.events import EventKind
from streamer.errors import SessionError

_APEX, _EMOTION = "apex", "emotion"
_NO_EXPRESSIONS = (_APEX, _EMOTION, "note", "rejected", "action units")


@dataclass(frozen=True, slots=True)
class _Annotation:
    """What a tier says of a stretch of time."""

    tier: str
    begin_s: float
    end_s: float
    text: str


def read_elan(path: Path) -> list[Interval]:
    """Read the expressions of an annotation document (.eaf).

    Tiers whose name begins with `micro` or `macro` hold expressions of that kind. A document
    without such tiers holds one in every annotation, and its duration decides on the kind. Tiers
    `apex` and `emotion`, as Glint writes them, tell about the expressions that they overlap.

    Raises:
        SessionError: The file cannot be read, is no annotation document, or holds no annotation
            that is aligned with time.
    """
    try:
        document = ElementTree.parse(path).getroot()
        if document.tag != "ANNOTATION_DOCUMENT":
            raise ValueError(f"it is a document of {document.tag}")
        annotations = list(_annotations(document))
    except (OSError, ElementTree.ParseError, KeyError, ValueError) as error:
        raise SessionError(
            f"{path.name} cannot be read as an annotation document of ELAN ({error}): save it "
            "again in ELAN."
        ) from error
    named = [each for each in annotations if each.tier.startswith(("micro", "macro"))]
    free = [each for each in annotations if not each.tier.startswith(_NO_EXPRESSIONS)]
    expressions = named or free
    if not expressions and not annotations:
        raise SessionError(
            f"{path.name} holds no annotation that is aligned with time: align its tiers in ELAN."
        )
    return sorted(
        (_interval(each, annotations) for each in expressions), key=lambda each: each.onset_s
    )


def _annotations(document: Element) -> Iterator[_Annotation]:
    """Aligned annotations whose two times are known."""
    slots: Mapping[str, float] = {
        slot.attrib["TIME_SLOT_ID"]: int(slot.attrib["TIME_VALUE"]) / 1000
        for slot in document.iter("TIME_SLOT")
        if "TIME_VALUE" in slot.attrib
    }
    for tier in document.iter("TIER"):
        for each in tier.iter("ALIGNABLE_ANNOTATION"):
            begin, end = each.attrib["TIME_SLOT_REF1"], each.attrib["TIME_SLOT_REF2"]
            if begin in slots and end in slots:
                yield _Annotation(
                    tier=tier.attrib["TIER_ID"].strip().casefold(),
                    begin_s=slots[begin],
                    end_s=slots[end],
                    text=(each.findtext("ANNOTATION_VALUE") or "").strip(),
                )


def _interval(expression: _Annotation, annotations: Sequence[_Annotation]) -> Interval:
    interval = Interval(expression.begin_s, expression.end_s, _kind(expression))
    for each in annotations:
        if each.tier.startswith(_APEX) and expression.begin_s <= each.begin_s <= expression.end_s:
            interval = replace(interval, apex_s=each.begin_s)
        elif each.tier.startswith(_EMOTION) and _shared_s(each, expression) > (
            (expression.end_s - expression.begin_s) / 2
        ):
            interval = replace(interval, emotion=each.text or None)
    return interval


def _kind(expression: _Annotation) -> EventKind:
    for kind in EventKind:
        if expression.tier.startswith(kind.value):
            return kind
    micro = expression.end_s - expression.begin_s <= MICRO_S + 1e-9
    return EventKind.MICRO if micro else EventKind.MACRO


def _shared_s(one: _Annotation, other: _Annotation) -> float:
    return min(one.end_s, other.end_s) - max(one.begin_s, other.begin_s)
