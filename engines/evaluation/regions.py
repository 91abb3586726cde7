"""Spotting by interval and by region: was it seen in time, and was it seen where it was?

After the metric of LTP-ML (Li, Soladié and Séguier, IEEE Transactions on Affective Computing
14(1), 2023), which counts each facial region of an interval. Annotations name action units, engines
name regions of their own; both are brought to four areas of the face, which every engine knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from engines.evaluation.spotting import MIN_IOU, Interval, match

AREAS = ("brows", "eyes", "nose", "mouth")

_AREA_OF_WORD: Mapping[str, str] = MappingProxyType(
    {
        "brow": "brows",
        "eye": "eyes",
        "eyelid": "eyes",
        "cheek": "eyes",
        "nose": "nose",
        "mouth": "mouth",
        "lip": "mouth",
        "chin": "mouth",
    }
)
"""Word in the name of a region to its area; the cheeks rise with the lower lids (AU 6)."""

_AREA_OF_UNITS: Mapping[str, frozenset[int]] = MappingProxyType(
    {
        "brows": frozenset({1, 2, 4}),
        "eyes": frozenset({5, 6, 7, 41, 42, 43, 44, 45, 46}),
        "nose": frozenset({9, 11, 38, 39}),
        "mouth": frozenset({8, *range(10, 29)} - {11, 21}),
    }
)
"""Area to the action units whose main movement lies in it (Ekman, Friesen and Hager, 2002)."""


@dataclass(frozen=True, slots=True)
class Located:
    """An interval and where in the face it is.

    Attributes:
        interval: When.
        areas: Some of `AREAS`.
    """

    interval: Interval
    areas: frozenset[str]


@dataclass(frozen=True, slots=True)
class AreaTally:
    """Counts of one area; add up with `pool_areas`.

    Attributes:
        tp: Expressions in it that were found in time, and in it.
        fp: Detections in it without an expression at that time, or not of that area.
        fn: Expressions in it that were missed, or found elsewhere only.
    """

    tp: int = 0
    fp: int = 0
    fn: int = 0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; NaN where nothing defines it."""
        among = 2 * self.tp + self.fp + self.fn
        return 2 * self.tp / among if among else float("nan")


def areas_of_units(units: Iterable[int]) -> frozenset[str]:
    """Areas that action units move; those that move none (the head) are left out."""
    numbers = set(units)
    return frozenset(area for area, members in _AREA_OF_UNITS.items() if members & numbers)


def areas_of_regions(regions: Iterable[str]) -> frozenset[str]:
    """Areas of an engine's regions (`right_brow_inner`); unknown names are left out."""
    words = (word for region in regions for word in region.split("_"))
    return frozenset(_AREA_OF_WORD[word] for word in words if word in _AREA_OF_WORD)


def area_tallies(
    truths: Sequence[Located], detections: Sequence[Located], min_iou: float = MIN_IOU
) -> dict[str, AreaTally]:
    """Evaluate one recording area by area.

    Intervals are paired one to one by time alone, as `engines.evaluation.spotting` does. An area of
    a truth is found when the detection that is paired with it names it too.

    Args:
        truths: What was there.
        detections: What was found.
        min_iou: Smallest overlap of a pair.
    """
    pairs = match([t.interval for t in truths], [d.interval for d in detections], min_iou)
    partner = {pair.truth: detections[pair.detection].areas for pair in pairs}
    tallies = {}
    for area in AREAS:
        there = [i for i, truth in enumerate(truths) if area in truth.areas]
        tp = sum(area in partner.get(i, ()) for i in there)
        named = sum(area in detection.areas for detection in detections)
        tallies[area] = AreaTally(tp, named - tp, len(there) - tp)
    return tallies


def pool_areas(recordings: Iterable[Mapping[str, AreaTally]]) -> dict[str, AreaTally]:
    """Add recordings up; `all` adds the areas up too."""
    parts = list(recordings)

    def total(tallies: Iterable[AreaTally]) -> AreaTally:
        counts = [(t.tp, t.fp, t.fn) for t in tallies]
        return AreaTally(*(sum(column) for column in zip(*counts, strict=True)))

    pooled = {area: total(part[area] for part in parts) for area in AREAS} if parts else {}
    return {**pooled, "all": total(pooled.values())} if pooled else {}
